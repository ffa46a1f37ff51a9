"""The rows most like a query: against all cosines at once, whatever multiplies and however the table is parted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.search import most_alike
from harness.data.search.most_alike import MostAlike
from harness.data.search.processor import Format
from tests.data.synthetic import clustered

FORMATS = {"bfloat16": Format(torch.bfloat16, 0.016), "float32": Format(torch.float32, 0.09)}


def brute_force(
    queries: np.ndarray, table: np.ndarray, count: int, barred: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    exact = np.einsum("qd,nd->qn", queries, table, dtype=np.float64)
    cosines = np.minimum(exact, 1.0).astype(np.float32)
    if barred is not None:
        cosines[barred] = -np.inf
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    found = np.take_along_axis(cosines, order, axis=1)
    return np.where(np.isinf(found), np.float32(-1.0), found), np.where(np.isinf(found), 0, order)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=20)
@given(
    n=st.integers(1, 400),
    q=st.integers(0, 70),
    count=st.integers(1, 50),
    spread=st.floats(0.01, 1.5),
    dim=st.sampled_from([3, 40, 384]),
    axes=st.sampled_from([1, 8, 1024]),
    barred=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 2**16),
)
def test_they_are_those_of_all_cosines(
    name: str, n: int, q: int, count: int, spread: float, dim: int, axes: int, barred: float, seed: int
) -> None:
    """With rows that stand twice, so that of equal cosines the first counts."""
    rng = np.random.default_rng(seed)
    vectors = clustered(n + q, 12, spread, seed, dim)[rng.integers(0, n + q, n + q)]
    vectors[rng.random(n + q) < 0.1] *= -1
    table, queries = vectors[:n], vectors[n:]
    mask = rng.random((q, n)) < barred
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(most_alike, "ROWS", 32)
        patch.setattr(most_alike, "COLUMNS", 20)
        patch.setattr(most_alike, "_AXES", (axes,))
        search = MostAlike(table, count, FORMATS[name])
        for apart in (None, mask):
            cosines, rows = search(queries, count, None if apart is None else lambda part: mask[:, part])
            expected, where = brute_force(queries, table, min(count, n), apart)
            np.testing.assert_array_equal(cosines, expected)
            np.testing.assert_array_equal(rows, where)


def test_few_cosines_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    table, queries = np.split(clustered(9000, 40, 0.5, 1, 96), [8000])
    asked = []
    monkeypatch.setattr(
        most_alike, "pair_cosines", lambda a, b, i, j: asked.append(len(i)) or np.einsum("id,id->i", a[i], b[j])
    )
    MostAlike(table, 10)(queries, 10)
    assert 10 * len(queries) <= sum(asked) < 40 * len(queries), "of 8000 rows a query"


def test_a_table_in_a_file_is_read_and_not_changed(tmp_path: Path) -> None:
    table = clustered(500, 12, 0.5, 2, 64)
    path = tmp_path / "table.npy"
    np.save(path, table)
    mapped = np.load(path, mmap_mode="r")
    found = MostAlike(mapped, 7)(table[:50], 7)
    assert np.array_equal(found[1], brute_force(table[:50], table, 7)[1])
    assert np.array_equal(found[1][:, 0], np.arange(50)), "a row is most like itself"
