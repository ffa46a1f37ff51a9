"""A tiny pipeline, and prompts for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.workbench.generating import Generated, generate_images
from tests.conftest import PROMPTS
from tests.generating.pipelines import save_pipeline

STEPS = 2


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion of random weights, whose images are 64 pixels wide."""
    return save_pipeline(tmp_path_factory.mktemp("models") / "tiny-sd")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Six prompts, one a line."""
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(PROMPTS[:6]) + "\n")
    return path


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a table of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


Make = Callable[..., Generated]


@pytest.fixture
def make(tiny: Path, prompts: Path, tmp_path: Path) -> Make:
    """Generate, in this process, the six prompts by the tiny pipeline into a folder below the test's own."""

    def call(out: str = "made", source: Path | str = prompts, **options: Any) -> Generated:
        said = options.pop("said", [])
        progress = options.pop("progress", lambda done, total: None)
        given = {"model": str(tiny), "steps": STEPS, **options}
        return generate_images(str(source), tmp_path / out, given, say=said.append, progress=progress)

    return call
