"""Pages of runs that go on: they renew themselves, leave their reader alone, and end with the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.report.page.run_page import run_page
from harness.store.finding import is_busy
from harness.workbench.reporting import watch_report
from tests.report.pages import (
    Made,
    Tab,
    copy_of,
    until,
)

pytestmark = pytest.mark.xdist_group("page")


def test_a_page_that_renews_itself_leaves_the_reader_alone(made: Made, browser: Any, tmp_path: Path) -> None:
    told = made.contents
    file = tmp_path / "renewed.html"
    file.write_bytes(run_page(replace(told, going_on=True)).replace(b'data-refresh="10"', b'data-refresh="1"'))
    # A row is open from the beginning: the page could renew itself before a slow machine has opened one.
    with Tab(browser, file, hash=f"#row-{told.gallery.rows[35].id}") as page:
        page.evaluate("window.first = true")
        page.wait_for_timeout(1500)
        assert page.evaluate("window.first && document.querySelector('#row').open")
        # Nor while text is selected, or something is typed; from one to the next in one go, for the same reason.
        page.evaluate("""() => {
            const sort = document.querySelector('#by-sort');
            sort.value = 'row';
            sort.dispatchEvent(new Event('change'));
            document.querySelector('#more').click();
            getSelection().selectAllChildren(document.querySelector('h1'));
            document.querySelector('#row').close();
        }""")
        until(page, "location.hash.startsWith('#rows?')")
        page.wait_for_timeout(1200)
        assert page.evaluate("window.first && String(getSelection()) !== ''")
        page.evaluate("""() => {
            document.querySelector('#by-q').focus();
            getSelection().removeAllRanges();
        }""")
        page.wait_for_timeout(1200)
        assert page.evaluate("window.first && document.activeElement === document.querySelector('#by-q')")
        place = page.evaluate("""() => {
            document.querySelectorAll('#cards li')[35].scrollIntoView({ behavior: 'instant' });
            return scrollY;
        }""")
        # What lies there then is the last page, of the finished run: it stays, and can be looked at.
        file.write_bytes(run_page(told))
        with page.expect_event("load"):
            page.evaluate("() => { setTimeout(() => document.activeElement.blur(), 300); }")
        assert not page.evaluate("window.first")
        assert page.evaluate("document.querySelector('#by-sort').value") == "row"
        until(page, "document.querySelectorAll('#cards li').length === 44")
        until(page, f"Math.abs(scrollY - {place}) < 300")


def test_of_a_run_that_goes_on(made: Made, browser: Any, tmp_path: Path) -> None:
    run = copy_of(made, tmp_path / "runs" / "going-on")
    member = run.members["near"]
    task = run.task_folder("near", 1, member.keys[1])
    task.rename(tmp_path / "aside")
    pages = []

    def wait(seconds: float) -> None:
        (tmp_path / "aside").rename(task)

    watched = watch_report(run, made.manager, tmp_path / "watched.html", say=lambda one: pages.append(
        one.path.read_text()), wait=wait)  # fmt: skip
    assert len(pages) == 1
    assert '<meta http-equiv="refresh" content="10">' in pages[0]
    assert "8 of 9 tasks are done" in pages[0]
    assert "near</b> is not ranked" in pages[0]
    last = watched.path.read_text()
    assert 'http-equiv="refresh"' not in last
    assert watched.finished
    (tmp_path / "first.html").write_text(pages[0])
    with Tab(browser, tmp_path / "first.html", width=400):
        pass


def test_a_watched_run_that_was_left_is_told_of_and_let_go(made: Made, tmp_path: Path) -> None:
    run = copy_of(made, tmp_path / "runs" / "left")
    member = run.members["near"]
    run.task_folder("near", 1, member.keys[1]).rename(tmp_path / "never")
    pages: list[str] = []
    waited: list[float] = []

    def watched(wait: Any) -> Any:
        say = lambda one: pages.append(one.path.read_text())  # noqa: E731
        return watch_report(run, made.manager, tmp_path / "left.html", say=say, wait=wait)

    class EnoughError(Exception):
        pass

    def wait_long(seconds: float) -> None:
        waited.append(seconds)
        if sum(waited) > 90:
            raise EnoughError

    with run.locked(), pytest.raises(EnoughError):
        watched(wait_long)
    assert not is_busy(run)
    waited.clear()
    report = watched(wait_long)
    assert 30 <= sum(waited) < 60
    assert not report.finished
    assert any("no command works on the run" in note for note in report.notes)
    assert 'http-equiv="refresh"' in pages[0]
    assert 'http-equiv="refresh"' not in report.path.read_text()
