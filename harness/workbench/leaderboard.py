"""The leaderboard of a run, with the blend last learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.ensemble.learned import blend_notes, learned_blend
from harness.errors import InputError
from harness.scoring.leaderboard import Leaderboard, leaderboard
from harness.store.run import BLEND

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.store.run import RunFolder


def judge(run: RunFolder, *, by_distance: bool = True, overlap: float | Sequence[float] | None = None) -> Leaderboard:
    """Score every member of a run, and the blend last learned. See ``Run.leaderboard``."""
    blend, method, notes, problem = None, "", [], ""
    try:
        learned = learned_blend(run)
        if learned is not None:
            blend, method = _blend(run), learned.method
            notes = blend_notes(run, learned)
    except InputError as error:  # that there is no blend takes no member's place
        problem = str(error)
    board = leaderboard(run, by_distance=by_distance, overlap=overlap, blend=blend, method=method)
    board = replace(board, blend_notes=notes)
    return replace(board, incomplete={**board.incomplete, BLEND: problem}) if problem else board


def _blend(run: RunFolder) -> NDArray[np.float64] | None:
    """Return the nested cosine of each row's blend, shape (n,); None while its members are not done."""
    from harness.comparing import last_learned_scores
    from harness.comparing.pairing import IncompleteError

    try:
        return last_learned_scores(run, [])
    except IncompleteError:  # its members are listed as not ranked, with the reason
        return None
