"""The MLflow run of one member, and how a run that is already in the store is found again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from harness.plugin.tracking import MemberTracker, RunTracker, State, fold_metrics, stamp
from harness_mlflow.content import LONGEST_TAG, cut, milliseconds, params

STATUSES: dict[State, str] = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
"""What MLflow calls the ways to end."""
_FOLD_TAG, _FAILED_TAG = "harness.fold.{}", "harness.failed.{}"
_PARAMS_A_CALL = 100  # more are refused


def find_or_create(
    client: MlflowClient,
    experiment: str,
    identity: str,
    *,
    name: str,
    tags: Mapping[str, str],
    config: Mapping[str, str],
    began: str | None,
) -> Run:
    """Return the run whose tag ``harness.run`` is ``identity``; create it if the experiment has none.

    Parameters
    ----------
    client, experiment
        The store, and the id of the experiment in it.
    identity
        What makes it the same run.
    name, tags, config
        Name, tags and params. Tags are set anew; of the params only those it has not: MLflow changes none.
    began
        ISO moment at which a new run is said to have begun; None: now.
    """
    found = client.search_runs([experiment], f"tags.`harness.run` = '{identity}'", max_results=1)
    run = found[0] if found else _create(client, experiment, identity, name, began)
    new = [Param(key, value) for key, value in config.items() if key not in run.data.params]
    for first in range(0, len(new), _PARAMS_A_CALL):
        client.log_batch(run.info.run_id, params=new[first : first + _PARAMS_A_CALL])
    stale = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
    if stale:
        client.log_batch(run.info.run_id, tags=stale)
    return run


def _create(client: MlflowClient, experiment: str, identity: str, name: str, began: str | None) -> Run:
    start = None if began is None else milliseconds(began)
    # The identity is there from the first moment, so that no cut can leave a run that is not found again.
    return client.create_run(experiment, start_time=start, tags={"harness.run": identity}, run_name=name)


class MemberRun(MemberTracker):
    """One member with one configuration: its params, and per fold its metrics at step = fold.

    Parameters
    ----------
    client, experiment, parent
        The store, the experiment's id, and the id of the run this one stands under.
    run, name
        The run of the harness, and the member's name.
    predictions
        Whether predictions are kept as artifacts.
    """

    def __init__(
        self, client: MlflowClient, experiment: str, parent: str, run: RunTracker, name: str, *, predictions: bool
    ) -> None:
        super().__init__(run, name)
        self._client, self._experiment = client, experiment
        self._tags = {"harness.run": self.identity, **self.facts, "mlflow.parentRunId": parent}
        self._folder = run.run_dir / "members" / name if predictions else None
        self._run: Run | None = None
        self._changed = False

    def finished(self, fold: int, record: Mapping[str, Any]) -> None:
        """Write a task's record down, unless the store has it."""
        run = self._open(record["started"])
        tag = _FOLD_TAG.format(fold)
        if run.data.tags.get(tag) == stamp(record):
            return
        self._change()
        self._client.log_dict(run.info.run_id, dict(record), f"records/fold-{fold}.json")
        if self._folder is not None:
            for file in ("predictions.npy", "ids.json"):
                for path in self._folder.glob(f"*-{record['key']}/{file}"):
                    self._client.log_artifact(run.info.run_id, str(path), f"predictions/fold-{fold}")
        if _FAILED_TAG.format(fold) in run.data.tags:
            self._client.delete_tag(run.info.run_id, _FAILED_TAG.format(fold))
        # The tag goes last: what is cut short here is written again by the next run, and not missed.
        self._log(fold_metrics(record), milliseconds(record["finished"]), fold)
        self._client.set_tag(run.info.run_id, tag, stamp(record))

    def failed(self, fold: int, reason: str, trace: str) -> None:
        """Write a failed task's reason down as a tag, and its traceback as an artifact."""
        run = self._open(None)
        self._change()
        self._client.set_tag(run.info.run_id, _FAILED_TAG.format(fold), cut(reason, LONGEST_TAG))
        self._client.log_text(run.info.run_id, trace, f"failed/fold-{fold}.txt")

    def end(self, state: State) -> None:
        """Write the means, if every fold is there, and end the run, unless it has ended so and nothing is new."""
        if self._run is None or (self.before == state and not self._changed):
            return
        if self.means:
            self._log(self.means, max(milliseconds(record["finished"]) for record in self.records.values()), 0)
        self._client.set_terminated(self._run.info.run_id, STATUSES[state])

    def _log(self, figures: Mapping[str, float], when: int, step: int) -> None:
        assert self._run is not None, "a run is opened before it is written to"
        metrics = [Metric(key, float(value), when, step) for key, value in figures.items()]
        self._client.log_batch(self._run.info.run_id, metrics=metrics)

    def _open(self, began: str | None) -> Run:
        if self._run is None:
            self._run = find_or_create(
                self._client,
                self._experiment,
                self.identity,
                name=self.name,
                tags=self._tags,
                config=params(self.spec["config"]),
                began=began,
            )
            states = {status: state for state, status in STATUSES.items()}
            self.before = states.get(self._run.info.status)
        return self._run

    def _change(self) -> None:
        if not self._changed and self._run is not None:
            self._client.update_run(self._run.info.run_id, status="RUNNING")
        self._changed = True
