"""Image files without what is not pixels: metadata cannot then refuse them, slow them down or fill memory.

Generators and cameras write settings, profiles and previews into files, and tools that rewrite them write them wrong.
None of that changes a pixel here but the orientation, so the rest is taken out before Pillow reads the file.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_PNG_SEARCHED = re.compile(b"PLTE|IDAT|IEND")
# fmt: off
_TIFF_KEPT = frozenset({
    254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 290, 291, 292, 293, 317, 320, 322, 323,
    324, 325, 332, 334, 336, 338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532,
})
# fmt: on
"""Tags that say how pixels are stored (TIFF 6.0, and Adobe's technical notes for 338 on)."""
_ORIENTATION = 274
_WEBP_KEPT = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"})
_WEBP_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_WEBP_FLAGS = 0x20 | 0x08 | 0x04  # of VP8X: a profile, EXIF, XMP


def bare(data: bytes) -> tuple[bytes, int]:
    """Return an image file without its metadata, and the orientation it named.

    Parameters
    ----------
    data
        The bytes of any file. Of what is not JPEG, PNG, WebP, TIFF or AVIF nothing is taken out.

    Returns
    -------
    bytes
        A file of the same pixels.
    int
        EXIF orientation 1 to 8; 1 where there is none, where it makes no sense, and where it still stands in the file.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _bare_jpeg(data)
        if data.startswith(PNG_MAGIC):
            return _bare_png(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _bare_webp(data)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _bare_tiff(data), 1
        if data[4:8] == b"ftyp":  # its own rotation is told apart from EXIF's, which must not be applied
            return re.sub(rb"(infe\x02.{7})Exif", rb"\1free", data, flags=re.DOTALL), 1
    except (struct.error, IndexError, ValueError, OverflowError):
        pass  # its structure is broken, and whoever reads it will say so
    return data, 1


def named_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height that the header of a PNG, JPEG or WebP names; None of other files.

    Pillow allocates a WebP's pixels when it opens the file.
    """
    if data.startswith(PNG_MAGIC):
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith(b"\xff\xd8\xff"):
        for marker, at, _ in jpeg_segments(data):
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp_size(data)
    return None


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


# -- JPEG ------------------------------------------------------------------------------------------


def jpeg_segments(data: bytes, start: int = 2, leads: dict[int, bool] | None = None) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment before the first scan, and of that scan's header.

    The length of a segment that is metadata is not trusted where it leads to no marker: the next marker is searched
    for instead, so that one wrong length does not hide the picture.

    Parameters
    ----------
    data
        A JPEG file.
    start
        Where to begin.
    leads
        Places of which it is known whether segments lead on from them to a scan. Who walks one file several times hands
        over the same, so that no place is asked about twice and the time is linear in the file's length.
    """
    at, leads = start, {} if leads is None else leads
    while at + 4 <= len(data):
        if data[at] != 0xFF or data[at + 1] in (0x00, 0xFF):
            at += 1
            continue
        marker = data[at + 1]
        if marker == 0x01 or 0xD0 <= marker <= 0xD9:  # they stand alone
            at += 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if (0xE0 <= marker <= 0xEF or marker == 0xFE) and not _leads_on(data, end, leads):
            at = next((i for i in _markers(data, at + 2) if _leads_on(data, i, leads)), len(data))
            continue
        yield marker, at, end
        if marker == 0xDA:
            return
        at = end


def _markers(data: bytes, start: int) -> Iterator[int]:
    at = data.find(b"\xff", start)
    while at >= 0:
        yield at
        at = data.find(b"\xff", at + 1)


def _leads_on(data: bytes, at: int, leads: dict[int, bool]) -> bool:
    """Whether segments stand one after the other from here to the first scan; of all that it passes this is kept."""
    passed = []
    while at not in leads:
        passed.append(at)
        if at + 4 > len(data) or data[at] != 0xFF or not 0xC0 <= data[at + 1] <= 0xFE:
            leads[at] = False
        elif data[at + 1] == 0xDA:
            leads[at] = True
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    leads.update(dict.fromkeys(passed, leads[at]))
    return leads[at]


def _bare_jpeg(data: bytes) -> tuple[bytes, int]:
    parts, orientation, xmp = [data[:2]], 0, 0
    for marker, start, end in jpeg_segments(data):
        segment = data[start:end]
        content = segment[4:]
        if marker == 0xDA:
            parts.append(data[start:])
        elif marker == 0xE1 and content.startswith(b"Exif\0"):
            orientation = orientation or _exif_orientation(content[6:])
        elif marker == 0xE1:
            xmp = xmp or _xmp_orientation(content)
        # JFIF and Adobe say which colours the components are.
        elif (
            (marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= 14)
            or (marker == 0xEE and content.startswith(b"Adobe") and len(content) >= 12)
            or not (0xE0 <= marker <= 0xEF or marker == 0xFE)
        ):
            parts.append(segment)
    return b"".join(parts), orientation or xmp or 1


# -- PNG -------------------------------------------------------------------------------------------


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start of the content and its end of each chunk.

    A chunk of pixels, colours or the end is told of as its length says, also where that goes beyond the end of the
    file. One of metadata that does so, or leads to no other chunk, is passed over to the next that is not metadata.
    """
    at = len(PNG_MAGIC)
    while at + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        known = name in _PNG_KEPT
        if not known and (at + 12 + size > len(data) or not _is_chunk(data, at + 12 + size)):
            found = _PNG_SEARCHED.search(data, at + 8)  # its length is wrong: go on with the next that matters
            if found is None:
                return
            at = found.start() - 4
            continue
        yield name, at + 8, at + 8 + size
        at += 12 + size


def _is_chunk(data: bytes, at: int) -> bool:
    return at == len(data) or data[at + 4 : at + 8].isalpha()


def _bare_png(data: bytes) -> tuple[bytes, int]:
    parts, orientation, xmp, colours, kind = [PNG_MAGIC], 0, 0, 0, -1
    for name, start, end in png_chunks(data):
        content = data[start:end]
        if name == b"IHDR":
            kind = content[9]
        colours = len(content) // 3 if name == b"PLTE" else colours
        if name in _PNG_KEPT:
            parts.append(data[start - 8 : end + 4])
        elif zlib.crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            continue
        elif name == b"tRNS" and _fits(kind, colours, len(content)):
            parts.append(data[start - 8 : end + 4])
        elif name == b"eXIf":
            orientation = orientation or _exif_orientation(content)
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            xmp = xmp or _png_text_orientation(name, content)
    return b"".join(parts), orientation or xmp or 1


def _fits(kind: int, colours: int, size: int) -> bool:
    """Whether a transparency chunk has the length that its colour type asks for."""
    return {0: size == 2, 2: size == 6, 3: 0 < size <= max(colours, 1)}.get(kind, False)


def _png_text_orientation(name: bytes, content: bytes) -> int:
    keyword, _, rest = content.partition(b"\0")
    if keyword == b"XML:com.adobe.xmp" and name == b"iTXt":
        return _xmp_orientation(rest)
    if keyword != b"Raw profile type exif":
        return 0
    text = rest if name == b"tEXt" else _inflate(rest[1:], 1 << 20)
    _, _, digits = text.strip().partition(b"\n")  # ImageMagick: "exif", the length, then hexadecimal digits
    _, _, digits = digits.strip().partition(b"\n")
    try:
        return _exif_orientation(bytes.fromhex(digits.decode("ascii", "replace")))
    except ValueError:
        return 0


def _inflate(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error:
        return b""


# -- WebP ------------------------------------------------------------------------------------------


def _bare_webp(data: bytes) -> tuple[bytes, int]:
    parts, orientation, xmp, seen, at = [], 0, 0, False, 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        end = at + 8 + size + size % 2
        content = data[at + 8 : at + 8 + size]
        if name == b"EXIF":
            orientation = orientation or _exif_orientation(content.removeprefix(b"Exif\0\0"))
        elif name == b"XMP ":
            xmp = xmp or _xmp_orientation(content)
        elif name == b"VP8X" and size >= 10:
            parts.append(data[at : at + 8] + bytes([content[0] & ~_WEBP_FLAGS]) + data[at + 9 : end])
        elif name in _WEBP_KEPT:
            parts.append(data[at:end])
            seen = seen or name in _WEBP_PIXELS
        elif seen and end > len(data):
            break
        at = end
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body, orientation or xmp or 1


# -- TIFF ------------------------------------------------------------------------------------------


def _bare_tiff(data: bytes) -> bytes:
    """Point the header to a directory, added at the end, that holds only what says how pixels are stored."""
    order = "<" if data.startswith(b"II") else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    place, count, entry, offset = (8, "Q", 20, "Q") if big else (4, "H", 12, "I")
    at = struct.unpack_from(order + offset, data, place)[0]
    entries = struct.unpack_from(order + count, data, at)[0]
    at += struct.calcsize(order + count)
    if entries > 4096:
        raise ValueError("that many tags no image has")
    kept = []
    for i in range(entries):
        tag, kind = struct.unpack_from(order + "HH", data, at + i * entry)
        field = data[at + i * entry : at + (i + 1) * entry]
        value = struct.unpack_from(order + "H", field, 12 if big else 8)[0]
        if tag in _TIFF_KEPT or (tag == _ORIENTATION and kind == 3 and 1 <= value <= 8):
            kept.append(field)
    padding = b"\0" * (len(data) % 2)
    start = struct.pack(order + offset, len(data) + len(padding))
    directory = struct.pack(order + count, len(kept)) + b"".join(kept) + struct.pack(order + offset, 0)
    return data[:place] + start + data[place + len(start) :] + padding + directory


# -- orientation -----------------------------------------------------------------------------------


def _exif_orientation(block: bytes) -> int:
    """Return the orientation in an EXIF block, or 0."""
    try:
        order = {b"II": "<", b"MM": ">"}[block[:2]]
        at = struct.unpack_from(order + "I", block, 4)[0]
        for i in range(struct.unpack_from(order + "H", block, at)[0]):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", block, at + 2 + 12 * i)
            if tag == _ORIENTATION:
                return int(value) if kind == 3 and count == 1 and 1 <= value <= 8 else 0
    except (struct.error, KeyError):
        pass
    return 0


def _xmp_orientation(packet: bytes) -> int:
    """Return the orientation in an XMP packet, or 0."""
    found = re.search(rb"tiff:Orientation(?:\s*=\s*[\"']|>)([1-8])[\"'<]", packet)
    return int(found[1]) if found else 0
