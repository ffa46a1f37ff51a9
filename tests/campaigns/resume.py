"""Kill a run in the middle of its fits, and see that it goes on from its checkpoints to the very same numbers.

SIGKILL is sent at random moments to the worker process, which the command then replaces, or to the command, which is
then given again. Asked for: predictions equal bit for bit, and no checkpoint left. Told: seconds lost a kill, beside a
run that nobody disturbs and which writes its checkpoints, too.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.campaigns.kills import MARK, family

COUNT = 30
COMMAND = (
    *("run", "--data", "scenes:240:3", "--plugins", "clipnet", "--folds", "2", "--run-dir", "run"),
    *("--checkpoint-minutes", "0.03", "--set", "clipnet.epochs=6", "--set", "clipnet.head_epochs=60"),
    *("--set", "clipnet.crop_min=0.8"),
)


class Place:
    """A folder for runs, and what one comes to that nobody disturbs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run("-")  # fills the cache, as it is in all that follow
        shutil.rmtree(folder / "tasks")
        shutil.rmtree(folder / "run")
        self.seconds = self.run("-")
        self.expected = self.predictions()

    def environment(self, mark: str) -> dict[str, str]:
        own = {"HARNESS_CACHE": self.folder / "cache", "HARNESS_TASKS": self.folder / "tasks"}
        return {**os.environ, **{name: str(path) for name, path in own.items()}, MARK: mark, "HF_HUB_OFFLINE": "1"}

    def start(self, mark: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "harness.cli", *COMMAND],
            env=self.environment(mark),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def run(self, mark: str) -> float:
        """Run to the end, and return the seconds it took."""
        began = time.monotonic()
        process = self.start(mark)
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
        return time.monotonic() - began

    def predictions(self) -> dict[str, bytes]:
        """Return what each fold predicted."""
        files = sorted((self.folder / "run" / "members").glob("clipnet/fold-*/predictions.npy"))
        return {path.parent.name: path.read_bytes() for path in files}


def attempt(place: Place, worker: bool, delay: float, mark: str) -> tuple[float, list[str]]:
    """Kill one run once; return the seconds that it took longer, and the faults."""
    for name in ("run", "tasks"):
        shutil.rmtree(place.folder / name, ignore_errors=True)
    began = time.monotonic()
    command = place.start(mark)
    time.sleep(delay)
    workers = [process for process in family(mark) if process.pid != command.pid] if worker else []
    with suppress(ProcessLookupError):
        os.kill(workers[0].pid if workers else command.pid, signal.SIGKILL)
    _, said = command.communicate(timeout=600)
    if command.returncode == -signal.SIGKILL:
        place.run(mark)
    took = time.monotonic() - began
    faults = []
    if command.returncode not in (0, -signal.SIGKILL):
        faults.append(f"the command ended with {command.returncode}: {said.decode()[-300:]}")
    if place.predictions() != place.expected:
        faults.append("other numbers")
    if (place.folder / "run" / "checkpoints").exists():
        faults.append("checkpoints are left")
    return took - place.seconds, faults


def main(count: int, seed: int) -> int:
    """Run the campaign, print its table, and return 1 if there were faults."""
    random.seed(seed)
    lost: dict[str, list[float]] = {"the worker": [], "the command": []}
    faulty = 0
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        place = Place(Path(folder))
        print(f"undisturbed: {place.seconds:.1f} s", flush=True)
        for i in range(count):
            worker = i % 2 == 0
            delay = random.uniform(1.0, place.seconds - 0.5)
            seconds, faults = attempt(place, worker, delay, f"{seed}-{i}")
            lost["the worker" if worker else "the command"].append(seconds)
            faulty += bool(faults)
            for fault in faults:
                print(f"{i}: after {delay:.2f} s: {fault}", file=sys.stderr, flush=True)
    print("| killed | kills | seconds lost, median | most |\n| --- | ---: | ---: | ---: |")
    for name, seconds_lost in lost.items():
        if seconds_lost:
            middle, most = statistics.median(seconds_lost), max(seconds_lost)
            print(f"| {name} | {len(seconds_lost)} | {middle:.1f} | {most:.1f} |")
    print(f"with a fault: {faulty} of {count}")
    return int(faulty > 0)
