"""``harness leaderboard``: the members of a run, best first."""

from __future__ import annotations

from harness.cli.options import Json, RunDir


def leaderboard(run_dir: RunDir = None, json: Json = False) -> None:
    """Show the members of a run, best first.

    Out-of-fold mean cosine, with 95 % intervals and slices by source.
    """
    from harness.cli.render import print_json, print_leaderboard
    from harness.scoring.leaderboard import leaderboard as score_run
    from harness.store.run import RunFolder, newest_run

    board = score_run(RunFolder(run_dir) if run_dir else newest_run())
    if json:
        print_json(board.document())
    else:
        print_leaderboard(board)
