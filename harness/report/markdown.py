"""The published document as a table to read. Every figure in it is the document's, rounded."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report import phrases
from harness.report.phrases import figure, gain, gain_interval, interval
from harness.scoring.distance_tables import distance_tables
from harness.scoring.groups import ALIKE_MARK, counted
from harness.store.published import PublishedBlend, PublishedCommands, PublishedDocument, PublishedRow
from harness.wording import number_of

MOST_SOURCES = 6
"""With more sources than this, their slices stand in the JSON document only."""


def markdown(document: PublishedDocument) -> str:
    """Lay a published document out as Markdown: members, blends, weights, and the commands that make them again."""
    sections = [
        f"# Leaderboard: {_title(document)}",
        _about(document),
        *_warnings(document),
        "## Members",
        _members(document),
        *_beside_members(document),
        "## Blends",
        _blend_words(document.blends),
        _blends(document.blends),
        "Weights, learned on all rows:",
        _weights(document.blends),
        *_by_distance(document),
        "## The same again",
        _commands(document.commands),
    ]
    return "\n\n".join(sections) + "\n"


def _title(document: PublishedDocument) -> str:
    by = ", by source" if document.folds.split == "source" else ""
    return f"`{document.config.data}`{by}"


def _about(document: PublishedDocument) -> str:
    data, folds, machine = document.dataset, document.folds, document.machine
    purged, recall = phrases.purged(document), phrases.recall(document)
    effective = document.rows[0].effective_groups if document.rows else None
    return (
        f"{number_of(data.rows, 'row')} in {counted(data.groups, effective)} (fingerprint `{data.fingerprint}`), "
        f"{folds.number} folds (`{folds.hash}`, seed {folds.seed}): {phrases.apart(document)}"
        f"{f' ({purged})' * bool(purged)}.{f' {recall}' * bool(recall)} {phrases.SCORES} "
        f"Made {document.created[:10]} with harness {document.versions.get('harness')} on "
        f"{machine.system} {machine.processor}, {machine.cores} cores."
    )


def _warnings(document: PublishedDocument) -> list[str]:
    found = [f"{phrases.SYNTHETIC} **{phrases.SYNTHETIC_SO}**"] if document.dataset.synthetic else []
    found += phrases.document_doubts(document)
    return found + ([f"\\* {phrases.OUT_OF_DOMAIN}"] if any(row.out_of_domain for row in document.rows) else [])


def _members(document: PublishedDocument) -> str:
    rows = document.rows
    sources = sorted({source for row in rows for source in row.slices})
    shown = sources if len(sources) <= MOST_SOURCES else []
    columns = ["rank", "plugin", "score", "95 % interval", "behind the first", *shown]
    columns += ["fit s/fold", "images/s", "trainable", "version"]
    return _table(columns, [[str(i), *_member(row, shown)] for i, row in enumerate(rows, start=1)], left=["plugin"])


def _member(row: PublishedRow, sources: Sequence[str]) -> list[str]:
    name = f"`{row.plugin}`" if row.plugin == row.predictor else f"`{row.plugin}` ({row.predictor})"
    return [
        name + " \\*" * row.out_of_domain + f" {ALIKE_MARK}" * row.prompts_alike,
        figure(row.score),
        interval(row.ci_low, row.ci_high),
        phrases.behind(row),
        *(figure(row.slices.get(source)) for source in sources),
        phrases.seconds(row.fit_seconds),
        phrases.rate(row.images_per_second),
        str(row.trainable_parameters),
        row.version,
    ]


def _beside_members(document: PublishedDocument) -> list[str]:
    sources = {source for row in document.rows for source in row.slices}
    more = f"Scores on each of the {number_of(len(sources), 'source')} are in the JSON document."
    tied = any(row.tied_with_leader for row in document.rows)
    return (
        [phrases.TIED] * tied
        + [more] * (len(sources) > MOST_SOURCES)
        + [f"Not ranked: `{name}`, {reason}." for name, reason in document.incomplete.items()]
    )


def _blend_words(blends: Sequence[PublishedBlend]) -> str:
    best = blends[0].best_single
    return (
        f"{phrases.NESTED} The gain is nested minus the best single member (`{best.plugin}`, {figure(best.score)}), "
        f"paired. {phrases.RESIDUAL}"
    )


def _blends(blends: Sequence[PublishedBlend]) -> str:
    columns = ["method", "fitted", "nested", "95 % interval", "gain", "95 % interval", "KKT residual"]
    return _table(columns, [_blend(blend) for blend in blends], left=["method"])


def _blend(blend: PublishedBlend) -> list[str]:
    return [
        f"`{blend.method}`",
        figure(blend.score),
        figure(blend.nested_score),
        interval(*blend.nested_ci),
        gain(blend.gain.mean),
        gain_interval(blend.gain.ci_low, blend.gain.ci_high),
        phrases.residual(blend.kkt_residual),
    ]


def _weights(blends: Sequence[PublishedBlend]) -> str:
    members = list(blends[0].weights)
    rows = [[f"`{member}`", *(phrases.weight(blend.weights[member]) for blend in blends)] for member in members]
    return _table(["member", *(blend.method for blend in blends)], rows, left=["member"])


def _by_distance(document: PublishedDocument) -> list[str]:
    members: dict[str, PublishedRow | PublishedBlend] = {f"`{row.plugin}`": row for row in document.rows}
    members |= {f"blend: `{blend.method}`": blend for blend in document.blends}
    found = distance_tables(members, document.folds.threshold, document.dataset.rows)
    sections = ["## By distance"] * bool(found)
    for table in found:
        notes = [phrases.sentence(note) for note in table.notes]
        title = f"{table.title[0].upper()}{table.title[1:]}:"
        sections += [title, _table(table.columns, table.rows, left=[""]), " ".join(notes)]
    return sections


def _commands(commands: PublishedCommands) -> str:
    lines = "\n".join([commands.run, commands.ensemble, commands.verify])
    return (
        "The first computes the members, the second the blends; the third compares a run with the JSON document beside "
        f"this file, which holds every figure in full.\n\n```sh\n{lines}\n```"
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str]) -> str:
    rules = ["---" if column in left else "---:" for column in columns]
    lines = [columns, rules, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
