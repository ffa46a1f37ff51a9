"""All of ``million`` at three hundred rows: what it makes, each step, its limits, and the table of several sizes."""

from __future__ import annotations

import csv
import json
import os
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.opening import open_dataset
from harness.plugin import PluginManager
from tests.benchmarks import million
from tests.benchmarks.__main__ import parse
from tests.benchmarks.million import STEPS, Options
from tests.benchmarks.million_data import Recipe, families, make
from tests.benchmarks.million_watch import GIB, descendants, watch
from tests.benchmarks.result import Result

pytestmark = pytest.mark.long

ROWS = 300
SMALL = Options(rows=(ROWS,), pictures=20, folds=2)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("million")


@pytest.fixture(scope="module")
def told(work: Path) -> dict[str, Result]:
    """The rows of a measurement, by step."""
    _, *rows = million.measure(replace(SMALL, work=work))
    return {row.what.split(",")[0]: row for row in rows}


def test_every_step_is_measured(told: dict[str, Result], work: Path) -> None:
    assert tuple(told) == STEPS
    found = json.loads((work / "results.json").read_text())[f"{ROWS}-0"]
    assert found["rows"] == ROWS
    for step in STEPS:
        if step == "dedup" and "skipped" in found[step]:
            assert found[step] == {"skipped": "there is no `harness data dedup` yet"}
            continue
        assert "failed" not in found[step], found[step]
        assert found[step]["cpu_seconds"] > 0
        assert 10e6 < found[step]["anonymous"] <= found[step]["resident"] < 4 * GIB
        assert f"{found[step]['seconds']:.1f} s" in told[step].ours
    assert found["run"]["processes"] > 1
    assert {row["plugin"] for row in found["run"]["details"]["rows"]} == {"mean", "ridge", "knn"}
    assert found["targets"]["details"]["rows"] == ROWS


def test_the_submission_has_a_tenth_as_many_images(told: dict[str, Result], work: Path) -> None:
    with (work / f"{ROWS}-0" / "submission.csv").open() as stream:
        names = [row["imgId_eId"] for row in csv.DictReader(stream)]
    assert len(names) == ROWS // 10 * 384
    assert told["ensemble"].ours


def test_rows_are_shards_of_prompts_and_pictures_of_their_own(told: dict[str, Result], work: Path) -> None:
    made = make(work, Recipe(ROWS, pictures=20))
    dataset = open_dataset(str(made.train), PluginManager().readers)
    assert (len(dataset), dataset.layout) == (ROWS, "webdataset")
    assert len(set(dataset.digests)) == ROWS
    assert len(set(dataset.texts)) == made.facts["distinct_prompts"]
    test = open_dataset(str(made.test), PluginManager().readers)
    assert len(test) == ROWS // 10
    assert not test.has_texts
    assert not {np.asarray(image).tobytes() for image in test.lazy_images()} & {
        np.asarray(image).tobytes() for image in dataset.lazy_images()
    }


def test_what_is_made_depends_on_the_seed_alone(told: dict[str, Result], work: Path, tmp_path: Path) -> None:
    ours = [file.read_bytes() for file in sorted((work / f"{ROWS}-0" / "train").glob("*.tar"))]
    again = make(tmp_path, Recipe(ROWS, pictures=20), workers=1)
    assert [file.read_bytes() for file in sorted(again.train.glob("*.tar"))] == ours
    other = make(tmp_path, Recipe(ROWS, seed=1, pictures=20), workers=1)
    assert not set(_texts(other.train)) & set(_texts(again.train))


def test_what_was_made_is_taken_again(tmp_path: Path) -> None:
    recipe = Recipe(8, pictures=2, shared=True)
    first = make(tmp_path, recipe, workers=1)
    mark = first.train / "mark"
    mark.touch()
    assert make(tmp_path, recipe, workers=1) == first
    assert mark.exists()
    make(tmp_path, replace(recipe, pictures=3), workers=1)
    assert not mark.exists()


def test_a_picture_is_shown_by_many_and_shows_what_one_of_them_says(tmp_path: Path) -> None:
    made = make(tmp_path, Recipe(40, pictures=4, shared=True), workers=1)
    files = {}
    for shard in made.train.glob("*.tar"):
        with tarfile.open(shard) as archive:
            for member in archive:
                if member.name.endswith(".jpg"):
                    files[member.name] = archive.extractfile(member).read()  # type: ignore[union-attr]
    assert len(files) == 40
    assert len(set(files.values())) == 4
    (tmp_path / "one.jpg").write_bytes(next(iter(files.values())))
    with Image.open(tmp_path / "one.jpg") as picture:
        assert picture.size == (64, 64)


def test_most_rows_are_alone_and_some_families_are_large() -> None:
    family, variant = families(100_000, np.random.default_rng(0))
    sizes = np.bincount(family)
    assert len(family) == sizes.sum() == 100_000
    assert 0.55 < (sizes == 1).sum() / 100_000 < 0.65
    assert 20 < sizes.max() <= 100
    pairs = np.unique(np.stack([family, variant]), axis=1).shape[1]
    assert 0.8 < pairs / 100_000 < 0.95  # the others are the same prompt once more


def test_a_step_that_passes_a_limit_is_ended_with_all_it_started(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytearray(300_000_000); input()'])"
    usage = watch([sys.executable, "-c", code], tmp_path / "log", {}, most_bytes=200e6)
    assert usage.code is None
    assert usage.reason == "it passed 0.186 GiB"
    assert usage.anonymous > 200e6
    assert usage.processes == 2
    usage = watch([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", {}, most_seconds=0.2)
    assert (usage.code, usage.reason) == (None, "it passed 0.00333 minutes")
    assert usage.seconds < 50
    assert descendants(os.getpid())[0] == os.getpid()


def test_what_is_mapped_is_no_anonymous_memory(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 150_000_000)
    code = f"import mmap; f = open({str(tmp_path / 'large')!r}, 'r+b'); m = mmap.mmap(f.fileno(), 0); "
    code += "sum(m[i] for i in range(0, len(m), 4096)); import time; time.sleep(.3)"
    usage = watch([sys.executable, "-c", code], tmp_path / "log", {})
    assert usage.code == 0
    assert usage.anonymous < 50e6 < 150e6 < usage.resident <= usage.largest + 1e6


def test_what_fails_is_told_and_what_needs_it_is_skipped(tmp_path: Path) -> None:
    options = replace(SMALL, rows=(12,), work=tmp_path, threshold=7.0, steps=("folds", "run", "ensemble"))
    _, folds, run, ensemble = million.measure(options)
    assert folds.ours.startswith("failed after")
    assert "exit code 2" in folds.ours
    assert "skipped: folds did not end well" in run.ours
    assert "skipped: run did not end well" in ensemble.ours


def test_sizes_stand_side_by_side_and_growth_is_marked() -> None:
    def size(rows: int, **seconds: float) -> dict[str, object]:
        steps = {step: _figures(value) for step, value in seconds.items()}
        return {"rows": rows, **steps, "dedup": {"skipped": "none yet"}}

    text = million.table({"b": size(100_000, open=10.0, run=140.0), "a": size(10_000, open=1.0, run=10.0)})
    lines = {line.split("|")[1].strip(): line for line in text.splitlines()}
    assert lines["step"] == "| step | 10000 rows | growth | 100000 rows |"
    assert "time 10.0 x, " in lines["open"]
    assert "time 14.0 x (!), cpu 14.0 x (!), memory 1.0 x" in lines["run"]
    rest = {"b": {**size(100_000, run=20.0), "run": {**_figures(20.0), "gone_on": True}}, "a": size(10_000, run=10.0)}
    (line,) = (line for line in million.table(rest).splitlines() if line.startswith("| run"))
    assert "20.0 s, 1.00 GiB for the rest" in line
    assert "time" not in line, "it is compared with nothing"
    assert lines["dedup"] == "| dedup | skipped: none yet |  | skipped: none yet |"


def test_the_command_line_takes_sizes_and_steps(tmp_path: Path) -> None:
    names, options = parse(["million", "--rows", "300,400", "--steps", "open,run", "--work", str(tmp_path)])
    assert names == ["million"]
    assert options.million == Options(rows=[300, 400], steps=("open", "run"), work=tmp_path)
    assert parse(["million", "--go-on"])[1].million.go_on
    with pytest.raises(SystemExit):
        parse(["million", "--steps", "opne"])


def _figures(seconds: float) -> dict[str, float]:
    return {"seconds": seconds, "cpu_seconds": seconds, "anonymous": GIB}


def _texts(folder: Path) -> list[bytes]:
    texts = []
    for shard in folder.glob("*.tar"):
        with tarfile.open(shard) as archive:
            names = [member for member in archive if member.name.endswith(".txt")]
            texts += [archive.extractfile(member).read() for member in names]  # type: ignore[union-attr]
    return texts


def test_rows_are_opened_twice_and_both_times_are_told() -> None:
    from tests.benchmarks import opening

    first, second = opening.measure((40_000,))
    assert (first.what, second.what) == ("40000 rows opened by an empty cache", "40000 rows opened again")
    assert "bytes a row" in second.ours
