"""Images inside of other files: members of archives, values of tables. Each is a few fields, and opens by itself.

The index of a data set keeps the fields as columns and makes the images anew, so that they are paths, whole numbers and
texts alone.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from harness.data.file_memory import Part
from harness.data.images import EncodedImage
from harness.data.layouts import row_groups
from harness.errors import InputError


@dataclass(frozen=True, slots=True)
class ArchivedImage(EncodedImage):
    """One image whose bytes lie in a file as they are, so that none before it is read: in a tar, or an Arrow file.

    Parameters
    ----------
    archive
        The file: not compressed.
    member
        What the image is called in there.
    offset, size
        Where its bytes lie.
    """

    archive: Path
    member: str
    offset: int
    size: int

    @property
    def name(self) -> str:
        """The path and the member, for messages."""
        return f"{self.archive}: {self.member}"

    @property
    def place(self) -> Part:
        """Its bytes in the archive."""
        return Part(self.archive, self.offset, self.size)

    def _read(self) -> bytes:
        return _bytes_at(self.archive, self.offset, self.size, self.name)


def _bytes_at(file: Path, offset: int, size: int, name: str) -> bytes:
    try:
        with file.open("rb", buffering=0) as stream:
            stream.seek(offset)
            data = stream.read(size)
            while len(data) < size and (more := stream.read(size - len(data))):  # a read may give less
                data += more
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}); restore the archive") from error
    if len(data) < size:
        raise InputError(f"{name}: the archive ends before it does; fetch the archive again")
    return data


_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")  # APPNOTE.TXT 4.3.7
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1


@dataclass(frozen=True, slots=True)
class ZippedImage(EncodedImage):
    """One image in a zip file, found without its directory, which in some has thousands of entries.

    Parameters
    ----------
    archive
        The zip file.
    member
        The image's path in there.
    offset
        Where its own header stands.
    packed, size, checksum
        Bytes as they lie there, bytes of the image, and its CRC-32: what the directory says.
    """

    archive: Path
    member: str
    offset: int
    packed: int
    size: int
    checksum: int

    @property
    def name(self) -> str:
        """The path and the member, for messages."""
        return f"{self.archive}: {self.member}"

    @property
    def place(self) -> Part:
        """Its header and bytes in the archive."""
        return Part(self.archive, self.offset, self.packed)

    def _read(self) -> bytes:
        head = _bytes_at(self.archive, self.offset, _LOCAL_HEADER.size, self.name)
        magic, _, flags, method, _, _, _, _, _, name, extra = _LOCAL_HEADER.unpack(head)
        if magic != b"PK\x03\x04":
            raise InputError(f"{self.name}: it is not where the directory says; fetch the archive again")
        if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
            how = "is encrypted" if flags & _ENCRYPTED else f"is packed by method {method}, which is not read"
            raise InputError(f"{self.name}: it {how}; unpack the archive, and name its folder")
        data = _bytes_at(self.archive, self.offset + _LOCAL_HEADER.size + name + extra, self.packed, self.name)
        if method == _DEFLATED:
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, self.size + 1)
            except zlib.error as error:
                raise self._damaged(str(error)) from error
        if len(data) != self.size or zlib.crc32(data) != self.checksum:
            raise self._damaged("its checksum is wrong")
        return data

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"{self.name}: it is damaged in the archive ({reason}); fetch the archive again")


@dataclass(frozen=True, slots=True)
class ParquetImage(EncodedImage):
    """One image in a column of a parquet file.

    Parameters
    ----------
    file
        The parquet file.
    column
        Path of the column in its schema: ``image.bytes`` of a struct.
    row
        The row in the file, from 0.
    """

    file: Path
    column: str
    row: int

    @property
    def name(self) -> str:
        """The path, the row from 1 and the column, for messages."""
        return f"{self.file} row {self.row + 1}: {self.column}"

    @property
    def place(self) -> Part:
        """Its row, and its column as a number: where the bytes lie cannot be told, pages being compressed."""
        return Part(self.file, self.row, zlib.crc32(self.column.encode()))

    def _read(self) -> bytes:
        data = row_groups.value(self.file, self.column, self.row, self.name)
        if data is None:
            raise InputError(f"{self.name}: it is null; remove the row")
        return data
