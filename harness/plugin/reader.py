"""The contract of a data set reader, and the row it yields."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harness.plugin.images import ImageSource


@dataclass(frozen=True, slots=True)
class Row:
    """One image and what is known of it.

    Parameters
    ----------
    id
        Unique in the data set; the ``imgId`` of a submission.
    image
        A file, or any ``ImageSource``.
    texts
        The prompt, or several captions of the same image; empty in a test set.
    group
        The data set's own group label. Either every row has one or none has.
    source
        Where the row comes from (a generator, a campaign): scores are sliced by it.
    where
        The row's place in its file, for messages: ``prompts.csv row 3``.
    """

    id: str
    image: Path | ImageSource
    texts: tuple[str, ...] = ()
    group: str | None = None
    source: str | None = None
    where: str = ""


class DatasetReader(Protocol):
    """Reads one layout as it lies on disk, or one data set that is known by name."""

    name: str
    """What ``harness data describe`` calls the layout, or the name given to ``--data``."""
    looks_for: str
    """What ``matches`` looks for, for the message when nothing matches."""
    recommended_threshold: float | None
    """The group threshold that suits this data, or None for the general default."""

    def matches(self, location: Path) -> bool:
        """Whether the folder or file at ``location`` has this layout. Must be quick and never raise."""

    def read(self, location: Path) -> Iterable[Row]:
        """Yield the rows in their order. Raises ``InputError`` naming the file and row that is wrong."""
