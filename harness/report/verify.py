"""Whether the figures of a published leaderboard come out of a run again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.ensemble.gram import score
from harness.errors import InputError
from harness.report.figures import Figures, RunPart, score_again
from harness.report.matching import KeysOf, gained
from harness.report.recipe import run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.data.folds import Folds
    from harness.plugin import BlendProblem, PluginManager
    from harness.report.reading import Published
    from harness.store.published import PublishedBlend, PublishedDocument
    from harness.store.run import RunFolder
    from harness.store.schema import RunDocument

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
_UNCOMPARED: Mapping[str, Any] = {"name": True, "layout": True, "texts": {"notes"}}
"""The first two follow from where and how the data lies, and its fingerprint says what it is; the last are words."""
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
            "dataset": self.published.document.dataset.name,
            "state": self.state,
            "reason": self.reason or None,
            "run_dir": None if self.run is None else str(self.run),
            "recomputed": self.recomputed,
            "tolerance": None if self.run is None else self.tolerance,
            "figures": [asdict(figure) for figure in self.figures],
        }


# -- what it says --------------------------------------------------------------------------------


def verify(
    published: Published,
    run: RunFolder,
    manager: PluginManager,
    keys_of: KeysOf,
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
    keys_of
        As for ``harness.report.matching.gained``.
    tolerance
        For scores; None: ``EXACT`` where the run's versions and machine are the published ones, else ``ELSEWHERE``.

    Raises
    ------
    InputError
        If a blending method is not installed.
    """
    document = published.document
    if tolerance is None:
        tolerance = EXACT if _same_place(document, run.document) else ELSEWHERE
    try:
        blenders = [manager.blender(blend.method) for blend in document.blends]
    except InputError as error:
        raise InputError(f"{published.path}: a blend cannot be learned again: {error}") from error
    found = score_again(RunPart(run, document.members), blenders)
    later = {row.plugin: gained(row, run.document, manager, keys_of) for row in document.rows}
    figures = [*_of_head(document, found, tolerance), *_of_rows(document, found, tolerance, later)]
    for blend, again in zip(document.blends, found.blends, strict=True):
        figures += _of_blend(blend, again, _Learned(found.problem, run.folds), tolerance)
    return Verification(published, run.path, recomputed, tolerance, figures)


def _same_place(document: PublishedDocument, facts: RunDocument) -> bool:
    """Whether versions and machine are those of the publication. How much memory it has changes no figure."""
    here = facts.machine.model_copy(update={"memory_bytes": document.machine.memory_bytes})
    return document.versions == facts.versions and document.machine == here


def _of_head(document: PublishedDocument, found: Figures, tolerance: float) -> Iterator[Figure]:
    for part, published, again in (
        (
            "dataset",
            document.dataset.model_dump(mode="json", exclude=dict(_UNCOMPARED), exclude_unset=True),
            found.dataset.model_dump(mode="json"),
        ),
        ("folds", document.folds.model_dump(mode="json"), found.folds.model_dump(mode="json")),
    ):
        for name, value in published.items():
            if name == "texts" and None in (value, again[name]):  # one of the two was not measured
                continue
            yield from _compared("", f"{part}.{name}", value, again[name], tolerance)
    yield from _compared("", "commands.run", document.commands.run, run_command(document.config), tolerance)


def _of_rows(
    document: PublishedDocument, found: Figures, tolerance: float, later: Mapping[str, frozenset[str]]
) -> Iterator[Figure]:
    again = {row.plugin: row.model_dump(mode="json") for row in found.rows}
    yield from _compared("", "order", [row.plugin for row in document.rows], list(again), tolerance)
    unmeasured = {"prompts_alike"} if None in (document.dataset.texts, found.dataset.texts) else set()
    for row in document.rows:
        new, fresh = later[row.plugin], again[row.plugin]
        left_out = _TIMED | _NAMES | unmeasured
        if new:  # the keys would be the same without them
            left_out |= {"keys"}
            fresh["config"] = {name: value for name, value in fresh["config"].items() if name not in new}
        for name, value in row.model_dump(mode="json", exclude=left_out, exclude_unset=True).items():
            yield from _compared(row.plugin, name, value, fresh[name], tolerance)


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
class _Learned:
    """What a blend's weights were learned on, for looking at other weights."""

    problem: BlendProblem
    folds: Folds

    def score(self, weights: Mapping[str, float], without: int | None = None) -> float:
        """Return the mean cosine of given weights on the rows that they were learned on: all, or without a fold."""
        problem = self.problem if without is None else self.problem.take(self.folds.training_rows(without))
        return score(problem, np.array([weights[name] for name in problem.members]))


def _of_blend(blend: PublishedBlend, again: PublishedBlend, learned: _Learned, tolerance: float) -> Iterator[Figure]:
    method, skipped = blend.method, _NAMES | {"weights", "fold_weights", "best_single"}
    values = again.model_dump(mode="json")
    for name, value in blend.model_dump(mode="json", exclude=skipped, exclude_unset=True).items():
        yield from _compared(method, name, value, values[name], tolerance)
    single, single_again = blend.best_single, again.best_single
    yield from _compared(method, "best_single.score", single.score, single_again.score, tolerance)
    if tolerance <= EXACT:
        yield from _compared(method, "best_single.plugin", single.plugin, single_again.plugin, tolerance)
    yield from _of_weights(method, "weights", blend.weights, again.weights, learned, tolerance)
    if len(blend.fold_weights) != len(again.fold_weights):
        yield Figure(method, "fold_weights", len(blend.fold_weights), len(again.fold_weights), None, "differs")
        return
    for fold, (value, found) in enumerate(zip(blend.fold_weights, again.fold_weights, strict=True)):
        yield from _of_weights(method, f"fold_weights[{fold}]", value, found, learned, tolerance, fold)


def _of_weights(
    method: str,
    name: str,
    published: Mapping[str, float],
    found: Mapping[str, float],
    learned: _Learned,
    tolerance: float,
    without: int | None = None,
) -> Iterator[Figure]:
    """Compare weights one by one; where one is off, others may still be an optimum of the same score."""
    if published.keys() != found.keys():
        yield Figure(method, name, sorted(published), sorted(found), None, "differs")
        return
    off = {member for member in found if not abs(found[member] - published[member]) <= WEIGHT}
    if off and any(published.values()):
        apart = abs(learned.score(published, without) - learned.score(found, without))
        length = abs(sum(published.values()) - sum(found.values()))
        # Where members may be others within the tolerance, weights that need not sum to one follow them.
        most, longer = (SAME_OPTIMUM, WEIGHT) if tolerance <= EXACT else (tolerance, max(tolerance, WEIGHT))
        if apart <= most and length <= longer:
            off = set()
    for member, weight in found.items():
        verdict: Verdict = "differs" if member in off else "same"
        yield Figure(method, f"{name}.{member}", published[member], weight, float(weight - published[member]), verdict)
