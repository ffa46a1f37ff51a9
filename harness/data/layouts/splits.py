"""Data files of several splits in one folder, told apart by their names as Hugging Face ``datasets`` does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.data.kinds import exists, is_file
from harness.data.layouts.files import passed_over
from harness.errors import InputError

_NUMBERED = re.compile(r"(.+)-[0-9]{4,5}-of-[0-9]{4,5}\b")
_KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLIT_OF = {keyword: split for split, keywords in _KEYWORDS.items() for keyword in keywords}
_MOST_FOLDERS = 64


def split_of(file: Path, root: Path) -> str:
    """Return the split that a data file below ``root`` belongs to, by its name or else a folder's; empty: of none."""
    relative = file.relative_to(root)
    numbered = _NUMBERED.match(relative.stem)
    for part in (numbered[1] if numbered else relative.stem, *reversed(relative.parent.parts)):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in _SPLIT_OF:
                return _SPLIT_OF[word]
    return numbered[1] if numbered else ""


def named_split(location: Path) -> tuple[Path, str | None]:
    """Take ``FOLDER:SPLIT`` apart; of a path that exists there is no split to take off."""
    folder, colon, split = str(location).rpartition(":")
    if colon and split and not exists(location) and exists(Path(folder)):
        return Path(folder), split
    return location, None


def data_files(root: Path, suffix: str) -> Iterator[Path]:
    """Yield the files of a suffix in a folder, or else in its folders, or else in theirs, each level by path."""
    folders = [root]
    for _ in range(3):
        found: list[Path] = []
        below: list[Path] = []
        for folder in folders:
            try:
                for path in sorted(folder.iterdir()):
                    if passed_over(path.name):
                        continue
                    if path.suffix.lower() == suffix and is_file(path):
                        found.append(path)
                    elif len(below) <= _MOST_FOLDERS and path.is_dir():
                        below.append(path)
            except OSError:  # closed; whoever reads the others does not need it
                continue
        if found or len(below) > _MOST_FOLDERS:
            yield from found
            return
        folders = below


def files_of_split(location: Path, suffix: str) -> list[Path]:
    """Return the files that a location names: itself, or all of a folder that belong to one split.

    Raises
    ------
    InputError
        If they belong to several and none is named, or none belongs to the one that is.
    """
    root, split = named_split(location)
    if is_file(root):
        return [root] if root.suffix.lower() == suffix else []
    files = list(data_files(root, suffix))
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(split_of(file, root), []).append(file)
    if split is not None:
        wanted = _SPLIT_OF.get(split.lower(), split)
        if wanted not in by_split:
            there = ", ".join(name for name in by_split if name) or "none"
            raise InputError(f"{root}: it has no split '{split}' (its files are of: {there})")
        return by_split[wanted]
    if len(by_split) > 1:
        raise InputError(_refusal(root, by_split))
    return files


def _refusal(root: Path, by_split: dict[str, list[Path]]) -> str:
    names = ", ".join(f"{name or files[0].name} ({_count(files)})" for name, files in by_split.items())
    splits = [name for name in by_split if name]
    first = next((name for name in splits if name == "train"), splits[0])
    test = " --test " + f"{root}:test" if "test" in splits and first != "test" else ""
    return (
        f"{root}: its files are of several splits: {names}, which are not merged; name one: --data {root}:{first}{test}"
    )


def _count(files: Sequence[Path]) -> str:
    return f"{len(files)} file{'s' if len(files) > 1 else ''}"


def alone(file: Path, location: Path, suffix: str) -> bool:
    """Whether a file is the only one of its data set, so that its rows need no name of it."""
    root, split = named_split(location)
    if is_file(root):
        return True
    own = split_of(file, root)
    others = (other for other in data_files(root, suffix) if other != file)
    return not any(split is None or split_of(other, root) == own for other in others)
