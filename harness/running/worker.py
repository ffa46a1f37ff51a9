"""What a worker process of a run does: it embeds texts and does tasks, as it is asked to."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.data.targets import PromptEncoder
from harness.errors import HarnessError, InputError
from harness.plugin.source import ClassSource
from harness.running.inputs import reopen_inputs
from harness.running.task import Outcome, Task, run_task

if TYPE_CHECKING:
    from harness.process import Connection
    from harness.running.inputs import Inputs


@dataclass(frozen=True)
class Embed:
    """A request: embed texts, and write the vectors to a file."""

    encoder: str
    texts: Sequence[str]
    file: Path


@dataclass(frozen=True)
class OpenInputs:
    """A request: open the inputs of a run that has begun, which the tasks that follow work on.

    Parameters
    ----------
    run_dir, config
        The run's folder, and its resolved configuration as JSON.
    classes
        Predictor classes that no plugin brings: those of a notebook, say.
    """

    run_dir: str
    config: str
    classes: Sequence[ClassSource] = ()


@dataclass(frozen=True)
class DoTask:
    """A request: do a task; what is printed meanwhile goes to a file."""

    task: Task
    output: Path


def serve(connection: Connection) -> None:
    """Do what is asked for until there is no more.

    Replies are ``{"kind": ...}``: ``embedded``; ``ready`` when inputs are open; for a task any number of ``progress``,
    and then ``done``. Instead of each there may be ``failed``; after inputs that cannot be opened the process ends.
    """
    inputs: Inputs | None = None

    def progress(label: str, done: int, total: int) -> None:
        connection.reply({"kind": "progress", "label": label, "done": done, "total": total})

    for request in connection:
        match request:
            case Embed():
                try:
                    np.save(request.file, PromptEncoder(request.encoder).embed(request.texts), allow_pickle=False)
                    connection.reply({"kind": "embedded"})
                except HarnessError as error:
                    connection.reply(_failure(error))
            case OpenInputs():
                try:
                    classes = [source.load() for source in request.classes]
                    inputs = reopen_inputs(request.run_dir, request.config, classes)
                except InputError as error:
                    connection.reply(_failure(error))
                    return
                connection.reply({"kind": "ready"})
            case DoTask():
                assert inputs is not None, "inputs are opened before the first task"
                with connection.printing_to(request.output):
                    outcome = run_task(request.task, inputs, progress, connection.folder)
                connection.reply(_outcome(outcome))


def _failure(error: HarnessError) -> dict[str, object]:
    return {
        "kind": "failed",
        "reason": str(error),
        "trace": traceback.format_exc(),
        "input_fault": isinstance(error, InputError),
    }


def _outcome(outcome: Outcome) -> dict[str, object]:
    if outcome.record is not None:
        return {"kind": "done", "record": outcome.record.document(), "seconds": outcome.seconds}
    return {
        "kind": "failed",
        "reason": outcome.reason,
        "trace": outcome.trace,
        "input_fault": outcome.input_fault,
    }
