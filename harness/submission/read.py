"""Reading a submission, with every way it can be wrong named by line."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import InputError
from harness.submission.write import HEADER

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIM = 384
_FIRST_LINE = 2  # of the rows, after the header


@dataclass(frozen=True)
class Submission:
    """A valid submission: ids in file order and their vectors, shape (len(ids), 384), float32."""

    path: Path
    ids: list[str]
    vectors: NDArray[np.float32]


def is_submission(path: Path) -> bool:
    """Whether a CSV file has a submission's header."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        return [field.strip() for field in stream.readline().split(",")] == list(HEADER)


def read_submission(path: Path, expected: Sequence[str] | None = None) -> Submission:
    """Read and check a submission.

    Parameters
    ----------
    path
        The file.
    expected
        Ids that must be there, each exactly once; None takes whatever ids the file has.

    Raises
    ------
    InputError
        Naming the line or id: another header, a row that is no ``id_dimension,value``, NaN or infinity,
        a duplicate or missing row, rows of an image out of order, an unknown or a missing image.
    """
    names, values = _columns(path)
    # The usual case, all rows of a known image in order, is checked in bulk; anything else, row by row.
    if len(names) % _DIM == 0 and np.isfinite(values).all():
        firsts = names[::_DIM].to_pylist()
        ids = [first[:-2] for first in firsts if first.endswith("_0")]
        if len(ids) == len(firsts) == len(set(ids)) and names.equals(_row_names(ids)):
            _check_images(path, ids, expected)
            return Submission(path, ids, values.reshape(-1, _DIM))
    _explain(path, names.to_pylist(), values, expected)
    raise AssertionError("a submission that is not in order has a first row that is wrong")


def _row_names(ids: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    repeated = pa.array(ids, pa.string()).take(pa.array(np.repeat(np.arange(len(ids)), _DIM)))
    tails = pa.array([f"_{e}" for e in range(_DIM)]).take(pa.array(np.tile(np.arange(_DIM), len(ids))))
    return pc.binary_join_element_wise(repeated, tails, "")


def _columns(path: Path) -> tuple[Any, NDArray[np.float32]]:
    """Return the two columns: row names (an Arrow string array) and values, NaN kept."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.stat().st_size == 0 or not is_submission(path):
        raise InputError(f"{path}: the first line must be {','.join(HEADER)}")
    convert = arrow_csv.ConvertOptions(
        column_types={HEADER[0]: pa.string(), HEADER[1]: pa.float64()},
        null_values=["", "nan", "NaN", "NAN", "null"],
        strings_can_be_null=False,
    )
    try:
        table = arrow_csv.read_csv(path, convert_options=convert)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        _explain_text(path)
        raise InputError(f"{path}: it is not a well-formed CSV file ({error})") from error
    names = table.column(0).combine_chunks()
    values = table.column(1).to_numpy().astype(np.float32)
    return names, values


def _explain_text(path: Path) -> None:
    """Find the first line that is not two fields, the second a number."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for row in (reader := csv.reader(stream)):
                if reader.line_num == 1:
                    continue
                if len(row) != len(HEADER):
                    raise InputError(
                        f"{path} line {reader.line_num}: expected {','.join(HEADER)}, got {len(row)} fields"
                    )
                try:
                    float(row[1])
                except ValueError as error:
                    raise InputError(
                        f"{path} line {reader.line_num}: the value of '{row[0]}' is not a number: {row[1]!r}"
                    ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: it is not UTF-8 text") from error


def _explain(path: Path, names: list[str], values: NDArray[np.float32], expected: Sequence[str] | None) -> None:
    """Raise for the first row that is wrong."""
    known = None if expected is None else set(expected)
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        line = i + _FIRST_LINE
        image, _, dimension = name.rpartition("_")
        if not image or not dimension.isdecimal() or int(dimension) >= _DIM:
            raise InputError(f"{path} line {line}: '{name}' is not imgId_eId with eId from 0 to {_DIM - 1}")
        if known is not None and image not in known:
            raise InputError(f"{path} line {line}: the image '{image}' is unknown: the truth has no such id")
        if not np.isfinite(values[i]):
            raise InputError(
                f"{path} line {line}: the value of '{name}' is missing, NaN or infinite; "
                "every value must be a finite number"
            )
        if name in seen:
            raise InputError(f"{path} line {line}: '{name}' is already on line {seen[name]}; remove one of the two")
        seen[name] = line
    order: dict[str, list[int]] = {}
    for name in names:
        image, _, dimension = name.rpartition("_")
        order.setdefault(image, []).append(int(dimension))
    for image, dimensions in order.items():
        missing = sorted(set(range(_DIM)) - set(dimensions))
        if missing:
            raise InputError(
                f"{path}: the row '{image}_{missing[0]}' is missing ({len(missing)} rows of image '{image}'); "
                f"every image needs rows 0 to {_DIM - 1}"
            )
    _check_images(path, list(order), expected)
    for i, name in enumerate(names):
        image, _, dimension = name.rpartition("_")
        start = names[i - int(dimension)] if i >= int(dimension) else ""
        if int(dimension) != i % _DIM or start != f"{image}_0":
            raise InputError(
                f"{path} line {i + _FIRST_LINE}: '{name}' is out of order; "
                f"the {_DIM} rows of an image must follow one another from _0"
            )


def _check_images(path: Path, ids: Sequence[str], expected: Sequence[str] | None) -> None:
    if expected is None:
        return
    known = set(expected)
    for number, image in enumerate(ids):
        if image not in known:
            line = number * _DIM + _FIRST_LINE
            raise InputError(f"{path} line {line}: the image '{image}' is unknown: the truth has no such id")
    given = set(ids)
    missing = [image for image in expected if image not in given]
    if missing:
        raise InputError(
            f"{path}: the image '{missing[0]}' is missing ({len(missing)} of {len(expected)}); it needs the rows "
            f"{missing[0]}_0 to {missing[0]}_{_DIM - 1}"
        )
