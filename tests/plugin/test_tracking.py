"""What trackers share, by a tracker that keeps what it is told in a list."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.plugin import RunEvent
from harness.plugin.tracking import (
    MemberTracker,
    RunTracker,
    State,
    Tracking,
    digest,
    fold_metrics,
    mean_metrics,
    stamp,
)

DOCUMENT: dict[str, Any] = {
    "created": "2026-11-28T10:00:00+00:00",
    "versions": {"harness": "1.2"},
    "git_commit": None,
    "command": ["harness", "run"],
    "folds": {"data_fingerprint": "data", "fold_hash": "folds"},
    "members": {
        "knn": {"predictor": "knn", "version": "3", "distribution": "own", "config": {}, "keys": {"0": "a", "1": "b"}},
        "caption": {"predictor": "cap", "version": "1", "distribution": "own", "config": {}, "keys": {"-1": "c"}},
    },
}


def record(fold: int, **changes: Any) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "fold": fold, "key": f"key{fold}", "finished": "2026-11-28T10:01:00+00:00", "score": 0.5, "n": 4, "n_train": 9,
        "n_purged": 0, "fit_seconds": 1.0, "predict_seconds": 2.0, "fit_peak_memory_bytes": 10,
        "predict_peak_memory_bytes": 30, "trainable_parameters": 0, "total_parameters": 7, "device": "cpu",
    }  # fmt: skip
    return figures | changes


class Listing(RunTracker):
    """Keeps what is written in a list; the store that it stands for can break."""

    def __init__(self, event: RunEvent, said: list[Any], before: Mapping[str, State] | None = None) -> None:
        super().__init__(event)
        self.said, self.before = said, before or {}
        said.append(("begin", self.run_dir.name))

    def member(self, name: str) -> ListingMember:
        return ListingMember(self, name)

    def end(self, state: State, counts: Mapping[str, int]) -> None:
        self.said.append(("end", state, dict(counts)))


class ListingMember(MemberTracker):
    def __init__(self, run: Listing, name: str) -> None:
        super().__init__(run, name)
        self.said = run.said
        self.before = run.before.get(name)

    def finished(self, fold: int, record: Mapping[str, Any]) -> None:
        if record["score"] < 0:
            raise OSError("the store is full")
        self.said.append((self.name, fold, record["score"]))

    def failed(self, fold: int, reason: str, trace: str) -> None:
        self.said.append((self.name, fold, reason))

    def end(self, state: State) -> None:
        self.said.append((self.name, state, self.means.get("mean_score")))


STARTED = {"run": DOCUMENT, "config": {}}
FAILURE = {"reason": "it broke", "traceback": "line 1"}
COUNTS = {"computed": 1, "tested": 0, "reused": 0, "failed": 0, "not_tried": 0}


def told(run_dir: Path, kind: Any, member: str | None = None, fold: int | None = None, /, **details: Any) -> RunEvent:
    return RunEvent(kind, run_dir, member, fold, details)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setenv("LISTING", "on")
    return []


def tracking(said: list[Any], **before: State) -> Tracking:
    return Tracking(
        "LISTING", lambda event: Listing(event, said, before), library="Listing", package="listing", install="pip it"
    )


# -- figures -----------------------------------------------------------------------------------


def test_figures_are_the_records_with_speed_and_the_higher_peak() -> None:
    assert fold_metrics(record(0)) == {
        "score": 0.5, "fit_seconds": 1.0, "predict_seconds": 2.0, "fit_peak_memory_bytes": 10,
        "predict_peak_memory_bytes": 30, "n": 4, "n_train": 9, "n_purged": 0, "trainable_parameters": 0,
        "total_parameters": 7, "images_per_second": 2.0, "peak_memory_bytes": 30,
    }  # fmt: skip
    untrained = fold_metrics(record(-1, n_train=None, fit_peak_memory_bytes=None, predict_seconds=0.0))
    assert not {"n_train", "fit_peak_memory_bytes"} & untrained.keys()
    assert untrained["images_per_second"] == pytest.approx(4e6), "no time at all is no division by it"


def test_the_mean_score_is_over_rows_and_other_means_over_folds() -> None:
    means = mean_metrics([record(0, n=1, score=0.2), record(1, n=9, score=0.4, fit_seconds=3.0)])
    assert means == {
        "mean_score": pytest.approx((0.2 + 9 * 0.4) / 10),
        "mean_fit_seconds": 2.0,
        "mean_predict_seconds": 2.0,
        "mean_images_per_second": 2.5,
        "mean_peak_memory_bytes": 30.0,
    }


# -- what is the same --------------------------------------------------------------------------


def test_parts_are_told_apart_though_they_join_to_the_same() -> None:
    assert digest("a", "b") == digest("a", "b")
    assert len({digest("a", "b"), digest("ab"), digest("b", "a"), digest("a", "b", "")}) == 4
    assert stamp(record(0)) != stamp(record(0, finished="2026-11-29T10:01:00+00:00"))


def test_a_run_is_the_same_by_its_place_beginning_data_and_folds_alone(tmp_path: Path) -> None:
    def run(folder: str = "run", **changes: Any) -> Listing:
        return Listing(told(tmp_path / folder, "run_started", run=DOCUMENT | changes), [])

    folds = DOCUMENT["folds"]
    same = [run(), run(command=["harness", "again"]), run("../" + tmp_path.name + "/run"), run(config={"folds": 2})]
    others = [run("other"), run(created="2026-11-29T10:00:00+00:00"), run(folds={**folds, "fold_hash": "x"})]
    others.append(run(folds={**folds, "data_fingerprint": "x"}))
    assert len({one.identity for one in same}) == 1
    assert len({one.identity for one in [run(), *others]}) == 5
    assert same[0].facts == {
        "harness.run_dir": str(tmp_path / "run"), "harness.version": "1.2", "harness.git_commit": None,
        "harness.data_fingerprint": "data", "harness.fold_hash": "folds", "harness.command": "harness run",
    }  # fmt: skip


def test_a_member_with_other_keys_is_another(tmp_path: Path) -> None:
    def member(keys: dict[str, str]) -> MemberTracker:
        knn = {**DOCUMENT["members"]["knn"], "keys": keys}
        return Listing(told(tmp_path, "run_started", run={**DOCUMENT, "members": {"knn": knn}}), []).member("knn")

    assert member({"0": "a", "1": "b"}).identity == member({"1": "b", "0": "a"}).identity
    assert member({"0": "a", "1": "b"}).identity != member({"0": "a", "1": "c"}).identity
    facts = {"harness.plugin": "knn", "harness.plugin_version": "3", "harness.distribution": "own"}
    assert member({}).facts == facts


# -- how a run and its members end -------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "before", "state"),
    [
        ([("task_finished", 0), ("task_finished", 1)], None, "finished"),
        ([("task_reused", 0), ("task_finished", 1)], "failed", "finished"),
        ([("task_reused", 0), ("test_predicted", 1)], None, "finished"),
        ([("task_finished", 0)], None, "interrupted"),
        ([("task_finished", 0), ("test_predicted", 0)], None, "interrupted"),
        ([("task_finished", 0)], "failed", "interrupted"),
        ([("task_reused", 0)], None, "interrupted"),
        ([("task_reused", 0)], "failed", "failed"),
        ([("task_reused", 0)], "finished", "finished"),
        ([("task_finished", 0), ("task_failed", 1)], None, "failed"),
        ([("task_reused", 0), ("task_reused", 1), ("task_failed", 1)], None, "failed"),  # its files were spoilt
    ],
)
def test_how_a_member_stands(
    events: list[tuple[str, int]], before: State | None, state: State, tmp_path: Path, said: list[Any]
) -> None:
    heard = tracking(said, **({} if before is None else {"knn": before}))
    heard.hear(told(tmp_path, "run_started", **STARTED))
    for kind, fold in events:
        details = FAILURE if kind == "task_failed" else {"seconds": 1.0} if kind == "test_predicted" else record(fold)
        heard.hear(told(tmp_path, kind, "knn", fold, **details))
    heard.hear(told(tmp_path, "run_finished", **COUNTS))
    whole = {fold for kind, fold in events if kind in ("task_finished", "task_reused")} == {0, 1}
    assert said[-2] == ("knn", state, 0.5 if whole else None)


def test_a_run_is_told_from_its_start_to_its_end(tmp_path: Path, said: list[Any]) -> None:
    heard, run_dir = tracking(said), tmp_path / "run"
    heard.hear(told(run_dir, "task_finished", "knn", 0, **record(0)))  # of a run whose start was not heard
    heard.hear(told(run_dir, "run_started", **STARTED))
    heard.hear(told(run_dir, "task_started", "knn", 0))
    heard.hear(told(run_dir, "progress", "knn", 0, label="fit", done=1, total=2))
    heard.hear(told(run_dir, "task_reused", "caption", -1))  # its record is gone
    heard.hear(told(run_dir, "task_failed", "knn", 0, **FAILURE))
    heard.hear(told(run_dir, "task_finished", "knn", 1, **record(1)))
    heard.hear(told(run_dir, "run_finished", **(COUNTS | {"failed": 1})))
    heard.hear(told(run_dir, "task_finished", "knn", 0, **record(0)))
    assert said == [
        ("begin", "run"),
        ("knn", 0, "it broke"),
        ("knn", 1, 0.5),
        ("caption", "interrupted", None),
        ("knn", "failed", None),
        ("end", "failed", COUNTS | {"failed": 1}),
    ]


def test_two_runs_at_once_are_told_apart(tmp_path: Path, said: list[Any]) -> None:
    heard = tracking(said)
    for name in ("one", "two"):
        heard.hear(told(tmp_path / name, "run_started", **STARTED))
    heard.hear(told(tmp_path / "one", "task_finished", "caption", -1, **record(-1)))
    heard.hear(told(tmp_path / "two", "run_finished", **COUNTS))
    assert said[2:] == [("caption", -1, 0.5), ("end", "finished", COUNTS)], "the second had no member"


def test_a_tracker_that_raises_is_told_nothing_more(tmp_path: Path, said: list[Any]) -> None:
    heard = tracking(said)
    heard.hear(told(tmp_path, "run_started", **STARTED))
    with pytest.raises(OSError, match="the store is full"):
        heard.hear(told(tmp_path, "task_finished", "knn", 0, **record(0, score=-1.0)))
    heard.hear(told(tmp_path, "task_finished", "knn", 1, **record(1)))
    heard.hear(told(tmp_path, "run_finished", **COUNTS))
    assert said == [("begin", tmp_path.name)]


def test_a_folder_begun_anew_ends_the_command_that_broke_off(
    tmp_path: Path, said: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = tracking(said)
    heard.hear(told(tmp_path, "run_started", **STARTED))
    heard.hear(told(tmp_path, "run_started", **STARTED))
    assert said == [("begin", tmp_path.name), ("end", "interrupted", {}), ("begin", tmp_path.name)]
    monkeypatch.setenv("LISTING", " ")
    heard.hear(told(tmp_path, "run_started", **STARTED))
    heard.hear(told(tmp_path, "run_finished", **COUNTS))
    assert said[3:] == [("end", "interrupted", {})], "tracking is no longer asked for"


def test_what_is_open_when_the_process_ends_was_interrupted(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from tests.plugin.test_tracking import *\n"
        "class Said(list):\n    def append(self, one):\n        print(one)\n"
        "os.environ['LISTING'] = 'on'; heard = tracking(Said())\n"
        "for name in ('open', 'ended', 'broken'):\n    heard.hear(told(Path(name), 'run_started', **STARTED))\n"
        "heard.hear(told(Path('ended'), 'run_finished', **COUNTS))\n"
        "try:\n    heard.hear(told(Path('broken'), 'task_finished', 'knn', 0, **record(0, score=-1.0)))\n"
        "except OSError:\n    pass\n"
        "heard.hear(told(Path('open'), 'task_finished', 'caption', -1, **record(-1)))\n"
        "print('over')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    _, at_exit = done.stdout.split("over\n")
    assert at_exit.splitlines() == ["('caption', 'finished', 0.5)", "('end', 'interrupted', {})"]


@pytest.mark.parametrize(("absent", "mends"), [("listing", True), ("listing.entities", False), ("torch", False)])
def test_an_absent_library_is_told_from_what_it_lacks_itself(
    absent: str, mends: bool, tmp_path: Path, said: list[Any]
) -> None:
    def start(event: RunEvent) -> Listing:
        raise ModuleNotFoundError(f"No module named '{absent}'", name=absent)

    heard = Tracking("LISTING", start, library="Listing", package="listing", install="pip install listing")
    with pytest.raises(ImportError) as caught:
        heard.hear(told(tmp_path, "run_started", **STARTED))
    expected = "LISTING is set and Listing is not installed: pip install listing, or unset LISTING"
    assert (expected in str(caught.value)) is mends
