"""``harness data dedup``, ``mix`` and ``convert``: tables and documents, kills at any moment, wrong input."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.data.targets import PromptEncoder
from tests import warm
from tests.cli.test_bad_input import refused
from tests.conftest import Harness, make_kaggle, run_harness, save_image
from tests.workbench.curated import make_three, read, snapshot

KILLS = 5


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with alpha (320 rows), beta (280 rows) and held (12 rows)."""
    folder = tmp_path_factory.mktemp("sets")
    PromptEncoder().encode([text for path in make_three(folder) for texts in read(path).texts for text in texts])
    return folder


COMMANDS = {
    "dedup": "data dedup alpha --shard-rows 12",
    "mix": "data mix alpha beta --exclude held --share beta=.3 --shard-rows 9 --to webdataset",
    "convert": "data convert beta --shard-bytes 3000",
}


@pytest.mark.long
@pytest.mark.parametrize("name", list(COMMANDS))
def test_killed_at_random_it_comes_to_the_very_files_of_an_undisturbed_command(name: str, sets: Path) -> None:
    words = COMMANDS[name].split()
    began = time.monotonic()
    answer = run_harness(*words, "--out", f"out/{name}", cwd=sets)
    assert answer.code == 0, answer.err
    took = time.monotonic() - began
    (sets / "out" / name).rename(sets / f"{name}-expected")
    expected = snapshot(sets / f"{name}-expected")
    assert len(expected) > 12
    chance = random.Random(f"{name} 1")
    killed = begun = 0
    for attempt in range(KILLS):
        command = [sys.executable, "-m", "harness.cli", *words, "--out", f"out/{name}"]
        process = warm.start(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=sets, env=dict(os.environ)
        )
        if attempt % 2:  # as soon as some more shards are there, or at any time
            wanted = len(list((sets / "out" / name).glob("0*"))) + chance.randint(1, 4)
            while process.poll() is None and len(list((sets / "out" / name).glob("0*"))) < wanted:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.02))
        else:
            time.sleep(chance.uniform(0, took))
        process.kill()
        killed += process.wait(60) == -signal.SIGKILL
        begun += 0 < len(list((sets / "out" / name).glob("0*"))) < len(expected) - 6
    assert killed >= 2
    assert begun >= 1, "no kill came between the first and the last shard"
    answer = run_harness(*words, "--out", f"out/{name}", cwd=sets)
    assert answer.code == 0, answer.err
    assert snapshot(sets / "out" / name) == expected


def test_tables_and_document_tell_the_same(sets: Path) -> None:
    words = ["data", "mix", "alpha", "beta", "--exclude", "held", "--cap", "beta=20"]
    table, document = run_harness(*words, cwd=sets), run_harness(*words, "--json", cwd=sets)
    assert (table.code, document.code) == (0, 0), table.err
    told = document.json
    assert told["action"] == "mix"
    assert told["kept"] == sum(one["kept"] for one in told["sets"]) < told["rows"] == 600
    assert told["sets"][1]["kept"] == 20
    assert f"{told['kept']} of 600 rows stay" in table.out
    for column in (
        "near evaluation",
        "evaluation image",
        "near-duplicate",
        "in an earlier set",
        "equal image",
        "--cap",
    ):
        assert column in table.out
    assert f"{told['held'][0]['nearest_kept']:.4f}" in table.out
    assert told["above"][0]["a"]["text"] in table.out
    assert "removed just within the threshold" in table.out
    assert "nothing was written" in table.err
    assert told["histogram"]["exact"]
    assert told["written"] is None


def test_what_was_written_is_told_and_is_a_data_set(sets: Path, tmp_path: Path) -> None:
    answer = run_harness("data", "dedup", "alpha", "--out", tmp_path / "new", "--json", cwd=sets)
    assert answer.code == 0, answer.err
    assert "report.html has the report" in answer.err
    assert json.loads((tmp_path / "new" / "report.json").read_text()) == answer.json
    described = run_harness("data", "describe", tmp_path / "new", "--json", cwd=sets)
    assert described.json["rows"] == answer.json["written"]["rows"] == answer.json["kept"]
    again = run_harness("data", "dedup", tmp_path / "new", "--json", cwd=sets)
    assert again.json["removed"] == {}  # what is deduplicated stays so


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("dedup nowhere", ["nowhere", "no such folder"]),
        ("dedup images", ["images", "it has no prompts", "name data with prompts"]),
        ("dedup data --threshold 1.5", ["--threshold 1.5", "up to 1"]),
        ("dedup data --threshold 0", ["--threshold 0"]),
        ("dedup data --threshold nan", ["--threshold nan"]),
        ("dedup data --keep best", ["--keep best", "longest, shortest or first"]),
        ("dedup data --per-prompt 0", ["--per-prompt 0", "at least 1"]),
        ("dedup data --seed -1", ["--seed -1"]),
        ("dedup data --captions some", ["--captions some"]),
        ("dedup data --out data", ["--out data", "not empty", "new folder"]),
        ("dedup data --to csv --out new", ["--to csv", "parquet or webdataset"]),
        ("convert data --out new --shard-rows 2 --shard-bytes 1MB", ["--shard-rows and --shard-bytes", "give one"]),
        ("convert data --out new --shard-rows 0", ["--shard-rows 0", "at least 1"]),
        ("convert data --out new --shard-bytes many", ["--shard-bytes many", "500MB"]),
        ("convert data --out new --shard-bytes 0", ["--shard-bytes 0"]),
        ("convert data --out data/prompts.csv", ["--out data/prompts.csv", "it is a file"]),
        ("mix data data --out new", ["two sets are called 'data'", "NAME=DATA"]),
        ("mix data other=images --out new", ["other: it has no prompts"]),
        ("mix data --cap date=3", ["--cap date", "no set or source is called that; there are: data"]),
        ("mix data --cap data", ["--cap data: write NAME=N"]),
        ("mix data --cap data=x", ["--cap data=x", "whole number"]),
        ("mix data --cap data=0", ["--cap data=0", "at least 1"]),
        ("mix data --cap data=1 --cap data=2", ["--cap data", "given twice"]),
        ("mix data b=data --share c=.5", ["--share c", "there are: data, b"]),
        ("mix data b=data --share b=1.5", ["--share b=1.5", "up to 1"]),
        ("mix data b=data --share b=half", ["--share b=half", ".25 or 1/3"]),
        ("mix data b=data --share b=.7 --share data=.7", ["1.4 in sum", "lower one"]),
        ("mix data b=data --share b=.5 --share data=.3", ["0.8 in sum", "no other rows"]),
        ("mix data b=data --share b=1", ["nothing is left for the other sets"]),
        ("mix data --rows 0", ["--rows 0"]),
        ("mix data --exclude-threshold .8", ["--exclude-threshold 0.8", "--exclude DATA"]),
        ("mix data --exclude images", ["images", "it has no prompts"]),
        ("mix data --exclude nowhere", ["nowhere", "no such folder"]),
        ("mix data --exclude data", ["nothing is left of 16 rows", "16 near a prompt of the evaluation data"]),
        ("mix data --exclude data --exclude-threshold 7", ["--exclude-threshold 7"]),
    ],
)
def test_wrong_input_is_named_with_its_mend(harness: Harness, tmp_path: Path, arguments: str, parts: list[str]) -> None:
    make_kaggle(tmp_path / "cwd" / "data")
    save_image(tmp_path / "cwd" / "images" / "a.png", 1)
    refused(harness("data", *arguments.split()), *parts)
    assert sorted(path.name for path in (tmp_path / "cwd").iterdir() if path.name != "new") == ["data", "images"]


def test_two_commands_do_not_write_into_one_folder(harness: Harness, tmp_path: Path) -> None:
    from filelock import FileLock

    make_kaggle(tmp_path / "cwd" / "data")
    (tmp_path / "cwd" / "new").mkdir()
    with FileLock(tmp_path / "cwd" / "new" / ".curated.lock"):
        refused(harness("data", "convert", "data", "--out", "new"), "--out new", "another command writes there")
    assert harness("data", "convert", "data", "--out", "new").code == 0
