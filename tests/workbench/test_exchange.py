"""A run exported, taken in elsewhere, and blended there: the same weights and scores, without images and prompts."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import harness
from harness.errors import InputError
from tests.conftest import PROMPTS, Harness


@pytest.fixture
def exported(kaggle: Path, in_tmp: Path) -> tuple[harness.Run, Path]:
    run = harness.run(kaggle, predictors=["mean", "ridge"], folds=2, test=kaggle / "images", executor="inline")
    return run, run.export("away.zip")


def test_another_machine_blends_to_the_same_figures(
    exported: tuple[harness.Run, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, file = exported
    blend = run.blend()
    blend.submit("here.csv")
    file = file.absolute()
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    monkeypatch.setenv("HARNESS_CACHE", str(there / "cache"))
    taken = harness.import_run(file)
    assert (taken.path, taken.ids, taken.test_ids) == (Path("runs") / run.path.name, run.ids, run.test_ids)
    again = taken.blend()
    assert again.weights == blend.weights
    assert (again.nested_score, again.result.score) == (blend.nested_score, blend.result.score)
    assert [row.score for row in taken.leaderboard().rows] == [row.score for row in run.leaderboard().rows]
    again.submit("there.csv")
    assert Path("there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert set(taken.prompts) == {""}
    taken.add_predictions("mine", taken.targets, test=np.eye(16, 384, dtype=np.float32))
    assert taken.blend().weights["mine"] > 0.9


def test_nothing_of_this_machine_goes_out_unless_asked(exported: tuple[harness.Run, Path], tmp_path: Path) -> None:
    run, file = exported
    with zipfile.ZipFile(file) as archive:
        names, content = archive.namelist(), b"".join(archive.read(name) for name in archive.namelist())
    assert not any(name.endswith((".png", ".safetensors")) or "/model/" in name for name in names)
    for secret in (str(tmp_path), *PROMPTS):
        assert secret.encode() not in content
    everything = run.export("all.zip", prompts=True, models=True)
    with zipfile.ZipFile(everything) as archive:
        assert any("/model/" in name for name in archive.namelist())
        assert PROMPTS[0].encode() in archive.read("rows.csv")
        assert json.loads(archive.read("export.json"))["prompts"] is True
    taken = harness.import_run(everything, tmp_path / "all")
    image = next((tmp_path / "data" / "images").iterdir())
    assert np.array_equal(taken.predict(image).embeddings["ridge"], run.predict(image).embeddings["ridge"])


def test_a_run_without_its_models_says_so(exported: tuple[harness.Run, Path], tmp_path: Path) -> None:
    run, file = exported
    image = next((tmp_path / "data" / "images").iterdir())
    taken = harness.import_run(file, tmp_path / "all")
    with pytest.raises(
        InputError, match=r"no member that can be asked(?s:.*)mean: its saved models are not here: .*--models"
    ):
        taken.predict(image)
    taken.report(tmp_path / "page.html", explain=True)
    assert run.predict(image).embeddings


def test_a_run_without_its_prompts_names_none(exported: tuple[harness.Run, Path], tmp_path: Path) -> None:
    run, _ = exported
    image = next((tmp_path / "data" / "images").iterdir())
    taken = harness.import_run(run.export("models.zip", models=True), tmp_path / "taken")
    found, wanted = taken.predict(image), run.predict(image)
    assert found.explanations == {name: [[]] for name in wanted.explanations}
    assert any("without its prompts" in note for note in found.notes)
    for name, vectors in wanted.embeddings.items():
        assert np.array_equal(found.embeddings[name], vectors)


def change(file: Path, name: str, content: bytes | None) -> Path:
    changed = file.with_name("changed.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(changed, "w") as new:
        for item in old.namelist():
            if item != name:
                new.writestr(item, old.read(item))
        if content is not None:
            new.writestr(name, content)
    return changed


def test_a_file_that_is_damaged_or_none_is_refused(exported: tuple[harness.Run, Path], tmp_path: Path) -> None:
    _, file = exported
    with zipfile.ZipFile(file) as archive:
        manifest = json.loads(archive.read("export.json"))
    escaping = {**manifest, "files": {"../outside.json": "0" * 64}}
    (tmp_path / "text.zip").write_text("no archive")
    for path, said in (
        (tmp_path / "absent.zip", "there is no such file"),
        (tmp_path / "text.zip", "it is no exported run"),
        (change(file, "export.json", None), "it is no exported run"),
    ):
        with pytest.raises(InputError, match=said):
            harness.import_run(path, tmp_path / "new")
    for name, content, said in (
        ("targets.npy", b"other", "targets.npy is damaged"),
        ("rows.csv", None, "rows.csv cannot be read"),
        ("export.json", json.dumps({**manifest, "schema": 9}).encode(), "later version"),
        ("export.json", json.dumps({**manifest, "files": 3}).encode(), "'files'"),
        ("export.json", json.dumps(escaping).encode(), "outside of the run's folder"),
    ):
        with pytest.raises(InputError, match=said):
            harness.import_run(change(file, name, content), tmp_path / "new")
        assert not (tmp_path / "new").exists()
    assert not (tmp_path / "outside.json").exists()
    with pytest.raises(InputError, match="it exists already"):
        harness.import_run(file)


def test_the_commands_list_export_import_and_remove(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    run = harness("run", "--data", kaggle, "--folds", 2, "--plugins", "mean", "--json").json["run_dir"]
    listed = harness("runs", "list", "--json").json
    assert [(one["run_dir"], one["rows"], one["members"], one["unfinished_tasks"]) for one in listed] == [
        (run, 16, ["mean"], 0)
    ]
    assert run in harness("runs", "list").out
    assert harness("runs", "export", "--out", "away.zip").code == 0
    assert harness("runs", "export", "--out", "away.zip").code == 2, "nothing is overwritten"
    assert harness("runs", "remove", run).code == 2, "without a terminal it does not remove unasked"
    assert (tmp_path / "cwd" / run).is_dir()
    assert harness("runs", "remove", run, "--yes").code == 0
    assert harness("runs", "list", "--json").json == []
    taken = harness("runs", "import", "away.zip")
    assert taken.code == 0, taken.err
    assert "mean" in taken.out
    assert harness("ensemble", "--optimize").code == 0
    refused = harness("runs", "remove", "nowhere", "--yes")
    assert (refused.code, "there is no run here" in refused.err) == (2, True)


def test_a_command_that_is_named_next_can_be_given(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    harness("run", "--data", kaggle, "--folds", 2, "--plugins", "mean", "--run-dir", "my run")
    exported = harness("runs", "export", "my run")
    assert "hold" not in exported.err
    assert "prompts they learned from" in harness("runs", "export", "my run", "--models", "--out", "models.zip").err
    told = [exported.err.split("`")[1]]
    taken = harness("runs", "import", "my run.zip", "--run-dir", "their run")
    told.append(taken.err.split("next: ")[1])
    words = [shlex.split(text)[-1] for text in told]
    assert words == ["my run.zip", "their run"]


def test_a_full_disk_is_no_fault_of_the_file(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    import resource

    run = harness("run", "--data", kaggle, "--folds", 2, "--plugins", "mean", "--json").json["run_dir"]
    file = tmp_path / "away.zip"
    assert harness("runs", "export", run, "--out", file).code == 0
    ended = subprocess.run(
        [sys.executable, "-m", "harness.cli", "runs", "import", str(file), "--run-dir", "taken"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        # No file may grow beyond this: writing fails as it does on a disk that is full.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (ended.returncode, "free some space" in ended.stderr) == (1, True), ended.stderr
    assert "anew" not in ended.stderr
    assert not (tmp_path / "taken").exists()
