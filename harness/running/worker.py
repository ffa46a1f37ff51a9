"""What a worker process of a run does: it embeds texts and does tasks, as it is asked to."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.arrays import save_array
from harness.data.targets import PromptEncoder
from harness.errors import HarnessError, InputError
from harness.plugin.importing import readable
from harness.plugin.process_state import ProcessState
from harness.plugin.source import ClassSource
from harness.running.inputs import reopen_inputs
from harness.running.memory import Tidying, give_back_memory
from harness.running.task import Answer, Task, do_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.process import Connection
    from harness.running.inputs import Inputs


@dataclass(frozen=True)
class Embed:
    """A request: embed texts on a torch device, and write the vectors to a file."""

    encoder: str
    device: str
    texts: Sequence[str]
    file: Path


@dataclass(frozen=True)
class OpenInputs:
    """A request: open the inputs of a run that has begun, which the tasks that follow work on.

    Parameters
    ----------
    run_dir, config
        The run's folder, and its resolved configuration as JSON.
    readers
        Keys of the plugins that read its data.
    fingerprints
        What the data and the test set have to be; empty where that is known.
    """

    run_dir: str
    config: str
    readers: Sequence[str]
    fingerprints: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class DoTask:
    """A request: do a task.

    Parameters
    ----------
    task
        The task.
    plugin
        Key of the plugin that brings its predictor, or the class itself where none does. Nothing else is imported.
    place
        The folder that takes the answer.
    output
        The file that takes what is printed meanwhile.
    export
        Whether rows that a piece computed ahead are handed over, too, since the command has another cache.
    """

    task: Task
    plugin: str | ClassSource
    place: Path
    output: Path
    export: bool = False


def serve(connection: Connection) -> None:
    """Do what is asked for until there is no more.

    Replies are ``{"kind": ...}``: ``embedded``; ``ready`` when inputs are open; for a task any number of ``progress``,
    and then ``done``. Instead of each there may be ``failed``; after inputs that cannot be opened the process ends.

    What a task did to the process is taken back before anything else is done; ``left`` of its reply names what could
    not be, and then this process is to be asked nothing more.
    """
    inputs: Inputs | None = None
    brought: set[str] = set()
    encoder: PromptEncoder | None = None
    tidy = Tidying()

    def progress(label: str, done: int, total: int) -> None:
        connection.reply({"kind": "progress", "label": label, "done": done, "total": total})

    for request in connection:
        match request:
            case Embed():
                try:
                    if encoder is None or (encoder.source, encoder.device) != (request.encoder, request.device):
                        encoder = PromptEncoder(request.encoder, request.device)
                    save_array(request.file, encoder.embed(request.texts))  # more may follow: its model stays
                    connection.reply({"kind": "embedded"})
                except HarnessError as error:
                    connection.reply(_failure(error))
                except OSError as error:
                    connection.reply(_failure(HarnessError(_unwritten(request.file.parent, error))))
            case OpenInputs():
                encoder = inputs = None
                gc.unfreeze()
                give_back_memory()  # of its model, which no task needs
                try:
                    inputs = reopen_inputs(request.run_dir, request.config, request.readers, request.fingerprints)
                except InputError as error:
                    connection.reply(_failure(error))
                    return
                gc.freeze()  # modules, torch's above all: to look through them took .3 s after each task
                connection.reply({"kind": "ready"})
            case DoTask():
                assert inputs is not None, "inputs are opened before the first task"
                state = ProcessState()
                with connection.printing_to(request.output):
                    answer = _do(request, inputs, progress, connection.folder, brought)
                    left = state.restore(brought).left
                reply = _written(request.place, answer, left)
                del answer
                tidy()
                connection.reply(reply)


def _do(
    request: DoTask, inputs: Inputs, progress: Callable[[str, int, int], None], folder: Path, brought: set[str]
) -> Answer:
    """Import what a task needs and do it; ``brought`` takes the package that its predictor is in."""
    try:
        if isinstance(request.plugin, str):
            inputs.manager.add(request.plugin)
        else:
            inputs.manager.add_class(request.plugin.load())
        predictor = inputs.manager.predictor(request.task.member.predictor)
        brought.add(predictor.__module__.partition(".")[0])
    except Exception as error:  # its module may have changed since the command began
        return Answer(reason=f"its plugin cannot be loaded: {readable(error)}", trace=traceback.format_exc())
    return do_task(request.task, inputs, request.place, progress, folder, export=request.export)


def _unwritten(folder: Path, error: OSError) -> str:
    return (
        f"the embedded prompts cannot be written to {folder} ({error.strerror or error}); free some space, or set "
        "TMPDIR to a folder on another disk"
    )


def _failure(error: HarnessError) -> dict[str, object]:
    return {
        "kind": "failed",
        "reason": str(error),
        "trace": traceback.format_exc(),
        "input_fault": isinstance(error, InputError),
    }


def _written(place: Path, answer: Answer, left: list[str]) -> dict[str, object]:
    """Write the arrays of an answer, and return the rest as a reply."""
    try:
        for name, array in (("predictions", answer.predictions), ("test", answer.test)):
            if array is not None:
                save_array(place / f"{name}.npy", array)
    except OSError as error:  # a full disk
        answer = Answer(reason=f"its predictions cannot be written: {error}", trace=traceback.format_exc())
    told = {"costs": answer.costs, "reason": answer.reason, "trace": answer.trace}
    return {"kind": "done", **told, "input_fault": answer.input_fault, "refused": answer.refused, "left": left}


def read_answer(place: Path, reply: Mapping[str, Any]) -> Answer:
    """Return the answer that a worker process wrote to a place and replied, in the process that asked for it.

    Raises ``OSError``, ``ValueError`` or ``KeyError`` if it is not what ``serve`` writes.
    """

    def array(name: str) -> NDArray[Any] | None:
        path = place / f"{name}.npy"
        return np.load(path, mmap_mode="r", allow_pickle=False) if path.is_file() else None

    told = {name: str(reply[name]) for name in ("reason", "trace", "refused")}
    return Answer(array("predictions"), array("test"), dict(reply["costs"]), input_fault=reply["input_fault"], **told)
