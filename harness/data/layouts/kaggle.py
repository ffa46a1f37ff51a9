"""The layout of the competition "Stable Diffusion - Image to Prompts": ``prompts.csv`` and ``images/``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.data.kinds import is_file
from harness.data.layouts.files import NamedImages, find_images, refuse_unlisted
from harness.data.layouts.tables import FILE_COLUMNS, optional, plain, read_csv, read_table
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
        """Whether there is a ``prompts.csv``, and not one of another layout that only has this name."""
        table = location / TABLE
        if not table.is_file() or (location / "images").is_dir():
            return table.is_file()
        try:
            columns = {plain(column) for column in read_table(table).columns}
        except InputError:
            return True
        return "imgid" in columns or not columns.intersection(FILE_COLUMNS)

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row a prompt, in the table's order."""
        table, folder = location / TABLE, location / "images"
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such folder; {table} needs its images there as <imgId>.png")
        images = NamedImages(folder)
        files: dict[str, Path] = {}
        for path in images.found.images:
            image_id = path.relative_to(folder).with_suffix("").as_posix()
            if image_id in files:
                raise InputError(f"{path}: {files[image_id].name} has the same imgId; keep one of the two")
            files[image_id] = path
        listed = []
        for where, row in read_csv(table, ["imgId", "prompt"]):
            image_id = str(row["imgId"])
            path = files[image_id] if image_id in files else images.path(image_id, where)
            listed.append(path)
            yield Row(
                id=image_id,
                image=path if is_file(path) else folder / f"{image_id}.png",
                texts=(row["prompt"],),
                group=optional(row, "group"),
                source=optional(row, "source"),
                where=where,
            )
        refuse_unlisted(files.values(), listed, table)

    def notes(self, location: Path) -> list[str]:
        """Say what was left out."""
        return find_images(location / "images").notes()
