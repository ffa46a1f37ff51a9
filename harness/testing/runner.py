"""Runs checks on a predictor class, each in another process than the caller's."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import HarnessError, InputError
from harness.plugin import Predictor
from harness.plugin.manager import unknown_name
from harness.plugin.source import ClassSource
from harness.process import End, Limits, WorkerGroup, WorkerProcess
from harness.testing.check import Check, Kind
from harness.testing.checking import do_checks
from harness.testing.checks import CHECKS
from harness.testing.data import KitData, make_data
from harness.testing.records import CheckRecord
from harness.testing.subject import Job

PATIENCE = 600.0
"""Seconds after which a check that has not ended counts as failed."""
Options = Mapping[str, Any] | BaseModel | None
_BY_NAME = {check.name: check for check in CHECKS}


def check_names() -> list[str]:
    """Return the names of all checks, in the order they run."""
    return list(_BY_NAME)


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
        if name not in _BY_NAME:
            raise InputError(unknown_name("check", name, _BY_NAME, f"checks: {', '.join(_BY_NAME)}"))


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
        self._options, self._device = _options(cls, config), device
        self._source = ClassSource.of(cls)
        self._limits = Limits(seconds=patience)
        self._folder = tempfile.TemporaryDirectory(prefix="harness-check-")
        self._group = WorkerGroup()
        self._process: _CheckProcess | None = None
        self._records: dict[str, CheckRecord] = {}

    def __enter__(self) -> Kit:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and remove its files."""
        self._process = None
        self._group.close()
        self._folder.cleanup()

    def record(self, name: str) -> CheckRecord:
        """Return the record of a check, running it and those it needs if that was not done yet."""
        if name not in self._records:
            self._records[name] = self._record(_BY_NAME[name])
        return self._records[name]

    def _record(self, check: Check) -> CheckRecord:
        kind = (self._process or self._start()).kind
        if not check.applies_to(kind):
            return CheckRecord(check.name, "skipped", check.expected, reason=f"it does not apply: the class is {kind}")
        for needed in check.needs:
            if _BY_NAME[needed].applies_to(kind) and self.record(needed).status != "passed":
                return CheckRecord(
                    check.name, "skipped", check.expected, reason=f"it needs '{needed}', which did not pass"
                )
        if check.untouched and self._process is not None and self._process.used:
            self._drop()
        return self._run(check, self._process or self._start())

    def _run(self, check: Check, process: _CheckProcess) -> CheckRecord:
        began = time.perf_counter()
        process.worker.send(check.name, self._limits)
        _, reply = self._group.receive()
        process.worker.lift_limits()
        process.used = process.used or not check.untouched
        if not isinstance(reply, End):
            record = CheckRecord(**reply)
            if check.spoils and record.status == "failed":
                self._drop()
            return record
        self._process = None
        seconds = round(time.perf_counter() - began, 3)
        mend = "run the method in a debugger or with `python -X faulthandler`; a predictor raises, and ends nothing"
        return CheckRecord(check.name, "failed", check.expected, self._reason(reply), mend, seconds=seconds)

    def _start(self) -> _CheckProcess:
        work = Path(tempfile.mkdtemp(prefix="process-", dir=self._folder.name))
        for name in ("cwd", "tmp"):
            (work / name).mkdir()
        shutil.copytree(_shared_data().folder, work / "data")  # a copy: a predictor may damage what it is given
        job = Job(self._source, self._options, work / "data", self._device)
        worker = self._group.start(
            do_checks,
            *(job, work),
            environment=_environment(work, Path(self._folder.name) / "cache"),
            directory=work / "cwd",
            limits=self._limits,
        )
        _, reply = self._group.receive()
        if isinstance(reply, End) or "error" in reply:
            reason = self._reason(reply) if isinstance(reply, End) else reply["error"]
            raise HarnessError(f"{self._source.qualname} cannot be loaded in another process: {reason}")
        worker.lift_limits()
        self._process = _CheckProcess(worker, "trainable" if reply["trainable"] else "untrained")
        return self._process

    def _reason(self, end: End) -> str:
        return f"no end after {self._limits.seconds:g} seconds" if end.broke == "seconds" else end.reason

    def _drop(self) -> None:
        if self._process is not None:
            self._group.dismiss(self._process.worker)
            self._process = None


@dataclass
class _CheckProcess:
    """A process in which one class is checked: of which kind it is, and whether a check has left its marks there."""

    worker: WorkerProcess
    kind: Kind
    used: bool = False


def _environment(work: Path, cache: Path) -> dict[str, str]:
    return {
        "HARNESS_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),  # torch makes it when it is imported, else in /tmp
        **{variable: str(work / "tmp") for variable in ("TMPDIR", "TEMP", "TMP")},
    }


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
