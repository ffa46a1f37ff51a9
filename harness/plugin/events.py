"""What a run tells its listeners (trackers, progress displays)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

EventKind = Literal[
    "run_started",
    "task_started",
    "task_finished",
    "test_predicted",
    "task_reused",
    "task_failed",
    "progress",
    "run_finished",
]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened in a run.

    Parameters
    ----------
    kind
        ``run_started``, ``task_started``, ``task_finished``, ``test_predicted``, ``task_reused``,
        ``task_failed``, ``progress`` or ``run_finished``.
    run_dir
        Folder of the run.
    member, fold
        The task, for the ``task_*`` and ``progress`` kinds; fold -1 means "all rows" (an untrained predictor).
    details
        ``run_started``: ``config``, the resolved configuration; ``run``, the content of ``run.json``; ``todo``,
        ``only_test`` (of them), ``reused`` and ``shared`` (done in other runs), numbers of tasks.
        ``task_finished`` and ``task_reused``: the fields of ``record.json`` (none if a
        reused task's record is gone). ``test_predicted``, of a task that was done but for the test set: ``seconds``.
        ``task_failed``: ``reason``, ``traceback``, ``input_fault``, true if what the user gave was wrong (the data,
        or an option of this predictor), and ``ends_run``, true if that is the data. ``progress``: ``label``, ``done``,
        ``total``. ``run_finished``: ``computed``, ``tested`` (of which only the test set was predicted), ``reused``,
        ``failed`` and ``not_tried``, numbers of tasks.
    """

    kind: EventKind
    run_dir: Path
    member: str | None = None
    fold: int | None = None
    details: dict[str, Any] = field(default_factory=dict)
