"""All that the page of a run tells, gathered from its folder."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.pictures import picture_notes
from harness.errors import InputError
from harness.plugin.manager import OWN_CLASS
from harness.report.page.agreement import calibrations, confidences, constant_members, disagreement, members_problem
from harness.report.page.blends import FindBlender, all_pairs, blend_told, fold_scores
from harness.report.page.contents import (
    Bins,
    Calibration,
    Cumulative,
    Curve,
    CurvePoint,
    DataTold,
    FoldTold,
    LawTold,
    MemberTold,
    Progress,
    Provenance,
    RunContents,
    SourceShare,
)
from harness.report.page.finding import finding
from harness.report.page.gallery import Made, NearestPrompts, make_gallery, with_ranks, with_words
from harness.report.page.texts import local_name, without_folders
from harness.report.page.thumbnails import Opener, Thumbnails
from harness.report.page.voices import Voices
from harness.report.recipe import portable_settings, run_command
from harness.scoring.groups import GroupSizes
from harness.store.schema import TaskFailure
from harness.wording import number_of, size_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.folds import ThresholdRow
    from harness.plugin import Explanation, Predictor
    from harness.report.page.gallery_contents import Gallery
    from harness.scoring.leaderboard import Leaderboard
    from harness.store.run import RunFolder
    from harness.store.schema import RunDocument

_LEFT_OUT = "Folders above the last are left out, so that the page can be shown to others; run.json has them."
WIDTH = 0.05
"""Of the bins of histograms."""
MOST_STEPS = 400
"""Steps of a curve that is drawn."""


Ask = Callable[["NDArray[np.int64]"], tuple[Mapping[str, Sequence[Sequence["Explanation"]]], Mapping[str, str]]]
"""From numbers of rows to what each member says of them in its own words, and why others say nothing."""


@dataclass(frozen=True)
class Surroundings:
    """What a page needs beside the run's folder.

    Parameters
    ----------
    board
        The leaderboard, with the blend last learned.
    opener, images_why_not
        Gives the image of a row; None: none is at hand, and why.
    nearest
        Finds training prompts.
    find_blender, predictors
        What plugins bring.
    data
        What names the data set on any machine; None: nothing does.
    thresholds, thresholds_why_not
        The threshold table, or why there is none.
    ask
        Asks members what they say of some rows in words of their own; None: they are not asked.
    """

    board: Leaderboard
    nearest: NearestPrompts
    find_blender: FindBlender
    predictors: Mapping[str, type[Predictor]]
    opener: Opener | None = None
    images_why_not: str = ""
    data: str | None = None
    thresholds: Sequence[ThresholdRow] = ()
    thresholds_why_not: str = ""
    ask: Ask | None = None


def run_contents(
    run: RunFolder, around: Surroundings, *, rows: int, going_on: bool = False, beside: bool = False
) -> tuple[RunContents, Thumbnails]:
    """Gather all that the page of a run tells, and the pictures of its rows.

    Parameters
    ----------
    run, around
        The run, and what is needed beside its folder.
    rows
        Most rows of the gallery.
    going_on
        Whether the run is watched, and more is to come.
    beside
        Whether the pictures lie beside the page.
    """
    document, voices = run.document, Voices.of(run)
    constant = constant_members(voices)
    problem = members_problem(voices, constant)
    made = make_gallery(
        voices,
        rows,
        around.opener,
        around.nearest,
        disagreement(problem),
        beside=beside,
        images_why_not=around.images_why_not,
    )
    blend = blend_told(run, voices, around.find_blender)
    found, ranks = finding(voices, made.rows)
    gallery = with_ranks(made.gallery, ranks) if found is not None else made.gallery
    sure: list[Calibration] | None = None
    if around.ask is not None:
        gallery, sure = _explained(gallery, made, voices, around.ask)
    contents = RunContents(
        document=document,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        path=local_name(run.path),
        progress=progress_of(run),
        going_on=going_on,
        board=around.board,
        spread=_spread(voices),
        fold_scores=fold_scores(voices),
        blend=blend,
        blend_why_not="" if blend is not None else _why_no_blend(run, around.board),
        pairs=all_pairs(voices),
        curves=_curves(run),
        calibrations=calibrations(voices, problem),
        confidences=sure,
        constant=constant,
        finding=found,
        data=_data(run, document, around),
        law=_law(run),
        gallery=gallery,
        provenance=_provenance(run, document, around),
        notes=[*around.board.test_notes, *around.board.doubts, *around.board.repeat_notes],
    )
    return contents, made.pictures


def _explained(gallery: Gallery, made: Made, voices: Voices, ask: Ask) -> tuple[Gallery, list[Calibration]]:
    """Return a gallery with what members say in words of their own, and how their scores go with that."""
    words, silent = _own_words(ask, made)
    notes = [f"{name} says nothing in its own words: {why}" for name, why in silent.items()]
    whole = len(made.rows) == len(voices.run.rows.ids)
    if not whole:
        notes.append("The members' confidences are compared with scores only where --rows shows all rows.")
    return with_words(gallery, words, notes), confidences(voices, made.rows, words) if whole else []


def _own_words(ask: Ask, made: Made) -> tuple[Mapping[str, Sequence[Sequence[Explanation]]], Mapping[str, str]]:
    """Ask about the rows whose image could be shown: one that nothing decodes here would silence every member."""
    shown = [place for place, number in enumerate(made.pictures.number) if number is not None]
    said, silent = ask(made.rows[shown])
    words: dict[str, list[Sequence[Explanation]]] = {name: [()] * len(made.rows) for name in said}
    for name, own in said.items():
        for place, one in zip(shown, own, strict=True):
            words[name][place] = one
    return words, silent


def with_addresses(contents: RunContents, addresses: Sequence[str]) -> RunContents:
    """Return the same, with the pictures where they are."""
    return replace(contents, gallery=replace(contents.gallery, thumbnails=list(addresses)))


def progress_of(run: RunFolder) -> list[Progress]:
    """Say how far each member of a run is."""
    told = []
    for name, member in run.members.items():
        done = sum(run.task_folder(name, fold, key).is_dir() for fold, key in member.keys.items())
        failures = []
        for fold in sorted(member.keys):
            try:
                failures.append(TaskFailure.read(run.failure_file(name, fold)).reason)
            except (FileNotFoundError, InputError):
                continue
        told.append(Progress(name, done, len(member.keys), failures))
    return told


def bins_of(values: NDArray[np.floating[Any]], low: float, high: float, width: float = WIDTH) -> Bins:
    """Count values in bins of one width that begin at a multiple of it."""
    first, last = int(np.floor(low / width + 1e-9)), max(int(np.ceil(high / width - 1e-9)), 1)
    last = max(last, first + 1)
    edges = np.arange(first, last + 1) * width
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0]
    return Bins([round(float(edge), 6) for edge in edges], counts.tolist())


def _spread(voices: Voices) -> dict[str, Cumulative]:
    columns = {name: voices.column(name) for name in voices.names}
    return {name: cumulative(values[np.isfinite(values)]) for name, values in columns.items()}


def cumulative(values: NDArray[np.float64]) -> Cumulative:
    """Return the share of values at or below each of them, or, of many, below those at even shares."""
    known, counts = np.unique(values, return_counts=True)
    shares = np.cumsum(counts) / len(values)
    if len(known) > MOST_STEPS:
        # Any step kept is one of the true curve: none is drawn between two values.
        kept = np.unique(np.searchsorted(shares, np.linspace(shares[0], 1.0, MOST_STEPS) - 1e-12))
        known, shares = known[kept], shares[kept]
    return Cumulative([round(float(value), 5) for value in known], [float(share) for share in shares])


def _why_no_blend(run: RunFolder, board: Leaderboard) -> str:
    if reason := board.incomplete.get("blend"):
        return reason
    if (run.path / "blend.json").is_file():
        return "The blend last learned has members that are not finished."
    if len(run.members) < 2:
        return "One member alone has nothing to be blended with."
    return "No blend was learned yet: harness ensemble --optimize learns its weights."


def _curves(run: RunFolder) -> list[Curve]:
    curves: dict[tuple[str, int, str, str], list[CurvePoint]] = {}
    for name, member in run.members.items():
        for record in run.records(member):
            for stage, step, values in record.history:
                for quantity, value in values.items():
                    curves.setdefault((name, record.fold, stage, quantity), []).append(CurvePoint(step, value))
    return [Curve(*key, points) for key, points in curves.items()]


# -- data and folds --------------------------------------------------------------------------------


def _data(run: RunFolder, document: RunDocument, around: Surroundings) -> DataTold:
    rows, folds, data = run.rows, document.folds, document.dataset
    sizes = np.bincount(run.rows.group)
    group = GroupSizes.of(run.rows.group)
    counts = Counter(rows.sources or ()).most_common()
    how_many = sorted(Counter(sizes.tolist()).items())
    alone = int(sizes[sizes == 1].sum())
    pictures = folds.pictures
    facts = [
        ("Data set", data.name + (" (synthetic)" if data.synthetic else "")),
        ("Layout", data.layout),
        ("Location", local_name(data.location)),
        ("Rows", f"{data.rows:,}"),
        ("Distinct prompts", f"{len(set(rows.prompts)):,}" if any(rows.prompts) else "not in this run"),
        ("Groups", f"{group.groups:,}{_worth(group)}"),
        ("Largest group", f"{number_of(int(sizes.max()), 'row')} ({group.largest:.1%})"),
        ("Rows linked to another", f"{len(rows.ids) - alone:,} ({1 - alone / max(len(rows.ids), 1):.0%})"),
        ("Images shown by several rows", f"{pictures.shared:,} ({number_of(pictures.rows, 'row')})"),
    ]
    if document.test is not None:
        facts.append(("Test set", f"{number_of(document.test.rows, 'image')} at {local_name(document.test.location)}"))
    texts = folds.texts
    if texts is not None and texts.cosine is not None:
        facts.append(("Mean cosine of two prompts", f"{texts.cosine:.3f}"))
    notes = picture_notes(pictures.shared, pictures.rows, pictures.blank, pictures.blank_rows)
    return DataTold(
        facts=facts,
        sources=[SourceShare(name, count, count / len(rows.ids)) for name, count in counts],
        thresholds=list(around.thresholds),
        thresholds_why_not=around.thresholds_why_not,
        group_sizes=how_many,
        notes=notes,
    )


def _worth(group: GroupSizes) -> str:
    """Say what groups of different sizes are worth to an interval."""
    if round(group.effective) == group.groups:
        return ""
    equal = f"{group.effective:.3g} equal ones (effective groups)"
    return f", of different sizes: where the rows of a group are alike, means are as sure as over {equal}"


def _law(run: RunFolder) -> LawTold:
    folds, near = run.folds, run.nearest
    known = near[np.isfinite(near)].astype(np.float64)
    told = [
        FoldTold(f, len(folds.held_rows(f)), folds.purged(f), len(folds.training_rows(f))) for f in range(folds.n_folds)
    ]
    width = 0.025
    low = max(0.0, float(known.min())) if len(known) else 0.0
    high = max(folds.threshold, float(known.max()) if len(known) else 0.0)
    return LawTold(
        folds=told,
        threshold=folds.threshold,
        nearest=bins_of(known, low, high, width),
        highest=float(known.max()) if len(known) else None,
        compared=len(known),
        recall=folds.recall,
    )


# -- provenance ------------------------------------------------------------------------------------


def _provenance(run: RunFolder, document: RunDocument, around: Surroundings) -> Provenance:
    folds, machine = document.folds, document.machine
    memory = "" if machine.memory_bytes is None else f", {size_of(machine.memory_bytes)}"
    facts = [
        ("Run", local_name(run.path)),
        ("Begun", document.created),
        ("Data fingerprint", folds.data_fingerprint),
        ("Fold hash", folds.fold_hash),
        ("Folds", f"{folds.n_folds} by {folds.split}, threshold {folds.threshold:g}, seed {folds.seed}"),
        ("Prompt encoder", folds.encoder),
        ("Machine", f"{machine.system}, {machine.processor}, {machine.cores} cores{memory}"),
        ("Commit", document.git_commit or ""),
    ]
    repeats = [str(one.document.folds.seed) for one in run.repeats]
    if repeats:
        facts.append(("Repeated with the seeds", ", ".join(repeats)))
    command, note = _command(document, around)
    members = [
        MemberTold(
            one.name,
            f"{one.predictor} {one.version}",
            one.distribution + (" (made elsewhere)" if one.imported else ""),
            {key: without_folders(str(value)) for key, value in one.config.items()},
        )
        for one in document.members.values()
    ]
    return Provenance(
        facts=[(name, value) for name, value in facts if value],
        members=members,
        versions={name: version for name, version in document.versions.items() if version},
        command=without_folders(command),
        command_note=f"{note} {_LEFT_OUT}".strip() if command != without_folders(command) else note,
    )


def _command(document: RunDocument, around: Surroundings) -> tuple[str, str]:
    """Return the command that makes the run again, and what to know of it."""
    own = [name for name, member in document.members.items() if not member.imported]
    asked = around.data
    try:
        if asked is not None and own:
            command = run_command(portable_settings(document, own, data=asked, predictors=around.predictors))
            classes = [name for name in own if document.members[name].distribution.startswith(OWN_CLASS)]
            told = f"Classes of a script or notebook, for which it needs a --plugin-file: {', '.join(classes)}."
            return command, told if classes else ""
    except InputError as error:
        why = str(error)
    else:
        why = "the data set is named by a path that only this machine has" if own else "no member was computed here"
    if document.command:
        return shlex.join(document.command), f"As it was given; on another machine it needs a change: {why}."
    return "", f"It cannot be told: {why}."
