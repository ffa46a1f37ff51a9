"""The cache: each row computed once, by whichever process, and never lost half-way."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from harness.data.cache import DiskCache, RowTable, key_hash
from harness.data.lazy_images import LazyImages
from harness.errors import InputError
from tests.data.synthetic import Nowhere


def images(labels: list[str]) -> LazyImages:
    sources = [Nowhere(label) for label in labels]
    return LazyImages(sources, [source.digest() for source in sources])


def nothing(done: int, total: int) -> None: ...


def test_rows_come_back_in_the_order_asked_for_with_repeats(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path)
    value = {digest: float(i) for i, digest in enumerate(images(list("abcdef")).digests)}

    def compute(part):  # type: ignore[no-untyped-def]
        return np.array([[value[d], 1.0] for d in part.digests])

    rows = cache.rows(["k"], images(list("fabbe")), compute, nothing)
    assert rows[:, 0].tolist() == [5.0, 0.0, 1.0, 1.0, 4.0]


def test_credit_counts_only_rows_that_others_computed(tmp_path: Path) -> None:
    def slow(part):  # type: ignore[no-untyped-def]
        import time

        time.sleep(0.02 * len(part))
        return np.zeros((len(part), 2))

    first, second = DiskCache(tmp_path), DiskCache(tmp_path)
    first.rows(["k"], images(list("abcd")), slow, nothing)
    assert first.credited_seconds == 0.0
    second.rows(["k"], images(list("abcd")), slow, nothing)
    assert second.credited_seconds >= 0.08


def test_a_computation_cut_short_keeps_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.data import cache as module

    monkeypatch.setattr(module, "_CHUNK", 1)
    calls: list[str] = []

    def failing(part):  # type: ignore[no-untyped-def]
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.extend(part.digests)
        return np.zeros((len(part), 1))

    with pytest.raises(KeyboardInterrupt):
        DiskCache(tmp_path).rows(["k"], images(list("abcdef")), failing, nothing)
    again: list[str] = []

    def counting(part):  # type: ignore[no-untyped-def]
        again.extend(part.digests)
        return np.zeros((len(part), 1))

    DiskCache(tmp_path).rows(["k"], images(list("abcdef")), counting, nothing)
    assert len(again) == 3
    assert not set(again) & set(calls)


def test_processes_side_by_side_share_the_work(tmp_path: Path) -> None:
    script = (
        "import sys, time, numpy as np\nfrom pathlib import Path\n"
        "from harness.data.cache import DiskCache\nfrom tests.data.test_cache import images, nothing\n"
        "def compute(part):\n    time.sleep(0.01 * len(part))\n"
        f"    open({str(tmp_path / 'log')!r}, 'a').write(''.join(d + chr(10) for d in part.digests))\n"
        "    return np.zeros((len(part), 1))\n"
        f"cache = DiskCache(Path({str(tmp_path / 'cache')!r}))\n"
        "cache.rows(['k'], images([str(i) for i in range(120)]), compute, nothing)\n"
    )
    root = Path(__file__).parents[2]
    processes = [subprocess.Popen([sys.executable, "-c", script], cwd=root) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    lines = (tmp_path / "log").read_text().split()
    assert len(lines) == len(set(lines)) == 120


def test_values_are_kept_by_key(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute():  # type: ignore[no-untyped-def]
        calls.append(1)
        return np.arange(3.0)

    for _ in range(2):
        assert DiskCache(tmp_path).value(["table", {"b": 1, "a": 2}], compute).tolist() == [0, 1, 2]
    DiskCache(tmp_path).value(["table", {"b": 1, "a": 3}], compute)
    assert len(calls) == 2
    assert key_hash({"b": 1, "a": 2}) == key_hash({"a": 2, "b": 1})


def test_a_wrong_number_of_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gave 0 rows"):
        DiskCache(tmp_path).rows(["k"], images(["a"]), lambda part: np.zeros((0, 2)), nothing)


def test_a_file_that_is_no_cache_is_refused_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(InputError, match="delete that file, or set HARNESS_CACHE"):
        RowTable(path)


def table(path: Path) -> RowTable:
    rows = RowTable(path)
    rows.put([("a", b"1", 0.0)])
    return rows


def test_a_cache_that_is_full_is_told_from_one_that_is_closed_or_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SQLite's own answers: a limit of pages, a lock that is held, a database opened for reading, a folder."""
    rows = table(tmp_path / "rows.sqlite")
    connect = sqlite3.connect

    def message(pragma: str = "", **options: Any) -> str:
        def limited(path: Path, timeout: float) -> sqlite3.Connection:
            db = connect(path, timeout=0, **options)
            db.execute(pragma)
            return db

        with monkeypatch.context() as patched, pytest.raises(InputError, match="HARNESS_CACHE") as caught:
            patched.setattr(sqlite3, "connect", limited)
            rows.put([("b", bytes(100_000), 0.0)])
        return str(caught.value)

    assert "free some space" in message("PRAGMA max_page_count=3")
    assert "make it and its folder writable" in message("PRAGMA query_only=1")
    with sqlite3.connect(rows.path) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "wait until the other command" in message()
        other.rollback()
    other.close()
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(InputError, match="make it and its folder writable"):
        table(tmp_path / "folder.sqlite")


def test_a_value_that_cannot_be_written_leaves_nothing_half_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(stream: Any, value: Any) -> NoReturn:
        stream.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("harness.data.cache.save_array", full)
        with pytest.raises(InputError, match="free some space, or set HARNESS_CACHE"):
            DiskCache(tmp_path).value(["k"], lambda: np.ones(2))
    assert [path.suffix for path in (tmp_path / "values").iterdir()] == [".lock"]
    assert DiskCache(tmp_path).value(["k"], lambda: np.ones(2)).tolist() == [1, 1]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"file/values cannot be written .*set HARNESS_CACHE"):
        DiskCache(tmp_path / "file").value(["k"], lambda: np.ones(2))


def test_a_value_that_cannot_be_read_is_named_and_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    DiskCache(tmp_path).value(["k"], lambda: np.ones(2))
    (stored,) = (tmp_path / "values").glob("*.npy")
    for damaged in (b"", b"no array", stored.read_bytes()[:-3]):
        stored.write_bytes(damaged)
        assert DiskCache(tmp_path).value(["k"], lambda: np.ones(2)).tolist() == [1, 1]
    stored.unlink()
    stored.mkdir()  # nobody may read a folder as a file
    with pytest.raises(InputError, match=f"{stored} cannot be read .*delete it"):
        DiskCache(tmp_path).value(["k"], lambda: np.ones(2))
