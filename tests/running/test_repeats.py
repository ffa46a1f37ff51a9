"""``--repeats``: the same on the folds of other seeds, in the run's folder, and what is told from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import harness as face
from harness.store.run import RunFolder
from tests.conftest import PROMPTS, Harness, make_kaggle, run_harness, save_image, without_checksums

pytestmark = pytest.mark.long

SLOW = Path(__file__).with_name("slow_plugin.py")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and a run of it on three folds, three times over, with a test set."""
    folder = tmp_path_factory.mktemp("repeated")
    data = make_kaggle(folder / "data")
    command = [*arguments(data, folder / "run"), "--test", data / "images", "--repeats", 3, "--json"]
    done = run_harness(*command, cwd=folder, env={"HARNESS_TASKS": str(folder / "tasks")})
    assert done.code == 0, done.err
    assert done.json["computed"] == 3 * 6
    assert "on the folds of the seeds 1, 2" in done.err
    return folder


@pytest.fixture
def kaggle(first: Path) -> Path:
    """The data."""
    return first / "data"


@pytest.fixture
def repeated(first: Path, tmp_path: Path) -> RunFolder:
    """A run for this test alone."""
    shutil.copytree(first / "run", tmp_path / "run")
    return RunFolder(tmp_path / "run")


def arguments(data: Path, run_dir: Path) -> list[object]:
    options = ("--set", "slow.seconds=0")
    plugins = ("--plugin-file", SLOW, "--plugins", "slow,mean")
    return ["run", "--data", data, *plugins, *options, "--folds", 3, "--run-dir", run_dir]


def test_each_repeat_is_the_run_of_its_seed(repeated: RunFolder, first: Path, tmp_path: Path, harness: Harness) -> None:
    tasks = {"HARNESS_TASKS": str(first / "tasks")}
    for seed in (1, 2):
        command = [*arguments(first / "data", tmp_path / f"alone-{seed}"), "--seed", seed]
        alone = harness(*command, "--json", env=tasks)
        assert alone.json["shared"] == 6, "a repeat's tasks are shared like all others"
        assert alone.json["fold_hash"] == repeated.repeat(seed).document.folds.fold_hash
        scores = {row["plugin"]: row["score"] for row in alone.json["rows"]}
        shown = harness("leaderboard", "--run-dir", repeated.path, "--json").json["rows"]
        assert {row["plugin"]: row["repeats"]["scores"][seed] for row in shown} == pytest.approx(scores)
    for row in shown:
        told = row["repeats"]
        assert told["seeds"] == [0, 1, 2]
        assert told["scores"][0] == pytest.approx(row["score"])
        assert told["sd"] == pytest.approx(np.std(told["scores"], ddof=1))
        assert told["models"] == 9
        assert told["average"]["mean"] > np.mean(told["scores"]), "a mean of models scores more than one"


def test_it_goes_on_where_it_stopped(repeated: RunFolder, kaggle: Path, harness: Harness) -> None:
    again = harness(*arguments(kaggle, repeated.path), "--test", kaggle / "images", "--repeats", 4, "--json")
    assert (again.json["computed"], again.json["reused"]) == (6, 18)
    without = harness(*arguments(kaggle, repeated.path), "--json")
    assert (without.json["computed"], without.json["reused"]) == (0, 6)
    assert without.json["rows"][0]["repeats"]["seeds"] == [0, 1, 2, 3], "what was told stays told"
    changed = harness(*arguments(kaggle, repeated.path), "--set", "slow.seconds=0.001", "--json")
    rows = {row["plugin"]: row["repeats"] for row in changed.json["rows"]}
    assert rows["slow"] is None, "the repeats are those of other options"
    assert rows["mean"] is not None


def test_a_submission_is_the_mean_of_all_fold_models(repeated: RunFolder, harness: Harness) -> None:
    blended = harness("ensemble", "--optimize", "--run-dir", repeated.path)
    assert blended.code == 0, blended.err
    assert "each the mean of 9 fold models of a member" in blended.err
    assert "9 fold models of a member, as submitted" in blended.out
    run = face.open_run(repeated.path)
    test = repeated.document.test
    assert test is not None
    for name in ("slow", "mean"):
        fold_models = [
            np.load(file)
            for one in (repeated, repeated.repeat(1), repeated.repeat(2))
            for file in one.path.glob(f"members/{name}/fold-*/test-{test.fingerprint}.npy")
        ]
        assert len(fold_models) == 9
        assert np.allclose(run.test_predictions(name), np.mean(fold_models, axis=0), atol=1e-6)


def test_what_is_submitted_is_counted(repeated: RunFolder, kaggle: Path, harness: Harness) -> None:
    """Repeats that have not predicted a test set take no part in its submission, nor in what is expected of that."""
    for path in repeated.path.glob("repeats/seed-2/members/mean/fold-*/test-*.npy"):
        path.unlink()
    rows = {row["plugin"]: row for row in harness("leaderboard", "--run-dir", repeated.path, "--json").json["rows"]}
    assert {name: row["repeats"]["models"] for name, row in rows.items()} == {"mean": 6, "slow": 9}
    blended = harness("ensemble", "--run-dir", repeated.path, "--include", "mean")
    assert "6 fold models of a member, as submitted" in blended.out
    assert "each the mean of 6 fold models of a member" in blended.err


def test_repeats_of_other_weights_are_others(repeated: RunFolder) -> None:
    member = repeated.members["mean"]
    assert repeated.repeat(1).has_finished(member)
    assert not repeated.repeat(1).has_finished(member.model_copy(update={"files": {"weights.bin": "0" * 16}}))


def test_the_blend_says_how_it_moves_and_what_its_average_can_expect(repeated: RunFolder, harness: Harness) -> None:
    document = harness("ensemble", "--optimize", "--run-dir", repeated.path, "--json").json
    told = document["repeats"]
    for number in (1, 2):
        nested = face.open_run(repeated.path).repeats[number - 1].blend().nested_score
        assert told["scores"][number] == pytest.approx(nested)
    assert told["scores"][0] == pytest.approx(document["nested_score"])
    assert told["average"]["mean"] > document["nested_score"]
    assert "averaged" in str(face.open_run(repeated.path).blend())
    alone = harness("ensemble", "--run-dir", repeated.path, "--include", "mean", "--json").json
    rows = {row.plugin: row for row in face.open_run(repeated.path).leaderboard().rows}
    assert rows["mean"].repeats is not None
    assert alone["repeats"]["average"]["mean"] == pytest.approx(rows["mean"].repeats.average.mean)


def test_without_repeats_the_nested_score_is_said_to_be_of_one_fold(
    kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    harness(*arguments(kaggle, tmp_path / "run"))
    shown = harness("ensemble", "--optimize", "--run-dir", tmp_path / "run")
    assert "one fold's models: what to expect at least" in shown.out
    assert "`harness run --repeats 3` estimates how much" in shown.err


def test_an_imported_member_has_no_repeats(repeated: RunFolder, harness: Harness) -> None:
    run = face.open_run(repeated.path)
    run.add_predictions("mine", run.predictions("mean"), run.test_predictions("mean"))
    blended = harness("ensemble", "--optimize", "--run-dir", repeated.path, "--json")
    assert blended.json["repeats"] is None
    assert "mine took no part in the repeats" in blended.err


def test_it_is_exported_imported_planned_and_removed(
    repeated: RunFolder, kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    board = harness("leaderboard", "--run-dir", repeated.path, "--json").json
    assert harness("runs", "export", repeated.path, "--out", tmp_path / "run.zip").code == 0
    assert harness("runs", "import", tmp_path / "run.zip", "--run-dir", tmp_path / "there").code == 0
    assert harness("leaderboard", "--run-dir", tmp_path / "there", "--json").json["rows"] == board["rows"]
    planned = harness(*arguments(kaggle, repeated.path), "--repeats", 4, "--dry-run", "--json").json
    assert [(one["seed"], one["todo"], one["reused"]) for one in planned["repeats"]] == [
        (1, 0, 6),
        (2, 0, 6),
        (3, 6, 0),
    ]
    assert not repeated.repeat(3).exists, "nothing was written"


def test_folds_that_cannot_be_others_are_refused(tmp_path: Path, harness: Harness) -> None:
    lines = ["file_name,prompt,source"]
    for i, prompt in enumerate(PROMPTS):
        save_image(tmp_path / "data" / f"{i}.png", i)
        lines.append(f'{i}.png,"{prompt}",{"old" if i % 2 else "new"}')
    (tmp_path / "data" / "metadata.csv").write_text("\n".join(lines))
    command = ("run", "--data", tmp_path / "data", "--plugins", "mean", "--split", "source", "--folds", 2)
    refused = harness(*command, "--repeats", 2, "--run-dir", tmp_path / "run")
    assert refused.code == 2
    assert "--repeats 2: the folds of seed 1 are those of seed 0" in refused.err
    assert not (tmp_path / "run").exists(), "it is told before anything is written"


def test_seeds_that_cannot_follow_are_refused(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    refused = harness(*arguments(kaggle, tmp_path / "late"), "--seed", 2**31 - 2, "--repeats", 3)
    assert refused.code == 2
    assert "give a smaller --seed" in refused.err


def test_a_repeat_of_other_rows_is_refused(repeated: RunFolder, harness: Harness) -> None:
    rows = without_checksums(repeated.repeat(1).path) / "rows.csv"
    rows.write_text(rows.read_text().replace("img003", "other"))
    shown = harness("leaderboard", "--run-dir", repeated.path)
    assert shown.code == 2
    assert "it is of other rows than" in shown.err
