"""That ``fit`` makes the same of the same rows, whatever was before, and leaves what it is given alone."""

from __future__ import annotations

import numpy as np

from harness.plugin import NotFittedError
from harness.testing.bench import Bench, unit
from harness.testing.checks.declared import CONFIGURED
from harness.testing.checks.predicting import STEADY
from harness.testing.records import Broken, check
from harness.testing.watching import seed_globals

REPEATABLE = (*STEADY, "repeatable")
_SEED = "draw from a generator seeded with `self.context.seed` (`np.random.default_rng(seed)`, `torch.Generator`)"


@check(
    "not-fitted",
    expected="`predict` before `fit` or `load` raises NotFittedError",
    mend="`from harness.plugin import NotFittedError`, and raise it where there is nothing fitted",
    needs=CONFIGURED,
    only="trainable",
)
def not_fitted(bench: Bench) -> None:
    """Whoever forgets to load a model is told so."""
    predictor = bench.build()
    try:
        values = predictor.predict(bench.data.held())
    except NotFittedError:
        return
    except Exception as error:
        raise Broken(f"{type(error).__name__}: {error}") from error
    raise Broken(f"no exception, but a {type(values).__name__}")


@check(
    "repeatable",
    expected="two predictors with the same rows, configuration and seed predict the same",
    mend=_SEED + "; do not depend on the order of a set, the time or the process",
    needs=STEADY,
)
def repeatable(bench: Bench) -> None:
    """The same run twice must give the same scores."""
    bench.again.raised("constructor", "fit", "predict")
    bench.same(unit(np.asarray(bench.again.values)), bench.reference(), "a second predictor")


@check(
    "global-random-unread",
    expected="the state of the global random generators changes no prediction",
    mend=_SEED + "; a library that insists on a global one: inside `torch.random.fork_rng()`, seeded",
    needs=REPEATABLE,
)
def global_random_unread(bench: Bench) -> None:
    """Another plugin, or the order of tasks, would change the result."""
    predictor = bench.build()
    seed_globals(2)
    if bench.trainable:
        predictor.fit(bench.data.training())
    seed_globals(3)
    bench.same(bench.rows(predictor, bench.data.held()), bench.reference(), "with other global seeds")


@check(
    "fit-twice",
    expected="fitting twice on the same rows equals fitting once",
    mend="begin `fit` from scratch: forget what an earlier `fit` left in `self`",
    needs=REPEATABLE,
    only="trainable",
)
def fit_twice(bench: Bench) -> None:
    """A predictor object may be used again."""
    predictor = bench.fitted()
    bench.fit(predictor)
    bench.same(bench.rows(predictor, bench.data.held()), bench.reference(), "after the second fit")


@check(
    "fit-again",
    expected="after `fit` on other rows, and predictions, `fit` equals that of a new predictor",
    mend="begin `fit` from scratch: forget what an earlier `fit` or `predict` left in `self`",
    needs=REPEATABLE,
    only="trainable",
)
def fit_again(bench: Bench) -> None:
    """Otherwise a fold would know of another fold, and of the images it was asked about."""
    predictor = bench.fitted(bench.data.elsewhere())
    bench.rows(predictor, bench.data.held())
    bench.fit(predictor)
    bench.same(bench.rows(predictor, bench.data.held()), bench.reference(), "after a fit on other rows")


@check(
    "untrained",
    expected="`trainable = False`: training rows change no prediction",
    mend="leave `fit` out; what learns from training rows must set `trainable = True`",
    needs=STEADY,
    only="untrained",
)
def untrained(bench: Bench) -> None:
    """Its predictions serve every fold: had it learned from rows, they would be held-out rows of some fold."""
    predictor = bench.build()
    try:
        predictor.fit(bench.data.training())
    except Exception:
        return  # it refuses to be fitted, which is as good: the core never asks
    bench.same(bench.rows(predictor, bench.data.held()), bench.reference(), "after fit")


@check(
    "inputs-kept",
    expected="targets, groups, prompts, captions, ids and options are what they were before `fit` and `predict`",
    mend="copy before changing: `targets = train.targets.copy()`, not `targets -= targets.mean(0)`",
    needs=("fit-and-predict",),
)
def inputs_kept(bench: Bench) -> None:
    """Plugins of a run may share what they are handed."""
    given, fresh = bench.life.train, bench.data.training()
    for name in ("ids", "prompts", "captions"):
        if list(getattr(given, name)) != list(getattr(fresh, name)):
            raise Broken(f"train.{name} was changed")
    for name in ("targets", "groups"):
        if not np.array_equal(getattr(given, name), getattr(fresh, name)):
            raise Broken(f"train.{name} was changed")
    options = bench.cls.presets.get("tiny", {}) if bench.options is None else bench.options
    if bench.living.config != bench.cls.Config.model_validate(dict(options)):
        raise Broken("self.config was changed", "keep what is found out while fitting in another attribute")
