"""Phrase lists: those that the PyPI package clip-interrogator carries, read as data, and the user's own."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from harness.models.loading import loaded_once
from harness.plugin import InputError

PACKAGE = "clip-interrogator"
LISTS = ("artists", "flavors", "mediums", "movements", "negative")

# Where images are shown, as the package spells them; its list of sites is in its code, not among its data.
_SITES = (
    *("Artstation", "behance", "cg society", "cgsociety", "deviantart", "dribble", "flickr", "instagram", "pexels"),
    *("pinterest", "pixabay", "pixiv", "polycount", "reddit", "shutterstock", "tumblr", "unsplash", "zbrush central"),
)


@loaded_once(maxsize=4)
def phrase_lists(flavor_files: tuple[str, ...] = ()) -> Mapping[str, tuple[str, ...]]:
    """Return the phrases of each table: artists, flavors, mediums, movements, trendings and negative.

    Parameters
    ----------
    flavor_files
        Text files, a phrase a line, in place of the packaged flavors.

    Raises
    ------
    InputError
        If the package is not installed, or a file cannot be read or holds no phrase.
    """
    lists = {name: cleaned(_packaged(name).splitlines()) for name in LISTS if name != "flavors" or not flavor_files}
    if flavor_files:
        lists["flavors"] = cleaned(line for file in flavor_files for line in _own(file))
    artists = lists["artists"]
    lists["artists"] = tuple(f"{how} {artist}" for how in ("by", "inspired by") for artist in artists)
    lists["trendings"] = cleaned(
        pattern.format(site)
        for pattern in ("{}", "trending on {}", "featured on {}", "{} contest winner")
        for site in _SITES
    )
    return lists


def cleaned(lines: Iterable[str]) -> tuple[str, ...]:
    """Return phrases in order, each once, without control characters; empty and undecodable ones are left out."""
    kept: dict[str, None] = {}
    for line in lines:
        phrase = "".join(c for c in line if unicodedata.category(c) != "Cc").strip()
        if phrase and "\N{REPLACEMENT CHARACTER}" not in phrase:
            kept[phrase] = None
    return tuple(kept)


def _packaged(name: str) -> str:
    try:
        file = metadata.distribution(PACKAGE).locate_file(f"clip_interrogator/data/{name}.txt")
        return Path(str(file)).read_text(encoding="utf-8", errors="replace")
    except (metadata.PackageNotFoundError, OSError) as error:
        raise InputError(
            "interrogator.mode: classic, fast, best and negative need the phrase lists of a package that is not "
            f"installed; run `pip install --no-deps {PACKAGE}`, or set interrogator.mode=prompts"
        ) from error


def _own(file: str) -> list[str]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"interrogator.phrases: {file} cannot be read as UTF-8 text ({error}); name text files, a phrase a line"
        ) from error
    if not cleaned(lines):
        raise InputError(f"interrogator.phrases: {file} holds no phrase; write one a line")
    return lines
