"""The figures on the page of a run are those of the leaderboard, the blend, comparisons and the stored files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.comparing import compare
from harness.plugin import Context
from harness.report.page import charts, one_fit
from harness.report.page.gallery import chosen_rows
from harness.report.page.render import scale_of
from harness.report.page.run_page import slices_of
from harness.report.page.telling import cumulative
from harness.report.page.texts import readable
from harness.report.page.voices import Voices
from harness.scoring.cosine import Interval, group_interval, row_cosines
from harness.scoring.rank_correlation import rank_correlation
from harness.scoring.tables import shown, span
from harness.store.schema import RepeatFacts
from harness.workbench.leaderboard import judge
from tests.report.pages import (
    Made,
)

pytestmark = pytest.mark.xdist_group("page")


def test_figures_are_those_of_leaderboard_blend_and_comparison(made: Made) -> None:
    told, board = made.contents, judge(made.run)
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
    told, run = made.contents, made.run
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
    told, html = made.contents, made.html
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
    told = made.contents
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
    told = made.contents
    low, high = told.board.rows[-1].slices, told.board.rows[0].slices
    weak = told.board.rows[-1].model_copy(update={"slices": {name: value - 0.5 for name, value in low.items()}})
    slices = slices_of(replace(told, board=replace(told.board, rows=[*told.board.rows[:-1], weak])))
    shades = {source["name"]: [cell["shade"] for cell in source["cells"]] for source in slices["sources"]}
    assert len(shades) == 2
    assert shades[max(high, key=high.get)][0] == shades[max(low, key=low.get)][-1] == 1.0
    assert shades[min(high, key=high.get)][0] == shades[min(low, key=low.get)][-1] == 0.0


def test_agreement_is_that_of_members_that_do_not_say_the_same_of_every_row(made: Made) -> None:
    told, run = made.contents, made.run
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
    gallery, run = made.contents.gallery, made.run
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
    told = made.contents
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


def test_a_scale_has_room_for_all(made: Made) -> None:
    scale = scale_of([0.1, 0.11, None], zero=True)
    assert scale.low <= 0 < 0.11 <= scale.high
    assert scale_of([0.5, 0.5]).low < 0.5 < scale_of([0.5, 0.5]).high
    assert scale_of([], zero=True).low < scale_of([]).high


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
