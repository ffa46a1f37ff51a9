"""Sees to it that a worker process ends with the process that started it, where an engine gets in the way.

Linux kills a worker's group when its parent ends (``harness.process``), by way of a pipe that the worker holds. An
engine that kills its processes' children first, as Ray does, kills the worker alone, and what that started would live
on.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress


class Guard:
    """Kills a group of processes when this process has ended, however that happens.

    It is a shell that waits at a pipe, and no child of this process: an engine that kills those does not find it.

    Parameters
    ----------
    group
        Number of the group.
    """

    def __init__(self, group: int) -> None:
        waits, self._open = os.pipe()
        # What runs in the background has no input of its own, but by another number it has.
        script = f"exec 3<&0; (read line <&3 || kill -s KILL -- -{group}) >/dev/null 2>&1 &"
        try:
            subprocess.run(["/bin/sh", "-c", script], stdin=waits, start_new_session=True, check=False)
        finally:
            os.close(waits)

    def release(self) -> None:
        """Let the group be: it has been ended."""
        with suppress(OSError):
            os.write(self._open, b"\n")
            os.close(self._open)
