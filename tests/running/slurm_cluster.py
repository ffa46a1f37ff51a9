"""A SLURM of this machine: a controller, and nodes that are daemons side by side, with keys and ports of their own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")
_SECONDS = 60

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CryptoType=crypto/munge
ProctrackType=proctrack/pgid
ReturnToService=2
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/spool-%n
SlurmUser=root
StateSaveLocation={folder}/state
SwitchType=switch/none
TaskPlugin=task/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/%n.log
SlurmctldTimeout=10
SlurmdTimeout=10
KillWait=2
MinJobAge=10
MaxArraySize=5
JobRequeue=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=1 RealMemory=8000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why there can be no SLURM here; empty if there can."""
    if absent := [name for name in DAEMONS if _path(name) is None]:
        return f"needs SLURM (Debian's slurm-wlm and munge): there is no {absent[0]}"
    return "" if os.geteuid() == 0 else "needs root, whom the daemons of SLURM run as"


def _path(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class SlurmCluster:
    """Two nodes of one CPU; leaving the context ends all of it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hs-"))
        self.folder.chmod(0o755)
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        (self.folder / "state").mkdir()
        key = self.folder / "key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        port, first = _ports()
        host = socket.gethostname().partition(".")[0]
        text = _CONF.format(folder=self.folder, host=host, port=port, first=first, last=first + 1)
        (self.folder / "slurm.conf").write_text(text)
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self) -> SlurmCluster:
        own = self.folder
        try:
            files = {"key": "key", "socket": "munge.sock", "pid": "munged.pid", "log": "munged.log", "seed": "seed"}
            options = [f"--{what}{'' if what == 'socket' else '-file'}={own / name}" for what, name in files.items()]
            self._start("munged", "--foreground", "--force", *options)
            _until(lambda: (own / "munge.sock").exists())
            self._start("slurmctld", "-D", "-c")
            for name in ("n1", "n2"):
                self.start(name)
            _until(lambda: self.ask("sinfo", "-h", "-N", "-o", "%T").split() == ["idle", "idle"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for name in list(self._nodes):
            self.kill(name)
        for daemon in reversed(self._daemons):
            daemon.kill()
            daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        path = _path(name)
        assert path is not None
        with (self.folder / f"{name}.out").open("ab") as out:
            daemon = subprocess.Popen(
                [path, *arguments],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._daemons.append(daemon)
        return daemon

    def start(self, node: str) -> None:
        """Start a node."""
        self._nodes[node] = self._start("slurmd", "-D", "-N", node)

    def kill(self, node: str) -> None:
        """Kill a node with all that runs on it."""
        daemon = self._nodes.pop(node)
        spool = f"{self.folder}/spool-{node}"
        found = [psutil.Process(daemon.pid)]
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid != daemon.pid and spool in " ".join((*process.cmdline(), *process.environ().values())):
                    found += [process, *process.children(recursive=True)]
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        daemon.wait()
        self._daemons.remove(daemon)

    def ask(self, *command: str) -> str:
        """Return what a command of SLURM prints; nothing if it fails."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout

    def begin_now(self) -> None:
        """Let jobs that were requeued begin: SLURM makes them wait for two minutes."""
        for job in self.ask("squeue", "-h", "--array", "-t", "PENDING", "-o", "%i").split():
            self.ask("scontrol", "update", f"JobId={job}", "StartTime=now")

    def jobs(self) -> list[str]:
        """Return the jobs that run or wait, with their states."""
        return self.ask("squeue", "-h", "--array", "-o", "%i %T").splitlines()


def _ports() -> tuple[int, int]:
    """Return a free port, and the first of two free ones in a row."""
    while True:
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            one.bind(("", 0))
            two.bind(("", 0))
            with suppress(OSError):
                three.bind(("", two.getsockname()[1] + 1))
                return one.getsockname()[1], two.getsockname()[1]


def _until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < until, "SLURM did not start"
        time.sleep(0.2)
