"""Predictions made elsewhere, taken into a run to be judged and blended like all others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import InputError, PredictionError
from harness.running.members import is_member_name
from harness.store.atomic import new_folder
from harness.store.finished import write_task, write_test_predictions
from harness.store.predictions import unit_rows
from harness.store.run import BLEND, RunFolder
from harness.store.schema import ALL_ROWS, Member, RunDocument, TaskRecord
from harness.wording import number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Vectors = Any
"""An array, a mapping from id to vector, a data frame, or a file of one: ``.npy``, ``.parquet``, ``.csv``."""
ELSEWHERE = "made elsewhere"
"""What stands in place of a distribution."""
_DIMENSIONS = 384


def add_predictions(
    run: RunFolder,
    name: str,
    oof: Vectors,
    test: Vectors | None = None,
    *,
    ids: Sequence[str] | None = None,
    test_ids: Sequence[str] | None = None,
) -> Member:
    """Take predictions that were made elsewhere into a run, as a member of it. See ``Run.add_predictions``.

    Raises
    ------
    InputError
        For a name that is taken or cannot be one, or naming the row that is missing, unknown, twice, not finite or
        all zeros.
    """
    document = run.document
    _check_name(name, document)
    predictions = _matched(oof, ids, list(run.rows.ids), f"the predictions of '{name}'")
    test_predictions = None
    if test is not None:
        if document.test is None:
            raise InputError(
                f"{run.path}: predictions of a test set were given, and the run has none; repeat `harness run` with "
                "--test first, or leave them out"
            )
        test_predictions = _matched(test, test_ids, run.test_ids, f"the test predictions of '{name}'")
    key = hashlib.sha256(predictions.tobytes()).hexdigest()[:12]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    member = Member(
        name=name,
        predictor=name,
        version=key,
        distribution=ELSEWHERE,
        trainable=False,
        config={},
        keys={ALL_ROWS: key},
        imported=True,
    )
    score = float(np.einsum("ij,ij->i", predictions.astype(np.float64), run.targets).mean())
    told = {"predictor": name, "version": key, "key": key, "started": now, "finished": now}
    record = TaskRecord(**told, n=len(predictions), score=score)
    with run.locked():
        folder = run.task_folder(name, ALL_ROWS, key)
        if not folder.is_dir():
            with new_folder(folder) as half:
                write_task(half, predictions, run.rows.ids, record)
        if test_predictions is not None and document.test is not None:
            fingerprint = document.test.fingerprint
            write_test_predictions(run.test_file(name, ALL_ROWS, key, fingerprint), test_predictions, key, fingerprint)
        document = run.document
        run.update(document.model_copy(update={"members": {**document.members, name: member}}))
    return member


def _check_name(name: str, document: RunDocument) -> None:
    if not is_member_name(name) or name == BLEND:
        raise InputError(f"'{name}' cannot be the name of a member; use letters, digits, '-', '_' or '.'")
    taken = document.members.get(name)
    if taken is not None and not taken.imported:
        raise InputError(f"the name '{name}' is taken by a member of the run, {taken.predictor}; choose another")


def _matched(given: Vectors, ids: Sequence[str] | None, wanted: Sequence[str], what: str) -> NDArray[np.float32]:
    """Return unit rows in the order of the ids wanted, shape (len(wanted), 384), float32."""
    values, found, what = _read(given, what)
    found = list(map(str, ids)) if ids is not None else found
    if values.ndim != 2 or values.shape[1] != _DIMENSIONS:
        raise InputError(f"{what}: their shape is {values.shape}, and (rows, {_DIMENSIONS}) is needed")
    if found is None:
        if len(values) != len(wanted):
            raise InputError(
                f"{what}: there are {number_of(len(values), 'row')} and {len(wanted)} are needed, in the order of the "
                "run; give the id of each row (ids=, or a .parquet or .csv file with a column id)"
            )
        found = list(wanted)
    if len(found) != len(values):
        raise InputError(f"{what}: there are {number_of(len(values), 'row')} and {len(found)} ids")
    place = {row_id: i for i, row_id in enumerate(found)}
    if len(place) < len(found):
        twice = next(row_id for i, row_id in enumerate(found) if place[row_id] != i)
        raise InputError(f"{what}: the row '{twice}' is there twice; keep one of them")
    known = set(wanted)
    unknown = [row_id for row_id in found if row_id not in known]
    if unknown:
        raise InputError(
            f"{what}: there is no row '{unknown[0]}' in the run ({len(unknown)} such rows); remove them, or name the "
            "run that they belong to"
        )
    missing = [row_id for row_id in wanted if row_id not in place]
    if missing:
        raise InputError(
            f"{what}: the row '{missing[0]}' is missing ({len(missing)} of {len(wanted)} are); a member needs a "
            "prediction for every row"
        )
    try:
        return unit_rows(values[[place[row_id] for row_id in wanted]], wanted, what)
    except PredictionError as error:
        raise InputError(str(error)) from error


def _read(given: Vectors, what: str) -> tuple[NDArray[Any], list[str] | None, str]:
    """Return vectors, the ids of their rows if they are told, and what to call them in messages."""
    if isinstance(given, str | Path):
        path = Path(given)
        return *_read_file(path), str(path)
    if isinstance(given, Mapping):
        return _array(list(given.values()), what), [str(key) for key in given], what
    if hasattr(given, "columns") and hasattr(given, "to_numpy"):  # a data frame
        frame = given.set_index("id") if "id" in given.columns else given
        return _array(frame.to_numpy(), what), [str(key) for key in frame.index], what
    return _array(given, what), None, what


def _array(values: Any, what: str) -> NDArray[Any]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: they are no rows of {_DIMENSIONS} numbers each ({error})") from error


def _read_file(path: Path) -> tuple[NDArray[Any], list[str] | None]:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.suffix == ".npy":
        try:
            return _array(np.load(path, allow_pickle=False), str(path)), None
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: it is no array of numbers in NumPy's format ({error})") from error
    if path.suffix == ".csv":
        from harness.submission.read import is_submission, read_submission

        if is_submission(path):
            submission = read_submission(path)
            return submission.vectors, submission.ids
    if path.suffix in (".csv", ".parquet"):
        return _read_table(path)
    raise InputError(f"{path}: its kind is not known; give a .npy, .parquet or .csv file")


def _read_table(path: Path) -> tuple[NDArray[Any], list[str]]:
    """Read a table with a column ``id``, and either 384 columns of numbers or one of lists."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
        else:
            table = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types={"id": pa.string()}))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: it cannot be read as {path.suffix[1:]} ({error})") from error
    if "id" not in table.column_names:
        raise InputError(f"{path}: it has no column id (it has: {', '.join(table.column_names[:5])} …)")
    ids = [str(value) for value in table.column("id").to_pylist()]
    others = [name for name in table.column_names if name != "id"]
    if len(others) == 1:
        return _array(table.column(others[0]).to_pylist(), str(path)), ids
    columns = [_array(table.column(name).to_pylist(), f"{path}, column {name}") for name in others]
    return (np.stack(columns, axis=1) if columns else np.empty((len(ids), 0))), ids
