"""Members of equal skill in a population one can draw from again, to see what a learned blend is truly worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.ensemble.blend import evaluate
from harness.ensemble.gram import blend_problem, score
from harness.plugin import Blender, BlendProblem
from tests.ensemble.problems import folds_of

FOLDS = 5
_FRESH = 8_000
_ELSEWHERE = 2_000


@dataclass(frozen=True)
class Equals:
    """K members, each the target plus a shared and an own error of the same size, in a small dimension.

    No member is better than another, so whatever a method finds to prefer in a sample is chance: the hardest case for
    an estimate made on the rows that weights were learned on.

    Parameters
    ----------
    error_alone
        The last member is the shared error and nothing else, so that it is worth a negative weight.
    """

    k: int
    noise: float = 2.0
    dim: int = 8
    error_alone: bool = False

    def draw(self, n: int, rng: np.random.Generator) -> BlendProblem:
        """Return the problem of n rows."""
        targets, shared = rng.normal(size=(2, n, self.dim))
        views = [targets + self.noise * (0.5 * shared + rng.normal(size=(n, self.dim))) for _ in range(self.k)]
        if self.error_alone:
            views[-1] = shared + 0.3 * rng.normal(size=shared.shape)
        return blend_problem([f"m{i}" for i in range(self.k)], [v.astype(np.float32) for v in views], targets)


@dataclass(frozen=True)
class Errors:
    """Estimate minus truth, one number a simulation: of the nested score, and of the score on the learned rows."""

    nested: NDArray[np.float64]
    fitted: NDArray[np.float64]


def errors(blender: Blender, population: Equals, n: int, simulations: int, seed: int = 0) -> Errors:
    """Learn blends on samples of n rows, and score their weights on one large sample of rows never seen.

    The truth of the nested score is that of the weights learned without each fold, averaged over the folds as the
    nested score is; the truth of the fitted score is that of the weights learned on all rows.

    How easy the rows of a sample are moves the scores of all good weights on them alike. Weights learned once, on other
    rows, score on a sample what they truly do but for this ease, which has mean 0: subtracting it (a control variate;
    Owen 2013, Monte Carlo theory, methods and examples, section 8.9) takes no bias away, but most of the noise.
    """
    rng = np.random.default_rng(seed)
    fresh = population.draw(_FRESH, rng)
    folds = folds_of(np.arange(n) % FOLDS)
    shares = np.bincount(folds.fold) / n
    fixed = blender.weights(population.draw(_ELSEWHERE, rng))
    nested, fitted = [], []
    for _ in range(simulations):
        sample = population.draw(n, rng)
        result = evaluate(sample, blender, folds)
        ease = score(sample, fixed) - score(fresh, fixed)
        truth = [score(fresh, np.array(list(weights.values()))) for weights in result.fold_weights]
        nested.append(result.nested.mean - shares @ truth - ease)
        fitted.append(result.score - score(fresh, np.array(list(result.weights.values()))) - ease)
    return Errors(np.array(nested), np.array(fitted))


def bias(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of some differences and its standard error."""
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))
