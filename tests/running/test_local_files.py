"""What local files hold that options name is part of a task's key, and of what is cached."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
from harness_baselines.knn import KnnPredictor
from harness_interrogator import InterrogatorPredictor
from harness_vitgpt2 import VitGpt2Predictor
from safetensors.torch import load_file, save_file

from harness.data.cache import DiskCache
from harness.data.contents import content_hash
from harness.models import TINY_FOLDER
from harness.plugin import BY_NAME, Predictor, PredictorConfig, named_paths
from harness.running.local_files import local_files
from harness.store.run import RunFolder
from tests.conftest import Harness
from tests.running.test_sharing import counts

READER = (
    """
import json
from pathlib import Path
import numpy as np
from harness.plugin import Predictor, PredictorConfig, hookimpl

class Options(PredictorConfig):
    weights: str = "none"
    log: str = "none"

class Third(Predictor):
    name, version, Config, trainable = "third", "1", Options, False

    def predict(self, images):
        def compute(part):
            assert part is not None
            with open(self.config.log, "a") as log:
                log.write("computed\\n")
            rng = np.random.default_rng(json.loads(Path(self.config.weights, "w.json").read_text()))
            return np.repeat(rng.normal(size=(1, 384)), len(part), axis=0).astype(np.float32)
        return self.context.cached_rows(["third", self.config.weights], images, compute)

@hookimpl
def harness_register_predictors(register):
    register(Third)
""".replace("log: str =", "log: Annotated[str, BY_NAME] =")
    .replace("import Predictor,", "import BY_NAME, Predictor,")
    .replace("import json\n", "import json\nfrom typing import Annotated\n", 1)
)


def predictions(folder: Path, name: str) -> np.ndarray:
    run = RunFolder(folder)
    return run.predictions(run.members[name])


def test_a_changed_weight_is_computed_anew_and_a_touched_file_is_not(
    kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    folder, run = tmp_path / "clip", tmp_path / "run"
    shutil.copytree(TINY_FOLDER / "clip", folder)
    backbone = f"open_clip:{folder}"
    command = ("run", "--data", kaggle, "--folds", 2, "--plugins", "knn", "--set", f"knn.backbone={backbone}", "--json")
    assert counts(harness(*command, "--run-dir", run)) == (2, 0, 0, 0)
    before = predictions(run, "knn")
    weights = folder / "open_clip_model.safetensors"
    weights.touch()
    assert counts(harness(*command, "--run-dir", run)) == (0, 0, 2, 0)
    tensors = load_file(weights)
    tensors["visual.proj"] = tensors["visual.proj"].flip(1) * tensors["visual.proj"].sign()
    save_file(tensors, weights)
    assert counts(harness(*command, "--run-dir", run)) == (2, 0, 0, 0)
    after = predictions(run, "knn")
    assert np.abs(after - before).max() > 1e-3
    # The same numbers under a name that was never used: what they are with nothing cached.
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    fresh = (*command[:-2], f"knn.backbone=open_clip:{elsewhere}", "--json", "--run-dir", tmp_path / "fresh")
    assert counts(harness(*fresh)) == (2, 0, 0, 0)
    assert np.array_equal(predictions(tmp_path / "fresh", "knn"), after)


def test_a_plugin_that_declares_nothing_is_protected(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    file, weights, log = tmp_path / "third.py", tmp_path / "weights", tmp_path / "log.txt"
    file.write_text(READER)
    weights.mkdir()
    log.write_text("")
    (weights / "w.json").write_text("1")
    command = (
        "run", "--data", kaggle, "--folds", 2, "--plugin-file", file, "--plugins", "third", "--run-dir",
        tmp_path / "run", "--set", f"third.weights={weights}", "--set", f"third.log={log}", "--json",
    )  # fmt: skip
    assert counts(harness(*command)) == (1, 0, 0, 0)
    assert counts(harness(*command)) == (0, 0, 1, 0), "the log has been written since, which is by name alone"
    first = log.read_text().count("computed")
    assert first
    (weights / "w.json").write_text("2")
    predicted = harness("predict", kaggle / "images", "--run-dir", tmp_path / "run", "--plugin-file", file)
    assert predicted.code == 2
    assert f"its models were made with another content of {weights}" in predicted.err
    assert counts(harness(*command)) == (1, 0, 0, 0)
    assert log.read_text().count("computed") == 2 * first, "cached rows of the old weights are not taken"
    expected = np.random.default_rng(2).normal(size=384)
    assert np.allclose(predictions(tmp_path / "run", "third"), expected / np.linalg.norm(expected), atol=1e-6)
    (weights / "w.json").write_text("1")
    assert counts(harness(*command)) == (0, 0, 1, 0), "what was computed with the old ones is found again"


class Options(PredictorConfig):
    where: str = "plain"
    mode: Literal["best", "fast"] = "best"
    several: tuple[str, ...] = ()
    log: Annotated[str, BY_NAME] = ""


class Named(Predictor):
    name, version, Config, presets = "named", "1", Options, {"tiny": {"where": "small"}}

    def predict(self, images):  # type: ignore[no-untyped-def]
        raise AssertionError


def test_what_counts_as_naming_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plain", "small", "tiny", "best", "vit", "gpt"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w").write_text(name)
    (tmp_path / "clip.pt").write_text("c")
    (tmp_path / "log.txt").write_text("l")

    def found(**options: object) -> list[str]:
        return sorted(local_files(Named, Options(**options)))

    assert found() == found(where="small") == found(where="tiny") == [], "words of the predictor's own"
    assert found(where="./plain") == ["./plain"]
    assert found(where="vit") == found(where="timm:vit") == ["vit"]
    assert found(where="open_clip:ViT-B-32/clip.pt") == found(where="ViT-B-32/clip.pt") == ["clip.pt"]
    assert found(where="google/vit") == [], "a hub id is no folder of that last name"
    assert found(where="vit+gpt") == ["gpt", "vit"]
    assert found(several=("clip.pt", "absent", str(tmp_path / "vit"))) == sorted(["clip.pt", str(tmp_path / "vit")])
    assert found(mode="best", log="log.txt") == []
    assert found(where="x" * 5000) == found(where="a\0b") == found(where=" ") == []


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (KnnPredictor, {"backbone": "timm:{}"}),
        (InterrogatorPredictor, {"clip": "{}"}),
        (InterrogatorPredictor, {"captioner": "{}"}),
        (InterrogatorPredictor, {"phrases": ("{}/w",)}),
        (VitGpt2Predictor, {"captioner": "{}+gpt2"}),
    ],
)
def test_options_of_the_harness_are_seen(cls: type[Predictor], options: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "w").write_text("1")
    given = {
        key: value.format(tmp_path) if isinstance(value, str) else tuple(v.format(tmp_path) for v in value)  # type: ignore[attr-defined]
        for key, value in options.items()
    }
    before = local_files(cls, cls.Config(**given))
    (tmp_path / "w").write_text("2")
    after = local_files(cls, cls.Config(**given))
    assert len(before) == 1
    assert before != after


def test_the_hash_is_of_names_and_contents_and_reads_a_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "w"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(b"1")
    (folder / "deep" / "b").write_bytes(b"2")
    (folder / ".hidden").write_bytes(b"3")
    later = time.time_ns() + 10**10
    monkeypatch.setattr("harness.data.file_memory.time.time_ns", lambda: later)  # what was just written has settled
    total = hashlib.sha256()
    for name, content in (("a", b"1"), ("deep/b", b"2")):
        total.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\0".encode())
    assert content_hash(folder) == total.hexdigest()[:16]
    read = []
    monkeypatch.setattr("harness.data.contents._read", lambda file, *rest: read.append(file) or "x")
    content_hash(folder)
    assert read == [], "nothing is read again"
    (folder / "a").touch()
    content_hash(folder)
    assert read == [folder / "a"]
    monkeypatch.undo()
    assert content_hash(folder) == total.hexdigest()[:16]
    status = (folder / "a").stat()
    (folder / "a").write_bytes(b"9")
    os.utime(folder / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content_hash(folder) != total.hexdigest()[:16], "equal size and time do not hide a change"


def test_cached_values_depend_on_the_files_that_their_keys_name(tmp_path: Path) -> None:
    def value(content: str, key: object) -> int:
        cache = DiskCache(tmp_path, files={"dir/w": content})
        return int(cache.value(key, lambda: np.array(int(content)))[()])

    for key in (["f", "timm:dir/w"], {"where": str(Path("dir/w").absolute())}, "dir/w"):
        assert (value("1", key), value("2", key), value("1", key)) == (1, 2, 1)
    assert (value("1", ["other"]), value("2", ["other"])) == (1, 1), "a key by content is shared"


@pytest.mark.parametrize(
    "text", ["timm:{}", "timm:{}@last+3/4", "tiny+timm:{}", "efficientnet-lite2@last+mid+timm:{}@last+1/2+tiny"]
)
def test_a_folder_is_found_among_backbones_that_are_joined(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "vit"
    folder.mkdir()
    assert set(named_paths(text.format(folder))) == {str(folder)}


def test_a_default_that_is_no_text_names_nothing(tmp_path: Path) -> None:
    class Options(PredictorConfig):
        words: list[str] = []
        weights: Path = Path("none")
        table: dict[str, float] = {"a": 1.0}

    class Listing(Predictor):
        name, version, Config = "listing", "1", Options
        presets = {"tiny": {"words": ["tiny"]}, "reference": {}}

    file = tmp_path / "words.txt"
    file.write_text("a")
    assert local_files(Listing, Options()) == {}
    assert local_files(Listing, Options(words=[str(file)])) == {str(file): content_hash(file)}
