"""The web pages of published leaderboards: the documents' figures, strangers' text as text, and nothing fetched."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.report import phrases
from harness.report.markdown import markdown
from harness.report.published_page import Axis, index, page, page_name
from harness.report.reading import Published, published_in, read_published
from harness.report.site import check_site, write_site
from harness.store.published import PublishedDocument
from tests.report.conftest import Shelf
from tests.report.test_published import FOLDER, HERE, tables

HOSTILE = """<script>alert("1")</script>'" onload> {{ 7*7 }} &amp; </style>"""


class Reader(HTMLParser):
    """What a page is made of: its tags with their attributes, its tables as text, and all of its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.text, self._inside = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag in ("td", "th", "style"):
            self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.text += data
        if self._inside in ("td", "th"):
            self.tables[-1][-1][-1] += data

    @property
    def rows(self) -> list[list[list[str]]]:
        """The tables' rows without their heads, with single spaces."""
        return [[[single_spaced(cell) for cell in row] for row in table[1:]] for table in self.tables]


def single_spaced(text: str) -> str:
    """Leave narrow spaces, which stand between digits, where they are."""
    return re.sub(r"[ \n]+", " ", text).strip(" ")


def cells(row: dict[str, str]) -> set[str]:
    """The figures of a row of the Markdown table."""
    return {re.sub(r"`|\\\*", "", cell).strip() for cell in row.values()} - {""}


def check_figures(document: PublishedDocument, text: str) -> None:
    """Hold the page to the Markdown table: the same figures, row by row."""
    pages, markdowns = Reader(text).rows, tables(markdown(document))
    distances = markdowns[3:]
    by_source = [pages[3 + len(distances)]] if document.rows[0].slices else []
    assert len(pages) == 3 + len(distances) + len(by_source)
    for found, wanted in zip(pages, markdowns, strict=False):
        assert len(found) == len(wanted)
        for cells_found, row in zip(found, wanted, strict=True):
            there = {cell.replace("\u202f", "") for cell in cells_found}
            there |= {cell.removesuffix(" *").replace(" * (", " (") for cell in there}
            sources = {name for name in row if any(name in one.slices for one in document.rows)}
            missing = cells({name: cell for name, cell in row.items() if name not in sources}) - there
            assert not missing, (missing, there)
    for row in document.rows:
        for source, score in row.slices.items():
            names = {line[0]: line for table in by_source for line in table}
            assert phrases.figure(score) in names.get(source, names.get(row.plugin, []))


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
def test_the_pages_here_have_the_documents_figures(path: Path) -> None:
    check_figures(read_published(path).document, path.with_name(page_name(path.stem)).read_text())


def test_the_pages_here_are_what_the_documents_give() -> None:
    checked = check_site(FOLDER)
    assert {one.path.name for one in checked} == {"index.html", *(f"{path.stem}.html" for path in HERE)}
    assert [one for one in checked if one.state != "same"] == []


def test_a_page_is_published_with_the_document(shelf: Shelf) -> None:
    text = shelf.published.path.with_suffix(".html").read_text()
    assert text == page(shelf.published.document, shelf.published.path.stem)
    check_figures(shelf.published.document, text)
    assert str(shelf.root) not in text


def changed(change: Callable[[dict[str, Any]], None], path: Path = HERE[0]) -> PublishedDocument:
    content = json.loads(path.read_text())
    change(content)
    return PublishedDocument.parse(content, "it")


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
def test_warnings_stand_on_the_page_as_in_the_table(path: Path) -> None:
    document = read_published(path).document
    text, table = " ".join(Reader(page(document, "x")).text.split()), markdown(document)
    for words in (phrases.SYNTHETIC_SO, phrases.OUT_OF_DOMAIN, phrases.TIED, *phrases.document_doubts(document)):
        assert (words in text) == (words in table), words
    behind = [phrases.behind(row) for row in document.rows if row.tied_with_leader]
    assert all(f"≈ {word.removeprefix('≈ ')}" in text for word in behind)


def test_prompts_that_the_encoder_hardly_tells_apart_are_marked() -> None:
    def alike(content: dict[str, Any]) -> None:
        content["dataset"]["texts"]["notes"] = ["the prompts are all alike <b>"]
        content["rows"][0]["prompts_alike"] = True

    document = changed(alike)
    text = Reader(page(document, "x")).text
    assert "The prompts are all alike <b>." in " ".join(text.split()) or "‡ the prompts are all alike <b>." in text
    assert text.count("‡") >= 2
    assert "all alike" in Reader(index([Published(Path("x.json"), document)])).text


def hostile(content: dict[str, Any], name: str) -> None:
    """Put a name wherever a stranger's text can stand."""
    old = content["rows"][-1]["plugin"]
    content["rows"][-1] |= {"plugin": name, "predictor": name, "distribution": name, "config": {name: name}}
    content["rows"][-1]["version"] = name
    asked = content["config"]["plugins"]
    content["config"]["plugins"] = [name if item.partition("=")[0] == old else item for item in asked]
    for row in content["rows"]:
        row["slices"][name] = 0.5
    for blend in content["blends"]:
        blend["weights"] = {name if key == old else key: value for key, value in blend["weights"].items()}
        blend["method"] = name
    content["config"]["data"] = content["dataset"]["name"] = content["commands"]["run"] = name
    content["incomplete"] = {name + "2": name}
    content["versions"][name] = name


ALLOWED = re.compile(
    "html|head|meta|title|style|body|nav|main|section|footer|h[123]|p|a|b|i|bdi|sup|span|small|dl|div|dt|dd|table|thead|"
    "tbody|tr|th|td|svg|line|circle|text|pre|code|details|summary"
)


def check_harmless(text: str) -> Reader:
    read = Reader(text)
    for tag, attributes in read.tags:
        assert ALLOWED.fullmatch(tag), tag
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in ("src", "srcset")
            assert name != "href" or re.fullmatch(r"\./[\w.~%-]+", value or ""), value
            assert name != "style" or re.fullmatch(r"--share: [\d.]+", value or ""), value
    assert "url(" not in text
    assert "@import" not in text
    return read


@pytest.mark.parametrize(
    "name", [HOSTILE, "<!--", "]]>", "</pre></bdi>", "../../etc", "javascript:alert(1)", "\u202eevil"]
)
def test_text_of_strangers_stays_text(name: str) -> None:
    document = changed(lambda content: hostile(content, name))
    read = check_harmless(page(document, name))
    assert name in read.rows[0][-1][1]
    assert read.text.count(name) > 10
    assert name in check_harmless(index([Published(Path("x.json"), document)])).text


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


@settings(max_examples=50)
@given(NAMES.filter(lambda text: "=" not in text))
def test_any_name_is_a_name(name: str) -> None:
    assume(name not in {row["plugin"] for row in json.loads(HERE[0].read_text())["rows"]})
    document = changed(lambda content: hostile(content, name))
    read = check_harmless(page(document, name))
    assert len(read.rows[0]) == len(document.rows)
    assert single_spaced(name) in read.rows[0][-1][1]


def test_what_has_no_interval_and_what_was_not_blended_has_a_page() -> None:
    def bare(content: dict[str, Any]) -> None:
        content["rows"] = content["rows"][:1]
        content["config"]["plugins"] = [item for item in content["config"]["plugins"] if item.startswith("knn_mid")]
        content["rows"][0] |= {"ci_low": None, "ci_high": None, "slices": {}, "by_distance": [], "by_overlap": []}
        content["blends"] = []

    document = changed(bare)
    read = check_harmless(page(document, "x"))
    assert "Blends" not in read.text
    ((row,),) = read.rows
    assert row[:6] == ["1", "knn_mid (knn)", phrases.figure(document.rows[0].score), "", "–", ""]
    check_harmless(index([Published(Path("x.json"), document)]))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_all_that_is_drawn_lies_on_the_axis(values: list[float]) -> None:
    axis = Axis.of([(value, value - 1e-3, None) for value in values])
    for at in [*(at for at, _ in axis.ticks), *(axis.at(value) for value in values)]:
        assert 0.0 <= float(at.removesuffix("%")) <= 100.0
    assert 2 <= len(axis.ticks) <= 6
    labels = [label for _, label in axis.ticks]
    assert len(set(labels)) == len(labels)


# -- a folder of them ----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two documents and their pages."""
    for path in HERE[:2]:
        shutil.copy(path, tmp_path / path.name)
    write_site(tmp_path)
    return tmp_path


def links(folder: Path) -> set[str]:
    read = Reader((folder / "index.html").read_text())
    return {attributes["href"] or "" for tag, attributes in read.tags if tag == "a"}


def states(path: Path) -> dict[str, str]:
    return {one.path.name: one.state for one in check_site(path)}


def test_the_index_lists_exactly_what_is_there(folder: Path) -> None:
    one, other = (folder / path.name for path in HERE[:2])
    assert links(folder) == {f"./{one.stem}.html", f"./{other.stem}.html"}
    assert set(states(folder).values()) == {"same"}

    one.rename(folder / "renamed it.json")
    assert states(folder) == {
        "index.html": "differs",
        "renamed it.html": "missing",
        f"{other.stem}.html": "same",
        f"{one.stem}.html": "stray",
    }
    write_site(folder)
    assert links(folder) == {"./renamed%20it.html", f"./{other.stem}.html"}
    stray = [check for check in check_site(folder) if check.state != "same"]
    assert [(check.path.name, check.state) for check in stray] == [(f"{one.stem}.html", "stray")]
    assert "delete it" in stray[0].mend


def test_a_page_that_was_edited_or_is_old_is_found(folder: Path) -> None:
    one, other = (folder / path.name for path in HERE[:2])
    target = folder / f"{one.stem}.html"
    score = phrases.figure(read_published(one).document.rows[0].score)
    target.write_text(target.read_text().replace(score, "0.9999"))
    document = json.loads(other.read_text())
    document["rows"][0]["fit_seconds"] += 1
    other.write_text(json.dumps(document))
    found = {check.path.name: check for check in check_site(folder)}
    assert {name: check.state for name, check in found.items()} == {
        "index.html": "same", f"{one.stem}.html": "differs", f"{other.stem}.html": "differs",
    }  # fmt: skip
    assert f"harness leaderboard --site {folder}" in found[target.name].mend
    assert states(one) == {target.name: "differs"}
    write_site(folder)
    assert set(states(folder).values()) == {"same"}


def test_a_folder_without_pages_is_none(folder: Path) -> None:
    for file in folder.glob("*.html"):
        file.unlink()
    assert check_site(folder) == []
    assert check_site(folder / HERE[0].name) == []


def test_a_strangers_index_is_no_page_of_ours(folder: Path) -> None:
    for file in folder.glob("*.html"):
        file.unlink()
    (folder / "index.html").write_text("<p>my own</p>")
    assert check_site(folder) == []


def test_a_strangers_file_is_not_replaced(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    mine = folder / f"{HERE[1].stem}.html"
    mine.write_text("<h1>mine</h1>")
    with pytest.raises(InputError, match=re.escape(f"{mine}: it was not written by")):
        write_site(folder)
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert after == before | {mine.name: b"<h1>mine</h1>"}
    assert [check.mend.split(":")[0] for check in check_site(folder) if check.state != "same"] == [
        "it is no page of the harness"
    ]


def test_a_strangers_index_stops_publishing_before_anything_is_written(shelf: Shelf, tmp_path: Path) -> None:
    from tests.report.runs import publish_run

    (tmp_path / "index.html").write_text("my home page")
    with pytest.raises(InputError, match="move it away"):
        publish_run(shelf.run, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]


def test_a_document_that_cannot_be_read_gets_no_page_and_is_named(folder: Path) -> None:
    (folder / "damaged.json").write_text("{")
    site = write_site(folder)
    assert [path.name for path in site.pages] == [f"{path.stem}.html" for path in HERE[:2]]
    assert "damaged.json" in site.left_out[0]
    for path in folder.glob("d*.json"):
        path.write_text("{")
    with pytest.raises(InputError, match="there is no published leaderboard here"):
        write_site(folder)


def test_data_called_index_keeps_the_index(folder: Path) -> None:
    (folder / HERE[0].name).rename(folder / "Index.json")
    write_site(folder)
    assert "./index.leaderboard.html" in links(folder)
    assert (folder / "index.leaderboard.html").is_file()
    assert len(published_in(folder)) == 2


# -- in a browser --------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_ask_for_nothing(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    for path in HERE:
        shutil.copy(path, tmp_path / path.name)
    document = changed(lambda content: hostile(content, "a_name_without_any_space_that_is_very_long_" * 4))
    document.write(tmp_path / "long.json")
    write_site(tmp_path)
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    shown = context.new_page()
    heard: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: heard.append(message.text))
    shown.on("pageerror", lambda error: heard.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    files = sorted(tmp_path.glob("*.html"))
    for file in files:
        shown.goto(file.as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") <= width, file.name
        dark = sum(map(int, re.findall(r"\d+", shown.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]))
        assert (dark < 200) == (scheme == "dark")
    assert heard == []
    assert asked == [file.as_uri() for file in files]
    shown.goto((tmp_path / "index.html").as_uri())
    shown.click(f"a[href='./{HERE[0].stem}.html']")
    shown.wait_for_url(re.compile(re.escape(f"/{HERE[0].stem}.html")))
    assert read_published(HERE[0]).document.config.data in shown.text_content("h1")
    drawn = shown.locator(".members td.drawn svg").first.bounding_box()
    assert drawn["width"] > 80
    context.close()
