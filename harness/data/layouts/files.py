"""Finding the image files of a folder and pairing them with the rows of a table."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from harness.data.kinds import IMAGE_SUFFIXES, is_file, is_image
from harness.data.once import once
from harness.errors import InputError
from harness.plugin import BrokenRow

_LEFTOVERS = frozenset({"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "@eadir"})
"""What macOS, Windows and network drives leave behind; hidden files are passed over as well."""
_ELSEWHERE = re.compile(r"~[^/]*/|[A-Za-z][A-Za-z0-9+.-]*:/")
"""How a path begins that is no path of the folder although it does not climb: `~/`, `C:/`, `https://`."""
_MOST_ENDS = 8


@dataclass(frozen=True)
class FoundImages:
    """The images below a folder, and the files that are images and cannot be read.

    Parameters
    ----------
    images
        By path. Named as images, or without such a name and with an image's content.
    unread
        Reason by path: formats that are not read, entries that the system refuses.
    """

    images: list[Path] = field(default_factory=list)
    unread: dict[Path, str] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """Say what was left out: a count, the reason, and some names."""
        by_reason: dict[str, list[Path]] = {}
        for path, reason in self.unread.items():
            by_reason.setdefault(reason, []).append(path)
        told = []
        for reason, paths in by_reason.items():
            names = ", ".join(path.name for path in paths[:3]) + (", …" if len(paths) > 3 else "")
            told.append(f"left out: {len(paths)} {'entry' if len(paths) == 1 else 'entries'} ({names}): {reason}")
        return told


@once
def find_images(folder: Path) -> FoundImages:
    """Look for images below a folder, in linked folders too; hidden files and leftovers are passed over."""
    found = FoundImages()
    for path in _files(folder, found):
        told = _told(path)
        if told is True:
            found.images.append(path)
        elif told:
            found.unread[path] = str(told)
    return found


def _told(path: Path) -> bool | str:
    try:
        return is_image(path)
    except OSError as error:
        return f"it cannot be read ({error.strerror}); change its permissions"


def _files(folder: Path, found: FoundImages) -> Iterator[Path]:
    def refused(error: OSError) -> None:
        found.unread[Path(error.filename)] = f"it cannot be read ({error.strerror}); change its permissions"

    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=refused):
        inside = []
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(parent, name))
            if passed_over(name):
                continue
            if real in seen:  # or a circle of them
                found.unread[Path(parent, name)] = "a link to a folder that is read already"
                continue
            seen.add(real)
            inside.append(name)
        folders[:] = inside
        yield from (Path(parent, name) for name in sorted(names) if not passed_over(name))


def passed_over(name: str) -> bool:
    """Whether a name is that of a hidden file, or of what a system left behind."""
    return name.startswith(".") or name.casefold() in _LEFTOVERS


def holds_images(folder: Path) -> bool:
    """Whether there is an image below ``folder``, or one that is not read, by the rules of `find_images`.

    Stops at the first.
    """
    found = FoundImages()
    return any(_told(path) for path in _files(folder, found)) or bool(found.unread)


def is_named_image(name: str) -> bool:
    """Whether a name ends as those of images do."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def short_ids(paths: Sequence[Path], root: Path) -> list[str]:
    """Return an id for each image: the bare name, or the path below ``root`` where they repeat."""
    stems = [path.stem for path in paths]
    if max(Counter(stems).values(), default=0) <= 1:
        return stems
    short = [path.relative_to(root).with_suffix("").as_posix() for path in paths]
    files = dict(zip(paths, short, strict=True))
    if max(Counter(files.values()).values()) <= 1:
        return short
    return [path.relative_to(root).as_posix() for path in paths]  # a.png and a.jpg


def refuse_unlisted(found: Iterable[Path], listed: Iterable[Path], table: Path) -> None:
    """Raise ``InputError`` if an image file has no row in ``table``."""
    if extra := unlisted(found, listed, table):
        raise InputError(f"{extra.where}: {extra.reason}")


def unlisted(found: Iterable[Path], listed: Iterable[Path], table: Path) -> BrokenRow | None:
    """Return what stands for the images that have no row in ``table``; None if all have one."""
    extra = sorted(set(found) - set(listed))
    if not extra:
        return None
    others = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
    reason = f"the image has no row in {table}; add a row with its prompt, or move the image elsewhere"
    return BrokenRow(f"{extra[0]}{others}", reason)


class NamedImages:
    """Finds the image that a table's row names, however it spells the path.

    Tables travel between machines: names are found in another Unicode form (macOS writes decomposed letters), with
    backslashes, in another case, without their suffix, and as long as exactly one image answers to them. A bare name is
    found in a subfolder, too, and of an absolute path the longest end that an image answers to; a path with folders
    below the data's own is not looked for in others. Nothing outside the data's folder is ever read.

    Parameters
    ----------
    root
        The data's folder.
    bases
        Folders in it that relative paths may start from, tried in this order; the root alone, if none is given.
    """

    def __init__(self, root: Path, *bases: Path) -> None:
        self.root, self.bases = root, bases or (root,)
        self._given: dict[Path, tuple[str, str, bool]] = {}
        self._real: dict[str, str] = {}

    @cached_property
    def found(self) -> FoundImages:
        """All images below the folder."""
        return find_images(self.root)

    def path(self, value: str, where: str) -> Path:
        """Return the image that ``value`` names; where there is none, the path at which it was looked for.

        Raises
        ------
        InputError
            If it leads out of the data's folder, if more than one image answers to it, or if it leads to the image of
            an earlier row that has another path.
        """
        path, guessed = self._looked_for(value, where)
        first, place, first_guessed = self._given.setdefault(path, (value, where, guessed))
        if first != value and (guessed or first_guessed):
            raise InputError(
                f"{where}: '{value}' and '{first}' ({place}) both lead to {path}; add the image that is missing, or "
                f"write the path of each below {self.root}"
            )
        return path

    def _looked_for(self, value: str, where: str) -> tuple[Path, bool]:
        """Return the image, and whether it stands elsewhere than the path says."""
        slashed = value.replace("\\", "/") if "\\" in value else value
        plain: list[Path] = []
        for tried in dict.fromkeys((value, slashed, slashed.strip())):
            inside = [path for base in self.bases if (path := self._inside(base, tried, where)) is not None]
            for path in inside:
                if is_file(path):
                    return path, False
            for answering in self._answers(tried, inside):
                if len(answering) > 1:
                    raise InputError(
                        f"{where}: '{value}' may be {answering[0]} or {answering[1]}; write its path below {self.root}"
                    )
                return answering[0], True
            plain += inside
        if not plain:
            raise InputError(
                f"{where}: '{value}' lies outside the data's folder {self.root}; copy the image there and write its "
                "path below it"
            )
        return plain[0], False

    def _inside(self, base: Path, value: str, where: str) -> Path | None:
        """Return a path below the root without ``..``, or None where the value leads out of it."""
        if "\0" in value:
            raise InputError(f"{where}: the path {value!r} holds a zero byte; write it anew")
        if ".." not in value and not value.startswith("/"):
            return base / value
        joined = os.path.normpath(Path.cwd() / base / value)  # as it is spelt: links may lead anywhere
        parent, name = os.path.split(joined)
        if parent not in self._real:
            self._real[parent] = os.path.realpath(parent)
        for root, path in zip(self._roots, (joined, os.path.join(self._real[parent], name)), strict=True):
            if Path(path).is_relative_to(root):
                return self.root / Path(path).relative_to(root)
        return None

    @cached_property
    def _roots(self) -> tuple[str, str]:
        """The data's folder as it is spelt, and without links."""
        return os.path.normpath(Path.cwd() / self.root), os.path.realpath(self.root)

    def _answers(self, tried: str, inside: Sequence[Path]) -> Iterator[list[Path]]:
        """Yield the images that answer to a path, by more of it before less."""
        for path in inside:
            if path != self.root and (answering := _named(self._by_path, path.relative_to(self.root).as_posix())):
                yield answering
        parts = PurePosixPath(tried).parts
        if not inside or _ELSEWHERE.match(tried):
            for start in range(max(1, len(parts) - _MOST_ENDS), len(parts)):
                if answering := _named(self._by_path, "/".join(parts[start:])):
                    yield answering
        elif len(parts) > 1:  # a folder that is named is the image's own
            return
        if parts and (answering := _named(self._by_name, parts[-1])):
            yield answering

    @cached_property
    def _by_path(self) -> dict[str, list[Path]]:
        return _by_forms((path, path.relative_to(self.root).as_posix()) for path in self.found.images)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _by_forms((path, path.name) for path in self.found.images)


def _by_forms(spelt: Iterable[tuple[Path, str]]) -> dict[str, list[Path]]:
    """Return images by the forms of their spelling, with and without the suffix."""
    names: dict[str, list[Path]] = {}
    for path, short in spelt:
        for form in {form for name in (short, os.path.splitext(short)[0]) for form in _forms(name)}:
            names.setdefault(form, []).append(path)
    return names


def _forms(name: str) -> tuple[str, str]:
    return unicodedata.normalize("NFC", name), unicodedata.normalize("NFKC", name).casefold()


def _named(names: dict[str, list[Path]], key: str) -> list[Path]:
    return next((names[form] for form in _forms(key) if form in names), [])
