"""What is said of an image that the run was trained on comes from models that never saw it, and says so."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.ensemble.blend import combine
from harness.store.run import RunFolder
from tests.conftest import make_kaggle, run_harness, save_image, without_checksums

FOLDS = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("training")
    make_kaggle(root / "data")
    save_image(root / "new.png", 500)
    for name, more in (("run", ()), ("near", ("--link-images", "near"))):
        answer = run_harness(
            *("run", "--data", "data", "--folds", FOLDS, "--run-dir", name, "--plugins", "knn,ridge,interrogator"),
            *("--set", "knn.neighbours=1", "--set", "interrogator.neighbours=2", *more),
            cwd=root,
        )
        assert answer.code == 0, answer.err
    return root


def said(root: Path, run: str, *images: object) -> dict[tuple[str, str], dict[str, object]]:
    answer = run_harness("predict", *images, "--run-dir", run, "--json", "--top", 3, cwd=root)
    assert answer.code == 0, answer.err
    return {(row["image"], row["plugin"]): row for row in answer.json}


def test_an_image_of_the_run_is_told_and_its_own_prompt_is_nobodys_answer(root: Path) -> None:
    run = RunFolder(root / "run")
    images = sorted((root / "data" / "images").iterdir())
    found = said(root, "run", *images, "new.png")
    rows = {row_id: i for i, row_id in enumerate(run.rows.ids)}
    blends = {}
    for image in images:
        i = rows[image.stem]
        fold = int(run.rows.fold[i])
        learned = {run.rows.prompts[j] for j in run.folds.training_rows(fold)}
        for plugin in ("knn", "ridge", "interrogator", "blend"):
            row = found[str(image), plugin]
            assert row["training_image"] == image.stem
            assert row["by_folds"] == [fold]
            texts = {item["text"] for item in row["explanation"] if item["kind"] == "prompt"}  # type: ignore[attr-defined]
            assert texts
            assert texts <= learned
            assert run.rows.prompts[i] not in texts
        blends[i] = found[str(image), "blend"]
    for plugin in ("knn", "ridge", "blend"):
        row = found["new.png", plugin]
        assert (row["training_image"], row["by_folds"]) == (None, None)


def test_predictions_are_those_of_the_leaderboard(root: Path) -> None:
    import harness

    run = harness.open_run(root / "run")
    folder = RunFolder(root / "run")
    order = [3, 0, 7, 11]
    images = [root / "data" / "images" / f"{folder.rows.ids[i]}.png" for i in order]
    found = run.predict(images)
    for name, member in folder.members.items():
        assert np.allclose(found.embeddings[name], folder.predictions(member)[order], atol=1e-5), name
    expected = combine((1.0, folder.predictions(member)[order]) for member in folder.members.values())
    assert np.allclose(found.embeddings["blend"], expected, atol=1e-5)
    assert [image.folds for image in found.training] == [[int(folder.rows.fold[i])] for i in order]


def test_the_blend_takes_weights_that_were_learned_without_the_image(root: Path, tmp_path: Path) -> None:
    import harness

    run = Path(shutil.copytree(root / "run", tmp_path / "run"))
    names = list(RunFolder(run).members)
    by_fold = [dict.fromkeys(names, 0.0) | {names[f]: 1.0} for f in range(FOLDS)]
    document = {"method": "simplex", "weights": dict.fromkeys(names, 1 / 3), "fold_weights": by_fold}
    (run / "blend.json").write_text(json.dumps(document))
    folder = RunFolder(run)
    images = [root / "data" / "images" / f"{row_id}.png" for row_id in folder.rows.ids]
    found = harness.open_run(run).predict(images)
    for i, fold in enumerate(folder.rows.fold):
        assert np.allclose(found.embeddings["blend"][i], found.embeddings[names[fold]][i], atol=1e-6)


def test_the_terminal_says_so(root: Path) -> None:
    image = sorted((root / "data" / "images").iterdir())[0]
    shutil.copy(image, root / "renamed.png")
    answer = run_harness("predict", "renamed.png", "new.png", "--run-dir", "run", cwd=root)
    assert answer.code == 0, answer.err
    told = " ".join(answer.out.split())
    assert f"renamed.png (training image '{image.stem}': by the models of fold" in told
    assert "alone, which never saw it)" in told
    assert "1 of 2 images are training images of this run (renamed.png)" in answer.err
    other = run_harness("predict", "new.png", "--run-dir", "run", cwd=root)
    assert "training image" not in other.out + other.err


def test_copies_are_told_where_the_run_linked_them(root: Path) -> None:
    source = sorted((root / "data" / "images").iterdir())[4]
    Image.open(source).save(root / "copy.webp", lossless=True)  # other bytes, the same picture
    row = said(root, "near", "copy.webp")["copy.webp", "knn"]
    assert row["training_image"] == source.stem
    answer = run_harness("predict", "copy.webp", "--run-dir", "near", cwd=root)
    assert "copy of the training image" in " ".join(answer.out.split())
    assert said(root, "run", "copy.webp")["copy.webp", "knn"]["training_image"] is None


def test_where_every_model_learned_from_it_that_is_said(tmp_path: Path) -> None:
    """One picture under unrelated prompts, as of a safety filter, links nothing and lies in all folds."""
    make_kaggle(tmp_path / "data")
    images = sorted((tmp_path / "data" / "images").iterdir())
    for path in images[1:]:
        shutil.copy(images[0], path)
    made = run_harness("run", "--data", "data", "--folds", 2, "--plugins", "mean", "--run-dir", "run", cwd=tmp_path)
    assert made.code == 0, made.err
    answer = run_harness("predict", images[0], "--run-dir", "run", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert "every model learned from it" in " ".join(answer.out.split())


def test_a_run_of_before_says_what_it_cannot_tell(root: Path, tmp_path: Path) -> None:
    run = without_checksums(Path(shutil.copytree(root / "run", tmp_path / "run")))
    with (run / "rows.csv").open(newline="") as stream:
        rows = [row[:-1] for row in csv.reader(stream)]
    with (run / "rows.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    answer = run_harness("predict", "new.png", "--run-dir", run, "--json", cwd=root)
    assert answer.code == 0, answer.err
    assert "before it was kept which images it was trained on" in answer.err


def test_models_of_another_reading_of_an_option_are_left_out(root: Path, tmp_path: Path) -> None:
    run = without_checksums(Path(shutil.copytree(root / "run", tmp_path / "run")))
    document = json.loads((run / "run.json").read_text())
    document["members"]["knn"]["config"]["backbone"] = "open_clip:ViT-B-32/openai"
    (run / "run.json").write_text(json.dumps(document))
    answer = run_harness("predict", "new.png", "--run-dir", run, "--json", cwd=root)
    assert answer.code == 0, answer.err
    assert "backbone=open_clip:ViT-B-32/openai, which is read as open_clip:ViT-B-32-quickgelu/openai now" in answer.err
