"""Two members or blends, or all that two runs share, against each other on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.comparing.paired import PairedComparison, compare_rows
from harness.comparing.sides import LEARN, Side, find_side, names, say_names
from harness.ensemble.blend import nested_rows, run_problem
from harness.ensemble.gram import row_scores
from harness.ensemble.learned import learned_blend
from harness.errors import InputError
from harness.plugin import PluginManager
from harness.scoring.cosine import row_cosines
from harness.scoring.tables import Table, shown, span
from harness.store.run import BLEND, RunFolder
from harness.wording import number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Blender
    from harness.store.schema import FoldFacts

_MOST_NAMES = 8


class IncompleteError(InputError):
    """A member has rows without a prediction, and so no score that could be compared."""


@dataclass(frozen=True)
class PairedComparisons:
    """Comparisons of what two sides name.

    Parameters
    ----------
    a, b
        The two sides.
    comparisons
        One, or one for each name that two whole runs share.
    scores
        The scores of A's rows and of B's that they were made of.
    left_out
        Of two whole runs: why a name is not among them.
    notes
        What a user should know, in sentences.
    """

    a: Side
    b: Side
    comparisons: list[PairedComparison]
    scores: tuple[RowScores, RowScores] = field(repr=False, compare=False)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the JSON document, which ``harness/comparing/README.md`` describes."""
        return {
            "a": self.a.text,
            "b": self.b.text,
            "run_a": str(self.a.run.path),
            "run_b": str(self.b.run.path),
            "comparisons": [comparison.document() for comparison in self.comparisons],
            "left_out": self.left_out,
        }

    def table(self) -> Table:
        """Lay the comparisons out, with what a reader should know."""
        first = self.comparisons[0]
        rows = [
            [
                c.a,
                c.b,
                shown(c.score_a),
                shown(c.score_b),
                shown(c.difference.mean, True),
                span(c.difference.low, c.difference.high, True),
                c.verdict,
            ]
            for c in self.comparisons
        ]
        title = f"out-of-fold mean cosine, paired over {number_of(first.n, 'row')} in {first.groups}"
        left_out = [f"{name} is left out: {reason}" for name, reason in self.left_out.items()]
        columns = ["A", "B", "A scores", "B scores", "A − B", "95 % interval", ""]
        return Table(title, columns, rows, [*self.notes, *left_out, *first.groups.notes()])

    def __str__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()


def compare(
    a: str, b: str, run_dir: Path | None = None, find_blender: Callable[[str], Blender] | None = None
) -> PairedComparisons:
    """Compare what two sides name, paired by row.

    Parameters
    ----------
    a, b
        ``NAME`` in a run, the path of a run folder, or ``PATH:NAME``. A name is a member, ``blend`` (the weights last
        learned) or ``blend:METHOD`` (learned now, on all complete members); a blend is scored by its nested row
        scores: each row is blended with weights learned without its fold. Two whole runs compare every name that
        both have.
    run_dir
        The run that bare names stand in. None: the one used last.
    find_blender
        Returns a blending method by name. None: those that are installed.

    Raises
    ------
    InputError
        If a side names nothing, the same thing as the other, or something incomplete; or if the two runs were
        not made on the same rows and folds.
    """
    find_blender = find_blender or PluginManager().blender
    notes: list[str] = []
    one, two = (find_side(text, run_dir, notes) for text in (a, b))
    if (one.name is None) != (two.name is None):
        whole, part = (one, two) if one.name is None else (two, one)
        raise InputError(
            f"{whole.text} is a whole run and {part.text} is not; say what to take of it: {whole.text}:{part.name} "
            f"({say_names(whole.run)})"
        )
    if one.run.path.resolve() == two.run.path.resolve():
        two = replace(two, run=one.run)
        if one.name == two.name:
            thing = f"'{one.name}' of {one.run.path}" if one.name else f"the run {one.run.path}"
            raise InputError(f"{a} and {b} are the same thing, {thing}; name two different ones")
    order = same_rows(one.run, two.run)
    rows = one.run.rows
    of_a = RowScores(one.run, find_blender, notes)
    of_b = of_a if two.run is one.run else RowScores(two.run, find_blender, notes)

    def pair(name_a: str, name_b: str) -> PairedComparison:
        return compare_rows(name_a, name_b, of_a[name_a], of_b[name_b][order], rows.group, rows.sources)

    if one.name is not None and two.name is not None:
        return PairedComparisons(one, two, [pair(one.name, two.name)], (of_a, of_b), notes=notes)
    comparisons, left_out = _compare_all(one.run, two.run, pair)
    return PairedComparisons(one, two, comparisons, (of_a, of_b), left_out, notes)


def _compare_all(
    a: RunFolder, b: RunFolder, pair: Callable[[str, str], PairedComparison]
) -> tuple[list[PairedComparison], dict[str, str]]:
    """Compare every name that two runs share; one that a run lacks, or has in part, gets the reason."""
    names_a, names_b = names(a), names(b)
    left_out = {name: f"only {a.path} has it" for name in names_a if name not in names_b}
    left_out |= {name: f"only {b.path} has it" for name in names_b if name not in names_a}
    comparisons = []
    for name in names_a:
        if name in names_b:
            try:
                comparisons.append(pair(name, name))
            except IncompleteError as error:
                left_out[name] = str(error)
    if not comparisons:
        reasons = "".join(f"\n  - {name}: {reason}" for name, reason in left_out.items())
        raise InputError(f"{a.path} and {b.path} have nothing in common that could be compared:{reasons}")
    return comparisons, left_out


# -- the same rows -------------------------------------------------------------------------------

_SETTINGS = {
    "data_fingerprint": "the data fingerprint",
    "encoder": "the encoder",
    "n_folds": "--folds",
    "threshold": "--group-threshold",
    "split": "--split",
    "seed": "--seed",
}
"""What folds are made with, as a user calls it."""


def _pairable(a: FoldFacts, b: FoldFacts) -> bool:
    """Whether rows, targets and held-out sets are the same; settings may differ where they lead to the same folds."""
    return (a.data_fingerprint, a.encoder, a.fold_hash) == (b.data_fingerprint, b.encoder, b.fold_hash)


def same_rows(a: RunFolder, b: RunFolder) -> NDArray[np.int64]:
    """Return the row of b that is each row of a, shape (n,).

    Raises
    ------
    InputError
        If the runs were not made on the same images, targets and folds.
    """
    if a is b:
        return np.arange(len(a.rows.ids))
    if not _pairable(a.document.folds, b.document.folds):
        raise InputError(_say_difference(a, b))
    index = {row_id: i for i, row_id in enumerate(b.rows.ids)}
    order = np.array([index.get(row_id, -1) for row_id in a.rows.ids], dtype=np.int64)
    if len(order) != len(index) or (order < 0).any() or (b.rows.group[order] != a.rows.group).any():
        raise InputError(
            f"{a.path / 'rows.csv'} and {b.path / 'rows.csv'} differ, although both run.json name the same folds: one "
            "of them was changed; restore it, or make that run anew"
        )
    return order


def _say_difference(a: RunFolder, b: RunFolder) -> str:
    one, two = (run.document.folds.model_dump(include=set(_SETTINGS)) for run in (a, b))
    differ = [key for key in _SETTINGS if one[key] != two[key]]
    said = ", ".join(f"{_SETTINGS[key]} is {one[key]} and {two[key]}" for key in differ)
    options = "".join(f" {_SETTINGS[key]} {one[key]}" for key in differ if _SETTINGS[key].startswith("--"))
    data = " on the data of the first," if "data_fingerprint" in differ else ""
    return (
        f"{a.path} and {b.path} cannot be paired, for they were not made on the same rows and folds: "
        f"{said or 'the settings are the same, but not the version of the harness that made the folds'}; "
        f"repeat the second,{data} with `harness run{options} --run-dir NEW`"
    )


# -- scores --------------------------------------------------------------------------------------


class RowScores:
    """The cosines of a run's rows by name, of blends the nested ones: each is computed once, when first asked for.

    Parameters
    ----------
    run
        The run.
    find_blender
        Returns a blending method by name.
    notes
        Gets a sentence for each blend.
    """

    def __init__(self, run: RunFolder, find_blender: Callable[[str], Blender], notes: list[str]) -> None:
        self.run = run
        self._find_blender = find_blender
        self._notes = notes
        self._known: dict[str, NDArray[np.float64]] = {}

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """Return the cosine of each row, shape (n,), in the order of the run.

        Raises
        ------
        IncompleteError
            If a row has none.
        InputError
            If the weights last learned are damaged, or the blending method is unknown.
        """
        if name not in self._known:
            self._known[name] = _named_scores(self.run, name, self._find_blender, self._notes)
        return self._known[name]


def _named_scores(
    run: RunFolder, name: str, find_blender: Callable[[str], Blender], notes: list[str]
) -> NDArray[np.float64]:
    if name == BLEND:
        return last_learned_scores(run, notes)
    if name.startswith(LEARN):
        return _learned_scores(run, name, find_blender, notes)
    _refuse_unfinished(run, [name])
    cosines = row_cosines(run.prediction_rows(run.members[name]), run.targets)
    if missing := int(np.isnan(cosines).sum()):
        raise IncompleteError(
            f"{run.path}: member '{name}' has no prediction for {missing} of {number_of(len(cosines), 'row')}; remove "
            f"{run.path / 'members' / name} and give the command of the run again"
        )
    return cosines


def _refuse_unfinished(run: RunFolder, members: Sequence[str]) -> None:
    known = run.members
    for name in members:
        if reason := run.unfinished(known[name]):
            raise IncompleteError(
                f"{run.path}: member '{name}' does not have a prediction for every row, for {reason}; give the command "
                "of the run again, which does only what is missing"
            )


def last_learned_scores(run: RunFolder, notes: list[str]) -> NDArray[np.float64]:
    """Blend each row with the weights last learned, those that were learned without its fold.

    Returns
    -------
    ndarray of shape (n,)
        Cosine of each row's blend with its target.

    Raises
    ------
    IncompleteError
        If a member of the blend is not finished.
    InputError
        If the weights last learned are damaged.
    """
    blend = learned_blend(run)
    assert blend is not None, "its file was there when the name was looked up"
    members = [name for name in blend.weights if any(weights[name] for weights in blend.fold_weights)]
    _refuse_unfinished(run, members)
    problem, folds = run_problem(run, members), run.folds
    scores = np.empty(len(folds.fold))
    for f, weights in enumerate(blend.fold_weights):
        held = folds.held_rows(f)
        scores[held] = row_scores(problem.take(held), np.array([weights[name] for name in members]))
    _note_blend(run, BLEND, blend.method, members, notes)
    return scores


def _learned_scores(
    run: RunFolder, name: str, find_blender: Callable[[str], Blender], notes: list[str]
) -> NDArray[np.float64]:
    """Blend each row with weights that a method learns now without its fold."""
    try:
        blender = find_blender(name.removeprefix(LEARN))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    known = run.members
    unfinished = {member: reason for member in known if (reason := run.unfinished(known[member]))}
    members = [member for member in known if member not in unfinished]
    if not members:
        raise IncompleteError(f"{run.path}: no member is complete; give the command of the run again")
    scores = nested_rows(run_problem(run, members), blender, run.folds)
    _note_blend(run, name, blender.name, members, notes)
    notes += [f"{name} goes without '{member}': {reason}" for member, reason in unfinished.items()]
    return scores


def _note_blend(run: RunFolder, name: str, method: str, members: Sequence[str], notes: list[str]) -> None:
    of = ", ".join(members) if len(members) <= _MOST_NAMES else f"{number_of(len(members), 'member')}"
    notes.append(f"{name} in {run.path}: {method} of {of}; nested, each row with weights learned without its fold")
