"""The file of a submission: unpacked, its header checked, and its two columns read whole or in blocks."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from harness.data.layouts.tables import not_utf8
from harness.errors import InputError
from harness.submission.write import HEADER

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIM = 384
_INDEX = re.compile(r"|index|Unnamed: 0")
"""Names of a column of row numbers, as pandas writes it where ``index=False`` was forgotten, and reads it back."""
_NULLS = ["", "nan", "NaN", "NAN", "null"]
_BLOCK = 1 << 20
"""Bytes that are read at a time: memory stays that of the vectors, however long the file is."""


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


def read_header(path: Path) -> list[str]:
    """Return the fields of the first line."""
    with _opened(path) as stream:
        first = stream.readline(1 << 16).decode("utf-8-sig", errors="replace")
    return [field.strip() for field in next(csv.reader([first]), [])]


def check_header(path: Path, strict: bool) -> None:
    """Raise ``InputError`` if the file is not there, or its first line is not a submission's."""
    if path.is_dir():
        raise InputError(f"{path}: it is a folder; name the submission file")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; the first line must be {','.join(HEADER)}")
    if strict and is_compressed(path):
        raise InputError(f"{path}: it is compressed; the competition takes the file as it is, so unpack it")
    header = read_header(path)
    others = [field for field in header if field not in HEADER]
    usable = sorted(set(header) & set(HEADER)) == sorted(HEADER) and len(header) == len(set(header))
    if not usable or (strict and header != list(HEADER)) or len(others) > 1 or not all(map(_INDEX.fullmatch, others)):
        had = ", ".join(header)[:80]
        numbers = (
            " (a column of row numbers too many: pandas leaves it out with index=False)" if usable and others else ""
        )
        raise InputError(f"{path}: the first line must be {','.join(HEADER)}, and is '{had}'{numbers}")


def read_columns(path: Path, strict: bool) -> tuple[Any, NDArray[np.float64]]:
    """Return the two columns: row names (an Arrow string array) and values, what is missing as NaN."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    header = read_header(path)
    blank: list[str] = []

    def passed_over(row: Any) -> str:
        if strict or row.text.strip():
            return "error"
        blank.append(row.text)
        return "skip"

    try:
        with _opened(path) as stream:
            table = arrow_csv.read_csv(stream, **_how(header, passed_over))
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
        raise InputError(f"{path}: it has a header and no rows; every image needs {DIM}")
    return names[:rows], values[:rows]


def column_blocks(path: Path) -> Iterator[tuple[Any, NDArray[np.float64]]]:
    """Yield what ``read_columns`` returns, some megabytes at a time. Raises ``ArrowException`` for the least fault."""
    from pyarrow import csv as arrow_csv

    with _opened(path) as stream, arrow_csv.open_csv(stream, **_how(read_header(path), None)) as reader:
        for batch in reader:
            yield batch.column(0), batch.column(1).to_numpy(zero_copy_only=False)


def _how(header: Sequence[str], invalid: Callable[[Any], str] | None) -> dict[str, Any]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    return {
        # By position: the header has been checked, and may be quoted or spaced.
        "read_options": arrow_csv.ReadOptions(
            column_names=[field if field in HEADER else "#" for field in header], skip_rows=1, block_size=_BLOCK
        ),
        # Blank lines are not skipped, so that row i stands on line i + 2 and messages can say so.
        "parse_options": arrow_csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=invalid),
        "convert_options": arrow_csv.ConvertOptions(
            include_columns=list(HEADER),
            column_types={HEADER[0]: pa.string(), HEADER[1]: pa.float64()},
            null_values=_NULLS,
            strings_can_be_null=False,
        ),
    }


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
