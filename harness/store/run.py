"""A run's folder, and all that is read from it later.

run.json                      what was asked, with which versions, on which data and folds
rows.csv                      id, fold, group, part, source, prompt and picture of every row
targets.npy, near.npy         embeddings to predict (n, 384); which rows each fold must not train on (n, F)
nearest.npy                   how near the training rows of its fold come to each row (n,); made when first asked for
test.csv                      ids of the test set, if there is one
members/NAME/fold-F-KEY/      one finished task: predictions.npy, ids.json, record.json, model/, test-*.npy
members/NAME/failed-F.json    the reason and traceback of a task that failed
members/NAME/output-F.txt     what the plugin printed while its task was last done, if anything
repeats/seed-S/               the same on the folds of another seed: a run's folder like this one
blend.json                    the weights last learned
gram/KEY/                     members.json, agreement.npy, pairs.npy: what all blends of these members depend on
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from filelock import FileLock, Timeout

from harness.data.folds import Folds
from harness.errors import InputError
from harness.store.atomic import write_array, write_file
from harness.store.checksums import checksum, require_unchanged
from harness.store.finished import read_predictions, read_test_predictions
from harness.store.nearest import nearest_of
from harness.store.rows import MeanRows, PredictionRows, RunRows, read_rows, write_rows
from harness.store.schema import ALL_ROWS, Member, RunDocument, TaskRecord, TaskRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.dataset import Dataset

RUNS_FOLDER = Path("runs")
LOCK = ".lock"
_TEST_MEND = "give the command of the run again, which writes it anew"
BLEND = "blend"
"""What the blend is called where it stands beside the members; no member may be called that."""


class RunFolder:
    """One run on disk.

    Parameters
    ----------
    path
        The folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._repeats: tuple[list[tuple[Path, int]], list[RunFolder]] = [], []

    @property
    def exists(self) -> bool:
        """Whether a run has been begun here."""
        return (self.path / "run.json").is_file()

    @property
    def has_results(self) -> bool:
        """Whether a task is finished here: a run that was interrupted at once has none."""
        return any(self.path.glob("members/*/fold-*")) or any(self.path.glob("members/*/all-*"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the folder during a block.

        Raises
        ------
        InputError
            If another process does so now; the folder stays as it is.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"{self.path}: another process is running in this folder; wait for it, or name another --run-dir"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def begin(self, document: RunDocument, dataset: Dataset, folds: Folds, targets: NDArray[np.float32]) -> None:
        """Write a new run: its rows first and ``run.json`` last, which makes it a run."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_file(self.path / "rows.csv", lambda stream: write_rows(stream, dataset, folds))
        write_array(self.path / "targets.npy", targets)
        write_array(self.path / "near.npy", folds.near)
        (self.path / "nearest.npy").unlink(missing_ok=True)
        files = {name: checksum(self.path / name) for name in ("rows.csv", "targets.npy", "near.npy")}
        self.update(document.model_copy(update={"files": files}))

    def update(self, document: RunDocument) -> None:
        """Replace ``run.json``."""
        document.write(self.path / "run.json")

    def _write_text(self, name: str, text: str) -> None:
        write_file(self.path / name, lambda stream: stream.write(text.encode()))

    @property
    def document(self) -> RunDocument:
        """The content of ``run.json``. Raises ``InputError`` if there is none, or it is damaged."""
        try:
            return RunDocument.read(self.path / "run.json")
        except FileNotFoundError as error:
            raise InputError(
                f"{self.path}: there is no run here (no run.json); start one with `harness run`"
            ) from error

    @cached_property
    def rows(self) -> RunRows:
        """Rows of the run, from ``rows.csv``. Raises ``InputError`` if it is not what was written."""
        path = self._unchanged("rows.csv")
        try:
            return read_rows(path)
        except (ValueError, KeyError, StopIteration) as error:  # of a version that kept no checksum
            raise InputError(f"{path}: it cannot be read ({error}); {RunDocument.MEND}") from error

    def _unchanged(self, name: str) -> Path:
        """Return the path of a file that never changes. Raises ``InputError`` if it did, or is gone."""
        path = self.path / name
        try:
            require_unchanged(path, self.document.files.get(name), RunDocument.MEND)
        except OSError as error:
            raise InputError(f"{path}: it cannot be read ({error.strerror}); {RunDocument.MEND}") from error
        return path

    def _array(self, name: str, mmap_mode: Literal["r"] | None = None) -> NDArray[Any]:
        path = self._unchanged(name)
        try:
            return np.load(path, mmap_mode=mmap_mode)  # type: ignore[no-any-return]
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: it cannot be read ({error}); {RunDocument.MEND}") from error

    @cached_property
    def targets(self) -> NDArray[np.float32]:
        """Targets, shape (n, 384), memory-mapped. Raises ``InputError`` if they are not what was written."""
        return self._array("targets.npy", "r")

    @cached_property
    def folds(self) -> Folds:
        """The folds of the run: which rows each holds out, and which its models and weights may learn from.

        This is the one place where that is known: nothing else reads ``rows.csv`` or ``near.npy`` for it.
        """
        facts = self.document.folds
        return Folds(
            n_folds=len(facts.held_out),
            threshold=facts.threshold,
            seed=facts.seed,
            fold=self.rows.fold,
            group=self.rows.group,
            near=self._array("near.npy"),
            part=None if np.array_equal(self.rows.part, self.rows.group) else self.rows.part,
            recall=facts.recall,
            split=facts.split,
            crossed=facts.crossed,
        )

    @cached_property
    def nearest(self) -> NDArray[np.float32]:
        """Highest cosine of each row's target with that of a training row of its fold, shape (n,), float32.

        NaN where it was not compared (``harness.data.nearest``). Targets and folds never change: it is kept.
        """
        return nearest_of(self.path, self.targets, self.folds, self.document.files)

    # -- members -------------------------------------------------------------------------------

    @property
    def members(self) -> dict[str, Member]:
        """Every member of the run by name."""
        return self.document.members

    def task_folder(self, member: str, fold: int, key: str) -> Path:
        """Where a finished task lies; it exists only when the task is finished."""
        label = "all" if fold == ALL_ROWS else f"fold-{fold}"
        return self.path / "members" / member / f"{label}-{key}"

    def failure_file(self, member: str, fold: int) -> Path:
        """Where the reason of a failed task lies."""
        return self.path / "members" / member / f"failed-{'all' if fold == ALL_ROWS else fold}.json"

    def output_file(self, member: str, fold: int) -> Path:
        """Where the text lies that a plugin printed in a task."""
        return self.path / "members" / member / f"output-{'all' if fold == ALL_ROWS else fold}.txt"

    def prediction_rows(self, member: Member) -> PredictionRows:
        """Return a member's out-of-fold unit predictions in row order, shape (n, 384), still on disk.

        Raises
        ------
        InputError
            If a stored row id is not one of the run's: the predictions were made on other folds.
        """
        n, dimensions = self.targets.shape
        file, place = np.full(n, -1, dtype=np.int32), np.zeros(n, dtype=np.int64)
        files: list[NDArray[np.float32]] = []
        for fold, key in member.keys.items():
            folder = self.task_folder(member.name, fold, key)
            if not folder.is_dir():
                continue
            where = self._rows_of(fold, folder)
            values = read_predictions(folder, key)
            if values.shape != (len(where), dimensions):
                raise InputError(
                    f"{folder / 'predictions.npy'}: its shape is {values.shape} where {(len(where), dimensions)} is "
                    f"needed; {TaskRecord.MEND}"
                )
            file[where], place[where] = len(files), np.arange(len(where))
            files.append(values)
        return PredictionRows(files, file, place, dimensions)

    def predictions(self, member: Member) -> NDArray[np.float32]:
        """Return a member's out-of-fold unit predictions in row order, shape (n, 384), float32.

        Rows whose task is not finished are NaN. Raises as ``prediction_rows`` does.
        """
        return self.prediction_rows(member)[:]

    def _rows_of(self, fold: int, folder: Path) -> NDArray[np.int64]:
        """Return the row numbers of a task's predictions, checked against the rows that its fold holds out."""
        try:
            ids = TaskRows.read(folder / "ids.json").ids
        except FileNotFoundError as error:
            raise InputError(f"{folder}: its ids.json cannot be read: there is none; {TaskRecord.MEND}") from error
        held = np.arange(len(self.rows.ids)) if fold == ALL_ROWS else np.flatnonzero(self.rows.fold == fold)
        if ids == [self.rows.ids[i] for i in held.tolist()]:
            return held
        where = np.array([self._row_numbers.get(row_id, -1) for row_id in ids], dtype=np.int64)
        if (where < 0).any() or (fold != ALL_ROWS and (self.rows.fold[where] != fold).any()):
            raise InputError(f"{folder}: its rows are not those of this run's folds; {TaskRecord.MEND}")
        return where

    @cached_property
    def _row_numbers(self) -> dict[str, int]:
        return {row_id: i for i, row_id in enumerate(self.rows.ids)}

    def records(self, member: Member) -> list[TaskRecord]:
        """Return the records of a member's finished tasks, by fold."""
        return [record for fold in sorted(member.keys) if (record := self.record(member, fold))]

    def record(self, member: Member, fold: int) -> TaskRecord | None:
        """Return the record of a member's task on a fold; None if there is none."""
        try:
            return TaskRecord.read(self.task_folder(member.name, fold, member.keys[fold]) / "record.json")
        except FileNotFoundError:
            return None

    # -- repeats -------------------------------------------------------------------------------

    def repeat(self, seed: int) -> RunFolder:
        """Return the folder of a repeat: the same rows on the folds of another seed. It need not exist yet."""
        return RunFolder(self.path / "repeats" / f"seed-{seed}")

    @property
    def repeats(self) -> list[RunFolder]:
        """The repeats that have been begun, by seed.

        Raises
        ------
        InputError
            If one is of other rows: something was copied into the folder.
        """
        files = sorted((self.path / "repeats").glob("seed-*/run.json"))
        state = [(file, file.stat().st_mtime_ns) for file in files]
        if state != self._repeats[0]:
            found = sorted(map(RunFolder, (file.parent for file in files)), key=lambda run: run.document.folds.seed)
            for other in found:
                try:
                    same = other.rows.ids == self.rows.ids
                except (OSError, ValueError, KeyError, StopIteration) as error:
                    raise InputError(
                        f"{other.path / 'rows.csv'}: it cannot be read ({error}); remove {other.path} and run again"
                    ) from error
                if not same:
                    raise InputError(f"{other.path}: it is of other rows than {self.path}; remove it and run again")
            self._repeats = state, found
        return self._repeats[1]

    def repeats_of(self, names: Sequence[str]) -> list[RunFolder]:
        """Return this run and its repeats in which some members, with the options they have here, are finished."""
        own = [self.members[name] for name in names]
        return [self, *(other for other in self.repeats if all(other.has_finished(member) for member in own))]

    def has_finished(self, member: Member) -> bool:
        """Whether a member like this one, of another run, has a prediction for every row here."""
        mine = self.members.get(member.name)
        told = {"predictor", "version", "config", "files", "code", "imported"}
        if mine is None or mine.model_dump(include=told) != member.model_dump(include=told):
            return False
        return not self.unfinished(mine)

    def unfinished(self, member: Member) -> str:
        """Say how many tasks of a member are not done; nothing if all are."""
        count = sum(not self.task_folder(member.name, fold, key).is_dir() for fold, key in member.keys.items())
        return f"{count} of its {len(member.keys)} tasks are not done" if count else ""

    # -- test set ------------------------------------------------------------------------------

    def write_test_ids(self, ids: Sequence[str]) -> str:
        """Remember the ids of the test set, in order, and return the file's checksum."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerows([["id"], *([row_id] for row_id in ids)])
        self._write_text("test.csv", table.getvalue())
        return checksum(self.path / "test.csv")

    @property
    def test_ids(self) -> list[str]:
        """Ids of the test set, in order; empty without one."""
        path, test = self.path / "test.csv", self.document.test
        if test is None and not path.is_file():
            return []
        try:
            if test is not None:
                require_unchanged(path, test.ids_checksum, _TEST_MEND)
            with path.open(encoding="utf-8", newline="") as stream:
                return [row["id"] for row in csv.DictReader(stream)]
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise InputError(f"{path}: it cannot be read ({error}); {_TEST_MEND}") from error

    def test_file(self, member: str, fold: int, key: str, fingerprint: str) -> Path:
        """Where a fold model's predictions of the test set with this fingerprint lie."""
        return self.task_folder(member, fold, key) / f"test-{fingerprint}.npy"

    def has_test_predictions(self, member: Member, fingerprint: str) -> bool:
        """Whether every fold model of a member has predicted the test set with this fingerprint."""
        return all(self.test_file(member.name, *task, fingerprint).is_file() for task in member.keys.items())

    def test_files(self, member: Member, fingerprint: str) -> list[Path]:
        """Return the files with the predictions of the test set, one a fold model, those of repeats included.

        A repeat takes part where all its fold models have predicted.

        Raises
        ------
        InputError
            If a fold of the run itself has none yet.
        """
        files = []
        for fold, key in member.keys.items():
            path = self.test_file(member.name, fold, key, fingerprint)
            if not path.is_file():
                if member.imported:
                    raise InputError(
                        f"{self.path}: '{member.name}' has no predictions of the test set, and was made elsewhere; "
                        f"take them in with `harness runs import {member.name} OOF TEST`, or leave it out with "
                        f"`--exclude {member.name}`"
                    )
                raise InputError(
                    f"{self.path}: member '{member.name}' has not predicted the test set; give the command that made "
                    f"it again, with --test, or leave it out with `--exclude {member.name}`"
                )
            files.append(path)
        return [*files, *self._test_files_of_repeats(member, fingerprint)]

    def _test_files_of_repeats(self, member: Member, fingerprint: str) -> list[Path]:
        files: list[Path] = []
        for other in self.repeats_of([member.name])[1:]:
            keys = other.members[member.name].keys
            more = [other.test_file(member.name, fold, key, fingerprint) for fold, key in keys.items()]
            files += more if all(path.is_file() for path in more) else []
        return files

    def submitted_models(self, name: str) -> int:
        """Return how many models of a member a submission averages.

        With a test set, that is those of the repeats that have predicted it; without, those of all repeats.
        """
        member, test = self.members[name], self.document.test
        if test is None:
            return sum(len(run.members[name].keys) for run in self.repeats_of([name]))
        return len(member.keys) + len(self._test_files_of_repeats(member, test.fingerprint))

    def test_predictions(self, member: Member, fingerprint: str) -> NDArray[np.float32]:
        """Return the mean of the fold models' unit predictions of the test set, shape (m, 384), float32.

        Those of repeats are fold models, too. Raises as ``test_files`` does.
        """
        return self.test_rows(member, fingerprint)[:]

    def test_rows(self, member: Member, fingerprint: str) -> MeanRows:
        """Return the same, still on disk. Raises as ``test_files`` does."""
        return MeanRows([read_test_predictions(path) for path in self.test_files(member, fingerprint)])
