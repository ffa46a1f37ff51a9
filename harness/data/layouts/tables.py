"""Reading tables row by row, with the place of every row for messages."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.once import once
from harness.errors import InputError
from harness.plugin import BrokenRow

csv.field_size_limit(1 << 24)  # prompts can be long; the default of 128 KiB is for spreadsheets

# fmt: off
FILE_COLUMNS = (
    "file_name", "filename", "file", "image", "image_file", "image_filename", "image_path", "img_path",
    "filepath", "file_path", "path", "image_name", "img", "img_name", "photo", "picture", "imgid", "image_id",
    "img_id", "id",
)
# fmt: on
"""Names of the column that says which image, as tables of captions have them; the first that is there counts."""
# fmt: off
TEXT_COLUMNS = (
    "prompt", "text", "caption", "captions", "prompts", "comment", "sentence", "sentences", "raw",
    "description", "positive_prompt",
)
# fmt: on
TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet", ".json")
_SEPARATORS = ",;\t|"

Placed = tuple[str, dict[str, Any]]
"""A row's place, for messages, and its values by column."""


@dataclass(frozen=True)
class Table:
    """A table whose header has been read.

    Parameters
    ----------
    path
        The file.
    columns
        Names as they stand in it.
    rows
        Place and values of each row, by names as `plain` spells them. To be walked once.
    """

    path: Path
    columns: Sequence[str]
    rows: Iterable[Placed]

    def column(self, names: Sequence[str]) -> str | None:
        """Return the first of ``names`` that is a column, however it is spelt, or None."""
        there = {plain(column) for column in self.columns}
        return next((name for name in names if name in there), None)

    def required(self, names: Sequence[str]) -> str:
        """Return the first of ``names`` that is a column. Raises ``InputError`` naming the header if none is."""
        name = self.column(names)
        if name is None:
            raise lacking(self.path, names[:1], self.columns)
        return name


def plain(column: Any) -> str:
    """Return a column's name without case, spaces around it, and with one underscore for any other space or dash."""
    return "_".join(str(column).strip().strip("\ufeff").casefold().replace("-", " ").replace("_", " ").split())


def lacking(path: Path, missing: Sequence[str], header: Sequence[str]) -> InputError:
    """Word the error for a header without some columns."""
    return InputError(
        f"{path}: the header lacks the column {' and '.join(missing)} "
        f"(it has: {', '.join(str(name) for name in header) or 'nothing'})"
    )


def read_table(path: Path) -> Table:
    """Read a table of any kind: CSV with any separator, TSV, JSON lines, JSON, or parquet.

    Raises
    ------
    InputError
        Naming the file and row that is wrong; those of rows come when they are walked.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix in (".jsonl", ".ndjson", ".json"):
        return _read_objects(path)
    return _read_separated(path)


def read_csv(path: Path, required: Sequence[str]) -> Iterator[Placed]:
    """Yield (place, row) of a CSV file that has at least the columns ``required``, however their case.

    Keys are spelt as ``required`` spells them, others as `plain` does.

    Raises
    ------
    InputError
        Naming the file and row: not UTF-8, a missing column, more or fewer fields than the header.
    """
    table = _read_separated(path)
    there = {plain(column) for column in table.columns}
    missing = [column for column in required if plain(column) not in there]
    if missing:
        raise lacking(path, missing, table.columns)
    for where, row in table.rows:
        yield where, {**row, **{column: row[plain(column)] for column in required}}


# -- separated by commas, or by something else -------------------------------------------------------


def _read_separated(path: Path) -> Table:
    content = _text(path)
    first = _first_line(content)
    skipped = int(first.casefold().startswith("sep=") and len(first.strip("\r\n")) == 5)  # a note for spreadsheets
    separator = first[4] if skipped else _separator(first, path)
    stream = io.StringIO(content, newline="")
    if skipped:
        stream.readline()
        first = _first_line(content, len(first))
    spaced = any(field.startswith(" ") for field in _fields(first, separator)[1:])
    # Lines end (in the stream) as csv files' do, and not at the other characters that splitlines() takes for line ends.
    reader = csv.reader(stream, strict=True, delimiter=separator, skipinitialspace=spaced)
    try:
        header = [field.strip() for field in next(reader, [])]
    except csv.Error as error:
        raise _not_csv(path, "header", error) from error
    while header and not header[-1]:  # spreadsheets fill up with empty columns
        header.pop()
    names = [plain(column) for column in header]
    for name in names:
        if name and names.count(name) > 1 and name in (*FILE_COLUMNS, *TEXT_COLUMNS, "group", "source"):
            raise InputError(f"{path}: the header has the column {name} twice; remove or rename one")
    return Table(path, header, _separated_rows(path, reader, names, skipped))


def _separated_rows(path: Path, reader: Any, names: list[str], skipped: int) -> Iterator[Placed]:
    number, place = 0, "row 1"
    try:
        for fields in reader:
            if not fields:
                continue
            number += 1
            place = f"row {number + 1}"
            if len(fields) > 1 and not any(fields):  # the rest of a spreadsheet
                continue
            where = f"{path} row {number} (line {reader.line_num + skipped})"
            if len(fields) < len(names) or any(fields[len(names) :]):
                raise InputError(
                    f"{where}: it has {'fewer' if len(fields) < len(names) else 'more'} fields than the header; "
                    "quote texts that hold commas"
                )
            yield where, dict(zip(names, fields, strict=False))
    except csv.Error as error:
        raise _not_csv(path, place, error) from error


def _not_csv(path: Path, place: str, error: csv.Error) -> InputError:
    return InputError(f"{path} {place}: it is not well-formed CSV ({error}); check its quoting")


_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)?")


def _first_line(content: str, start: int = 0) -> str:
    """Return the line that begins at ``start``, with its end."""
    found = _LINE.match(content, start)
    return found[0] if found else ""


def _separator(header: str, path: Path) -> str:
    """Find the separator by looking: that which makes most of the header's fields columns that are known."""
    known = {*FILE_COLUMNS, *TEXT_COLUMNS, "group", "source"}
    best, most = "\t" if path.suffix.lower() in (".tsv", ".tab") else ",", 0
    for separator in (best, *_SEPARATORS):
        fields = _fields(header, separator)
        count = len({plain(field) for field in fields} & known) if len(fields) > 1 else 0
        if count > most:
            best, most = separator, count
    return best


def _fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


@once
def _text(path: Path) -> str:
    """Return a text file's content: UTF-8, or UTF-16 where its first bytes say so."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return content.decode("utf-16")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error


def read_text(path: Path) -> str:
    """Return a text file's content as ``read_table`` decodes it. Raises ``InputError`` naming the file and byte."""
    return _text(path)


# -- JSON --------------------------------------------------------------------------------------------


def read_jsonl(path: Path, required: Sequence[str]) -> Iterator[Placed]:
    """Yield (place, row) of a JSON-lines file whose objects have the keys ``required``."""
    for number, line in enumerate(io.StringIO(_text(path), newline=None), start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            row = parse_json(line)
        except ValueError as error:
            raise InputError(f"{where}: it is not JSON ({_reason(error)}); write one object a line") from error
        if not isinstance(row, dict):
            raise InputError(f"{where}: it is not an object; write one object a line")
        missing = [key for key in required if key not in row]
        if missing:
            raise InputError(f"{where}: it lacks the key {' and '.join(missing)}")
        yield where, row


def read_json(path: Path) -> Any:
    """Return the document in a JSON file. Raises ``InputError`` naming the file and line."""
    try:
        return parse_json(_text(path))
    except ValueError as error:
        line = f" line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{path}{line}: it is not JSON ({_reason(error)})") from error


def parse_json(text: str) -> Any:
    """Return what JSON says. Raises ``ValueError`` alone, for what is nested too deeply or has long numbers, too."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return str(error).partition(";")[0]  # of a long number Python adds how to allow it


def _json_rows(path: Path) -> Iterator[Placed]:
    """Yield the rows of a list of objects, or of a map from image to its text or to an object with it."""
    document = read_json(path)
    if isinstance(document, list) and all(isinstance(row, dict) for row in document):
        yield from ((f"{path}: [{number}]", row) for number, row in enumerate(document))
    elif isinstance(document, dict):
        for name, value in document.items():
            row = value if isinstance(value, dict) else {"caption": value}
            yield f"{path}: '{name}'", {"file_name": name, **row}
    else:
        raise InputError(f"{path}: it is neither a list of objects nor a map from images to their prompts")


@once
def _read_objects(path: Path) -> Table:
    return _of_objects(path, _json_rows(path) if path.suffix.lower() == ".json" else read_jsonl(path, []))


def _of_objects(path: Path, rows: Iterable[Placed]) -> Table:
    kept = [(where, {plain(key): value for key, value in row.items()}) for where, row in rows]
    return Table(path, list(dict.fromkeys(key for _, row in kept for key in row)), kept)


# -- parquet -----------------------------------------------------------------------------------------


@once
def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        pictures = [f.name for f in file.schema_arrow if pa.types.is_struct(f.type) or pa.types.is_binary(f.type)]
        chosen = [f.name for f in file.schema_arrow if f.name not in pictures]
        rows = file.read(columns=chosen).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as parquet ({str(error).splitlines()[0]})") from error
    table = _of_objects(path, ((f"{path} row {number}", row) for number, row in enumerate(rows, start=1)))
    return Table(path, chosen, table.rows)


# -- what is common ----------------------------------------------------------------------------------


def not_utf8(path: Path) -> InputError:
    """Word the error for a file that is not UTF-8, naming the line and byte of the file."""
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return InputError(
            f"{path} line {line}: it is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        )
    return InputError(f"{path}: it changed while it was read; try again")


def optional(row: Mapping[str, Any], column: str) -> str | None:
    """Return a column's value as text, or None where the column is absent, null or empty."""
    value = row.get(column)
    return None if value is None or value == "" else str(value)


def seed_of(value: Any) -> int | None:
    """Return a seed: a whole number of at most 64 bits, or its digits; None of anything else."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,20}\s*", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and -(1 << 63) <= value < 1 << 64 else None


def broken(error: InputError, where: str) -> BrokenRow:
    """Return what stands for a row in whose reading this was raised."""
    return BrokenRow(where, str(error).removeprefix(f"{where}: "))


def texts_of(value: Any, column: str, where: str) -> tuple[str, ...]:
    """Return the prompt or captions in a cell.

    Parameters
    ----------
    value
        A text, a list of texts, or a list of texts written as JSON, as the captions of Flickr30k come.
    column, where
        For the message.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if isinstance(value, str):
        if value.startswith('["') and value.endswith('"]') and column in ("raw", "captions", "sentences"):
            try:
                value = parse_json(value)
            except ValueError:
                return (value,)
        else:
            return (value,)
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return tuple(value)
    raise InputError(f"{where}: '{column}' must be a text or a list of texts, not {value!r}")
