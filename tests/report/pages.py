"""Pages of a run with hostile prompts: how they are made, opened in a real browser, and waited for."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from harness.plugin import Explanation, PluginManager, Predictor, TrainingData
from harness.report.page.telling import Surroundings, run_contents
from harness.running.config import resolve_config
from harness.running.nearest import nearest_prompts
from harness.running.plan import plan_run
from harness.running.session import carry_out
from harness.store.run import RunFolder
from harness.workbench.blending import blend_run
from harness.workbench.leaderboard import judge
from harness.workbench.reporting import write_comparison, write_report
from tests.conftest import PROMPTS, save_image

HOSTILE = [
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 2</script>",
    "<img src=x onerror='window.pwned = 3'>",
    "javascript:window.pwned = 4",
    "\"double\" 'single' `back` \\ {{ 7 * 7 }} {% raw %} ${7 * 7}",
    "مرحبا بالعالم \u202e desrever si siht",
    "nul a\x00b and bell \x07",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "one word of ten thousand letters " + "x" * 10_000,
    "line\u2028separator\u2029 and <!-- a comment -->",
    "&lt;b&gt;&amp;quot; <b>bold</b>",
    "a" + "\u0301" * 300,
]
SOURCES = ['<b>sd</b> "14"', "sd21"]
PATIENCE = 30.0
"""Seconds until a page that does not do what is awaited has failed: no machine is that slow."""


# -- a run -----------------------------------------------------------------------------------------


class Near(Predictor):
    """Predicts the targets of the images with the most similar colours, and says that it learned."""

    name, version, trainable = "near", "1", True

    class Config(BaseModel):
        """Its option."""

        neighbours: int = Field(3, ge=1, description="Images that are looked at.")

    def fit(self, train: TrainingData) -> None:
        self._pixels, self._targets = colours(train.images), train.targets
        for step in range(1, 21):
            self.context.measured("head", step, loss=1.0 / step, nothing=float("nan"))

    def predict(self, images: Any) -> np.ndarray:
        near = np.argsort(-(colours(images) @ self._pixels.T), axis=1)[:, : self.config.neighbours]
        return self._targets[near].mean(axis=1)

    def explain(self, images: Any) -> list[list[Explanation]]:
        """Say how like the nearest training image is: 1 would give away a model that learned from the very row."""
        best = (colours(images) @ self._pixels.T).max(axis=1)
        return [[Explanation("caption", f"<b>like {value:.4f}</b>", float(value))] * 5 for value in best]

    def save(self, folder: Path) -> None:
        np.savez(folder / "near.npz", pixels=self._pixels, targets=self._targets)

    def load(self, folder: Path) -> None:
        with np.load(folder / "near.npz") as kept:
            self._pixels, self._targets = kept["pixels"], kept["targets"]


def colours(images: Any) -> np.ndarray:
    rows = np.stack([np.asarray(image.resize((5, 4)), dtype=np.float32).ravel() for image in images])
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@dataclass(frozen=True)
class Made:
    """A run with hostile prompts, its page, and that of another run against it; tests only read them.

    ``root`` has ``pictures``, ``runs/first`` and ``runs/second``, and tests that use this work in it (see
    ``conftest.py``): the runs name their data as a user does who stands there.
    """

    root: Path
    run: RunFolder
    manager: PluginManager
    page: Path
    comparison: Path

    @property
    def html(self) -> str:
        return self.page.read_text(encoding="utf-8")

    @cached_property
    def contents(self) -> Any:
        """All that the page of the run tells; tests alter copies (``dataclasses.replace``)."""
        around = Surroundings(judge(self.run), nearest_prompts, self.manager.blender, self.manager.predictors)
        return run_contents(self.run, around, rows=1000)[0]


def make_pages(root: Path) -> Made:
    """Carry two runs out, blend the first, and write its page and that of both."""
    with (root / "pictures.jsonl").open("w") as stream:
        for i, prompt in enumerate([*HOSTILE, *PROMPTS, *(f"{prompt}, at dawn" for prompt in PROMPTS)]):
            save_image(root / "pictures" / f"{i:02d}.png", i)
            row = {"file_name": f"{i:02d}.png", "prompt": prompt, "source": SOURCES[i % 2]}
            stream.write(json.dumps(row) + "\n")
    (root / "pictures.jsonl").rename(root / "pictures" / "metadata.jsonl")
    with contextlib.chdir(root):
        manager = PluginManager(classes=[Near])
        asked = {
            **{"data": "pictures", "folds": 3, "plugins": "mean,near,far=near", "run_dir": "runs/first"},
            **{"set": {"near": {"neighbours": 3}, "far": {"neighbours": 12}}, "executor": "inline"},
        }
        run = carried_out(asked, manager)
        near = {"set": {"near": {"neighbours": 9}}, "run_dir": "runs/second", "plugins": "mean,near"}
        second = carried_out({**asked, **near}, manager)
        judge(second)  # which keeps beside the run what takes time to find: no test is the first to ask
        blend_run(run, manager)
        page = write_report(run, manager, root / "report.html").path
        comparison = write_comparison("runs/first", "second", manager, root / "comparison.html").path
    return Made(root, RunFolder(root / "runs" / "first"), manager, page, comparison)


def carried_out(request: dict[str, Any], manager: PluginManager) -> RunFolder:
    plan = plan_run(resolve_config(request), manager)
    assert not carry_out(plan, lambda event: None).failed
    return plan.run


def copy_of(made: Made, folder: Path) -> RunFolder:
    """Copy the run, for a test that alters it."""
    shutil.copytree(made.run.path, folder)
    return RunFolder(folder)


def state_of(root: Path) -> set[tuple[Path, int, int]]:
    """Return what changes when anything below a folder is altered: each file, its size and its time."""
    found = [(path, path.stat()) for path in root.rglob("*") if path.is_file()]
    return {(path, state.st_size, state.st_mtime_ns) for path, state in found}


def in_page(path: Path) -> dict[str, Any]:
    """Read the rows that the page of a file holds for its script."""
    return rows_in(path.read_text(encoding="utf-8"))


def rows_in(html: str) -> dict[str, Any]:
    """Read the rows that a page holds for its script."""
    found = re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


# -- in a browser ----------------------------------------------------------------------------------


class Tab:
    """A page that is open, and all that it asked for or complained of."""

    def __init__(self, browser: Any, path: Path, *, hash: str = "", width: int = 1200, scheme: str = "light") -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri() + hash)
        self.page.wait_for_selector("#cards li")

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *error: object) -> None:
        overflow = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        pwned = self.page.evaluate("typeof window.pwned")
        own = self.requests[0].partition("#")[0]  # the page again is no other request
        asked = [url for url in self.requests if not url.startswith("data:") and url.partition("#")[0] != own]
        self.page.close()
        if error[0] is None:
            assert (self.complaints, asked, overflow, pwned) == ([], [], 0, "undefined")


def until(page: Any, holds: str) -> None:
    """Wait until an expression holds; the page's policy forbids what ``wait_for_function`` does.

    What the page has not made yet holds nothing: that the expression fails is "not yet" as well.
    """
    condition = f"(() => {{ try {{ return Boolean({holds}); }} catch {{ return false; }} }})()"
    if not _waited(page, lambda: page.evaluate(condition)):
        raise AssertionError(f"it never held that {holds}")


def settles(page: Any, read: Callable[[], Any], expected: Any) -> None:
    """Wait until what is read from a page is what it should be; what it was in the end is told where it never is."""
    if not _waited(page, lambda: read() == expected):
        assert read() == expected


def shows(page: Any, ids: list[str]) -> None:
    """Wait until the cards are those of these rows, in this order."""
    settles(page, lambda: hrefs_of(page), ids)


def _waited(page: Any, holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if holds():
            return True
        page.wait_for_timeout(30)  # which, unlike a sleep, hears what the page says
    return False


def opened(page: Any) -> None:
    """Wait until a row is open."""
    until(page, "document.querySelector('#row').open")


def leave_row(page: Any) -> None:
    """Press Escape, and wait until the row is closed and the address is no longer its own.

    The browser closes a dialog at once and tells the page of it later: what is done in between is undone by the page.
    """
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('#row').open && !location.hash.startsWith('#row-')")


def hrefs_of(page: Any) -> list[str]:
    """Return the rows of the cards that are shown, by their links."""
    return page.evaluate(
        "[...document.querySelectorAll('#cards a.card')].map((one) => one.getAttribute('href').slice(5))"
    )
