"""Prompts that images carry with them: in a text file beside each, or written into the file by the generator."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from harness.data.containers import PNG_MAGIC
from harness.data.layouts.files import find_images, short_ids
from harness.data.layouts.tables import TEXT_COLUMNS, plain, read_json, read_text, texts_of
from harness.errors import InputError
from harness.plugin import Row

_BESIDE = (".txt", ".caption", ".json")
_MOST_TEXT = 1 << 22
_OTHERS = {
    "workflow": "ComfyUI",
    "prompt": "ComfyUI",
    "invokeai_metadata": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "dream": "InvokeAI",
    "description": "NovelAI",
    "fooocus_scheme": "Fooocus",
}
_LOOKED_AT = 50


class SidecarReader:
    """A text file beside each image, of the same name: ``a.png`` and ``a.txt`` (or ``a.caption``, ``a.json``).

    The layout of training tools and of img2dataset's ``files`` output. What stands in a JSON file is read from its key
    ``prompt``, ``text`` or ``caption``.
    """

    name = "sidecar"
    order = 150
    looks_for = "a .txt (.caption, .json) of the same name beside each image"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether an image has such a file beside it."""
        if not location.is_dir():
            return False
        images = find_images(location).images
        names = {folder: {p.name for p in folder.iterdir()} for folder in {path.parent for path in images}}
        likely = (p for p in images if any(f"{p.stem}{suffix}" in names[p.parent] for suffix in _BESIDE))
        return any(_beside(path) is not None for path in islice(likely, _LOOKED_AT))

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row an image, by path."""
        images = find_images(location).images
        for path, short in zip(images, short_ids(images, location), strict=True):
            beside = _beside(path)
            if beside is None:
                raise InputError(
                    f"{path}: there is no {path.stem}.txt beside it with its prompt, as other images have; write it or "
                    "move the image elsewhere (without any such file the folder is a test set)"
                )
            yield Row(id=short, image=path, texts=_text_beside(beside), where=str(beside))

    def notes(self, location: Path) -> list[str]:
        """Say what was left out."""
        return find_images(location).notes()


def _beside(path: Path) -> Path | None:
    for suffix in _BESIDE:
        beside = path.with_suffix(suffix)
        if beside.is_file() and (suffix != ".json" or _json_text(beside) is not None):
            return beside
    return None


def _json_text(path: Path) -> tuple[str, ...] | None:
    """Return the prompt in an image's own JSON file, or None where it holds none."""
    try:
        document = read_json(path)
    except InputError:
        return None
    return text_in(document, str(path))


def text_in(document: Any, where: str) -> tuple[str, ...] | None:
    """Return the prompt in a JSON object, by the usual names, or None where none of them has a text."""
    if not isinstance(document, dict):
        return None
    values = {plain(key): value for key, value in document.items()}
    name = next((name for name in TEXT_COLUMNS if _is_text(values.get(name))), None)
    return None if name is None else texts_of(values[name], name, where)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)
    )


def _text_beside(path: Path) -> tuple[str, ...]:
    if path.suffix == ".json":
        return _json_text(path) or ()
    return (prompt_of_parameters(read_text(path)),)


class PngInfoReader:
    """Images that carry their own prompt: the text ``parameters`` that AUTOMATIC1111's web UI writes to a PNG."""

    name = "pnginfo"
    order = 170
    looks_for = "PNG images that carry their prompt (the text parameters)"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether all images carry their prompt."""
        if not location.is_dir():
            return False
        images = find_images(location).images
        return bool(images) and all("parameters" in png_texts(path) for path in images)

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row an image, by path."""
        images = find_images(location).images
        for path, short in zip(images, short_ids(images, location), strict=True):
            prompt = prompt_of_parameters(png_texts(path)["parameters"])
            yield Row(id=short, image=path, texts=(prompt,), where=f"{path}: the text 'parameters'")

    def notes(self, location: Path) -> list[str]:
        """Say what was left out."""
        return find_images(location).notes()


def carried_notes(images: Sequence[Path]) -> list[str]:
    """Say of images that are read as a test set that some carry a prompt; the first 50 are looked at."""
    looked = images[:_LOOKED_AT]
    texts = [png_texts(path) for path in looked]
    own = [path for path, text in zip(looked, texts, strict=True) if "parameters" in text]
    notes = []
    if own:
        bare = next((p for p, text in zip(looked, texts, strict=True) if "parameters" not in text), None)
        lacking = f"{bare.name} has none" if bare else "later ones have none"
        notes.append(
            f"not read: {len(own)} of {len(looked)} images carry their prompt (the PNG text parameters) and {lacking}; "
            "move those without elsewhere, or write the prompts to a metadata.csv (file_name,prompt)"
        )
    for program in sorted(
        {_OTHERS[key] for text in texts for key in text if key in _OTHERS and "parameters" not in text}
    ):
        count = sum(any(_OTHERS.get(key) == program for key in text) for text in texts)
        notes.append(
            f"not read: {count} of {len(looked)} images carry settings of {program}, with their prompt among them; "
            "write the prompts to a metadata.csv (file_name,prompt)"
        )
    return notes


def prompt_of_parameters(text: str) -> str:
    """Return the prompt in the settings that the Stable Diffusion web UI writes: what precedes the negative prompt.

    Source: ``create_infotext`` of AUTOMATIC1111's stable-diffusion-webui: prompt, ``Negative prompt: …``, and a last
    line of ``Steps: …``.
    """
    kept: list[str] = []
    lines = text.strip().split("\n")
    for number, line in enumerate(lines):
        if line.startswith("Negative prompt:") or (line.startswith("Steps: ") and number > 0):
            break
        kept.append(line)
    return "\n".join(kept).strip()


def png_texts(path: Path) -> dict[str, str]:
    """Return the texts in a PNG by keyword, in small letters; nothing of what is no PNG or is damaged.

    Only the headers of other chunks are read, so that it takes no longer for large images.
    """
    texts: dict[str, str] = {}
    try:
        with path.open("rb") as stream:
            if stream.read(8) != PNG_MAGIC:
                return {}
            while len(head := stream.read(8)) == 8:
                size, name = int.from_bytes(head[:4], "big"), head[4:]
                if name in (b"tEXt", b"zTXt", b"iTXt") and size <= _MOST_TEXT:
                    keyword, text = _png_text(name, stream.read(size))
                    texts.setdefault(keyword.casefold(), text)
                    stream.seek(4, 1)
                else:
                    stream.seek(size + 4, 1)
                if name == b"IEND":
                    break
    except OSError:
        pass  # whoever decodes it will say so
    return texts


def _png_text(name: bytes, content: bytes) -> tuple[str, str]:
    keyword, _, rest = content.partition(b"\0")
    compressed = name == b"zTXt"
    if name == b"iTXt":
        compressed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    elif compressed:
        rest = rest[1:]
    if compressed:
        try:
            rest = zlib.decompressobj().decompress(rest, _MOST_TEXT)
        except zlib.error:
            rest = b""
    text = rest.decode("utf-8", "replace") if name == b"iTXt" else _latin_or_utf8(rest)
    return keyword.decode("latin-1"), text


def _latin_or_utf8(content: bytes) -> str:
    """Decode a text that should be Latin-1 and often is UTF-8 all the same."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
