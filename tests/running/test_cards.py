"""Workers side by side see one GPU each."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.running import device, executors
from harness.running.isolation import TaskWorkers

PLUGIN = """
import json, os, time, uuid
from pathlib import Path
import numpy as np
from harness.plugin import Predictor, hookimpl

class Looking(Predictor):
    name, version, trainable = "looking", "1", True
    def fit(self, train):
        folder = Path(os.environ["SEEN"])
        seen = {"card": os.environ.get("CUDA_VISIBLE_DEVICES"), "process": os.getpid()}
        (folder / f"{uuid.uuid4().hex}.json").write_text(json.dumps(seen))
        began = time.monotonic()
        while len({json.loads(f.read_text())["process"] for f in folder.glob("*.json")}) < 2:
            assert time.monotonic() - began < 60, "no other process came"
            time.sleep(0.05)
        self.value = 1.0
    def predict(self, images):
        return np.full((len(images), 384), self.value, dtype=np.float32)
    def save(self, folder):
        np.save(folder / "value.npy", self.value)
    def load(self, folder):
        self.value = np.load(folder / "value.npy")

@hookimpl
def harness_register_predictors(register):
    register(Looking)
"""


def _seen(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in folder.glob("*.json")]


def test_each_worker_sees_a_card_of_its_own(kaggle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "cards", lambda device: ["3", "GPU-8f1c"])
    seen = tmp_path / "seen"
    seen.mkdir()
    monkeypatch.setenv("SEEN", str(seen))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "looking.py").write_text(PLUGIN)
    options: dict[str, Any] = {"folds": 4, "executor": "parallel", "progress": False}
    harness.run(kaggle, predictors=["looking"], plugin_files=["looking.py"], **options)
    found = _seen(seen)
    assert len(found) == 4
    by_process = {each["process"]: each["card"] for each in found}
    assert sorted(by_process.values()) == ["3", "GPU-8f1c"], "as many workers as cards, and no more"
    assert all(each["card"] == by_process[each["process"]] for each in found)


def test_a_new_process_takes_the_card_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    class Worker:
        pass

    class Group:
        def __init__(self) -> None:
            self.workers: list[Worker] = []

        def start(self, function: Any, environment: dict[str, str]) -> Worker:
            started.append(environment["CUDA_VISIBLE_DEVICES"])
            self.workers.append(Worker())
            return self.workers[-1]

    workers = TaskWorkers()
    group = Group()
    workers._group, workers._cards = group, ("0", "1", "2")  # type: ignore[assignment]
    for _ in range(3):
        workers._start(idle=False)
    group.workers.pop(1)
    workers._start(idle=False)
    workers._start(idle=False)
    assert started[:4] == ["0", "1", "2", "1"]
    assert Counter(started) == {"0": 2, "1": 2, "2": 1}


@pytest.mark.parametrize(
    ("asked", "named", "count", "expected"),
    [
        ("auto", None, 2, ["0", "1"]),
        ("cuda", "5,7", 2, ["5", "7"]),
        ("cuda", "GPU-a, GPU-b", 2, ["GPU-a", "GPU-b"]),
        ("auto", None, 0, []),
        ("cuda:1", None, 2, []),
        ("cpu", None, 2, []),
    ],
)
def test_cards_are_named_as_the_driver_takes_them(
    monkeypatch: pytest.MonkeyPatch, asked: str, named: str | None, count: int, expected: list[str]
) -> None:
    device._count_cards.cache_clear()
    monkeypatch.setattr(device, "_has_gpu_driver", lambda: True)
    monkeypatch.setattr(device, "_devices", lambda kind: (count, ""))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert device.cards(asked) == expected
    device._count_cards.cache_clear()


def test_without_a_driver_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_has_gpu_driver", lambda: False)
    monkeypatch.setattr(device, "_devices", lambda kind: pytest.fail("a process was started to ask torch"))
    assert device.cards("auto") == []
    assert device.cards("cuda") == []
