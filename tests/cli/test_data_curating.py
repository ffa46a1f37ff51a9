"""``harness data dedup``, ``mix`` and ``convert``: tables and documents, kills at any moment, wrong input."""

from __future__ import annotations

import json
import os
import random
import shutil
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
    out = sets / "out" / name
    chance = random.Random(f"{name} 1")
    killed = halfway = 0
    for attempt in range(KILLS):
        command = [sys.executable, "-m", "harness.cli", *words, "--out", f"out/{name}"]
        process = warm.start(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=sets, env=dict(os.environ)
        )
        if attempt == 0:  # at any time
            time.sleep(chance.uniform(0, took))
        else:  # soon after some more shards are there
            wanted = len(list(out.glob("0*"))) + chance.randint(0, 3)
            while process.poll() is None and len(list(out.glob("0*"))) < wanted:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.05))
        process.kill()
        if process.wait(60) == -signal.SIGKILL:
            killed += 1
            halfway += 0 < len(list(out.glob("0*"))) < len(list((sets / f"{name}-expected").glob("0*")))
        else:
            shutil.rmtree(out)
    assert killed >= 2
    assert halfway >= 1, "no kill came between the first and the last shard"
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
        ("dedup photos --threshold 1.5", ["--threshold 1.5", "up to 1"]),
        ("dedup photos --threshold 0", ["--threshold 0"]),
        ("dedup photos --threshold nan", ["--threshold nan"]),
        ("dedup photos --keep best", ["--keep best", "longest, shortest or first"]),
        ("dedup photos --per-prompt 0", ["--per-prompt 0", "at least 1"]),
        ("dedup photos --seed -1", ["--seed -1"]),
        ("dedup photos --captions some", ["--captions some"]),
        ("dedup photos --out photos", ["--out photos", "not empty", "new folder"]),
        ("dedup photos --to csv --out new", ["--to csv", "parquet or webdataset"]),
        ("convert photos --out new --shard-rows 2 --shard-bytes 1MB", ["--shard-rows and --shard-bytes", "give one"]),
        ("convert photos --out new --shard-rows 0", ["--shard-rows 0", "at least 1"]),
        ("convert photos --out new --shard-bytes many", ["--shard-bytes many", "500MB"]),
        ("convert photos --out new --shard-bytes 0", ["--shard-bytes 0"]),
        ("convert photos --out photos/prompts.csv", ["--out photos/prompts.csv", "it is a file"]),
        ("mix photos photos --out new", ["two sets are called 'photos'", "NAME=DATA"]),
        ("mix photos other=images --out new", ["other: it has no prompts"]),
        ("mix photos --cap date=3", ["--cap date", "no set or source is called that; there are: photos"]),
        ("mix photos --cap photos", ["--cap photos: write NAME=N"]),
        ("mix photos --cap photos=x", ["--cap photos=x", "whole number"]),
        ("mix photos --cap photos=0", ["--cap photos=0", "at least 1"]),
        ("mix photos --cap photos=1 --cap photos=2", ["--cap photos", "given twice"]),
        ("mix photos b=photos --share c=.5", ["--share c", "there are: photos, b"]),
        ("mix photos b=photos --share b=1.5", ["--share b=1.5", "up to 1"]),
        ("mix photos b=photos --share b=half", ["--share b=half", ".25 or 1/3"]),
        ("mix photos b=photos --share b=.7 --share photos=.7", ["1.4 in sum", "lower one"]),
        ("mix photos b=photos --share b=.5 --share photos=.3", ["0.8 in sum", "no other rows"]),
        ("mix photos b=photos --share b=1", ["nothing is left for the other sets"]),
        ("mix photos --rows 0", ["--rows 0"]),
        ("mix photos --exclude-threshold .8", ["--exclude-threshold 0.8", "--exclude DATA"]),
        ("mix photos --exclude images", ["images", "it has no prompts"]),
        ("mix photos --exclude nowhere", ["nowhere", "no such folder"]),
        ("mix photos --exclude photos", ["nothing is left of 16 rows", "16 near a prompt of the evaluation data"]),
        ("mix photos --exclude photos --exclude-threshold 7", ["--exclude-threshold 7"]),
    ],
)
def test_wrong_input_is_named_with_its_mend(harness: Harness, tmp_path: Path, arguments: str, parts: list[str]) -> None:
    make_kaggle(tmp_path / "cwd" / "photos")
    save_image(tmp_path / "cwd" / "images" / "a.png", 1)
    refused(harness("data", *arguments.split()), *parts)
    assert sorted(path.name for path in (tmp_path / "cwd").iterdir() if path.name != "new") == ["images", "photos"]


def test_two_commands_do_not_write_into_one_folder(harness: Harness, tmp_path: Path) -> None:
    from filelock import FileLock

    make_kaggle(tmp_path / "cwd" / "data")
    (tmp_path / "cwd" / "new").mkdir()
    with FileLock(tmp_path / "cwd" / "new" / ".curated.lock"):
        refused(harness("data", "convert", "data", "--out", "new"), "--out new", "another command writes there")
    assert harness("data", "convert", "data", "--out", "new").code == 0
