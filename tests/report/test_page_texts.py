"""Strangers' texts on a page are text and nothing else, and no page says where on the machine things are."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.page.drawing import label
from harness.report.page.gallery_contents import Gallery
from harness.report.page.render import gallery_json
from harness.report.page.run_page import run_page
from harness.report.page.texts import local_name, readable, without_folders
from harness.workbench.reporting import write_report
from tests.report.pages import (
    HOSTILE,
    SOURCES,
    Made,
    Tab,
    rows_in,
    settles,
    until,
)

pytestmark = pytest.mark.xdist_group("page")


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_becomes_one_that_a_page_can_hold(text: str) -> None:
    told = readable(text)
    told.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", told)
    assert readable(told) == told or len(text) > 1500


@given(st.lists(st.text(st.characters(exclude_categories=())), min_size=1))
def test_no_text_ends_the_script_element_that_holds_it(texts: list[str]) -> None:
    gallery = Gallery(["a"], 0, None, [], [readable(text) for text in texts], [], [], 0)
    told = str(gallery_json(gallery, [], 0.7))
    assert not set(told) & set("<>&\u2028\u2029")
    assert json.loads(told)["texts"] == [readable(text) for text in texts]


def test_half_a_surrogate_pair_anywhere_breaks_no_page(made: Made) -> None:
    told = made.contents

    def page(half: str, path: str) -> str:
        texts = [f"text {k}, {half} and more" for k in range(len(told.gallery.texts))]
        written = run_page(replace(told, path=path, gallery=replace(told.gallery, texts=texts))).decode("utf-8")
        return re.sub(r"\bc\d+-([td])\b", r"c-\1", written)  # charts are numbered on and on

    odd = page("\udfff", "/runs/\ud800mine")
    assert "from /runs/\ufffdmine." in odd
    assert rows_in(odd)["texts"][1] == "text 1, ? and more"
    assert odd == page("?", "/runs/\ufffdmine")  # and nothing else is another


def test_hostile_prompts_are_text_and_nothing_else(made: Made, browser: Any) -> None:
    with Tab(browser, made.page, width=400) as page:
        page.select_option("#by-sort", "row")
        settles(
            page,
            lambda: page.locator("#cards .prompt").all_text_contents()[: len(HOSTILE)],
            [readable(prompt) for prompt in HOSTILE],
        )
        assert page.locator("#cards b").count() == page.locator("#cards .score > b").count()  # none of a prompt's
        assert SOURCES[0] in page.locator("#by-source").inner_text()
        widths = page.evaluate(
            "[...document.querySelectorAll('#cards li')].map((one) => one.scrollWidth - one.clientWidth)"
        )
        assert set(widths) == {0}
        for i in range(len(HOSTILE)):
            page.evaluate(f"location.hash = '#row-{made.run.rows.ids[i]}'")
            until(page, f"document.querySelector('#row').dataset.row === '{i}'")
            assert page.locator("#row-title").text_content() == readable(HOSTILE[i])
            until(page, "document.querySelector('#row-picture img').naturalWidth > 0")  # which widens it
            assert page.evaluate(
                "document.querySelector('#row').scrollWidth <= document.querySelector('#row').clientWidth"
            )


def test_nothing_but_the_pages_own_script_may_run(made: Made, browser: Any) -> None:
    tab = Tab(browser, made.page)
    tab.page.evaluate("""() => {
        const one = document.createElement('div');
        one.innerHTML = '<img src="data:," onerror="window.pwned = 5">';
        document.body.append(one);
        const script = document.createElement('script');
        script.textContent = 'window.pwned = 6';
        document.body.append(script);
    }""")
    settles(tab.page, lambda: sum("Content Security Policy" in complaint for complaint in tab.complaints), 2)
    tab.page.wait_for_timeout(100)
    assert tab.page.evaluate("typeof window.pwned") == "undefined"
    tab.page.close()


def test_long_names_that_begin_alike_are_told_apart() -> None:
    assert label("m" * 41) != label("m" * 40 + "k")
    assert len(label("m" * 100)) == 40
    assert label("m" * 40) == "m" * 40


def test_no_page_says_where_on_the_machine_things_are(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for page in (made.page, made.comparison):
        assert str(made.root) not in page.read_text()
        assert str(made.root.parent) not in page.read_text()
    assert '<td dir="auto">pictures</td>' in made.html
    monkeypatch.chdir(tmp_path)
    away = write_report(made.run, made.manager, tmp_path / "report.html").path.read_text()
    assert str(made.root) not in away
    assert "from first." in away


def test_paths_are_cut_and_nothing_else() -> None:
    assert (
        without_folders("harness run --data /home/me/data/cats --x=/a/b.csv") == "harness run --data …/cats --x=…/b.csv"
    )
    assert (
        without_folders("cannot read '~/data/x.png', nor C:\\Users\\me\\y.png") == "cannot read '…/x.png', nor …/y.png"
    )
    for same in ("https://example.org/a/b", "and/or 57 / 43 %", "runs/first/near", "all-MiniLM-L6-v2:53aa"):
        assert without_folders(same) == same
    assert without_folders(f"in {Path.cwd()}/runs/one") == "in runs/one"
    assert (local_name("/home/me/data"), local_name("data/cats")) == ("data", "data/cats")


def test_a_note_names_no_folder_of_the_machine(made: Made) -> None:
    told = made.contents
    gallery = replace(told.gallery, notes=["near: the saved model /home/somebody/runs/model cannot be loaded"])
    page = run_page(replace(told, gallery=gallery)).decode()
    assert "/home/somebody" not in page
    assert "…/model" in page
