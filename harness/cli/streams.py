"""Streams that cannot show every character: what stands for one there, so that nothing printed ends a command."""

from __future__ import annotations

import codecs
import sys
from typing import Any

_STANDS_FOR = str.maketrans(
    {
        "…": "...",
        "≈": "=~",
        "±": "+/-",
        "†": "^",
        "‡": "^^",
        "─": "-",
        "━": "-",
        "│": "|",
        "−": "-",
        "–": "-",
        "—": "-",
        "×": "x",
        "·": ".",
        "•": "*",
        "≤": "<=",
        "≥": ">=",
        "→": "->",
        "²": "^2",
        "“": '"',
        "”": '"',
        "‘": "'",
        "’": "'",
        "\u00a0": " ",
    }
)
_HANDLER = "harness.printable"


def make_printable() -> None:
    """Let stdout and stderr write something like it for what their encoding lacks, and never raise for that."""
    codecs.register_error(_HANDLER, _instead)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what stands in for a stream in a test or notebook may have no encoding
            stream.reconfigure(errors=_HANDLER)


def is_unicode(stream: Any) -> bool:
    """Whether a stream can write every character."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-").startswith("utf")


def printable(text: str, stream: Any) -> str:
    """Return a text as a stream will show it, so that its width is known before."""
    if is_unicode(stream):
        return text
    encoding = stream.encoding
    return text.encode(encoding, _HANDLER).decode(encoding)


def _instead(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(_STANDS_FOR)
    return lacking.encode("ascii", "backslashreplace").decode(), error.end
