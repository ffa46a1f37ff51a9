"""That ``fit`` makes the same of the same rows, whatever was before, and leaves what it is given alone."""

from __future__ import annotations

import numpy as np

from harness.plugin import NotFittedError
from harness.testing.check import check
from harness.testing.checks.declared import CONFIGURED
from harness.testing.checks.predicting import STEADY
from harness.testing.observing import seed_globals
from harness.testing.records import ContractError
from harness.testing.subject import Subject, unit

REPEATABLE = (*STEADY, "repeatable")
_SEED = "draw from a generator seeded with `self.context.seed` (`np.random.default_rng(seed)`, `torch.Generator`)"


@check(
    "not-fitted",
    expected="`predict` before `fit` or `load` raises NotFittedError",
    mend="`from harness.plugin import NotFittedError`, and raise it where there is nothing fitted",
    needs=CONFIGURED,
    only="trainable",
)
def not_fitted(subject: Subject) -> None:
    """Whoever forgets to load a model is told so."""
    predictor = subject.build()
    try:
        values = predictor.predict(subject.data.held())
    except NotFittedError:
        return
    except Exception as error:
        raise ContractError(f"{type(error).__name__}: {error}") from error
    raise ContractError(f"no exception, but a {type(values).__name__}")


@check(
    "repeatable",
    expected="two predictors with the same rows, configuration and seed predict the same",
    mend=_SEED + "; do not depend on the order of a set, the time or the process",
    needs=STEADY,
)
def repeatable(subject: Subject) -> None:
    """The same run twice must give the same scores."""
    subject.second_lifetime.raise_errors_of("constructor", "fit", "predict")
    subject.same(unit(np.asarray(subject.second_lifetime.values)), subject.reference(), "a second predictor")


@check(
    "global-random-unread",
    expected="the state of the global random generators changes no prediction",
    mend=_SEED + "; a library that insists on a global one: inside `torch.random.fork_rng()`, seeded",
    needs=REPEATABLE,
)
def global_random_unread(subject: Subject) -> None:
    """Another plugin, or the order of tasks, would change the result."""
    predictor = subject.build()
    seed_globals(2)
    if subject.trainable:
        predictor.fit(subject.data.training())
    seed_globals(3)
    subject.same(subject.rows(predictor, subject.data.held()), subject.reference(), "with other global seeds")


@check(
    "fit-twice",
    expected="fitting twice on the same rows equals fitting once",
    mend="begin `fit` from scratch: forget what an earlier `fit` left in `self`",
    needs=REPEATABLE,
    only="trainable",
)
def fit_twice(subject: Subject) -> None:
    """A predictor object may be used again."""
    predictor = subject.fitted()
    subject.fit(predictor)
    subject.same(subject.rows(predictor, subject.data.held()), subject.reference(), "after the second fit")


@check(
    "fit-again",
    expected="after `fit` on other rows, and predictions, `fit` equals that of a new predictor",
    mend="begin `fit` from scratch: forget what an earlier `fit` or `predict` left in `self`",
    needs=REPEATABLE,
    only="trainable",
)
def fit_again(subject: Subject) -> None:
    """Otherwise a fold would know of another fold, and of the images it was asked about."""
    predictor = subject.fitted(subject.data.elsewhere())
    subject.rows(predictor, subject.data.held())
    subject.fit(predictor)
    subject.same(subject.rows(predictor, subject.data.held()), subject.reference(), "after a fit on other rows")


@check(
    "untrained",
    expected="`trainable = False`: training rows change no prediction",
    mend="leave `fit` out; what learns from training rows must set `trainable = True`",
    needs=STEADY,
    only="untrained",
)
def untrained(subject: Subject) -> None:
    """Its predictions serve every fold: had it learned from rows, they would be held-out rows of some fold."""
    predictor = subject.build()
    try:
        predictor.fit(subject.data.training())
    except Exception:
        return  # it refuses to be fitted, which is as good: the core never asks
    subject.same(subject.rows(predictor, subject.data.held()), subject.reference(), "after fit")


@check(
    "inputs-kept",
    expected="targets, groups, prompts, captions, ids and options are what they were before `fit` and `predict`",
    mend="copy before changing: `targets = train.targets.copy()`, not `targets -= targets.mean(0)`",
    needs=("fit-and-predict",),
)
def inputs_kept(subject: Subject) -> None:
    """Plugins of a run may share what they are handed."""
    given, fresh = subject.lifetime.train, subject.data.training()
    for name in ("ids", "prompts", "captions"):
        if list(getattr(given, name)) != list(getattr(fresh, name)):
            raise ContractError(f"train.{name} was changed")
    for name in ("targets", "groups"):
        if not np.array_equal(getattr(given, name), getattr(fresh, name)):
            raise ContractError(f"train.{name} was changed")
    options = subject.cls.presets.get("tiny", {}) if subject.options is None else subject.options
    if subject.predictor.config != subject.cls.Config.model_validate(dict(options)):
        raise ContractError("self.config was changed", "keep what is found out while fitting in another attribute")
