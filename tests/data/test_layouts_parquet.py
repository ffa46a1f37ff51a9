"""Parquet files with the images inside, as their own libraries write them, read beside ``datasets`` itself."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa
import pytest
from pyarrow import parquet

from harness.data.images import EncodedImage
from harness.data.layouts import row_groups
from harness.data.layouts.contained import ParquetImage
from harness.data.layouts.parquet import ParquetReader
from harness.errors import InputError
from harness.plugin import BrokenRow, Row, ShardedReader
from tests.data.test_layouts import images, opened, refusal, says

PROMPTS = ("an ant", "a bee, red", "a cow\nin two lines", "a dog", "an eel")


def encoded(seed: int, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6 + seed % 5, 7, 3), dtype=np.uint8)
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def structs(count: int, name: str = "{}.png") -> list[dict[str, Any]]:
    return [{"bytes": encoded(i), "path": name.format(i)} for i in range(count)]


def rows_of(location: Path) -> list[Row | BrokenRow]:
    return list(ParquetReader().read(location))


def good(rows: Iterable[Row | BrokenRow]) -> list[Row]:
    return [row for row in rows if isinstance(row, Row)]


def bad(rows: Iterable[Row | BrokenRow]) -> list[BrokenRow]:
    return [row for row in rows if isinstance(row, BrokenRow)]


def bytes_of(row: Row) -> bytes:
    assert isinstance(row.image, EncodedImage)
    return row.image._read()


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path, **options)
    return path


def by_datasets(folder: Path, count: int = 5, shards: int = 2) -> Any:
    """Write a data set as ``datasets`` does, and return it."""
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(), "text": datasets.Value("string"), "seed": datasets.Value("int64")}
    )
    data = datasets.Dataset.from_dict(
        {"image": structs(count), "text": list(PROMPTS[:count]), "seed": list(range(count))}, features=features
    )
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(shards):
        part = data.shard(shards, number, contiguous=True)
        part.to_parquet(folder / f"train-{number:05d}-of-{shards:05d}.parquet")
    return data


# -- as others write them --------------------------------------------------------------------------


def test_what_datasets_writes_is_read_as_it_reads_it(tmp_path: Path) -> None:
    import datasets

    by_datasets(tmp_path / "set/data")
    again = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "set/data/*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    data = opened(tmp_path / "set")
    assert (data.layout, [text for (text,) in data.texts]) == ("parquet", again["text"][:])
    assert list(data.ids) == [f"data/train-0000{n // 3}-of-00002/{n}" for n in range(5)]
    for ours, theirs in zip(data.images, again["image"], strict=True):
        assert (np.asarray(ours.open()) == np.asarray(theirs.convert("RGB"))).all()
    assert [row.seed for row in good(rows_of(tmp_path / "set"))] == again["seed"][:]
    assert len(set(data.digests)) == 5


def test_binary_columns_of_pandas_are_read_with_all_that_describes_them(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "jpg": [encoded(i, "JPEG") for i in range(3)],
            "Caption": [["an ant", "a red ant"], ["a bee"], ["a cow"]],
            "id": [17, 18, 19],
            "group": ["x", "y", "x"],
            "source": ["sd14", "sd15", "sd14"],
            "seed": [4294967295, 2, 3],
            "width": [1, 2, 3],
        }
    )
    frame.to_parquet(tmp_path / "one.parquet")
    for location in (tmp_path, tmp_path / "one.parquet"):
        found = good(rows_of(location))
        assert [row.texts for row in found] == [("an ant", "a red ant"), ("a bee",), ("a cow",)]
        assert [(row.id, row.group, row.source, row.seed) for row in found] == [
            ("17", "x", "sd14", 4294967295),
            ("18", "y", "sd15", 2),
            ("19", "x", "sd14", 3),
        ]
        assert [bytes_of(row) for row in found] == list(frame["jpg"])
    assert opened(tmp_path).layout == "parquet"


def test_members_of_shards_as_columns_are_read(tmp_path: Path) -> None:
    columns = {
        "jpg": structs(2),
        "json": [{"prompt": "an ant", "seed": 7, "other": 1}, {"prompt": "a bee", "seed": 8, "other": 2}],
        "__key__": ["x/000", "x/001"],
        "__url__": ["a", "b"],
    }
    write(tmp_path / "a.parquet", columns)
    found = good(rows_of(tmp_path))
    assert [(row.id, row.texts, row.seed) for row in found] == [("000", ("an ant",), 7), ("001", ("a bee",), 8)]


def test_ids_are_numbers_where_files_have_one_name(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"image": structs(3, "image.png"), "text": PROMPTS[:3]})
    assert [row.id for row in good(rows_of(tmp_path))] == ["0", "1", "2"]
    write(tmp_path / "b.parquet", {"image": structs(2, "x/{}.png"), "text": PROMPTS[:2]})
    assert list(opened(tmp_path).ids) == ["a/0", "a/1", "a/2", "b/0", "b/1"]


def test_bytes_that_are_null_lie_in_the_file_at_their_path(tmp_path: Path) -> None:
    images(tmp_path, "pictures/x.png")
    given = [
        {"bytes": encoded(1), "path": "a.png"},
        {"bytes": None, "path": "pictures/x.png"},
        {"bytes": None, "path": "../y.png"},
    ]
    write(tmp_path / "a.parquet", {"image": given, "text": PROMPTS[:3]})
    found = rows_of(tmp_path)
    assert [row.image for row in good(found)] == [
        ParquetImage(tmp_path / "a.parquet", "image.bytes", 0),
        tmp_path / "pictures/x.png",
    ]
    says(str(bad(found)), "row 3", "outside the data's folder")


def test_a_table_of_paths_is_still_read_as_one(tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png")
    write(tmp_path / "train.parquet", {"image": ["0.png", "1.png"], "text": PROMPTS[:2]})
    assert (opened(tmp_path).layout, list(opened(tmp_path).ids)) == ("table", ["0", "1"])


def test_without_prompts_it_is_a_test_set_that_says_so(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"image": structs(2), "beschreibung": PROMPTS[:2]})
    data = opened(tmp_path)
    assert not data.has_texts
    says(" ".join(data.notes), "no column of prompts", "beschreibung", "prompt=NAME")


def test_of_two_columns_the_known_one_is_taken(tmp_path: Path) -> None:
    two = {"left": structs(2), "image": structs(2), "text": PROMPTS[:2]}
    write(tmp_path / "two/a.parquet", two)
    assert good(rows_of(tmp_path / "two"))[0].image == ParquetImage(tmp_path / "two/a.parquet", "image.bytes", 0)
    write(tmp_path / "neither/a.parquet", {"left": structs(2), "right": structs(2), "text": PROMPTS[:2]})
    says(refusal(tmp_path / "neither"), "2 columns of images (left, right)", "name one", "?image=left")


# -- splits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["data/{}-00000-of-00001.parquet", "{}/0000.parquet", "default/{}/0000.parquet", "{}.parquet"]
)
def test_splits_are_not_merged_and_each_can_be_named(tmp_path: Path, form: str) -> None:
    for split, text in (("train", "an ant"), ("test", "a bee")):
        write(tmp_path / form.format(split), {"image": structs(1), "text": [text]})
    says(
        refusal(tmp_path),
        "not merged",
        f"--data {tmp_path}:train",
        f"--test {tmp_path}:test",
    )
    assert [list(opened(Path(f"{tmp_path}:{split}")).texts) for split in ("train", "test")] == [
        [("an ant",)],
        [("a bee",)],
    ]
    with pytest.raises(InputError, match="no split 'other'"):
        rows_of(Path(f"{tmp_path}:other"))


# -- shards and single images ----------------------------------------------------------------------


def test_each_file_is_a_shard_that_can_be_read_alone(tmp_path: Path) -> None:
    by_datasets(tmp_path)
    reader = ParquetReader()
    assert isinstance(reader, ShardedReader)
    shards = list(reader.shards(tmp_path))
    assert [shard.files for shard in shards] == [(path,) for path in sorted(tmp_path.glob("*.parquet"))]
    apart = [row for shard in reversed(shards) for row in reader.read_shard(tmp_path, shard)]
    assert sorted(row.where for row in apart) == sorted(row.where for row in rows_of(tmp_path))


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("window", [1, 200, 1 << 20])
def test_any_row_is_read_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, window: int) -> None:
    monkeypatch.setattr(row_groups, "_WINDOW", window)
    monkeypatch.setattr(row_groups, "_MOST_BYTES", 3000)
    path = write(tmp_path / "a.parquet", {"image": structs(20), "text": ["x"] * 20}, row_group_size=size)
    order = np.random.default_rng(size).permutation(20)
    for i in [*order, *range(20), *reversed(range(20))]:
        assert ParquetImage(path, "image.bytes", int(i))._read() == encoded(int(i))


def test_a_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"image": structs(2)})
    image = ParquetImage(path, "image.bytes", 1)
    assert image._read() == encoded(1)
    write(path, {"image": structs(4)[2:]})
    assert image._read() == encoded(3)
    write(path, {"image": structs(1)})
    with pytest.raises(InputError, match=r"a.parquet row 2: image.bytes: the file has 1 rows only"):
        image._read()


# -- what is broken --------------------------------------------------------------------------------


def test_null_images_and_prompts_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    columns = {
        "image": [structs(1)[0], None, {"bytes": None, "path": None}, *structs(2)],
        "text": ["an ant", "a bee", "a cow", None, "a dog"],
    }
    write(tmp_path / "a.parquet", columns)
    found = rows_of(tmp_path)
    assert [row.texts for row in good(found)] == [("an ant",), ("a dog",)]
    path = tmp_path / "a.parquet"
    assert [row.where for row in bad(found)] == [f"{path} row {n}" for n in (2, 3, 4)]
    assert [row.reason for row in bad(found)][:2] == ["its image is null; remove the row"] * 2
    says(bad(found)[2].reason, "'text' is null", "fill it in or remove the row")
    says(refusal(tmp_path), f"{path} row 2: its image is null")


def test_a_file_that_is_cut_off_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    by_datasets(tmp_path)
    first, second = sorted(tmp_path.glob("*.parquet"))
    second.write_bytes(second.read_bytes()[:-100])
    found = rows_of(tmp_path)
    assert [row.texts[0] for row in good(found)] == list(PROMPTS[:3])
    assert [row.where for row in bad(found)] == [str(second)]
    says(bad(found)[0].reason, "cannot be read as parquet", "fetch it again")
    first.write_bytes(first.read_bytes()[:-100])
    says(refusal(tmp_path), first.name, "cannot be read as parquet")


def test_a_row_group_that_is_damaged_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    texts = [str(np.random.default_rng(i).bytes(40).hex()) for i in range(9)]
    path = write(tmp_path / "a.parquet", {"image": structs(9), "text": texts}, row_group_size=3, use_dictionary=False)
    chunk = parquet.read_metadata(path).row_group(1).column(2)
    assert chunk.path_in_schema == "text"
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset : chunk.data_page_offset + chunk.total_compressed_size] = (
        b"\xff" * chunk.total_compressed_size
    )
    path.write_bytes(bytes(data))
    found = rows_of(tmp_path)
    assert [row.texts[0] for row in good(found)] == [*texts[:3], *texts[6:]]
    assert [row.where for row in bad(found)] == [f"{path} rows 4 to 6"]
    says(bad(found)[0].reason, "cannot be read", "fetch the file again")


def test_an_image_of_a_damaged_row_group_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"image": structs(3), "text": PROMPTS[:3]}, compression="none")
    at = path.read_bytes().index(encoded(0))
    data = bytearray(path.read_bytes())
    data[at - 24 : at] = b"\xff" * 24
    path.write_bytes(bytes(data))
    says(refusal(tmp_path), "a.parquet row", "image")


def test_a_file_without_images_among_others_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"image": structs(1), "text": PROMPTS[:1]})
    write(tmp_path / "b.parquet", {"text": PROMPTS[:1]})
    assert [row.where for row in bad(rows_of(tmp_path))] == [str(tmp_path / "b.parquet")]


# -- memory ----------------------------------------------------------------------------------------


def walk(rows: Iterable[Any]) -> tuple[int, int]:
    """Peak bytes of Python while rows are walked, and how many there were."""
    tracemalloc.start()
    try:
        count = sum(1 for _ in rows)
        return tracemalloc.get_traced_memory()[1], count
    finally:
        tracemalloc.stop()


def synthetic(folder: Path, files: int, rows: int = 2000) -> Path:
    content = encoded(1)
    for number in range(files):
        columns = {"image": [content] * rows, "text": [f"prompt {number} {i}" for i in range(rows)]}
        write(folder / f"train-{number:05d}-of-{files:05d}.parquet", columns, row_group_size=500)
    return folder


def test_memory_is_bounded_by_a_shard_and_not_by_all(tmp_path: Path) -> None:
    reader: Any = ParquetReader()
    list(islice(reader.read(synthetic(tmp_path / "warm", 1)), 10))
    one, few = walk(reader.read(synthetic(tmp_path / "one", 1)))
    six, many = walk(reader.read(synthetic(tmp_path / "six", 6)))
    assert (few, many) == (2000, 12_000)
    assert six < 1.3 * one, (one, six)
    assert six < 2_000_000
