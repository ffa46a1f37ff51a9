"""The machine, caches, submissions and sizes: what must hold of the cases."""

from __future__ import annotations

import re

import torch

from harness.store.run import RunFolder
from tests.cases.case import Ran, expected, task_scores
from tests.conftest import run_harness


@expected("42-big-submission")
def big_submission(ran: Ran) -> None:
    assert "score 1.000000  (95 % interval 1.0000 … 1.0000, 16000 images)" in ran.out
    written = float(re.search(r"GB ([\d.]+)", ran.out)[1])  # type: ignore[index]
    scored = int(re.search(r"(\d+) kB", ran.err)[1]) / 1e6  # type: ignore[index]
    assert (ran.code, written < 0.5, scored < 0.6) == (0, True, True), (written, scored)


@expected("43-seven-rows")
def seven_rows(ran: Ran) -> None:
    assert "10 tasks computed" in ran.err, "seven rows make five folds"
    assert "nested score" in ran.out
    assert "its 7 rows form fewer groups than --folds 8: there are 7; give --folds 7," in ran.text


@expected("44-one-prompt")
def one_prompt(ran: Ran) -> None:
    assert ran.code == 2
    assert "its 8 rows form one group" in ran.text
    assert "so that none can be held out" in ran.text


@expected("47-concurrent-cache")
def concurrent_cache(ran: Ran) -> None:
    assert ran.out.count("6 tasks computed, 0 reused") == 3
    for k in (1, 2, 3):
        said = (ran.folder / f"o{k}.txt").read_text()
        assert "locked" not in said
        assert "Error" not in said


@expected("48-cache-damaged")
def damaged_cache(ran: Ran) -> None:
    # Either the run is done all the same, or the file is named with the mend.
    ends = re.findall(r"tasks computed|(?:sqlite|rows) cannot be used \(.*?\); delete that (?:file|folder)", ran.text)
    assert len(ends) == 2, ran.text
    assert "defect" not in ran.text
    right = task_scores(ran.folder / "run1")
    assert len(right) == 4
    for run in ("run2", "run3"):
        found = task_scores(ran.folder / run)
        assert {task: score for task, score in found.items() if task in right}.items() <= right.items()


@expected("49-cache-unwritable")
def unwritable_cache(ran: Ran) -> None:
    assert "the cache folder /proc/nowhere cannot be written" in ran.err
    assert "the cache folder /dev/null/x" in ran.err
    assert ran.err.count("set HARNESS_CACHE to a folder that can") == 2
    assert not (ran.folder / "run1").exists(), "refused before the run's folder is made"
    assert "scenes at scenes:40" in ran.out, "an empty variable is none"


@expected("56-long-prompts")
def long_prompts(ran: Ran) -> None:
    assert "max_seq_length 256" in ran.out
    (cosines,) = re.findall(r"alone: \[([^\]]*)\]", ran.out)
    assert all(abs(float(value) - 1.0) < 1e-5 for value in cosines.split())
    assert abs(float(ran.out.split("the two long ones: ")[1].split()[0]) - 1.0) < 1e-5
    assert ran.code == 0
    run = run_harness("run", "--data", "photos", "--plugins", "mean", "--folds", 2, "--run-dir", "run", cwd=ran.folder)
    assert run.code == 0, run.err
    groups = RunFolder(ran.folder / "run").rows.group
    assert groups[0] == groups[1], "equal for the encoder, so held out together"
    assert len(set(groups)) > 1


@expected("58-devices")
def devices(ran: Ran) -> None:
    there = {"mps"} if torch.backends.mps.is_available() else set()
    there |= {"cuda"} if torch.cuda.is_available() else set()
    there |= {"cuda:7"} if torch.cuda.device_count() > 7 else set()
    told = dict(
        zip(re.findall(r"^-- (\S+)$", ran.out, flags=re.M), re.split(r"^-- .*$", ran.out, flags=re.M)[1:], strict=True)
    )
    assert list(told) == ["cuda", "cuda:7", "mps", "gpu", "CPU", "meta"]
    for device, said in told.items():
        if device in there:
            assert "tasks computed" in said
            continue
        assert f"Error: --device {device}: " in said
        assert not (ran.folder / f"run-{device}").exists()
    assert "did you mean cuda?" in told["gpu"]
    assert "did you mean cpu?" in told["CPU"]


@expected("65-last-run-gone")
def last_run_gone(ran: Ran) -> None:
    name = ran.out.split()[0]
    assert ran.code == 2
    assert ran.err.count(f"runs/{name}, which was there, is gone") == 3
    assert ran.err.count("start one with `harness run`") == 3
