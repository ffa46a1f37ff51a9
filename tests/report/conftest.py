from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.report.reading import Published
from harness.store.run import RunFolder
from tests.report.runs import REQUEST, make_pictures, make_run, publish_run


@dataclass(frozen=True)
class Shelf:
    """A published run of this session; tests that alter anything work on copies."""

    root: Path
    run: RunFolder
    published: Published


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    root = tmp_path_factory.mktemp("published")
    make_pictures(root / "pictures")
    before = Path.cwd()
    os.chdir(root)
    try:
        run = make_run(REQUEST, "runs/first")
        yield Shelf(root, RunFolder(root / "runs/first"), publish_run(run, root / "leaderboards"))
    finally:
        os.chdir(before)
