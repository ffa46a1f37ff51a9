"""The process that a predictor is checked in: ``python -m harness.testing.worker JOB``.

Reads names of checks from stdin, one a line, and answers each with a record, one JSON document a line, on what was its
stdout when it started; by the time the predictor's code runs, stdout and stderr are files.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.testing.records import Broken, Check, CheckRecord

if TYPE_CHECKING:
    from harness.testing.bench import Bench


def open_job(job: Path, work: Path) -> Bench:
    """Load the class of a job and return what its checks work with.

    Parameters
    ----------
    job
        JSON document that the runner wrote.
    work
        Folder of this process's own.
    """
    from harness.testing.bench import Bench
    from harness.testing.data import KitData
    from harness.testing.source import ClassSource
    from harness.testing.watching import Watch

    document = json.loads(job.read_text(encoding="utf-8"))
    source = ClassSource(**document["source"])
    (work / "output").touch()
    watch = Watch(work / "output")
    before = frozenset(sys.modules)
    cls = source.load()
    imported = frozenset(sys.modules) - before
    data = KitData(Path(document["data"]))
    return Bench(cls, document["options"], data, work, document["device"], imported, watch)


def run_check(check: Check, bench: Bench) -> CheckRecord:
    """Run one check and say what became of it."""
    began = time.perf_counter()
    came, mend = "", check.mend
    try:
        check.function(bench)
    except Broken as broken:
        came, mend = broken.came, broken.mend or mend
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


def _set_apart(output: Path) -> tuple[Any, Any]:
    """Keep stdin and stdout for the runner, give the predictor an empty stdin and a file; return the kept streams."""
    requests, answers = os.fdopen(os.dup(0), "r", encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing, printed = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(nothing, 0)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    warnings.simplefilter("default")
    warnings.showwarning = lambda *_, **__: None
    logging.disable(logging.CRITICAL)
    return requests, answers


def main() -> None:
    """Answer until stdin ends."""
    job = Path(sys.argv[1])
    work = job.parent
    requests, answers = _set_apart(work / "output")

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    try:
        bench = open_job(job, work)
    except (Exception, SystemExit) as error:
        answer({"error": f"{type(error).__name__}: {error} ({_where(error)})"})
        return
    from harness.testing.records import registered

    checks = registered()
    answer({"trainable": bool(getattr(bench.cls, "trainable", True))})
    for line in requests:
        answer(asdict(run_check(checks[line.strip()], bench)))
    answers.close()
    os._exit(0)  # threads or exit handlers that a predictor left behind concern nobody


if __name__ == "__main__":
    main()
