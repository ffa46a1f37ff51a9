"""The MLflow run of one member, and how a run that is already in the store is found again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from harness_mlflow.content import LONGEST_TAG, cut, fold_metrics, mean_metrics, milliseconds, params

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


class MemberRun:
    """One member with one configuration: its params, and per fold its metrics at step = fold.

    Parameters
    ----------
    client, experiment, parent
        The store, the experiment's id, and the id of the run this one stands under.
    identity
        What makes it the same run.
    name, spec
        The member's name, and what ``run.json`` says of it.
    """

    def __init__(
        self, client: MlflowClient, experiment: str, parent: str, identity: str, name: str, spec: Mapping[str, Any]
    ) -> None:
        self._client, self._experiment, self._identity = client, experiment, identity
        self._name, self._spec = name, spec
        self._tags = {
            "harness.run": identity,
            "harness.plugin": spec["predictor"],
            "harness.plugin_version": spec["version"],
            "harness.distribution": spec["distribution"],
            "mlflow.parentRunId": parent,
        }
        self._run: Run | None = None
        self._records: dict[int, Mapping[str, Any]] = {}
        self._tested: set[int] = set()
        self._failed = self._changed = False

    def finished(self, fold: int, record: Mapping[str, Any], predictions: Sequence[Path] = ()) -> None:
        """Write a task's record down, unless the store has it.

        Parameters
        ----------
        fold
            The fold; -1 for all rows.
        record
            As in ``record.json``.
        predictions
            Files to keep as artifacts.
        """
        run = self._open(record["started"])
        self._records[fold] = record
        tag, stamp = _FOLD_TAG.format(fold), f"{record['key']} {record['finished']}"
        if run.data.tags.get(tag) == stamp:
            return
        self._change()
        when = milliseconds(record["finished"])
        self._client.log_dict(run.info.run_id, dict(record), f"records/fold-{fold}.json")
        for path in predictions:
            self._client.log_artifact(run.info.run_id, str(path), f"predictions/fold-{fold}")
        if _FAILED_TAG.format(fold) in run.data.tags:
            self._client.delete_tag(run.info.run_id, _FAILED_TAG.format(fold))
        # The tag goes last: what is cut short here is written again by the next run, and not missed.
        self._client.log_batch(
            run.info.run_id, metrics=[Metric(key, value, when, fold) for key, value in fold_metrics(record).items()]
        )
        self._client.set_tag(run.info.run_id, tag, stamp)

    def tested(self, fold: int) -> None:
        """Take note of a fold that was computed before, and predicted a test set now."""
        self._tested.add(fold)

    def failed(self, fold: int, reason: str, trace: str) -> None:
        """Write a failed task's reason down as a tag, and its traceback as an artifact."""
        run = self._open(None)
        self._failed = True
        self._change()
        self._client.set_tag(run.info.run_id, _FAILED_TAG.format(fold), cut(reason, LONGEST_TAG))
        self._client.log_text(run.info.run_id, trace, f"failed/fold-{fold}.txt")

    def end(self, *, interrupted: bool = False) -> None:
        """Write the means, if every fold is there, and end the run if anything was written to it."""
        if not self._changed or self._run is None:
            return
        whole = len(self._records) == len(self._spec["keys"])
        ended = len(self._records.keys() | self._tested) == len(self._spec["keys"])
        if whole:
            when = max(milliseconds(record["finished"]) for record in self._records.values())
            means = mean_metrics(list(self._records.values()))
            self._client.log_batch(
                self._run.info.run_id, metrics=[Metric(key, value, when, 0) for key, value in means.items()]
            )
        status = "FAILED" if self._failed else "FINISHED" if ended and not interrupted else "KILLED"
        self._client.set_terminated(self._run.info.run_id, status)

    def _open(self, began: str | None) -> Run:
        if self._run is None:
            self._run = find_or_create(
                self._client,
                self._experiment,
                self._identity,
                name=self._name,
                tags=self._tags,
                config=params(self._spec["config"]),
                began=began,
            )
        return self._run

    def _change(self) -> None:
        if not self._changed and self._run is not None:
            self._client.update_run(self._run.info.run_id, status="RUNNING")
        self._changed = True
