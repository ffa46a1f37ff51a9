"""Rows of a run in the database that trackio shows.

They are written as trackio's own importers write them, and not by ``trackio.init``: that gives every row the present
moment and an id of its own, so that what was computed before would lie at the wrong time and be there again after each
command; it asks the hub who is logged in, follows variables that send runs to a server or make a public page of them,
and tells of a store that cannot be written by a warning alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackio.sqlite_storage import SQLiteStorage
from trackio.utils import TRACKIO_DIR, get_storage_mode

from harness.plugin.tracking import digest


class Store:
    """A project in the folder ``TRACKIO_DIR``.

    Parameters
    ----------
    project
        Its name.

    Raises
    ------
    ValueError
        If trackio takes no such name.
    OSError
        If rows cannot be written where they would be known again.
    """

    def __init__(self, project: str) -> None:
        named = Path(os.environ["TRACKIO_DIR"])
        if named != TRACKIO_DIR:
            raise OSError(
                f"TRACKIO_DIR is {named}, but trackio was imported when it was {TRACKIO_DIR}: set it before, "
                "or start Python anew; the run is not tracked"
            )
        if get_storage_mode() != "sqlite":
            raise OSError(
                f"{named} is on a network file system or TRACKIO_STORAGE_MODE is 'jsonl', and trackio would collect "
                "rows in files: name a folder of a local disk, or set TRACKIO_STORAGE_MODE=sqlite; the run is not "
                "tracked"
            )
        SQLiteStorage.validate_project_name(project)
        self.project = project


class StoredRun:
    """One run of a project. Rows wait until they are written; a row that is there already is not written again.

    Parameters
    ----------
    store
        The project.
    identity
        What makes it the same run.
    name, group
        As the dashboard shows them.
    began
        ISO moment at which it began, where that is known.
    """

    def __init__(self, store: Store, identity: str, name: str, *, group: str, began: str | None = None) -> None:
        self._store, self._identity, self._name, self._group, self.began = store, identity, name, group, began
        self._rows: list[tuple[int | None, Mapping[str, float], str, str]] = []
        self._last = self._rows
        self._alerts: list[tuple[int, str, str, str]] = []

    def config(self) -> dict[str, Any]:
        """Return the configuration that the store has of this run; empty if it does not have the run.

        Raises
        ------
        sqlite3.Error
            If the database cannot be read.
        """
        return SQLiteStorage.get_run_config(self._store.project, self._name, self._identity) or {}

    def add(self, step: int | None, metrics: Mapping[str, float], moment: str, stamp: str) -> None:
        """Have a row wait.

        Parameters
        ----------
        step
            None: one more than the run's last.
        metrics
            Figures by name.
        moment
            ISO moment, the row's time.
        stamp
            What makes it the same row of this run.
        """
        self._rows.append((step, metrics, moment, digest(self._identity, stamp)))

    def alert(self, step: int, title: str, text: str, moment: str) -> None:
        """Have an alert of level error wait."""
        self._alerts.append((step, title, text, moment))

    def write(self, config: Mapping[str, Any]) -> None:
        """Write all rows and alerts that wait, and the configuration in place of the one before.

        Raises
        ------
        OSError, sqlite3.Error
            If the database cannot be written.
        """
        rows = self._rows or self._last  # trackio takes no configuration without a row; one that is there is ignored
        if not rows:
            return
        run = {"project": self._store.project, "run": self._name, "run_id": self._identity}
        steps, metrics, moments, stamps = map(list, zip(*rows, strict=True))
        # What trackio itself notes of a run begins with an underscore; the dashboard groups by `_Group`.
        told = {**config, "_Username": None, "_Created": self.began, "_Group": self._group}
        SQLiteStorage.bulk_log(
            **run, metrics_list=metrics, steps=steps, timestamps=moments, log_ids=stamps, config=told
        )
        self._rows, self._last = [], rows[-1:]
        if self._alerts:
            at, titles, texts, times = map(list, zip(*self._alerts, strict=True))
            SQLiteStorage.bulk_alert(
                **run, titles=titles, texts=texts, levels=["error"] * len(at), steps=at, timestamps=times,
                alert_ids=[digest(self._identity, title, time) for title, time in zip(titles, times, strict=True)],
            )  # fmt: skip
            self._alerts.clear()
