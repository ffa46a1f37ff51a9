"""The runs below a folder, the one used last first, and whether one is at work."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import InputError
from harness.store.run import LOCK, RUNS_FOLDER, RunFolder
from harness.store.sharing import last_removed


def newest_run(root: Path = RUNS_FOLDER) -> RunFolder:
    """Return the run under ``root`` that was used last; one in which nothing is finished only if all are so.

    Raises ``InputError`` if there is none, naming the last one that is known to have been there.
    """
    runs = all_runs(root)
    if not runs:
        gone = last_removed(root.resolve())
        was = "" if gone is None else f" ({root / gone.name}, which was there, is gone)"
        raise InputError(
            f"there is no run in {root.resolve()}{was}; start one with `harness run`, or name one with --run-dir"
        )
    return next((run for run in runs if run.has_results), runs[0])


def run_at(name: str | Path) -> RunFolder:
    """Return the run of a folder, or of its name below ``runs/`` where no run is there; it need not exist."""
    run, below = RunFolder(Path(name)), RunFolder(RUNS_FOLDER / name)
    return below if not run.exists and below.exists else run


def find_run(name: str | Path | None) -> RunFolder:
    """Return the run of a folder, or of its name below ``runs/``; without one, that used last.

    Raises
    ------
    InputError
        If there is none.
    """
    if name is None:
        return newest_run()
    run = run_at(name)
    _ = run.document
    return run


def all_runs(root: Path = RUNS_FOLDER) -> list[RunFolder]:
    """Return all runs under ``root``, the one used last first."""
    found = [(path.stat().st_mtime_ns, path.parent) for path in root.glob("*/run.json")]
    return [RunFolder(path) for _, path in sorted(found, reverse=True)]


def is_busy(run: RunFolder) -> bool:
    """Whether another process works in a run's folder now."""
    if not (run.path / LOCK).exists():
        return False
    lock = FileLock(run.path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # nobody works in a folder that nobody can write
        return False
    lock.release()
    return False
