"""The truth is the harness's: whatever a plugin does, its own numbers are right or refused, others' untouched."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.errors import InputError
from harness.store.run import RunFolder
from tests.conftest import Answer, Harness, make_kaggle, run_harness

PLUGIN = Path(__file__).with_name("selfish_plugin.py")
HARMLESS = (
    "nothing",
    "patch-numpy",
    "patch-harness",
    "change-settings",
    "thread",
    "progress",
    "huge",
    "small",
    *("save-truth", "tiny-limit"),
)
FAILING = {
    "input-error": "selfish.deed: on purpose",
    "surrogate": "RuntimeError: half a pair: \\ud83d",
    "masked": "masked",
    "objects": "dtype object",
}


def command(data: Path, run_dir: Path, deeds: tuple[str, ...]) -> list[object]:
    """All deeds as members of one run, and ``mean`` and ``knn`` after them in every fold."""
    members = ",".join([*(f"{deed}=selfish" for deed in deeds), "mean", "knn"])
    options: list[object] = ["run", "--data", data, "--plugin-file", PLUGIN, "--plugins", members, "--folds", 2]
    for deed in deeds:
        options += ["--set", f"{deed}.deed={deed}", "--set", f"{deed}.run={run_dir}"]
    return [*options, "--executor", "serial", "--run-dir", run_dir, "--json"]


@pytest.fixture(scope="module")
def deeds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A run in which every deed is done, whose members' own tasks come first."""
    folder = tmp_path_factory.mktemp("selfish")
    data = make_kaggle(folder / "data")
    environment = {"HARNESS_TASKS": str(folder / "tasks")}
    done = run_harness(*command(data, folder / "run", (*HARMLESS, *FAILING)), cwd=folder, env=environment)
    return folder, done


@pytest.fixture(scope="module")
def scores(deeds: tuple[Path, Answer]) -> dict[str, float]:
    assert deeds[1].out, deeds[1].err
    return {row["plugin"]: row["score"] for row in deeds[1].json["rows"]}


def test_nobody_elses_numbers_change(
    deeds: tuple[Path, Answer], scores: dict[str, float], tmp_path: Path, harness: Harness
) -> None:
    data = deeds[0] / "data"
    alone = harness(
        "run", "--data", data, "--plugins", "mean,knn", "--folds", 2, "--run-dir", tmp_path / "run", "--json"
    )
    assert {row["plugin"]: row["score"] for row in alone.json["rows"]} == {
        name: scores[name] for name in ("mean", "knn")
    }


def test_each_has_the_score_of_what_it_predicted(scores: dict[str, float]) -> None:
    assert set(scores) == {*HARMLESS, "mean", "knn"}
    for deed in HARMLESS:
        assert scores[deed] == pytest.approx(scores["nothing"], abs=1e-6), deed
    assert scores["nothing"] < scores["mean"]


def test_what_it_saved_stands_apart(deeds: tuple[Path, Answer]) -> None:
    run = RunFolder(deeds[0] / "run")
    member = run.members["save-truth"]
    for fold, key in member.keys.items():
        folder = run.task_folder("save-truth", fold, key)
        assert {path.name for path in folder.iterdir()} == {"predictions.npy", "ids.json", "record.json", "model"}
    assert not list(run.path.rglob("*.tmp"))


def test_what_fails_fails_alone_and_says_why(deeds: tuple[Path, Answer]) -> None:
    folder, done = deeds
    assert done.code == 1
    for deed, reason in FAILING.items():
        said = (folder / "run" / "members" / deed / "failed-0.json").read_text(encoding="utf-8")
        assert reason.replace("\\", "\\\\") in said, deed


def test_a_wrong_option_ends_with_code_2_and_is_tried_once(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    done = harness(*command(kaggle, tmp_path / "run", ("input-error",)))
    assert done.code == 2, done.err
    assert "selfish.deed: on purpose" in done.err
    assert [path.name for path in tmp_path.rglob("failed-*.json")] == ["failed-0.json"]
    assert (tmp_path / "run" / "members" / "knn").is_dir(), "others are done all the same"


def test_tasks_that_another_removed_are_told_and_done_again(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    plain = ["run", "--data", kaggle, "--plugins", "mean", "--folds", 2, "--run-dir", tmp_path / "run", "--json"]
    first = harness(*plain)
    done = harness(*command(kaggle, tmp_path / "run", ("delete-others",)))
    assert done.code == 1
    assert "2 of " in done.err
    assert "mean, fold 0: its files are not what it left" in done.err
    # The same of what was done in this very run: fold 0 is finished when fold 1 begins.
    anew = harness(
        *command(kaggle, tmp_path / "new", ("delete-others",)), env={"HARNESS_TASKS": str(tmp_path / "none")}
    )
    assert anew.code == 1
    assert "mean, fold 0: its files are not what it left" in anew.err
    again = harness(*plain)
    assert (again.json["computed"], again.json["reused"]) == (2, 0)
    assert {row["plugin"]: row["score"] for row in again.json["rows"]}["mean"] == first.json["rows"][0]["score"]


@pytest.mark.parametrize("name", ["predictions.npy", "ids.json", "record.json"])
def test_a_flipped_byte_is_never_ranked(name: str, deeds: tuple[Path, Answer], tmp_path: Path) -> None:
    shutil.copytree(deeds[0] / "run", tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    member = run.members["knn"]
    file = run.task_folder("knn", 1, member.keys[1]) / name
    assert not file.stat().st_mode & 0o222, "it is read-only"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
    with pytest.raises(InputError, match="remove the folder it lies in") as told:
        run.predictions(member)
    assert str(file) in str(told.value) or str(file.parent) in str(told.value)
    assert np.isfinite(run.predictions(run.members["mean"])).all()
