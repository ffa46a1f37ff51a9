"""Row files: rows by content, written by many, found in any order, and never taken for what they are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.cache import DiskCache
from harness.data.row_files import RowFile, StoredRows, content_keys, distinct, hashed_keys
from harness.errors import InputError
from tests.data.test_cache import images, nothing

ROOT = Path(__file__).parents[2]


def keys_of(*names: str) -> np.ndarray:
    return hashed_keys(name.encode() for name in names)


def filled(folder: Path, count: int = 10, width: int = 3) -> tuple[RowFile, np.ndarray, np.ndarray]:
    keys = keys_of(*map(str, range(count)))
    rows = np.random.default_rng(0).random((count, width), dtype=np.float32)
    file = RowFile(folder)
    file.add(keys[:4], rows[:4], 0.5)
    file.add(keys[4:], rows[4:], 0.25)
    return file, keys, rows


@settings(max_examples=50)
@given(st.lists(st.integers(0, 30), max_size=40), st.lists(st.integers(0, 40), max_size=40))
def test_rows_are_found_by_content_in_any_order(tmp_path_factory: pytest.TempPathFactory, there, asked) -> None:  # type: ignore[no-untyped-def]
    file = RowFile(tmp_path_factory.mktemp("rows") / "k.rows")
    for name in dict.fromkeys(there):
        file.add(keys_of(str(name)), np.array([[name, -name]], dtype=np.int32), 1.0)
    numbers = file.find(keys_of(*map(str, asked)) if asked else np.empty((0, 2), np.uint64))
    assert [number >= 0 for number in numbers] == [name in there for name in asked]
    known = [name for name in asked if name in there]
    if known:
        assert file.gather(numbers[numbers >= 0])[:, 1].tolist() == [-name for name in known]
        assert file.seconds(numbers[numbers >= 0]) == len(known)


def test_keys_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    keys = np.array([[7, 3], [7, 1], [8, 1], [7, 2]], dtype=np.uint64)
    file = RowFile(tmp_path / "k.rows")
    file.add(keys, np.arange(4.0)[:, None], 0.0)
    assert file.find(keys[::-1]).tolist() == [3, 2, 1, 0]
    assert file.find(np.array([[7, 4], [9, 1], [0, 0]], dtype=np.uint64)).tolist() == [-1, -1, -1]
    first, which = distinct(keys[[1, 0, 1, 3, 0]])
    assert sorted(first.tolist()) == [0, 1, 3]
    assert first[which].tolist() == [0, 1, 0, 3, 1]


def test_digests_of_any_length_are_keys() -> None:
    digests = ["0" * 31 + "1", "f" * 32]
    assert content_keys(digests).tolist() == [[0, 1], [2**64 - 1, 2**64 - 1]]
    assert len(np.unique(content_keys(["a", "b", "a" * 64]), axis=0)) == 3
    assert content_keys([]).shape == (0, 2)


def test_two_files_of_different_kinds_are_not_mixed(tmp_path: Path) -> None:
    file, keys, _ = filled(tmp_path / "k.rows")
    for other in (np.zeros((1, 4), np.float32), np.zeros((1, 3), np.float64)):
        with pytest.raises(ValueError, match="where others have"):
            RowFile(file.folder).add(keys[:1], other, 0.0)
    assert len(RowFile(file.folder).gather(np.arange(10))) == 10


def test_what_a_kill_left_half_is_computed_again_and_nothing_else(tmp_path: Path) -> None:
    """A row without its entry, an entry that is cut off, rows that are cut off: each as a kill or a full disk does."""
    for damage in ("rows.bin +5", "index.bin +7", "index.bin -1", "rows.bin -1"):
        file, keys, rows = filled(tmp_path / damage / "k.rows")
        name, change = damage.split()
        path = file.folder / name
        if int(change) > 0:
            with path.open("ab") as stream:
                stream.write(b"x" * int(change))
        else:
            os.truncate(path, path.stat().st_size + int(change))
        again = RowFile(file.folder)
        numbers = again.find(keys)
        lost = [9] if int(change) < 0 else []
        assert np.flatnonzero(numbers < 0).tolist() == lost
        again.add(keys[9:], rows[9:], 0.0)
        assert np.array_equal(RowFile(file.folder).gather(again.find(keys)), rows), damage


def test_damage_is_named_with_the_mend(tmp_path: Path) -> None:
    def spoilt(name: str, content: bytes) -> str:
        file, keys, _ = filled(tmp_path / str(len(list(tmp_path.iterdir()))) / "k.rows")
        path = file.folder / name
        path.write_bytes(content + path.read_bytes()[len(content) :])
        again = RowFile(file.folder)
        with pytest.raises(
            InputError, match=r"k\.rows cannot be used .* delete that folder, or set HARNESS_CACHE"
        ) as e:
            again.gather(again.find(keys))
        return str(e.value)

    assert "row 0 is not what was written" in spoilt("rows.bin", b"damage")
    assert "layout.json" in spoilt("layout.json", b"no JSON at all")
    assert "layout.json" in spoilt("layout.json", json.dumps({"shape": [3], "dtype": "|O"}).encode() + b" " * 40)
    file, keys, rows = filled(tmp_path / "index" / "k.rows")
    (file.folder / "index.bin").write_bytes(bytes(24 * 10))
    again = RowFile(file.folder)
    assert (again.find(keys) < 0).all(), "entries of nothing are found by nobody"
    again.add(keys, rows, 0.0)
    assert np.array_equal(again.gather(again.find(keys)), rows)


def test_rows_that_get_shorter_while_they_are_read_are_no_crash(tmp_path: Path) -> None:
    file, keys, _ = filled(tmp_path / "k.rows")
    numbers = file.find(keys)
    os.truncate(file.folder / "rows.bin", 20)
    with pytest.raises(InputError, match="cut off"):
        file.gather(numbers)


def test_a_cache_that_cannot_be_written_is_read_all_the_same_and_named_when_it_must_be_written(tmp_path: Path) -> None:
    DiskCache(tmp_path).rows(["k"], images(list("abc")), lambda part: np.ones((len(part), 2)), nothing)
    (folder,) = (tmp_path / "rows").iterdir()
    for lock in folder.glob("*.lock"):
        lock.unlink()
        lock.mkdir()  # nobody may lock a folder
    found = DiskCache(tmp_path).rows(["k"], images(list("cab")), lambda part: pytest.fail("computed again"), nothing)
    assert found.shape == (3, 2)
    with pytest.raises(InputError, match=r"the cache folder .* cannot be written .*; set HARNESS_CACHE"):
        RowFile(folder).add(keys_of("d"), np.ones((1, 2)), 0.0)


def test_writers_side_by_side_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, numpy as np\nfrom pathlib import Path\nfrom harness.data.row_files import RowFile, hashed_keys\n"
        f"file, own = RowFile(Path({str(tmp_path / 'k.rows')!r})), int(sys.argv[1])\n"
        "for i in range(60):\n"
        "    name = own * 1000 + i\n"
        "    file.add(hashed_keys([str(name).encode()]), np.full((1, 500), name), 0.0)\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, str(k)], cwd=ROOT) for k in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    names = [1000 * k + i for k in range(3) for i in range(60)]
    file = RowFile(tmp_path / "k.rows")
    assert file.gather(file.find(keys_of(*map(str, names))))[:, 499].tolist() == names


def test_stored_rows_are_read_by_slices_positions_and_masks(tmp_path: Path) -> None:
    value = {digest: float(i) for i, digest in enumerate(images(list("abcde")).digests)}

    def compute(part):  # type: ignore[no-untyped-def]
        return np.array([[value[d], 1.0] for d in part.digests])

    stored = DiskCache(tmp_path).stored(["k"], images(list("edcbaa")), compute, nothing)
    assert isinstance(stored, StoredRows)
    assert (stored.shape, stored.dtype, len(stored)) == ((6, 2), np.float64, 6)
    assert stored[1:3][:, 0].tolist() == [3.0, 2.0]
    assert stored[np.array([5, 0])][:, 0].tolist() == [0.0, 4.0]
    assert stored[np.array([True] + 5 * [False])][:, 0].tolist() == [4.0]
    assert np.asarray(stored)[:, 0].tolist() == [4.0, 3.0, 2.0, 1.0, 0.0, 0.0]


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
def test_rows_are_held_once_while_they_are_gathered(tmp_path: Path) -> None:
    """100 MB of rows, in an order of chance: beside them a few blocks, and no page of the file."""
    script = (
        "import sys, resource, numpy as np\nfrom pathlib import Path\nfrom harness.data.row_files import RowFile\n"
        "file, keys = RowFile(Path(sys.argv[1])), np.arange(80_000, dtype=np.uint64).reshape(-1, 2)\n"
        "for start in range(0, 40_000, 4000):\n"
        "    file.add(keys[start : start + 4000], np.full((4000, 640), start, dtype=np.float32), 0.0)\n"
        "numbers = file.find(keys[np.random.default_rng(0).permutation(40_000)])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "rows = file.gather(numbers)\n"
        "print(rows.nbytes, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "k.rows")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    size, more = map(int, done.stdout.split())
    assert size == 40_000 * 640 * 4
    assert more < 1.4 * size
