"""What one job of SLURM does: one task, in a process of its own, its answer written where the command will look for it.

A job that was preempted or killed with its machine is begun again by SLURM, or by the command; a fit goes on from its
checkpoint then.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.running.remote.node import NodeWorker
from harness.running.remote.packing import pack, unpack
from harness.running.remote.requests import Request, Setup, versions

REQUEST, PROGRESS, PRINTED, ANSWER, REPLY = "request.pkl", "progress.json", "printed.txt", "answer", "reply.json"
"""The files of a task's place below ``slurm/`` of the run's folder."""
ROWS = "rows"
"""The folder beside those places in which lies what jobs with caches of their own computed ahead."""
_PROGRESS_SECONDS = 1.0


@dataclass(frozen=True)
class Order:
    """What a job is to do.

    Parameters
    ----------
    setup, request
        What it is told of the run, and the task.
    environment
        Variables for the process that does it.
    versions
        Of Python and of the harness, where the command runs.
    """

    setup: Setup
    request: Request
    environment: Mapping[str, str]
    versions: Mapping[str, str]


class Element:
    """The job of one task; submitit calls it, and asks it for a copy where the job is to be begun again."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __call__(self) -> None:
        """Do the task, unless its answer lies there."""
        place = Path(self._place)
        if not (place / REPLY).exists():
            do_order(place)

    def checkpoint(self) -> Any:
        """Return what does the same again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def do_order(place: Path) -> None:
    """Do the task that was ordered in a place, and write there what came of it, the reply last."""
    with (place / REQUEST).open("rb") as stream:  # written by this user's own command
        order: Order = pickle.load(stream)
    shutil.rmtree(place / ANSWER, ignore_errors=True)  # of a job that was ended in the middle
    (place / PRINTED).unlink(missing_ok=True)
    _write(place / PROGRESS, {"host": socket.gethostname(), "at": time.time(), "told": None})
    worker = NodeWorker()
    try:
        problem = _problem(worker, order)
        if problem:
            _write(place / REPLY, {"kind": "unfit", "problem": problem, "host": socket.gethostname()})
            return
        _do(worker, order.request, place)
    finally:
        worker.end()


def _problem(worker: NodeWorker, order: Order) -> str:
    for what, version in versions().items():
        if (wanted := order.versions[what]) != version:
            return f"it has {what} {version}, and the command {wanted}; install {what} {wanted} there"
    look = worker.look(order.setup)
    if look.problem:
        return look.problem
    if not look.sees_run:
        return (
            f"it does not see {order.setup.run_dir}; put the run's folder (--run-dir) on a file system that all "
            "machines share"
        )
    problem = worker.open(order.environment, (), ())
    if not problem and not look.sees_cache:
        rows = Path(order.setup.run_dir) / "slurm" / ROWS
        worker.take_rows(parcel for folder in sorted(rows.glob("[!.]*")) for parcel in pack(folder))
    return problem


def _do(worker: NodeWorker, request: Request, place: Path) -> None:
    last = 0.0
    for kind, what in worker.do(request):
        if kind == "progress":
            if time.monotonic() - last > _PROGRESS_SECONDS:
                last = time.monotonic()
                _write(place / PROGRESS, {"host": socket.gethostname(), "at": time.time(), "told": list(what[-1])})
        elif kind == "printed":
            (place / PRINTED).write_bytes(what)
        elif kind == "answer":
            unpack(what, place / ANSWER)
        elif kind == "ended":
            _write(place / REPLY, {"kind": "ended", "end": asdict(what)})
        else:
            _write(place / REPLY, what)


def _write(path: Path, document: Any) -> None:
    """Write whole or not at all: it is read from another machine meanwhile."""
    half = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        half.write_text(json.dumps(document), encoding="utf-8")
        half.replace(path)
    except OSError as error:
        with suppress(OSError):
            half.unlink()
        if path.name != PROGRESS:
            raise
        sys.stderr.write(f"{path}: {error}\n")
