"""Runs checks on a predictor class, each in another process than the caller's."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from threading import Timer
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import HarnessError, InputError
from harness.plugin import Predictor
from harness.plugin.manager import unknown_name
from harness.testing.data import KitData, make_data
from harness.testing.records import CheckRecord, registered
from harness.testing.source import ClassSource

PATIENCE = 600.0
"""Seconds after which a check that has not ended counts as failed."""
Options = Mapping[str, Any] | BaseModel | None


def check_names() -> list[str]:
    """Return the names of all checks, in the order they run."""
    return list(registered())


def check_predictor(
    cls: type[Predictor],
    *,
    config: Options = None,
    checks: Sequence[str] | None = None,
    device: str = "cpu",
    on_record: Callable[[CheckRecord], None] | None = None,
) -> list[CheckRecord]:
    """Check whether a predictor keeps the contract.

    Everything of the predictor runs in processes of the kit's own, so a crash fails the check that it happens in. The
    data are 24 training rows and 8 held-out images of the embedded data set, with MiniLM targets.

    Parameters
    ----------
    cls
        The class. Another process must be able to import it; one that is defined inside a function is sent by value.
    config
        Options, or an instance of ``cls.Config``. Default: what a run takes, the preset ``tiny`` if there is one.
    checks
        Names of checks; those that they need are run as well, but not returned. Default: all.
    device
        Torch device. Rows may differ by 1e-4 on ``cpu``, by 2e-2 elsewhere.
    on_record
        Called with each record as it comes.

    Returns
    -------
    list of CheckRecord
        In the order of ``checks``, or of ``check_names()``.

    Raises
    ------
    InputError
        For options that ``cls.Config`` refuses, an unknown check, or a class no other process can be given.
    HarnessError
        If the class cannot be loaded in another process.
    """
    known_checks(checks)
    with Kit(cls, config, device) as kit:
        records = []
        for name in check_names() if checks is None else checks:
            records.append(kit.record(name))
            if on_record is not None:
                on_record(records[-1])
    return records


def known_checks(names: Sequence[str] | None) -> None:
    """Raise ``InputError`` for a check that there is not."""
    for name in names or ():
        if name not in registered():
            raise InputError(unknown_name("check", name, registered(), f"checks: {', '.join(registered())}"))


class Kit:
    """The records of one class with one configuration: each check is run once, when it is first asked for.

    Parameters
    ----------
    cls, config, device
        As for ``check_predictor``.
    patience
        Seconds a check may take.
    """

    def __init__(
        self, cls: type[Predictor], config: Options = None, device: str = "cpu", patience: float = PATIENCE
    ) -> None:
        options = _options(cls, config)
        self._job = {"source": asdict(ClassSource.of(cls)), "options": options, "device": device}
        self._name = cls.__qualname__
        self._patience = patience
        self._folder = tempfile.TemporaryDirectory(prefix="harness-check-")
        self._worker: _Worker | None = None
        self._records: dict[str, CheckRecord] = {}

    def __enter__(self) -> Kit:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and remove its files."""
        self._drop()
        self._folder.cleanup()

    def record(self, name: str) -> CheckRecord:
        """Return the record of a check, running it and those it needs if that was not done yet."""
        if name not in self._records:
            self._records[name] = self._run(name)
        return self._records[name]

    def _run(self, name: str) -> CheckRecord:
        check = registered()[name]
        if check.only not in ("both", self._kind()):
            return CheckRecord(
                name, "skipped", check.expected, reason=f"it does not apply: the class is {self._kind()}"
            )
        for needed in check.needs:
            if registered()[needed].only in ("both", self._kind()) and self.record(needed).status != "passed":
                return CheckRecord(name, "skipped", check.expected, reason=f"it needs '{needed}', which did not pass")
        if check.untouched and self._worker is not None and self._worker.used:
            self._drop()
        worker = self._worker or self._start()
        began = time.perf_counter()
        answer = worker.ask(name, self._patience)
        worker.used = worker.used or not check.untouched
        if answer is not None:
            record = CheckRecord(**answer)
        else:
            seconds = round(time.perf_counter() - began, 3)
            mend = "run the method in a debugger or with `python -X faulthandler`; a predictor raises, and ends nothing"
            record = CheckRecord(name, "failed", check.expected, worker.end(self._patience), mend, seconds=seconds)
        if answer is None or (check.spoils and record.status == "failed"):
            self._drop()
        return record

    def _kind(self) -> str:
        return "trainable" if (self._worker or self._start()).trainable else "untrained"

    def _start(self) -> _Worker:
        work = Path(tempfile.mkdtemp(prefix="process-", dir=self._folder.name))
        for name in ("cwd", "tmp"):
            (work / name).mkdir()
        shutil.copytree(_shared_data().folder, work / "data")  # a copy: a predictor may damage what it is given
        document = {**self._job, "data": str(work / "data")}
        (work / "job.json").write_text(json.dumps(document), encoding="utf-8")
        self._worker = _Worker(work, Path(self._folder.name) / "cache", self._name, self._patience)
        return self._worker

    def _drop(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


class _Worker:
    """A process in which one class is checked."""

    def __init__(self, work: Path, cache: Path, name: str, patience: float) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry),
            "HARNESS_CACHE": str(cache),
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),  # torch makes it when it is imported, else in /tmp
            **{variable: str(work / "tmp") for variable in ("TMPDIR", "TEMP", "TMP")},
        }
        self.used = False
        self._late = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.testing.worker", str(work / "job.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=work / "cwd",
            env=environment,
            text=True,
            encoding="utf-8",
        )
        hello = self._read(patience)
        if hello is None or "error" in hello:
            reason = self.end(patience) if hello is None else hello["error"]
            self.close()
            raise HarnessError(f"{name} cannot be loaded in another process: {reason}")
        self.trainable = bool(hello["trainable"])

    def ask(self, name: str, patience: float) -> dict[str, Any] | None:
        """Run a check; None if the process ended before it answered, by itself or because time was up."""
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return self._read(patience)

    def end(self, patience: float) -> str:
        """Say how the process ended."""
        status = self._process.wait()
        if self._late:
            return f"no end after {patience:g} seconds"
        if status < 0:
            return f"the process died of {signal.Signals(-status).name}"
        return f"the process ended itself with exit status {status}"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):  # a request that was never read
                stream.close()

    def _read(self, patience: float) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        timer = Timer(patience, self._stop)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        return dict(json.loads(line)) if line else None

    def _stop(self) -> None:
        self._late = True
        self._process.kill()


def _options(cls: type[Predictor], config: Options) -> dict[str, Any] | None:
    if config is None:
        return None
    if isinstance(config, BaseModel):
        return config.model_dump(mode="json")
    try:
        return cls.Config.model_validate(dict(config)).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(f"config of {cls.__qualname__}: {key}: {first['msg']}, got {first['input']!r}") from error


@lru_cache(maxsize=1)
def _shared_data() -> KitData:
    """Make the data once a process; they are removed when it ends."""
    folder = tempfile.TemporaryDirectory(prefix="harness-check-data-")
    atexit.register(folder.cleanup)
    return make_data(Path(folder.name))
