"""What a worker process of a run does: it opens the run's inputs once, and then does the tasks that it is sent."""

from __future__ import annotations

import traceback
from pathlib import Path

from harness.errors import InputError
from harness.process import Connection
from harness.running.bench import worker_bench
from harness.running.task import Outcome, Task, run_task


def do_tasks(connection: Connection, run_dir: str, config: str) -> None:
    """Do tasks until there are no more.

    Requests are a ``Task`` and the file that takes what is printed meanwhile. Replies are ``{"kind": ...}``: ``ready``
    once, for each task any number of ``progress``, and then ``done`` or ``failed``.

    Parameters
    ----------
    connection
        With the process of the command.
    run_dir, config
        The run's folder, and its resolved configuration as JSON.
    """
    try:
        bench = worker_bench(run_dir, config)
    except InputError as error:
        connection.reply({"kind": "failed", "reason": str(error), "trace": traceback.format_exc(), "input_fault": True})
        return
    connection.reply({"kind": "ready"})

    def progress(label: str, done: int, total: int) -> None:
        connection.reply({"kind": "progress", "label": label, "done": done, "total": total})

    request: tuple[Task, Path]
    for request in connection:
        task, output = request
        with connection.printing_to(output):
            outcome = run_task(task, bench, progress, connection.folder)
        connection.reply(_reply(outcome))


def _reply(outcome: Outcome) -> dict[str, object]:
    if outcome.record is not None:
        return {"kind": "done", "record": outcome.record}
    return {
        "kind": "failed",
        "reason": outcome.reason,
        "trace": outcome.trace,
        "input_fault": outcome.input_fault,
    }
