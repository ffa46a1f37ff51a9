"""The commands: they parse, call the rooms, and print. Nothing imports this package."""

from __future__ import annotations

import os
import sys
import traceback


def main() -> None:
    """Run the ``harness`` command, turning exceptions into one clear message and an exit code."""
    from harness.cli.app import app
    from harness.errors import HarnessError
    from harness.process.ends import ended_by_signals

    try:
        with ended_by_signals():
            app()
    except HarnessError as error:
        if _debugging():
            traceback.print_exc()
        sys.stderr.write(f"Error: {error}\n")
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        if _debugging():
            traceback.print_exc()
        sys.stderr.write(
            f"Error: {type(error).__name__}: {error}\n"
            "This is a defect of harness or of a plugin, not of your input; run again with --debug for the traceback.\n"
        )
        raise SystemExit(1) from None


def _debugging() -> bool:
    return "--debug" in sys.argv or bool(os.environ.get("HARNESS_DEBUG"))
