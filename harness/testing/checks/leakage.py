"""That a fold's predictor knows its training rows, and nothing of the rows it will be judged on."""

from __future__ import annotations

from harness.data.cache import DiskCache
from harness.plugin import Predictor
from harness.testing.check import check
from harness.testing.checks.fitting import REPEATABLE
from harness.testing.subject import Subject


@check(
    "held-out-unseen",
    expected="with other held-out images, prompts and targets beside the same training rows, `fit` learns the same",
    mend="use `train` and nothing else: no folder, table or file beside its images",
    needs=REPEATABLE,
    only="trainable",
)
def held_out_unseen(subject: Subject) -> None:
    """A predictor that saw the held-out rows has a score that means nothing."""
    predictor = subject.fitted(subject.data.training("second"))
    subject.same(
        subject.rows(predictor, subject.data.held()), subject.reference(), "with other held-out rows in the folder"
    )


@check(
    "folds-apart",
    expected="a fold's predictor is the same whether or not another fold's was fitted before it in this process",
    mend="keep nothing between predictors: no module or class attribute that `fit` fills, no memo keyed by too little",
    needs=REPEATABLE,
    only="trainable",
    spoils=True,
)
def folds_apart(subject: Subject) -> None:
    """A run fits all folds in one process, and the rows that this fold holds out are training rows of the others."""
    wanted = subject.reference()
    another = subject.fitted(subject.data.other_fold())
    another.predict(subject.data.held())
    subject.same(subject.rows(subject.fitted(), subject.data.held()), wanted, "after another fold")


@check(
    "cache-key",
    expected="with a cache that other folds have filled, predictions are the same as without a cache",
    mend="`context.cached` and `cached_rows` are shared by all folds: a key names all that the value depends on, and a "
    "value depends on nothing of the fold; cached arrays cannot be changed in place",
    needs=(*REPEATABLE, "folds-apart"),
    spoils=True,
)
def cache_key(subject: Subject) -> None:
    """What one fold leaves in the cache is what another one finds."""
    subject.reference()  # before another fold could leave something elsewhere
    cache = DiskCache(subject.new_folder("cache"))
    if subject.trainable:
        subject.rows(subject.fitted(subject.data.other_fold(), cache), subject.data.held())
        subject.rows(subject.fitted(subject.data.elsewhere(), cache), subject.data.elsewhere().images)
    for what in ("with a cache that others have filled", "with a cache that holds everything"):
        subject.same(subject.rows(subject.fitted(cache=cache), subject.data.held()), subject.reference(), what)


@check(
    "prepare",
    expected="after `prepare`, for some of the images at a time on other objects, predictions are the same",
    mend="let `prepare` do nothing but call `cached_rows`, with the keys and functions of `fit` and `predict`",
    needs=(*REPEATABLE, "folds-apart"),
    spoils=True,
)
def prepare(subject: Subject) -> None:
    """Where several machines are at work, each is asked for a part of what depends on single images."""
    if subject.cls.prepare is Predictor.prepare:
        return  # and another fit would tell nothing
    subject.reference()
    cache, held = DiskCache(subject.new_folder("cache")), subject.data.held()
    given = (held, subject.data.training().images) if subject.trainable else (held,)
    for images in given:
        for start in (0, 1):
            subject.build(cache).prepare(images.take(range(start, len(images), 2)))
    subject.same(subject.rows(subject.fitted(cache=cache), held), subject.reference(), "after prepare")
