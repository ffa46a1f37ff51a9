"""Kill a run, an ensemble and a publication at random moments, and look at what is left.

Each command is killed by SIGINT, SIGTERM, SIGHUP or SIGKILL, sent to the command or to one of its workers. Asked for:
the command ends within 5 s of a signal to it, nothing that it started lives on, no temporary file stays (after SIGKILL:
not after the next command), and the same command, given again, comes to the very numbers of an undisturbed one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.conftest import make_kaggle

COUNT = 100
PLUGIN = Path(__file__).parents[1] / "running" / "slow_plugin.py"
MARK = "HARNESS_CAMPAIGN"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
TOO_LONG = 5.0


class Place:
    """A folder with data, a finished run, and what each command comes to when nobody disturbs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        shutil.copy(PLUGIN, folder)
        make_kaggle(folder / "data")
        make_kaggle(folder / "new")
        self.expected: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        for name in ("run", "ensemble", "publish"):
            began = time.monotonic()
            done = subprocess.run(self.command(name), env=self.environment("-"), cwd=folder, capture_output=True)
            assert done.returncode == 0, done.stderr.decode()
            self.seconds[name] = time.monotonic() - began
            self.expected[name] = self.figures(name)
            shutil.copytree(folder / "run", folder / f"after-{name}")

    def command(self, name: str) -> list[str]:
        run = ["--run-dir", "run"]
        words = {
            "run": [
                *("run", "--data", "data", "--test", "new/images", "--plugin-file", PLUGIN.name, "--folds", "3"),
                *("--plugins", "slow,mean,knn", "--set", "slow.seconds=0.4", "--executor", "parallel", "--jobs", "2"),
            ],
            "ensemble": ["ensemble", "--optimize", "--plugin-file", PLUGIN.name],
            "publish": ["leaderboard", "--publish", "published"],
        }
        return [sys.executable, "-m", "harness.cli", *words[name], *run]

    def environment(self, mark: str) -> dict[str, str]:
        own = {"TMPDIR": self.temporary, "HARNESS_CACHE": self.folder / "cache", "HARNESS_TASKS": self.folder / "tasks"}
        return {**os.environ, **{name: str(path) for name, path in own.items()}, MARK: mark, "HF_HUB_OFFLINE": "1"}

    def figures(self, name: str) -> Any:
        """Return what a command came to, without times."""
        if name == "run":
            records = sorted((self.folder / "run" / "members").glob("*/*/record.json"))
            return {f"{path.parent.parent.name}/{path.parent.name}": _read(path)["score"] for path in records}
        if name == "ensemble":
            told = _read(self.folder / "run" / "blend.json")
            submission = (self.folder / "run" / "submission.csv").read_text(encoding="utf-8")
            return told["weights"], told["nested_score"], hash(submission)
        (file,) = (self.folder / "published").glob("*.json")
        told = _read(file)
        return [(row["plugin"], row["score"]) for row in told["rows"]], told["blends"]

    def reset(self, name: str) -> None:
        """Put the folder into the state before a command."""
        before = {"run": None, "ensemble": "after-run", "publish": "after-ensemble"}[name]
        for path in ("run", "published", "tasks"):
            shutil.rmtree(self.folder / path, ignore_errors=True)
        if before:
            shutil.copytree(self.folder / before, self.folder / "run")

    def left(self) -> list[str]:
        """Return temporary files and folders that are still there."""
        found = [path for path in self.temporary.iterdir() if path.name.startswith("harness")]
        for part in ("run", "published"):
            found += [path for path in (self.folder / part).rglob(".*") if path.name.endswith(".tmp")]
        return [str(path.relative_to(self.folder)) for path in found]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def family(mark: str) -> list[psutil.Process]:
    """Return the processes that a command started, itself among them, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def attempt(place: Place, name: str, number: signal.Signals, worker: bool, delay: float, mark: str) -> list[str]:
    """Kill one command once, and return the faults."""
    place.reset(name)
    command = subprocess.Popen(
        place.command(name),
        env=place.environment(mark),
        cwd=place.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(delay)
    workers = [process for process in family(mark) if process.pid != command.pid] if worker else []
    target = random.choice(workers).pid if workers else command.pid
    faults = []
    with suppress(ProcessLookupError):
        os.kill(target, number)
    began = time.monotonic()
    _, said = command.communicate(timeout=120)
    took = time.monotonic() - began
    if target == command.pid and took > TOO_LONG:
        faults.append(f"took {took:.1f} s to end")
    if b"Traceback" in said or b"defect of harness" in said:
        faults.append(f"said: {said.decode(errors='replace')[-300:]}")
    time.sleep(0.5)
    if alive := family(mark):
        faults.append(f"left {len(alive)} processes alive")
        for process in alive:
            process.kill()
    if number != signal.SIGKILL and (left := place.left()):
        faults.append(f"left {', '.join(left)}")
    again = subprocess.run(place.command(name), env=place.environment(mark), cwd=place.folder, capture_output=True)
    if again.returncode != 0:
        faults.append(f"the same command again ended with {again.returncode}: {again.stderr.decode()[-300:]}")
    elif place.figures(name) != place.expected[name]:
        faults.append("other numbers")
    if left := place.left():
        faults.append(f"left after the next command: {', '.join(left)}")
    return faults


def main(count: int, seed: int) -> int:
    """Run the campaign, print its table, and return 1 if there were faults."""
    random.seed(seed)
    # What a shell runs in the background, or nohup runs, is begun with these ignored, and so would be all it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    tried: Counter[tuple[str, str, str]] = Counter()
    faulty: Counter[tuple[str, str, str]] = Counter()
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        place = Place(Path(folder))
        for i in range(count):
            name = ("run", "run", "ensemble", "publish")[i % 4]
            number, worker = SIGNALS[(i // 4) % 4], name == "run" and i % 2 == 1
            delay = random.uniform(0.05, place.seconds[name])
            kind = name, number.name, "a worker" if worker else "the command"
            faults = attempt(place, name, number, worker, delay, f"{seed}-{i}")
            tried[kind] += 1
            faulty[kind] += bool(faults)
            for fault in faults:
                print(f"{i}: {' '.join(kind)} after {delay:.2f} s: {fault}", file=sys.stderr, flush=True)
    print("| command | signal | to | kills | with a fault |\n| --- | --- | --- | ---: | ---: |")
    for kind in sorted(tried):
        print(f"| {' | '.join(kind)} | {tried[kind]} | {faulty[kind]} |")
    print(f"| all | | | {sum(tried.values())} | {sum(faulty.values())} |")
    return int(any(faulty.values()))
