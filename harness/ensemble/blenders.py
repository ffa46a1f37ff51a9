"""The blending methods that come with the harness, brought by the same hook and entry point as anyone's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from harness.ensemble.greedy import GreedyBlender
from harness.ensemble.least_squares import NnlsBlender, best_single
from harness.ensemble.signed import SignedBlender
from harness.ensemble.simplex import SimplexBlender
from harness.plugin import hookimpl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Blender, BlendProblem

DEFAULT = "simplex"
"""The method where none is named, and the one that the submission is made with where all are compared."""


class UniformBlender:
    """The same weight for every member."""

    name = "uniform"
    summary = "equal weights"

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        """Return 1/K for each member."""
        k = len(problem.members)
        return np.full(k, 1.0 / k)


class BestBlender:
    """The best single member, alone."""

    name = "best"
    summary = "the best single member alone"

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        """Return 1 for the member with the highest mean cosine, 0 for the others."""
        return best_single(problem)


BUILT_IN: dict[str, Blender] = {
    blender.name: blender
    for blender in (
        SimplexBlender(),
        SignedBlender(),
        NnlsBlender(),
        GreedyBlender(),
        UniformBlender(),
        BestBlender(),
    )
}


@hookimpl
def harness_register_blenders(register: Callable[[Blender], None]) -> None:
    """Register the six methods."""
    for blender in BUILT_IN.values():
        register(blender)
