"""Which rows stay: none near evaluation data, of near-duplicates one, of a picture one, and why each other goes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from harness.data.curating.nearest import stand_ins
from harness.data.curating.prompts import Progress, Prompts, silent
from harness.data.search.bounds import MARGIN

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Reason(IntEnum):
    """Why a row goes; those of evaluation data come first, then duplicates, then numbers."""

    KEPT = 0
    NEAR_HELD = 1
    HELD_IMAGE = 2
    NEAR_PROMPT = 3
    EARLIER_SET = 4
    SAME_IMAGE = 5
    SAME_PROMPT = 6
    CAP = 7
    SHARE = 8

    @property
    def told(self) -> str:
        """What a table calls it."""
        return _TOLD[self]


_TOLD = {
    Reason.KEPT: "kept",
    Reason.NEAR_HELD: "near a prompt of the evaluation data",
    Reason.HELD_IMAGE: "an image of the evaluation data",
    Reason.NEAR_PROMPT: "near a prompt that is kept",
    Reason.EARLIER_SET: "a prompt of an earlier set",
    Reason.SAME_IMAGE: "the image of a row that is kept",
    Reason.SAME_PROMPT: "more images of a prompt than asked for",
    Reason.CAP: "over a cap",
    Reason.SHARE: "over a share",
}


@dataclass(frozen=True)
class Selection:
    """What becomes of each of n rows.

    Parameters
    ----------
    reason
        A `Reason` each, shape (n,), int8.
    by
        The row that is kept instead, unless a cap or a share takes it afterwards: then it has a reason of its own; of
        evaluation data, the number of the row there; -1 for none. Shape (n,).
    cosine
        Between its prompt and that of ``by``; NaN where none counts. Shape (n,), float32.
    recall
        Share of the close pairs of prompts that were found: 1 where the search is exact.
    """

    reason: NDArray[np.int8]
    by: NDArray[np.int64]
    cosine: NDArray[np.float32]
    recall: float = 1.0

    @property
    def kept(self) -> NDArray[np.int64]:
        """The rows that stay, in their order."""
        return np.flatnonzero(self.reason == Reason.KEPT)

    def without(self, rows: NDArray[np.int64], reason: Reason) -> Selection:
        """Return what becomes of them if these rows go, too."""
        changed = self.reason.copy()
        changed[rows] = reason
        return replace(self, reason=changed)


@dataclass
class _Open:
    """What is being decided."""

    reason: NDArray[np.int8]
    by: NDArray[np.int64]
    cosine: NDArray[np.float32]
    first_kept: NDArray[np.int64]
    seen: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, n: int, m: int) -> _Open:
        """Begin with n rows and m prompts."""
        return cls(
            np.zeros(n, dtype=np.int8),
            np.full(n, -1, dtype=np.int64),
            np.full(n, np.nan, dtype=np.float32),
            np.full(m, -1, dtype=np.int64),
        )


@dataclass(frozen=True)
class HeldOut:
    """Evaluation data that nothing of may stay.

    Parameters
    ----------
    vectors
        Targets of its k rows, shape (k, 384), float32, unit rows.
    cosine, which
        The highest cosine of each of m prompts with any of them, and which it is, shape (m,): ``nearest_rows``.
    threshold
        Cosine at which a prompt goes.
    image, own_image
        Number of each image of the n rows, shape (n,), and of the k rows, shape (k,); equal ones alike, -1 for one that
        is equal to none.
    """

    vectors: NDArray[np.float32]
    cosine: NDArray[np.float32]
    which: NDArray[np.int64]
    threshold: float
    image: NDArray[np.int64]
    own_image: NDArray[np.int64]


def select_rows(
    prompts: Prompts,
    threshold: float | None,
    *,
    images: NDArray[np.int64] | None = None,
    per_prompt: int | None = None,
    sets: NDArray[np.int16] | None = None,
    held: HeldOut | None = None,
    progress: Progress = silent,
) -> Selection:
    """Decide about every row.

    First goes what is near evaluation data. Then the prompts are asked in their order of preference, and each prompt's
    rows in theirs: a row stays unless a prompt within the threshold has a row that stays, its own prompt has one of an
    earlier set, its image is that of a row that stays, or its own prompt has ``per_prompt`` rows that stay. So no two
    prompts that stay are within the threshold, and whatever goes has something that stays in its place.

    Parameters
    ----------
    prompts
        The rows' prompts.
    threshold
        Cosine at which two prompts are near-duplicates; None: only equal ones are.
    images
        Number of each row's image, equal ones alike, -1 for one that is equal to none, shape (n,); None: images are
        not looked at.
    per_prompt
        Images of one prompt that stay at most; None: all.
    sets
        Number of each row's set, shape (n,): of a prompt in several only the rows of the first stay; None: all.
    held
        Evaluation data.
    """
    m = len(prompts)
    state = _Open.of(len(prompts.node), m)
    if held is not None:
        _leave_out_held(prompts, held, state)
    simple = images is None and per_prompt is None and sets is None and held is None
    if simple:
        state.first_kept[:] = prompts.rows[prompts.start[:-1]]

    def take(prompt: int) -> bool:
        if simple:
            return True
        rows = prompts.rows[prompts.start[prompt] : prompts.start[prompt + 1]].tolist()
        return _take_rows(prompt, rows, state, images, per_prompt, sets)

    progress("prompts compared", 0, m)
    recall = 1.0
    if threshold is None:
        stands = np.full(m, -1, dtype=np.int64)
        for prompt in range(0 if simple else m):
            take(prompt)
    else:
        stands, recall = stand_ins(prompts.vectors, threshold, None if simple else take)
    progress("prompts compared", m, m)
    _settle(prompts, stands, state)
    return Selection(state.reason, state.by, state.cosine, recall)


def _leave_out_held(prompts: Prompts, held: HeldOut, state: _Open) -> None:
    near = held.cosine >= held.threshold - MARGIN
    rows = near[prompts.node]
    state.reason[rows] = Reason.NEAR_HELD
    state.by[rows] = held.which[prompts.node[rows]]
    state.cosine[rows] = held.cosine[prompts.node[rows]]
    row_of = {int(number): i for i, number in reversed(list(enumerate(held.own_image.tolist()))) if number >= 0}
    shown = np.isin(held.image, list(row_of)) & (held.image >= 0) & ~rows
    for row in np.flatnonzero(shown).tolist():
        state.reason[row] = Reason.HELD_IMAGE
        state.by[row] = row_of[int(held.image[row])]
        state.cosine[row] = float(prompts.vectors[prompts.node[row]] @ held.vectors[state.by[row]])


def _take_rows(
    prompt: int,
    rows: list[int],
    state: _Open,
    images: NDArray[np.int64] | None,
    per_prompt: int | None,
    sets: NDArray[np.int16] | None,
) -> bool:
    """Decide about the rows of a prompt that no other stands in for; return whether any stays."""
    count = 0
    for row in rows:
        if state.reason[row]:
            continue
        image = -1 if images is None else int(images[row])
        before = state.seen.get(image, -1) if image >= 0 else -1
        first = int(state.first_kept[prompt])
        if sets is not None and first >= 0 and sets[row] != sets[first]:
            state.reason[row], state.by[row] = Reason.EARLIER_SET, first
        elif before >= 0:
            state.reason[row], state.by[row] = Reason.SAME_IMAGE, before
        elif per_prompt is not None and count >= per_prompt:
            state.reason[row], state.by[row] = Reason.SAME_PROMPT, first
        else:
            count += 1
            if image >= 0:
                state.seen[image] = row
            if first < 0:
                state.first_kept[prompt] = row
    return count > 0


def _settle(prompts: Prompts, stands: NDArray[np.int64], state: _Open) -> None:
    """Give the rows of prompts that others stand in for their reason, and all rows that go the cosine."""
    open_rows = (stands[prompts.node] >= 0) & (state.reason == Reason.KEPT)
    state.reason[open_rows] = Reason.NEAR_PROMPT
    state.by[open_rows] = state.first_kept[stands[prompts.node[open_rows]]]
    told = np.flatnonzero((state.reason >= Reason.NEAR_PROMPT) & (state.by >= 0))
    for start in range(0, len(told), 65_536):
        rows = told[start : start + 65_536]
        own, other = prompts.node[rows], prompts.node[state.by[rows]]
        cosine = np.einsum("ij,ij->i", prompts.vectors[own], prompts.vectors[other])
        state.cosine[rows] = np.where(own == other, 1.0, np.minimum(cosine, 1.0))
