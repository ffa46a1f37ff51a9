"""The web pages of a folder of published leaderboards: written from the documents alone, and held to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.errors import InputError
from harness.report.published_page import GENERATOR, INDEX, index, page, page_name
from harness.report.reading import Published, read_published
from harness.store.atomic import write_file

_MARK = f'<meta name="generator" content="{GENERATOR}">'.encode()
_MARKED_WITHIN = 1024
"""Bytes of a page in which its mark stands."""


@dataclass(frozen=True)
class Site:
    """The pages of a folder, and why a document in it has none."""

    index: Path
    pages: Sequence[Path]
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class PageCheck:
    """What became of one page.

    Parameters
    ----------
    path
        The page.
    state
        ``same``: exactly what its document gives; ``differs``: edited, of an older document or version; ``missing``;
        ``stray``: the document it was made of is gone.
    mend
        What to do; empty where nothing is.
    """

    path: Path
    state: Literal["same", "differs", "missing", "stray"]
    mend: str = ""

    def document(self) -> dict[str, str | None]:
        """Return its part of the JSON document of ``harness leaderboard --verify``."""
        return {"file": str(self.path), "state": self.state, "mend": self.mend or None}


@dataclass(frozen=True)
class _Folder:
    published: list[Published]
    damaged: list[str] = field(default_factory=list)


def refuse_strangers(folder: Path, stems: Sequence[str] = ()) -> None:
    """Refuse to write pages where one would replace a file that is no page of the harness.

    Parameters
    ----------
    folder
        Need not be there.
    stems
        Of documents that are to be written besides those in the folder.

    Raises
    ------
    InputError
        Naming the file.
    """
    names = {INDEX, *(page_name(stem) for stem in [*stems, *(path.stem for path in folder.glob("*.json"))])}
    for path in sorted(folder / name for name in names):
        if path.exists() and not (path.is_file() and _is_ours(path)):
            raise InputError(
                f"{path}: it was not written by `harness leaderboard`, and a page of that name belongs here; move it "
                "away, or name another folder"
            )


def write_site(folder: Path) -> Site:
    """Write a page for every document in a folder, and one that lists them.

    Pages are replaced one by one, each whole. A document that cannot be read gets none.

    Raises
    ------
    InputError
        If there is no document, or a file would be replaced that is no page of the harness.
    """
    refuse_strangers(folder)
    found = _read(folder)
    if not found.published:
        raise InputError(
            f"{folder}: there is no published leaderboard here"
            + (f" ({found.damaged[0]})" if found.damaged else "; write one with `harness leaderboard --publish`")
        )
    pages = [_write(folder / page_name(one.path.stem), page(one.document, one.path.stem)) for one in found.published]
    return Site(_write(folder / INDEX, index(found.published)), pages, found.damaged)


def check_site(path: Path) -> list[PageCheck]:
    """Compare pages with what their documents give, byte by byte.

    Parameters
    ----------
    path
        A folder; or one document, of which the page beside it is compared, if there is one.

    Returns
    -------
    list
        Empty where there are no pages: the folder was published without, or with an earlier version.
    """
    if path.is_file():
        one, target = read_published(path), path.with_name(page_name(path.stem))
        return [_check(target, page(one.document, path.stem))] if target.exists() else []
    ours = {file for file in path.glob("*.html") if _is_ours(file)}
    if not ours:  # an index.html of somebody else's is theirs
        return []
    return list(_checks(path, ours))


def _checks(folder: Path, ours: set[Path]) -> Iterator[PageCheck]:
    published = _read(folder).published
    yield _check(folder / INDEX, index(published))
    for one in published:
        yield _check(folder / page_name(one.path.stem), page(one.document, one.path.stem))
    known = {folder / INDEX, *(folder / page_name(file.stem) for file in folder.glob("*.json"))}
    for file in sorted(ours - known):
        yield PageCheck(file, "stray", "the document it was made of is gone: delete it, or restore that")


def _check(path: Path, wanted: str) -> PageCheck:
    anew = f"`harness leaderboard --site {path.parent}` writes it anew"
    if not path.exists():
        return PageCheck(path, "missing", anew)
    if path.read_bytes() == wanted.encode():
        return PageCheck(path, "same")
    if not _is_ours(path):
        return PageCheck(path, "differs", f"it is no page of the harness: move it away; then {anew}")
    return PageCheck(path, "differs", f"it is not what its documents give: {anew}")


def _read(folder: Path) -> _Folder:
    found = _Folder([])
    for file in sorted(folder.glob("*.json")):
        try:
            found.published.append(read_published(file))
        except InputError as error:
            found.damaged.append(str(error))
    return found


def _write(path: Path, text: str) -> Path:
    write_file(path, lambda stream: stream.write(text.encode()))
    return path


def _is_ours(path: Path) -> bool:
    with path.open("rb") as stream:
        return _MARK in stream.read(_MARKED_WITHIN)
