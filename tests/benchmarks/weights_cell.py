"""``python -m tests.benchmarks.weights_cell JSON``: one cell of the benchmark ``weights``, in a process of its own."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks import raw_weights
from tests.benchmarks.simulated import Simulation

HELD_BYTES = 2 * 1024**3
"""Up to here the Gram pass, too, is given arrays; beyond, rows that are made a slice at a time."""
_CHUNK = 4096
_REPEATS = 3
_WORTH_REPEATING = 5.0  # seconds: what takes longer is not thrown out by what else the machine does


def raw_bytes(method: str, rows: int, members: int) -> int:
    """Return what a method on the predictions holds at its peak: arrays of rows x 384, in bytes a value."""
    given = 4 * members + 4  # predictions and targets, float32
    values = {
        "greedy": given + 2 * 8,  # the sum, the candidate
        "autogluon": given + 3 * 8 + 8 + 4,  # the mean, that mean rescaled, the candidate, and what makes it
        "slsqp": given + 8 * members + 2 * 8,  # everything again in float64, the blend
        "slsqp_analytic": given + 8 * members + 3 * 8,
        "nelder_mead": given + 8 * members + 2 * 8,
    }
    return values[method] * rows * 384


def peak_bytes() -> int:
    """Return the most memory this process has held since it began, or since the peak was last forgotten."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def score(members: Sequence[Any], targets: Any, weights: NDArray[np.float64]) -> float:
    """Return the mean cosine of a blend, from the predictions, in float64: the same for every method."""
    total = 0.0
    used = np.flatnonzero(weights)
    for start in range(0, len(targets), _CHUNK):
        rows = slice(start, start + _CHUNK)
        blended = sum(weights[k] * members[k][rows].astype(np.float64) for k in used)
        chunk = targets[rows].astype(np.float64)
        total += raw_weights.mean_cosine(chunk, blended) * len(chunk)
    return total / len(targets)


def harness_methods(members: Sequence[Any], targets: Any, making: Callable[[], float]) -> dict[str, dict[str, Any]]:
    """Time the Gram pass, ``simplex`` and ``greedy``: the least of three, or one where the rows are made meanwhile.

    Parameters
    ----------
    making
        How many seconds making rows has taken so far; that is not the Gram pass's.
    """
    from harness.ensemble.blenders import BUILT_IN
    from harness.ensemble.gram import blend_problem

    repeats = _REPEATS if isinstance(targets, np.ndarray) else 1
    names = [f"m{k}" for k in range(len(members))]

    def timed(action: Callable[[], Any]) -> tuple[float, float, Any]:
        before, began = making(), time.perf_counter()
        result = action()
        made = making() - before
        return time.perf_counter() - began - made, made, result

    def least(action: Callable[[], Any]) -> tuple[float, float, Any]:
        return min((timed(action) for _ in range(repeats)), key=lambda each: each[0])

    import scipy.optimize  # noqa: F401 - the first call of a method is not to pay for it

    gram_seconds, made, problem = least(lambda: blend_problem(names, members, targets))
    gram_peak = peak_bytes()
    found = {}
    for method in ("simplex", "greedy"):
        forget_peak()
        took, _, weights = least(lambda method=method: BUILT_IN[method].weights(problem))
        found[method] = {
            "gram_seconds": gram_seconds,
            "solve_seconds": took,
            "making_seconds": made,
            "seconds": gram_seconds + took,
            "weights": weights.tolist(),
            "peak": max(gram_peak, peak_bytes()),
        }
    for each in found.values():
        each["score"] = score(members, targets, np.array(each["weights"]))
    return found


def raw_method(
    method: str, members: raw_weights.Members, targets: NDArray[np.float32], rounds: int, limit: float
) -> dict[str, Any]:
    """Time one method on the predictions themselves: the least of three, or fewer where they take long."""
    import scipy.optimize  # noqa: F401

    actions: dict[str, Callable[[], raw_weights.Found]] = {
        "greedy": lambda: raw_weights.greedy(members, targets, rounds, limit),
        "autogluon": lambda: raw_weights.autogluon(members, targets, rounds, limit),
        "slsqp": lambda: raw_weights.slsqp(members, targets, limit),
        "slsqp_analytic": lambda: raw_weights.slsqp(members, targets, limit, analytic=True),
        "nelder_mead": lambda: raw_weights.nelder_mead(members, targets, limit),
    }
    version = ""
    if method == "autogluon":
        raw_weights.autogluon([each[:8] for each in members], targets[:8], 1)  # imports it
        version = importlib.metadata.version("autogluon.core")
    times: list[float] = []
    while len(times) < _REPEATS and sum(times) < _WORTH_REPEATING:
        began = time.perf_counter()
        found = actions[method]()
        times.append(time.perf_counter() - began)
    return {
        "seconds": min(times),
        "done": found.done,
        "complete": found.complete,
        "weights": found.weights.tolist(),
        "peak": peak_bytes(),
        "score": score(members, targets, found.weights),
        "version": version,
    }


def held(rows: int, members: int, seed: int) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Make all rows, and keep nothing of what they were made with."""
    simulation = Simulation(rows, members, seed)
    return [member[:] for member in simulation.members], simulation.targets[:]


def main(options: dict[str, Any]) -> dict[str, Any]:
    """Make the members and run what is asked: ``method`` is ``harness`` or one on the predictions."""
    rows, k, method, seed = options["rows"], options["members"], options["method"], options.get("seed", 0)
    if method == "harness" and rows * k * 384 * 4 > HELD_BYTES:
        simulation = Simulation(rows, k, seed)
        return harness_methods(simulation.members, simulation.targets, lambda: simulation.seconds)
    members, targets = held(rows, k, seed)
    forget_peak()
    if method == "harness":
        return harness_methods(members, targets, lambda: 0.0)
    limit = options.get("limit")
    return raw_method(method, members, targets, options.get("rounds", 0), np.inf if limit is None else limit)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))) + "\n")
