"""Learning weights with the harness beside greedy selection and optimisers that work on the predictions themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.raw_weights import DEFAULT_ROUNDS
from tests.benchmarks.result import Result
from tests.benchmarks.weights_cell import raw_bytes

ROOT = Path(__file__).resolve().parents[2]
OUR_ROUNDS = 100  # of the harness's greedy
GOAL_CELL = (20_000, 10)
ONLY_WHEN_NAMED = (1_000_000, 30)  # takes longer than all the others together
_TOLERANCE = 1e-6
_KEPT_FREE = 0.1


@dataclass(frozen=True)
class Options:
    """What to measure.

    Parameters
    ----------
    rows, members
        Every pair is a cell; None: the published ones, but for 1 000 000 rows of 30 members.
    seconds
        After how long a method on the predictions is stopped. A greedy selection is then extrapolated from the rounds
        it has done; in the cell of the goal it is never stopped.
    raw_rows
        On more rows than these, methods on the predictions are not run but extrapolated from the most they ran on.
    memory_gb
        How much a method may need by the arithmetic of its arrays; None: nine tenths of what is free.
    autogluon
        A Python that can import ``autogluon.core``; None: the one named by ``AUTOGLUON_PYTHON``, or this one.
    """

    rows: Sequence[int] | None = None
    members: Sequence[int] | None = None
    seconds: float = 20.0
    raw_rows: int = 100_000
    memory_gb: float | None = None
    autogluon: str | None = None

    def cells(self) -> list[tuple[int, int]]:
        pairs = [(n, k) for n in self.rows or (2_000, 20_000, 1_000_000) for k in self.members or (3, 10, 30)]
        named = self.rows is not None and self.members is not None
        return [pair for pair in pairs if named or pair != ONLY_WHEN_NAMED]

    def memory_bytes(self) -> float:
        """Return how much a method may need."""
        if self.memory_gb is None:
            return (1.0 - _KEPT_FREE) * psutil.virtual_memory().available
        return self.memory_gb * 1e9


@dataclass(frozen=True)
class Way:
    """A way of learning weights on the predictions, and what to call it."""

    method: str
    name: str
    rounds: int = 0


@dataclass(frozen=True)
class Beside:
    """What a way took.

    Parameters
    ----------
    text
        In words.
    seconds
        None where nothing is known.
    bound
        How the ratio is marked: "" measured, "~" extrapolated, ">" stopped before its end.
    score
        None where it was not run.
    """

    text: str
    seconds: float | None
    bound: str
    score: float | None

    def ratio(self, ours: float) -> str:
        return "" if self.seconds is None else f"{self.bound} {_count(self.seconds / ours)} x".strip()


def autogluon_python(named: str | None = None) -> str | None:
    """Return a Python that can import AutoGluon's ensembles, or None.

    Raises
    ------
    SystemExit
        If one was named and cannot.
    """
    named = named or os.environ.get("AUTOGLUON_PYTHON")
    python = named or sys.executable
    found = subprocess.run([python, "-c", "import autogluon.core, scipy"], capture_output=True, text=True)
    if found.returncode == 0:
        return python
    if named:
        raise SystemExit(f"{named} cannot import autogluon.core: {found.stderr.strip().splitlines()[-1]}")
    return None


def run_cell(options: dict[str, Any], python: str = sys.executable) -> dict[str, Any]:
    """Run one cell in a process of its own, which gets this one's environment, threads included."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [python, "-m", "tests.benchmarks.weights_cell", json.dumps(options)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def ways(python: str | None) -> list[Way]:
    """Return what to compare with: AutoGluon's class where there is one, and always the selection written anew."""
    anew = "greedy selection written anew"
    return [
        *([Way("autogluon", "AutoGluon", rounds) for rounds in (DEFAULT_ROUNDS, OUR_ROUNDS)] if python else []),
        *([] if python else [Way("greedy", anew, DEFAULT_ROUNDS)]),
        Way("greedy", anew, OUR_ROUNDS),
        Way("slsqp", "SLSQP, numeric gradient"),
        Way("slsqp_analytic", "SLSQP, analytic gradient"),
        Way("nelder_mead", "Nelder-Mead"),
    ]


def measure(options: Options | None = None) -> Iterator[Result]:
    """Compare cell by cell, and check at the end that ``simplex`` was nowhere beaten."""
    options = options or Options()
    python = autogluon_python(options.autogluon)
    largest: dict[tuple[Way, int], tuple[int, Beside]] = {}
    beaten = []
    for n, k in sorted(options.cells()):
        where = f"weights of {_count(n)} rows, {k} members"
        need, may = n * k * (k + 1) * 8, options.memory_bytes()
        if need > may:
            yield Result(f"{where}: simplex, greedy", _too_large(need, may), "", "", "")
            continue
        ours = _cell({"rows": n, "members": k, "method": "harness"})
        scores = {"our greedy": ours["greedy"]["score"]}
        for way in ways(python):
            beside = refused(way, n, k, options, largest.get((way, k)))
            if beside is None:
                beside = _run(way, n, k, options, python)
                largest[way, k] = (n, beside)
            if beside.score is not None:
                scores[way.name] = beside.score
            goal = "< 0.5 s, >= 50 x, score no lower" if way.rounds and (n, k) == GOAL_CELL else ""
            for method in ("simplex", "greedy") if way.rounds == OUR_ROUNDS else ("simplex",):
                ratio = beside.ratio(ours[method]["seconds"])
                shown = goal if method == "simplex" else ""
                yield Result(f"{where}: {method}", _own(ours[method]), beside.text, ratio, shown)
        best = ours["simplex"]["score"] + _TOLERANCE
        beaten += [f"{where}: {name} {score}" for name, score in scores.items() if score > best]
    assert not beaten, f"simplex found worse weights than {'; '.join(beaten)}"


def _cell(options: dict[str, Any], python: str = sys.executable) -> dict[str, Any]:
    """Run a cell and say on stderr how long that took with all around it."""
    began = time.perf_counter()
    answer = run_cell(options, python)
    sys.stderr.write(f"{json.dumps(options)}: {time.perf_counter() - began:.0f} s\n")
    return answer


def _run(way: Way, n: int, k: int, options: Options, python: str | None) -> Beside:
    limit = None if way.rounds and (n, k) == GOAL_CELL else options.seconds
    asked = {"rows": n, "members": k, "method": way.method, "rounds": way.rounds, "limit": limit}
    answer = _cell(asked, python if way.method == "autogluon" and python else sys.executable)
    return told(way, answer)


def told(way: Way, answer: dict[str, Any]) -> Beside:
    """Say what a cell measured, and what of it is extrapolated or cut short."""
    name = f"AutoGluon {answer['version']} EnsembleSelection" if answer["version"] else way.name
    took, done = answer["seconds"], answer["done"]
    score, memory = f"score {answer['score']:.6f}", f"{_count(answer['peak'] / 1e6)} MB"
    if way.rounds:
        name = f"{name}, {way.rounds} rounds"
        if answer["complete"]:
            return Beside(f"{name}: {took:.2f} s, {score}, {memory}", took, "", answer["score"])
        whole = took * way.rounds / done
        text = f"{name}: {_count(whole)} s extrapolated from {done} rounds in {took:.1f} s, {score} by then, {memory}"
        return Beside(text, whole, "~", answer["score"])
    if answer["complete"]:
        text = f"{name}: {took:.2f} s, {_count(done)} evaluations, {score}, {memory}"
        return Beside(text, took, "", answer["score"])
    text = f"{name}: stopped after {took:.1f} s and {_count(done)} evaluations, {score} by then, {memory}"
    return Beside(text, took, ">", answer["score"])


def refused(way: Way, n: int, k: int, options: Options, measured: tuple[int, Beside] | None) -> Beside | None:
    """Say why a way is not run and, where it was run on fewer rows, what those tell; None if it is to be run."""
    need, may = raw_bytes(way.method, n, k), options.memory_bytes()
    if need <= may and n <= options.raw_rows:
        return None
    name = f"{way.name}, {way.rounds} rounds" if way.rounds else way.name
    why = _too_large(need, may) if need > may else f"not run on over {_count(options.raw_rows)} rows"
    if measured is None or measured[1].seconds is None:
        return Beside(f"{name}: {why}", None, "", None)
    rows, beside = measured
    whole = measured[1].seconds * n / rows
    least = "at least " if beside.bound == ">" else ""
    text = f"{name}: {why}; {least}{_count(whole)} s extrapolated from {_count(rows)} rows"
    return Beside(text, whole, beside.bound or "~", None)


def _own(each: dict[str, Any]) -> str:
    text = f"{each['seconds']:.2f} s (Gram pass {each['gram_seconds']:.2f}, solving {each['solve_seconds']:.2f})"
    text += f", score {each['score']:.6f}, {_count(each['peak'] / 1e6)} MB"
    made = each["making_seconds"]
    return f"{text}; rows made meanwhile in {made:.0f} s, not counted" if made else text


def _too_large(need: int, may: float) -> str:
    return f"not run: needs {need / 1e9:.2g} GB, {may / 1e9:.2g} GB may be used"


def _count(number: float) -> str:
    """Return a whole number with its thousands apart, or one decimal where it is small."""
    return f"{number:.1f}" if number < 10 and number != int(number) else f"{number:,.0f}".replace(",", " ")
