"""A run that is killed goes on where it stopped, and ends with the same numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.store.run import RunFolder
from tests.conftest import Harness

SLOW = Path(__file__).with_name("slow_plugin.py")


def arguments(data: Path, run_dir: Path, log: Path, *more: object) -> list[str]:
    return [
        *("run", "--data", str(data), "--plugin-file", str(SLOW), "--plugins", "slow,mean,ridge", "--folds", "3"),
        *("--test", str(data / "images"), "--run-dir", str(run_dir)),
        *("--set", f"slow.log={log}", *map(str, more)),
    ]


def all_predictions(run_dir: Path) -> dict[str, np.ndarray]:
    run = RunFolder(run_dir)
    assert run.document.test is not None
    test = run.document.test.fingerprint
    return {
        key: values
        for name, member in run.members.items()
        for key, values in ((name, run.predictions(member)), (f"{name} test", run.test_predictions(member, test)))
    }


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def fits(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_at_a_random_moment_loses_only_what_was_not_finished(
    seed: int, kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    undisturbed = harness(*arguments(kaggle, tmp_path / "whole", tmp_path / "log"), "--json")
    assert undisturbed.code == 0, undisturbed.err
    rng = np.random.default_rng(seed)
    command = [sys.executable, "-m", "harness.cli", *arguments(kaggle, tmp_path / "killed", tmp_path / "log")]
    kills = 0
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
        began = time.monotonic()
        while not (tmp_path / "killed" / "run.json").exists() and process.poll() is None:
            assert time.monotonic() - began < 120
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.9))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills, "the run was too quick to be killed"
    finished = {p.name for p in (tmp_path / "killed" / "members").glob("*/fold-*")}
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "killed" / "members").glob("*/fold-*/record.json")}
    resumed = harness(*arguments(kaggle, tmp_path / "killed", tmp_path / "log"), "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json["reused"] == len(finished)
    assert resumed.json["computed"] == 9 - len(finished)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    for key, values in all_predictions(tmp_path / "whole").items():
        assert np.array_equal(values, all_predictions(tmp_path / "killed")[key]), key
    assert [(r["plugin"], r["score"]) for r in resumed.json["rows"]] == [
        (r["plugin"], r["score"]) for r in undisturbed.json["rows"]
    ]
    assert not list((tmp_path / "killed").rglob("*.tmp"))


def test_a_second_run_does_nothing_and_says_so(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    log = tmp_path / "log"
    command = ("run", "--data", kaggle, "--plugin-file", SLOW, "--plugins", "slow", "--set", f"slow.log={log}")
    first = harness(*command, "--json")
    assert (first.json["computed"], first.json["reused"]) == (5, 0)
    second = harness(*command, "--json")
    assert (second.json["computed"], second.json["reused"]) == (0, 5)
    assert second.json["run_dir"] == first.json["run_dir"], "the same command finds its run again"
    assert "nothing to do" in second.err
    assert len(fits(log)) == 5
    assert second.json["rows"] == first.json["rows"]


def test_only_what_a_setting_touches_is_computed_again(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    run_dir = tmp_path / "run"
    command = ("run", "--data", kaggle, "--plugins", "mean,ridge", "--run-dir", run_dir, "--json")
    assert harness(*command).json["computed"] == 10
    changed = harness(*command, "--set", "ridge.alpha=7").json
    assert (changed["computed"], changed["reused"]) == (5, 5)
    back = harness(*command).json
    assert (back["computed"], back["reused"]) == (0, 10), "the old setting's results were not thrown away"


def test_a_test_set_added_later_is_predicted_from_the_saved_models(
    kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    log, run_dir = tmp_path / "log", tmp_path / "run"
    command = ("run", "--data", kaggle, "--plugin-file", SLOW, "--plugins", "slow", "--set", f"slow.log={log}")
    harness(*command, "--run-dir", run_dir)
    later = harness(*command, "--run-dir", run_dir, "--test", kaggle / "images", "--json")
    assert (later.json["computed"], later.json["tested"], later.json["reused"]) == (0, 5, 0)
    assert "5 of them only have the test set to predict" in later.err
    assert "0 tasks computed, 5 more predicted the test set only" in later.err
    assert len(fits(log)) == 5, "no model was fitted again"
    fresh = harness(*command, "--run-dir", tmp_path / "other", "--test", kaggle / "images")
    assert fresh.code == 0
    a, b = all_predictions(run_dir)["slow test"], all_predictions(tmp_path / "other")["slow test"]
    assert np.array_equal(a, b)


def test_workers_compute_the_very_same_numbers(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    serial = harness(*arguments(kaggle, tmp_path / "serial", tmp_path / "log"), "--json")
    command = arguments(kaggle, tmp_path / "parallel", tmp_path / "log2", "--set", "slow.processes=2")
    apart = {"HARNESS_TASKS": str(tmp_path / "tasks")}  # or it would take what is done already
    parallel = harness(*command, "--executor", "loky", "--jobs", 2, "--json", env=apart)
    assert parallel.code == 0, parallel.err
    assert parallel.json["computed"] == 9
    assert RunFolder(tmp_path / "parallel").document.config.executor == "parallel", "loky is its old name"
    assert len({line.split()[0] for line in fits(tmp_path / "log2")}) == 2, "two processes took part"
    a, b = all_predictions(tmp_path / "serial"), all_predictions(tmp_path / "parallel")
    for key in ("mean", "mean test"):
        assert np.array_equal(a[key], b[key])
    for key in a:
        assert np.abs(a[key] - b[key]).max() < 1e-6, key
    assert serial.json["fold_hash"] == parallel.json["fold_hash"]


def test_a_folder_refuses_predictions_on_other_folds(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    command = ("run", "--data", kaggle, "--plugins", "mean", "--run-dir", tmp_path / "run")
    assert harness(*command).code == 0
    for option, word in (
        (("--folds", 3), "--folds"),
        (("--seed", 1), "--seed"),
        (("--group-threshold", 0.9), "--group-threshold"),
    ):
        refused = harness(*command, *option)
        assert refused.code == 2
        assert word in refused.err
        assert "other folds" in refused.err
    with (kaggle / "prompts.csv").open("a") as stream:
        stream.write("img999,one more prompt\n")
    (kaggle / "images" / "img999.png").write_bytes((kaggle / "images" / "img000.png").read_bytes())
    refused = harness(*command)
    assert (refused.code, "1 row was added" in refused.err) == (2, True)


def test_two_processes_cannot_work_in_one_folder(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    from filelock import FileLock

    command = ("run", "--data", kaggle, "--plugins", "mean", "--run-dir", tmp_path / "run")
    assert harness(*command).code == 0
    before = snapshot(tmp_path / "run")
    with FileLock(tmp_path / "run" / ".lock"):
        refused = harness(*command)
        other = harness(*command, "--plugins", "mean,ridge", "--test", kaggle / "images", "--seed", 0)
    for answer in (refused, other):
        assert answer.code == 2
        assert "another process" in answer.err
    assert snapshot(tmp_path / "run") == before, "a command that is refused leaves the folder as it was"


def test_run_json_says_how_the_numbers_came_about(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    harness("run", "--data", kaggle, "--plugins", "r=ridge", "--set", "r.alpha=3", "--run-dir", tmp_path / "run")
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert document["config"]["folds"] == 5
    assert document["config"]["group_threshold"] == 0.7
    assert document["members"]["r"]["predictor"] == "ridge"
    assert document["members"]["r"]["config"]["alpha"] == 3.0
    assert document["folds"]["fold_hash"]
    assert document["folds"]["data_fingerprint"]
    assert document["versions"]["harness"]
    assert document["versions"]["numpy"] == np.__version__
    assert document["machine"]["cores"] == os.cpu_count()
    assert document["command"][:2] == ["harness", "run"]
    record = json.loads(next((tmp_path / "run" / "members" / "r").glob("fold-0-*/record.json")).read_text())
    assert record["n_train"] + record["n_purged"] + record["n"] == 16
    assert record["fit_seconds"] > 0
    assert record["predict_peak_memory_bytes"] > 1_000_000
    assert record["trainable_parameters"] > 0


def test_tiny_weights_on_other_data_are_said_plainly(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    command = ("--plugins", "mean,ridge", "--set", "ridge.backbone=tiny", "--run-dir", tmp_path / "run")
    shown = harness("run", "--data", kaggle, *command)
    assert shown.code == 0, shown.err
    assert "ridge *" in shown.out
    assert shown.out.count("tiny weights: they have only ever seen synthetic scenes") == 1
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {name: spec["out_of_domain"] for name, spec in document["members"].items()} == {"mean": False, "ridge": True}
    rows = {row["plugin"]: row for row in harness("leaderboard", "--run-dir", tmp_path / "run", "--json").json["rows"]}
    assert rows["ridge"]["out_of_domain"]
    assert not rows["mean"]["out_of_domain"]


def test_tiny_weights_on_scenes_are_at_home(tmp_path: Path, harness: Harness) -> None:
    command = ("--plugins", "ridge", "--set", "ridge.backbone=tiny", "--run-dir", tmp_path / "run")
    shown = harness("run", "--data", "scenes:30", "--folds", 3, *command)
    assert shown.code == 0, shown.err
    assert "tiny weights" not in shown.out
    assert "*" not in shown.out
