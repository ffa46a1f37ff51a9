"""A blend as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.scoring.tables import Table, shown, span

if TYPE_CHECKING:
    from harness.ensemble.blend import BlendResult


def blend_table(result: BlendResult) -> Table:
    """Lay a blend out: a row a member, the heaviest first, and what to expect of it."""
    spread = {name: [weights[name] for weights in result.fold_weights] for name in result.weights}
    rows = [
        [name, f"{weight:z.3f}", f"{min(spread[name]):z.3f} … {max(spread[name]):z.3f}"]
        for name, weight in sorted(result.weights.items(), key=lambda item: -item[1])
    ]
    nested, gain = result.nested, result.gain
    notes = [
        f"nested score {shown(nested.mean)} ({span(nested.low, nested.high)}): one fold's models, to expect at least",
        f"gain over {result.best_single[0]} {shown(gain.mean, True)} ({span(gain.low, gain.high, True)}), paired",
    ]
    if result.repeats is not None:
        average = result.repeats.average
        notes.insert(
            1,
            f"averaged {shown(average.mean)} ({span(average.ci_low, average.ci_high)}): {result.repeats.models} fold "
            "models of a member, as submitted (estimated)",
        )
    if result.kkt_residual is not None:
        notes.append(f"KKT residual {result.kkt_residual:.1e}: 0 where no small change of the weights helps")
    return Table(f"{result.method} blend", ["member", "weight", "over folds"], rows, notes)
