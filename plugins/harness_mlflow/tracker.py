"""One harness run in an MLflow store: a parent run, and under it a run for each member.

Importing this imports MLflow.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from filelock import FileLock

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
from mlflow.exceptions import MlflowException  # noqa: E402

from harness.plugin.tracking import RunTracker, State, digest  # noqa: E402
from harness_mlflow.content import LONGEST_TAG, cut, params  # noqa: E402
from harness_mlflow.member import STATUSES, MemberRun, find_or_create  # noqa: E402

if TYPE_CHECKING:
    from harness.plugin import RunEvent

EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
PREDICTIONS_VARIABLE = "HARNESS_MLFLOW_PREDICTIONS"


class Tracker(RunTracker):
    """Keeps one run of the harness in a store.

    Parameters
    ----------
    event
        The ``run_started`` of the run.
    uri
        Tracking URI, as MLflow takes it: ``sqlite:///FILE``, ``file:FOLDER``, ``http://SERVER``.

    Raises
    ------
    LookupError
        If the experiment is deleted.
    mlflow.exceptions.MlflowException
        By any method, if the store cannot be used.
    """

    def __init__(self, event: RunEvent, uri: str) -> None:
        super().__init__(event)
        for noisy in ("mlflow", "alembic"):  # each says at length that it makes a new database
            logging.getLogger(noisy).setLevel(logging.WARNING)
        name = os.environ.get(EXPERIMENT_VARIABLE, "").strip() or self.document["dataset"]["name"]
        with _alone(uri):
            self._client = MlflowClient(tracking_uri=uri)
            self._experiment = self._experiment_id(name, uri)
        tags = {"harness.run": self.identity, **self.facts, "mlflow.source.name": "harness"}
        self._parent = find_or_create(
            self._client,
            self._experiment,
            self.identity,
            name=self.run_dir.name,
            tags={key: cut(value, LONGEST_TAG) for key, value in tags.items() if value},
            config=params(self.document["config"]),
            began=self.document["created"],
        ).info.run_id
        self._client.update_run(self._parent, status="RUNNING")

    def member(self, name: str) -> MemberRun:
        """Return the tracker of a member. Params cannot change in MLflow: with other options it is another run."""
        wanted = os.environ.get(PREDICTIONS_VARIABLE, "").strip() not in ("", "0")
        return MemberRun(self._client, self._experiment, self._parent, self, name, predictions=wanted)

    def end(self, state: State, counts: Mapping[str, int]) -> None:
        """Write the counts and ``run.json``, and end the parent."""
        for name, count in counts.items():
            self._client.log_metric(self._parent, f"tasks_{name}", count)
        self._client.log_dict(self._parent, self.document, "run.json")
        self._client.set_terminated(self._parent, STATUSES[state])

    def _experiment_id(self, name: str, uri: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(name)
            except MlflowException:
                found = self._client.get_experiment_by_name(name)
                if found is None:  # else another run has just made it
                    raise
        if found.lifecycle_stage != "active":
            raise LookupError(
                f"the experiment '{name}' in {uri} is deleted; restore it, or name another with {EXPERIMENT_VARIABLE}"
            )
        return found.experiment_id


def _alone(uri: str) -> AbstractContextManager[object]:
    """Keep other runs of this user on this machine from opening a local store meanwhile.

    MLflow makes a new database, brings an old one up to date, and adds an experiment to a folder, without looking
    whether another process is at it: one of the two fails, or there are two experiments of one name.
    """
    kind, colon, place = uri.partition(":")
    if colon and kind not in ("file", "sqlite"):
        return nullcontext()
    path = place.removeprefix("///" if kind == "sqlite" else "//") if colon else uri
    user = getattr(os, "getuid", int)()
    return FileLock(Path(gettempdir()) / f"harness-mlflow-{user}-{digest(str(Path(path).resolve()))}.lock")
