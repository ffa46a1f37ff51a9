"""How far a data set is written, in the folder where it is written: ``harness data dedup``, ``mix`` and ``convert``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.store.document import Document, Part


class CuratedShard(Part):
    """A shard that is written."""

    name: str = Field(description="its file")
    rows: int = Field(description="rows in it", ge=0)
    image_bytes: int = Field(description="bytes of their images", ge=0)
    bytes: int = Field(description="bytes of the file", ge=0)


class CuratedDocument(Document):
    """What is written into a folder, and how much of it is there."""

    MEND: ClassVar[str] = "name another folder with --out, or remove this one"

    key: str = Field(description="hash of the inputs' rows and of all options")
    command: str = Field(description="what writes there, in words")
    form: str = Field(description="the form of the shards")
    shards: list[CuratedShard] = Field(description="those that are whole, in their order")
    finished: bool = Field(description="whether that is all")
