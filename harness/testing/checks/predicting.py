"""What ``predict`` returns, and that a row is about its own image and nothing else."""

from __future__ import annotations

import numpy as np

from harness.plugin import EMBEDDING_DIM
from harness.testing.check import check
from harness.testing.checks.declared import CONFIGURED
from harness.testing.data import images_of
from harness.testing.records import ContractError
from harness.testing.subject import Subject

ROWS = ("shape", "finite")
STEADY = (*ROWS, "predict-twice")
_ALONE = (
    "in evaluation mode nothing may depend on the batch: no statistics over it (BatchNorm, ranks, maxima), no state"
)


@check(
    "fit-and-predict",
    expected="the constructor, `fit` on 24 rows and `predict` on 8 images run through",
    mend="see the exception; a fold may be this small, so cap batch sizes and neighbours by the number of rows",
    needs=CONFIGURED,
)
def fit_and_predict(subject: Subject) -> None:
    """All other checks build on it."""
    subject.lifetime.raise_errors_of("constructor", "fit", "predict")


@check(
    "shape",
    expected=f"`predict` returns an array of shape (n, {EMBEDDING_DIM}) for n images",
    mend="return one row of 384 numbers an image, in a numpy array",
    needs=("fit-and-predict",),
)
def shape(subject: Subject) -> None:
    """A prediction is a sentence embedding an image."""
    values, count = subject.lifetime.values, len(subject.data.held())
    if not isinstance(values, np.ndarray):
        raise ContractError(f"a {type(values).__name__}", "return a numpy array; of a torch tensor, `.cpu().numpy()`")
    if values.shape != (count, EMBEDDING_DIM):
        raise ContractError(f"shape {values.shape} for {count} images")


@check(
    "dtype",
    expected="`predict` returns float32",
    mend="end with `.astype(np.float32)`",
    needs=("shape",),
)
def dtype(subject: Subject) -> None:
    """The store keeps float32; integers would lose the prediction."""
    if subject.lifetime.values.dtype != np.float32:
        raise ContractError(f"dtype {subject.lifetime.values.dtype}")


@check(
    "finite",
    expected="every number that `predict` returns is finite",
    mend="look for a division by zero, a logarithm of zero, or half precision that overflows",
    needs=("shape",),
)
def finite(subject: Subject) -> None:
    """One NaN makes a row, and its fold, worthless."""
    bad = ~np.isfinite(subject.lifetime.values).all(axis=1)
    if bad.any():
        raise ContractError(f"{int(bad.sum())} of {len(bad)} rows hold NaN or infinity, row {int(bad.argmax())} first")


@check(
    "not-zero",
    expected="no row is all zeros",
    mend="where there is nothing to say, predict the mean training target",
    needs=("shape",),
)
def not_zero(subject: Subject) -> None:
    """A row of zeros has no direction, and so no cosine."""
    bad = (np.asarray(subject.lifetime.values) == 0).all(axis=1)
    if bad.any():
        raise ContractError(f"{int(bad.sum())} of {len(bad)} rows are all zeros, row {int(bad.argmax())} first")


@check(
    "predict-twice",
    expected="predicting the same images a second time gives the same rows",
    mend="`predict` must change nothing in the predictor and draw no random numbers (dropout: `model.eval()`)",
    needs=ROWS,
)
def predict_twice(subject: Subject) -> None:
    """Test images are predicted after the held-out ones, and by `harness predict` once more."""
    subject.same(subject.rows(subject.predictor, subject.data.held()), subject.reference(), "the second time")


@check(
    "order",
    expected="images in another order give the same rows in that order",
    mend="row i must belong to images[i]: do not sort, and key what is remembered by `images.digests` in their order",
    needs=STEADY,
)
def order(subject: Subject) -> None:
    """Rows that are mixed up score like chance, and nothing else shows it."""
    held = subject.data.held()
    moved = np.random.default_rng(1).permutation(len(held))
    subject.same(
        subject.rows(subject.predictor, held.take(moved.tolist())),
        subject.reference()[moved],
        f"order {moved.tolist()}",
    )


@check(
    "subset",
    expected="some of the images give the same rows as all of them did",
    mend=_ALONE,
    needs=STEADY,
)
def subset(subject: Subject) -> None:
    """Test sets come in parts."""
    some = [6, 1, 3]
    subject.same(
        subject.rows(subject.predictor, subject.data.held().take(some)),
        subject.reference()[some],
        f"images {some} alone",
    )


@check(
    "one-image",
    expected=f"`predict` returns shape (1, {EMBEDDING_DIM}) for a single image",
    mend="do not squeeze: `np.squeeze`, `.squeeze()` and `[0]` lose the first axis of a batch of one",
    needs=ROWS,
)
def one_image(subject: Subject) -> None:
    """`harness predict photo.png` asks for one, and the last batch of many may hold one."""
    subject.rows(subject.predictor, subject.data.held().take([0]))


@check(
    "one-at-a-time",
    expected="images predicted one at a time give the same rows as together",
    mend=_ALONE + "; pad a batch of one if its kernels round differently",
    needs=(*STEADY, "one-image"),
)
def one_at_a_time(subject: Subject) -> None:
    """Whoever scores a predictor may batch as he likes."""
    held = subject.data.held()
    rows = np.concatenate([subject.rows(subject.predictor, held.take([i])) for i in range(len(held))])
    subject.same(rows, subject.reference(), "one at a time")


@check(
    "company",
    expected="an image's row does not depend on which other images are predicted with it",
    mend=_ALONE,
    needs=STEADY,
)
def company(subject: Subject) -> None:
    """Otherwise the held-out rows inform each other, and a score is not that of one image."""
    odd, folder = subject.data.odd(), subject.data.folder
    others = [odd["all white"], folder / "first" / "images" / "row00.png", odd["all black"]]
    paths = [*others[:2], *sorted((folder / "probe").iterdir())[:4], others[2]]
    subject.same(subject.rows(subject.predictor, images_of(paths))[2:6], subject.reference()[:4], "among other images")


@check(
    "no-images",
    expected=f"no images give shape (0, {EMBEDDING_DIM}) from `predict`, and an empty list from `explain`",
    mend=f"begin `predict` with `if len(images) == 0: return np.zeros((0, {EMBEDDING_DIM}), dtype=np.float32)`",
    needs=("shape",),
)
def no_images(subject: Subject) -> None:
    """A part of a split test set may be empty."""
    none = subject.data.held().take([])
    subject.rows(subject.predictor, none)
    explained = subject.predictor.explain(none)
    if not isinstance(explained, list) or explained:
        raise ContractError(f"explain returned {explained!r}", "return one list an image: here `[]`")
