"""Reading a submission, with every way it can be wrong named by line."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from harness.data.layouts.tables import not_utf8
from harness.errors import InputError
from harness.submission.write import HEADER

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIM = 384
_FIRST_LINE = 2  # of the rows, after the header
_ROW_NAME = re.compile(r"(.+)_(0|[1-9][0-9]{0,2})", flags=re.DOTALL)
_INDEX = re.compile(r"|index|Unnamed: 0")
"""Names of a column of row numbers, as pandas writes it where ``index=False`` was forgotten, and reads it back."""
_NULLS = ["", "nan", "NaN", "NAN", "null"]
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
    return set(HEADER) <= set(_header(path))


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
    _check_header(path, strict)
    names, values = _columns(path, strict)
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite here, and is named below
        single = values.astype(np.float32)
    found = _in_order(names, single)
    if found is None and not strict:
        found = _in_any_order(names, single)
    if found is not None:
        ids, vectors = found
        _check_images(path, ids, expected, names)
        _check_not_zero(path, ids, vectors)
        return Submission(path, ids, vectors)
    _explain(path, names.to_pylist(), values, single, expected)
    raise AssertionError("a submission that cannot be laid out has a first row that is wrong")


# -- the usual file, and one of another order --------------------------------------------------------


def _in_order(names: Any, single: NDArray[np.float32]) -> tuple[list[str], NDArray[np.float32]] | None:
    """Return ids and vectors if the rows of each image follow one another from _0: checked in bulk."""
    if len(names) % _DIM or not np.isfinite(single).all():
        return None
    firsts = names[::_DIM].to_pylist()
    ids = [first[:-2] for first in firsts if first.endswith("_0")]
    if "" in ids or not len(ids) == len(firsts) == len(set(ids)) or not names.equals(_row_names(ids)):
        return None
    return ids, single.reshape(-1, _DIM)


def _in_any_order(names: Any, single: NDArray[np.float32]) -> tuple[list[str], NDArray[np.float32]] | None:
    """Return ids, as they first appear, and vectors if every image has each of its rows once, wherever they stand."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(names) % _DIM or not np.isfinite(single).all():
        return None
    parts = pc.extract_regex(names, r"(?s)^(?P<image>.+)_(?P<row>0|[1-9][0-9]{0,2})$")
    if parts.null_count:
        return None
    image = parts.field("image").dictionary_encode()
    if isinstance(image, pa.ChunkedArray):
        image = image.combine_chunks()
    row = pc.cast(parts.field("row"), pa.int64()).to_numpy()
    ids = image.dictionary.to_pylist()
    place = image.indices.to_numpy().astype(np.int64) * _DIM + row
    if (
        (row >= _DIM).any()
        or len(place) != len(ids) * _DIM
        or not (np.bincount(place, minlength=len(place)) == 1).all()
    ):
        return None
    vectors = np.empty(len(place), dtype=np.float32)
    vectors[place] = single
    return ids, vectors.reshape(-1, _DIM)


def _row_names(ids: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    repeated = pa.array(ids, pa.string()).take(pa.array(np.repeat(np.arange(len(ids)), _DIM)))
    tails = pa.array([f"_{e}" for e in range(_DIM)]).take(pa.array(np.tile(np.arange(_DIM), len(ids))))
    return pc.binary_join_element_wise(repeated, tails, "")


# -- the file ----------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file as it is, or what is in it: told by its first bytes, not by its name."""
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
            stream.seek(0)
            if magic[:2] == b"\x1f\x8b":
                with gzip.open(stream) as unpacked:
                    yield unpacked  # type: ignore[misc]
            elif magic == b"PK\3\4":
                with zipfile.ZipFile(stream) as archive, archive.open(_only_member(path, archive)) as member:
                    yield member
            else:
                yield stream
    except (zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: it cannot be unpacked ({error}); write it anew") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _only_member(path: Path, archive: zipfile.ZipFile) -> str:
    names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
    if len(names) != 1:
        raise InputError(f"{path}: the archive must hold one file, the submission, and holds {len(names)}")
    return names[0]


def is_compressed(path: Path) -> bool:
    """Whether a file begins as ``.gz`` and ``.zip`` do."""
    with path.open("rb") as stream:
        return stream.read(4).startswith((b"\x1f\x8b", b"PK\3\4"))


def _header(path: Path) -> list[str]:
    with _opened(path) as stream:
        first = stream.readline(1 << 16).decode("utf-8-sig", errors="replace")
    return [field.strip() for field in next(csv.reader([first]), [])]


def _check_header(path: Path, strict: bool) -> None:
    if path.is_dir():
        raise InputError(f"{path}: it is a folder; name the submission file")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; the first line must be {','.join(HEADER)}")
    if strict and is_compressed(path):
        raise InputError(f"{path}: it is compressed; the competition takes the file as it is, so unpack it")
    header = _header(path)
    others = [field for field in header if field not in HEADER]
    usable = sorted(set(header) & set(HEADER)) == sorted(HEADER) and len(header) == len(set(header))
    if not usable or (strict and header != list(HEADER)) or len(others) > 1 or not all(map(_INDEX.fullmatch, others)):
        had = ", ".join(header)[:80]
        numbers = (
            " (a column of row numbers too many: pandas leaves it out with index=False)" if usable and others else ""
        )
        raise InputError(f"{path}: the first line must be {','.join(HEADER)}, and is '{had}'{numbers}")


def _columns(path: Path, strict: bool) -> tuple[Any, NDArray[np.float64]]:
    """Return the two columns: row names (an Arrow string array) and values, what is missing as NaN."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    header = _header(path)
    blank: list[str] = []

    def passed_over(row: Any) -> str:
        if strict or row.text.strip():
            return "error"
        blank.append(row.text)
        return "skip"

    try:
        with _opened(path) as stream:
            table = arrow_csv.read_csv(
                stream,
                # By position: the header has been checked, and may be quoted or spaced.
                read_options=arrow_csv.ReadOptions(
                    column_names=[field if field in HEADER else "#" for field in header], skip_rows=1
                ),
                # Blank lines are not skipped, so that row i stands on line i + 2 and messages can say so.
                parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=passed_over),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=list(HEADER),
                    column_types={HEADER[0]: pa.string(), HEADER[1]: pa.float64()},
                    null_values=_NULLS,
                    strings_can_be_null=False,
                ),
            )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        _explain_text(path, header, strict)
        raise InputError(f"{path}: it is not a well-formed CSV file ({error})") from error
    if blank:
        _explain_text(path, header, strict)  # one between rows would shift the lines that messages name
    names, values = table.column(HEADER[0]).combine_chunks(), table.column(HEADER[1]).to_numpy()
    rows = len(names)
    while rows and not strict and not names[rows - 1].as_py().strip() and np.isnan(values[rows - 1]):
        rows -= 1  # blank lines at the end
    if rows == 0:
        raise InputError(f"{path}: it has a header and no rows; every image needs {_DIM}")
    return names[:rows], values[:rows]


def _explain_text(path: Path, header: Sequence[str], strict: bool) -> None:
    """Find the first line that has not as many fields as the header, or whose value is no number.

    Blank lines at the end are a fault only if ``strict``.
    """
    name, value = header.index(HEADER[0]), header.index(HEADER[1])
    blank = ""
    try:
        with _opened(path) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines:
            for row in (reader := csv.reader(lines)):
                if reader.line_num == 1:
                    continue
                where = f"{path} line {reader.line_num}"
                if len(row) != len(header) and not "".join(row).strip():
                    blank = blank or f"{where}: expected {','.join(header)}, got a blank line"
                    continue
                if blank:
                    raise InputError(blank)
                if len(row) != len(header):
                    found = f"{len(row)} field{'s' if len(row) > 1 else ''}"
                    raise InputError(f"{where}: expected {','.join(header)}, got {found}")
                try:
                    float(row[value] or "nan")
                except ValueError as error:
                    raise InputError(f"{where}: the value of '{row[name]}' is not a number: {row[value]!r}") from error
            if blank and strict:
                raise InputError(blank)
    except UnicodeDecodeError as error:
        if is_compressed(path):
            raise InputError(f"{path}: the file in it is not UTF-8 text; save it as UTF-8") from error
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
    _check_images(path, list(dimensions), expected, names)
    for i, (image, dimension) in enumerate(parts):  # only where it was asked for
        if dimension != i % _DIM or parts[i - dimension] != (image, 0):
            raise InputError(
                f"{path} line {i + _FIRST_LINE}: '{names[i]}' is out of order; "
                f"the {_DIM} rows of an image must follow one another from _0 (without --strict any order is read)"
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
            f"{missing[0]}_0 to {missing[0]}_{_DIM - 1}"
        )


def _check_not_zero(path: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
    zero = ~vectors.any(axis=1)
    if zero.any():
        raise InputError(
            f"{path}: the vector of image '{ids[int(zero.argmax())]}' is all zeros and has no cosine; predict something"
        )
