"""What all commands have: options of how much they tell, and one line when they are interrupted."""

from __future__ import annotations

import functools
import inspect
import platform
import signal
import sys
import time
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer

from harness.cli import render
from harness.errors import HarnessError
from harness.process.ends import Interrupted, at_the_end
from harness.version import __version__
from harness.wording import size_of

_SHARED = {
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors alone.")],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Print more of what goes on.")],
    "debug": Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")],
}
_GOING_ON = ("run", "dedup", "mix", "convert", "generate")
"""Commands that go on where they were stopped."""


class InterruptError(HarnessError):
    """Ctrl-C or another signal that ends: exit code 128 and its number, as shells have it."""

    def __init__(self, message: str, error: KeyboardInterrupt) -> None:
        super().__init__(message)
        self.exit_code = 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)


class Commands(typer.Typer):
    """A tree of commands. Those added with ``command`` take the shared options, too."""

    def command(self, name: str | None = None, **more: Any) -> Callable[[Any], Any]:
        """Register a function as a command of a name."""
        register = super().command(name, **more)

        def decorator(function: Any) -> Any:
            register(_with_shared_options(function, name))
            return function

        return decorator


def _told(seconds: float) -> str:
    """Say what a command took, and what it ran on, as a report of a problem would."""
    import psutil

    from harness.data.cache import cache_folder

    held = size_of(psutil.Process().memory_info().rss)
    return (
        f"{seconds:.1f} s; this process holds {held}; harness {__version__}, Python {platform.python_version()}, "
        f"{platform.system()}; cache {cache_folder()}"
    )


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _with_shared_options(function: Callable[..., None], name: str | None) -> Callable[..., None]:
    own = inspect.signature(function)

    @functools.wraps(function)
    def command(*arguments: Any, **given: Any) -> None:
        given.pop("debug")  # harness.cli.main looks for it
        render.set_level(given.pop("quiet"), given.pop("verbose"))
        began = time.monotonic()
        goes_on = "; the same command goes on where this stopped" if name in _GOING_ON else ""
        told = f"Interrupted{goes_on}"
        forget = at_the_end(functools.partial(_say, told))  # where a long calculation cannot be interrupted
        try:
            function(*arguments, **given)
            if render.level() == render.VERBOSE:
                render.note(_told(time.monotonic() - began))
        except KeyboardInterrupt as error:
            raise InterruptError(told, error) from None
        finally:
            forget()

    hints = typing.get_type_hints(function, include_extras=True)
    options = [option.replace(annotation=hints[name]) for name, option in own.parameters.items()]
    shared = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for option, annotation in _SHARED.items()
    ]
    command.__signature__ = own.replace(parameters=[*options, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {**hints, **_SHARED}
    return command
