"""The commands: they parse, call the rooms, and print. Nothing imports this package."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path


def main() -> None:
    """Run the ``harness`` command, turning exceptions into one clear message and an exit code."""
    _open_streams()
    try:
        _run()
    except KeyboardInterrupt as error:  # before or behind a command, which has words of its own
        _end("Interrupted", 128 + getattr(error, "number", signal.SIGINT), "")


def _open_streams() -> None:
    """Let a stream that whoever started the command had closed lead nowhere: Python has None in its place.

    The lowest free descriptor is taken, which is that of the stream, and so no other file is mistaken for it. It is
    open as long as the process.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115


def _run() -> None:
    from harness.cli.app import app
    from harness.cli.commands import InterruptError
    from harness.cli.streams import make_printable
    from harness.errors import HarnessError
    from harness.process.ends import ended_by_signals

    make_printable()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: see harness.process
    try:
        with ended_by_signals():
            try:
                app()
            finally:
                sys.stdout.flush()  # here, where a disk that is full is still an error like any other
    except HarnessError as error:
        _end(str(error), error.exit_code, "" if isinstance(error, InterruptError) else "Error: ")
    except MemoryError:
        _end("there is not enough memory; end other programs, or take less data, a smaller batch or a smaller model", 1)
    except OSError as error:
        if error.errno is None:  # a library's own, which says nothing of the system
            _end_by_defect(error)
        from harness.cli.system import explain

        message, code = explain(error)
        if error.filename is None:
            _give_up_stdout()
        _end(message, code)
    except Exception as error:
        _end_by_defect(error)


def _end(message: str, code: int, label: str = "Error: ") -> None:
    if "--debug" in sys.argv or os.environ.get("HARNESS_DEBUG"):
        traceback.print_exc()
    sys.stderr.write(f"{label}{message}\n")
    raise SystemExit(code) from None


def _end_by_defect(error: Exception) -> None:
    _end(
        f"{type(error).__name__}: {error}\n"
        "This is a defect of harness or of a plugin, not of your input; run again with --debug for the traceback.",
        1,
    )


def _give_up_stdout() -> None:
    """Let what stdout still holds go nowhere, if it cannot be written: Python would complain of it at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
