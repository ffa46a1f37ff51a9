"""Finding the image files of a folder and pairing them with the rows of a table."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from harness.data.kinds import IMAGE_SUFFIXES, is_image
from harness.errors import InputError

_LEFTOVERS = frozenset({"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "@eadir"})
"""What macOS, Windows and network drives leave behind; hidden files are passed over as well."""


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


def find_images(folder: Path) -> FoundImages:
    """Look for images below a folder, in linked folders too; hidden files and leftovers are passed over."""
    found = FoundImages()
    for path in _files(folder, found):
        try:
            told = is_image(path)
        except OSError as error:
            told = f"it cannot be read ({error.strerror}); change its permissions"
        if told is True:
            found.images.append(path)
        elif told:
            found.unread[path] = str(told)
    return found


def _files(folder: Path, found: FoundImages) -> Iterator[Path]:
    def refused(error: OSError) -> None:
        found.unread[Path(error.filename)] = f"it cannot be read ({error.strerror}); change its permissions"

    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=refused):
        inside = []
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(parent, name))
            if _passed_over(name):
                continue
            if real in seen:  # or a circle of them
                found.unread[Path(parent, name)] = "a link to a folder that is read already"
                continue
            seen.add(real)
            inside.append(name)
        folders[:] = inside
        yield from (Path(parent, name) for name in sorted(names) if not _passed_over(name))


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _LEFTOVERS


def image_files(folder: Path) -> list[Path]:
    """Return every image file below ``folder``, sorted by path, hidden ones left out."""
    return find_images(folder).images


def holds_images(folder: Path) -> bool:
    """Whether there is an image below ``folder``, or a file named like one; stops at the first."""
    if any(is_named_image(name) for _, _, names in os.walk(folder) for name in names):
        return True
    found = find_images(folder)
    return bool(found.images or found.unread)


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
    extra = sorted(set(found) - set(listed))
    if extra:
        others = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise InputError(
            f"{extra[0]}{others}: the image has no row in {table}; "
            "add a row with its prompt, or move the image elsewhere"
        )


class NamedImages:
    """Finds the image that a table's row names, however it spells the path.

    Tables travel between machines: names are found in another Unicode form (macOS writes decomposed letters), with
    backslashes, in another case, without their suffix, as absolute paths, and by the bare name in a subfolder, as long
    as exactly one image answers to them. Nothing outside the data's folder is ever read.

    Parameters
    ----------
    root
        The data's folder.
    base
        What relative paths start from, if not ``root``.
    """

    def __init__(self, root: Path, base: Path | None = None) -> None:
        self.root, self.base = root, base or root

    @cached_property
    def found(self) -> FoundImages:
        """All images below the folder."""
        return find_images(self.root)

    def path(self, value: str, where: str) -> Path:
        """Return the image that ``value`` names; where there is none, the path at which it was looked for.

        Raises
        ------
        InputError
            If it leads out of the data's folder, or more than one image answers to it.
        """
        plain = self._inside(value, where)
        if plain is not None and plain.is_file():
            return plain
        slashed = value.replace("\\", "/") if "\\" in value else value
        for tried in dict.fromkeys((slashed, slashed.strip())):
            path = self._inside(tried, where)
            if path is not None and path.is_file():
                return path
            keys = [path.relative_to(self.root).as_posix()] if path is not None and path != self.root else []
            for key in (*keys, Path(tried).name):
                if answering := self._answering(key):
                    if len(answering) > 1:
                        raise InputError(
                            f"{where}: '{value}' may be {answering[0]} or {answering[1]}; write its path below "
                            f"{self.root}"
                        )
                    return answering[0]
        if plain is None:
            raise InputError(
                f"{where}: '{value}' lies outside the data's folder {self.root}; copy the image there and write its "
                "path below it"
            )
        return plain

    def _inside(self, value: str, where: str) -> Path | None:
        """Return a path below the root without ``..``, or None where the value leads out of it."""
        if "\0" in value:
            raise InputError(f"{where}: the path {value!r} holds a zero byte; write it anew")
        base = Path.cwd() / self.base
        joined = Path(os.path.normpath(base / value))  # as it is spelt: links below the root may lead anywhere
        real = joined.parent.resolve() / joined.name
        for root, path in ((Path(os.path.normpath(Path.cwd() / self.root)), joined), (self.root.resolve(), real)):
            if path.is_relative_to(root):
                return self.root / path.relative_to(root)
        return None

    def _answering(self, key: str) -> list[Path]:
        for form in (unicodedata.normalize("NFC", key), unicodedata.normalize("NFKC", key).casefold()):
            if answering := self._by_name.get(form):
                return answering
        return []

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        names: dict[str, list[Path]] = {}
        for path in self.found.images:
            short = path.relative_to(self.root)
            spelt = {short.as_posix(), short.name, short.with_suffix("").as_posix(), short.stem}
            forms = {unicodedata.normalize("NFC", name) for name in spelt}
            forms |= {unicodedata.normalize("NFKC", name).casefold() for name in spelt}
            for form in forms:
                names.setdefault(form, []).append(path)
        return names
