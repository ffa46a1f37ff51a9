"""Ray clusters on this machine: each node some processes with a temporary folder of their own, which can be killed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

_START_SECONDS = 120
_TOKEN = secrets.token_hex(32)
"""Of all clusters of this process: Ray reads it once."""


class RayNodes:
    """A cluster of this machine; leaving its context kills all of it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hr-"))  # short: names of sockets have 107 characters
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _TOKEN}
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> RayNodes:
        return self

    def __exit__(self, *error: object) -> None:
        for name in list(self._started):
            self.kill(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *names: str, cpus: int = 1, **variables: str) -> None:
        """Start nodes, and wait until they are there; the first of all is the head, whose address others join.

        ``variables`` are set for them beside those of this process.
        """
        for name in names:
            self._begin(name, cpus, variables)
            if "RAY_ADDRESS" not in self.environment:
                (found,) = re.findall(r"--address='([^']+)'", self._wait(name))
                self.environment["RAY_ADDRESS"] = found
        for name in names:
            self._wait(name)

    def _begin(self, name: str, cpus: int, variables: dict[str, str]) -> None:
        own = self.folder / name
        (own / "tmp").mkdir(parents=True, exist_ok=True)
        address = self.environment.get("RAY_ADDRESS")
        place = ["--head", "--port=0", "--include-dashboard=false"] if address is None else [f"--address={address}"]
        command = [
            *(sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", *place, "--block"),
            *(f"--num-cpus={cpus}", f"--node-name={name}", f"--temp-dir={own}", "--object-store-memory=100000000"),
            *("--dashboard-agent-listen-port=0", "--disable-usage-stats"),
        ]
        environment = {**os.environ, **self.environment, "TMPDIR": str(own / "tmp"), **variables}
        environment.pop("RAY_ADDRESS", None)
        with (own / "log").open("wb") as log:
            self._started[name] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )

    def _wait(self, name: str) -> str:
        log, until = self.folder / name / "log", time.monotonic() + _START_SECONDS
        while "Ray runtime started" not in (text := log.read_text(encoding="utf-8")) or "To terminate" not in text:
            assert self._started[name].poll() is None, text
            assert time.monotonic() < until, text
            time.sleep(0.1)
        return text

    def processes(self, name: str) -> list[psutil.Process]:
        """Return the processes of a node."""
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._started[name].pid)
            return [root, *root.children(recursive=True)]
        return []

    def kill(self, name: str) -> None:
        """Kill a node with all that runs on it, as a machine that loses its power does."""
        found = self.processes(name)
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=10)
        self._started.pop(name).wait(10)
