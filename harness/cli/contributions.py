"""What ``harness ensemble --contributions`` shows: what each member brought, and who errs alike."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.ensemble.blend import BlendResult
    from harness.ensemble.contributions import Contributions


def show_contributions(result: BlendResult, brought: Contributions) -> None:
    """Print a table of the members and one of what each pair has in common, and say what they mean."""
    from harness.cli.render import figure, note, print_table, print_text

    columns = ["member", "weight", "Shapley value", "leave-one-out", "95 % interval"]
    print_table(f"what each member brought to {result.method}", columns, _rows(result, brought), left=["member"])
    print_text(f"Shapley values sum to the nested score, {figure(result.nested.mean)}: {_how(brought)}")
    print_text("leave-one-out: what the nested score loses when the blend is learned without the member, paired")
    if brought.leave_one_out is None:
        note("leave-one-out is not defined for an only member: without it there is no blend")
        return
    print_text()
    _show_pairs("correlation of errors over rows", brought.members, brought.error_correlation)
    _show_pairs("cosine of predictions, mean over rows", brought.members, brought.prediction_cosine)
    if brought.needless:
        note(
            f"the leave-one-out interval contains 0: {', '.join(brought.needless)}; these rows do not show that the "
            "blend needs any one of them while the others are there"
        )
    if brought.harmful:
        note(f"the blend does better without: {', '.join(brought.harmful)}; see --exclude")


def _rows(result: BlendResult, brought: Contributions) -> list[list[str]]:
    """Return a row a member, that with the greatest Shapley value first."""
    from harness.cli.render import figure, signed_span

    rows = []
    for i in brought.shapley.argsort(kind="stable")[::-1]:
        name, value = brought.members[i], figure(brought.shapley[i])
        if brought.shapley_error is not None:
            value += f" ± {figure(brought.shapley_error[i])}"
        loss, ends = "-", "-"
        if brought.leave_one_out is not None:
            interval = brought.leave_one_out[i]
            loss = f"{interval.mean:+z.4f}"
            ends = signed_span(interval.low, interval.high)
        rows.append([name, f"{result.weights[name]:z.3f}", value, loss, ends])
    return rows


def _how(brought: Contributions) -> str:
    if brought.permutations is None:
        return f"exact, over all {2 ** len(brought.members) - 1} coalitions"
    return f"sampled from {brought.permutations} permutations, ± one standard error"


def _show_pairs(title: str, members: tuple[str, ...], matrix: NDArray[np.float64]) -> None:
    from harness.cli.render import print_table

    rows = [
        [name, *("-" if isnan(value) else f"{value:z.3f}" for value in values)]
        for name, values in zip(members, matrix.tolist(), strict=True)
    ]
    print_table(title, ["", *members], rows, left=[""])
