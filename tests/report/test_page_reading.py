"""What the making of a page reads and searches: each file once, each row scored once, one search a fold."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.comparing import compare, pairing
from harness.data import images
from harness.errors import InputError
from harness.plugin import Explanation, PluginManager
from harness.report.page import gallery, telling
from harness.report.page.agreement import constant_members, members_problem
from harness.report.page.comparison import comparison_contents
from harness.report.page.finding import finding
from harness.report.page.gallery_contents import Gallery
from harness.report.page.thumbnails import Thumbnails
from harness.report.page.voices import Voices
from harness.running.config import resolve_config
from harness.running.nearest import nearest_prompts
from harness.running.plan import plan_run
from harness.running.session import carry_out
from harness.store import run as store
from harness.store.run import BLEND, RunFolder
from harness.workbench.blending import blend_run
from tests.conftest import PROMPTS, save_image
from tests.report.runs import REQUEST, make_pictures, make_run


@pytest.fixture(scope="module")
def blended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A run of three members with a blend, and one of two of them."""
    root = tmp_path_factory.mktemp("reading")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        make_pictures(root / "pictures")
        run = make_run(REQUEST, "runs/first")
        blend_run(run, PluginManager())
        make_run({**REQUEST, "plugins": "mean,knn", "set": {"knn": {"neighbours": 7}}}, "runs/second")
        yield RunFolder(root / "runs/first")


def test_each_prediction_file_is_opened_once(blended: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    voices = Voices.of(blended)
    opened: Counter[Path] = Counter()
    read = store.read_predictions
    monkeypatch.setattr(store, "read_predictions", lambda folder, key: opened.update([folder]) or read(folder, key))
    again = Voices.of(blended)
    files = {
        blended.task_folder(name, fold, key) for name, m in blended.members.items() for fold, key in m.keys.items()
    }
    assert opened == dict.fromkeys(files, 1)
    constant_members(again)
    rows = np.arange(len(blended.rows.ids))
    finding(again, rows)
    # Also where the sums of the members are not kept yet.
    for kept in sorted((blended.path / "gram").rglob("*"), reverse=True):
        kept.rmdir() if kept.is_dir() else kept.unlink()
    assert members_problem(again, []) is not None
    assert opened == dict.fromkeys(files, 1)
    # And what is read from them is what lies in the run.
    for name, member in blended.members.items():
        assert np.array_equal(again.predictions(name, rows), blended.predictions(member))
    blend = again.predictions(BLEND, rows)
    assert np.einsum("ij,ij->i", blend, blended.targets) == pytest.approx(voices.column(BLEND), abs=1e-6)


def test_a_member_that_says_the_same_of_every_row_is_found(blended: RunFolder) -> None:
    assert constant_members(Voices.of(blended)) == ["mean"]


def test_a_member_that_was_damaged_since_is_named(blended: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(blended.path, tmp_path / "copy")
    run = RunFolder(tmp_path / "copy")
    voices = Voices.of(run)
    name = max(voices.blend.fold_weights[0], key=voices.blend.fold_weights[0].get)
    file = run.task_folder(name, 0, run.members[name].keys[0]) / "ids.json"
    file.write_text(file.read_text() + " ")
    voices = Voices.of(run)
    assert (name in voices.names, BLEND in voices.names) == (False, True), (
        "its sums are kept, which are of the predictions alone"
    )
    with pytest.raises(InputError, match=file.name):
        voices.predictions(BLEND, np.arange(len(run.rows.ids)))


@pytest.mark.parametrize("sides", [("runs/first", "runs/second"), ("runs/first:blend", "runs/first:knn")])
def test_each_side_of_a_comparison_is_scored_once(
    blended: RunFolder, sides: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(blended.path.parent.parent)
    scored: Counter[tuple[Path, str]] = Counter()
    score = pairing._named_scores
    monkeypatch.setattr(
        pairing, "_named_scores", lambda run, name, *more: scored.update([(run.path, name)]) or score(run, name, *more)
    )
    found = compare(*sides)
    told, _ = comparison_contents(found, None, nearest_prompts, rows=100)
    assert set(scored.values()) == {1}
    expected = {(found.a.run.path, pair.a) for pair in told.comparisons}
    assert expected | {(found.b.run.path, pair.b) for pair in told.comparisons} <= set(scored)
    # What the rows are told to predict is what their run holds of it.
    for place, name in enumerate(told.gallery.voices):
        side, own = name.split(" · ")
        run = {"A": found.a.run, "B": found.b.run}[side]
        shown = {row.id: row.cosines[place] for row in told.gallery.rows}
        column = Voices.of(run).column(own)
        assert shown == pytest.approx(dict(zip(run.rows.ids, column.tolist(), strict=True)), abs=1e-4)
        assert all(row.said[place] for row in told.gallery.rows)


@pytest.mark.parametrize("together", [65_536, 12])
def test_nearest_prompts_of_all_columns_are_looked_for_at_once(
    blended: RunFolder, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "_TOGETHER", together)
    asked: list[tuple[int, int]] = []

    def nearest(run: RunFolder, vectors: np.ndarray, count: int, fold: int) -> list[list[Explanation]]:
        asked.append((fold, len(vectors)))
        return nearest_prompts(run, vectors, count, fold)

    voices, n = Voices.of(blended), len(blended.rows.ids)
    made = gallery.make_gallery(voices, n, None, nearest, None).gallery
    assert all(size <= max(together, len(voices.names) + 1) for _, size in asked)
    assert sum(size for _, size in asked) == n * (len(voices.names) + 1)
    if together > 1000:
        assert [fold for fold, _ in asked] == [0, 1, 2]
    columns = [voices.predictions(name, np.arange(n)) for name in voices.names]
    for i, row in enumerate(made.rows):
        told = [*zip(columns, row.said, [gallery.SAID] * len(columns), strict=True)]
        for vectors, said, count in [*told, (blended.targets, row.nearest, gallery.NEAREST)]:
            (expected,) = nearest_prompts(blended, vectors[i : i + 1], count, row.fold)
            assert [made.texts[one.text] for one in said] == [one.text for one in expected]
            assert [one.cosine for one in said] == pytest.approx([one.score for one in expected], abs=1e-4)


def test_what_has_the_same_bytes_is_not_decoded_to_see_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_image(tmp_path / "a.png", 1)
    image = images.ImageFile(tmp_path / "a.png")
    digest = image.digest()
    monkeypatch.setattr(images, "check_whole", lambda data, name: pytest.fail("it is decoded"))
    assert images.shows(image, digest)
    assert not images.shows(image, "0" * 32)
    image.path.write_bytes(image.path.read_bytes()[:-10])
    assert not images.shows(image, digest)
    image.path.unlink()
    with pytest.raises(InputError, match=r"a\.png"):
        images.shows(image, digest)


def test_members_are_asked_about_what_could_be_shown() -> None:
    empty = Gallery(voices=[], lead=0, against=None, rows=[], texts=[], sources=[], thumbnails=[], total=3)
    made = gallery.Made(empty, np.array([4, 6, 9]), Thumbnails([b"one"], [0, None, 0], 1, 0))
    said = [[Explanation("caption", "of 4", 0.5)], [Explanation("caption", "of 9", 0.5)]]
    asked: list[list[int]] = []
    words, silent = telling._own_words(
        lambda rows: asked.append(rows.tolist()) or ({"near": said}, {"far": "no"}), made
    )
    assert asked == [[4, 9]]
    assert (dict(words), silent) == ({"near": [said[0], (), said[1]]}, {"far": "no"})


OWN_READER = """
from harness.plugin import Row, hookimpl


class Listed:
    name, looks_for, recommended_threshold = "listed", "a listed.txt", None

    def matches(self, location):
        return (location / "listed.txt").is_file()

    def read(self, location):
        for i, prompt in enumerate((location / "listed.txt").read_text().splitlines()):
            yield Row(id=f"{i:02d}", image=location.parent / "pictures" / f"{i:02d}.png", texts=(prompt,))


@hookimpl
def harness_register_datasets(register):
    register(Listed())
"""


@pytest.fixture(scope="module")
def own_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs on data that only their plugin file can read."""
    root = tmp_path_factory.mktemp("own")
    (root / "listed.py").write_text(OWN_READER)
    make_pictures(root / "pictures")
    data = root / "data"
    data.mkdir()
    (data / "listed.txt").write_text("\n".join(PROMPTS))
    asked = {"data": str(data), "folds": 3, "plugin_files": [str(root / "listed.py")], "executor": "inline"}
    for name, plugins in {"one": "mean,knn", "two": "knn"}.items():
        config = resolve_config({**asked, "plugins": plugins, "run_dir": str(root / "runs" / name)})
        assert not carry_out(plan_run(config, PluginManager([root / "listed.py"])), lambda event: None).failed
    return root


def shown(page: Path) -> tuple[int, int]:
    """How many rows a page has with their image, and without."""
    found = re.search(r'id="gallery-data">(.*?)</script>', page.read_text(), re.DOTALL)
    rows = json.loads(found[1])["rows"]
    without = sum(row["i"] is None for row in rows)
    return len(rows) - without, without


def test_a_run_finds_the_plugin_file_it_was_made_with(own_reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own_reader)
    for command in (["one"], ["one", "two"], ["one", "--plugin-file", "listed.py"]):
        answer = CliRunner().invoke(app, ["report", *command, "--out", "page.html"], catch_exceptions=False)
        assert answer.exit_code == 0
        assert shown(own_reader / "page.html") == (len(PROMPTS), 0), command


def test_a_page_says_why_it_has_no_images(own_reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own_reader)

    def told(*runs: str) -> str:
        answer = CliRunner().invoke(app, ["report", *runs, "--out", "page.html", "--json"], catch_exceptions=False)
        assert shown(own_reader / "page.html") == (0, len(PROMPTS))
        (note,) = [note for note in json.loads(answer.stdout)["notes"] if "not at hand" in note]
        page = html.unescape((own_reader / "page.html").read_text())
        bare = note.replace(f"{own_reader}/", "").replace(f"{own_reader} ", f"…/{own_reader.name} ")
        assert bare in page, "without the folders above"
        return note

    (own_reader / "listed.py").rename(own_reader / "away.py")
    for runs in (["one"], ["one", "two"]):
        assert "no data set was recognised" in told(*runs)
    (own_reader / "listed.py").write_text("raise ValueError('broken since')")
    assert "broken since" in told("one", "two")
    (own_reader / "away.py").replace(own_reader / "listed.py")
    (own_reader / "data").rename(own_reader / "elsewhere")
    assert f"{own_reader / 'data'}" in told("one")
    (own_reader / "data").mkdir()
    save_image(own_reader / "data" / "other.png", 1)
    (own_reader / "data" / "metadata.csv").write_text("file_name,prompt\nother.png,another\n")
    assert "none of the run's rows" in told("one")
