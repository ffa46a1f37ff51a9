"""What a process of the kit does: it loads the class under test, and runs the checks that it is asked for."""

from __future__ import annotations

import logging
import os
import time
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path

from harness.process import Connection
from harness.testing.check import Check
from harness.testing.checks import CHECKS
from harness.testing.records import CheckRecord, ContractError
from harness.testing.subject import Job, Subject


def do_checks(connection: Connection, job: Job, work: Path) -> None:
    """Run checks until there are no more.

    Requests are names of checks. The first reply is ``{"trainable": ...}``, or ``{"error": ...}`` if the class cannot
    be loaded; the others are the fields of a ``CheckRecord``.

    Parameters
    ----------
    connection
        With the process that wants to know.
    job
        What is checked.
    work
        Folder of this process's own.
    """
    connection.print_to(work / "output")
    warnings.simplefilter("default")
    warnings.showwarning = lambda *_, **__: None
    logging.disable(logging.CRITICAL)
    checks = {check.name: check for check in CHECKS}
    try:
        subject = Subject(job, work)
    except (Exception, SystemExit) as error:
        connection.reply({"error": f"{type(error).__name__}: {error} ({_where(error)})"})
        return
    connection.reply({"trainable": bool(getattr(subject.cls, "trainable", True))})
    for name in connection:
        connection.reply(asdict(run_check(checks[name], subject)))
    os._exit(0)  # threads or exit handlers that a predictor left behind concern nobody


def run_check(check: Check, subject: Subject) -> CheckRecord:
    """Run one check and say what became of it."""
    began = time.perf_counter()
    came, mend = "", check.mend
    try:
        check.function(subject)
    except ContractError as error:
        came, mend = error.came, error.mend or mend
    except (Exception, SystemExit) as error:  # whatever a predictor raises breaks the check
        came = f"{type(error).__name__}: {error} ({_where(error)})"
    seconds = round(time.perf_counter() - began, 3)
    if came:
        return CheckRecord(check.name, "failed", check.expected, came, mend, seconds=seconds)
    return CheckRecord(check.name, "passed", check.expected, seconds=seconds)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if Path(frame.filename).parent != Path(__file__).parent] or frames
    return f"{outside[-1].name}, {Path(outside[-1].filename).name} line {outside[-1].lineno}"
