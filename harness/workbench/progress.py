"""What a user sees while a run goes on: bars in a terminal or a notebook, one line a task in a pipe or log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from harness.wording import number_of

if TYPE_CHECKING:
    from harness.plugin import RunEvent


_SOON = 10.0
"""Seconds that nobody needs to be told of."""


def duration(seconds: float) -> str:
    """Write seconds as a person would say them: 45 s, 3 min, 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class RunProgress:
    """Listens to a run and shows it on stderr.

    Parameters
    ----------
    level
        Below 0: show nothing; above 0: show more (each step, why a task failed and where).
    """

    def __init__(self, level: int = 0) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._level = level

        self._console = Console(stderr=True, highlight=False)
        self._live = self._console.is_terminal or self._console.is_jupyter
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._live or level < 0,
        )
        self._total = 0
        self._done = 0
        self._tasks: Any = None
        self._stage: Any = None
        self._last_line = self._began = 0.0

    def __enter__(self) -> RunProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, event: RunEvent) -> None:
        """Show one event."""
        handler = getattr(self, f"_on_{event.kind}", None)
        if handler is not None:
            handler(event)

    def _on_run_started(self, event: RunEvent) -> None:
        self._total, self._done, self._began = event.details["todo"], 0, time.monotonic()
        self._line(f"{event.run_dir}: {_in_words(event.details)}")
        if self._tasks is not None:  # of the run before: repeats follow one another
            self._bars.remove_task(self._tasks)
        self._tasks = self._bars.add_task("tasks", total=self._total)

    def _on_progress(self, event: RunEvent) -> None:
        label, done, total = (event.details[key] for key in ("label", "done", "total"))
        text = f"{event.member} {_fold(event.fold)}: {label}"
        if not self._live:
            if time.monotonic() - self._last_line > (10.0 if self._level <= 0 else 1.0):
                self._line(f"{text} {done}/{total}")
            return
        if self._stage is None:
            self._stage = self._bars.add_task(text, total=total)
        self._bars.update(self._stage, description=text, completed=done, total=total)

    def _on_task_finished(self, event: RunEvent) -> None:
        seconds = (event.details["fit_seconds"] or 0.0) + event.details["predict_seconds"]
        self._advance()
        self._line(
            f"[{self._done}/{self._total}] {event.member} {_fold(event.fold)}: "
            f"{event.details['score']:z.4f} ({seconds:.1f} s){self._left()}"
        )

    def _on_test_predicted(self, event: RunEvent) -> None:
        self._advance()
        self._line(
            f"[{self._done}/{self._total}] {event.member} {_fold(event.fold)}: test set predicted "
            f"({event.details['seconds']:.1f} s){self._left()}"
        )

    def _on_task_failed(self, event: RunEvent) -> None:
        self._advance()
        # Bad data end the run, and the message follows as the error; it need not be read twice.
        reason = "" if event.details["ends_run"] else ": " + event.details["reason"].splitlines()[0]
        self._line(f"[{self._done}/{self._total}] {event.member} {_fold(event.fold)} FAILED{reason}{self._left()}")
        if self._level > 0 and event.details["traceback"]:
            self._line(event.details["traceback"])

    def _advance(self) -> None:
        self._done += 1
        self._bars.update(self._tasks, completed=self._done)
        if self._stage is not None:
            self._bars.remove_task(self._stage)
            self._stage = None

    def _left(self) -> str:
        """Say about how long the other tasks take, at the pace so far; nothing where that is soon, or a bar says it."""
        seconds = (time.monotonic() - self._began) / self._done * (self._total - self._done)
        return "" if self._live or seconds < _SOON else f", about {duration(seconds)} left"

    def _line(self, text: str) -> None:
        if self._level < 0:
            return
        self._last_line = time.monotonic()
        if self._live:
            self._console.print(text, markup=False)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


class Status:
    """One line on a terminal that says which model is at work; nothing in a pipe."""

    def __init__(self) -> None:
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        self._status = console.status("loading") if console.is_terminal else None

    def __enter__(self) -> Status:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, label: str, done: int, total: int) -> None:
        """Show that step ``done + 1`` of ``total`` of ``label`` goes on."""
        if self._status is not None:
            from rich.text import Text

            self._status.update(Text(f"{label}: model {done + 1} of {total}"))


class Steps:
    """One bar on a terminal for work that goes on in equal steps; nothing in a pipe."""

    def __init__(self, label: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True, highlight=False)
        self._bars = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bars.add_task(label, total=None)

    def __enter__(self) -> Steps:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps are done."""
        self._bars.update(self._task, completed=done, total=total)


class ImagesProgress:
    """Images that are made one after the other: a bar on a terminal, now and then a line in a pipe, with the time left.

    Parameters
    ----------
    level
        Below 0: show nothing.
    """

    def __init__(self, level: int = 0) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True, highlight=False)
        self._live, self._level = console.is_terminal, level
        self._bars = Progress(
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
            *(TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=True)),
            console=console,
            transient=True,
            disable=not self._live or level < 0,
            speed_estimate_period=600.0,  # a batch of images may take minutes
        )
        self._task = self._bars.add_task("images", total=None)
        self._first: tuple[float, int] | None = None
        self._last_line = 0.0

    def __enter__(self) -> ImagesProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` images are made."""
        self._bars.update(self._task, description="images", completed=done, total=total)
        now = time.monotonic()
        if self._first is None:
            self._first, self._last_line = (now, done), now
        elif not self._live and self._level >= 0 and now - self._last_line > _SOON and done < total:
            began, before = self._first
            left = (now - began) / max(1, done - before) * (total - done)
            sys.stderr.write(f"{done}/{total} images, about {duration(left)} left\n")
            sys.stderr.flush()
            self._last_line = now

    def fetching(self, label: str, done: int, total: int) -> None:
        """Show how much of the weights is fetched."""
        self._bars.update(self._task, description=label, completed=done, total=total)


def _fold(fold: int | None) -> str:
    return "all rows" if fold == -1 else f"fold {fold}"


def _in_words(details: Mapping[str, Any]) -> str:
    """Say how many tasks there are to do, and where those that are done were done."""
    todo, only_test, reused, shared = (details[key] for key in ("todo", "only_test", "reused", "shared"))
    test = f" ({only_test} of them only have the test set to predict)" if only_test else ""
    elsewhere = f"; {shared} were done in other runs" if shared else ""
    return f"{number_of(todo, 'task')} to do{test}, {reused} already done{elsewhere}"
