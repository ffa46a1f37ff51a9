"""Pages of runs in a real browser: the figures are the leaderboard's, and no stranger's text runs."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from harness.cli.app import app
from harness.comparing import compare
from harness.data.images import ImageFile
from harness.errors import InputError
from harness.plugin import Context, Explanation, PluginManager, Predictor, TrainingData
from harness.report.page import charts, fold_charts, one_fit
from harness.report.page import thumbnails as small
from harness.report.page.agreement import confidences
from harness.report.page.comparison import comparison_contents
from harness.report.page.drawing import label
from harness.report.page.gallery import chosen_rows, with_words
from harness.report.page.gallery_contents import Gallery, GalleryRow, Statement
from harness.report.page.render import gallery_json, quantity, scale_of
from harness.report.page.run_page import run_page, slices_of
from harness.report.page.telling import Surroundings, bins_of, cumulative, run_contents
from harness.report.page.texts import local_name, readable, without_folders
from harness.report.page.voices import Voices
from harness.running.config import resolve_config
from harness.running.nearest import nearest_prompts
from harness.running.plan import plan_run
from harness.running.session import carry_out
from harness.scoring.cosine import Interval, group_interval, row_cosines
from harness.scoring.rank_correlation import rank_correlation
from harness.scoring.tables import shown, span
from harness.store.finding import find_run, is_busy
from harness.store.run import RunFolder
from harness.store.schema import RepeatFacts
from harness.workbench.blending import blend_run
from harness.workbench.exchange import export_run, import_run
from harness.workbench.leaderboard import judge
from harness.workbench.reporting import watch_report, write_comparison, write_report
from tests.conftest import PROMPTS, save_image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
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
    """A run with hostile prompts, its page, and that of another run against it."""

    root: Path
    run: RunFolder
    manager: PluginManager
    page: Path
    comparison: Path

    @property
    def html(self) -> str:
        return self.page.read_text(encoding="utf-8")


def carried_out(request: dict[str, Any], manager: PluginManager) -> RunFolder:
    plan = plan_run(resolve_config(request), manager)
    assert not carry_out(plan, lambda event: None).failed
    return plan.run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    root = tmp_path_factory.mktemp("page")
    with (root / "pictures.jsonl").open("w") as stream:
        for i, prompt in enumerate([*HOSTILE, *PROMPTS, *(f"{prompt}, at dawn" for prompt in PROMPTS)]):
            save_image(root / "pictures" / f"{i:02d}.png", i)
            row = {"file_name": f"{i:02d}.png", "prompt": prompt, "source": SOURCES[i % 2]}
            stream.write(json.dumps(row) + "\n")
    (root / "pictures.jsonl").rename(root / "pictures" / "metadata.jsonl")
    before = Path.cwd()
    os.chdir(root)
    try:
        manager = PluginManager(classes=[Near])
        asked = {
            **{"data": "pictures", "folds": 3, "plugins": "mean,near,far=near", "run_dir": "runs/first"},
            **{"set": {"near": {"neighbours": 3}, "far": {"neighbours": 12}}, "executor": "inline"},
        }
        run = carried_out(asked, manager)
        near = {"set": {"near": {"neighbours": 9}}, "run_dir": "runs/second", "plugins": "mean,near"}
        carried_out({**asked, **near}, manager)
        blend_run(run, manager)
        page = write_report(run, manager, root / "report.html").path
        comparison = write_comparison("runs/first", "second", manager, root / "comparison.html").path
        yield Made(root, run, manager, page, comparison)
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


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
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if page.evaluate(f"(() => {{ try {{ return Boolean({holds}); }} catch {{ return false; }} }})()"):
            return
        page.wait_for_timeout(30)
    raise AssertionError(f"it never held that {holds}")


# -- what it tells -----------------------------------------------------------------------------------


def contents(made: Made) -> Any:
    around = Surroundings(judge(made.run), nearest_prompts, made.manager.blender, made.manager.predictors)
    return run_contents(made.run, around, rows=1000)[0]


def test_figures_are_those_of_leaderboard_blend_and_comparison(made: Made) -> None:
    told, board = contents(made), judge(made.run)
    assert [(row.plugin, row.score, row.ci_low) for row in told.board.rows] == [
        (row.plugin, row.score, row.ci_low) for row in board.rows
    ]
    for row in board.rows:
        assert shown(row.score) in made.html
        assert shown(row.ci_low) in made.html
    blend = told.blend
    for name, weight in blend.document.weights.items():
        assert f"{weight:.3f}" in made.html, name
    assert sum(blend.contributions.shapley.values()) == pytest.approx(blend.document.nested_score)
    for pair in told.pairs:
        (known,) = compare(pair.a, pair.b, made.run.path, made.manager.blender).comparisons
        assert (known.difference, known.won) == (pair.difference, pair.won)


def test_folds_histograms_and_curves_are_of_the_stored_files(made: Made) -> None:
    told, run = contents(made), made.run
    for name, member in run.members.items():
        found = told.fold_scores[name]
        assert [one.mean for one in found] == pytest.approx([record.score for record in run.records(member)])
        here = run.rows.fold == 1
        assert found[1] == group_interval(Voices.of(run).column(name)[here], run.rows.group[here])
    assert sum(told.law.nearest.counts) == told.law.compared == len(run.rows.ids)
    assert told.law.highest < told.law.threshold == run.folds.threshold
    assert told.law.nearest.edges[-1] >= told.law.threshold
    assert [one.purged for one in told.law.folds] == run.document.folds.purged
    for name, one in told.spread.items():
        column = Voices.of(run).column(name)
        assert one.cosines == pytest.approx(np.unique(column), abs=1e-5)
        assert one.shares == pytest.approx([(column <= value).mean() for value in np.unique(column)])
        assert one.at(0.5) == pytest.approx(np.quantile(column, 0.5, method="inverted_cdf"), abs=1e-5)
    curves = [curve for curve in told.curves if curve.member == "far"]
    assert [curve.fold for curve in curves] == [0, 1, 2]
    assert {(curve.stage, curve.quantity) for curve in curves} == {("head", "loss")}
    assert [(point.step, point.value) for point in curves[0].points] == [(k, 1.0 / k) for k in range(1, 21)]
    assert "far, head: loss" in made.html


def test_what_a_sceptic_needs_stands_beside_the_figures(made: Made) -> None:
    told, html = contents(made), made.html
    for row in told.board.rows[1:]:
        gap = row.behind_leader
        assert f"{shown(gap.mean)} ({span(gap.ci_low, gap.ci_high)})" in html.replace("−", "-")
    # What is lost without a member stands before its Shapley value, and that is said to be counted from 0.
    assert 0 < html.index("lost without it (95 % interval)") < html.index(">Shapley value<")
    assert "what mean says, the same of every row, has a share" in html
    # Weights of folds are points, and no line that could be taken for an interval.
    blend = html[html.index('id="blend"') : html.index('id="pairs"')]
    assert 'class="small"' in blend
    assert "whisker" not in blend
    assert "Correlation of row scores" in html
    assert "Correlation of errors" not in html
    assert "law of the folds" not in html
    assert "features of the same backbone are computed once and shared" in html


def test_intervals_are_said_to_be_of_one_fit(made: Made) -> None:
    facts = RepeatFacts(seeds=[0, 1], scores=[0.4, 0.5], sd=0.0707, models=6, average=Interval(0.5).facts())
    assert "harness run --repeats" in one_fit.of_run({"near": None}, trained=True)
    assert "of 2 seeds the scores moved by (standard deviation) near ± 0.0707." in one_fit.of_run(
        {"mean": None, "near": facts}, trained=True
    )
    assert one_fit.of_run({"near": None}, trained=False) == ""
    assert one_fit.of_run({"mean": None}, trained=True) in made.html
    assert one_fit.of_runs(made.run)[0] in made.comparison.read_text()


def test_the_rank_of_the_truth_stands_in_a_table_and_with_each_row(made: Made) -> None:
    told = contents(made)
    data = json.loads(made.html.split('id="gallery-data">')[1].split("</script>")[0])
    run, voices = made.run, Voices.of(made.run)
    k = told.gallery.voices.index("blend")
    cosines = voices.predictions("blend", np.arange(44)) @ np.unique(run.targets, axis=0).T
    expected = 1 + (cosines > voices.column("blend")[:, None] + 1e-5).sum(axis=1)
    assert [row["rank"][k] for row in data["rows"]] == expected.tolist()
    table = made.html[made.html.index("If the prompt had to be found") :]
    assert f"{np.median(expected):g}</b>" in table[: table.index("</table>")]
    assert len(told.finding.voices) == 4


def test_shades_are_of_one_members_scores(made: Made) -> None:
    told = contents(made)
    low, high = told.board.rows[-1].slices, told.board.rows[0].slices
    weak = told.board.rows[-1].model_copy(update={"slices": {name: value - 0.5 for name, value in low.items()}})
    slices = slices_of(replace(told, board=replace(told.board, rows=[*told.board.rows[:-1], weak])))
    shades = {source["name"]: [cell["shade"] for cell in source["cells"]] for source in slices["sources"]}
    assert len(shades) == 2
    assert shades[max(high, key=high.get)][0] == shades[max(low, key=low.get)][-1] == 1.0
    assert shades[min(high, key=high.get)][0] == shades[min(low, key=low.get)][-1] == 0.0


def test_agreement_is_that_of_members_that_do_not_say_the_same_of_every_row(made: Made) -> None:
    told, run = contents(made), made.run
    assert told.constant == ["mean"]
    near, far = (run.predictions(run.members[name]).astype(np.float64) for name in ("near", "far"))
    cosines = row_cosines(near, far)
    assert [row.disagreement for row in told.gallery.rows] == pytest.approx(1.0 - cosines, abs=6e-5)
    assert {one.name for one in told.calibrations} == {"blend", "near", "far"}
    for one in told.calibrations:
        expected = rank_correlation(cosines, Voices.of(run).column(one.name), run.rows.group)
        assert one.rank_correlation.mean == pytest.approx(expected.mean, abs=1e-6)
        assert one.rank_correlation.ends == pytest.approx(expected.ends, abs=1e-6)
    blend = told.calibrations[[one.name for one in told.calibrations].index("blend")]
    first = np.argsort(cosines, kind="stable")[:5]
    lowest = group_interval(Voices.of(run).column("blend")[first], run.rows.group[first])
    assert (blend.points[0].n, blend.points[0].score.mean) == (5, pytest.approx(lowest.mean))
    assert blend.points[0].score.ends == pytest.approx(lowest.ends)
    assert "Left out, as predicting (nearly) the same for all rows of a fold: mean." in made.html
    open_to_both = replace(told.calibrations[0], rank_correlation=Interval(-0.4, -0.9, 0.1))
    drawn = charts.calibration([open_to_both], told.gallery.voices, [])
    assert "not shown by these rows (rank correlation −0.40, 95 % interval over groups −0.90 … +0.10)" in drawn.says
    clear = replace(told.calibrations[0], rank_correlation=Interval(0.05, 0.01, 0.09))
    assert "agree more, the score is higher" in charts.calibration([clear], told.gallery.voices, []).says


def test_rows_say_what_members_predicted_in_prompts_of_their_own_fold(made: Made) -> None:
    gallery, run = contents(made).gallery, made.run
    assert [row.id for row in gallery.rows] == list(run.rows.ids)
    near = gallery.voices.index("near")
    cosines = row_cosines(run.prediction_rows(run.members["near"]), run.targets)
    shown_prompts = [readable(prompt) for prompt in run.rows.prompts]
    for i, row in enumerate(gallery.rows):
        assert row.cosines[near] == pytest.approx(cosines[i], abs=5e-5)
        allowed = {shown_prompts[j] for j in run.folds.training_rows(row.fold)}
        for statement in [*row.nearest, *(one for said in row.said for one in said)]:
            assert gallery.texts[statement.text] in allowed
        assert row.nearest[0].cosine == pytest.approx(row.nearest_cosine, abs=1e-4)
    voices = Voices.of(run)
    rows = np.arange(len(run.rows.ids))
    blended = voices.predictions("blend", rows)
    assert np.einsum("ij,ij->i", blended, run.targets) == pytest.approx(voices.column("blend"), abs=1e-5)


def test_steps_of_many_values_are_steps_of_all() -> None:
    values = np.random.default_rng(0).normal(size=30_000)
    found = cumulative(values)
    assert 300 < len(found.cosines) <= 400
    assert found.shares == pytest.approx([(values <= one).mean() for one in found.cosines], abs=2e-4)
    assert (found.cosines[0], found.cosines[-1]) == pytest.approx((values.min(), values.max()), abs=1e-5)
    assert np.diff(found.shares).max() < 0.004


def test_folds_are_points_with_intervals_and_bins_say_their_rows(made: Made) -> None:
    told = contents(made)
    drawn = charts.by_fold(told.fold_scores, told.gallery.voices)
    one = told.fold_scores["near"][0]
    near = next(row for row in drawn.rows if row[0] == "near")
    assert near[1] == f"{one.mean:.4f} ({one.low:.4f} … {one.high:.4f})"
    many = {f"v{k}": told.fold_scores["near"] for k in range(30)}
    assert len(charts.by_fold(many, list(many)).legend) == 20
    assert re.search(r">(\d+) rows?<", made.html[made.html.index("nearest training prompt<") - 9000 :])


@pytest.mark.parametrize(("n", "limit"), [(10, 10), (1000, 100), (101, 100), (500, 7)])
def test_a_sample_has_the_worst_the_best_and_what_moved(n: int, limit: int) -> None:
    rng = np.random.default_rng(n)
    scores, moved, apart = rng.normal(size=(3, n))
    rows = chosen_rows(n, limit, scores, moved, apart)
    assert len(rows) == len(set(rows.tolist())) == min(n, limit)
    assert {scores.argmin(), scores.argmax(), moved.argmin(), moved.argmax(), apart.argmax()} <= set(rows.tolist())


def test_thumbnails_are_made_once_an_image_and_fit(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:

    files = [ImageFile(made.root / "pictures" / f"{i:02d}.png") for i in range(4)]
    pictures = [file.digest() for file in files]
    both = small.thumbnails([0, 1, 0, 2], lambda row: files[row], pictures)
    assert (both.number, len(both.pictures), both.missing) == ([0, 1, 0, 2], 3, 0)
    other = small.thumbnails([0, 1], lambda row: files[row], [pictures[1], pictures[1]])
    assert (other.number, other.changed) == ([None, None], 2)  # the first that shows it speaks for all
    assert small.thumbnails([0], None, pictures).number == [None]
    big = [ImageFile(made.root / f"big{i}.png") for i in range(6)]
    for i, file in enumerate(big):
        noise = np.random.default_rng(i).integers(0, 256, size=(400, 400, 3), dtype=np.uint8)
        from PIL import Image

        Image.fromarray(noise).save(file.path)
    monkeypatch.setattr(small, "MOST_BYTES", 40_000)
    fitted = small.thumbnails(range(6), lambda row: big[row], None)
    assert 10_000 < sum(map(len, fitted.pictures)) <= 40_000


# -- texts from strangers ----------------------------------------------------------------------------


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
    told = contents(made)
    odd = replace(
        told, path="/runs/\ud800", gallery=replace(told.gallery, texts=["\udfff" for _ in told.gallery.texts])
    )
    assert run_page(odd).decode("utf-8").startswith("<!DOCTYPE html>")


def test_hostile_prompts_are_text_and_nothing_else(made: Made, browser: Any) -> None:
    with Tab(browser, made.page, width=400) as page:
        page.select_option("#by-sort", "row")
        found = page.locator("#cards .prompt").all_text_contents()[: len(HOSTILE)]
        assert found == [readable(prompt) for prompt in HOSTILE]
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
    tab.page.wait_for_timeout(100)
    assert tab.page.evaluate("typeof window.pwned") == "undefined"
    assert any("Content Security Policy" in complaint for complaint in tab.complaints)
    tab.page.close()


# -- in a browser ------------------------------------------------------------------------------------


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
    gallery = contents(made).gallery
    lead, against = gallery.lead, gallery.against
    with Tab(browser, made.page) as page:
        hrefs = "[...document.querySelectorAll('#cards a')].map((one) => one.getAttribute('href').slice(5))"

        def expected(key: Any) -> list[str]:
            return [row.id for row in sorted(gallery.rows, key=key)][:30]

        assert page.evaluate(hrefs) == expected(lambda row: row.cosines[lead])
        page.select_option("#by-sort", "gained")
        assert page.evaluate(hrefs) == expected(lambda row: round(row.cosines[against] - row.cosines[lead], 9))
        page.select_option("#by-sort", "disagreement")
        assert page.evaluate(hrefs) == expected(lambda row: -row.disagreement)
        page.select_option("#by-sort", "row")
        page.click("#more")
        assert len(page.evaluate(hrefs)) == len(gallery.rows)
        page.select_option("#by-source", "1")
        assert page.locator("#count").inner_text() == f"{len(gallery.rows) // 2} of {len(gallery.rows)} rows"
        page.select_option("#by-source", "")
        page.select_option("#by-best", str(gallery.voices.index("mean")))
        best = [row.id for row in gallery.rows if int(np.argmax(row.cosines)) == gallery.voices.index("mean")]
        assert page.evaluate(hrefs) == best[:30]
        page.select_option("#by-best", "")
        page.fill("#by-q", "RAMEN chopsticks")
        until(page, "!document.querySelector('#count').textContent.startsWith('44')")
        some = page.locator("#cards a").all_text_contents()
        assert 0 < len(some) < len(gallery.rows)
        pair = compare("near", "mean", made.run.path, made.manager.blender).comparisons[0]
        page.select_option("#by-a", label="near")
        page.select_option("#by-b", label="mean")
        told = page.locator("#pair-note").inner_text().replace("−", "-")
        assert f"{pair.difference.mean:+.4f}" in told
        assert f"{pair.difference.low:+.4f} … {pair.difference.high:+.4f}" in told


def test_a_row_has_an_address_and_everything_works_by_keyboard(made: Made, browser: Any) -> None:
    row = contents(made).gallery.rows[14]
    with Tab(browser, made.page, hash=f"#row-{row.id}") as page:
        assert page.evaluate("document.querySelector('#row').open")
        assert page.locator("#row-title").text_content() == PROMPTS[14 - len(HOSTILE)]
        assert page.locator("#row-voices .voice").count() == 4
        assert page.locator("#row-picture img").evaluate("(one) => one.complete && one.naturalWidth > 0")
        place = page.locator("#row-place").inner_text()
        page.keyboard.press("ArrowRight")
        until(page, f"document.querySelector('#row-place').textContent !== '{place}'")
        assert page.evaluate("location.hash") != f"#row-{row.id}"
        page.keyboard.press("Escape")
        until(page, "!document.querySelector('#row').open")
        until(page, "location.hash === '#rows'")
        # From the last filter on, the first card is reached by tabs and opened by the enter key.
        page.focus("#more-filters summary")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "card"
        page.keyboard.press("Enter")
        until(page, "document.querySelector('#row').open")
        page.keyboard.press("Escape")
        until(page, "document.activeElement.className === 'card'")
        page.evaluate("location.hash = '#row-nobody'")
        until(page, "document.querySelector('#count').textContent.includes('not among')")


def hrefs_of(page: Any) -> list[str]:
    return page.evaluate(
        "[...document.querySelectorAll('#cards a.card')].map((one) => one.getAttribute('href').slice(5))"
    )


def test_the_address_keeps_what_is_asked_for(made: Made, browser: Any) -> None:
    gallery = contents(made).gallery
    near, mean = gallery.voices.index("near"), gallery.voices.index("mean")
    lost = [row.id for row in sorted(gallery.rows, key=lambda row: round(row.cosines[near] - row.cosines[mean], 9))]
    with Tab(browser, made.page) as page:
        page.select_option("#by-sort", "lost")
        page.select_option("#by-a", label="near")
        page.select_option("#by-b", label="mean")
        assert hrefs_of(page) == lost[:30]
        page.select_option("#by-source", label=SOURCES[0])
        page.fill("#by-q", "a & b zzz")
        until(page, "document.querySelector('#count').textContent.startsWith('0 ')")
        page.reload()
        assert page.locator("#by-q").input_value() == "a & b zzz"
        page.fill("#by-q", "")
        page.click("#more-filters summary")
        page.fill("#by-amin", "-0.5")
        until(page, "location.hash.includes('amin')")
        asked, first = page.evaluate("location.href"), hrefs_of(page)
        page.reload()
        assert (page.evaluate("location.href"), hrefs_of(page)) == (asked, first)
        assert page.locator("#more-filters").evaluate("(one) => one.open")
        page.click("nav a[href='#scores']")
        until(page, "location.hash.startsWith('#scores?') && location.hash.includes('lost')")
        page.select_option("#by-source", "")
        page.locator("#cards a").nth(2).click()
        until(page, "document.querySelector('#row').open")
        row = page.evaluate("location.hash")
    with Tab(browser, made.page, hash=row) as page:
        until(page, "document.querySelector('#row').open")
        assert page.locator("#row-place").inner_text() == "3 of 44"
        page.keyboard.press("Escape")
        until(page, "location.hash.startsWith('#rows?')")
        assert hrefs_of(page)[:3] == lost[:3]
        page.click("#reset")
        until(page, "location.hash === '#rows'")
    # What names nothing here is left aside.
    with Tab(browser, made.page, hash="#rows?a=nobody&sort=odd&source=nowhere&x=1") as page:
        assert (
            hrefs_of(page) == [row.id for row in sorted(gallery.rows, key=lambda row: row.cosines[gallery.lead])][:30]
        )


def test_one_card_a_group(made: Made, browser: Any) -> None:
    gallery = contents(made).gallery
    assert [row.group for row in gallery.rows] == made.run.rows.group.tolist()
    worst = sorted(gallery.rows, key=lambda row: row.cosines[gallery.lead])
    leads: dict[int, str] = {}
    for row in worst:
        leads.setdefault(row.group, row.id)
    with Tab(browser, made.page) as page:
        page.check("#by-one")
        assert hrefs_of(page) == list(leads.values())[: len(hrefs_of(page))]
        assert len(hrefs_of(page)) >= min(len(leads), 24)
        first = next(k for k, row in enumerate(worst) if row.group_size > 1 and row.id in hrefs_of(page))
        group = [row.id for row in worst if row.group == worst[first].group]
        assert not set(group[1:]) & set(hrefs_of(page))
        item = page.locator(f"#cards li:has(a[href='#row-{group[0]}'])")
        assert item.locator(".others").inner_text() == f"+{len(group) - 1} more"
        place, many = hrefs_of(page).index(group[0]), len(hrefs_of(page))
        item.locator(".others").click()
        assert hrefs_of(page)[place : place + len(group)] == group
        assert len(hrefs_of(page)) == many + len(group) - 1
        assert f"a card for each of {len(leads)} groups" in page.locator("#count").inner_text()
        page.locator(f"#cards a[href='#row-{group[0]}']").click()
        until(page, "document.querySelector('#row').open")
        page.keyboard.press("ArrowRight")
        until(page, f"document.querySelector('#row-facts').textContent.startsWith('row {group[1]} ')")
        page.keyboard.press("Escape")


def test_ranges_and_a_file_that_no_spreadsheet_takes_for_formulas(made: Made, browser: Any) -> None:
    told = contents(made)
    formulas = ["=1+2", "+1", "-1", "@cmd", "\t=x", 'say "a", or\nb']
    texts = [*formulas, *told.gallery.texts[len(formulas) :]]
    page_file = made.root / "formulas.html"
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
    assert hrefs_of(page) == expected[:30]
    page.select_option("#by-fold", "1")
    assert hrefs_of(page) == [row.id for row in gallery.rows if row.id in expected and row.fold == 1][:30]
    page.click("#reset")
    page.select_option("#by-sort", "row")
    with page.expect_download() as waited:
        page.click("#save")
    kept = made.root / "rows.csv"
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


@pytest.fixture(scope="module")
def explained(made: Made) -> Path:
    return write_report(made.run, made.manager, made.root / "explained.html", explain=True).path


def in_page(path: Path) -> dict[str, Any]:
    found = re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', path.read_text(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


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
        page.wait_for_selector("dialog[open]")
        said = page.locator("dialog .own .stranger").all_text_contents()
        assert len(said) == 6
        assert all(text.startswith("<b>like ") for text in said)
        page.keyboard.press("Escape")
        page.locator("input[type=search]").first.fill(said[0])
        until(page, "document.querySelectorAll('#cards li').length < 5")
        assert page.locator("#cards li").count() >= 1


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
        assert page.evaluate(names) == sorted(before)
        assert head.first.get_attribute("aria-sort") == "ascending"
        score = head.nth(1).locator("button")
        scores = (
            "[...document.querySelectorAll('[aria-label=Scores] table tbody td.key')].map((one) => one.textContent)"
        )
        score.click()
        assert page.evaluate(scores) == [shown(row.score) for row in sorted(board.rows, key=lambda row: -row.score)]
        score.click()
        assert page.evaluate(scores) == [shown(row.score) for row in sorted(board.rows, key=lambda row: row.score)]
        assert (head.first.get_attribute("aria-sort"), head.nth(1).get_attribute("aria-sort")) == (None, "ascending")
        # What is written as 1.1M, 491.9k or < .1 is a number, and what is empty comes last.
        page.locator("[aria-label=Scores] table thead button", has_text="images a second").click()
        place = "document.querySelector('[aria-label=Scores] [aria-sort]').cellIndex"
        rows = "[...document.querySelectorAll('[aria-label=Scores] table tbody tr')]"
        found = page.evaluate(f"{rows}.map((one) => one.cells[{place}].textContent)")
        speeds = [row.images_per_second for row in board.rows if not row.blend]
        assert found == [*(quantity(speed) for speed in sorted(speeds, reverse=True)), ""]


def test_after_arrows_the_card_of_the_row_has_the_focus(made: Made, browser: Any) -> None:
    with Tab(browser, made.page, width=400) as page:
        page.locator("#cards a").nth(28).click()
        until(page, "document.querySelector('#row').open")
        for k in range(4):
            page.keyboard.press("ArrowRight")
            until(page, f"document.querySelector('#row-place').textContent.startsWith('{30 + k} of')")
        page.keyboard.press("Escape")
        until(page, "document.activeElement === document.querySelectorAll('#cards a.card')[32]")
        # Whatever a tab stops at has a name.
        for one in page.locator("[tabindex='0'], button, input, select").all():
            if one.is_visible():
                told = one.evaluate(
                    "(one) => one.ariaLabel || one.textContent || one.labels?.[0]?.textContent || "
                    "document.getElementById(one.getAttribute('aria-labelledby'))?.textContent"
                )
                assert (told or "").strip() not in ("", "Table"), one.evaluate("(one) => one.outerHTML")


def test_a_page_that_renews_itself_leaves_the_reader_alone(made: Made, browser: Any) -> None:
    told = contents(made)
    file = made.root / "renewed.html"
    file.write_bytes(run_page(replace(told, going_on=True)).replace(b'data-refresh="10"', b'data-refresh="1"'))
    with Tab(browser, file) as page:
        page.evaluate("window.first = true")
        page.select_option("#by-sort", "row")
        page.click("#more")
        page.locator("#cards a").nth(35).click()
        until(page, "document.querySelector('#row').open")
        page.wait_for_timeout(1500)
        assert page.evaluate("window.first && document.querySelector('#row').open")
        # Nor while something is typed.
        page.evaluate("""() => {
            const dialog = document.querySelector('#row');
            dialog.addEventListener('close', () => document.querySelector('#by-q').focus());
            dialog.close();
        }""")
        page.wait_for_timeout(1200)
        assert page.evaluate("window.first")
        with page.expect_event("load"):
            place = page.evaluate("""() => {
                document.activeElement.blur();
                document.querySelectorAll('#cards li')[35].scrollIntoView({ behavior: 'instant' });
                return scrollY;
            }""")
        assert not page.evaluate("window.first")
        assert page.evaluate("document.querySelector('#by-sort').value") == "row"
        until(page, "document.querySelectorAll('#cards li').length === 44")
        until(page, f"Math.abs(scrollY - {place}) < 300")


def test_no_page_says_where_on_the_machine_things_are(made: Made) -> None:
    for page in (made.page, made.comparison):
        assert str(made.root) not in page.read_text()
        assert str(made.root.parent) not in page.read_text()
    assert '<td dir="auto">pictures</td>' in made.html
    away = made.root / "elsewhere-again"
    away.mkdir()
    os.chdir(away)
    try:
        run = RunFolder(made.run.path.resolve() if made.run.path.is_absolute() else made.root / made.run.path)
        write_report(run, made.manager, away / "report.html")
    finally:
        os.chdir(made.root)
    assert str(made.root) not in (away / "report.html").read_text()
    assert "from first." in (away / "report.html").read_text()


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


# -- runs of every kind ------------------------------------------------------------------------------


def copy_of(made: Made, name: str) -> RunFolder:
    target = made.root / "runs" / name
    shutil.copytree(made.run.path, target)
    return RunFolder(target)


def test_without_a_blend_and_with_one_member(made: Made, browser: Any) -> None:
    run = copy_of(made, "alone")
    (run.path / "blend.json").unlink()
    write_report(run, made.manager, made.root / "unblended.html")
    assert "No blend was learned yet" in (made.root / "unblended.html").read_text()
    document = run.document
    run.update(document.model_copy(update={"members": {"near": document.members["near"]}}))
    write_report(RunFolder(run.path), made.manager, made.root / "alone.html")
    assert "One member alone" in (made.root / "alone.html").read_text()
    for name in ("unblended.html", "alone.html"):
        with Tab(browser, made.root / name, width=400) as page:
            page.locator("#cards a").first.click()


def test_of_an_imported_run_without_prompts_and_images(made: Made, browser: Any) -> None:
    export_run(made.run, made.root / "run.zip")
    run = import_run(made.root / "run.zip", made.root / "elsewhere" / "run")
    document = run.document
    moved = document.dataset.model_copy(update={"location": "/nowhere"})
    gone = document.config.model_copy(update={"data": "/nowhere"})
    run.update(document.model_copy(update={"dataset": moved, "config": gone}))
    report = write_report(RunFolder(run.path), made.manager, made.root / "imported.html")
    assert any("not at hand" in note for note in report.notes)
    assert any("without its prompts" in note for note in report.notes)
    with Tab(browser, report.path, width=400) as page:
        assert page.locator("#cards .blank").count() == 30
        assert page.locator("#cards img").count() == 0


def test_an_image_that_was_changed_since_is_not_shown(made: Made) -> None:
    file = made.root / "pictures" / "20.png"
    before = file.read_bytes()
    try:
        save_image(file, 999)
        report = write_report(made.run, made.manager, made.root / "changed.html")
    finally:
        file.write_bytes(before)
    assert "1 row without an image, 1 of them since the image is not the one that the run saw." in report.notes


def test_of_a_run_that_goes_on(made: Made, browser: Any) -> None:
    run = copy_of(made, "going-on")
    member = run.members["near"]
    task = run.task_folder("near", 1, member.keys[1])
    task.rename(made.root / "aside")
    pages = []

    def wait(seconds: float) -> None:
        (made.root / "aside").rename(task)

    watched = watch_report(run, made.manager, made.root / "watched.html", say=lambda one: pages.append(
        one.path.read_text()), wait=wait)  # fmt: skip
    assert len(pages) == 1
    assert '<meta http-equiv="refresh" content="10">' in pages[0]
    assert "8 of 9 tasks are done" in pages[0]
    assert "near</b> is not ranked" in pages[0]
    last = watched.path.read_text()
    assert 'http-equiv="refresh"' not in last
    assert watched.finished
    (made.root / "first.html").write_text(pages[0])
    with Tab(browser, made.root / "first.html", width=400):
        pass


def test_a_watched_run_that_was_left_is_told_of_and_let_go(made: Made) -> None:
    run = copy_of(made, "left")
    member = run.members["near"]
    run.task_folder("near", 1, member.keys[1]).rename(made.root / "never")
    pages: list[str] = []
    waited: list[float] = []

    def watched(wait: Any) -> Any:
        say = lambda one: pages.append(one.path.read_text())  # noqa: E731
        return watch_report(run, made.manager, made.root / "left.html", say=say, wait=wait)

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


def test_a_picture_that_is_gone_or_damaged_costs_its_own_row(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.root / "pictures", tmp_path / "pictures")
    run = copy_of(made, "moved")
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


def test_a_note_names_no_folder_of_the_machine(made: Made) -> None:
    told = contents(made)
    gallery = replace(told.gallery, notes=["near: the saved model /home/somebody/runs/model cannot be loaded"])
    page = run_page(replace(told, gallery=gallery)).decode()
    assert "/home/somebody" not in page
    assert "…/model" in page


def test_long_names_that_begin_alike_are_told_apart() -> None:
    assert label("m" * 41) != label("m" * 40 + "k")
    assert len(label("m" * 100)) == 40
    assert label("m" * 40) == "m" * 40


def test_with_a_test_set_and_repeats(made: Made, browser: Any) -> None:
    asked = {
        "data": "pictures",
        "test": "pictures",
        "folds": 2,
        "plugins": "mean,near",
        "run_dir": "runs/tested",
        "executor": "inline",
    }
    from harness.running.plan import plan_repeats

    plan = plan_run(resolve_config({**asked, "repeats": 2}), made.manager)
    for one in (plan, *plan_repeats(plan)):
        assert not carry_out(one, lambda event: None).failed
    blend_run(plan.run, made.manager)
    report = write_report(plan.run, made.manager, made.root / "tested.html", rows=20, assets=True)
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


def test_of_two_runs_the_rows_that_moved_most(made: Made, browser: Any) -> None:
    found = compare("runs/first", "runs/second", None, made.manager.blender)
    pair = next(one for one in found.comparisons if one.a == "near")
    text = made.comparison.read_text()
    main = comparison_told(made, "runs/first", "runs/second").comparisons[0]
    assert shown(pair.difference.mean, True).replace("-", "−") in text
    header = text[: text.index("<nav")]
    assert re.search(r"near\.neighbours</th><td>3</td><td>9</td>", header)
    with Tab(browser, made.comparison) as page:
        changes = [abs(float(one.replace("−", "-"))) for one in page.locator("#cards .change").all_text_contents()]
        assert changes == sorted(changes, reverse=True)
        assert changes[0] > 0
        page.locator("#cards a").first.click()
        until(page, "document.querySelector('#row').open")
        names = page.locator("#row-voices .voice h4 span").all_text_contents()
        assert sorted(names) == sorted(
            {f"A · {main.a}", f"B · {main.b}", "A · near", "B · near", "A · mean", "B · mean"}
        )


def comparison_told(made: Made, a: str, b: str) -> Any:
    found = compare(a, b, None, made.manager.blender)
    return comparison_contents(found, None, nearest_prompts, rows=100)[0]


def test_the_best_of_each_side_lead_however_little_they_differ(made: Made) -> None:
    asked = {"data": "pictures", "folds": 3, "executor": "inline"}
    first = {"set": {"near": {"neighbours": 24}, "far": {"neighbours": 1}}, "plugins": "near,far=near"}
    second = {"set": {"near": {"neighbours": 25}, "far": {"neighbours": 9}}, "plugins": "near,far=near"}
    third = {"set": {"other": {"neighbours": 25}, "far": {"neighbours": 9}}, "plugins": "other=near,far=near"}
    for k, own in enumerate((first, second, third)):
        carried_out({**asked, **own, "run_dir": f"runs/side{k}"}, made.manager)
    told = comparison_told(made, "runs/side0", "runs/side1")
    main, far = told.comparisons
    assert (main.a, main.b, far.a, far.b) == ("near", "near", "far", "far")
    assert abs(main.difference.mean) < abs(far.difference.mean)
    # The best of each side have no name in common: they are compared all the same.
    told = comparison_told(made, "runs/side0", "runs/side2")
    assert [(one.a, one.b) for one in told.comparisons] == [("near", "other"), ("far", "far")]
    assert told.comparisons[0].difference == main.difference
    assert told.gallery.voices == ["A · near", "B · other", "A · far", "B · far"]
    # `mean` leads in both of these and is the same on every row, which leaves nothing to see.
    assert judge(RunFolder(Path("runs/second"))).rows[0].plugin == "mean"
    assert comparison_told(made, "runs/first", "runs/second").comparisons[0].tied < 1.0


def test_tied_rows_are_on_neither_side(made: Made) -> None:
    drawn = fold_charts.differences(bins_of(np.array([-0.02, 0.01]), -0.02, 0.02, 0.01), 3)
    assert "3 rows with the same score on both sides are not drawn" in drawn.says
    assert drawn.rows[-1] == ["the same", "3"]


def test_of_two_members(made: Made) -> None:
    report = write_comparison("blend", "blend:uniform", made.manager, made.root / "two.html", run_dir=made.run.path)
    assert "blend against blend:uniform" in report.path.read_text()


# -- the command -------------------------------------------------------------------------------------


def test_the_command_writes_a_page_and_says_so(made: Made, tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    answer = CliRunner().invoke(app, ["report", "first", "--out", str(page), "--rows", "10", "--json"])
    told = json.loads(answer.stdout)
    assert told["rows"] == 10
    assert told["of_rows"] == 44
    assert told["bytes"] == page.stat().st_size
    answer = CliRunner().invoke(app, ["report", "first", "second", "near", "--out", str(page)])
    assert isinstance(answer.exception, InputError)
    answer = CliRunner().invoke(app, ["report", "first", "second", "--watch", "--out", str(page)])
    assert isinstance(answer.exception, InputError)


def test_what_is_wrong_is_said(made: Made, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run here"):
        find_run(tmp_path)
    with pytest.raises(InputError, match="--rows 0"):
        write_report(made.run, made.manager, tmp_path / "a.html", rows=0)
    with pytest.raises(InputError, match="--out"):
        write_report(made.run, made.manager, tmp_path)
    assert find_run("first").path == Path("runs/first")
    assert find_run(None).exists


def test_measured_values_are_finite_and_bounded(tmp_path: Path) -> None:
    context = Context(tmp_path)
    context.measured("head", 1, loss=float("inf"))
    assert context.history == []
    for step in range(5000):
        context.measured("head", step, loss=step)
    assert len(context.history) <= 500
    assert context.history[-1] == ("head", 4999, {"loss": 4999.0})
    steps = [step for _, step, _ in context.history]
    assert steps == sorted(steps)


def test_a_scale_has_room_for_all(made: Made) -> None:
    scale = scale_of([0.1, 0.11, None], zero=True)
    assert scale.low <= 0 < 0.11 <= scale.high
    assert scale_of([0.5, 0.5]).low < 0.5 < scale_of([0.5, 0.5]).high
    assert scale_of([], zero=True).low < scale_of([]).high
