"""Columns in Arrow say what lists say, and take no more memory than they claim."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data import building
from harness.data.building import columns_of
from harness.data.columns import Column, codes_of, count_distinct, distinct_captions, order_of, repeated, rows_at
from harness.data.dataset import Dataset, build_dataset
from harness.data.file_memory import Part
from harness.data.images import ImageFile
from harness.data.layouts.shards import ArchivedImage
from harness.errors import InputError
from harness.plugin import BrokenRow, Row

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(lambda t: t.strip() != "")
CAPTIONS = st.lists(TEXT, min_size=1, max_size=3).map(tuple)
PATHS = st.sampled_from(["a.tar", "b/c.tar", "odd\udcff.tar", "ünï.tar"]).map(Path)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Rows with distinct ids; images of two classes, seeds of 64 bits, sources on some."""
    ids = draw(st.lists(TEXT, min_size=1, max_size=12, unique=True))
    with_texts, with_groups = draw(st.booleans()), draw(st.booleans())
    return [
        Row(
            row_id,
            draw(PATHS.map(ImageFile) | st.builds(ArchivedImage, PATHS, TEXT, st.integers(0, 2**40), st.just(7))),
            draw(CAPTIONS) if with_texts else (),
            draw(TEXT) if with_groups else None,
            draw(st.none() | TEXT),
            draw(st.sampled_from(["t.csv row 1", "odd\udcff.csv row 2"])),
            draw(st.none() | st.integers(-(2**63), 2**64 - 1)),
        )
        for row_id in ids
    ]


def both(some: list[Row]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns as lists, and in Arrow by blocks of two rows."""
    plain = columns_of(some)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "BLOCK", 2)
        kept = columns_of(some)
    return plain, kept


@given(rows(), st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_arrow_and_lists_hold_the_same(some: list[Row], data: st.DataObject) -> None:
    plain, kept = both(some)
    chosen = data.draw(st.lists(st.integers(0, len(some) - 1), max_size=20))
    for name, values in plain.items():
        column = kept[name]
        if values is None:
            assert column is None, name
            continue
        if len(some) >= 2:
            assert isinstance(column, Column), name
        assert list(column) == values, name
        assert column == values
        assert [column[i] for i in range(-len(some), len(some))] == values + values
        assert list(rows_at(column, chosen)) == [values[i] for i in chosen], name
        assert list(column[1:5]) == values[1:5]
        if name != "images":
            assert count_distinct(column) == len(set(values))


@given(rows())
@settings(max_examples=40)
def test_arrow_and_lists_are_sorted_and_numbered_alike(some: list[Row]) -> None:
    plain, kept = both(some)
    assert order_of(kept["ids"]).tolist() == order_of(plain["ids"]).tolist()
    if plain["groups"] is not None:
        assert codes_of(kept["groups"]).tolist() == codes_of(plain["groups"]).tolist()
    if plain["texts"][0]:
        texts, node = distinct_captions(kept["texts"])
        expected, expected_node = distinct_captions(plain["texts"])
        assert (list(texts), node.tolist()) == (expected, expected_node.tolist())


def test_a_column_refuses_rows_beyond_its_end() -> None:
    _, kept = both([Row("a", Path("a.png")), Row("b", Path("b.png"))])
    for index in (2, -3):
        with pytest.raises(IndexError, match="of 2"):
            kept["ids"][index]


@pytest.mark.parametrize("block", [2, 1000])
def test_two_rows_with_one_id_are_named_both(block: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(building, "BLOCK", block)
    image = tmp_path / "a.png"
    image.write_bytes(b"")
    rows = [Row(row_id, image, ("t",), where=f"row {i}") for i, row_id in enumerate(["c", "a", "b", "a", "c"])]
    with pytest.raises(InputError, match=r"^row 3: the id 'a' is already taken by row 1; ids must be unique$"):
        build_dataset("x", "y", tmp_path, rows)
    assert repeated(["c", "a"]) is None


@dataclass(frozen=True)
class Listening:
    """An image that is more than its fields say: it cannot be made anew."""

    told: list[int]

    @property
    def name(self) -> str:
        return "listening"

    def digest(self) -> str:
        return f"{len(self.told):032x}"

    def open(self) -> Any:
        raise NotImplementedError


def test_images_that_cannot_be_kept_as_columns_stay_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "BLOCK", 2)
    images = [Listening([i]) for i in range(5)]
    some = [Row(str(i), ImageFile(Path("a")) if i < 2 else images[i], ("t",), seed=i) for i in range(5)]
    columns = columns_of(some)
    assert columns["images"][2:] == images[2:]
    assert columns["images"][:2] == [ImageFile(Path("a"))] * 2
    assert (columns["ids"], columns["seeds"]) == (list("01234"), [0, 1, 2, 3, 4])


def test_broken_rows_end_the_reading_or_are_left_out_and_listed(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    from PIL import Image

    Image.new("RGB", (4, 4)).save(image)
    (tmp_path / "cut.png").write_bytes(image.read_bytes()[:40])
    given_rows = [
        Row("a", image, ("an ant",), where="row 1"),
        BrokenRow("row 2", "it has no prompt; write one"),
        Row("c", tmp_path / "gone.png", ("a cat",), where="row 3"),
        Row("d", image, (" ",), where="row 4"),
        Row("e", tmp_path / "cut.png", ("an eel",), where="row 5"),
        Row("f", image, ("a fox",), where="row 6"),
    ]
    with pytest.raises(InputError, match=r"^row 2: it has no prompt; write one$"):
        build_dataset("x", "y", tmp_path, given_rows)
    dataset = build_dataset("x", "y", tmp_path, given_rows, skip_broken=True)
    assert list(dataset.ids) == ["a", "f"]
    assert [row.where for row in dataset.broken] == ["row 2", "row 3", "row 4", "row 5"]
    assert dataset.digests[0] == ImageFile(image).digest()


def test_a_hundred_thousand_rows_take_less_than_two_hundred_bytes_each(tmp_path: Path) -> None:
    n = 100_000
    some = (
        Row(f"{i:09d}", ArchivedImage(Path("/data/00000.tar"), f"{i:09d}.jpg", i * 4096, 3000), (f"a red dog no {i}",),
            where=f"/data/00000.tar: {i:09d}.jpg", source="sd15", seed=i)
        for i in range(n)
    )  # fmt: skip
    tracemalloc.start()
    import pyarrow as pa

    before = pa.total_allocated_bytes()
    try:
        columns = columns_of(some)
        objects = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    arrow = pa.total_allocated_bytes() - before
    assert objects < 5_000_000  # what importing and one block leave, and no object a row
    assert arrow / n < 200
    assert columns["images"][77_777].place == Part(Path("/data/00000.tar"), 77_777 * 4096, 3000)


def test_a_data_set_in_arrow_has_the_fingerprint_of_one_in_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.plugin import PluginManager

    reader = PluginManager().readers["scenes"]

    def opened() -> Dataset:
        return build_dataset("scenes", "scenes", Path("scenes:40:3"), reader.read(Path("scenes:40:3")))

    plain = opened()
    monkeypatch.setattr(building, "BLOCK", 16)
    kept = opened()
    assert isinstance(kept.images, Column)
    assert kept.fingerprint == plain.fingerprint
    chosen = np.random.default_rng(0).permutation(40)
    assert kept.take(chosen).fingerprint == plain.fingerprint
    assert list(kept.take([3, 1]).digests) == [plain.digests[3], plain.digests[1]]
