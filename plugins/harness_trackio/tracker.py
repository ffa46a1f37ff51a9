"""One harness run in a trackio store: a run for the folder and one for each member, in one group.

Importing this imports trackio.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

from harness.plugin.tracking import MemberTracker, RunTracker, State, fold_metrics, stamp
from harness_trackio.store import Store, StoredRun

if TYPE_CHECKING:
    from harness.plugin import RunEvent

PROJECT_VARIABLE = "HARNESS_TRACKIO_PROJECT"
_STATUS, _FAILED = "harness.status", "harness.failed."


class Tracker(RunTracker):
    """Keeps one run of the harness in the store that ``TRACKIO_DIR`` names.

    Parameters
    ----------
    event
        The ``run_started`` of the run.

    Raises
    ------
    OSError, ValueError, sqlite3.Error
        By any method, if the store cannot be used.
    """

    def __init__(self, event: RunEvent) -> None:
        super().__init__(event)
        name, document = self.run_dir.name, self.document
        self.store = Store(os.environ.get(PROJECT_VARIABLE, "").strip() or document["dataset"]["name"])
        self._config = {**document["config"], **self.facts}
        self._run = StoredRun(self.store, self.identity, name, group=name, began=document["created"])
        planned = sum(len(spec["keys"]) for spec in document["members"].values())
        self._tell("running", {"tasks_planned": planned})

    def member(self, name: str) -> _Member:
        """Return the tracker of a member."""
        return _Member(self, name)

    def end(self, state: State, counts: Mapping[str, int]) -> None:
        """Write the counts, and how the run ended."""
        self._tell(state, {f"tasks_{name}": count for name, count in counts.items()} or {"interrupted": 1})

    def _tell(self, status: str, metrics: Mapping[str, float]) -> None:
        now = datetime.now(UTC).isoformat()
        self._run.add(None, metrics, now, now)
        self._run.write({**self._config, _STATUS: status})


class _Member(MemberTracker):
    """One member with one configuration: its options, and per fold its figures at step = fold."""

    def __init__(self, run: Tracker, name: str) -> None:
        super().__init__(run, name)
        group = run.run_dir.name
        self._run = StoredRun(run.store, self.identity, f"{group}/{name}", group=group)
        self._config = {**self.spec["config"], "harness.member": name, **self.facts}
        told = self._run.config()
        self.before = told[_STATUS] if told.get(_STATUS) in get_args(State) else None
        self._reasons = {key: reason for key, reason in told.items() if key.startswith(_FAILED)}

    def hear(self, event: RunEvent) -> None:
        """Write down what an event says; what was computed before waits for the next that is written."""
        super().hear(event)
        if event.kind != "task_reused":
            self._write("running")

    def finished(self, fold: int, record: Mapping[str, Any]) -> None:
        """Have a task's figures wait."""
        self._run.began = min(self._run.began or record["started"], record["started"])
        self._run.add(fold, fold_metrics(record), record["finished"], f"{fold} {stamp(record)}")
        self._reasons.pop(f"{_FAILED}{fold}", None)

    def failed(self, fold: int, reason: str, trace: str) -> None:
        """Have a failed task's reason wait, and an alert with its traceback."""
        now = datetime.now(UTC).isoformat()
        self._reasons[f"{_FAILED}{fold}"] = reason
        self._run.add(fold, {"failed": 1}, now, f"{fold} {reason} {now}")
        self._run.alert(fold, f"fold {fold} failed: {reason}", trace, now)

    def end(self, state: State) -> None:
        """Write what waits, the means if every fold is there, and how the member ended."""
        if self.means:
            moment = max(record["finished"] for record in self.records.values())
            self._run.add(0, self.means, moment, " ".join(sorted(map(stamp, self.records.values()))))
        self._write(state)

    def _write(self, status: str) -> None:
        self._run.write({**self._config, **self._reasons, _STATUS: status})
