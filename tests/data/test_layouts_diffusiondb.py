"""DiffusionDB as it is published: parts, unpacked or in zip files, and the table of all images."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pandas as pd
import pytest

from harness.data.layouts.contained import ZippedImage
from harness.data.layouts.diffusiondb import DiffusionDbReader
from harness.errors import InputError
from harness.plugin import BrokenRow, Row, ShardedReader
from tests.data.test_layouts import opened, refusal, says
from tests.data.test_layouts_parquet import bad, bytes_of, encoded, good, walk

Settings = dict[str, dict[str, object]]


def name_of(number: int, kind: str = "png") -> str:
    return f"{number:08x}-26ea-4303-bbe1-b095853f5360.{kind}"


def settings(numbers: Iterable[int], kind: str = "png") -> Settings:
    """A part's document, in the form of the project's README."""
    return {
        name_of(i, kind): {"p": f"prompt {i}", "se": 2**32 - 1 - i, "c": 12.0, "st": 50, "sa": "k_lms"} for i in numbers
    }


def zipped(folder: Path, part: int, document: Settings, packed: int = zipfile.ZIP_STORED, kind: str = "PNG") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"part-{part:06d}.zip"
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name in document:
            archive.writestr(name, encoded(int(name[:8], 16), kind))
        archive.writestr(f"part-{part:06d}.json", json.dumps(document))
    return path


def unpacked(folder: Path, part: int, document: Settings) -> Path:
    with zipfile.ZipFile(zipped(folder, part, document)) as archive:
        archive.extractall(folder / f"part-{part:06d}")
    (folder / f"part-{part:06d}.zip").unlink()
    return folder / f"part-{part:06d}"


def metadata(path: Path, numbers: Iterable[int], parts: Iterable[int], nsfw: Iterable[float] = ()) -> Path:
    """The table of all images, with the columns and types that the project's README lists."""
    rows = list(zip(numbers, parts, strict=True))
    scores = [*nsfw, *[0.1] * len(rows)][: len(rows)]
    frame = pd.DataFrame(
        {
            "image_name": [name_of(i) for i, _ in rows],
            "prompt": [f"prompt {i}" for i, _ in rows],
            "part_id": pd.array([part for _, part in rows], "uint16"),
            "seed": pd.array([2**32 - 1 - i for i, _ in rows], "uint32"),
            "step": pd.array([50] * len(rows), "uint16"),
            "cfg": pd.array([7.0] * len(rows), "float32"),
            "sampler": pd.array([8] * len(rows), "uint8"),
            "width": pd.array([512] * len(rows), "uint16"),
            "height": pd.array([512] * len(rows), "uint16"),
            "user_name": ["c2f2"] * len(rows),
            "timestamp": pd.to_datetime(["2022-08-11 09:05:00+00:00"] * len(rows)),
            "image_nsfw": pd.array(scores, "float32"),
            "prompt_nsfw": pd.array([0.01] * len(rows), "float32"),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path)
    return path


def rows_of(location: Path) -> list[Row | BrokenRow]:
    return list(DiffusionDbReader().read(location))


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_zips_are_read_as_they_are_and_give_what_they_give_unpacked(tmp_path: Path, packed: int, kind: str) -> None:
    for part in (1, 2):
        zipped(tmp_path / "images", part, settings(range(3 * part, 3 * part + 3), kind.lower()), packed, kind)
    found = rows_of(tmp_path)
    assert not bad(found)
    assert [row.id for row in good(found)] == [name_of(i, "x")[:-2] for i in range(3, 9)]
    assert [row.texts for row in good(found)] == [(f"prompt {i}",) for i in range(3, 9)]
    assert [row.seed for row in good(found)] == [2**32 - 1 - i for i in range(3, 9)]
    assert [bytes_of(row) for row in good(found)] == [encoded(i, kind) for i in range(3, 9)]
    data = opened(tmp_path)
    assert (data.layout, len(set(data.digests))) == ("diffusiondb", 6)
    one = tmp_path / "images/part-000001.zip"
    assert [row.id for row in good(rows_of(one))] == [row.id for row in good(found)[:3]]
    with zipfile.ZipFile(one) as archive:
        archive.extractall(tmp_path / "images/part-000001")
    again = rows_of(tmp_path / "images")
    assert [row.texts for row in good(again)] == [row.texts for row in good(found)]
    assert all(isinstance(row.image, Path) == (n < 3) for n, row in enumerate(good(again))), "unpacked ones come first"


def test_parts_of_the_large_set_lie_in_two_folders(tmp_path: Path) -> None:
    unpacked(tmp_path / "diffusiondb-large-part-1", 1, settings([1, 2]))
    zipped(tmp_path / "diffusiondb-large-part-2", 10001, settings([3]))
    reader = DiffusionDbReader()
    assert isinstance(reader, ShardedReader)
    shards = list(reader.shards(tmp_path))
    assert [s.name for s in shards] == ["diffusiondb-large-part-1/part-000001", "diffusiondb-large-part-2/part-010001"]
    assert [len(list(reader.read_shard(tmp_path, s))) for s in shards] == [2, 1]


def test_the_table_says_how_many_images_were_blurred(tmp_path: Path) -> None:
    unpacked(tmp_path / "images", 1, settings([1, 2, 3]))
    metadata(tmp_path / "metadata.parquet", range(1, 7), [1, 1, 1, 2, 2, 2], [2.0, 0.5, 1.0, 2.0, 2.0, 2.0])
    for location in (tmp_path, tmp_path / "images"):
        data = opened(location)
        assert len(data) == 3, "none is dropped"
        says(" ".join(data.notes), "of 3 rows", "1 have image_nsfw 1", "1 have image_nsfw 2", "all are kept")
    assert "prompt_nsfw" not in " ".join(data.notes)


@pytest.mark.parametrize("place", ["images", "images/part-000001", "part-000001", "."])
def test_the_table_gives_the_prompts_where_parts_have_none(tmp_path: Path, place: str) -> None:
    folder = unpacked(tmp_path / "elsewhere", 1, settings([1, 2, 3]))
    (folder / "part-000001.json").unlink()
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.rename(tmp_path / place / path.name)
    metadata(tmp_path / "metadata.parquet", range(6), [2, 1, 1, 1, 2, 2], [2.0, 2.0])
    data = opened(tmp_path)
    assert (data.layout, list(data.texts)) == ("diffusiondb", [(f"prompt {i}",) for i in (1, 2, 3)])
    assert [row.seed for row in good(rows_of(tmp_path))] == [2**32 - 1 - i for i in (1, 2, 3)]
    says(" ".join(data.notes), "left out: 3 rows of metadata.parquet whose image is not here", "of 3 rows 1 have")


# -- what is broken --------------------------------------------------------------------------------


def test_a_damaged_part_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    for part in (1, 2, 3):
        zipped(tmp_path, part, settings([part]))
    cut, broken = tmp_path / "part-000001.zip", tmp_path / "part-000002.zip"
    cut.write_bytes(cut.read_bytes()[:-40])
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("part-000002.json", "{oops")
    found = rows_of(tmp_path)
    assert [row.texts for row in good(found)] == [("prompt 3",)]
    assert [row.where for row in bad(found)] == [str(cut), str(broken)]
    says(bad(found)[0].reason, "no whole zip file", "fetch it again")
    says(bad(found)[1].reason, "part-000002.json: it is not JSON")
    says(refusal(tmp_path), str(cut), "no whole zip file")


def test_what_is_wrong_with_a_row_of_a_part_is_said_in_its_place(tmp_path: Path) -> None:
    document = settings(range(4))
    path = zipped(tmp_path, 1, document)
    listed = {**document, name_of(1): {"se": 1}, name_of(9): {"p": "nothing"}}
    del listed[name_of(3)]
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members["part-000001.json"] = json.dumps(listed).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "other/part-000001")
    for found in (rows_of(path), rows_of(tmp_path / "other")):
        assert [row.texts for row in good(found)][:2] == [("prompt 0",), ("prompt 2",)]
        says(
            " | ".join(f"{row.where}: {row.reason}" for row in bad(found)),
            f"'{name_of(1)}'",
            "key p",
            name_of(3),
            "no row in",
        )
    says(str(bad(rows_of(path))), name_of(9), "no such image in the archive")
    says(refusal(tmp_path / "other"), name_of(1), "no prompt (key p)")


def test_a_wrong_checksum_is_named_with_the_member(tmp_path: Path) -> None:
    path = zipped(tmp_path, 1, settings([1, 2]))
    data = bytearray(path.read_bytes())
    data[data.index(encoded(1)) + 60] ^= 1
    path.write_bytes(bytes(data))
    first, second = good(rows_of(tmp_path))
    with pytest.raises(
        InputError, match=rf"part-000001.zip: {name_of(1)}: it is damaged in the archive \(its checksum"
    ):
        bytes_of(first)
    assert bytes_of(second) == encoded(2)
    says(refusal(tmp_path), name_of(1), "fetch the archive again")


def test_a_packed_member_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.bmp", bytes(5000))
    with zipfile.ZipFile(path) as archive:
        (info,) = archive.infolist()
    image = ZippedImage(path, "x.bmp", info.header_offset, info.compress_size, info.file_size, info.CRC)
    assert image._read() == bytes(5000)
    data = bytearray(path.read_bytes())
    data[35:45] = b"\xff" * 10
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"a.zip: x.bmp: it is damaged in the archive"):
        image._read()
    path.write_bytes(b"\0" * 200)
    with pytest.raises(InputError, match=r"not where the directory says"):
        image._read()


def test_memory_is_bounded_by_a_part_and_not_by_all(tmp_path: Path) -> None:
    reader = DiffusionDbReader()
    for name, parts in (("warm", 1), ("one", 1), ("five", 5)):
        for part in range(parts):
            zipped(tmp_path / name, part, settings(range(1000 * part, 1000 * part + 200)))
    list(islice(reader.read(tmp_path / "warm"), 10))
    one, few = walk(reader.read(tmp_path / "one"))
    five, many = walk(reader.read(tmp_path / "five"))
    assert (few, many) == (200, 1000)
    assert five < 1.3 * one, (one, five)
