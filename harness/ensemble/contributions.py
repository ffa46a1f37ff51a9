"""What each member brought to a blend: its Shapley value, what is lost without it, and who errs alike.

The value of a coalition is its nested score: the mean cosine of the method's blend of these members alone, its weights
learned without a fold and scored on it; that of no members is 0. A Shapley value is the mean, over all orders in which
the members may come, of what a member adds to those before it (Shapley 1953).

Of many members they are sampled from permutations (Castro, Gómez & Tejada 2009), which are drawn in circles: a random
circular order, read from each member on, in both directions. Each member then stands at each place equally often, so
that the great difference between coming first and coming later cancels (stratification by place); each permutation
comes with its reverse (antithetic; Mitchell, Cooper, Frank & Holmes 2022); and as all that comes before is an arc of
the circle, 2K permutations need no more than K(K - 1) + 1 coalitions. The standard error is that of the mean over
circles, which are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb, isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.ensemble.blend import nested_rows
from harness.ensemble.simplex import AGREEING
from harness.scoring.cosine import Interval, group_interval
from harness.store.schema import ContributionFacts, LossFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.folds import Folds
    from harness.plugin import Blender, BlendProblem

EXACT_MEMBERS = 8
"""Up to this many members every coalition is blended; that of 8 are 255."""
CIRCLES = 4
"""Circular orders drawn where there are more: 2K permutations each, and at most K(K - 1) + 1 coalitions."""
_STILL = 1e-7  # a smaller spread of cosines is the rounding of float32 predictions


@dataclass(frozen=True)
class Contributions:
    """What each of K members brought.

    Parameters
    ----------
    members
        K names.
    shapley
        Shapley value of each member, shape (K,); they sum to the nested score of the blend of all.
    shapley_error
        Standard error of each, shape (K,); None where they are exact.
    permutations
        How many permutations they were sampled from; None where they are exact.
    leave_one_out
        Nested score of the blend of all minus that of the blend learned without the member, paired by row, with its
        interval: positive where the member helps. None for an only member: without it there is no blend.
    error_correlation
        Pearson correlation over rows of the members' errors, 1 - cosine, shape (K, K); NaN where a member errs the
        same on every row.
    prediction_cosine
        Mean over rows of the cosine between the members' predictions, shape (K, K).
    """

    members: tuple[str, ...]
    shapley: NDArray[np.float64]
    shapley_error: NDArray[np.float64] | None
    permutations: int | None
    leave_one_out: tuple[Interval, ...] | None
    error_correlation: NDArray[np.float64]
    prediction_cosine: NDArray[np.float64]

    @property
    def needless(self) -> list[str]:
        """The members whose leave-one-out interval includes 0: these rows do not show that the blend needs them."""
        return [name for name, loss in self._losses() if includes_zero(loss)]

    @property
    def harmful(self) -> list[str]:
        """The members whose leave-one-out interval lies below 0: the blend does better without them."""
        return [name for name, loss in self._losses() if loss.ends and loss.ends[1] < -AGREEING]

    def _losses(self) -> list[tuple[str, Interval]]:
        return [] if self.leave_one_out is None else list(zip(self.members, self.leave_one_out, strict=True))

    def facts(self) -> ContributionFacts:
        """Return what ``blend.json`` says of it."""
        k = len(self.members)
        errors = [None] * k if self.shapley_error is None else self.shapley_error.tolist()
        losses = [None] * k if self.leave_one_out is None else [_loss(loss) for loss in self.leave_one_out]
        return ContributionFacts(
            shapley=dict(zip(self.members, self.shapley.tolist(), strict=True)),
            shapley_error=dict(zip(self.members, errors, strict=True)),
            exact=self.permutations is None,
            permutations=self.permutations,
            leave_one_out=dict(zip(self.members, losses, strict=True)),
            error_correlation=self._named(self.error_correlation),
            prediction_cosine=self._named(self.prediction_cosine),
        )

    def document(self) -> dict[str, Any]:
        """Return the value of ``contributions`` in the JSON document of ``harness ensemble``."""
        return self.facts().model_dump(mode="json")

    def _named(self, matrix: NDArray[np.float64]) -> dict[str, dict[str, float | None]]:
        return {
            name: {other: None if isnan(value) else value for other, value in zip(self.members, row, strict=True)}
            for name, row in zip(self.members, matrix.tolist(), strict=True)
        }


def includes_zero(loss: Interval) -> bool | None:
    """Return whether a leave-one-out interval includes 0; None where there is none (a single group of rows).

    Searches that end within 1e-6 of each other have found the same, so an interval that comes as near to 0 includes it.
    """
    return None if loss.ends is None else loss.ends[0] <= AGREEING and loss.ends[1] >= -AGREEING


def _loss(loss: Interval) -> LossFacts:
    return LossFacts(**loss.facts().model_dump(), includes_zero=includes_zero(loss))


def contributions(
    problem: BlendProblem,
    blender: Blender,
    folds: Folds,
    *,
    exact_members: int = EXACT_MEMBERS,
    circles: int = CIRCLES,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Contributions:
    """Say what each member brought to a method's blend.

    Parameters
    ----------
    problem, blender, folds
        As ``evaluate`` has them.
    exact_members
        With more members than these, Shapley values are sampled.
    circles
        How many circular orders are drawn, at least 2.
    seed
        Of the draw.
    progress
        Called with the coalitions blended so far and in all.
    """
    k = len(problem.members)
    drawn = None if k <= exact_members else _draw(k, circles, seed)
    wanted = set(range(1, 2**k)) if drawn is None else {mask for order in _orders(drawn) for mask in _before(order)[1:]}
    values, rows, everyone = {0: 0.0}, {}, 2**k - 1
    for done, mask in enumerate(sorted(wanted)):
        progress(done, len(wanted))
        nested = nested_rows(problem.restrict([i for i in range(k) if mask >> i & 1]), blender, folds)
        values[mask] = float(nested.mean())
        if mask.bit_count() >= k - 1:
            rows[mask] = nested
    progress(len(wanted), len(wanted))
    losses = (group_interval(rows[everyone] - rows[everyone ^ 1 << i], folds.group) for i in range(k) if k > 1)
    shapley, error = (_exact(values, k), None) if drawn is None else _sampled(values, drawn)
    return Contributions(
        members=tuple(problem.members),
        shapley=shapley,
        shapley_error=error,
        permutations=None if drawn is None else 2 * k * len(drawn),
        leave_one_out=tuple(losses) or None,
        error_correlation=error_correlation(problem.agreement),
        prediction_cosine=problem.mean_gram,
    )


def error_correlation(agreement: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Pearson correlation of the members' errors, 1 - cosine, shape (K, K).

    Parameters
    ----------
    agreement
        Cosine of each member on each row, shape (n, K). Where a member's does not vary, its correlations are NaN.
    """
    k = agreement.shape[1]
    varies = np.flatnonzero(agreement.std(axis=0) > _STILL)
    correlation = np.full((k, k), np.nan)
    if len(varies):
        correlation[np.ix_(varies, varies)] = np.corrcoef(1.0 - agreement[:, varies], rowvar=False)
    return correlation


def _exact(values: Mapping[int, float], k: int) -> NDArray[np.float64]:
    """Return the Shapley values from the value of every coalition, a bit a member."""
    shapley = np.zeros(k)
    for mask in range(2**k - 1):
        share = 1.0 / (k * comb(k - 1, mask.bit_count()))
        for i in range(k):
            if not mask >> i & 1:
                shapley[i] += share * (values[mask | 1 << i] - values[mask])
    return shapley


def _sampled(
    values: Mapping[int, float], drawn: Sequence[list[int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean over circles of what each member added, and its standard error."""
    added = np.zeros((len(drawn), len(drawn[0])))
    for circle, total in zip(drawn, added, strict=True):
        for order in _orders([circle]):
            total[order] += np.diff([values[mask] for mask in _before(order)])
    added /= 2 * len(drawn[0])
    return added.mean(axis=0), added.std(axis=0, ddof=1) / np.sqrt(len(drawn))


def _draw(k: int, circles: int, seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.permutation(k).tolist() for _ in range(circles)]


def _orders(drawn: Sequence[list[int]]) -> Iterator[list[int]]:
    """Yield the permutations of each circle: read from each member on, and the same backwards."""
    for circle in drawn:
        for start in range(len(circle)):
            order = circle[start:] + circle[:start]
            yield order
            yield order[::-1]


def _before(order: Sequence[int]) -> list[int]:
    """Return the coalitions a permutation runs through, from none to all, K + 1 of them, a bit a member."""
    masks = [0]
    for i in order:
        masks.append(masks[-1] | 1 << i)
    return masks
