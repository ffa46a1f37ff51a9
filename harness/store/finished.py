"""What a finished task leaves: written once, made read-only, and checked against its record whenever it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.data.arrays import save_array
from harness.errors import InputError
from harness.store.atomic import write_array
from harness.store.checksums import checksum, checksums, require_unchanged
from harness.store.schema import TaskRecord, TaskRows, TestRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_READ_ONLY = 0o444


def write_task(folder: Path, predictions: NDArray[np.float32], ids: Sequence[str], record: TaskRecord) -> TaskRecord:
    """Write a task's predictions and its record beside the model that lies in the folder, and close it all.

    Parameters
    ----------
    predictions, ids
        Unit predictions, shape (rows, 384), and the id of each row.
    record
        What is known of the task.

    Returns
    -------
    TaskRecord
        With the checksum of each file.
    """
    save_array(folder / "predictions.npy", predictions)
    TaskRows(ids=list(ids)).write(folder / "ids.json")
    record = record.model_copy(update={"files": checksums(folder)})
    record.write(folder / "record.json")
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            file.chmod(_READ_ONLY)
    return record


def read_predictions(folder: Path, key: str) -> NDArray[np.float32]:
    """Return a task's predictions, memory-mapped, if they and the ids of their rows are what it left.

    Raises
    ------
    InputError
        If they are not, or cannot be read.
    """
    path = folder / "predictions.npy"
    try:
        record = TaskRecord.read(folder / "record.json")
        if record.key != key:
            raise InputError(f"{folder}: its record is that of another task; {TaskRecord.MEND}")
        for name in ("ids.json", path.name):
            require_unchanged(folder / name, record.files.get(name), TaskRecord.MEND)
        if not record.files:  # of a version that kept no checksums: at least it can be read
            TaskRows.read(folder / "ids.json")
        return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError) as error:  # gone, cut short, or not what it is called
        raise InputError(f"{folder}: its predictions cannot be read ({error}); {TaskRecord.MEND}") from error


def is_whole(folder: Path, key: str) -> bool:
    """Whether a finished task of a key lies in a folder, with predictions and row ids that are those it left."""
    try:
        read_predictions(folder, key)
    except InputError:
        return False
    return True


def has_model(folder: Path) -> bool:
    """Whether what a predictor saved in a finished task's folder lies there unchanged."""
    try:
        require_model_unchanged(folder)
    except InputError:
        return False
    return True


def is_without_model(folder: Path) -> bool:
    """Whether a predictor saved files for a finished task, and none are there: they stayed where it was exported."""
    try:
        files = TaskRecord.read(folder / "record.json").files
    except (InputError, OSError):  # told where the model is asked for
        return False
    return any(name.startswith("model/") for name in files) and not (folder / "model").exists()


def require_model_unchanged(folder: Path) -> None:
    """Raise ``InputError`` if what a predictor saved in a finished task's folder is not what lies there now."""
    files = TaskRecord.read(folder / "record.json").files
    for name, expected in files.items():
        if name.startswith("model/"):
            try:
                require_unchanged(folder / name, expected, TaskRecord.MEND)
            except OSError as error:
                raise InputError(f"{folder / name}: it cannot be read ({error.strerror}); {TaskRecord.MEND}") from error


def read_test_predictions(path: Path) -> NDArray[np.float32]:
    """Return a fold model's predictions of a test set, shape (m, 384), memory-mapped, if they are those that it left.

    Raises ``InputError`` if they are not, or cannot be read.
    """
    try:
        try:
            told = TestRecord.read(path.with_suffix(".json"))
        except FileNotFoundError:  # of a version that wrote none
            return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
        if f"test-{told.fingerprint}.npy" != path.name or not path.parent.name.endswith(told.key):
            raise InputError(f"{path}: they are those of another task; {TestRecord.MEND}")
        require_unchanged(path, told.checksum_npy, TestRecord.MEND)
        return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: they cannot be read ({error}); {TestRecord.MEND}") from error


def write_test_predictions(path: Path, values: NDArray[np.float32], key: str, fingerprint: str) -> None:
    """Write a fold model's unit predictions of a test set, shape (m, 384), where ``RunFolder.test_file`` says."""
    told = path.with_suffix(".json")
    told.unlink(missing_ok=True)  # never one of both with the other's old content
    write_array(path, values)
    TestRecord(key=key, fingerprint=fingerprint, n=len(values), checksum_npy=checksum(path)).write(told)
    for file in (path, told):
        file.chmod(_READ_ONLY)
