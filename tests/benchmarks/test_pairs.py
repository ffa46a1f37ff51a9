"""What the benchmark ``pairs`` compares is the same work, and a search that misses pairs fails it; nothing is timed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data import MostAlike
from harness.data.search.pairs import search_pairs
from harness.data.search.processor import Processor
from tests.benchmarks import neighbours, pairs
from tests.benchmarks.__main__ import parse
from tests.data.synthetic import clustered


@pytest.fixture
def options(tmp_path: Path) -> pairs.Options:
    np.save(tmp_path / "rows.npy", clustered(6000, 800, 0.3, seed=0))
    return pairs.Options((5000,), (0.7, 0.9), tmp_path / "rows.npy", plain_blocks=3)


def test_each_threshold_has_a_row_and_the_components_have_one(options: pairs.Options) -> None:
    low, high, linked = pairs.measure(options)
    assert low.what.startswith("all pairs >= 0.7 of 5000 prompts")
    assert high.what.startswith("all pairs >= 0.9")
    assert "from 3 of 6 blocks" in low.other
    assert linked.what == "components of 5000 prompts at 0.7, 0.9"


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_the_format_of_the_products_can_be_told(options: pairs.Options, name: str) -> None:
    chosen = replace(options, pair_format=name)
    found, _, linked = pairs.measure(chosen)
    assert found.what.endswith(f" in {name}")
    assert linked.other == list(pairs.measure(options))[2].other  # as many components, whatever multiplies
    engine = chosen.engine(np.load(options.vectors), [0.7])
    assert isinstance(engine, Processor)
    assert engine.format.dtype == getattr(torch, name)


def test_a_search_that_misses_pairs_is_found_out(options: pairs.Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(*arguments: object, **more: object) -> Iterator[tuple[np.ndarray, ...]]:
        for i, j, cosine in search_pairs(*arguments, **more):  # type: ignore[arg-type]
            yield i[1::2], j[1::2], cosine[1::2]

    monkeypatch.setattr(pairs, "search_pairs", careless)
    with pytest.raises(AssertionError, match="differ in block"):
        list(pairs.measure(options))


def test_its_options_are_read() -> None:
    names, options = parse(["pairs", "--pair-rows", "50,60", "--thresholds", ".7,.9", "--plain-blocks", "5"])
    assert names == ["pairs"]
    assert options.pairs == pairs.Options([50, 60], (0.7, 0.9), None, 5)
    assert parse(["pairs", "--pair-format", "float32"])[1].pairs.pair_format == "float32"


def test_the_neighbours_of_both_ways_are_the_same_or_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_QUERIES", 40)
    monkeypatch.setattr(neighbours, "_DRAWN", 30)
    (row,) = neighbours.measure((2000,), (5,))
    assert row.what == "the 5 most like each of 40 queries in 2000 rows, exact"
    monkeypatch.setattr(neighbours, "MostAlike", lambda table, count: neighbours_of(table[::2]))
    with pytest.raises(AssertionError, match="finds others"):
        list(neighbours.measure((2000,), (5,)))


def neighbours_of(table: np.ndarray) -> MostAlike:
    return MostAlike(table, 5)
