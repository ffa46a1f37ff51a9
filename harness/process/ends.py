"""How a command ends when it is told to: at once, with all that it started, and leaving nothing behind.

SIGTERM and SIGHUP (a cluster's end of time, a closed terminal) are met like Ctrl-C: they unwind the stack, so that
everything that was begun is cleaned up. Where that takes longer than a moment, because something in the process is in
the middle of a long calculation that no signal interrupts, a thread ends the workers and the process.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType

GRACE = 3.0
"""Seconds from the signal until the process ends whatever it is doing."""
_at_the_end: dict[int, Callable[[], None]] = {}


class Interrupted(KeyboardInterrupt):
    """The process was told to end by a signal other than Ctrl-C's."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise ``Interrupted`` within, and any of them or Ctrl-C end the process soon."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield
        return
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    mine = {number: handler for number, handler in before.items() if handler == signal.SIG_DFL}  # nohup ignores SIGHUP
    for number in mine:
        signal.signal(number, _interrupt)
    here, there = socket.socketpair()
    there.setblocking(False)
    old = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(here,), daemon=True, name="harness-ends").start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(old)
        there.close()
        for number, handler in mine.items():
            signal.signal(number, handler)


def at_the_end(action: Callable[[], None]) -> Callable[[], None]:
    """Have something done if the process has to be ended in the middle; returns what takes that back."""
    _at_the_end[id(action)] = action
    return partial(_forget, id(action))


def _forget(number: int) -> None:
    _at_the_end.pop(number, None)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # it is on its way; a second one shall not stop the cleaning up
    raise Interrupted(number)


def _watch(signals: socket.socket) -> None:
    """Wait for the first signal that ends the process, and end it if it does not end by itself."""
    with signals:
        while told := signals.recv(1):
            # A debugger meets Ctrl-C by a handler of its own, and goes on.
            met = told[0] == signal.SIGINT and signal.getsignal(signal.SIGINT) is not signal.default_int_handler
            if not met and told[0] in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", -1)):
                threading.Event().wait(GRACE)
                for action in list(_at_the_end.values()):
                    with suppress(Exception):
                        action()
                os._exit(128 + told[0])
