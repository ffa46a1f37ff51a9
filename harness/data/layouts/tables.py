"""Reading tables row by row, with the place of every row for messages."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import InputError

csv.field_size_limit(1 << 24)  # prompts can be long; the default of 128 KiB is for spreadsheets


def read_csv(path: Path, required: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (place, row) of a CSV file that has at least the columns ``required``.

    Raises
    ------
    InputError
        Naming the file and row: not UTF-8, a missing column, more or fewer fields than the header.
    """
    place = "header"
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            header = reader.fieldnames or []
            place = "row 1"
            missing = [column for column in required if column not in header]
            if missing:
                raise InputError(
                    f"{path}: the header lacks the column {' and '.join(missing)} "
                    f"(it has: {', '.join(header) or 'nothing'})"
                )
            for number, row in enumerate(reader, start=1):
                where = f"{path} row {number} (line {reader.line_num})"
                if None in row or None in row.values():
                    raise InputError(
                        f"{where}: it has {'more' if None in row else 'fewer'} fields than the header; "
                        "quote texts that hold commas"
                    )
                yield where, row
                place = f"row {number + 1}"
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error
    except csv.Error as error:
        raise InputError(f"{path} {place}: it is not well-formed CSV ({error}); check its quoting") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def read_jsonl(path: Path, required: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, row) of a JSON-lines file whose objects have the keys ``required``."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                where = f"{path} line {number}"
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise InputError(f"{where}: it is not JSON ({error.msg}); write one object a line") from error
                if not isinstance(row, dict):
                    raise InputError(f"{where}: it is not an object; write one object a line")
                missing = [key for key in required if key not in row]
                if missing:
                    raise InputError(f"{where}: it lacks the key {' and '.join(missing)}")
                yield where, row
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error


def read_json(path: Path) -> Any:
    """Return the document in a JSON file. Raises ``InputError`` naming the file and line."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} line {error.lineno}: it is not JSON ({error.msg})") from error
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error


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


def optional(row: dict[str, Any], column: str) -> str | None:
    """Return a column's value as text, or None where the column is absent, null or empty."""
    value = row.get(column)
    return None if value is None or value == "" else str(value)
