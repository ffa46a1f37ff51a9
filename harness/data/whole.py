"""Whether a file holds all of its picture: what decoders fill up in silence is found here.

Pillow refuses a file that breaks off. It does not refuse one that was closed again after its data broke off: the rest
of a JPEG is then grey, of a PNG black.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from harness.data.containers import PNG_MAGIC, jpeg_segments, png_chunks

if TYPE_CHECKING:
    from PIL.Image import Image

_FILLING = np.random.default_rng(0).integers(0, 255, 1024, dtype=np.uint8).tobytes()  # holds no 0xff, so no marker
_GREY = frozenset({127, 128})  # what a block without data decodes to; inverted in CMYK
_PROGRESSIVE = 0xC2
_HUFFMAN = frozenset({0xC0, 0xC1, _PROGRESSIVE})
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def what_is_missing(data: bytes, image: Image, decode: Callable[[bytes], Image], size: int) -> str:
    """Return what is missing of a picture that was decoded without an error, in words; nothing if it is whole.

    Parameters
    ----------
    data
        The file, without its metadata.
    image
        What Pillow made of it, in its own mode.
    decode
        Makes it of other bytes.
    size
        Bytes of the file as it lies on disk.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return _missing_of_jpeg(data, image, decode)
    if data.startswith(PNG_MAGIC):
        return _missing_of_png(data)
    return _missing_of_tiff(image, size) if image.format == "TIFF" else ""


def _missing_of_tiff(image: Image, size: int) -> str:
    """See whether the strips or tiles lie in the file: libtiff fills up what it does not find of compressed ones."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if tags.get(259, 1) == 1:  # not compressed: Pillow counts the bytes itself, and some writers count too many
        return ""
    offsets, counts = (tags.get(one) or tags.get(other) or () for one, other in ((273, 324), (279, 325)))
    beyond = any(offset + count > size for offset, count in zip(offsets, counts, strict=False))
    return "the file ends before its picture does" if beyond else ""


# -- JPEG ------------------------------------------------------------------------------------------


def _missing_of_jpeg(data: bytes, image: Image, decode: Callable[[bytes], Image]) -> str:
    """See whether the picture depends on what follows its data.

    A decoder that runs out of data in a scan fills up with zeros, which gives grey. Where other bytes are put behind
    each scan's data, it takes those instead, and the picture changes; a scan that is complete does not read them. So
    the picture is decoded twice where its last pixel has that grey, or where it is built up of several scans. What is
    missing of the very last block, whose colour alone may then be wrong, is not found.
    """
    frame = next((data[at + 1] for marker, at, _ in jpeg_segments(data) if marker in _HUFFMAN), 0)
    if frame == 0:  # arithmetic coding may leave out its last bytes; lossless has no such grey
        return ""
    if frame == _PROGRESSIVE:
        if _scans_missing(data):
            return "its last scans are missing"
    elif not _GREY.issuperset(_last_pixel(image)):
        return ""
    filled = decode(b"".join(_filled(data)))
    return "" if filled.tobytes() == image.tobytes() else "its data end before the picture does"


def _last_pixel(image: Image) -> tuple[int, ...]:
    value = image.getpixel((image.width - 1, image.height - 1))
    return tuple(int(v) for v in value) if isinstance(value, tuple) else (int(value or 0),)


def _scans(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield where the header of each scan starts, where it ends, and where the scan's data end."""
    start = 2
    leads: dict[int, bool] = {}
    while True:
        header = next(((at, end) for marker, at, end in jpeg_segments(data, start, leads) if marker == 0xDA), None)
        if header is None:
            return
        stop = _data_end(data, header[1])
        yield (*header, stop)
        if data[stop + 1 : stop + 2] in (b"\xd9", b""):
            return
        start = stop


def _data_end(data: bytes, at: int) -> int:
    """Return where the next marker stands that is neither a restart nor an escaped 0xff."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        if data[at + 1] not in (0x00, 0xFF) and not 0xD0 <= data[at + 1] <= 0xD7:
            return at
        at += 1 if data[at + 1] == 0xFF else 2


def _filled(data: bytes) -> Iterator[bytes]:
    done = 0
    for _, _, stop in _scans(data):
        yield data[done:stop]
        yield _FILLING
        done = stop
    yield data[done:]


def _scans_missing(data: bytes) -> bool:
    """Whether a progressive JPEG never sent a coefficient to its last bit, or nothing but the means of the blocks."""
    left: dict[tuple[int, int], int] = {}
    first = None
    for at, _, _ in _scans(data):
        count = data[at + 4]
        low, high, bits = data[at + 5 + 2 * count : at + 8 + 2 * count]
        components = [data[at + 5 + 2 * i] for i in range(count)]
        first = components[0] if first is None else first
        left.update({(c, k): bits & 0x0F for c in components for k in range(low, min(high, 63) + 1)})
    return any(left.values()) or not any(k for c, k in left if c == first)


# -- PNG -------------------------------------------------------------------------------------------


def _missing_of_png(data: bytes) -> str:
    """Count the bytes that the compressed data give: Pillow leaves rows black if the stream ends early but properly."""
    header, needed, got = b"", 1, 0
    stream = zlib.decompressobj()
    for name, start, end in png_chunks(data):
        if name == b"IHDR":
            header = data[start:end]
            needed = _png_bytes(header)
        if name != b"IDAT":
            continue
        rest = data[start:end]
        while rest and got < needed and not stream.eof:
            got += len(stream.decompress(rest, 1 << 20))
            rest = stream.unconsumed_tail
    return "" if got >= needed else f"{needed - got} of its {needed} bytes of pixels are missing"


def _png_bytes(header: bytes) -> int:
    """Return how many bytes of rows and filters an image of this header has."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * _CHANNELS.get(header[9], 1)
    passes = _ADAM7 if header[12] else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes)
    return sum(((w * bits + 7) // 8 + 1) * h for w, h in sizes if w > 0 and h > 0)
