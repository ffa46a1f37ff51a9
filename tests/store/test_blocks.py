"""What is worked on by blocks of rows is what it would be at once, and is never held whole."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.data import arrays
from harness.errors import InputError, PredictionError
from harness.scoring.cosine import row_cosines
from harness.store.predictions import unit_rows
from harness.store.rows import MeanRows, PredictionRows, read_rows


@pytest.fixture
def in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven rows at a time; every mapped array is large."""
    monkeypatch.setattr(arrays.row_blocks, "__defaults__", (7,))
    monkeypatch.setattr(arrays, "_LARGE", 0)


def rows(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 384)).astype(np.float32)


def mapped(path: Path, values: np.ndarray) -> np.ndarray:
    np.save(path, values)
    return np.load(path, mmap_mode="r")


def test_unit_rows_are_the_same_bit_for_bit(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    values, ids = rows(100, 0) * np.float32(1e30), [f"r{i}" for i in range(100)]
    whole = unit_rows(values, ids, "x")
    request.getfixturevalue("in_blocks")
    assert np.array_equal(unit_rows(values, ids, "x"), whole)
    assert np.array_equal(unit_rows(mapped(tmp_path / "p.npy", values), ids, "x"), whole)
    assert unit_rows(np.zeros((0, 384), np.float32), [], "x").shape == (0, 384)


def test_every_wrong_row_is_counted_and_the_first_named(in_blocks: None) -> None:
    ids = [f"r{i}" for i in range(40)]
    values = rows(40, 0)
    values[[3, 20, 33]] = 0.0
    with pytest.raises(PredictionError, match=r"row 'r3' is all zeros \(3 such rows\)"):
        unit_rows(values, ids, "x")
    values[[25, 39], 5] = np.nan
    with pytest.raises(PredictionError, match=r"row 'r25' holds NaN or infinity \(2 such rows\)"):
        unit_rows(values, ids, "x")


def test_cosines_are_the_same_bit_for_bit(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    predictions, targets = rows(100, 0), rows(100, 1)
    predictions[9] = np.nan
    whole = row_cosines(predictions, targets)
    request.getfixturevalue("in_blocks")
    places = np.random.default_rng(2).permutation(100)
    parts = enumerate((slice(60), slice(60, 100)))
    files = [mapped(tmp_path / f"{k}.npy", predictions[places[part]]) for k, part in parts]
    spread = PredictionRows(files, np.empty(100, np.int32), np.empty(100, np.int64), 384)
    spread.file[places], spread.place[places] = np.arange(100) >= 60, np.arange(100) % 60
    for source in (predictions, spread):
        found = row_cosines(source, mapped(tmp_path / "t.npy", targets))
        assert np.array_equal(found, whole, equal_nan=True)
    with pytest.raises(ValueError, match="targets of"):
        row_cosines(predictions, targets[:50])


def test_the_mean_of_fold_models_is_read_by_slices(tmp_path: Path, in_blocks: None) -> None:
    files = [rows(50, seed) for seed in range(3)]
    mean = MeanRows([mapped(tmp_path / f"{k}.npy", values) for k, values in enumerate(files)])
    expected = (sum(values.astype(np.float64) for values in files) / 3).astype(np.float32)
    assert mean.shape == (50, 384)
    assert np.array_equal(mean[:], expected)
    assert np.array_equal(mean[13:31], expected[13:31])
    assert mean[60:].shape == (0, 384)


def test_rows_are_taken_from_a_mapped_array_and_its_pages_let_go(tmp_path: Path, in_blocks: None) -> None:
    values = rows(60, 0)
    source = mapped(tmp_path / "v.npy", values)
    wanted = np.random.default_rng(0).permutation(60)[:41]
    found = arrays.taken(source, wanted)
    assert np.array_equal(found, values[wanted])
    assert found.flags.owndata
    assert found.flags.writeable
    assert np.array_equal(source, values), "it can be read again"
    arrays.let_go(values)  # which is nobody's file


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
def test_pages_that_are_let_go_are_not_the_process_s(tmp_path: Path) -> None:
    def in_files() -> int:
        with Path("/proc/self/status").open() as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssFile"))

    source = mapped(tmp_path / "v.npy", np.ones((50_000, 384), np.float32))  # 77 MB
    before = in_files()
    assert float(source.sum()) == 50_000 * 384
    assert in_files() > before + 60_000
    arrays.let_go(source)
    assert in_files() < before + 10_000


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_the_table_of_rows_comes_back_as_it_was_written(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.data import columns
    from harness.data.folds import Folds
    from harness.store.rows import write_rows
    from tests.data.synthetic import dataset_of

    data = dataset_of(["a cat, red", 'a "boat"\nat dawn', "ein Häuschen", "x"])
    data = dataclasses.replace(data, sources=["v1", "v2", "v1", ""])
    fold, group = np.array([0, 1, 0, 1]), np.array([0, 1, 2, 3])
    folds = Folds(2, 0.7, 0, fold, group, np.zeros((4, 2), np.bool_))
    with (tmp_path / "rows.csv").open("wb") as stream:
        write_rows(stream, data, folds)
        assert not stream.closed
    monkeypatch.setattr(columns, "_STEP", step)  # texts beyond as many rows lie in Arrow
    found = read_rows(tmp_path / "rows.csv")
    assert isinstance(found.ids, list) == isinstance(found.prompts, list) == (step == 5)
    assert list(found.ids) == list(data.ids)
    assert [found.ids[i] for i in range(4)] == list(data.ids)
    assert list(found.prompts) == [texts[0] for texts in data.texts]
    assert list(found.sources or ()) == ["v1", "v2", "v1", ""]
    assert found.sources is not None
    assert found.sources[0] is found.sources[2], "one text of a source serves all its rows"
    assert list(found.pictures or ()) == list(data.digests)
    assert found.fold.tolist() == fold.tolist()
    assert found.group.tolist() == found.part.tolist() == group.tolist()


def test_a_table_that_goes_away_before_its_prompts_are_asked_for_is_told(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("id,fold,group,source,prompt\na,0,0,,a cat\nb,1,1,,a dog\n", encoding="utf-8")
    gone, kept = read_rows(table), read_rows(table)
    assert kept.prompts == ["a cat", "a dog"]
    table.unlink()
    assert kept.prompts == ["a cat", "a dog"]
    with pytest.raises(InputError, match=r"rows\.csv: it was changed or removed meanwhile"):
        gone.prompts  # noqa: B018


def test_the_rows_of_a_large_run_take_little_memory(tmp_path: Path) -> None:
    """In a process of its own: with lists it is 69 MiB, and now 46."""
    table = tmp_path / "rows.csv"
    lines = (f"{i:09d},{i % 5},{i},,{'a prompt of some length ' * 5}{i},{i:032x}\n" for i in range(200_000))
    table.write_text("id,fold,group,source,prompt,picture\n" + "".join(lines), encoding="utf-8")
    script = (
        "import sys, ctypes, ctypes.util\nfrom pathlib import Path\nimport pyarrow\n"
        "from harness.store.rows import read_rows\n"
        "def anonymous():\n"
        "    told = Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(int(line.split()[1]) for line in told if line.startswith('RssAnon'))\n"
        "before = anonymous()\nfound = read_rows(Path(sys.argv[1]))\n"
        "ctypes.CDLL(ctypes.util.find_library('c')).malloc_trim(0)\n"
        "print(anonymous() - before, len(found.ids), found.pictures[199_999])"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(table)], capture_output=True, text=True, check=True)
    taken, count, last = ran.stdout.split()
    assert (count, last) == ("200000", f"{199_999:032x}")
    assert int(taken) < 58 * 1024
