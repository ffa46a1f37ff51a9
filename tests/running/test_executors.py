"""How many workers and threads there are."""

from __future__ import annotations

import gc

import numpy as np
import psutil
import pytest

from harness.running import executors, memory
from harness.running.executors import Serial, default_jobs
from harness.running.memory import give_back_memory

GIB = 2**30


@pytest.mark.parametrize(
    ("cores", "free", "jobs"), [(2, 20 * GIB, 2), (16, 4 * GIB, 4), (4, GIB // 2, 1), (1, 64 * GIB, 1), (8, 8 * GIB, 8)]
)
def test_workers_have_a_core_and_memory_each(cores: int, free: int, jobs: int) -> None:
    assert default_jobs(cores, free) == jobs


def test_a_container_with_few_cores_has_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors.os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    monkeypatch.setattr(executors, "usable_cores", lambda: 2)
    jobs, variables, _ = Serial().shares([], None)  # type: ignore[arg-type]
    assert (jobs, variables["OMP_NUM_THREADS"], variables["MKL_NUM_THREADS"]) == (1, "2", "3")
    monkeypatch.setattr(executors, "usable_cores", lambda: 64)
    assert Serial().shares([], None) == (1, {}, []), "libraries see themselves how many there are"  # type: ignore[arg-type]


def test_memory_is_looked_for_where_the_process_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(memory, "give_back_memory", lambda: calls.append(1))
    gc.collect()
    tidy = memory.Tidying()
    tidy()
    tidy()
    assert len(calls) == 1, "torch's modules are looked through for nothing else"
    held = np.ones(2**25)  # far more than what other threads may give back meanwhile
    tidy()
    assert len(calls) == 2
    assert len(held)


def test_memory_that_is_let_go_of_is_given_back() -> None:
    process = psutil.Process()
    kept = [bytes(50_000) for _ in range(4000)]  # of the C library's heap, with something behind it that stays
    stays = bytes(50_000)
    before = process.memory_info().rss
    del kept
    gc.collect()
    give_back_memory()
    assert before - process.memory_info().rss > 100e6
    assert stays is not None
