"""DiffusionDB: parts of a thousand images with their prompts in ``part-NNNNNN.json``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.data.layouts.carried import text_in
from harness.data.layouts.files import NamedImages, find_images, refuse_unlisted
from harness.data.layouts.tables import read_json
from harness.errors import InputError
from harness.plugin import Row

_PLACES = ("part-*.json", "part-*/part-*.json", "*/part-*/part-*.json")


class DiffusionDbReader:
    """The parts of DiffusionDB (Wang et al. 2022) as they are unpacked: ``part-000001/part-000001.json`` and images.

    The JSON maps each file to an object whose key ``p`` is the prompt. ``--data`` names a part, or the folder of parts.
    """

    name = "diffusiondb"
    order = 105
    looks_for = "part-NNNNNN/part-NNNNNN.json with the prompts (key p) of the images beside it (DiffusionDB)"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether the location is a part, or holds parts."""
        return bool(_parts(location))

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row an image, part by part, in the order of their documents."""
        for part in _parts(location):
            document: Any = read_json(part)
            if not isinstance(document, dict):
                raise InputError(f"{part}: it must be an object of image names, each with its prompt as p")
            images, listed = NamedImages(part.parent), []
            for name, settings in document.items():
                where = f"{part}: '{name}'"
                prompt = settings.get("p") if isinstance(settings, dict) else settings
                texts = (prompt,) if isinstance(prompt, str) else text_in(settings, where)
                if texts is None:
                    raise InputError(f"{where}: it has no prompt (key p); add it or remove the image")
                path = images.path(name, where)
                listed.append(path)
                yield Row(id=path.stem, image=path, texts=texts, where=where)
            refuse_unlisted(images.found.images, listed, part)

    def notes(self, location: Path) -> list[str]:
        """Say what was left out."""
        return find_images(location).notes()


def _parts(location: Path) -> list[Path]:
    if not location.is_dir():
        return []
    return next((found for place in _PLACES if (found := sorted(location.glob(place)))), [])
