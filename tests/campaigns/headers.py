"""Images whose headers are malformed: no sound image is refused, and nothing but an answer comes of any other.

``python -m tests.campaigns headers`` tries 6 000 and prints a table; the tests try some hundred.
"""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import PngImagePlugin

from harness.data.images import check_whole, decode
from harness.errors import InputError

_SIDE = (24, 16)
_NOISE = 80
COUNT = 6000


@dataclass(frozen=True)
class Sound:
    """A sound image and where its metadata lie.

    Parameters
    ----------
    kind
        Format, for the table.
    data
        The file.
    metadata
        Ranges of bytes that say nothing of pixels: any of them may be anything.
    """

    kind: str
    data: bytes
    metadata: list[tuple[int, int]]


def picture() -> PIL.Image.Image:
    """Return a small picture of many colours, of which no turned or mirrored copy is equal to another."""
    random_ = np.random.default_rng(3)
    return PIL.Image.fromarray(random_.integers(0, 256, (_SIDE[1], _SIDE[0], 3), dtype=np.uint8))


def _exif() -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = 1
    exif[0x010F] = "Maker of cameras"
    exif[0x011A], exif[0x011B], exif[0x0128] = 72.0, 72.0, 2
    exif.get_ifd(0x8769).update({0x9003: "2024:01:01 00:00:00", 0x9286: b"ASCII\0\0\0a comment", 0x829A: 0.01})
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    return exif.tobytes()


_XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="1" xmp:CreatorTool="a tool"/></x:xmpmeta>'


def _profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _encoded(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def sound_images() -> list[Sound]:
    """Return a sound image of each format that is full of metadata."""
    exif, profile, image = _exif(), _profile(), picture()
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a red fox\nSteps: 20")
    texts.add_text("workflow", "{}" * 300, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", _XMP.decode())
    found = []
    for options in ({}, {"progressive": True}):
        jpeg = _encoded(
            image, "JPEG", exif=exif, icc_profile=profile, xmp=_XMP, comment=b"a comment", dpi=(72, 72), **options
        )
        found.append(Sound("JPEG", jpeg, list(_jpeg_metadata(jpeg))))
    png = _encoded(image, "PNG", exif=exif, icc_profile=profile, pnginfo=texts, dpi=(72, 72))
    found.append(Sound("PNG", png, list(_png_metadata(png))))
    for lossless in (False, True):
        webp = _encoded(image, "WEBP", exif=exif, icc_profile=profile, xmp=_XMP, lossless=lossless)
        found.append(Sound("WebP", webp, list(_webp_metadata(webp))))
    tiff = _encoded(
        image, "TIFF", exif=exif, icc_profile=profile, description="a picture", software="a tool", dpi=(72, 72)
    )
    found.append(Sound("TIFF", tiff, list(_tiff_metadata(tiff))))
    avif = _encoded(image, "AVIF", exif=exif, icc_profile=profile, xmp=_XMP)
    start, end = avif.index(b"MM\0*"), avif.index(b"a comment")
    found.append(Sound("AVIF", avif, [(start, end), (avif.index(_XMP), avif.index(_XMP) + len(_XMP))]))
    return found


def _jpeg_metadata(data: bytes) -> Iterator[tuple[int, int]]:
    at = 2
    while data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xE0 <= data[at + 1] <= 0xEF or data[at + 1] == 0xFE:
            yield at + 4, at + 2 + size
        at += 2 + size


def _png_metadata(data: bytes) -> Iterator[tuple[int, int]]:
    at = 8
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if name not in (b"IHDR", b"IDAT", b"IEND"):
            yield at + 8, at + 12 + size  # with its checksum
        at += 12 + size


def _webp_metadata(data: bytes) -> Iterator[tuple[int, int]]:
    at = 12
    while at < len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        if name in (b"EXIF", b"XMP ", b"ICCP"):
            yield at + 8, at + 8 + size
        at += 8 + size + size % 2


def _tiff_metadata(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the values and types of tags that are metadata, and the content of those that lie elsewhere."""
    at = struct.unpack_from("<I", data, 4)[0]
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
    for i in range(struct.unpack_from("<H", data, at)[0]):
        entry = at + 2 + 12 * i
        tag, kind, count, value = struct.unpack_from("<HHII", data, entry)
        if tag in (270, 271, 282, 283, 296, 305, 34665, 34853, 34675):
            yield entry + 2, entry + 12
            if count * sizes.get(kind, 1) > 4:
                yield value, value + count * sizes.get(kind, 1)


def with_malformed_metadata(sound: Sound, random_: random.Random) -> bytes:
    """Return the image with some bytes of its metadata changed, zeroed, or all of one block overwritten."""
    data = bytearray(sound.data)
    for _ in range(random_.choice((1, 1, 2, 8, _NOISE))):
        start, end = random_.choice(sound.metadata)
        if end > start:
            at = random_.randrange(start, end)
            data[at] = random_.choice((0, 0xFF, random_.randrange(256), data[at] ^ 1 << random_.randrange(8)))
    if random_.random() < 0.1:
        start, end = random_.choice(sound.metadata)
        data[start:end] = random_.randbytes(end - start)
    return bytes(data)


def with_malformed_header(sound: Sound, random_: random.Random) -> bytes:
    """Return the image with some bytes changed, a piece cut out, or another put in, anywhere in its first half."""
    data = bytearray(sound.data)
    for _ in range(random_.choice((1, 2, 4, 16))):
        at = random_.randrange(len(data) // 2)
        act = random_.random()
        if act < 0.7:
            data[at] = random_.randrange(256)
        elif act < 0.85:
            del data[at : at + random_.randrange(1, 40)]
        else:
            data[at:at] = random_.randbytes(random_.randrange(1, 40))
    return bytes(data)


def turned_copies(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return the pictures that the eight orientations make of one."""
    turned = [np.rot90(pixels, k) for k in range(4)]
    return [*turned, *(one[:, ::-1] for one in turned)]


Answer = Callable[[bytes], PIL.Image.Image]


def answer(data: bytes) -> PIL.Image.Image | str:
    """Return what the product says of a file: the picture, or the message that refuses it."""
    try:
        check_whole(data, "image")
        return decode(data, "image")
    except InputError as error:
        return str(error)


def campaign(count: int, seed: int) -> tuple[Counter[tuple[str, str, str]], list[str]]:
    """Try ``count`` malformed headers.

    Returns
    -------
    Counter
        Images by format, what was malformed (``metadata`` or ``header``), and what came of it.
    list of str
        What must not be: a sound image refused or changed, anything raised but a refusal, a warning.
    """
    random_ = random.Random(seed)
    images = sound_images()
    expected = {id(sound): turned_copies(np.asarray(decode(sound.data, "image"))) for sound in images}
    table: Counter[tuple[str, str, str]] = Counter()
    wrong = []
    for number in range(count):
        sound = images[number % len(images)]
        only_metadata = number // len(images) % 2 == 0
        data = (with_malformed_metadata if only_metadata else with_malformed_header)(sound, random_)
        where = f"number {number} of seed {seed} ({sound.kind}, CRC {zlib.crc32(data):08x})"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                came = answer(data)
            except Exception as error:  # whatever it is, it is a finding
                wrong.append(f"{where}: {type(error).__name__}: {error}")
                continue
        if isinstance(came, str):
            came_as = "refused"
        else:
            equal = any(np.array_equal(np.asarray(came), one) for one in expected[id(sound)])
            came_as = "read" if equal else "read as another picture"
        table[(sound.kind, "metadata" if only_metadata else "header", came_as)] += 1
        if only_metadata and came_as != "read":
            wrong.append(f"{where}: a sound image was {came_as}: {came}")
    return table, wrong


def main(count: int, seed: int) -> int:
    """Run the campaign, print its table, and return 1 if there were faults."""
    table, wrong = campaign(count, seed)
    for (kind, what, came), number in sorted(table.items()):
        print(f"{kind:<6}{what:<10}{came:<26}{number:>6}")
    print(f"{count} tried, {len(wrong)} wrong", *wrong[:20], sep="\n")
    return 1 if wrong else 0
