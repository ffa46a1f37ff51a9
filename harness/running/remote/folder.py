"""The folder that the workers of one command share on a node: filled by the first, removed by the last."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX = "harness-node-"
_HELD, _MAKING = "held", "making"


class NodeFolder:
    """A temporary folder of a node. Whoever uses it holds it; whoever lets go of it last removes it.

    Those of commands that were killed are held by nobody, and are cleared when the next one is made.

    Parameters
    ----------
    token
        Of the command.
    """

    def __init__(self, token: str) -> None:
        if fcntl is None:
            raise OSError("a node needs locks that several processes can share, which Windows has not")
        _clear_left(keep=token)
        self.path = Path(tempfile.gettempdir()) / f"{_PREFIX}{token}"
        while True:
            self.path.mkdir(mode=0o700, exist_ok=True)
            try:
                self._held = os.open(self.path / _HELD, os.O_RDWR | os.O_CREAT, 0o600)
            except FileNotFoundError:
                continue
            fcntl.flock(self._held, fcntl.LOCK_SH)
            if (self.path / _HELD).exists():  # else it was removed just before it was held
                return
            os.close(self._held)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time be within: what is made there is made once."""
        with (self.path / _MAKING).open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def release(self) -> None:
        """Let go of the folder, and remove it if nobody else holds it."""
        with suppress(OSError):
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._held)


def _clear_left(keep: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if folder.name == f"{_PREFIX}{keep}":
            continue
        with suppress(OSError):  # another user's, held, or just made
            held = os.open(folder / _HELD, os.O_RDWR)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
