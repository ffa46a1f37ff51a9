"""Scores by distance to the nearest training prompt: by hand with pandas, and the mixtures made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.errors import InputError
from harness.scoring.cosine import group_interval, row_cosines
from harness.scoring.distance import BINS, EDGES, OVERLAPS, Distances
from harness.scoring.leaderboard import leaderboard
from harness.store.run import RunFolder
from harness.workbench.run import Run
from tests.conftest import Harness
from tests.data.synthetic import unit
from tests.ensemble.problems import write_run


def sample(n: int = 900, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest cosine, score and group of rows; nearer rows score higher, and rows of a group are alike."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 150, n)
    nearest = np.clip(rng.normal(0.6, 0.15, 150)[groups] + rng.normal(0, 0.03, n), 0, 0.95).astype(np.float32)
    cosines = 0.2 + 0.6 * nearest + rng.normal(0, 0.1, 150)[groups] + rng.normal(0, 0.05, n)
    return nearest, cosines.astype(np.float64), groups


def frame(nearest: np.ndarray, cosines: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    edges = [-np.inf, *EDGES, np.inf]
    bins = pd.cut(nearest.astype(np.float64), edges, right=False, labels=False)
    return pd.DataFrame({"bin": bins, "cosine": cosines, "group": groups})


def test_bins_are_those_of_pandas() -> None:
    nearest, cosines, groups = sample()
    nearest[:4] = EDGES  # in float32 .6 and .7 lie just above the edge, .8 too
    table = frame(nearest, cosines, groups)
    found = Distances(nearest, groups).scores(cosines).by_distance
    by_hand = table.groupby("bin").agg(n=("cosine", "size"), score=("cosine", "mean"), groups=("group", "nunique"))
    assert [one.n for one in found] == by_hand["n"].tolist()
    assert [one.groups for one in found] == by_hand["groups"].tolist()
    assert [one.score for one in found] == pytest.approx(by_hand["score"].tolist())
    assert [one.share for one in found] == pytest.approx((by_hand["n"] / len(table)).tolist())
    assert [(one.low, one.high) for one in found] == [(None, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, None)]
    for b, one in enumerate(found):
        rows = table[table.bin == b]
        interval = group_interval(rows.cosine.to_numpy(), rows.group.to_numpy())
        assert (one.ci_low, one.ci_high) == pytest.approx(interval.ends)
        sizes = rows.groupby("group").size()
        assert one.few == (sizes.sum() ** 2 / (sizes**2).sum() < 20)


def test_the_bins_sum_to_the_score_and_the_shares_seen_give_it_back() -> None:
    nearest, cosines, groups = sample()
    distances = Distances(nearest, groups)
    found = distances.scores(cosines).by_distance
    assert sum(one.n * one.score for one in found if one.score) == pytest.approx(cosines.sum())
    here = distances.expected(cosines, [one.share for one in found])
    assert here is not None
    assert here.mean == pytest.approx(cosines.mean())


def test_a_mixture_is_that_of_the_bins_and_its_interval_that_of_drawn_groups() -> None:
    nearest, cosines, groups = sample()
    table = frame(nearest, cosines, groups)
    means = table.groupby("bin").cosine.mean()
    others = table[table.bin < BINS - 1]
    for share, one in zip(OVERLAPS, Distances(nearest, groups).scores(cosines).by_overlap, strict=True):
        by_hand = (1 - share) * others.cosine.mean() + share * means[BINS - 1]
        assert one.score == pytest.approx(by_hand)
        assert one.shares is not None
        assert sum(one.shares) == pytest.approx(1.0)
        assert one.shares[-1] == share
        # Whole groups drawn with replacement, the mean of each bin computed anew.
        rng = np.random.default_rng(0)
        sums = table.pivot_table(index="group", columns="bin", values="cosine", aggfunc="sum", fill_value=0.0)
        sizes = table.pivot_table(index="group", columns="bin", values="cosine", aggfunc="count", fill_value=0)
        drawn = rng.integers(0, len(sums), (2000, len(sums)))
        draws = (sums.to_numpy()[drawn].sum(axis=1) / sizes.to_numpy()[drawn].sum(axis=1)) @ np.array(one.shares)
        assert one.ci_low is not None
        assert one.ci_high is not None
        assert (one.ci_high - one.ci_low) / 2 == pytest.approx(1.96 * draws.std(), rel=0.2)


def test_an_empty_bin_has_no_score_and_neither_has_what_needs_it() -> None:
    nearest, cosines, groups = sample()
    below = nearest < 0.7
    distances = Distances(nearest[below], groups[below], 0.3)
    found = distances.scores(cosines[below])
    assert [one.score is None for one in found.by_distance] == [False, False, False, True, True]
    assert (found.by_distance[-1].n, found.by_distance[-1].share, found.by_distance[-1].few) == (0, 0.0, False)
    assert [one.score is None for one in found.by_overlap] == [False, True, True, True, True]
    assert found.by_overlap[0].score == pytest.approx(cosines[below].mean())


def test_only_rows_that_were_compared_count() -> None:
    nearest, cosines, groups = sample()
    whole = Distances(nearest[::2], groups[::2]).scores(cosines[::2])
    nearest[1::2] = np.nan
    assert Distances(nearest, groups).scores(cosines) == whole
    nothing = Distances(np.full(900, np.nan, np.float32), groups).scores(cosines)
    assert [one.score for one in nothing.by_distance] == [None] * BINS
    assert [one.score for one in nothing.by_overlap] == [None] * len(OVERLAPS)


def test_a_test_set_of_its_own_is_told_last() -> None:
    nearest, cosines, groups = sample()
    shares = [0.1, 0.1, 0.2, 0.2, 0.4]
    means = frame(nearest, cosines, groups).groupby("bin").cosine.mean()
    assert Distances(nearest, groups, shares).scores(cosines).by_overlap[-1].score == pytest.approx(means @ shares)
    quarter = Distances(nearest, groups, 0.25).scores(cosines).by_overlap
    assert (len(quarter), quarter[-1]) == (5, quarter[2])


@pytest.mark.parametrize("overlap", [1.2, -0.1, float("nan"), [0.5, 0.5], [0.5, 0.5, 0.5, 0, 0], []])
def test_what_is_no_share_is_refused(overlap: object) -> None:
    nearest, _, groups = sample()
    with pytest.raises(InputError, match="overlap"):
        Distances(nearest, groups, overlap)  # type: ignore[arg-type]


# -- of a run ------------------------------------------------------------------------------------


def run_of(folder: Path, threshold: float = 0.95) -> tuple[RunFolder, np.ndarray]:
    """A run on targets of which some lie near others, and the cosines of its better member."""
    rng = np.random.default_rng(5)
    base = rng.normal(size=(60, 384))
    targets = unit(np.concatenate([base, base[:30] + 0.6 * rng.normal(size=(30, 384)), rng.normal(size=(30, 384))]))
    views = {
        name: (targets + noise * rng.normal(size=targets.shape) / 20).astype(np.float32)
        for name, noise in (("good", 1.0), ("bad", 3.0))
    }
    folds = {"threshold": threshold}
    return write_run(folder, views, targets, folds=folds, sources=["a", "b"] * 60), row_cosines(views["good"], targets)


def test_the_leaderboard_has_it_for_members_and_the_blend(tmp_path: Path, harness: Harness) -> None:
    run, cosines = run_of(tmp_path / "run")
    document = harness("leaderboard", "--run-dir", run.path, "--json").json
    assert document["blend"] is None
    table = frame(run.nearest, cosines, run.rows.group)
    for b, one in enumerate(document["rows"][0]["by_distance"]):
        rows = table[table.bin == b]
        assert one["n"] == len(rows)
        assert one["score"] == (pytest.approx(rows.cosine.mean()) if len(rows) else None)
    blend = Run(run).blend("simplex")
    told = Run(run).leaderboard(overlap=0.2)
    assert told.blend is not None
    scores = [one.n * one.score for one in told.blend.by_distance if one.score is not None]
    assert sum(scores) / 120 == pytest.approx(blend.nested_score)
    assert harness("leaderboard", "--run-dir", run.path, "--overlap", "0.2", "--json").json == told.document()
    text, html = str(told), told._repr_html_()
    for words in ("nearest training prompt", "from 0.8", "blend", "asked for"):
        assert words in text
        assert words in html


def test_it_is_printed_and_what_cannot_be_told_is_said(tmp_path: Path, harness: Harness) -> None:
    run, _ = run_of(tmp_path / "run", threshold=0.7)
    shown = harness("leaderboard", "--run-dir", run.path)
    lines = [line.split() for line in shown.out.splitlines() if line.strip().startswith("good")]
    assert len(lines) == 3, "the leaderboard, the bins, the test sets"
    assert "prompts of cosine 0.7 or more are held out together or purged" in shown.out
    quick = leaderboard(run, by_distance=False)
    assert quick.rows[0].by_distance == []
    assert quick.distance_tables() == []
    refused = harness("leaderboard", "--run-dir", run.path, "--overlap", "much")
    assert (refused.code, refused.out) == (2, "")
    assert "--overlap much" in refused.err


def test_drawbench_at_a_high_threshold(real_data: Path, tmp_path: Path, harness: Harness) -> None:
    """Prompts of `mean`, which looks at no image, by distance: the issue's counts at .85."""
    arguments = ("--plugins", "mean", "--group-threshold", 0.85, "--run-dir", tmp_path / "run", "--json")
    assert harness("run", "--data", real_data / "drawbench", *arguments).code == 0
    document = harness("leaderboard", "--run-dir", tmp_path / "run", "--json").json
    found = document["rows"][0]["by_distance"]
    assert [one["n"] for one in found] == [261, 141, 96, 42, 60]
    assert sum(one["n"] * one["score"] for one in found) == pytest.approx(600 * document["rows"][0]["score"])
