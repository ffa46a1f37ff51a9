"""What a predictor answered, judged where it does not run: checked, scored against the truth, and written down."""

from __future__ import annotations

import shutil
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.arrays import let_go, row_blocks
from harness.errors import InputError, PredictionError
from harness.running.inputs import Inputs
from harness.running.pieces import Piece, PieceStore, images_of, row_file
from harness.running.shared_rows import import_rows
from harness.running.task import Answer, Task, rows_of, task_seed, who
from harness.store.atomic import new_folder, temporary_name
from harness.store.finished import write_task, write_test_predictions
from harness.store.predictions import unit_rows
from harness.store.schema import TaskRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Outcome:
    """How a task ended: ``record`` if well; else ``reason`` and ``trace``.

    Parameters
    ----------
    seconds
        Wall time of a task of which only the test set was left.
    input_fault
        Whether it failed over what the user gave: an option that the predictor finds wrong, or the data.
    ends_run
        Whether that is the data themselves, so that no other task will fare better.
    again
        Whether it was killed at first, as the kernel does where memory runs out, and done again with no other beside
        it.
    """

    task: Task
    record: TaskRecord | None = None
    seconds: float | None = None
    reason: str = ""
    trace: str = ""
    input_fault: bool = False
    ends_run: bool = False
    again: bool = False

    @property
    def well(self) -> bool:
        """Whether all is done that was to be done: a piece leaves no record of a task."""
        return self.record is not None or (self.task.piece is not None and not self.reason)


def answer_place(task: Task, inputs: Inputs) -> Path:
    """Make a folder for an answer, beside where the finished task will lie. ``judge`` removes it."""
    place = temporary_name(inputs.run.task_folder(task.member.name, task.fold, task.key))
    place.mkdir(parents=True)
    return place


def judge(task: Task, inputs: Inputs, place: Path, answer: Answer) -> Outcome:
    """Check an answer, score it, write all down, and remove its place.

    The predictions become unit rows in the order of the fold's rows; those of a wrong shape or kind, or that are not
    finite, fail the task.
    """
    try:
        if answer.reason:
            return _failed(task, inputs, answer)
        if task.piece is not None:
            _keep_piece(task, task.piece, inputs, place, answer)
            return Outcome(task)
        if task.only_test:
            return _with_test(task, inputs, answer)
        return Outcome(task, _written(task, inputs, place, answer))
    except (PredictionError, OSError, ValueError, TypeError) as error:
        kind = "" if isinstance(error, PredictionError) else f"{type(error).__name__}: "
        return Outcome(task, reason=f"{kind}{error}", trace=traceback.format_exc())
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _failed(task: Task, inputs: Inputs, answer: Answer) -> Outcome:
    """Say how a task failed. That the data are wrong is believed only if they are found so here, too."""
    reason, fault = answer.reason, answer.input_fault
    if answer.refused:
        found = _refusal(inputs, answer.refused)
        if found:
            return Outcome(task, reason=found, trace=answer.trace, input_fault=True, ends_run=True)
        reason, fault = f"{reason} (the image can be read; what the plugin did to its process is in the way)", False
    return Outcome(task, reason=reason, trace=answer.trace, input_fault=fault)


def _refusal(inputs: Inputs, image: str) -> str:
    """Return why an image of the run cannot be read; empty if it can."""
    for dataset in (inputs.dataset, inputs.test):
        for source in dataset.images if dataset is not None else ():
            if source.name == image:
                try:
                    source.open()
                except InputError as error:
                    return str(error)
    return ""


def _keep_piece(task: Task, piece: Piece, inputs: Inputs, place: Path, answer: Answer) -> None:
    """Write down the predictions of a piece, or take what it computed ahead over into the cache."""
    store, costs = PieceStore(inputs, task.member), dict(answer.costs)
    files = [row_file(str(name)).name for name in costs.pop("row_files", ())]
    if task.member.trainable:
        import_rows(place / "rows")
        store.write(piece, costs, row_files=files)
        return
    ids = [images_of(piece.of, inputs).ids[i] for i in rows_of(task, inputs)]
    store.write(piece, costs, unit_rows(answer.predictions, ids, who(task)))


def _written(task: Task, inputs: Inputs, place: Path, answer: Answer) -> TaskRecord:
    rows, test = rows_of(task, inputs), inputs.test
    ids = [inputs.dataset.ids[i] for i in rows]
    told, made, of_test = answer.costs, answer.predictions, answer.test
    if task.gathered:
        store = PieceStore(inputs, task.member)
        told, made = told | store.costs(), store.gathered("data")
        of_test = None if test is None else store.gathered("test")
    predictions = unit_rows(made, ids, who(task))
    tested = None if test is None else unit_rows(of_test, list(test.ids), f"{who(task)}, test set")
    record = TaskRecord(**told | _facts(task, inputs, predictions, rows))
    folder = inputs.run.task_folder(task.member.name, task.fold, task.key)
    with new_folder(folder) as half:
        (place / "model").rename(half / "model")
        record = write_task(half, predictions, ids, record)
    if test is not None and tested is not None:
        file = inputs.run.test_file(task.member.name, task.fold, task.key, test.ordered_fingerprint)
        write_test_predictions(file, tested, task.key, test.ordered_fingerprint)
    return record


def _with_test(task: Task, inputs: Inputs, answer: Answer) -> Outcome:
    test = inputs.test
    assert test is not None, "there is a test set to predict"
    made, seconds = answer.test, answer.costs.get("seconds")
    if task.gathered:
        store = PieceStore(inputs, task.member)
        made, seconds = store.gathered("test"), store.seconds("test")
    values = unit_rows(made, list(test.ids), f"{who(task)}, test set")
    file = inputs.run.test_file(task.member.name, task.fold, task.key, test.ordered_fingerprint)
    write_test_predictions(file, values, task.key, test.ordered_fingerprint)
    return Outcome(task, TaskRecord.read(file.with_name("record.json")), seconds=seconds)


def _facts(task: Task, inputs: Inputs, predictions: NDArray[np.float32], rows: NDArray[np.int64]) -> dict[str, Any]:
    cosines = np.empty(len(rows))
    for part in row_blocks(len(rows)):
        targets = np.asarray(inputs.targets[rows[part]], dtype=np.float64)
        cosines[part] = np.einsum("ij,ij->i", predictions[part].astype(np.float64), targets)
        let_go(inputs.targets)
    facts = {
        "predictor": task.member.predictor,
        "version": task.member.version,
        "config": task.member.config,
        "code": task.member.code,
        "key": task.key,
        "fold": task.fold,
        "seed": task_seed(inputs.config.seed, task.member.predictor, task.fold),
        "n": len(rows),
        "score": float(cosines.mean()),
    }
    if task.member.trainable:
        facts["n_train"] = len(inputs.folds.training_rows(task.fold))
        facts["n_purged"] = inputs.folds.purged(task.fold)
    return facts
