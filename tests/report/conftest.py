from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.report.reading import Published
from harness.store.run import RunFolder
from tests.report.pages import Made, make_pages, state_of
from tests.report.runs import REQUEST, make_pictures, make_run, publish_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Shelf:
    """A published run of this session; tests that alter anything work on copies."""

    root: Path
    run: RunFolder
    published: Published


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    root = tmp_path_factory.mktemp("published")
    make_pictures(root / "pictures")
    with contextlib.chdir(root):
        run = make_run(REQUEST, "runs/first")
        return Shelf(root, RunFolder(root / "runs/first"), publish_run(run, root / "leaderboards"))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two runs and their pages. Files that use it are of the xdist group "page", so that one worker makes it once."""
    return make_pages(tmp_path_factory.mktemp("page"))


@pytest.fixture(autouse=True)
def beside_the_runs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let tests of the session's runs work in the folder these were made from, and leave it as it was.

    The runs name their data by a relative path, as a user does. Where two are used, the first of these rules.
    """
    used = [request.getfixturevalue(name) for name in ("made", "shelf") if name in request.fixturenames]
    if used:
        monkeypatch.chdir(used[0].root)
    before = [state_of(one.root) for one in used]
    yield
    changed = {path for one, old in zip(used, before, strict=True) for path, *_ in state_of(one.root) ^ old}
    assert not changed, f"the test altered what others read: work on copies of {sorted(map(str, changed))}"


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """A Chromium of the system's, shared by this folder's tests.

    Not the session's: while it is open, an event loop of Playwright's runs in this thread, and no other can.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)} is on the path")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()
