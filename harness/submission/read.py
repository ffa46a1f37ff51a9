"""Reading a submission, with every way it can be wrong named by line."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.layouts.tables import not_utf8
from harness.errors import InputError
from harness.submission.write import HEADER

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIM = 384
_FIRST_LINE = 2  # of the rows, after the header
_ROW_NAME = re.compile(r"(.+)_(0|[1-9][0-9]{0,2})", flags=re.DOTALL)


@dataclass(frozen=True)
class Submission:
    """A valid submission: ids in file order and their vectors, shape (len(ids), 384), float32, none all zeros."""

    path: Path
    ids: list[str]
    vectors: NDArray[np.float32]


def is_submission(path: Path) -> bool:
    """Whether a CSV file has a submission's header."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        header = next(csv.reader(stream), [])
    return [field.strip() for field in header] == list(HEADER)


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
        a duplicate or missing row, rows of an image out of order, an unknown or a missing image, a vector
        of zeros.
    """
    names, values = _columns(path)
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite here, and is named below
        single = values.astype(np.float32)
    # The usual case, all rows of a known image in order, is checked in bulk; anything else, row by row.
    if len(names) % _DIM == 0 and np.isfinite(single).all():
        firsts = names[::_DIM].to_pylist()
        ids = [first[:-2] for first in firsts if first.endswith("_0")]
        if "" not in ids and len(ids) == len(firsts) == len(set(ids)) and names.equals(_row_names(ids)):
            _check_images(path, ids, expected)
            vectors = single.reshape(-1, _DIM)
            _check_not_zero(path, ids, vectors)
            return Submission(path, ids, vectors)
    _explain(path, names.to_pylist(), values, single, expected)
    raise AssertionError("a submission that is not in order has a first row that is wrong")


def _row_names(ids: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    repeated = pa.array(ids, pa.string()).take(pa.array(np.repeat(np.arange(len(ids)), _DIM)))
    tails = pa.array([f"_{e}" for e in range(_DIM)]).take(pa.array(np.tile(np.arange(_DIM), len(ids))))
    return pc.binary_join_element_wise(repeated, tails, "")


def _columns(path: Path) -> tuple[Any, NDArray[np.float64]]:
    """Return the two columns: row names (an Arrow string array) and values, what is missing as NaN."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    _check_header(path)
    try:
        table = arrow_csv.read_csv(
            path,
            # By position: the header has been checked, and may be quoted or spaced.
            read_options=arrow_csv.ReadOptions(column_names=list(HEADER), skip_rows=1),
            # Blank lines are not skipped, so that row i stands on line i + 2 and messages can say so.
            parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types={HEADER[0]: pa.string(), HEADER[1]: pa.float64()},
                null_values=["", "nan", "NaN", "NAN", "null"],
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        _explain_text(path)
        raise InputError(f"{path}: it is not a well-formed CSV file ({error})") from error
    if len(table) == 0:
        raise InputError(f"{path}: it has a header and no rows; every image needs {_DIM}")
    return table.column(0).combine_chunks(), table.column(1).to_numpy()


def _check_header(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: it is a folder; name the submission file")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; the first line must be {','.join(HEADER)}")
    if not is_submission(path):
        raise InputError(f"{path}: the first line must be {','.join(HEADER)}")


def _explain_text(path: Path) -> None:
    """Find the first line that is not two fields, the second a number."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for row in (reader := csv.reader(stream)):
                if reader.line_num == 1:
                    continue
                where = f"{path} line {reader.line_num}"
                if len(row) != len(HEADER):
                    found = "a blank line" if not row else f"{len(row)} field{'s' if len(row) > 1 else ''}"
                    raise InputError(f"{where}: expected {','.join(HEADER)}, got {found}")
                try:
                    float(row[1] or "nan")
                except ValueError as error:
                    raise InputError(f"{where}: the value of '{row[0]}' is not a number: {row[1]!r}") from error
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error


def _explain(
    path: Path,
    names: list[str],
    values: NDArray[np.float64],
    single: NDArray[np.float32],
    expected: Sequence[str] | None,
) -> None:
    """Raise for the first row that is wrong, or for the first image that lacks some."""
    parts = _checked_rows(path, names, values, single, expected)
    dimensions: dict[str, set[int]] = {}
    for image, dimension in parts:
        dimensions.setdefault(image, set()).add(dimension)
    for image, found in dimensions.items():
        missing = sorted(set(range(_DIM)) - found)
        if missing:
            count = f"{len(missing)} rows" if len(missing) > 1 else "1 row"
            raise InputError(
                f"{path}: the row '{image}_{missing[0]}' is missing ({count} of image '{image}'); "
                f"every image needs rows 0 to {_DIM - 1}"
            )
    _check_images(path, list(dimensions), expected)
    for i, (image, dimension) in enumerate(parts):
        if dimension != i % _DIM or parts[i - dimension] != (image, 0):
            raise InputError(
                f"{path} line {i + _FIRST_LINE}: '{names[i]}' is out of order; "
                f"the {_DIM} rows of an image must follow one another from _0"
            )


def _checked_rows(
    path: Path,
    names: list[str],
    values: NDArray[np.float64],
    single: NDArray[np.float32],
    expected: Sequence[str] | None,
) -> list[tuple[str, int]]:
    """Return image and dimension of each row, or raise for the first that is wrong by itself or a repetition."""
    known = None if expected is None else set(expected)
    seen: dict[str, int] = {}
    parts = []
    for line, (name, value, kept) in enumerate(zip(names, values, single, strict=True), start=_FIRST_LINE):
        where = f"{path} line {line}"
        if not name:
            raise InputError(f"{where}: the line is blank or has no imgId_eId; remove it or fill it in")
        match = _ROW_NAME.fullmatch(name)
        if match is None or int(match[2]) >= _DIM:
            raise InputError(f"{where}: '{name}' is not imgId_eId with eId from 0 to {_DIM - 1}")
        if known is not None and match[1] not in known:
            raise InputError(f"{where}: the image '{match[1]}' is unknown: the truth has no such id")
        if not np.isfinite(value):
            raise InputError(
                f"{where}: the value of '{name}' is missing, NaN or infinite; every value must be a finite number"
            )
        if not np.isfinite(kept):
            raise InputError(f"{where}: the value of '{name}' is {value:g}, too large for float32")
        if name in seen:
            raise InputError(f"{where}: '{name}' is already on line {seen[name]}; remove one of the two")
        seen[name] = line
        parts.append((match[1], int(match[2])))
    return parts


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


def _check_not_zero(path: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
    zero = ~vectors.any(axis=1)
    if zero.any():
        raise InputError(
            f"{path}: the vector of image '{ids[int(zero.argmax())]}' is all zeros and has no cosine; predict something"
        )
