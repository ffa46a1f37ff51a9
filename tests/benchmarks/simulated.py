"""Members to blend, made from seeds a slice at a time, so that a million rows of thirty need not be held."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 384
_BLOCK = 1024  # rows drawn from one seed: slices that lie otherwise get the same rows
_KEPT = 16  # blocks of targets and shared errors in memory: what a Gram pass takes at once, for every member


class View:
    """Rows that are made when they are asked for; only slices are, and none but the last block is kept."""

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, rows: int, block: Callable[[int], NDArray[np.float32]]) -> None:
        self.shape = (rows, DIMENSIONS)
        self.seconds = 0.0
        """How long making rows has taken so far."""
        self._block = lru_cache(maxsize=1)(block)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        began = time.perf_counter()
        start, stop, step = rows.indices(len(self))
        assert step == 1, "only slices without steps"
        parts = [
            self._block(b)[max(start - b * _BLOCK, 0) : stop - b * _BLOCK]
            for b in range(start // _BLOCK, -(-stop // _BLOCK))
        ]
        made = np.concatenate(parts) if parts else np.empty((0, DIMENSIONS), np.float32)
        self.seconds += time.perf_counter() - began
        return made


class Simulation:
    """Noisy views of unit targets, of uneven skill and with partly shared errors.

    Member k is ``y + s_k (u_k f + e_k)``, scaled to unit length: target y, an error f that all share, an error e_k of
    its own, s_k between 1 and 4 and u_k between 0 and 1. A weak member whose error others share more cleanly gets no
    weight in the best blend, so the answer is neither a vertex nor all members.

    Parameters
    ----------
    rows, members
        How many.
    seed
        The same seed gives the same rows, in whatever slices they are asked for.
    """

    def __init__(self, rows: int, members: int, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, members])
        skill, sharing = rng.uniform(1.0, 4.0, size=members), rng.uniform(size=members)

        def drawn(stream: int, block: int) -> NDArray[np.float32]:
            drawing = np.random.default_rng([seed, stream, block])
            return drawing.standard_normal((_BLOCK, DIMENSIONS), dtype=np.float32)

        @lru_cache(maxsize=_KEPT)
        def common(block: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            return drawn(0, block), drawn(1, block)

        def member(k: int) -> Callable[[int], NDArray[np.float32]]:
            def block(b: int) -> NDArray[np.float32]:
                target, shared = common(b)
                made = drawn(2 + k, b)
                made += np.float32(sharing[k]) * shared
                made *= np.float32(skill[k])
                made += target
                return _unit(made)

            return block

        self.members = [View(rows, member(k)) for k in range(members)]
        self.targets = View(rows, lambda b: _unit(common(b)[0].copy()))

    @property
    def seconds(self) -> float:
        """How long making rows has taken so far."""
        return sum(view.seconds for view in (self.targets, *self.members))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return rows
