"""Rows that show one picture: found by equal bytes, told apart from pictures that say nothing of their prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.data.columns import codes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.dataset import Dataset

_TELLING = 3
"""Unrelated prompts from which on a picture may say nothing; two are linked at little cost, and can tell nothing."""
_DEVIATIONS = 2.0


@dataclass(frozen=True)
class SharedPictures:
    """Which rows show one picture.

    A picture that stands under prompts no more alike than any others of the data set says nothing of them: the black
    picture of a safety filter, a placeholder of a failed download. Its rows are not linked.

    Parameters
    ----------
    picture
        Rows with equal labels show one picture and are linked, shape (n,), int64.
    shared, rows
        How many pictures several rows show, and the rows that show them.
    blank, blank_rows
        The same of pictures that say nothing.
    """

    picture: NDArray[np.int64]
    shared: int
    rows: int
    blank: int
    blank_rows: int


def picture_notes(shared: int, rows: int, blank: int, blank_rows: int) -> list[str]:
    """Say what a user should know of the pictures that several rows show, in sentences; see ``SharedPictures``."""
    told = []
    if shared:
        told.append(f"{_pictures(shared)} shown by several rows, {rows} in all, which are held out together")
    if blank:
        told.append(
            f"{_pictures(blank)} shown by {blank_rows} rows with unrelated prompts, as the black one of a safety "
            "filter is: it links nothing, and no prompt can be read from it"
        )
    return told


def _pictures(count: int) -> str:
    return "1 picture is" if count == 1 else f"{count} pictures are"


def shown_twice(test: Dataset, dataset: Dataset) -> tuple[list[tuple[str, str]], int]:
    """Find the test images that a training row shows, too: equal bytes, by hashes that are known already.

    Returns
    -------
    pairs
        Id of each such test image, in order, with that of the first training row that shows it.
    rows
        Training rows that show any of them.
    """
    asked = set(test.digests)
    first: dict[str, str] = {}
    rows = 0
    for digest, row_id in zip(dataset.digests, dataset.ids, strict=True):
        if digest in asked:
            rows += 1
            first.setdefault(digest, row_id)
    ids = zip(test.digests, test.ids, strict=True)
    return [(test_id, first[digest]) for digest, test_id in ids if digest in first], rows


def shared_pictures(dataset: Dataset, node: NDArray[np.int64], vectors: NDArray[np.float32]) -> SharedPictures:
    """Find the rows of a data set that show one picture.

    Parameters
    ----------
    dataset
        n rows. ``pictures``, where it has them, says which images count as one; else equal bytes do.
    node
        Distinct text of each row, shape (n,), int64.
    vectors
        Embedding of each of m texts, shape (m, 384), float32, unit rows.
    """
    labels = dataset.digests if dataset.pictures is None else dataset.pictures
    picture = codes_of(labels)
    size = np.bincount(picture)
    blank = _says_nothing(picture, node, vectors)
    several = size > 1
    shared, empty = several & ~blank, several & blank
    apart = blank[picture]
    picture[apart] = len(size) + np.flatnonzero(apart)  # each row a picture of its own
    return SharedPictures(picture, int(shared.sum()), int(size[shared].sum()), int(empty.sum()), int(size[empty].sum()))


def _says_nothing(
    picture: NDArray[np.int64], node: NDArray[np.int64], vectors: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Return which pictures stand under prompts as unlike as any two of the data set, shape (pictures,).

    Of k distinct texts, the mean cosine over the k(k - 1)/2 pairs is held against what as many pairs drawn from the
    whole data set would have: at most two standard errors above their mean counts as unrelated. Captions of one
    photograph lie far above (Flickr8k: .24 and more, where five random captions reach .16).
    """
    pairs = np.unique(np.stack([picture, node], axis=1), axis=0)
    texts = np.bincount(pairs[:, 0])
    several = np.flatnonzero(texts >= _TELLING)
    blank = np.zeros(len(texts), dtype=np.bool_)
    if len(several) == 0:
        return blank
    mean, deviation = _usual_cosine(vectors)
    start = np.concatenate([[0], np.cumsum(texts)])
    for p in several:
        k = int(texts[p])
        total = vectors[pairs[start[p] : start[p + 1], 1]].sum(axis=0, dtype=np.float64)
        within = (total @ total - k) / (k * (k - 1))
        blank[p] = within <= mean + _DEVIATIONS * deviation / np.sqrt(k * (k - 1) / 2)
    return blank


def _usual_cosine(vectors: NDArray[np.float32]) -> tuple[float, float]:
    """Return mean and standard deviation of the cosine over all pairs of distinct texts, without making the pairs."""
    m, dimensions = vectors.shape
    if m < 2:
        return 1.0, 0.0
    total, square = np.zeros(dimensions), np.zeros((dimensions, dimensions))
    for start in range(0, m, 65_536):
        part = vectors[start : start + 65_536].astype(np.float64)
        total += part.sum(axis=0)
        square += part.T @ part
    pairs = m * (m - 1)
    mean = (total @ total - m) / pairs
    return float(mean), float(np.sqrt(max((np.square(square).sum() - m) / pairs - mean**2, 0.0)))
