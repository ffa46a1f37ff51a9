"""What a run tells its listeners (trackers, progress displays)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

EventKind = Literal[
    "run_started", "task_started", "task_finished", "task_reused", "task_failed", "progress", "run_finished"
]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened in a run.

    Parameters
    ----------
    kind
        ``run_started``, ``task_started``, ``task_finished``, ``task_reused``, ``task_failed``,
        ``progress`` or ``run_finished``.
    run_dir
        Folder of the run.
    member, fold
        The task, for the ``task_*`` and ``progress`` kinds; fold -1 means "all rows" (an untrained predictor).
    details
        ``run_started``: the resolved configuration and the number of tasks. ``task_finished``: the record.
        ``task_failed``: reason and traceback. ``progress``: label, done, total. ``run_finished``: the counts.
    """

    kind: EventKind
    run_dir: Path
    member: str | None = None
    fold: int | None = None
    details: dict[str, Any] = field(default_factory=dict)
