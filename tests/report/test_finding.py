"""The rank of the truth: against counting every prompt one by one in double precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.report.page import finding as found
from harness.report.page.finding import distinct_rows, finding, truth_ranks
from harness.report.page.voices import Voices
from harness.scoring.cosine import group_interval
from tests.report.conftest import Shelf


def unit_rows(rng: np.random.Generator, n: int) -> np.ndarray:
    rows = rng.normal(size=(n, 384))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def brute_force(prediction: np.ndarray, truth: np.ndarray, prompts: np.ndarray) -> float:
    """Mean place of the truth among all prompts as they may be sorted, those that are equal in any order."""
    said = prediction.astype(np.float64) / np.linalg.norm(prediction.astype(np.float64))
    own = float(truth.astype(np.float64) @ said)
    others = [float(one.astype(np.float64) @ said) for one in prompts if not np.array_equal(one, truth)]
    better = sum(one > own + 1e-6 for one in others)
    alike = sum(abs(one - own) <= 1e-6 for one in others)
    return 1.0 + better + alike / 2.0


def test_ranks_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(found, "_BLOCK_PROMPTS", 13)
    rng = np.random.default_rng(0)
    prompts = unit_rows(rng, 60)
    # Two prompts that a prediction cannot tell apart: they differ along a direction that it has nothing of.
    prompts[1], prompts[2] = 0.0, 0.0
    prompts[1, :2], prompts[2, :2] = (0.6, 0.8), (0.6, -0.8)
    own = rng.integers(0, 60, size=40)
    own[:3] = (1, 2, 0)
    predictions = prompts[own] + unit_rows(rng, 40) * rng.uniform(0, 40, size=(40, 1)).astype(np.float32)
    predictions /= np.linalg.norm(predictions, axis=1, keepdims=True)
    predictions[0] = predictions[1] = np.eye(384, dtype=np.float32)[0]
    predictions[2] = np.nan
    ranks = truth_ranks(predictions, prompts[own], own, prompts)
    assert np.isnan(ranks[2])
    for i in [*range(2), *range(3, 40)]:
        assert ranks[i] == brute_force(predictions[i], prompts[own[i]], prompts), i
    assert ranks[0] == ranks[1] == 1.5
    assert len(set(ranks[3:].tolist())) > 5
    # A truth that is not among the prompts is ranked among them and itself.
    outside = own >= 50
    ranks = truth_ranks(predictions, prompts[own], np.where(outside, -1, own), prompts[:50])
    for i in range(3, 40):
        among = np.concatenate([prompts[:50], prompts[own[i]][None]]) if outside[i] else prompts[:50]
        assert ranks[i] == brute_force(predictions[i], prompts[own[i]], among), i


def test_a_prompt_that_several_rows_have_is_one() -> None:
    rows = unit_rows(np.random.default_rng(0), 5)
    own, firsts = distinct_rows(rows[[3, 1, 3, 0, 1]])
    assert (own.tolist(), firsts.tolist()) == ([0, 1, 0, 2, 1], [0, 1, 3])


def test_of_a_run(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    voices = Voices.of(shelf.run)
    targets, n = shelf.run.targets, len(shelf.run.rows.ids)
    told, ranks = finding(voices, np.arange(n))
    prompts = targets[distinct_rows(targets)[1]]
    assert told.prompts == len(prompts)
    assert told.notes == []
    for k, name in enumerate(voices.names):
        predictions = voices.predictions(name, np.arange(n))
        expected = [brute_force(predictions[i], targets[i], prompts) for i in range(n)]
        assert ranks[:, k].tolist() == expected
        one = next(one for one in told.voices if one.name == name)
        assert one.median == np.median(expected)
        assert one.first.mean == pytest.approx(np.mean(np.asarray(expected) == 1.0))
        assert (one.first.ends is None) == (one.first.mean in (0.0, 1.0))
        top = group_interval((np.asarray(expected) <= 10).astype(float), shelf.run.rows.group)
        assert one.top.mean == pytest.approx(top.mean)
        if one.top.mean < 1.0:
            assert one.top.ends == pytest.approx((max(top.low, 0.0), min(top.high, 1.0)))
    # Of too many prompts, a sample is looked among; of too many rows, a sample is counted, and those shown have ranks.
    monkeypatch.setattr(found, "MOST_PROMPTS", 8)
    monkeypatch.setattr(found, "MOST_PAIRS", 8 * len(voices.names) * 4)
    told, ranks = finding(voices, np.array([1, 2, 5]))
    assert (told.prompts, len(told.notes)) == (8, 2)
    assert (told.chance_median, told.chance_top) == (4.5, 1.0)
    assert replace(told, prompts=40).chance_top == 0.25
    assert f"4 of the {n} rows" in told.notes[1]
    assert np.isfinite(ranks).all()
    assert ((ranks >= 1) & (ranks <= 9)).all()
