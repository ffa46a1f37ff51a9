"""What is remembered of a file is believed until it may have been written, whatever its size and time say."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data.file_memory import REREAD_VARIABLE, FileMemory, stamp


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was written long ago, as far as its own time says; its state changed now."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    os.utime(path, (1e9, 1e9))
    return path


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FileMemory:
    """A memory that has a clock of its own: all that was written a moment ago has settled."""
    monkeypatch.setattr("harness.data.file_memory.time.time_ns", lambda: int((time.time() + 10) * 1e9))
    return FileMemory(f"test-{tmp_path.name}-{os.getpid()}")


def keep(memory: FileMemory, file: Path) -> None:
    memory.keep({file: "what it holds"}, {file: stamp(file)})
    assert memory.recall([file]) == {file: "what it holds"}


def over_write(path: Path) -> None:
    path.write_bytes(b"two")


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"two")
    shutil.copystat(path, other)
    other.replace(path)


def copy_keeping_times(path: Path) -> None:
    """What `cp -p` and archives do."""
    other = path.with_name("other")
    other.write_bytes(b"two")
    shutil.copystat(path, other)
    shutil.copy2(other, path)


@pytest.mark.parametrize("change", [over_write, replace, copy_keeping_times])
def test_a_file_that_was_written_is_read_again(change: Callable[[Path], None], file: Path, memory: FileMemory) -> None:
    keep(memory, file)
    before = file.stat()
    time.sleep(0.02)  # beyond the grain of this file system's clock
    change(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    now = file.stat()
    assert (now.st_size, now.st_mtime_ns) == (before.st_size, before.st_mtime_ns), "nothing else tells"
    assert memory.recall([file]) == {}


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path, file: Path) -> None:
    memory = FileMemory(f"test-now-{os.getpid()}")
    memory.keep({file: "what it holds"}, {file: stamp(file)})
    assert memory.recall([file]) == {}


def test_a_file_that_is_written_while_it_is_read_is_not_remembered(file: Path, memory: FileMemory) -> None:
    before = {file: stamp(file)}
    time.sleep(0.02)
    file.write_bytes(b"another")
    memory.keep({file: "what it held"}, before)
    assert memory.recall([file]) == {}


def test_all_is_read_again_where_that_is_asked_for(
    file: Path, memory: FileMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(memory, file)
    monkeypatch.setenv(REREAD_VARIABLE, "1")
    assert memory.recall([file]) == {}
