"""The index of shards: read once, again only what was written, the same after a kill, and honest of what is broken."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.data import building, file_memory, index
from harness.data.cache import cache_folder
from harness.data.columns import Column
from harness.data.dataset import Dataset
from harness.data.file_memory import REREAD_VARIABLE
from harness.data.opening import open_dataset
from harness.errors import InputError
from tests.data.packs import PackReader, png, write_pack


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    # The files of a test were all written just now; the time of their last change cannot be set back.
    monkeypatch.setattr(file_memory, "_SETTLED_NS", 0)


Open = Callable[..., tuple[Dataset, list[str]]]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Open the packs below ``tmp_path``, and say which were read."""

    def open_them(**options: Any) -> tuple[Dataset, list[str]]:
        reader = PackReader()
        dataset = open_dataset(str(tmp_path / "packs"), {"packs": reader}, **options)
        return dataset, sorted(reader.asked)

    return open_them


def rows(prefix: str, count: int, **more: object) -> list[tuple[str, list[str], bytes, dict[str, object]]]:
    return [(f"{prefix}{i}", [f"a {prefix} no {i}"], png(i), dict(more)) for i in range(count)]


def write_three(folder: Path) -> None:
    for name, count in (("a", 5), ("b", 7), ("c", 2)):
        write_pack(folder, name, rows(name, count, source=name))


def stored() -> list[Path]:
    return sorted(path for path in (cache_folder() / "index").rglob("*") if path.is_file())


def test_shards_are_read_once_and_their_rows_are_those_of_the_reader(tmp_path: Path, opened: Open) -> None:
    write_three(tmp_path / "packs")
    first, asked = opened()
    assert asked == ["a", "b", "c"]
    plain = list(PackReader().read(tmp_path / "packs"))
    again, asked_again = opened()
    assert asked_again == []
    for dataset in (first, again):
        assert isinstance(dataset.ids, Column)
        assert list(dataset.ids) == [row.id for row in plain]
        assert list(dataset.images) == [row.image for row in plain]
        assert list(dataset.texts) == [row.texts for row in plain]
        assert list(dataset.wheres) == [row.where for row in plain]
        assert list(dataset.sources or ()) == [row.source for row in plain]
        assert list(dataset.seeds or ()) == [row.seed for row in plain]
        assert list(dataset.digests) == [image.digest() for image in dataset.images]
    assert first.fingerprint == again.fingerprint == unindexed(tmp_path).fingerprint


def unindexed(tmp_path: Path) -> Dataset:
    return building_dataset(PackReader(), tmp_path / "packs")


def building_dataset(reader: PackReader, location: Path) -> Dataset:
    from harness.data.dataset import build_dataset

    return build_dataset("packs", "packs", location, reader.read(location))


def test_a_second_opening_reads_no_image(tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    write_three(tmp_path / "packs")
    first, _ = opened()
    from tests.data import packs

    def refuse(image: object) -> bytes:
        raise AssertionError("an image was read")

    monkeypatch.setattr(packs.PackedImage, "_read", refuse)
    again, _ = opened()
    assert (again.fingerprint, list(again.digests)) == (first.fingerprint, list(first.digests))


def test_only_a_shard_that_was_written_is_read_again(tmp_path: Path, opened: Open) -> None:
    write_three(tmp_path / "packs")
    first, _ = opened()
    write_pack(tmp_path / "packs", "b", rows("b", 6))
    changed, asked = opened()
    assert (asked, len(changed)) == (["b"], 13)
    assert changed.fingerprint != first.fingerprint
    write_pack(tmp_path / "packs", "d", rows("d", 1))
    more, asked = opened()
    assert (asked, len(more)) == (["d"], 14)
    for path in (tmp_path / "packs").glob("a.*"):
        path.unlink()
    fewer, asked = opened()
    assert (asked, len(fewer)) == ([], 9)


def test_a_pack_by_itself_may_have_other_ids_than_one_of_several(tmp_path: Path, opened: Open) -> None:
    write_pack(tmp_path / "packs", "a", rows("a", 2))
    assert opened()[1] == ["a"]
    write_pack(tmp_path / "packs", "b", rows("b", 2))
    assert opened()[1] == ["a", "b"]


def test_one_image_is_decoded_once_however_many_rows_have_it(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [(f"{i}", ["a text"], png(i % 3), {}) for i in range(40)]
    write_pack(tmp_path / "packs", "a", some)
    checked: list[str] = []
    whole = index.check_whole
    monkeypatch.setattr(index, "check_whole", lambda data, name: (checked.append(name), whole(data, name)))
    dataset, _ = opened()
    assert (len(checked), len(set(dataset.digests))) == (3, 3)


def test_what_may_be_written_again_unseen_is_not_kept(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_memory, "_SETTLED_NS", 3_600_000_000_000)
    write_three(tmp_path / "packs")
    assert opened()[1] == ["a", "b", "c"]
    dataset, asked = opened()
    assert asked == ["a", "b", "c"]
    assert [path for path in stored() if path.suffix == ".arrow"] == []
    assert dataset.fingerprint == unindexed(tmp_path).fingerprint


def test_the_index_is_not_believed_where_that_is_asked_for(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_three(tmp_path / "packs")
    opened()
    monkeypatch.setenv(REREAD_VARIABLE, "1")
    assert opened()[1] == ["a", "b", "c"]


@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "a word", "removed", "facts"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, opened: Open, damage: str) -> None:
    write_three(tmp_path / "packs")
    first, _ = opened()
    files = [path for path in stored() if path.suffix == (".json" if damage == "facts" else ".arrow")]
    path = next(path for path in files if path.parent.name != "sets")
    del first.__dict__["digests"]
    content = path.read_bytes()
    del first
    if damage == "removed":
        path.unlink()
    else:
        flipped = content[:8] + bytes([content[8] ^ 0xFF]) + content[9:]
        half = {
            "cut": content[: len(content) // 2],
            "emptied": b"",
            "flipped": flipped,
            "a word": content.replace(b" no 1", b" no 7"),  # of a text: nothing but its sum tells
            "facts": b"{",
        }[damage]
        assert half != content
        path.unlink()
        path.write_bytes(half)
    dataset, asked = opened()
    assert len(asked) == 1
    assert dataset.fingerprint == unindexed(tmp_path).fingerprint


def test_the_first_broken_row_is_named_or_all_are_left_out_and_listed(tmp_path: Path, opened: Open) -> None:
    folder = tmp_path / "packs"
    write_pack(folder, "a", rows("a", 2))
    write_pack(folder, "b", [*rows("b", 1), None, ("cut", ["a cut one"], png(3)[:30], {}), *rows("x", 1)])
    write_pack(folder, "c", [*rows("c", 1), ("blank", [" "], png(1), {}), "stop", *rows("y", 1)])
    for _ in range(2):  # read, and from the index if it were there
        with pytest.raises(InputError, match=r"b\.json row 1: it is null; write it"):
            opened()
    dataset, _ = opened(skip_broken=True)
    assert list(dataset.ids) == ["a0", "a1", "b0", "x0", "c0"]
    reasons = [(Path(row.where.split(" row")[0]).name, row.reason) for row in dataset.broken]
    assert [name for name, _ in reasons] == ["b.json", "b.json", "c.json", ""]
    for part, (_, reason) in zip(["null", "cannot be read", "empty", "ends in the middle"], reasons, strict=True):
        assert part in reason
    (note,) = dataset.notes
    assert note.startswith("left out as --skip-broken says: 4 broken rows: ")
    assert note.endswith("and 1 more (`harness data describe --json` lists all)")
    again, asked = opened(skip_broken=True)
    assert (asked, list(again.broken), again.fingerprint) == ([], list(dataset.broken), dataset.fingerprint)
    with pytest.raises(InputError, match=r"b\.json row 1: it is null; write it"):
        opened()


def test_all_broken_is_an_error_that_names_the_first(tmp_path: Path, opened: Open) -> None:
    write_pack(tmp_path / "packs", "a", [None, None])
    with pytest.raises(InputError, match=r"packs: all its rows are broken; the first: .*a\.json row 0: it is null"):
        opened(skip_broken=True)


def test_two_shards_may_not_have_one_id_nor_only_one_of_them_prompts(tmp_path: Path, opened: Open) -> None:
    folder = tmp_path / "packs"
    write_pack(folder, "a", rows("a", 3))
    write_pack(folder, "b", [("b", ["a bee"], png(1), {}), ("a1", ["an ant"], png(1), {})])
    for _ in range(2):
        with pytest.raises(InputError, match=r"b\.json row 1: the id 'a1' is already taken by .*a\.json row 1; ids"):
            opened()
    write_pack(folder, "b", [("b", [], png(1), {})])
    with pytest.raises(InputError, match=r"b\.json row 0: 'b' has no prompt while other rows have"):
        opened()
    write_pack(folder, "b", [("b", ["a bee"], png(1), {"group": "1"})])
    with pytest.raises(InputError, match=r"a\.json row 0: 'a0' has no group while other rows have"):
        opened()


def test_it_says_how_far_it_is_and_how_long_it_may_take(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_SAY_EVERY", 0.0)
    write_three(tmp_path / "packs")
    told: list[str] = []
    opened(say=told.append)
    assert len(told) == 3
    assert told[-1].startswith("packs: indexed 3 of 3 shards (14 rows), about 0 s left")


def test_captions_are_chosen_from_the_index(tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "BLOCK", 2)
    some = [(f"{i}", [f"text {i} {j}" for j in range(1 + i % 2)], png(i), {}) for i in range(5)]
    write_pack(tmp_path / "packs", "a", some)
    first, _ = opened(captions="first")
    assert list(first.texts) == [(f"text {i} 0",) for i in range(5)]
    every, _ = opened(captions="all")
    assert list(every.ids) == ["0", "1#0", "1#1", "2", "3#0", "3#1", "4"]
    assert list(every.texts)[1:3] == [("text 1 0",), ("text 1 1",)]
    assert every.digests[1] == every.digests[2] == first.digests[1]


KILLED = """
import sys, time
from pathlib import Path
from tests.data import packs
from harness.data import file_memory
from harness.data.opening import open_dataset
file_memory._SETTLED_NS = 0
read = packs.PackedImage._read
def slowly(image):
    time.sleep(0.002)
    return read(image)
packs.PackedImage._read = slowly
print(open_dataset(sys.argv[1], {"packs": packs.PackReader()}).fingerprint, flush=True)
"""


def test_a_killed_indexing_goes_on_and_gives_the_undisturbed_index(tmp_path: Path, opened: Open) -> None:
    folder = tmp_path / "packs"
    for number in range(12):
        write_pack(folder, f"{number:02d}", rows(f"r{number}-", 25))
    chance = random.Random(5)
    command = [sys.executable, "-c", KILLED, str(folder)]
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        time.sleep(chance.uniform(0.3, 1.2))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    left = {path.stem for path in stored() if path.suffix == ".json"}
    dataset, asked = opened()
    assert len(asked) == 12 - len(left - {path.stem for path in stored() if path.parent.name == "sets"})
    assert dataset.fingerprint == unindexed(tmp_path).fingerprint
    assert opened()[1] == []
