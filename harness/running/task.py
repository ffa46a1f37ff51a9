"""One task: fit a predictor on a fold's training rows, predict the rows held out, write it all down."""

from __future__ import annotations

import hashlib
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.cache import DiskCache, key_hash
from harness.errors import InputError
from harness.plugin import Context, Images, PluginManager, Predictor, TrainingData
from harness.running.inputs import Inputs
from harness.running.measure import Meter
from harness.store.atomic import new_folder, write_array
from harness.store.predictions import unit_rows
from harness.store.schema import ALL_ROWS, Member, TaskRecord, TaskRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTRACT = 1
"""Raised when the core itself would give a plugin other inputs for the same key; part of every key."""


@dataclass(frozen=True)
class Task:
    """One predictor on one fold.

    Parameters
    ----------
    member
        The predictor and its configuration.
    fold
        Fold to hold out, or ``ALL_ROWS`` for a predictor that is not trained.
    only_test
        True if the fold is done and only the test set is left to predict, from the saved model.
    found
        Where the fold lies finished, in the folder of another run; None if it is in this one's, or is to be done.
    """

    member: Member
    fold: int
    only_test: bool = False
    found: Path | None = None

    @property
    def key(self) -> str:
        """The task's key."""
        return self.member.keys[self.fold]


@dataclass(frozen=True)
class Outcome:
    """How a task ended: ``record`` if well; else ``reason``, ``trace`` and whether the input was at fault.

    ``seconds`` is the wall time of a task of which only the test set was left.
    """

    task: Task
    record: TaskRecord | None = None
    seconds: float | None = None
    reason: str = ""
    trace: str = ""
    input_fault: bool = False


def task_key(
    predictor: str,
    version: str,
    config: dict[str, Any],
    data: str,
    encoder: str,
    folds: str,
    fold: int,
    seed: int,
    origin: str = "",
    files: Mapping[str, str] | None = None,
) -> str:
    """Hash all that a task's predictions depend on.

    Parameters
    ----------
    origin
        What tells the predictor from another of the same name and version; empty for the harness's own.
    files
        What the local files hold that the options name.
    """
    parts = [CONTRACT, predictor, version, config, data, encoder, folds, fold, seed]
    return key_hash([*parts, *([origin] if origin else []), *([files] if files else [])])[:12]


def run_task(
    task: Task, inputs: Inputs, progress: Callable[[str, int, int], None], scratch_root: Path | None = None
) -> Outcome:
    """Do one task. Never raises for what a plugin or the data does wrong: that is an outcome too.

    Parameters
    ----------
    task, inputs
        What to do, and what with.
    progress
        Told ``(label, done, total)`` by the plugin.
    scratch_root
        Where the task's scratch folder is made. Default: the system's folder for temporary files.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="harness-", dir=scratch_root) as scratch:
            return _perform(task, inputs, Path(scratch), progress)
    except InputError as error:
        return Outcome(task, reason=str(error), trace=traceback.format_exc(), input_fault=True)
    except (Exception, SystemExit) as error:  # whatever a plugin raises loses its own task and no other
        return Outcome(task, reason=f"{type(error).__name__}: {error}", trace=traceback.format_exc())


def _perform(task: Task, inputs: Inputs, scratch: Path, progress: Callable[[str, int, int], None]) -> Outcome:
    cache = DiskCache(files=task.member.files)
    predictor = _build(task, inputs, scratch, cache, progress)
    folder = inputs.run.task_folder(task.member.name, task.fold, task.key)
    if task.only_test:
        with Meter() as meter:
            predictor.load(folder / "model")
            _predict_test(task, inputs, predictor, folder)
        return Outcome(task, TaskRecord.read(folder / "record.json"), seconds=round(meter.seconds, 6))
    facts: dict[str, Any] = {"started": datetime.now(UTC).isoformat(timespec="seconds")}
    all_images = inputs.dataset.lazy_images(inputs.config.workers or 1)
    with new_folder(folder) as half:
        if task.member.trainable:
            train_rows, rows = inputs.folds.training_rows(task.fold), inputs.folds.held_rows(task.fold)
            train = _training_data(inputs, all_images, train_rows)
            facts |= _measured("fit", cache, lambda: predictor.fit(train))[1]
            facts |= {"n_train": len(train_rows), "n_purged": inputs.folds.purged(task.fold)}
        else:
            rows = np.arange(len(inputs.dataset))
        ids = [inputs.dataset.ids[i] for i in rows]
        images = all_images.take(rows.tolist())
        values, cost = _measured("predict", cache, lambda: predictor.predict(images))
        predictions = unit_rows(values, ids, _who(task))
        facts |= cost | _describe(task, inputs, predictor, predictions, rows)
        np.save(half / "predictions.npy", predictions, allow_pickle=False)
        TaskRows(ids=ids).write(half / "ids.json")
        (half / "model").mkdir()
        predictor.save(half / "model")
        _predict_test(task, inputs, predictor, half)
        facts["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        record = TaskRecord(**facts)
        record.write(half / "record.json")
    return Outcome(task, record)


def _build(
    task: Task, inputs: Inputs, scratch: Path, cache: DiskCache, progress: Callable[[str, int, int], None]
) -> Predictor:
    context = Context(
        scratch=scratch,
        seed=task_seed(inputs.config.seed, task.member.predictor, task.fold),
        workers=inputs.config.workers or 1,
        requested_device=inputs.config.device,
        cache=cache,
        on_progress=progress,
    )
    return build_predictor(task.member, inputs.manager, context)


def build_predictor(member: Member, manager: PluginManager, context: Context) -> Predictor:
    """Make a member's predictor with its stored options, neither fitted nor loaded."""
    cls = manager.predictor(member.predictor)
    return cls(cls.Config.model_validate(member.config), context)


def task_seed(seed: int, predictor: str, fold: int) -> int:
    """Derive a task's own seed, so that folds differ and no task depends on which ran before it."""
    digest = hashlib.sha256(f"{seed}\0{predictor}\0{fold}".encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF


def _training_data(inputs: Inputs, images: Images, rows: NDArray[np.int64]) -> TrainingData:
    dataset = inputs.dataset
    indices = rows.tolist()
    return TrainingData(
        ids=[dataset.ids[i] for i in indices],
        images=images.take(indices),
        prompts=[dataset.texts[i][0] for i in indices],
        captions=[dataset.texts[i] for i in indices],
        targets=np.array(inputs.targets[rows]),
        groups=inputs.folds.group[rows],
        blocks=None if inputs.folds.part is None else inputs.folds.block[rows],
        threshold=inputs.folds.threshold,
    )


def _measured(stage: str, cache: DiskCache, action: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Run one stage and say what it took, and what it would have taken with empty caches."""
    credit = cache.credited_seconds
    with Meter() as meter:
        result = action()
    return result, {
        f"{stage}_seconds": round(meter.seconds, 6),
        f"{stage}_seconds_cold": round(meter.seconds + cache.credited_seconds - credit, 6),
        f"{stage}_peak_memory_bytes": meter.peak_bytes,
    }


def _describe(
    task: Task, inputs: Inputs, predictor: Predictor, predictions: NDArray[np.float32], rows: NDArray[np.int64]
) -> dict[str, Any]:
    count = predictor.parameter_count()
    targets = np.asarray(inputs.targets[rows], dtype=np.float64)
    return {
        "predictor": task.member.predictor,
        "version": task.member.version,
        "config": task.member.config,
        "code": task.member.code,
        "key": task.key,
        "fold": task.fold,
        "seed": task_seed(inputs.config.seed, task.member.predictor, task.fold),
        "device": predictor.context.requested_device,
        "n": len(rows),
        "score": float(np.einsum("ij,ij->i", predictions.astype(np.float64), targets).mean()),
        "trainable_parameters": count.trainable,
        "total_parameters": count.total,
    }


def _predict_test(task: Task, inputs: Inputs, predictor: Predictor, folder: Path) -> None:
    if inputs.test is None:
        return
    values = predictor.predict(inputs.test.lazy_images(inputs.config.workers or 1))
    predictions = unit_rows(values, list(inputs.test.ids), f"{_who(task)}, test set")
    write_array(folder / f"test-{inputs.test.fingerprint}.npy", predictions)


def _who(task: Task) -> str:
    fold = "all rows" if task.fold == ALL_ROWS else f"fold {task.fold}"
    return f"plugin '{task.member.name}' ({task.member.predictor} {task.member.version}), {fold}"
