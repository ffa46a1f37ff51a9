"""Reading a submission, with every way it can be wrong named by line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import InputError
from harness.submission.columns import DIM, check_header, column_blocks, read_columns, read_header
from harness.submission.write import HEADER

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIRST_LINE = 2  # of the rows, after the header
_ROW_NAME = re.compile(r"(.+)_(0|[1-9][0-9]{0,2})", flags=re.DOTALL)
SUFFIXES = (".csv", ".csv.gz", ".csv.zip", ".zip", ".gz")
"""Names of files that may be submissions."""


@dataclass(frozen=True)
class Submission:
    """A valid submission: ids in file order and their vectors, shape (len(ids), 384), float32, none all zeros."""

    path: Path
    ids: list[str]
    vectors: NDArray[np.float32]


def is_submission(path: Path) -> bool:
    """Whether a CSV file, compressed or not, has a submission's header."""
    return set(HEADER) <= set(read_header(path))


def read_submission(path: Path, expected: Sequence[str] | None = None, *, strict: bool = False) -> Submission:
    """Read and check a submission.

    The rows say themselves which image and dimension they are, so that they may come in any order; a column of row
    numbers, another order of the columns and blank lines at the end change nothing, and the file may be compressed.

    Parameters
    ----------
    path
        The file; also as ``.gz``, or a ``.zip`` of one file.
    expected
        Ids that must be there, each exactly once; None takes whatever ids the file has.
    strict
        Refuse what differs from the competition's own sample in form: compression, other columns, blank lines, rows
        of an image that are not in order.

    Raises
    ------
    InputError
        Naming the line or id: another header, a row that is no ``id_dimension,value``, NaN or infinity, a duplicate
        or missing row, an unknown or a missing image, a vector of zeros.
    """
    check_header(path, strict)
    if (usual := _in_blocks(path)) is not None:
        ids, vectors = usual
        return _checked(path, ids, vectors, expected, (f"{i}_{e}" for i in ids for e in range(DIM)))
    names, values = read_columns(path, strict)
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite here, and is named below
        single = values.astype(np.float32)
    if not strict and (found := _in_any_order(names, single)) is not None:
        return _checked(path, *found, expected, names)
    _explain(path, names.to_pylist(), values, single, expected)
    raise AssertionError("a submission that cannot be laid out has a first row that is wrong")


# -- the usual file, and one of another order --------------------------------------------------------


def _in_blocks(path: Path) -> tuple[list[str], NDArray[np.float32]] | None:
    """Return ids and vectors of the usual file, whose names are never in memory all at once; None of any other."""
    import pyarrow as pa

    ids: list[str] = []
    blocks: list[NDArray[np.float32]] = []
    row = 0
    try:
        for names, values in column_blocks(path):
            with np.errstate(over="ignore"):
                blocks.append(values.astype(np.float32))
            firsts = names[-row % DIM :: DIM].to_pylist()
            ids += [first[:-2] for first in firsts if first.endswith("_0")]
            end = row + len(names)
            if not np.isfinite(blocks[-1]).all() or end > len(ids) * DIM or not names.equals(_row_names(ids, row, end)):
                return None
            row = end
    except pa.ArrowException:  # it is read again, to say what is wrong
        return None
    if not row or row != len(ids) * DIM or "" in ids or len(ids) != len(set(ids)):
        return None
    return ids, np.concatenate(blocks).reshape(-1, DIM)


def _in_any_order(names: Any, single: NDArray[np.float32]) -> tuple[list[str], NDArray[np.float32]] | None:
    """Return ids, as they first appear, and vectors if every image has each of its rows once, wherever they stand."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(names) % DIM or not np.isfinite(single).all():
        return None
    parts = pc.extract_regex(names, r"(?s)^(?P<image>.+)_(?P<row>0|[1-9][0-9]{0,2})$")
    if parts.null_count:
        return None
    image = parts.field("image").dictionary_encode()
    if isinstance(image, pa.ChunkedArray):
        image = image.combine_chunks()
    row = pc.cast(parts.field("row"), pa.int64()).to_numpy()
    ids = image.dictionary.to_pylist()
    place = image.indices.to_numpy().astype(np.int64) * DIM + row
    if (row >= DIM).any() or len(place) != len(ids) * DIM or not (np.bincount(place, minlength=len(place)) == 1).all():
        return None
    vectors = np.empty(len(place), dtype=np.float32)
    vectors[place] = single
    return ids, vectors.reshape(-1, DIM)


def _row_names(ids: Sequence[str], begin: int, end: int) -> Any:
    """Return the names of the rows of these images, from the one numbered ``begin`` to before ``end``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows, skipped = np.arange(begin, end), begin // DIM
    images = pa.array(ids[skipped:], pa.string()).take(pa.array(rows // DIM - skipped))
    tails = pa.array([f"_{e}" for e in range(DIM)]).take(pa.array(rows % DIM))
    return pc.binary_join_element_wise(images, tails, "")


def _checked(
    path: Path, ids: list[str], vectors: NDArray[np.float32], expected: Sequence[str] | None, names: Iterable[Any]
) -> Submission:
    _check_images(path, ids, expected, names)
    _check_not_zero(path, ids, vectors)
    return Submission(path, ids, vectors)


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
        missing = sorted(set(range(DIM)) - found)
        if missing:
            count = f"{len(missing)} rows" if len(missing) > 1 else "1 row"
            raise InputError(
                f"{path}: the row '{image}_{missing[0]}' is missing ({count} of image '{image}'); "
                f"every image needs rows 0 to {DIM - 1}"
            )
    _check_images(path, list(dimensions), expected, names)
    for i, (image, dimension) in enumerate(parts):  # only where it was asked for
        if dimension != i % DIM or parts[i - dimension] != (image, 0):
            raise InputError(
                f"{path} line {i + _FIRST_LINE}: '{names[i]}' is out of order; "
                f"the {DIM} rows of an image must follow one another from _0 (without --strict any order is read)"
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
        if match is None or int(match[2]) >= DIM:
            raise InputError(f"{where}: '{name}' is not imgId_eId with eId from 0 to {DIM - 1}")
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


def _check_images(path: Path, ids: Sequence[str], expected: Sequence[str] | None, names: Iterable[Any]) -> None:
    """Refuse what is not the truth's images; ``names`` are those of the rows, as they stand in the file."""
    if expected is None:
        return
    known = set(expected)
    for image in ids:
        if image not in known:
            line = next(i for i, name in enumerate(names, start=_FIRST_LINE) if str(name).rpartition("_")[0] == image)
            raise InputError(f"{path} line {line}: the image '{image}' is unknown: the truth has no such id")
    given = set(ids)
    missing = [image for image in expected if image not in given]
    if missing:
        raise InputError(
            f"{path}: the image '{missing[0]}' is missing ({len(missing)} of {len(expected)}); it needs the rows "
            f"{missing[0]}_0 to {missing[0]}_{DIM - 1}"
        )


def _check_not_zero(path: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
    zero = ~vectors.any(axis=1)
    if zero.any():
        raise InputError(
            f"{path}: the vector of image '{ids[int(zero.argmax())]}' is all zeros and has no cosine; predict something"
        )
