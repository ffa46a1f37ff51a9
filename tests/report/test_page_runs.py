"""Pages of runs of every kind: without a blend, with a test set and repeats, imported, with pictures gone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.images import ImageFile
from harness.report.page import thumbnails as small
from harness.running.config import resolve_config
from harness.running.plan import plan_repeats, plan_run
from harness.running.session import carry_out
from harness.store.run import RunFolder
from harness.workbench.blending import blend_run
from harness.workbench.exchange import export_run, import_run
from harness.workbench.leaderboard import judge
from harness.workbench.reporting import write_report
from tests.conftest import save_image
from tests.report.pages import (
    Made,
    Tab,
    copy_of,
    opened,
    until,
)

pytestmark = pytest.mark.xdist_group("page")


def test_thumbnails_are_made_once_an_image_and_fit(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [ImageFile(made.root / "pictures" / f"{i:02d}.png") for i in range(4)]
    pictures = [file.digest() for file in files]
    both = small.thumbnails([0, 1, 0, 2], lambda row: files[row], pictures)
    assert (both.number, len(both.pictures), both.missing) == ([0, 1, 0, 2], 3, 0)
    other = small.thumbnails([0, 1], lambda row: files[row], [pictures[1], pictures[1]])
    assert (other.number, other.changed) == ([None, None], 2)  # the first that shows it speaks for all
    assert small.thumbnails([0], None, pictures).number == [None]
    big = [ImageFile(tmp_path / f"big{i}.png") for i in range(6)]
    for i, file in enumerate(big):
        noise = np.random.default_rng(i).integers(0, 256, size=(400, 400, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file.path)
    monkeypatch.setattr(small, "MOST_BYTES", 40_000)
    fitted = small.thumbnails(range(6), lambda row: big[row], None)
    assert 10_000 < sum(map(len, fitted.pictures)) <= 40_000


def test_without_a_blend_and_with_one_member(made: Made, browser: Any, tmp_path: Path) -> None:
    run = copy_of(made, tmp_path / "runs" / "alone")
    (run.path / "blend.json").unlink()
    write_report(run, made.manager, tmp_path / "unblended.html")
    assert "No blend was learned yet" in (tmp_path / "unblended.html").read_text()
    document = run.document
    run.update(document.model_copy(update={"members": {"near": document.members["near"]}}))
    write_report(RunFolder(run.path), made.manager, tmp_path / "alone.html")
    assert "One member alone" in (tmp_path / "alone.html").read_text()
    for name in ("unblended.html", "alone.html"):
        with Tab(browser, tmp_path / name, width=400) as page:
            page.locator("#cards a").first.click()
            opened(page)


def test_of_an_imported_run_without_prompts_and_images(made: Made, browser: Any, tmp_path: Path) -> None:
    export_run(made.run, tmp_path / "run.zip")
    run = import_run(tmp_path / "run.zip", tmp_path / "elsewhere" / "run")
    document = run.document
    moved = document.dataset.model_copy(update={"location": "/nowhere"})
    gone = document.config.model_copy(update={"data": "/nowhere"})
    run.update(document.model_copy(update={"dataset": moved, "config": gone}))
    report = write_report(RunFolder(run.path), made.manager, tmp_path / "imported.html")
    assert any("not at hand" in note for note in report.notes)
    assert any("without its prompts" in note for note in report.notes)
    with Tab(browser, report.path, width=400) as page:
        assert page.locator("#cards .blank").count() == 30
        assert page.locator("#cards img").count() == 0


def test_an_image_that_was_changed_since_is_not_shown(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made.root / "pictures", tmp_path / "pictures")
    run = copy_of(made, tmp_path / "runs" / "changed")
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "pictures" / "20.png", 999)
    report = write_report(run, made.manager)
    assert "1 row without an image, 1 of them since the image is not the one that the run saw." in report.notes


def test_with_a_test_set_and_repeats(made: Made, browser: Any, tmp_path: Path) -> None:
    asked = {
        "data": "pictures",
        "test": "pictures",
        "folds": 2,
        "plugins": "mean,near",
        "run_dir": str(tmp_path / "runs" / "tested"),
        "executor": "inline",
    }
    plan = plan_run(resolve_config({**asked, "repeats": 2}), made.manager)
    for one in (plan, *plan_repeats(plan)):
        assert not carry_out(one, lambda event: None).failed
    blend_run(plan.run, made.manager)
    report = write_report(plan.run, made.manager, tmp_path / "tested.html", rows=20, assets=True)
    assert report.assets is not None
    assert len(list(report.assets.glob("*.webp"))) == report.rows == 20
    text = report.path.read_text()
    assert "test images are training images, too" in text
    assert "over seeds" in text
    near = next(row for row in judge(plan.run).rows if row.plugin == "near")
    assert f"near ± {near.repeats.sd:.4f}" in text
    assert "20 of 44 rows" in text
    tab = Tab(browser, report.path, width=400)
    tab.page.locator("#cards a").first.click()
    until(tab.page, "document.querySelector('#row-picture img').naturalWidth > 0")
    assert tab.complaints == []
    assert all(url.startswith(("data:", report.path.parent.as_uri())) for url in tab.requests)
    tab.page.close()
