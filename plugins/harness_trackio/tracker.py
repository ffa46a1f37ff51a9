"""One harness run in a trackio store: a run for the folder and one for each member, in one group.

Importing this imports trackio.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_trackio.content import digest, fold_metrics, mean_metrics
from harness_trackio.store import Store, StoredRun

if TYPE_CHECKING:
    from harness.plugin import RunEvent

PROJECT_VARIABLE = "HARNESS_TRACKIO_PROJECT"


class Tracker:
    """Keeps one run of the harness in the store that ``TRACKIO_DIR`` names.

    Parameters
    ----------
    abandon
        The trackers not yet ended, by run folder: those still there when the process ends were interrupted,
        and their runs are marked so.

    Raises
    ------
    OSError, ValueError, sqlite3.Error
        By any method, if the store cannot be used.
    """

    def __init__(self, abandon: MutableMapping[Path, Tracker]) -> None:
        self._abandon = abandon
        self._members: dict[str, _Member] = {}
        self._document: dict[str, Any] = {}

    def hear(self, event: RunEvent) -> None:
        """Write down what an event says; what was computed before waits for the next that is written."""
        if event.kind == "run_started":
            self._begin(event)
            atexit.register(self._interrupted, event.run_dir)
            return
        if event.kind == "run_finished":
            atexit.unregister(self._interrupted)
            self._finish("failed" if event.details["failed"] else "finished", event.details)
            return
        assert event.member is not None, "task events name their task"
        assert event.fold is not None, "task events name their task"
        member = self._member(event.member)
        if event.kind == "task_failed":
            member.failed(event.fold, event.details["reason"], event.details["traceback"])
        elif event.kind == "test_predicted":  # its figures were told when it was computed
            member.tested(event.fold)
        elif event.details:  # a reused task whose record is gone has nothing to say
            member.finished(event.fold, event.details)
        if event.kind != "task_reused":
            member.write("running")

    def _begin(self, event: RunEvent) -> None:
        self._document = document = event.details["run"]
        folds, path = document["folds"], event.run_dir.resolve()
        self._store = Store(os.environ.get(PROJECT_VARIABLE, "").strip() or document["dataset"]["name"])
        # A folder is the same run as long as it is what was begun at that moment at that place.
        self._identity = digest(str(path), document["created"], folds["data_fingerprint"], folds["fold_hash"])
        self._group = path.name
        self._config = {
            **document["config"],
            "harness.run_dir": str(path),
            "harness.version": str(document["versions"]["harness"]),
            "harness.git_commit": document["git_commit"],
            "harness.data_fingerprint": folds["data_fingerprint"],
            "harness.fold_hash": folds["fold_hash"],
            "harness.command": " ".join(document["command"]),
        }
        self._run = StoredRun(self._store, self._identity, path.name, group=path.name, began=document["created"])
        planned = sum(len(spec["keys"]) for spec in document["members"].values())
        self._tell("running", {"tasks_planned": planned})

    def _finish(self, status: str, counts: Mapping[str, int]) -> None:
        for member in self._members.values():
            member.write(status, last=True)
        self._tell(status, {f"tasks_{name}": count for name, count in counts.items()} or {"interrupted": 1})

    def _tell(self, status: str, metrics: Mapping[str, float]) -> None:
        now = datetime.now(UTC).isoformat()
        self._run.add(None, metrics, now, now)
        self._run.write({**self._config, "harness.status": status})

    def _interrupted(self, run_dir: Path) -> None:
        if self._abandon.pop(run_dir, None) is self:
            self._finish("interrupted", {})

    def _member(self, name: str) -> _Member:
        if name not in self._members:
            spec = self._document["members"][name]
            # With other options a member has other keys, and is another run.
            identity = digest(self._identity, name, *(f"{fold}={key}" for fold, key in sorted(spec["keys"].items())))
            run = StoredRun(self._store, identity, f"{self._group}/{name}", group=self._group)
            self._members[name] = _Member(run, name, spec)
        return self._members[name]


class _Member:
    """One member with one configuration: its options, and per fold its figures at step = fold."""

    def __init__(self, run: StoredRun, name: str, spec: Mapping[str, Any]) -> None:
        self._run, self._keys = run, spec["keys"]
        self._config = {
            **spec["config"],
            "harness.member": name,
            "harness.plugin": spec["predictor"],
            "harness.plugin_version": spec["version"],
            "harness.distribution": spec["distribution"],
        }
        self._records: dict[int, Mapping[str, Any]] = {}
        self._tested: set[int] = set()
        self._failed: dict[int, str] = {}

    def finished(self, fold: int, record: Mapping[str, Any]) -> None:
        self._records[fold] = record
        self._run.began = min(self._run.began or record["started"], record["started"])
        self._run.add(fold, fold_metrics(record), record["finished"], f"{fold} {record['key']} {record['finished']}")

    def tested(self, fold: int) -> None:
        self._tested.add(fold)

    def failed(self, fold: int, reason: str, trace: str) -> None:
        now = datetime.now(UTC).isoformat()
        self._failed[fold] = reason
        self._run.add(fold, {"failed": 1}, now, f"{fold} {reason} {now}")
        self._run.alert(fold, f"fold {fold} failed: {reason}", trace, now)

    def write(self, status: str, *, last: bool = False) -> None:
        """Write what waits; with ``last``, the means too if every fold is there, and how the member ended."""
        if last:
            whole = len(self._records) == len(self._keys)
            ended = len(self._records.keys() | self._tested) == len(self._keys)
            status = "failed" if self._failed else "finished" if ended else "interrupted"
            if whole:
                stamps = sorted(f"{record['key']} {record['finished']}" for record in self._records.values())
                moment = max(record["finished"] for record in self._records.values())
                self._run.add(0, mean_metrics(list(self._records.values())), moment, " ".join(stamps))
        reasons = {f"harness.failed.{fold}": reason for fold, reason in self._failed.items()}
        self._run.write({**self._config, **reasons, "harness.status": status})
