"""What a finished file held when it was written, so that whoever reads it knows that it still does."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from harness.errors import InputError


def checksum(path: Path) -> str:
    """Return the BLAKE2b hash of a file, 32 hexadecimal digits.

    A file that has not been written since it was last hashed in this process is not read again.
    """
    status = path.stat()
    return _hashed(str(path.absolute()), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def checksum_of(content: bytes) -> str:
    """Return the checksum of a file with this content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """Return the checksum of every file below a folder, by its path in there."""
    return {file.relative_to(folder).as_posix(): checksum(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def require_unchanged(path: Path, expected: str | None, mend: str) -> None:
    """Raise ``InputError``, naming the file and the mend, if it is not what was written.

    Parameters
    ----------
    expected
        Its checksum then; None: it was written by a version that kept none, and is taken as it is.

    Raises
    ------
    FileNotFoundError
        If it is gone.
    """
    if expected is not None and checksum(path) != expected:
        raise InputError(f"{path}: it is not what was written there (its checksum is another); {mend}")


@lru_cache(maxsize=65536)
def _hashed(path: str, *state: int) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
