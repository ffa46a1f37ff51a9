"""Let disks become full in the middle, or be read-only, and look at what is left.

The folder of the run, the cache, the list of finished tasks, temporary files and the output lie in turn on a small disk
of their own (a tmpfs, so that this campaign needs Linux and root) that is read-only, or has a random part of the space
that is needed. Asked for: the command does its work all the same, or ends with one message that says which place it is
and why; no work that was finished is lost; and the same command, once there is space, comes to the numbers of one that
was never disturbed.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.campaigns.kills import Place

COUNT = 6
"""How many sizes each place is tried with, in each command."""
PLACES = {
    "run": ("run", "cache", "tasks", "tmp"),
    "ensemble": ("run", "output", "tmp"),
    "publish": ("run", "published"),
}
"""Folders that each command may have to write into."""
WORDS = ("space", "full", "read-only", "cannot be written", "nothing can be written")


class Disk:
    """A disk of its own below a folder, 64 MiB large."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, leave: int) -> None:
        """Leave so many bytes of space."""
        free = shutil.disk_usage(self.folder).free
        with (self.folder / ".filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(free - leave, 1))

    def free(self) -> None:
        """Give all space back, and let it be written."""
        self._remount("rw")
        (self.folder / ".filler").unlink(missing_ok=True)

    def protect(self) -> None:
        """Let nothing be written."""
        self._remount("ro")

    def _remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.folder)], check=True)

    @property
    def used(self) -> int:
        return shutil.disk_usage(self.folder).used


@contextmanager
def disk_at(folder: Path) -> Iterator[Disk]:
    """Lay a disk over a folder, with what lies in the folder; the folder is as it was when the disk is gone."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="campaign-") as aside:
        shutil.copytree(folder, aside, dirs_exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
        shutil.copytree(aside, folder, dirs_exist_ok=True)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def finished(place: Place) -> dict[str, bytes]:
    """Return the finished tasks of the run, and the blend."""
    kept = [*(place.folder / "run").glob("members/*/*/record.json"), *(place.folder / "run").glob("blend.json")]
    return {str(path.relative_to(place.folder)): path.read_bytes() for path in kept}


def attempt(place: Disks, name: str, where: str, leave: float | None) -> tuple[str, list[str]]:
    """Try one command once, and return how it ended, and the faults.

    ``leave`` is the share of the space that is needed which is left; None: the disk is read-only.
    """
    place.reset(name)
    command = place.command_into(name, where)

    def give() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=place.environment("-"), cwd=place.folder, capture_output=True, text=True, errors="replace"
        )

    with disk_at(place.folder / where) as disk:
        before, faults = finished(place), []
        if leave is None:
            disk.protect()
        else:
            disk.fill(int(leave * place.needs[name, where]))
        done = give()
        disk.free()
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        if "Traceback" in done.stderr or "defect of harness" in done.stderr:
            faults.append(f"said: {done.stderr[-600:]}")
        elif done.returncode:
            told = " ".join(done.stderr.split())
            if len(errors) != 1:
                faults.append(f"{len(errors)} messages: {done.stderr[-600:]}")
            elif not any(word in told.lower() for word in WORDS):
                faults.append(f"no reason: {errors[0]}")
            elif not any(spelt in told for spelt in (f"{where}/", f"{where}:", str(place.folder / where))):
                faults.append(f"no place: {errors[0]}")
        now = finished(place)
        # A command that did its work may have learned another blend; records of tasks stay as they are.
        kept = [file for file in before if done.returncode or not file.endswith("blend.json")]
        if lost := [file for file in kept if now.get(file) != before[file]]:
            faults.append(f"lost {', '.join(lost)}")
        again = give()
        if again.returncode:
            faults.append(f"the same command again ended with {again.returncode}: {again.stderr[-400:]}")
        else:
            if where == "output":
                shutil.copy(place.folder / "output/submission.csv", place.folder / "run/submission.csv")
            if place.figures(name) != place.expected[name]:
                faults.append("other numbers")
        if left := place.left():
            faults.append(f"left {', '.join(left)}")
    return "done" if done.returncode == 0 else "one message", faults


def measure(place: Disks, name: str, where: str) -> int:
    """Return how many bytes a command writes in a place, at least one page."""
    place.reset(name)
    command = place.command_into(name, where)
    with disk_at(place.folder / where) as disk:
        before = disk.used
        subprocess.run(command, env=place.environment("-"), cwd=place.folder, capture_output=True, check=True)
        return max(disk.used - before, 4096)


class Disks(Place):
    """A place that knows what each command needs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        pairs = [(name, where) for name, places in PLACES.items() for where in places]
        self.needs = {(name, where): measure(self, name, where) for name, where in pairs}

    def command_into(self, name: str, where: str) -> list[str]:
        """Return a command that writes its submission to the output folder, if that is what is tried."""
        return self.command(name) + (["--out", "output/submission.csv"] if where == "output" else [])

    def reset(self, name: str) -> None:
        super().reset(name)
        shutil.rmtree(self.folder / "output", ignore_errors=True)
        if name == "run":  # else nothing would be written there
            shutil.rmtree(self.folder / "cache", ignore_errors=True)


def main(count: int, seed: int) -> int:
    """Run the campaign, print its table, and return 1 if there were faults."""
    if not sys.platform.startswith("linux") or os.geteuid():
        print("it mounts small disks, which needs Linux and root", file=sys.stderr)
        return 2
    random.seed(seed)
    came: Counter[tuple[str, str, str, str]] = Counter()
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        place = Disks(Path(folder))
        for (name, where), needed in place.needs.items():
            for share in [None, 0.0, *(random.random() for _ in range(count))]:
                how, faults = attempt(place, name, where, share)
                kind = "read-only" if share is None else "full"
                came[name, where, kind, "with a fault" if faults else how] += 1
                for fault in faults:
                    space = kind if share is None else f"with {share * needed / 1024:.0f} KiB"
                    print(f"{name}, {where} {space}: {fault}", file=sys.stderr, flush=True)
    kinds = ["done", "one message", "with a fault"]
    print(f"| command | place | disk | {' | '.join(kinds)} |\n| --- | --- | --- | {'---: | ' * len(kinds)}")
    for key in dict.fromkeys(key[:3] for key in came):
        print(f"| {' | '.join(key)} | {' | '.join(str(came[*key, kind]) for kind in kinds)} |")
    return int(any(kind == "with a fault" for *_, kind in came))
