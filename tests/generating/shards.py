"""Reading what was generated, by nothing of the harness."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def records(folder: Path) -> list[dict[str, Any]]:
    """Return the JSON of each row of WebDataset shards, in order."""
    return [json.loads(content) for name, content in _members(folder) if name.endswith(".json")]


def images(folder: Path) -> list[np.ndarray]:
    """Return the pixels of each row, as whole numbers that can be subtracted."""
    found = (content for name, content in _members(folder) if name.endswith((".png", ".jpg")))
    return [np.asarray(Image.open(io.BytesIO(content)), dtype=np.int16) for content in found]


def names(folder: Path) -> list[str]:
    """Return the members of all shards."""
    return [name for name, _ in _members(folder)]


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each shard by its name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in (".tar", ".parquet")}


def _members(folder: Path) -> list[tuple[str, bytes]]:
    found = []
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as archive:
            found += [(member.name, archive.extractfile(member).read()) for member in archive]
    return found
