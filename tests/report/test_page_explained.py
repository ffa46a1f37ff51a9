"""Pages on which the members say what they see in each row, asked by the model that held it out."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.images import ImageFile
from harness.errors import InputError
from harness.plugin import Explanation
from harness.report.page.agreement import confidences
from harness.report.page.gallery import with_words
from harness.report.page.gallery_contents import Gallery, GalleryRow, Statement
from harness.report.page.voices import Voices
from harness.store.run import RunFolder
from harness.workbench.exchange import export_run, import_run
from harness.workbench.reporting import write_report
from tests.report.pages import (
    Made,
    Tab,
    colours,
    copy_of,
    hrefs_of,
    in_page,
    leave_row,
    opened,
    until,
)

pytestmark = pytest.mark.xdist_group("page")


@pytest.fixture(scope="module")
def explained(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("explained") / "page.html"
    with contextlib.chdir(made.root):
        return write_report(made.run, made.manager, page, explain=True).path


def test_members_are_asked_by_the_model_that_held_the_row_out(made: Made, explained: Path) -> None:
    assert "e" not in in_page(made.page)["rows"][0]
    told = in_page(explained)
    order = told["voices"].index("near")
    run = made.run
    pixels = colours([ImageFile(made.root / "pictures" / f"{name}.png").open() for name in run.rows.ids])
    for row in told["rows"]:
        assert [bool(said) for said in row["e"]] == [name in ("near", "far") for name in told["voices"]]
        own = run.rows.ids.index(row["id"])
        others = run.folds.training_rows(row["f"]).tolist()
        assert own not in others
        best = float((pixels[others] @ pixels[own]).max())
        kind, number, score = row["e"][order][0]
        assert (kind, told["texts"][number], len(row["e"][order])) == ("caption", f"<b>like {score:.4f}</b>", 3)
        assert score == pytest.approx(best, abs=2e-4)


def test_what_members_say_is_shown_and_found(explained: Path, browser: Any) -> None:
    row = in_page(explained)["rows"][0]
    with Tab(browser, explained, hash=f"#row-{row['id']}") as page:
        opened(page)
        said = page.locator("dialog .own .stranger").all_text_contents()
        assert len(said) == 6
        assert all(text.startswith("<b>like ") for text in said)
        leave_row(page)
        page.locator("input[type=search]").first.fill(said[0])
        until(page, "document.querySelectorAll('#cards li').length < 5")
        assert row["id"] in hrefs_of(page)


def test_confidences_are_compared_with_scores(explained: Path, made: Made) -> None:
    for page, shown_there in ((explained, True), (made.page, False)):
        text = page.read_text()
        assert ("own confidence foretell" in text, "asks the members for confidences" in text) == (
            shown_there,
            not shown_there,
        )
    voices = Voices.of(made.run)
    scores = voices.column("near")
    rows = np.arange(len(scores))
    words = {
        "near": [[Explanation("caption", "x", float(score))] for score in scores],
        "far": [[Explanation("caption", "x", None)] for _ in scores],
    }
    (told,) = confidences(voices, rows, words)
    assert told.name == "near"
    assert told.rank_correlation is not None
    assert told.rank_correlation.mean == pytest.approx(1.0)
    assert [point.confidence for point in told.points] == pytest.approx([point.score.mean for point in told.points])


def test_without_images_nobody_can_be_asked(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_run(made.run, tmp_path / "run.zip")
    elsewhere = import_run(tmp_path / "run.zip", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="--explain"):
        write_report(elsewhere, made.manager, tmp_path / "page.html", explain=True)
    assert not (tmp_path / "page.html").exists()


def test_a_picture_that_is_gone_or_damaged_costs_its_own_row(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.root / "pictures", tmp_path / "pictures")
    run = copy_of(made, tmp_path / "runs" / "moved")
    document = run.document
    config = document.config.model_copy(update={"data": str(tmp_path / "pictures")})
    run.update(document.model_copy(update={"config": config}))
    (tmp_path / "pictures" / "03.png").unlink()
    damaged = tmp_path / "pictures" / "05.png"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    run = RunFolder(run.path)
    told = in_page(write_report(run, made.manager, tmp_path / "page.html", explain=True).path)
    order = told["voices"].index("near")
    without = {row["id"] for row in told["rows"] if row["i"] is None}
    assert without == {"03", "05"}
    assert {row["id"] for row in told["rows"] if not row["e"][order]} == without


def test_words_of_members_keep_the_numbers_of_texts_that_read_alike() -> None:
    row = GalleryRow("a", 1, None, 0, 0, 1, None, [0.5], [[Statement(2, 0.5)]], [], None, None)
    gallery = Gallery(["near"], 0, None, [row], ["\ufffd", "\ufffd", "a cat"], [], [], 1)
    found = with_words(gallery, {"near": [[Explanation("caption", "a dog", 0.1), Explanation("caption", "a cat")]]}, [])
    assert found.texts == ["\ufffd", "\ufffd", "a cat", "a dog"]
    assert [(one.text, one.score) for one in found.rows[0].own[0]] == [(3, 0.1), (2, None)]
