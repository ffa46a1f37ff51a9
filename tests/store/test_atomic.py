"""Writes are whole or absent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.errors import PredictionError
from harness.store.atomic import clear_leftovers, new_folder, write_array, write_file, write_json
from harness.store.predictions import unit_rows


def test_a_write_that_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, lambda stream: stream.write(b"old"))

    def failing(stream):  # type: ignore[no-untyped-def]
        stream.write(b"half of the new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_file(path, failing)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name")
def test_a_pipe_or_device_is_written_into_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "out").symlink_to(pipe)  # as /dev/stdout leads to one
    for place in (pipe, tmp_path / "out"):
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            write_file(place, lambda stream: stream.write(b"rows"))
            assert os.read(reader, 100) == b"rows"
        finally:
            os.close(reader)
        assert pipe.is_fifo()
    assert (tmp_path / "out").is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_command_writes_to_its_own_stream_comes_through_a_pipe() -> None:
    code = "from pathlib import Path; from harness.store.atomic import write_file; " + (
        "write_file(Path('/dev/stdout'), lambda stream: stream.write(b'rows'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"rows"), done.stderr


def test_a_link_stays_one_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    far, link, loose = tmp_path / "far" / "file", tmp_path / "link", tmp_path / "loose"
    far.write_bytes(b"old")
    link.symlink_to(far)
    loose.symlink_to(tmp_path / "far" / "new")
    for place in (link, loose):
        write_file(place, lambda stream: stream.write(b"new"))
        assert place.is_symlink()
    assert (far.read_bytes(), (tmp_path / "far" / "new").read_bytes()) == (b"new", b"new")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "task"
    with pytest.raises(RuntimeError), new_folder(final) as half:
        (half / "a").write_text("1")
        assert not final.exists()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_folder(final) as half:
        (half / "a").write_text("1")
        (half / "deep").mkdir()
    assert sorted(p.name for p in final.iterdir()) == ["a", "deep"]
    assert list(tmp_path.iterdir()) == [final]


def test_of_two_that_finish_the_same_folder_the_first_stays(tmp_path: Path) -> None:
    final = tmp_path / "task"
    with new_folder(final) as half:
        (half / "who").write_text("first")
    with new_folder(final) as half:
        (half / "who").write_text("second")
    assert (final / "who").read_text() == "first"
    assert list(tmp_path.iterdir()) == [final]


def test_a_killed_writer_never_leaves_half_a_file_under_its_final_name(tmp_path: Path) -> None:
    script = (
        "import numpy as np\nfrom pathlib import Path\nfrom harness.store.atomic import write_array, write_json\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "for i in range(10**9):\n"
        "    write_array(folder / 'array.npy', np.full((300, 384), i, dtype=np.float32))\n"
        "    write_json(folder / 'record.json', {'i': i, 'long': list(range(2000))})\n"
    )
    for pause in (0.05, 0.11, 0.23):
        process = subprocess.Popen([sys.executable, "-c", script])
        while not (tmp_path / "record.json").exists():
            time.sleep(0.005)
        time.sleep(pause)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        array = np.load(tmp_path / "array.npy")
        assert array.shape == (300, 384)
        assert (array == array[0, 0]).all()
        assert json.loads((tmp_path / "record.json").read_text())["long"][-1] == 1999
    clear_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["array.npy", "record.json"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"score": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_arrays_round_trip(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(5, 384)).astype(np.float32)
    write_array(tmp_path / "deep" / "x.npy", values)
    assert np.array_equal(np.load(tmp_path / "deep" / "x.npy"), values)


def test_predictions_become_unit_rows_whatever_their_length() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 384)).astype(np.float32)
    scaled = rows * np.array([[1e-20], [1e20], [3.0], [1.0]], dtype=np.float32)
    unit = unit_rows(scaled, list("abcd"), "p")
    assert unit.dtype == np.float32
    assert np.allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-6)
    assert np.allclose(unit, unit_rows(rows, list("abcd"), "p"), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:3], r"shape \(3, 384\), expected \(4, 384\)"),
        (lambda rows: rows[:, :383], r"shape \(4, 383\)"),
        (lambda rows: rows[:, :, None], "shape"),
        (lambda rows: np.where(np.arange(4)[:, None] == 2, np.nan, rows), "row 'c' holds NaN"),
        (lambda rows: np.where(np.arange(4)[:, None] == 1, np.inf, rows), "row 'b' holds NaN or infinity"),
        (lambda rows: np.where(np.arange(4)[:, None] == 3, 0.0, rows), "row 'd' is all zeros"),
        (lambda rows: rows.astype(int), "dtype int64"),
    ],
)
def test_what_is_no_prediction_is_refused_by_plugin_and_row(change, message: str) -> None:  # type: ignore[no-untyped-def]
    rows = np.random.default_rng(0).normal(size=(4, 384))
    with pytest.raises(PredictionError, match=message) as refused:
        unit_rows(change(rows), list("abcd"), "plugin 'p' 1, fold 3")
    assert "plugin 'p' 1, fold 3" in str(refused.value)
