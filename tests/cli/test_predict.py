"""What a run says of new images: every member, the blend, and what is left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.ensemble.blend import combine
from harness.running.nearest import nearest_prompts
from harness.store.run import RunFolder
from tests.conftest import Answer, make_kaggle, run_harness, save_image, without_checksums

PLUGIN = '''
import numpy as np
from harness.plugin import Explanation, Predictor, PredictorConfig, hookimpl

class TalkerConfig(PredictorConfig):
    fault: str = "none"

class Talker(Predictor):
    """Knows the mean target, and says which fold it comes from."""
    name, version, Config = "talker", "VERSION", TalkerConfig
    def fit(self, train):
        self.mean = train.targets.mean(axis=0)
    def predict(self, images):
        if self.config.fault == "predict" and len(images) == 1:
            raise RuntimeError("lost its voice")
        return np.tile(self.mean, (len(images), 1)).astype(np.float32)
    def save(self, folder):
        np.save(folder / "mean.npy", self.mean)
    def load(self, folder):
        self.mean, self.home = np.load(folder / "mean.npy"), folder.parent.name
    def explain(self, images):
        if self.config.fault == "explain":
            raise RuntimeError("at a loss for words")
        return [[Explanation("caption", self.home), *[Explanation("phrase", "x", np.float32(0.5))] * 9]]

@hookimpl
def harness_register_predictors(register):
    register(Talker)
'''
FOLDS = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, an image that is not of it, and a run of five members, two of which will fail on one image."""
    root = tmp_path_factory.mktemp("predict")
    make_kaggle(root / "data")
    save_image(root / "new" / "a.png", 500)
    (root / "talker.py").write_text(PLUGIN.replace("VERSION", "1"))
    answer = run_harness(
        *("run", "--data", "data", "--folds", FOLDS, "--run-dir", "run", "--plugin-file", "talker.py"),
        *("--plugins", "mean,ridge,talker,mute=talker,lost=talker"),
        *("--set", "mute.fault=explain", "--set", "lost.fault=predict"),
        cwd=root,
    )
    assert answer.code == 0, answer.err
    return root


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(root / "run", tmp_path / "run"))


def keep(run: Path, *names: str) -> None:
    document = json.loads((without_checksums(run) / "run.json").read_text())
    document["members"] = {name: document["members"][name] for name in names}
    (run / "run.json").write_text(json.dumps(document))


def ask(root: Path, run: Path, *more: object) -> Answer:
    return run_harness("predict", "new/a.png", "--run-dir", run, *more, cwd=root)


def test_every_member_and_the_blend_have_words(root: Path, run: Path) -> None:
    keep(run, "mean", "ridge", "talker")
    answer = ask(root, run, "--plugin-file", "talker.py", "--json", "--top", 4)
    assert answer.code == 0, answer.err
    rows = {row["plugin"]: row["explanation"] for row in answer.json}
    assert list(rows) == ["mean", "ridge", "talker", "blend"]
    assert {row["image"] for row in answer.json} == {"new/a.png"}
    assert [item["kind"] for item in rows["talker"]] == ["caption", "phrase", "phrase", "phrase"]
    assert rows["talker"][0]["text"].startswith("fold-0-"), "the first fold's model explains"
    assert rows["talker"][0]["score"] is None
    prompts = RunFolder(run).rows.prompts
    for name in ("mean", "ridge", "blend"):
        assert [item["kind"] for item in rows[name]] == ["prompt"] * 4
        assert len({item["text"] for item in rows[name]}) == 4
        assert {item["text"] for item in rows[name]} <= set(prompts)
        scores = [item["score"] for item in rows[name]]
        assert scores == sorted(scores, reverse=True)
    assert "ensemble --optimize" in answer.err
    # `mean` looks at no image: its prediction is the unit mean of what its folds saved, whatever is asked.
    folds = np.stack([np.load(path) for path in sorted(run.glob("members/mean/fold-*/model/mean.npy"))])
    expected = nearest_prompts(RunFolder(run), combine([(1.0, folds.mean(axis=0, keepdims=True))]), 4)[0]
    assert [item["text"] for item in rows["mean"]] == [item.text for item in expected]
    assert rows["mean"][0]["score"] == pytest.approx(expected[0].score, abs=1e-6)


def test_learned_weights_are_used_and_members_without_one_are_named(root: Path, run: Path) -> None:
    keep(run, "mean", "ridge", "talker")  # without its file, the talker cannot be asked
    weights = {"mean": 0.75, "talker": 0.25}
    document = {"method": "simplex", "weights": weights, "fold_weights": [weights] * FOLDS}
    (run / "blend.json").write_text(json.dumps(document))
    answer = ask(root, run, "--json")
    assert answer.code == 0, answer.err
    rows = {row["plugin"]: row["explanation"] for row in answer.json}
    assert [i["text"] for i in rows["blend"]] == [i["text"] for i in rows["mean"]]
    assert "without 'talker', which has the weight 0.250" in answer.err
    assert "no weight of ridge" in answer.err


def test_a_damaged_blend_is_refused_before_anyone_is_asked(root: Path, run: Path) -> None:
    (run / "blend.json").write_text("{}")
    damaged = ask(root, run, "--json")
    assert (damaged.code, damaged.out, "Traceback" in damaged.err) == (2, "", False)
    assert "blend.json: 'method': Field required" in damaged.err
    assert "harness ensemble --optimize" in damaged.err
    assert "left out" not in damaged.err


def test_a_member_that_fails_silences_no_other(root: Path, run: Path) -> None:
    answer = ask(root, run, "--plugin-file", "talker.py", "--json")
    assert answer.code == 1
    assert "Traceback" not in answer.err
    rows = {row["plugin"]: row["explanation"] for row in answer.json}
    assert list(rows) == ["mean", "ridge", "talker", "mute", "blend"]
    assert [item["kind"] for item in rows["mute"]] == ["prompt"] * 5, "it predicts, though it cannot explain"
    assert "lost: RuntimeError: lost its voice" in answer.err
    assert "mute: explain failed (RuntimeError: at a loss for words)" in answer.err
    table = ask(root, run, "--plugin-file", "talker.py")
    assert (table.code, "new/a.png" in table.out, "blend" in table.out) == (1, True, True)


def test_what_cannot_be_asked_is_left_out_with_its_reason(root: Path, run: Path, tmp_path: Path) -> None:
    keep(run, "mean", "ridge", "talker")
    shutil.rmtree(next(run.glob("members/ridge/fold-1-*")))
    answer = ask(root, run, "--json")
    assert answer.code == 0, answer.err
    assert [row["plugin"] for row in answer.json] == ["mean", "blend"]
    assert "ridge is left out: 1 of its 3 tasks are not done; finish them with `harness run`" in answer.err
    assert "no plugin is called 'talker'" in answer.err
    assert "--plugin-file talker.py" in answer.err
    (tmp_path / "talker.py").write_text(PLUGIN.replace("VERSION", "2"))
    newer = ask(root, run, "--plugin-file", tmp_path / "talker.py", "--json")
    assert newer.code == 0, newer.err
    assert "talker is left out: its models were made by talker 1, and 2 is installed" in newer.err
    keep(run, "ridge", "talker")
    nobody = ask(root, run, "--json")
    assert (nobody.code, nobody.out) == (2, "")
    assert "no member that can be asked" in nobody.err


def test_a_saved_model_that_is_gone_or_damaged_is_named(root: Path, run: Path) -> None:
    keep(run, "mean", "ridge")
    (model,) = run.glob("members/ridge/fold-2-*/model/ridge.safetensors")
    model.write_bytes(b"nothing")
    answer = ask(root, run, "--json")
    assert answer.code == 1
    assert [row["plugin"] for row in answer.json] == ["mean", "blend"]
    assert f"{model.parent} cannot be loaded" in answer.err
    model.unlink()
    assert f"{model.parent} cannot be loaded" in ask(root, run, "--json").err


def test_images_are_checked_before_anybody_is_asked(root: Path, run: Path) -> None:
    (root / "text.png").write_text("no image")
    (root / "empty").mkdir(exist_ok=True)
    for path, part in (("text.png", "it is not an image"), ("gone.png", "no such file"), ("empty", "no image in this")):
        answer = run_harness("predict", path, "--run-dir", run, cwd=root)
        assert (answer.code, answer.out) == (2, "")
        assert path in answer.err
        assert part in answer.err
    unknown = run_harness("predict", "new/a.png", "--run-dir", "nowhere", cwd=root)
    assert (unknown.code, "there is no run here" in unknown.err) == (2, True)


def test_tiny_weights_are_said_once_and_folders_are_opened(root: Path, tmp_path: Path) -> None:
    made = run_harness(
        *("run", "--data", "data", "--folds", 2, "--run-dir", tmp_path / "tiny", "--plugins", "ridge,knn"),
        *("--set", "ridge.backbone=tiny", "--set", "knn.backbone=tiny"),
        cwd=root,
    )
    assert made.code == 0, made.err
    shutil.copytree(root / "data" / "images", root / "mixed")
    (root / "mixed" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    answer = run_harness("predict", "mixed", "--run-dir", tmp_path / "tiny", "--json", "--top", 1, cwd=root)
    assert answer.code == 0, answer.err
    assert len({row["image"] for row in answer.json}) == 16
    assert "left out: 1 entry (phone.heic)" in answer.err
    assert answer.err.count("tiny weights") == 1
    assert "tiny weights (ridge, knn)" in answer.err


def test_a_member_cannot_be_called_blend(root: Path) -> None:
    answer = run_harness("run", "--data", "data", "--plugins", "blend=mean", "--run-dir", "x", cwd=root)
    assert (answer.code, "what the blend is called" in answer.err) == (2, True)
