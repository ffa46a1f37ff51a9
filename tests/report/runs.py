"""A small finished run, made as `harness run` makes one."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.plugin import PluginManager
from harness.report.published import publish
from harness.report.reading import Published, read_published
from harness.running.config import resolve_config
from harness.running.plan import plan_run
from harness.running.session import carry_out
from harness.store.run import RunFolder
from tests.conftest import PROMPTS, save_image

REQUEST = {"data": "pictures", "folds": 3, "plugins": "mean,knn,near=knn", "set": {"near": {"neighbours": 3}}}


def make_pictures(folder: Path) -> Path:
    """An image folder with two sources."""
    folder.mkdir(parents=True)
    with (folder / "metadata.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file_name", "prompt", "source"])
        for i, prompt in enumerate(PROMPTS):
            save_image(folder / f"{i:02d}.png", i)
            writer.writerow([f"{i:02d}.png", prompt, "sd|14" if i % 2 else "sd21"])
    return folder


def make_run(request: dict[str, Any], run_dir: str) -> RunFolder:
    """Carry a request out in this process."""
    plan = plan_run(resolve_config({**request, "run_dir": run_dir}), PluginManager())
    assert not carry_out(plan, lambda event: None).failed
    return plan.run


def publish_run(run: RunFolder, folder: Path, data: str = "pictures") -> Published:
    """Publish as the command does."""
    manager = PluginManager()
    written = publish(
        run,
        folder,
        data=data,
        blenders=list(manager.blenders.values()),
        predictors=manager.predictors,
    )
    return read_published(written.document)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of a JSON document with its path: ``rows[0].score``."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from leaves(item, f"{path}[{i}]")
    else:
        yield path, value
