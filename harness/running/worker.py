"""What a worker process of a run does: it opens the run's inputs once, and then does the tasks that it is sent."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path

from harness.errors import InputError
from harness.plugin.source import ClassSource
from harness.process import Connection
from harness.running.inputs import reopen_inputs
from harness.running.task import Outcome, Task, run_task


def do_tasks(connection: Connection, run_dir: str, config: str, classes: Sequence[ClassSource] = ()) -> None:
    """Do tasks until there are no more.

    Requests are a ``Task`` and the file that takes what is printed meanwhile. Replies are ``{"kind": ...}``: ``ready``
    once, for each task any number of ``progress``, and then ``done`` or ``failed``.

    Parameters
    ----------
    connection
        With the process of the command.
    run_dir, config
        The run's folder, and its resolved configuration as JSON.
    classes
        Predictor classes that no plugin brings: those of a notebook, say.
    """
    try:
        inputs = reopen_inputs(run_dir, config, [source.load() for source in classes])
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
            outcome = run_task(task, inputs, progress, connection.folder)
        connection.reply(_reply(outcome))


def _reply(outcome: Outcome) -> dict[str, object]:
    if outcome.record is not None:
        return {"kind": "done", "record": outcome.record.document(), "seconds": outcome.seconds}
    return {
        "kind": "failed",
        "reason": outcome.reason,
        "trace": outcome.trace,
        "input_fault": outcome.input_fault,
    }
