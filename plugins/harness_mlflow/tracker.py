"""One harness run in an MLflow store: a parent run, and under it a run for each member.

Importing this imports MLflow.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Read by MLflow when it is used; what the user has set stays. An unreachable server would hold a run up for many
# minutes with MLflow's own seven retries, and a run on a machine without network must not look for one.
for _name, _value in {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}.items():
    os.environ.setdefault(_name, _value)
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # stdout belongs to the command, which may print JSON

from mlflow import MlflowClient  # noqa: E402  its modules read the variables above

from harness_mlflow.content import LONGEST_TAG, cut, params  # noqa: E402
from harness_mlflow.member import MemberRun, find_or_create  # noqa: E402

if TYPE_CHECKING:
    from harness.plugin import RunEvent

EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
PREDICTIONS_VARIABLE = "HARNESS_MLFLOW_PREDICTIONS"


class Tracker:
    """Keeps one run of the harness in a store.

    Parameters
    ----------
    uri
        Tracking URI, as MLflow takes it: ``sqlite:///FILE``, ``file:FOLDER``, ``http://SERVER``.
    abandon
        The trackers not yet ended, by run folder: those still there when the process ends were interrupted,
        and their runs are ended as KILLED.

    Raises
    ------
    mlflow.exceptions.MlflowException
        By any method, if the store cannot be used.
    """

    def __init__(self, uri: str, abandon: MutableMapping[Path, Tracker]) -> None:
        for noisy in ("mlflow", "alembic"):  # each says at length that it makes a new database
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self._client = MlflowClient(tracking_uri=uri)
        self._uri = uri
        self._abandon = abandon
        self._members: dict[str, MemberRun] = {}
        self._document: dict[str, Any] = {}
        self._experiment = self._parent = ""

    def hear(self, event: RunEvent) -> None:
        """Write down what an event says."""
        if event.kind == "run_started":
            self._begin(event)
            atexit.register(self._interrupted, event.run_dir)
            return
        if event.kind == "run_finished":
            atexit.unregister(self._interrupted)
            self._finish("FAILED" if event.details["failed"] else "FINISHED", event.details)
            return
        assert event.member is not None, "task events name their task"
        assert event.fold is not None, "task events name their task"
        member = self._member(event.member)
        if event.kind == "task_failed":
            member.failed(event.fold, event.details["reason"], event.details["traceback"])
        elif event.kind == "test_predicted":  # its figures were told when it was computed
            member.tested(event.fold)
        elif event.details:  # a reused task whose record is gone has nothing to say
            member.finished(event.fold, event.details, self._predictions(event))

    # -- the parent ----------------------------------------------------------------------------

    def _begin(self, event: RunEvent) -> None:
        self._document = document = event.details["run"]
        folds, path = document["folds"], event.run_dir.resolve()
        self._experiment = self._experiment_id(
            os.environ.get(EXPERIMENT_VARIABLE, "").strip() or document["dataset"]["name"]
        )
        # A folder is the same run as long as it is what was begun at that moment at that place.
        self._identity = _digest(str(path), document["created"], folds["data_fingerprint"], folds["fold_hash"])
        tags = {
            "harness.run": self._identity,
            "harness.run_dir": str(path),
            "harness.version": str(document["versions"]["harness"]),
            "harness.git_commit": document["git_commit"],
            "harness.data_fingerprint": folds["data_fingerprint"],
            "harness.fold_hash": folds["fold_hash"],
            "harness.command": " ".join(document["command"]),
            "mlflow.source.name": "harness",
        }
        self._parent = find_or_create(
            self._client,
            self._experiment,
            self._identity,
            name=path.name,
            tags={key: cut(value, LONGEST_TAG) for key, value in tags.items() if value},
            config=params(document["config"]),
            began=document["created"],
        ).info.run_id
        self._client.update_run(self._parent, status="RUNNING")

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return self._client.create_experiment(name)
        if found.lifecycle_stage != "active":
            raise LookupError(
                f"the experiment '{name}' in {self._uri} is deleted; restore it, or name another with "
                f"{EXPERIMENT_VARIABLE}"
            )
        return found.experiment_id

    def _finish(self, status: str, counts: dict[str, int]) -> None:
        for member in self._members.values():
            member.end(interrupted=status == "KILLED")
        for name, count in counts.items():
            self._client.log_metric(self._parent, f"tasks_{name}", count)
        self._client.log_dict(self._parent, self._document, "run.json")
        self._client.set_terminated(self._parent, status)

    def _interrupted(self, run_dir: Path) -> None:
        if self._abandon.pop(run_dir, None) is self:
            self._finish("KILLED", {})

    # -- the members ---------------------------------------------------------------------------

    def _member(self, name: str) -> MemberRun:
        if name not in self._members:
            spec = self._document["members"][name]
            # Params cannot change in MLflow, so another configuration of a member is another run.
            identity = _digest(self._identity, name, *(f"{fold}={key}" for fold, key in sorted(spec["keys"].items())))
            self._members[name] = MemberRun(self._client, self._experiment, self._parent, identity, name, spec)
        return self._members[name]

    def _predictions(self, event: RunEvent) -> list[Path]:
        if os.environ.get(PREDICTIONS_VARIABLE, "").strip() in ("", "0"):
            return []
        return sorted(event.run_dir.glob(f"members/{event.member}/*-{event.details['key']}/predictions.npy")) + sorted(
            event.run_dir.glob(f"members/{event.member}/*-{event.details['key']}/ids.json")
        )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
