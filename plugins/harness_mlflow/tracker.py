"""One harness run in an MLflow store: a parent run, and under it a run for each member.

Importing this imports MLflow.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

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

from harness.plugin.tracking import RunTracker, State  # noqa: E402
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
        self._client = MlflowClient(tracking_uri=uri)
        self._experiment = self._experiment_id(
            os.environ.get(EXPERIMENT_VARIABLE, "").strip() or self.document["dataset"]["name"], uri
        )
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
