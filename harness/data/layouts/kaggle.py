"""The layout of the competition "Stable Diffusion - Image to Prompts": ``prompts.csv`` and ``images/``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.data.layouts.files import image_files, refuse_unlisted
from harness.data.layouts.tables import optional, read_csv
from harness.errors import InputError
from harness.plugin import Row

TABLE = "prompts.csv"


class KaggleReader:
    """``prompts.csv`` (``imgId,prompt``; also ``group``, ``source``) beside ``images/<imgId>.png``."""

    name = "kaggle"
    order = 100
    looks_for = "prompts.csv with the columns imgId,prompt beside a folder images/"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether there is a ``prompts.csv``."""
        return (location / TABLE).is_file()

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row a prompt, in the table's order."""
        table, folder = location / TABLE, location / "images"
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such folder; {table} needs its images there as <imgId>.png")
        files: dict[str, Path] = {}
        for path in image_files(folder):
            image_id = path.relative_to(folder).with_suffix("").as_posix()
            if image_id in files:
                raise InputError(f"{path}: {files[image_id].name} has the same imgId; keep one of the two")
            files[image_id] = path
        listed = set()
        for where, row in read_csv(table, ["imgId", "prompt"]):
            image_id = row["imgId"]
            listed.add(image_id)
            yield Row(
                id=image_id,
                image=files.get(image_id, folder / f"{image_id}.png"),
                texts=(row["prompt"],),
                group=optional(row, "group"),
                source=optional(row, "source"),
                where=where,
            )
        refuse_unlisted(files.values(), (files[i] for i in listed & files.keys()), table)
