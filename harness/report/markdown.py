"""The published document as a table to read. Every figure in it is the document's, rounded."""

from __future__ import annotations

from collections.abc import Sequence

from harness.scoring.distance_tables import distance_tables
from harness.scoring.groups import ALIKE_MARK, counted, doubts
from harness.store.published import PublishedBlend, PublishedCommands, PublishedDocument, PublishedRow
from harness.wording import number_of

MOST_SOURCES = 6
"""With more sources than this, their slices stand in the JSON document only."""
_SYNTHETIC = "This data is synthetic, made on the spot: **scores on it mean nothing for Stable Diffusion.**"
_TIED = "≈: these rows cannot tell it from the first; the 95 % interval of the difference, paired by row, contains 0."
_OUT_OF_DOMAIN = (
    "\\* The bundled tiny weights: they have only ever seen synthetic scenes, and this data is something else."
)


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
    apart = f"prompts with a cosine of {folds.threshold:g} or more are never on both sides of a fold"
    if folds.split == "source":
        apart = f"a fold holds out whole sources, and {apart}"
    purged = sum(folds.purged)
    also = f" ({purged} training rows purged, summed over the folds)" if purged else ""
    exact = "" if folds.recall == 1.0 else f" The search found {folds.recall:.1%} of the near prompts, not all."
    effective = document.rows[0].effective_groups if document.rows else None
    grouped = counted(data.groups, effective)
    return (
        f"{number_of(data.rows, 'row')} in {grouped} (fingerprint `{data.fingerprint}`), {folds.number} "
        f"folds (`{folds.hash}`, seed {folds.seed}): {apart}{also}.{exact} Scores are out-of-fold mean cosines "
        "with the MiniLM embeddings of the prompts; 95 % intervals come from a bootstrap over groups. "
        f"Made {document.created[:10]} with harness {document.versions.get('harness')} on "
        f"{machine.system} {machine.processor}, {machine.cores} cores."
    )


def _warnings(document: PublishedDocument) -> list[str]:
    found = [_SYNTHETIC] if document.dataset.synthetic else []
    found += [f"{doubt[0].upper()}{doubt[1:]}." for doubt in doubts(document.rows, document.dataset.texts)]
    return found + ([_OUT_OF_DOMAIN] if any(row.out_of_domain for row in document.rows) else [])


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
        _figure(row.score),
        _interval(row.ci_low, row.ci_high),
        _behind(row),
        *(_figure(row.slices.get(source)) for source in sources),
        f"{row.fit_seconds:.1f}",
        f"{row.images_per_second:.{1 if row.images_per_second < 100 else 0}f}",
        str(row.trainable_parameters),
        row.version,
    ]


def _behind(row: PublishedRow) -> str:
    behind = row.behind_leader
    return "" if behind is None else ("≈ " if row.tied_with_leader else "") + _figure(behind.mean)


def _beside_members(document: PublishedDocument) -> list[str]:
    sources = {source for row in document.rows for source in row.slices}
    more = f"Scores on each of the {number_of(len(sources), 'source')} are in the JSON document."
    tied = any(row.tied_with_leader for row in document.rows)
    return (
        [_TIED] * tied
        + [more] * (len(sources) > MOST_SOURCES)
        + [f"Not ranked: `{name}`, {reason}." for name, reason in document.incomplete.items()]
    )


def _blend_words(blends: Sequence[PublishedBlend]) -> str:
    best = blends[0].best_single
    return (
        "Nested is what to expect of one fold's models, and at least of the average of all folds' that is submitted: "
        "the mean over rows whose fold took no part in learning the weights. Fitted is the score on the rows the "
        "weights were learned on. The gain is nested minus the best single member "
        f"(`{best.plugin}`, {_figure(best.score)}), paired. The KKT residual is 0 where no small change of the "
        "weights helps; only a method that claims to be optimal has one."
    )


def _blends(blends: Sequence[PublishedBlend]) -> str:
    columns = ["method", "fitted", "nested", "95 % interval", "gain", "95 % interval", "KKT residual"]
    return _table(columns, [_blend(blend) for blend in blends], left=["method"])


def _blend(blend: PublishedBlend) -> list[str]:
    gain, residual = blend.gain, blend.kkt_residual
    return [
        f"`{blend.method}`",
        _figure(blend.score),
        _figure(blend.nested_score),
        _interval(*blend.nested_ci),
        _gain(gain.mean),
        "–" if gain.ci_low is None or gain.ci_high is None else f"{_gain(gain.ci_low)} … {_gain(gain.ci_high)}",
        "–" if residual is None else f"{residual:.0e}",
    ]


def _weights(blends: Sequence[PublishedBlend]) -> str:
    members = list(blends[0].weights)
    rows = [[f"`{member}`", *(f"{blend.weights[member]:z.3f}" for blend in blends)] for member in members]
    return _table(["member", *(blend.method for blend in blends)], rows, left=["member"])


def _by_distance(document: PublishedDocument) -> list[str]:
    members: dict[str, PublishedRow | PublishedBlend] = {f"`{row.plugin}`": row for row in document.rows}
    members |= {f"blend: `{blend.method}`": blend for blend in document.blends}
    found = distance_tables(members, document.folds.threshold, document.dataset.rows)
    sections = ["## By distance"] * bool(found)
    for table in found:
        notes = [f"{note[0].upper()}{note[1:]}." for note in table.notes]
        title = f"{table.title[0].upper()}{table.title[1:]}:"
        sections += [title, _table(table.columns, table.rows, left=[""]), " ".join(notes)]
    return sections


def _commands(commands: PublishedCommands) -> str:
    lines = "\n".join([commands.run, commands.ensemble, commands.verify])
    return (
        "The first computes the members, the second the blends; the third compares a run with the JSON document beside "
        f"this file, which holds every figure in full.\n\n```sh\n{lines}\n```"
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:z.4f}"


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:z.4f} … {high:z.4f}"


def _gain(value: float) -> str:
    return f"{value:+z.4f}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str]) -> str:
    rules = ["---" if column in left else "---:" for column in columns]
    lines = [columns, rules, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
