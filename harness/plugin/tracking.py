"""What trackers share: listeners that keep runs in a store, such as MLflow's, where people look at many of them.

A tracker plugin hands each event to a ``Tracking``, which makes a ``RunTracker`` for each run; that makes a
``MemberTracker`` for each member. A plugin fills in what its store wants to be told; which events make up a run, what
is the same run, how a member stands, and what becomes of a run that is interrupted are said here. Importing this
imports nothing heavy, so it may stand at the top of a plugin.
"""

from __future__ import annotations

import atexit
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from harness.plugin.events import RunEvent

State = Literal["finished", "failed", "interrupted"]
"""How a run or a member ended: with all its tasks, with one that failed, or before all were there."""

_FIGURES = (
    "score", "fit_seconds", "predict_seconds", "fit_peak_memory_bytes", "predict_peak_memory_bytes",
    "n", "n_train", "n_purged", "trainable_parameters", "total_parameters",
)  # fmt: skip
_AVERAGED = ("fit_seconds", "predict_seconds", "images_per_second", "peak_memory_bytes")
_TASK_ENDS = frozenset({"task_finished", "test_predicted", "task_reused", "task_failed"})


# -- figures -----------------------------------------------------------------------------------


def fold_metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a finished task: those of its record, its speed, and the higher of its two memory peaks.

    Parameters
    ----------
    record
        As in ``record.json``, which is what the events ``task_finished`` and ``task_reused`` bring.

    Returns
    -------
    dict of str to float
        ``score`` (mean cosine over the fold's held-out rows), ``fit_seconds``, ``predict_seconds``,
        ``images_per_second`` (of prediction), ``fit_peak_memory_bytes``, ``predict_peak_memory_bytes``,
        ``peak_memory_bytes``, ``n``, ``n_train`` and ``n_purged`` (rows predicted, learned from, and kept from
        training), ``trainable_parameters`` and ``total_parameters``. Whole numbers are ``int``; what the record does
        not have (a predictor that is not trained has no ``n_train``) is left out.
    """
    figures = {name: record[name] for name in _FIGURES if record.get(name) is not None}
    figures["images_per_second"] = record["n"] / max(record["predict_seconds"], 1e-6)
    figures["peak_memory_bytes"] = max(value for name, value in figures.items() if name.endswith("peak_memory_bytes"))
    return figures


def mean_metrics(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return a member's means, from the records of all its folds.

    Parameters
    ----------
    records
        At least one; as for ``fold_metrics``. Of some folds alone the score would not be the leaderboard's:
        ``MemberTracker.means`` gives none before all are there.

    Returns
    -------
    dict of str to float
        ``mean_score`` is the mean over rows, as on the leaderboard: each fold counts by its rows. ``mean_fit_seconds``,
        ``mean_predict_seconds``, ``mean_images_per_second`` and ``mean_peak_memory_bytes`` are plain means over folds.
    """
    rows = sum(record["n"] for record in records)
    means = {"mean_score": sum(record["n"] * record["score"] for record in records) / rows}
    by_fold = [fold_metrics(record) for record in records]
    for name in _AVERAGED:
        values = [figures[name] for figures in by_fold if name in figures]
        if values:
            means[f"mean_{name}"] = sum(values) / len(values)
    return means


# -- what is the same --------------------------------------------------------------------------


def digest(*parts: str) -> str:
    """Return 16 hexadecimal digits that are others if a part is another: a name for what is the same in a store."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def stamp(record: Mapping[str, Any]) -> str:
    """Return what tells this record of a task from one of the same task done anew: a store that has it has its figures.

    Parameters
    ----------
    record
        As for ``fold_metrics``.
    """
    return f"{record['key']} {record['finished']}"


# -- a run and its members ---------------------------------------------------------------------


class RunTracker(ABC):
    """Keeps one run in a store, from its start to its end.

    A subclass opens the store and writes the run's beginning in its constructor, after calling this one, and fills in
    ``member`` and ``end``. Whatever any of them raises ends the tracking with a note; the run goes on.

    Parameters
    ----------
    event
        The ``run_started`` of the run.

    Attributes
    ----------
    run_dir : Path
        The run's folder, resolved. Its name is the run's.
    document : dict
        The content of ``run.json``: with ``created``, the moment (ISO) at which the folder was begun; ``dataset``,
        ``config``, ``members``.
    identity : str
        What makes it the same run: a folder stays the same as long as it is what was begun at that moment at that
        place, on the same data and folds. A later command on it goes on with that run of the store.
    facts : dict of str to (str or None)
        What to say of the run beside its configuration: ``harness.run_dir``, ``harness.version``,
        ``harness.git_commit`` (None outside of a repository), ``harness.data_fingerprint``, ``harness.fold_hash``,
        ``harness.command``.
    members : dict of str to MemberTracker
        Those of which something was told, by name.
    """

    def __init__(self, event: RunEvent) -> None:
        self.run_dir: Path = event.run_dir.resolve()
        self.document: dict[str, Any] = event.details["run"]
        self.members: dict[str, MemberTracker] = {}
        folds = self.document["folds"]
        self.identity = digest(
            str(self.run_dir), self.document["created"], folds["data_fingerprint"], folds["fold_hash"]
        )
        self.facts: dict[str, str | None] = {
            "harness.run_dir": str(self.run_dir),
            "harness.version": str(self.document["versions"]["harness"]),
            "harness.git_commit": self.document["git_commit"],
            "harness.data_fingerprint": folds["data_fingerprint"],
            "harness.fold_hash": folds["fold_hash"],
            "harness.command": " ".join(self.document["command"]),
        }

    @abstractmethod
    def member(self, name: str) -> MemberTracker:
        """Return the tracker of a member, of which something is told for the first time."""

    @abstractmethod
    def end(self, state: State, counts: Mapping[str, int]) -> None:
        """Write how the run ended; all its members have been ended before.

        Parameters
        ----------
        state
            ``failed`` if a task failed; ``interrupted`` if the command ended without saying so.
        counts
            Tasks ``computed``, ``tested``, ``reused``, ``failed`` and ``not_tried``; empty if it was interrupted.
        """

    def hear(self, event: RunEvent) -> None:
        """Write down what an event says that comes after ``run_started``."""
        if event.kind == "run_finished":
            self._end("failed" if event.details["failed"] else "finished", event.details)
        elif event.kind in _TASK_ENDS:
            assert event.member is not None, "task events name their task"
            if event.member not in self.members:
                self.members[event.member] = self.member(event.member)
            self.members[event.member].hear(event)

    def interrupt(self) -> None:
        """Write down that the command ended before the run did."""
        self._end("interrupted", {})

    def _end(self, state: State, counts: Mapping[str, int]) -> None:
        for member in self.members.values():
            member.end(member.state)
        self.end(state, counts)


class MemberTracker(ABC):
    """Keeps one member with one configuration in a store: its figures by fold, and how it ended.

    A subclass fills in ``finished``, ``failed`` and ``end``.

    Parameters
    ----------
    run
        The run it is a member of.
    name
        The member's name.

    Attributes
    ----------
    name : str
    spec : dict
        What ``run.json`` says of the member: ``config``, its resolved options, and ``keys``, one a fold, among others.
    identity : str
        What makes it the same member of the same run. With other options it has other keys, and is another.
    facts : dict of str to str
        ``harness.plugin``, ``harness.plugin_version``, ``harness.distribution``.
    records : dict of int to dict
        The record of each fold that is there, whether this command computed it or one before; fold -1 is all rows.
    tested : set of int
        Folds of which this command only predicted the test set. Their figures were told when they were computed.
    failures : dict of int to str
        The reason of each fold that failed.
    before : State or None
        How the store says that it ended, in a command before this one. To be set by the subclass, where the store has
        it, before ``end``.
    """

    def __init__(self, run: RunTracker, name: str) -> None:
        self.name = name
        self.spec: dict[str, Any] = run.document["members"][name]
        self.identity = digest(
            run.identity, name, *(f"{fold}={key}" for fold, key in sorted(self.spec["keys"].items()))
        )
        self.facts = {
            "harness.plugin": self.spec["predictor"],
            "harness.plugin_version": self.spec["version"],
            "harness.distribution": self.spec["distribution"],
        }
        self.records: dict[int, Mapping[str, Any]] = {}
        self.tested: set[int] = set()
        self.failures: dict[int, str] = {}
        self.before: State | None = None
        self._has_news = False

    @property
    def state(self) -> State:
        """How the member stands, if nothing more is told of it.

        It has failed if a fold did, and has finished if there is something of every fold, whatever becomes of the rest
        of the run. Where neither holds it was interrupted, or, if this command did nothing for it, is as it was before.
        """
        if self.failures:
            return "failed"
        if len(self.records.keys() | self.tested) == len(self.spec["keys"]):
            return "finished"
        return self.before if self.before is not None and not self._has_news else "interrupted"

    @property
    def means(self) -> dict[str, float]:
        """``mean_metrics`` of the member; empty as long as the record of a fold is missing."""
        return mean_metrics(list(self.records.values())) if len(self.records) == len(self.spec["keys"]) else {}

    @abstractmethod
    def finished(self, fold: int, record: Mapping[str, Any]) -> None:
        """Write the figures of a fold, unless the store has those of this very record (see ``stamp``).

        Parameters
        ----------
        fold
            Its number; -1 for all rows.
        record
            As for ``fold_metrics``; already among ``records``.
        """

    @abstractmethod
    def failed(self, fold: int, reason: str, trace: str) -> None:
        """Write why a fold failed: a line, and the traceback. It is already among ``failures``."""

    @abstractmethod
    def end(self, state: State) -> None:
        """Write the ``means``, if there are any, and how the member ended."""

    def hear(self, event: RunEvent) -> None:
        """Take note of an event of one of the member's tasks, and write it down."""
        assert event.fold is not None, "task events name their task"
        self._has_news |= event.kind != "task_reused"
        if event.kind == "task_failed":
            self.failures[event.fold] = event.details["reason"]
            self.failed(event.fold, event.details["reason"], event.details["traceback"])
        elif event.kind == "test_predicted":
            self.tested.add(event.fold)
        elif event.details:  # a reused task whose record is gone has nothing to say
            self.records[event.fold] = event.details
            self.finished(event.fold, event.details)


# -- the plugin --------------------------------------------------------------------------------


class Tracking:
    """The runs of this process that one plugin tracks: what its ``harness_run_event`` hands all events to.

    A run is tracked if an environment variable is set when it begins. What is still open when the process ends, or when
    the same folder is begun anew, was interrupted and is told so; a process that is killed outright tells nothing.

    Parameters
    ----------
    variable
        The environment variable whose being set, and not blank, asks for tracking.
    start
        Makes the tracker of a run from its ``run_started``. What it needs of the store's library is imported here, so
        that nothing is where nobody asks for tracking.
    library, package
        What the library is called, and the module whose absence means that it is not installed.
    install
        The command that installs it.
    """

    def __init__(
        self, variable: str, start: Callable[[RunEvent], RunTracker], *, library: str, package: str, install: str
    ) -> None:
        self._variable, self._start = variable, start
        self._library, self._package, self._install = library, package, install
        self._open: dict[Path, RunTracker] = {}

    def hear(self, event: RunEvent) -> None:
        """Hand an event to the tracker of its run, which begins with ``run_started`` and ends with ``run_finished``.

        Raises
        ------
        ImportError
            If tracking is asked for and the library is not installed; it says how to install it.
        Exception
            Whatever a tracker raises. The run is then no longer tracked.
        """
        if event.kind == "run_started":
            self._begin(event)
        elif (tracker := self._open.get(event.run_dir)) is not None:
            try:
                tracker.hear(event)
            except Exception:  # the harness notes it and calls no more: nothing is left to end at exit
                self._forget(event.run_dir)
                raise
            if event.kind == "run_finished":
                self._forget(event.run_dir)

    def _begin(self, event: RunEvent) -> None:
        if (before := self._forget(event.run_dir)) is not None:  # a command of this process that broke off
            before.interrupt()
        if not os.environ.get(self._variable, "").strip():
            return
        try:
            tracker = self._start(event)
        except ModuleNotFoundError as error:
            if error.name != self._package:
                raise
            raise ImportError(
                f"{self._variable} is set and {self._library} is not installed: {self._install}, "
                f"or unset {self._variable}; the run is not tracked"
            ) from error
        self._open[event.run_dir] = tracker
        atexit.register(tracker.interrupt)  # after the library's own, which come later then

    def _forget(self, run_dir: Path) -> RunTracker | None:
        tracker = self._open.pop(run_dir, None)
        if tracker is not None:
            atexit.unregister(tracker.interrupt)
        return tracker
