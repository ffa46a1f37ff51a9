"""How a document of a run's folder is read and written: checked, numbered, and named where it does not fit.

A document is written by ``Document.write`` and read by ``Document.read``, and by nothing else. It carries the number of
its schema under ``schema``; documents of earlier numbers are brought up to date when they are read, and one of a later
number is refused with the advice to update.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import InputError
from harness.store.atomic import write_json


class Part(BaseModel):
    """A part of a document. A key that a later version added is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, allow_inf_nan=False)


class Document(Part):
    """A file of JSON with a version number.

    Attributes
    ----------
    SCHEMA
        The number that this version writes.
    MEND
        What to do about a file that cannot be read, for the message.
    SEALED
        Whether the file carries a checksum of all else in it under ``checksum``, and is refused if that does not fit.
        One without a checksum, of an earlier version, is taken as it is.
    """

    SCHEMA: ClassVar[int] = 1
    MEND: ClassVar[str] = "restore it, or start anew"
    SEALED: ClassVar[bool] = False

    schema_: int = Field(default=0, alias="schema", description="Number of the schema.", ge=0)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises
        ------
        FileNotFoundError
            If there is none.
        InputError
            Naming the file, the field and the mend, if it does not fit.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: it cannot be read ({error}); {cls.MEND}") from error
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: it is not JSON ({error}); {cls.MEND}") from error
        told = content.pop("checksum", None) if isinstance(content, dict) and cls.SEALED else None
        if told is not None and told != cls.seal(content):
            raise InputError(f"{path}: it is not what was written there (its checksum is another); {cls.MEND}")
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: Any, where: str) -> Self:
        """Check what a file holds; ``where`` names it in messages. Raises ``InputError`` as ``read`` does."""
        number = content.get("schema", 0) if isinstance(content, dict) else 0
        if isinstance(number, int) and number > cls.SCHEMA:
            raise InputError(
                f"{where}: it was written by a later version of harness (schema {number}, this one knows "
                f"{cls.SCHEMA}); update harness"
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise InputError(
                f"{where}: '{place}': {first['msg']}, and is {_short(first['input'])}; {cls.MEND}"
            ) from error

    @classmethod
    def sealed(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Return the content of such a document with its checksum."""
        return {**content, "checksum": cls.seal(content)}

    @classmethod
    def seal(cls, content: dict[str, Any]) -> str:
        """Return the checksum of a document's content, 32 hexadecimal digits.

        BLAKE2b of the name of its kind, a line feed, and its JSON with sorted keys and no spaces.
        """
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(f"{cls.__name__}\n{text}".encode(), digest_size=16).hexdigest()

    def write(self, path: Path) -> None:
        """Write the file as a whole, in place of what was there."""
        content = self.document()
        write_json(path, self.sealed(content) if self.SEALED else content)

    def document(self) -> dict[str, Any]:
        """Return what the file holds, as JSON values."""
        return {**self.model_dump(mode="json", by_alias=True), "schema": self.SCHEMA}


def _short(value: Any) -> str:
    text = json.dumps(value, default=repr, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
