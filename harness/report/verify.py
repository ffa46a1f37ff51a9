"""Whether the figures of a published leaderboard come out of a run again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.ensemble.blend import evaluate
from harness.errors import InputError
from harness.report.figures import ALL, Figures, score_again
from harness.report.recipe import run_command
from harness.store.run import ALL_ROWS, RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Blender, BlendProblem, PluginManager
    from harness.report.reading import Published

EXACT = 1e-6
"""How far a score may be off where versions and machine are those of the publication: there, training repeats itself
bit by bit, and what is left is the order of sums. At this tolerance or below, digests are compared, too."""
ELSEWHERE = 5e-3
"""How far it may be off elsewhere: other versions and processors round otherwise, and training amplifies it. A choice
that leaves room for mixed precision; another number of threads alone moves scores by less than ``EXACT``."""
WEIGHT = 1e-4
"""How far a weight may be off without its blend being looked at."""
SAME_OPTIMUM = 1e-9
"""How far the scores of two sets of weights may be apart that are both an optimum of the same problem."""
Verdict = Literal["same", "differs"]

_TIMED = {"fit_seconds", "images_per_second"}
_PLACES = {"name", "layout"}
"""Follow from where and how the data lies; its fingerprint says what it is."""
_NAMES = {"plugin", "distribution", "method"}
_BITWISE = {"predictions_sha256", "starts", "starts_agreeing", "order"}
"""Compared only where nothing may differ: they jump where a score moves in its last bits."""
_COMPLETE = {"slices", "keys", "config"}
"""Mappings in which nothing may be missing. (What a later version adds elsewhere is no difference.)"""


@dataclass(frozen=True)
class Figure:
    """One figure of a published document, and what came out now.

    Parameters
    ----------
    row
        The member or blending method it belongs to; empty: the data or the folds.
    name
        Such as ``score``, ``slices.sd14``, ``weights.knn``.
    published, found
        Both as JSON values; None where there is none.
    difference
        Found minus published, of numbers.
    verdict
        Whether they are the same within the tolerance.
    """

    row: str
    name: str
    published: Any
    found: Any
    difference: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Verification:
    """What became of one published document.

    Parameters
    ----------
    published
        The document.
    run
        Where its figures were looked for; None: they were not.
    recomputed
        Whether the run was computed for this.
    tolerance
        In force for scores.
    figures
        All that were compared.
    reason
        Why it was not checked; empty if it was.
    """

    published: Published
    run: Path | None = None
    recomputed: bool = False
    tolerance: float = EXACT
    figures: Sequence[Figure] = ()
    reason: str = ""

    @property
    def differing(self) -> list[Figure]:
        """The figures that did not come out again."""
        return [figure for figure in self.figures if figure.verdict == "differs"]

    @property
    def state(self) -> Literal["verified", "differs", "not checked"]:
        """In two words at most."""
        if self.run is None:
            return "not checked"
        return "differs" if self.differing else "verified"

    def document(self) -> dict[str, Any]:
        """Return its part of the JSON document of ``harness leaderboard --verify``."""
        return {
            "file": str(self.published.path),
            "dataset": self.published.data["dataset"]["name"],
            "state": self.state,
            "reason": self.reason or None,
            "run_dir": None if self.run is None else str(self.run),
            "recomputed": self.recomputed,
            "tolerance": None if self.run is None else self.tolerance,
            "figures": [asdict(figure) for figure in self.figures],
        }


# -- which run -----------------------------------------------------------------------------------


class _Part(RunFolder):
    """A run as if it had only the members that were published: others would change who leads."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        super().__init__(path)
        self._names = names

    @property
    def document(self) -> dict[str, Any]:
        document = super().document
        return {**document, "members": {name: document["members"][name] for name in self._names}}


def lacks(run: RunFolder, published: Published) -> str:
    """Return why a run cannot be what was published; empty if it can: the same folds, members and keys."""
    if run.document["folds"]["fold_hash"] != published.data["folds"]["hash"]:
        return "its folds are others"
    members = run.members
    for row in published.data["rows"]:
        name = row["plugin"]
        if name not in members:
            return f"it has no member '{name}'"
        keys = {ALL if fold == ALL_ROWS else str(fold): key for fold, key in members[name].keys.items()}
        if keys != row["keys"]:
            return f"its member '{name}' has another configuration or version"
        if len(run.records(members[name])) < len(keys):
            return f"its member '{name}' is not finished"
    return ""


def matching_run(published: Published, runs: Iterable[RunFolder]) -> RunFolder | None:
    """Return the first of some runs that can be what was published."""
    return next((run for run in runs if not lacks(run, published)), None)


def check_versions(published: Published, manager: PluginManager) -> None:
    """Refuse to compute what was published with other predictors than those installed.

    Raises
    ------
    InputError
        If a predictor is not installed, or in another version.
    """
    for row in published.data["rows"]:
        try:
            version = manager.predictor(row["predictor"]).version
        except InputError as error:
            raise InputError(f"{published.path}: '{row['plugin']}' cannot be computed again: {error}") from error
        if version != row["version"]:
            raise InputError(
                f"{published.path}: '{row['plugin']}' was published with version {row['version']} of the predictor "
                f"{row['predictor']}, and version {version} is installed ({row['distribution']} brought the former); "
                "install that, or publish anew"
            )


# -- what it says --------------------------------------------------------------------------------


def verify(
    published: Published,
    run: RunFolder,
    manager: PluginManager,
    *,
    tolerance: float | None = None,
    recomputed: bool = False,
) -> Verification:
    """Score a run again from its stored predictions, learn its blends again, and compare every figure.

    Seconds and rates are not compared.

    Parameters
    ----------
    run
        With all members that were published.
    tolerance
        For scores; None: ``EXACT`` where the run's versions and machine are the published ones, else ``ELSEWHERE``.

    Raises
    ------
    InputError
        If a blending method is not installed.
    """
    data = published.data
    if tolerance is None:
        tolerance = EXACT if _same_place(data, run.document) else ELSEWHERE
    part = _Part(run.path, published.members)
    try:
        blenders = [manager.blender(blend["method"]) for blend in data["blends"]]
    except InputError as error:
        raise InputError(f"{published.path}: a blend cannot be learned again: {error}") from error
    found = score_again(part, published.members, blenders)
    figures = [*_of_head(data, found, tolerance), *_of_rows(data, found, tolerance)]
    for blend, again, blender in zip(data["blends"], found.blends, blenders, strict=True):
        figures += _of_blend(blend, again, _Weighing(found.problem, blender, part), tolerance)
    return Verification(published, run.path, recomputed, tolerance, figures)


def _same_place(data: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether versions and machine are those of the publication. How much memory it has changes no figure."""

    def machine(document: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in document["machine"].items() if key != "memory_bytes"}

    return bool(data["versions"] == facts["versions"]) and machine(data) == machine(facts)


def _of_head(data: Mapping[str, Any], found: Figures, tolerance: float) -> Iterator[Figure]:
    for part in ("dataset", "folds"):
        for name, value in data[part].items():
            if part == "dataset" and name in _PLACES:
                continue
            yield from _compared("", f"{part}.{name}", value, found.head[part].get(name), tolerance)
    yield from _compared("", "commands.run", data["commands"]["run"], run_command(data["config"]), tolerance)


def _of_rows(data: Mapping[str, Any], found: Figures, tolerance: float) -> Iterator[Figure]:
    again = {row["plugin"]: row for row in found.rows}
    ranks = [row["plugin"] for row in data["rows"]], list(again)
    yield from _compared("", "order", *ranks, tolerance)
    for row in data["rows"]:
        for name, value in row.items():
            if name not in _TIMED | _NAMES:
                yield from _compared(row["plugin"], name, value, again[row["plugin"]].get(name), tolerance)


def _compared(row: str, name: str, published: Any, found: Any, tolerance: float) -> Iterator[Figure]:
    """Compare one value, or every value of a mapping; numbers within the tolerance, all else exactly."""
    if isinstance(published, dict) and isinstance(found, dict):
        more = [key for key in found if key not in published] if name in _COMPLETE else []
        for key in [*published, *more]:
            yield from _compared(row, f"{name}.{key}", published.get(key), found.get(key), tolerance)
        return
    if tolerance > EXACT and (name in _BITWISE or (isinstance(published, bool) and name.startswith("tied"))):
        return
    if isinstance(published, list) and isinstance(found, list) and len(published) == len(found):
        for i, (one, other) in enumerate(zip(published, found, strict=True)):
            yield from _compared(row, f"{name}[{i}]", one, other, tolerance)
        return
    difference, same = None, published == found
    if _is_number(published) and _is_number(found):
        difference = float(found - published)
        if isinstance(published, float) or isinstance(found, float):
            same = abs(difference) <= tolerance
    yield Figure(row, name, published, found, difference, "same" if same else "differs")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# -- blends --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Weighing:
    """The problem that a blend's weights were learned on, for looking at other weights."""

    problem: BlendProblem
    blender: Blender
    run: RunFolder

    def score(self, weights: Mapping[str, float], without: int | None = None) -> float:
        """Return the mean cosine of given weights on all rows, or on those outside a fold."""
        fold, group = self.run.rows.fold, self.run.rows.group
        kept: NDArray[np.bool_] = np.ones(len(fold), dtype=bool) if without is None else fold != without
        given = _Given(np.array([weights[name] for name in self.problem.members]))
        return evaluate(self.problem.take(kept), given, fold[kept], group[kept]).score


class _Given:
    """A blender that has learned already."""

    name = "given"
    summary = "weights as given"

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self._weights = weights

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        """Return them."""
        return self._weights


def _of_blend(
    blend: Mapping[str, Any], again: Mapping[str, Any], weighing: _Weighing, tolerance: float
) -> Iterator[Figure]:
    method = str(blend["method"])
    for name, value in blend.items():
        if name not in _NAMES | {"weights", "fold_weights", "best_single"}:
            yield from _compared(method, name, value, again.get(name), tolerance)
    single, single_again = blend["best_single"], again["best_single"]
    yield from _compared(method, "best_single.score", single["score"], single_again["score"], tolerance)
    if tolerance <= EXACT:
        yield from _compared(method, "best_single.plugin", single["plugin"], single_again["plugin"], tolerance)
    yield from _of_weights(method, "weights", blend["weights"], again["weights"], weighing, tolerance)
    folds = np.unique(weighing.run.rows.fold).tolist()
    if len(blend["fold_weights"]) != len(folds):
        yield Figure(method, "fold_weights", len(blend["fold_weights"]), len(folds), None, "differs")
        return
    pairs = zip(folds, blend["fold_weights"], again["fold_weights"], strict=True)
    for fold, value, found in pairs:
        yield from _of_weights(method, f"fold_weights[{fold}]", value, found, weighing, tolerance, fold)


def _of_weights(
    method: str,
    name: str,
    published: Mapping[str, float],
    found: Mapping[str, float],
    weighing: _Weighing,
    tolerance: float,
    without: int | None = None,
) -> Iterator[Figure]:
    """Compare weights one by one; where one is off, others may still be an optimum of the same score."""
    if published.keys() != found.keys():
        yield Figure(method, name, sorted(published), sorted(found), None, "differs")
        return
    off = {member for member in found if not abs(found[member] - published[member]) <= WEIGHT}
    if off and any(published.values()):
        apart = abs(weighing.score(published, without) - weighing.score(found, without))
        length = abs(sum(published.values()) - sum(found.values()))
        if apart <= (SAME_OPTIMUM if tolerance <= EXACT else tolerance) and length <= WEIGHT:
            off = set()
    for member, weight in found.items():
        verdict: Verdict = "differs" if member in off else "same"
        yield Figure(method, f"{name}.{member}", published[member], weight, float(weight - published[member]), verdict)
