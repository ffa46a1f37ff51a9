"""The number of cores is that which this process may use, whoever limits it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.process import usable_cores

SCHEDULED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_limits_it_is_what_may_be_scheduled_on(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == SCHEDULED
    unlimited = machine(tmp_path, "0::/a\n", {"sys/fs/cgroup/a/cpu.max": "max 100000\n"})
    assert usable_cores(unlimited) == SCHEDULED
    assert 1 <= usable_cores() <= SCHEDULED


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no such limit on this system")
def test_cores_that_are_taken_away_do_not_count() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import harness.process as p; \
raise SystemExit(p.usable_cores())"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "100000 100000\n"}),
        ("0::/pod/box\n", {"sys/fs/cgroup/pod/cpu.max": "90000 100000\n", "sys/fs/cgroup/pod/box/cpu.max": "max 1\n"}),
        ("0::/seen/outside\n", {"sys/fs/cgroup/cpu.max": "5000 100000\n"}),
        (
            "4:cpu,cpuacct:/box\n0::/\n",
            {
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
            },
        ),
    ],
)
def test_the_share_of_a_container_counts(
    groups: str, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    assert usable_cores(machine(tmp_path, groups, files)) == 1


def test_a_share_is_rounded_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    assert usable_cores(machine(tmp_path, "0::/\n", {"sys/fs/cgroup/cpu.max": "250000 100000\n"})) == 3
    no_limit = {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}
    assert usable_cores(machine(tmp_path, "1:cpu:/\n0::/\n", no_limit)) == 3
