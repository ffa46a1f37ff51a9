"""The process that tasks are done in, so that what a plugin does to it ends there; ``isolation`` starts and watches it.

It reads pickled requests from stdin: one ``Job``, then an ``Order`` a task, then None. It answers with JSON documents,
one a line, on what was its stdout when it started; by the time a plugin's code runs, stdout and stderr are files.
"""

from __future__ import annotations

import faulthandler
import json
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import IO, Any

from harness.errors import InputError
from harness.running.inputs import Inputs, reopen_inputs
from harness.running.task import Task, run_task

TRACE_SIGNAL: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""Makes a worker write where each of its threads is; None where there are no such signals."""
Answer = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """What a worker is for.

    Parameters
    ----------
    run_dir, config
        The run's folder, and its resolved configuration as JSON.
    lifeline
        File descriptor of a pipe that is closed at the other end when the harness is gone; None where
        descriptors cannot be handed down.
    """

    run_dir: str
    config: str
    lifeline: int | None


@dataclass(frozen=True)
class Order:
    """One task, and the file that takes what is printed meanwhile."""

    task: Task
    output: Path


def main(folder: Path) -> None:
    """Do tasks until told to stop.

    Parameters
    ----------
    folder
        Of this worker's own, removed by the harness: ``log``, ``trace``, and the tasks' scratch folders.
    """
    requests, answer = _set_apart(folder)
    job = requests.get()
    if job is None:
        return
    _die_with_the_harness(job.lifeline)
    _be_the_first_to_go()
    trace = _trace_crashes(folder)
    try:
        inputs = reopen_inputs(job.run_dir, job.config)
    except InputError as error:
        answer({"kind": "failed", "reason": str(error), "trace": traceback.format_exc(), "input_fault": True})
        return
    answer({"kind": "ready"})
    while (order := requests.get()) is not None:
        os.ftruncate(trace.fileno(), 0)
        _do(order, inputs, folder, answer)


def _do(order: Order, inputs: Inputs, folder: Path, answer: Answer) -> None:
    def progress(label: str, done: int, total: int) -> None:
        answer({"kind": "progress", "label": label, "done": done, "total": total})

    with _printing_to(order.output, folder / "log"):
        outcome = run_task(order.task, inputs, progress, folder)
    if outcome.record is not None:
        answer({"kind": "done", "record": outcome.record.document(), "seconds": outcome.seconds})
        return
    answer(
        {"kind": "failed", "reason": outcome.reason, "trace": outcome.trace, "input_fault": outcome.input_fault},
    )


# -- talking to the harness ----------------------------------------------------------------------


def _set_apart(folder: Path) -> tuple[SimpleQueue[Any], Answer]:
    """Keep stdin and stdout for the harness, and give the plugins an empty stdin and a file."""
    stream, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    _redirect(folder / "log")
    lock = Lock()  # a plugin may report progress from several threads

    def answer(document: dict[str, Any]) -> None:
        with lock:
            answers.write(json.dumps(document) + "\n")
            answers.flush()

    requests: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_listen, args=(stream, requests), daemon=True, name="harness-requests").start()
    return requests, answer


def _listen(stream: IO[bytes], requests: SimpleQueue[Any]) -> None:
    try:
        while (request := pickle.load(stream)) is not None:
            requests.put(request)
    except EOFError:  # the harness is gone without a word
        if hasattr(os, "killpg"):
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os._exit(1)
    requests.put(None)


@contextmanager
def _printing_to(path: Path, afterwards: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    _redirect(path)
    try:
        yield
    finally:
        _redirect(afterwards)


def _redirect(path: Path) -> None:
    """Let stdout and stderr, also those of libraries and child processes, go to the end of a file."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a plugin may have closed or replaced it
            stream.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # little is lost in a crash


# -- ending, and leaving a trace -----------------------------------------------------------------


def _die_with_the_harness(lifeline: int | None) -> None:
    """Have the kernel kill this process and all that it started when the pipe's other end closes.

    The thread that listens does the same on every system, but not while a plugin holds the interpreter lock.
    """
    if lifeline is None or not sys.platform.startswith("linux"):
        return
    import fcntl

    os.set_inheritable(lifeline, False)
    set_signal = 10  # F_SETSIG, which the module names only from Python 3.13 on
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, set_signal, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _be_the_first_to_go() -> None:
    """Where memory runs out, Linux shall end this process rather than the harness."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _trace_crashes(folder: Path) -> IO[bytes]:
    """Have the Python frames of all threads written down when the process crashes, is asked to, or ends itself."""
    trace = (folder / "trace").open("ab", buffering=0)
    faulthandler.enable(trace)
    if TRACE_SIGNAL is not None:
        faulthandler.register(TRACE_SIGNAL, trace)
    own, leave = os.getpid(), os._exit

    def leave_a_trace(status: int) -> None:
        if os.getpid() == own:  # forked children end this way as a matter of course
            faulthandler.dump_traceback(trace)
        leave(status)

    os._exit = leave_a_trace  # type: ignore[assignment]
    return trace
