"""Zip files of images, each beside a document that describes them: one a shard."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.data.layouts.contained import ZippedImage
from harness.data.layouts.files import is_named_image, passed_over
from harness.errors import InputError

_MOST_TEXT = 1 << 27


@dataclass(frozen=True)
class ZippedPart:
    """What a zip file holds.

    Parameters
    ----------
    images
        Its images by name, without folders.
    document, text
        Path of its one JSON document in it, and the content.
    """

    images: Mapping[str, ZippedImage]
    document: str
    text: bytes


def read_zip(archive: Path) -> ZippedPart:
    """Read the directory of a zip file, and its JSON document.

    Raises
    ------
    InputError
        Naming the file, if it is damaged, or has not exactly one document.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [info for info in opened.infolist() if not info.is_dir() and not _is_leftover(info.filename)]
            documents = [info for info in members if info.filename.lower().endswith(".json")]
            if len(documents) != 1 or documents[0].file_size > _MOST_TEXT:
                raise InputError(
                    f"{archive}: it holds {len(documents)} JSON documents, and one with the prompts is needed"
                )
            text = opened.read(documents[0])
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise InputError(f"{archive}: it is no whole zip file ({error}); fetch it again") from error
    images = {
        _name(info.filename): ZippedImage(
            archive, info.filename, info.header_offset, info.compress_size, info.file_size, info.CRC
        )
        for info in members
        if is_named_image(info.filename)
    }
    return ZippedPart(images, documents[0].filename, text)


def _name(member: str) -> str:
    return member.rpartition("/")[2]


def _is_leftover(member: str) -> bool:
    return any(passed_over(part) for part in member.split("/"))
