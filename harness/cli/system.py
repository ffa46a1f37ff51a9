"""What the operating system refuses, in words: which file, why, and what can be done."""

from __future__ import annotations

import errno

_ELSEWHERE = "--run-dir for a run, --out for a file, HARNESS_CACHE for the cache, TMPDIR for temporary files"
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_WRONG = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP)


def explain(error: OSError) -> tuple[str, int]:
    """Return a message with the mend, and the exit code: 2 if another place or name is needed, else 1."""
    places = [str(name) for name in (error.filename, error.filename2) if name is not None]
    what = f"{' -> '.join(places)}: " if places else ""
    what += (error.strerror or str(error)).rstrip(".")
    number = error.errno
    if number in _FULL:
        return f"{what}; free some space, or write elsewhere ({_ELSEWHERE}); what is finished is kept", 1
    if number in _FORBIDDEN:
        return f"{what}; change its permissions, or name another place ({_ELSEWHERE})", 2
    if number in _WRONG:
        return f"{what}; see that it is there and is what was meant, or name another place ({_ELSEWHERE})", 2
    if number in (errno.EMFILE, errno.ENFILE):
        return f"{what}; allow more open files (`ulimit -n 4096`), or give fewer --workers", 1
    if number == errno.ENOMEM:
        return f"{what}; end other programs, or ask for less at a time (--jobs 1, smaller batches)", 1
    return f"{what}; the system refused it: see to the disk or the connection, then give the same command again", 1
