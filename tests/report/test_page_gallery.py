"""The page of a run in a real browser: its rows are sorted, filtered, opened and saved, and its tables sorted."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.comparing import compare
from harness.report.page.render import quantity
from harness.report.page.run_page import run_page
from harness.scoring.tables import shown
from harness.workbench.leaderboard import judge
from tests.conftest import PROMPTS
from tests.report.pages import (
    HOSTILE,
    SOURCES,
    Made,
    Tab,
    hrefs_of,
    leave_row,
    opened,
    settles,
    shows,
    until,
)

pytestmark = pytest.mark.xdist_group("page")


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["page", "comparison"])
def test_it_opens_without_a_request_or_a_word_and_fits(
    made: Made, browser: Any, which: str, width: int, scheme: str
) -> None:
    with Tab(browser, getattr(made, which), width=width, scheme=scheme) as page:
        back, ink = page.evaluate("['backgroundColor', 'color'].map((name) => getComputedStyle(document.body)[name])")
        assert (sum(map(int, re.findall(r"\d+", back)[:3])) < 200) == (scheme == "dark")
        assert contrast(back, ink) > 7
        soft = page.evaluate("getComputedStyle(document.querySelector('.note')).color")
        assert contrast(back, soft) > 4.5
        # Every chart is named, and drawn in colours that this scheme has.
        charts = page.locator("svg.chart")
        assert charts.count() >= 2
        for k in range(charts.count()):
            assert page.evaluate(
                "(k) => { const one = document.querySelectorAll('svg.chart')[k];"
                "return one.getAttribute('aria-labelledby').split(' ').every((id) => document.getElementById(id)); }",
                k,
            )
        assert not re.findall(r"#0[ab]00[0-9a-f]{2}", getattr(made, which).read_text())
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
        assert len(ids) == len(set(ids))


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_it_sorts_and_filters(made: Made, browser: Any) -> None:
    gallery = made.contents.gallery
    lead, against = gallery.lead, gallery.against
    with Tab(browser, made.page) as page:

        def expected(key: Any) -> list[str]:
            return [row.id for row in sorted(gallery.rows, key=key)][:30]

        shows(page, expected(lambda row: row.cosines[lead]))
        page.select_option("#by-sort", "gained")
        shows(page, expected(lambda row: round(row.cosines[against] - row.cosines[lead], 9)))
        page.select_option("#by-sort", "disagreement")
        shows(page, expected(lambda row: -row.disagreement))
        page.select_option("#by-sort", "row")
        page.click("#more")
        shows(page, [row.id for row in gallery.rows])
        page.select_option("#by-source", "1")
        settles(page, page.locator("#count").inner_text, f"{len(gallery.rows) // 2} of {len(gallery.rows)} rows")
        page.select_option("#by-source", "")
        page.select_option("#by-best", str(gallery.voices.index("mean")))
        best = [row.id for row in gallery.rows if int(np.argmax(row.cosines)) == gallery.voices.index("mean")]
        shows(page, best[:30])
        page.select_option("#by-best", "")
        until(page, "document.querySelector('#count').textContent.startsWith('44')")
        page.fill("#by-q", "RAMEN chopsticks")
        until(page, "!document.querySelector('#count').textContent.startsWith('44')")
        some = page.locator("#cards a").all_text_contents()
        assert 0 < len(some) < len(gallery.rows)
        pair = compare("near", "mean", made.run.path, made.manager.blender).comparisons[0]
        page.select_option("#by-a", label="near")
        page.select_option("#by-b", label="mean")
        until(page, "document.querySelector('#pair-note').textContent.startsWith('near − mean: ')")
        told = page.locator("#pair-note").inner_text().replace("−", "-")
        assert f"{pair.difference.mean:+.4f}" in told
        assert f"{pair.difference.low:+.4f} … {pair.difference.high:+.4f}" in told


def test_a_row_has_an_address_and_everything_works_by_keyboard(made: Made, browser: Any) -> None:
    row = made.contents.gallery.rows[14]
    with Tab(browser, made.page, hash=f"#row-{row.id}") as page:
        opened(page)
        assert page.locator("#row-title").text_content() == PROMPTS[14 - len(HOSTILE)]
        assert page.locator("#row-voices .voice").count() == 4
        until(page, "document.querySelector('#row-picture img').naturalWidth > 0")
        place = page.locator("#row-place").inner_text()
        page.keyboard.press("ArrowRight")
        until(page, f"document.querySelector('#row-place').textContent !== '{place}'")
        assert page.evaluate("location.hash") != f"#row-{row.id}"
        leave_row(page)
        assert page.evaluate("location.hash") == "#rows"
        # From the last filter on, the first card is reached by tabs and opened by the enter key.
        page.focus("#more-filters summary")
        page.keyboard.press("Tab")
        until(page, "document.activeElement === document.querySelector('#cards .card')")
        page.keyboard.press("Enter")
        opened(page)
        leave_row(page)
        until(page, "document.activeElement === document.querySelector('#cards .card')")
        page.evaluate("location.hash = '#row-nobody'")
        until(page, "document.querySelector('#count').textContent.includes('not among')")


def test_the_address_keeps_what_is_asked_for(made: Made, browser: Any) -> None:
    gallery = made.contents.gallery
    near, mean = gallery.voices.index("near"), gallery.voices.index("mean")
    lost = [row.id for row in sorted(gallery.rows, key=lambda row: round(row.cosines[near] - row.cosines[mean], 9))]
    with Tab(browser, made.page) as page:
        page.select_option("#by-sort", "lost")
        page.select_option("#by-a", label="near")
        page.select_option("#by-b", label="mean")
        shows(page, lost[:30])
        page.select_option("#by-source", label=SOURCES[0])
        page.fill("#by-q", "a & b zzz")
        until(page, "document.querySelector('#count').textContent.startsWith('0 ')")
        page.reload()
        settles(page, page.locator("#by-q").input_value, "a & b zzz")
        page.fill("#by-q", "")
        page.click("#more-filters summary")
        page.fill("#by-amin", "-0.5")
        until(page, "location.hash.includes('amin') && !location.hash.includes('zzz')")
        asked, first = page.evaluate("location.href"), hrefs_of(page)
        assert first
        page.reload()
        shows(page, first)
        assert page.evaluate("location.href") == asked
        until(page, "document.querySelector('#more-filters').open")
        page.click("nav a[href='#scores']")
        until(page, "location.hash.startsWith('#scores?') && location.hash.includes('lost')")
        page.select_option("#by-source", "")
        shows(page, lost[:30])
        page.locator("#cards a").nth(2).click()
        opened(page)
        row = page.evaluate("location.hash")
    with Tab(browser, made.page, hash=row) as page:
        opened(page)
        assert page.locator("#row-place").inner_text() == "3 of 44"
        leave_row(page)
        assert page.evaluate("location.hash").startswith("#rows?")
        shows(page, lost[:30])
        page.click("#reset")
        until(page, "location.hash === '#rows'")
    # What names nothing here is left aside.
    with Tab(browser, made.page, hash="#rows?a=nobody&sort=odd&source=nowhere&x=1") as page:
        shows(page, [row.id for row in sorted(gallery.rows, key=lambda row: row.cosines[gallery.lead])][:30])


def test_one_card_a_group(made: Made, browser: Any) -> None:
    gallery = made.contents.gallery
    assert [row.group for row in gallery.rows] == made.run.rows.group.tolist()
    worst = sorted(gallery.rows, key=lambda row: row.cosines[gallery.lead])
    leads: dict[int, str] = {}
    for row in worst:
        leads.setdefault(row.group, row.id)
    with Tab(browser, made.page) as page:
        page.check("#by-one")
        shows(page, list(leads.values())[:30])
        first = next(k for k, row in enumerate(worst) if row.group_size > 1 and row.id in hrefs_of(page))
        group = [row.id for row in worst if row.group == worst[first].group]
        assert not set(group[1:]) & set(hrefs_of(page))
        item = page.locator(f"#cards li:has(a[href='#row-{group[0]}'])")
        assert item.locator(".others").inner_text() == f"+{len(group) - 1} more"
        place, many = hrefs_of(page).index(group[0]), len(hrefs_of(page))
        item.locator(".others").click()
        settles(page, lambda: hrefs_of(page)[place : place + len(group)], group)
        assert len(hrefs_of(page)) == many + len(group) - 1
        assert f"a card for each of {len(leads)} groups" in page.locator("#count").inner_text()
        page.locator(f"#cards a[href='#row-{group[0]}']").click()
        opened(page)
        page.keyboard.press("ArrowRight")
        until(page, f"document.querySelector('#row-facts').textContent.startsWith('row {group[1]} ')")


def test_ranges_and_a_file_that_no_spreadsheet_takes_for_formulas(made: Made, browser: Any, tmp_path: Path) -> None:
    told = made.contents
    formulas = ["=1+2", "+1", "-1", "@cmd", "\t=x", 'say "a", or\nb']
    texts = [*formulas, *told.gallery.texts[len(formulas) :]]
    page_file = tmp_path / "formulas.html"
    page_file.write_bytes(run_page(replace(told, gallery=replace(told.gallery, texts=texts))))
    gallery = told.gallery
    lead, against = gallery.lead, gallery.against
    scores = sorted(row.cosines[lead] for row in gallery.rows)
    low, high = scores[5], scores[-6]
    tab = Tab(browser, page_file)
    page = tab.page
    page.click("#more-filters summary")
    page.select_option("#by-sort", "row")
    page.fill("#by-amin", str(low))
    page.fill("#by-amax", str(high))
    page.fill("#by-dmin", "0")
    expected = [
        row.id
        for row in gallery.rows
        if low <= row.cosines[lead] <= high and round(row.cosines[lead] - row.cosines[against], 9) >= 0
    ]
    assert 0 < len(expected) < 40
    until(page, f"document.querySelector('#count').textContent.startsWith('{len(expected)} of')")
    shows(page, expected[:30])
    page.select_option("#by-fold", "1")
    shows(page, [row.id for row in gallery.rows if row.id in expected and row.fold == 1][:30])
    page.click("#reset")
    page.select_option("#by-sort", "row")
    shows(page, [row.id for row in gallery.rows][:30])
    with page.expect_download() as waited:
        page.click("#save")
    kept = tmp_path / "rows.csv"
    waited.value.save_as(kept)
    assert waited.value.suggested_filename.endswith("-rows.csv")
    with kept.open(encoding="utf-8-sig", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["id"] for line in lines] == [row.id for row in gallery.rows]
    for line, row in zip(lines, gallery.rows, strict=True):
        text = texts[row.prompt]
        assert line["prompt"] == (f"'{text}" if text.lstrip()[:1] in tuple("=+-@") else text)
        assert line["source"] == gallery.sources[row.source]
        assert [float(line[name]) for name in gallery.voices] == row.cosines
        assert [float(line[f"rank {name}"]) for name in gallery.voices] == row.ranks
        assert (int(line["fold"]), int(line["group"])) == (row.fold, row.group)
    assert tab.complaints == []
    assert {url.partition(":")[0] for url in tab.requests[1:]} <= {"data", "blob"}
    page.close()


def test_tables_sort_by_their_heads(made: Made, browser: Any) -> None:
    board = judge(made.run)
    with Tab(browser, made.page) as page:
        names = (
            "[...document.querySelectorAll('[aria-label=Scores] table tbody th')].map((one) => one.textContent.trim())"
        )
        head = page.locator("[aria-label=Scores] table thead th")
        before = page.evaluate(names)
        head.first.locator("button").focus()
        page.keyboard.press("Enter")
        settles(page, lambda: page.evaluate(names), sorted(before))
        assert head.first.get_attribute("aria-sort") == "ascending"
        score = head.nth(1).locator("button")
        scores = (
            "[...document.querySelectorAll('[aria-label=Scores] table tbody td.key')].map((one) => one.textContent)"
        )
        score.click()
        falling = [shown(row.score) for row in sorted(board.rows, key=lambda row: -row.score)]
        settles(page, lambda: page.evaluate(scores), falling)
        score.click()
        settles(page, lambda: page.evaluate(scores), falling[::-1])
        assert (head.first.get_attribute("aria-sort"), head.nth(1).get_attribute("aria-sort")) == (None, "ascending")
        # What is written as 1.1M, 491.9k or < .1 is a number, and what is empty comes last.
        page.locator("[aria-label=Scores] table thead button", has_text="images a second").click()
        place = "document.querySelector('[aria-label=Scores] [aria-sort]').cellIndex"
        rows = "[...document.querySelectorAll('[aria-label=Scores] table tbody tr')]"
        speeds = [row.images_per_second for row in board.rows if not row.blend]
        settles(
            page,
            lambda: page.evaluate(f"{rows}.map((one) => one.cells[{place}].textContent)"),
            [*(quantity(speed) for speed in sorted(speeds, reverse=True)), ""],
        )


def test_after_arrows_the_card_of_the_row_has_the_focus(made: Made, browser: Any) -> None:
    with Tab(browser, made.page, width=400) as page:
        page.locator("#cards a").nth(28).click()
        opened(page)
        for k in range(4):
            page.keyboard.press("ArrowRight")
            until(page, f"document.querySelector('#row-place').textContent.startsWith('{30 + k} of')")
        leave_row(page)
        until(page, "document.activeElement === document.querySelectorAll('#cards a.card')[32]")
        # Whatever a tab stops at has a name.
        for one in page.locator("[tabindex='0'], button, input, select").all():
            if one.is_visible():
                told = one.evaluate(
                    "(one) => one.ariaLabel || one.textContent || one.labels?.[0]?.textContent || "
                    "document.getElementById(one.getAttribute('aria-labelledby'))?.textContent"
                )
                assert (told or "").strip() not in ("", "Table"), one.evaluate("(one) => one.outerHTML")
