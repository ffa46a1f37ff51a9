"""Prompts of a new run are embedded in the worker process that then does tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.data.targets import PromptEncoder
from harness.errors import HarnessError, InputError
from harness.running.isolation import TaskWorkers
from harness.running.registry import EXECUTORS
from harness.running.worker import Embed
from harness.store.config import RunConfig
from tests.conftest import PROMPTS, make_kaggle


@pytest.mark.parametrize("name", ["serial", "inline"])  # parallel embeds as serial does
def test_every_executor_embeds_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    with EXECUTORS[name](RunConfig(), print) as executor:
        encoder = executor.encoder("package")
        vectors = encoder.encode(PROMPTS[:3])
        again = encoder.encode(PROMPTS[2:4])
    assert np.array_equal(vectors[2], again[0])
    np.testing.assert_allclose(vectors, PromptEncoder().embed(PROMPTS[:3]), atol=1e-6)


def test_the_process_of_the_command_imports_no_torch(tmp_path: Path) -> None:
    data = make_kaggle(tmp_path / "data", [f"{prompt}, seen nowhere else" for prompt in PROMPTS])
    program = (
        "import json, sys, harness\n"
        f"run = harness.run({str(data)!r}, predictors=['ridge'], folds=2, run_dir={str(tmp_path / 'run')!r})\n"
        "print(json.dumps([run.targets.shape, sorted({'torch', 'transformers'} & set(sys.modules))]))\n"
    )
    environment = {"HARNESS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[16, 384], []]


def test_what_is_wrong_with_the_encoder_is_told_as_ever(tmp_path: Path) -> None:
    with TaskWorkers() as workers, pytest.raises(InputError, match=r"no model\.safetensors"):
        workers.embed(str(tmp_path), ["a"])


def test_a_process_that_is_lost_while_it_embeds_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with TaskWorkers() as workers:
        monkeypatch.setattr("harness.running.isolation.Embed", lambda *_: _Ending())
        with pytest.raises(HarnessError, match=r"embeds the prompts was lost: .* exit code 7"):
            workers.embed("package", ["a"])
        monkeypatch.setattr("harness.running.isolation.Embed", Embed)
        assert workers.embed("package", ["a"]).shape == (1, 384), "another is started"


class _Ending:
    """A request that ends the process which reads it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        import os

        return os._exit, (7,)
