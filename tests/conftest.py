"""Fixtures all tests share: an offline environment, a cache of the session's own, the command, the real images."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from hypothesis import HealthCheck, settings
from PIL import Image

from harness.data.images import ImageFile
from harness.data.lazy_images import LazyImages
from harness.process import MODEST
from harness.running.executors import THREAD_VARIABLES
from tests import warm

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("harness", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("harness")
# Before anything imports huggingface_hub: no test may try the network.
os.environ["HF_HUB_OFFLINE"] = "1"
# One cache for the session, shared by its xdist workers, never the user's.
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"single-{os.getpid()}")
CACHE = Path(tempfile.gettempdir()) / f"harness-test-cache-{_RUN[:16]}"
os.environ["HARNESS_CACHE"] = str(CACHE)
# The session's workers have the cores already, and matrices this small only wait for a second thread.
for _name in THREAD_VARIABLES:
    os.environ.setdefault(_name, "1")
# What every worker has, before the process starts that they are forked from: else each would have to start anew.
for _name, _value in MODEST.items():
    os.environ.setdefault(_name, _value)
threadpoolctl.threadpool_limits(1)
warm.warm_workers()

REAL_DATA = Path(os.environ.get("HARNESS_REAL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, and keep a module together: what its tests share is made once."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    for item in items:
        if item.get_closest_marker("spread") is None and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the cache, in the process that outlives the workers."""
    import shutil

    warm.close()
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture(autouse=True)
def own_tasks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test find its own finished tasks only: others' runs are made on the same small data."""
    monkeypatch.setenv("HARNESS_TASKS", str(tmp_path_factory.mktemp("tasks")))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real images, or a skip that says where it was looked for."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real images at {REAL_DATA}; set HARNESS_REAL_DATA")
    return REAL_DATA


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout; fails if there is anything else."""
        return json.loads(self.out)


Harness = Callable[..., Answer]


def run_harness(*arguments: object, cwd: Path, env: dict[str, str] | None = None, timeout: float = 600) -> Answer:
    """Run the ``harness`` command in a process of its own, as a user does, but warm (see ``tests/warm.py``)."""
    command = [sys.executable, "-m", "harness.cli", *map(str, arguments)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+", encoding="utf-8") as err:
        process = warm.start(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env={**os.environ, **(env or {})}
        )
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        for stream in (out, err):
            stream.seek(0)
        return Answer(code, out.read(), err.read())


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every process start as it does for a user: for tests of what it imports, weighs, or how it ends."""
    monkeypatch.setenv(warm.COLD_VARIABLE, "1")


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """The ``harness`` command, run in an empty folder."""
    folder = tmp_path / "cwd"
    folder.mkdir()

    def call(*arguments: object, **options: Any) -> Answer:
        return run_harness(*arguments, cwd=options.pop("cwd", folder), **options)

    return call


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, run in this process: exit code, stdout, stderr."""
    from harness.cli import main, render

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        monkeypatch.setattr(render, "_told", [render.NORMAL])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def save_image(path: Path, seed: int, size: tuple[int, int] = (40, 32)) -> None:
    """Write an image of random blocks: small, real, different for every seed."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = rng.integers(0, 256, size=(4, 5, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(path)


def save_images(folder: Path, count: int, size: tuple[int, int], workers: int = 1) -> LazyImages:
    """Write images of random blocks, and open them as predictors are given them."""
    for i in range(count):
        save_image(folder / f"{i}.png", i, size)
    sources = [ImageFile(folder / f"{i}.png") for i in range(count)]
    return LazyImages(sources, [source.digest() for source in sources], workers)


PROMPTS = [
    "a red fox asleep on a mossy log",
    "an oil painting of a harbour in winter",
    "three astronauts playing cards on the moon",
    "a close-up photograph of a wet strawberry",
    "blueprint of a steam locomotive",
    "a crowded night market in the rain, neon signs",
    "portrait of an old violin maker in his workshop",
    "a paper crane floating above a volcano",
    "isometric drawing of a tiny bakery",
    "a whale made of clouds over a wheat field",
    "stained glass window showing a bicycle",
    "a minimalist poster about quantum physics",
    "a bowl of ramen with chopsticks, top view",
    "an abandoned greenhouse full of ferns",
    "a chess game between two robots",
    "the skyline of a city under the sea",
]


def make_kaggle(folder: Path, prompts: list[str] | None = None) -> Path:
    """Write a small data set in the competition's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "prompts.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["imgId", "prompt"])
        for i, prompt in enumerate(PROMPTS if prompts is None else prompts):
            writer.writerow([f"img{i:03d}", prompt])
            save_image(folder / "images" / f"img{i:03d}.png", i)
    return folder


def without_checksums(run: Path) -> Path:
    """Take the checksums out of a run's folder, as earlier versions wrote it, so that it can be changed by hand."""
    for path in run.rglob("*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(document, dict) and document.pop("checksum", None):
            document["files"] = {}
            path.chmod(0o644)
            path.write_text(json.dumps(document), encoding="utf-8")
    for path in run.rglob("test-*.json"):
        path.unlink()
    return run


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """A small data set in the competition's layout: 16 images with prompts."""
    return make_kaggle(tmp_path / "data")


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, for code that writes below ``runs/``."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
