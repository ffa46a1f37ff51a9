"""What of a repository is fetched, how, and what is kept of where it came from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.models.hub import needed_files
from tests.conftest import Harness, make_kaggle
from tests.hub.server import COMMIT, Hub, serve
from tests.towers.small import save_vision

FETCH = """
import sys
from pathlib import Path
from harness.errors import InputError
from harness.models import fetch_model
from harness.plugin import Context, in_use
context = Context(Path('.'), on_progress=lambda label, done, total: print('progress', label, done, total))
try:
    with in_use(context):
        folder = fetch_model(sys.argv[1], tiny='clip', option='clipnet.tower')
except InputError as error:
    sys.exit(str(error))
print('files', *sorted(path.name for path in folder.iterdir()))
print('weights', context.weights)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with serve(tmp_path / "hub") as running:
        yield running


def fetch(hub: Hub, name: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **hub.environment(cache), **environment}
    return subprocess.run(
        [sys.executable, "-c", FETCH, name], env=variables, capture_output=True, text=True, timeout=120, check=False
    )


def repository(hub: Hub, name: str = "some/model", **files: int) -> Path:
    folder = hub.root / name
    contents = {"config.json": 20, "preprocessor_config.json": 30, "README.md": 100, ".gitattributes": 10}
    for path, size in {**contents, **files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(bytes(i % 251 for i in range(size)))
    return folder


@pytest.mark.parametrize(
    ("paths", "needed"),
    [
        (  # openai/clip-vit-large-patch14-336
            "README.md config.json merges.txt preprocessor_config.json pytorch_model.bin special_tokens_map.json "
            "tf_model.h5 tokenizer.json tokenizer_config.json vocab.json",
            "config.json merges.txt preprocessor_config.json pytorch_model.bin special_tokens_map.json tokenizer.json "
            "tokenizer_config.json vocab.json",
        ),
        (  # a repository of today, with everything in several forms
            "config.json generation_config.json model.safetensors pytorch_model.bin flax_model.msgpack rust_model.ot "
            "onnx/model.onnx onnx/model_fp16.onnx openvino/openvino_model.bin spiece.model processor_config.json "
            "model.fp16.safetensors chat_template.jinja training_args.bin optimizer.pt images/one.png",
            "config.json generation_config.json model.safetensors spiece.model processor_config.json "
            "chat_template.jinja",
        ),
        (
            "config.json model.safetensors.index.json model-00001-of-00002.safetensors "
            "model-00002-of-00002.safetensors pytorch_model.bin.index.json pytorch_model-00001-of-00002.bin "
            "pytorch_model-00002-of-00002.bin",
            "config.json model.safetensors.index.json model-00001-of-00002.safetensors "
            "model-00002-of-00002.safetensors",
        ),
        (
            "config.json pytorch_model.bin.index.json pytorch_model-00001-of-00002.bin "
            "pytorch_model-00002-of-00002.bin tf_model.h5",
            "config.json pytorch_model.bin.index.json pytorch_model-00001-of-00002.bin "
            "pytorch_model-00002-of-00002.bin",
        ),
        (
            "open_clip_config.json open_clip_model.safetensors open_clip_pytorch_model.bin README.md",
            "open_clip_config.json open_clip_model.safetensors",
        ),
        ("config.json", "config.json"),
    ],
)
def test_one_form_of_the_weights_and_what_they_are_fed_by(paths: str, needed: str) -> None:
    assert set(needed_files(paths.split())) == set(needed.split())


def test_only_what_is_needed_is_fetched_with_progress_once(hub: Hub, tmp_path: Path) -> None:
    repository(hub, **{"model.safetensors": 12_000_000, "pytorch_model.bin": 12_000_000, "onnx/model.onnx": 5_000})
    first = fetch(hub, "some/model", tmp_path / "cache")
    assert first.returncode == 0, first.stderr
    needed = ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert sorted(path for _, path, _ in hub.fetched) == needed
    assert f"files {' '.join(needed)}" in first.stdout
    assert f"weights {{'some/model': '{COMMIT}'}}" in first.stdout
    assert "progress fetching some/model (MB) 12 12" in first.stdout
    hub.fetched.clear()
    again = fetch(hub, "some/model", tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert f"weights {{'some/model': '{COMMIT}'}}" in again.stdout
    assert hub.fetched == []


def test_a_download_goes_on_where_it_was_cut_off(hub: Hub, tmp_path: Path) -> None:
    folder = repository(hub, **{"model.safetensors": 24_000_000})
    hub.cut = 21_000_000
    done = fetch(hub, "some/model", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    starts = [start for _, path, start in hub.fetched if path == "model.safetensors"]
    assert starts[0] == 0
    assert starts[-1] >= 10_000_000
    fetched = next((tmp_path / "cache").rglob("snapshots/*/model.safetensors"))
    assert fetched.read_bytes() == (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("name", "environment"),
    [("some/other", {}), ("some/model", {"HF_HUB_OFFLINE": "1"}), ("no name at all", {})],
)
def test_what_cannot_be_had_is_one_message_with_the_mend(
    name: str, environment: dict[str, str], hub: Hub, tmp_path: Path
) -> None:
    repository(hub)
    done = fetch(hub, name, tmp_path / "cache", **environment)
    assert done.returncode == 1
    assert done.stderr.startswith(f"clipnet.tower={name}: it is no folder here, and the hub did not give it (")
    assert f"hf download {name} --local-dir DIR" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_records_the_commit_of_what_it_fetched(hub: Hub, tmp_path: Path, harness: Harness, cold: None) -> None:
    save_vision("vit", hub.root / "some" / "vit")
    make_kaggle(tmp_path / "data")
    command = ("run", "--data", tmp_path / "data", "--plugins", "knn", "--set", "knn.backbone=some/vit", "--json")
    answer = harness(*command, "--folds", 2, "--run-dir", tmp_path / "run", env=hub.environment(tmp_path / "cache"))
    assert answer.code == 0, answer.err
    records: list[dict[str, Any]] = [json.loads(p.read_text()) for p in tmp_path.rglob("members/knn/*/record.json")]
    assert [record["weights"] for record in records] == [{"some/vit": COMMIT}] * 2


def test_what_a_plugin_says_of_its_weights_costs_no_more_than_its_record(tmp_path: Path, harness: Harness) -> None:
    plugin = tmp_path / "odd_weights.py"
    plugin.write_text(
        "import numpy as np\n"
        "from harness.plugin import Predictor, hookimpl\n"
        "class Odd(Predictor):\n"
        "    name, version = 'odd', '1'\n"
        "    def fit(self, train): self.context.weights |= {1: None, '\\ud800': 2}\n"
        "    def predict(self, images): return np.ones((len(images), 384), dtype=np.float32)\n"
        "    def save(self, folder): pass\n"
        "    def load(self, folder): pass\n"
        "@hookimpl\n"
        "def harness_register_predictors(register): register(Odd)\n"
    )
    make_kaggle(tmp_path / "data")
    command = ("run", "--data", tmp_path / "data", "--plugin-file", plugin, "--plugins", "odd", "--folds", 2)
    answer = harness(*command, "--run-dir", tmp_path / "run", "--json")
    assert answer.code == 0, answer.err
    records = [json.loads(path.read_text()) for path in (tmp_path / "run").glob("members/odd/*/record.json")]
    assert [record["weights"]["1"] for record in records] == ["None"] * 2
