"""Whole runs: out of this machine as one file, into another, listed, removed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from pydantic import Field

from harness.errors import InputError
from harness.store.atomic import new_folder, write_file
from harness.store.checksums import checksum_of
from harness.store.document import Document
from harness.store.finding import all_runs
from harness.store.run import LOCK, RUNS_FOLDER, RunFolder
from harness.store.schema import RunDocument

_MANIFEST = "export.json"


class ExportDocument(Document):
    """``export.json``: what an exported run holds, and the hash of each file."""

    MEND: ClassVar[str] = "export the run anew"

    name: str = Field(description="Name of the run's folder.")
    harness: str = Field(description="Version that wrote it.")
    data_fingerprint: str = Field(description="Hash of the data that the run was made on.")
    fold_hash: str = Field(description="Hash of its folds.")
    targets_sha256: str = Field(description="SHA-256 of targets.npy.")
    prompts: bool = Field(description="Whether the prompts are in rows.csv.")
    models: bool = Field(description="Whether the fitted models are there.")
    files: dict[str, str] = Field(description="SHA-256 of each file, by its path in the run's folder.")


def export_run(run: RunFolder, path: Path, *, prompts: bool = False, models: bool = False) -> Path:
    """Write a run as one file: predictions, ids, folds, targets and records; no images. See ``Run.export``.

    Raises
    ------
    InputError
        If the file exists or cannot be written.
    """
    document = run.document
    if path.exists():
        raise InputError(f"{path}: it exists already; name another file, or remove it")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")
    _ = run.rows, run.targets, run.folds  # what is not what was written is told here, and not on the other machine
    contents = _contents(run, prompts, models)
    for repeat in run.repeats:
        folder = repeat.path.relative_to(run.path).as_posix()
        contents |= {f"{folder}/{place}": content for place, content in _contents(repeat, prompts, models).items()}
    hashes = {place: _sha256(content) for place, content in contents.items()}
    manifest = ExportDocument(
        name=run.path.resolve().name,
        harness=_version(),
        data_fingerprint=document.folds.data_fingerprint,
        fold_hash=document.folds.fold_hash,
        targets_sha256=hashes["targets.npy"],
        prompts=prompts,
        models=models,
        files=hashes,
    )

    def write(stream: Any) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(_MANIFEST, _json(manifest.document()))
            for place, content in contents.items():
                if isinstance(content, Path):
                    archive.write(content, place)
                else:
                    archive.writestr(place, content)

    try:
        write_file(path, write)
    except OSError as error:
        raise InputError(f"{path}: it cannot be written ({error.strerror}); name another file") from error
    return path


def _contents(run: RunFolder, prompts: bool, models: bool) -> dict[str, bytes | Path]:
    """Return what is exported of a run's folder, by place."""
    document = run.document
    rows = (run.path / "rows.csv").read_bytes() if prompts else _without_prompts(run)
    files = document.files and {**document.files, "rows.csv": checksum_of(rows)}
    contents: dict[str, bytes | Path] = {
        "run.json": _json(RunDocument.sealed(_portable(document.model_copy(update={"files": files})))),
        "rows.csv": rows,
        **{name: run.path / name for name in ("targets.npy", "near.npy")},
    }
    for name in ("test.csv", "blend.json"):
        if (run.path / name).is_file():
            contents[name] = run.path / name
    return contents | dict(_task_files(run, document, models))


def _version() -> str:
    from harness.version import __version__

    return __version__


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _portable(document: RunDocument) -> dict[str, Any]:
    """Return ``run.json`` without the paths of this machine."""
    config, name = document.config, document.dataset.name

    def bare(given: str | None) -> str | None:
        return None if given is None else PurePosixPath(Path(given).as_posix()).name if "/" in given else given

    return document.model_copy(
        update={
            "dataset": document.dataset.model_copy(update={"location": name}),
            "test": document.test and document.test.model_copy(update={"location": bare(document.test.location) or ""}),
            "config": config.model_copy(
                update={
                    "data": bare(config.data),
                    "test": bare(config.test),
                    "run_dir": None,
                    "encoder": "package",
                    "plugin_files": tuple(Path(file).name for file in config.plugin_files),
                }
            ),
            "command": [],
        }
    ).document()


def _without_prompts(run: RunFolder) -> bytes:
    import csv
    import io

    table = io.StringIO()
    with (run.path / "rows.csv").open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        writer = csv.DictWriter(table, rows.fieldnames or [], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "prompt": ""} for row in rows)
    return table.getvalue().encode()


def _task_files(run: RunFolder, document: RunDocument, models: bool) -> Iterator[tuple[str, Path]]:
    """Yield place and file of all that the members' finished tasks left."""
    for member in document.members.values():
        for fold, key in member.keys.items():
            folder = run.task_folder(member.name, fold, key)
            for file in sorted(folder.rglob("*")):
                place = file.relative_to(folder)
                if file.is_file() and (models or place.parts[0] != "model"):
                    yield file.relative_to(run.path).as_posix(), file


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def import_run(path: Path, run_dir: Path | None = None) -> RunFolder:
    """Take in a run that ``export_run`` wrote.

    Parameters
    ----------
    path
        The file.
    run_dir
        A new folder for it. Default: its name below ``runs/``.

    Raises
    ------
    InputError
        If the file is none, is damaged, or the folder exists.
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: it is no exported run ({error}); write one with `harness runs export`") from error
    with archive:
        manifest = _manifest(archive, path)
        target = run_dir or RUNS_FOLDER / manifest.name
        if target.exists():
            raise InputError(f"{target}: it exists already; name another folder with --run-dir, or remove that run")
        target.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(target) as half:
            for place, wanted in manifest.files.items():
                file = half / _safe(place, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with archive.open(place) as packed, file.open("wb") as stream:
                        shutil.copyfileobj(packed, stream)
                except (KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
                    raise InputError(
                        f"{path}: {place} cannot be read from it ({error}); export the run anew"
                    ) from error
                except OSError as error:  # the disk is full, say, which is no fault of the file that is read
                    error.filename = error.filename or str(target / place)
                    raise
                if _sha256(file) != wanted:
                    raise InputError(f"{path}: {place} is damaged (its hash is another); export the run anew")
            _ = RunFolder(half).document  # what does not fit is told before anything stands there
    run = RunFolder(target)
    os.utime(run.path / "run.json")
    return run


def _manifest(archive: zipfile.ZipFile, path: Path) -> ExportDocument:
    try:
        content = json.loads(archive.read(_MANIFEST))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: it is no exported run ({error}); write one with `harness runs export`") from error
    return ExportDocument.parse(content, f"{path}: {_MANIFEST}")


def _safe(place: str, path: Path) -> PurePosixPath:
    found = PurePosixPath(place)
    if found.is_absolute() or ".." in found.parts or "\\" in place or ":" in place:
        raise InputError(f"{path}: it holds a file for '{place}', outside of the run's folder; do not trust it")
    return found


@dataclass(frozen=True)
class RunSummary:
    """One line of the list of runs.

    Parameters
    ----------
    path
        Its folder.
    problem
        Why it cannot be read; empty if it can. The fields below are then empty, too.
    """

    path: Path
    data: str = ""
    rows: int = 0
    folds: int = 0
    members: tuple[str, ...] = ()
    unfinished: int = 0
    created: str = ""
    size_bytes: int = 0
    problem: str = ""

    def document(self) -> dict[str, Any]:
        """Return its part of the JSON document of ``harness runs list``."""
        return {
            "run_dir": str(self.path),
            "data": self.data,
            "rows": self.rows,
            "folds": self.folds,
            "members": list(self.members),
            "unfinished_tasks": self.unfinished,
            "created": self.created,
            "size_bytes": self.size_bytes,
            "problem": self.problem or None,
        }


def list_runs(root: Path = RUNS_FOLDER) -> list[RunSummary]:
    """Return all runs below a folder, the one used last first; a damaged one with the reason."""
    return [_summary(run) for run in all_runs(root)]


def _summary(run: RunFolder) -> RunSummary:
    try:
        document, repeats = run.document, run.repeats
    except InputError as error:
        return RunSummary(run.path, problem=str(error))
    tasks = [
        one.task_folder(member.name, fold, key)
        for one in (run, *repeats)
        for member in one.members.values()
        for fold, key in member.keys.items()
    ]
    return RunSummary(
        path=run.path,
        data=document.config.data or document.dataset.name,
        rows=document.dataset.rows,
        folds=document.folds.n_folds,
        members=tuple(document.members),
        unfinished=sum(not task.is_dir() for task in tasks),
        created=document.created,
        size_bytes=sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file()),
    )


def remove_run(run: RunFolder) -> None:
    """Remove a run's folder. Finished tasks that other runs use stay there.

    Raises
    ------
    InputError
        If it is no run, or another process works in it.
    """
    if not run.exists:
        raise InputError(f"{run.path}: there is no run here (no run.json); `harness runs list` shows those there are")
    with run.locked():
        # Under another name first: what is cut short leaves no half of a run behind that looks like one.
        doomed = Path(tempfile.mkdtemp(prefix=f".{run.path.name}.", suffix=".tmp", dir=run.path.parent))
        run.path.rename(doomed / run.path.name)
    with suppress(OSError):
        (doomed / run.path.name / LOCK).unlink()
    shutil.rmtree(doomed)
