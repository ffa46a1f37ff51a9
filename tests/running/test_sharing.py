"""A task that is finished in one folder is not done again in another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.store.run import RunFolder
from harness.store.sharing import find_task, take_task
from tests.conftest import Answer, Harness, save_image, without_checksums

PLUGIN = """
import numpy as np
from harness.plugin import Predictor, hookimpl

class Constant(Predictor):
    name, version = "constant", "1"
    def fit(self, train):
        self.value = VALUE
    def predict(self, images):
        return np.full((len(images), 384), self.value, dtype=np.float32)
    def save(self, folder):
        np.save(folder / "value.npy", self.value)
    def load(self, folder):
        self.value = np.load(folder / "value.npy")

@hookimpl
def harness_register_predictors(register):
    register(Constant)
"""


def counts(answer: Answer) -> tuple[int, int, int, int]:
    assert answer.code == 0, answer.err
    return tuple(answer.json[key] for key in ("computed", "tested", "reused", "shared"))  # type: ignore[return-value]


def test_only_new_tasks_are_computed_whatever_the_folder(kaggle: Path, harness: Harness) -> None:
    command = ("run", "--data", kaggle, "--folds", 2, "--json")
    first = harness(*command, "--plugins", "mean,ridge")
    assert counts(first) == (4, 0, 0, 0)
    wider = harness(*command, "--plugins", "mean,ridge,knn")
    assert counts(wider) == (2, 0, 4, 4)
    assert "4 of them from other runs" in wider.err
    tested = harness(*command, "--plugins", "mean,ridge,knn", "--test", kaggle / "images")
    assert counts(tested) == (0, 6, 0, 6)
    changed = harness(*command, "--plugins", "mean,ridge,knn", "--set", "knn.neighbours=2", "--test", kaggle / "images")
    assert counts(changed) == (2, 0, 4, 4), "and what others predicted of this test set is taken, too"
    renamed = harness(*command, "--plugins", "near=knn,average=mean")
    assert counts(renamed) == (0, 0, 4, 4)
    assert "nothing to do: all 4 tasks lie now in" in renamed.err
    assert len({answer.json["run_dir"] for answer in (first, wider, tested, changed, renamed)}) == 5
    scores = {row["plugin"]: row["score"] for row in renamed.json["rows"]}
    assert scores["near"] == next(row["score"] for row in wider.json["rows"] if row["plugin"] == "knn")
    other = harness(*command, "--plugins", "mean", "--seed", 1)
    assert counts(other) == (2, 0, 0, 0), "another seed is another task"


def test_removing_a_run_takes_nothing_from_another(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    command = ("run", "--data", kaggle, "--folds", 2, "--json", "--plugins")
    first = harness(*command, "mean")
    second = harness(*command, "mean,ridge")
    before = RunFolder(tmp_path / "cwd" / second.json["run_dir"]).predictions
    run = RunFolder(tmp_path / "cwd" / second.json["run_dir"])
    wanted = run.predictions(run.members["mean"])
    removed = harness("runs", "remove", first.json["run_dir"], "--yes")
    assert removed.code == 0, removed.err
    assert not (tmp_path / "cwd" / first.json["run_dir"]).exists()
    assert np.array_equal(before(run.members["mean"]), wanted)
    assert counts(harness(*command, "mean,knn"))[2:] == (2, 2), "the second run's tasks are found now"
    shutil.rmtree(tmp_path / "cwd" / "runs")
    assert counts(harness(*command, "mean")) == (2, 0, 0, 0), "what is nowhere is computed"


def test_an_edited_plugin_file_is_another_predictor(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    file = tmp_path / "constant.py"
    command = ("run", "--data", kaggle, "--folds", 2, "--plugin-file", file, "--plugins", "constant", "--json")
    file.write_text(PLUGIN.replace("VALUE", "1.0"))
    assert counts(harness(*command)) == (2, 0, 0, 0)
    assert counts(harness(*command)) == (0, 0, 2, 0)
    file.write_text(PLUGIN.replace("VALUE", "-1.0"))
    edited = harness(*command)
    assert counts(edited) == (2, 0, 0, 0)
    file.write_text(PLUGIN.replace("VALUE", "1.0"))
    assert counts(harness(*command)) == (0, 0, 2, 0), "what was computed before is found again"


def test_code_that_changed_without_its_version_is_told(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    command = ("run", "--data", kaggle, "--folds", 2, "--plugins", "mean,ridge", "--run-dir", tmp_path / "run")
    assert "was changed" not in harness(*command).err
    assert "was changed" not in harness(*command).err
    for record in (without_checksums(tmp_path / "run") / "members" / "ridge").glob("*/record.json"):
        document = json.loads(record.read_text())
        record.write_text(json.dumps({**document, "code": "0" * 12}))
    told = harness(*command).err
    assert "the code of ridge was changed since tasks of the same version were computed" in told


def test_where_there_are_no_links_files_are_copied(
    kaggle: Path, tmp_path: Path, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert harness("run", "--data", kaggle, "--folds", 2, "--plugins", "mean", "--run-dir", tmp_path / "run").code == 0
    run = RunFolder(tmp_path / "run")
    key = run.members["mean"].keys[0]
    found = find_task(key)
    assert found == tmp_path / "run" / "members" / "mean" / f"fold-0-{key}"

    def refuse(self: Path, target: Path) -> None:
        raise OSError("other device")

    linked, copied = tmp_path / "linked", tmp_path / "copied"
    take_task(found, linked)
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    take_task(found, copied)
    for folder, same in ((linked, True), (copied, False)):
        assert (folder / "predictions.npy").read_bytes() == (found / "predictions.npy").read_bytes()
        assert (folder / "predictions.npy").samefile(found / "predictions.npy") is same


def test_what_is_damaged_here_is_taken_from_where_it_is_whole(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    command = ("run", "--data", kaggle, "--folds", 2, "--plugins", "mean", "--json")
    tested = (*command, "--test", kaggle / "images")
    for name in ("one", "two"):
        assert harness(*tested, "--run-dir", tmp_path / name).code == 0
    one, two = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    member, fingerprint = two.members["mean"], two.document.test.fingerprint
    file = two.test_file("mean", 0, member.keys[0], fingerprint)
    file.unlink()  # a link: the other run's stays
    file.write_bytes(b"damaged")
    assert counts(harness(*tested, "--run-dir", tmp_path / "two")) == (0, 0, 2, 1)
    assert np.array_equal(two.test_predictions(member, fingerprint), one.test_predictions(member, fingerprint))


def test_a_damaged_model_is_made_anew_where_it_is_needed(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    command = ("run", "--data", kaggle, "--folds", 2, "--plugins", "mean", "--run-dir", tmp_path / "run", "--json")
    assert harness(*command).code == 0
    model = next((tmp_path / "run").glob("members/mean/fold-0-*/model/*"))
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.chmod(0o644)
    model.write_bytes(bytes(content))
    assert counts(harness(*command)) == (0, 0, 2, 0), "nobody needs it"
    assert counts(harness(*command, "--test", kaggle / "images")) == (1, 1, 0, 0)


def test_a_list_that_names_what_is_gone_or_damaged_is_no_trouble(
    kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    command = ("run", "--data", kaggle, "--folds", 2, "--plugins", "mean", "--json")
    first = harness(*command)
    run = RunFolder(tmp_path / "cwd" / first.json["run_dir"])
    key = run.members["mean"].keys[0]
    (run.path / "members" / "mean" / f"fold-0-{key}" / "record.json").write_text("{")
    assert find_task(key) is None
    assert counts(harness(*command, "--run-dir", tmp_path / "other")) == (1, 0, 1, 1)


def test_a_test_set_in_another_order_is_another(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    new = tmp_path / "new"
    names = [f"{i}.png" for i in (3, 1, 2, 0)]
    for i, name in enumerate(names):
        save_image(new / name, 100 + i)

    def told(run: str, listed: list[str]) -> dict[str, np.ndarray]:
        (new / "metadata.csv").write_text("\n".join(["file_name", *listed, ""]))
        options = ("--plugins", "knn", "--set", "knn.backbone=pixels", "--folds", 2, "--run-dir", tmp_path / run)
        answer = harness("run", "--data", kaggle, "--test", new, *options, "--json")
        assert answer.code == 0, answer.err
        counts.append((answer.json["computed"], answer.json["tested"], answer.json["reused"]))
        folder = RunFolder(tmp_path / run)
        assert folder.document.test is not None
        rows = folder.test_predictions(folder.members["knn"], folder.document.test.fingerprint)
        return dict(zip(folder.test_ids, rows, strict=True))

    counts: list[tuple[int, int, int]] = []
    first = told("run", names)
    for found in (told("run", sorted(names)), told("run", names), told("other", names[::-1])):
        assert set(found) == set(first)
        assert all(np.array_equal(found[name], row) for name, row in first.items()), "each row is its image's"
    assert counts == [(2, 0, 0), (0, 2, 0), (0, 0, 2), (0, 2, 0)]
