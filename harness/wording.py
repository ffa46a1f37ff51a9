"""Numbers in sentences, and who is told sentences, for every room."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
"""Told of what goes on, in a line of text."""


def number_of(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun: "1 task", "3 tasks".

    Parameters
    ----------
    count
        How many.
    one, many
        The noun for one, and for any other number. Default of the latter: with an s.
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def size_of(count: float) -> str:
    """Return a number of bytes in KiB, MiB or GiB: "286 KiB", "12 MiB", "1.5 GiB"."""
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"
