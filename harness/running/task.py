"""One task: fit a predictor on a fold's training rows, predict the rows held out, write it all down."""

from __future__ import annotations

import hashlib
import json
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.cache import DiskCache, key_hash
from harness.errors import InputError
from harness.plugin import Context, Images, PluginManager, Predictor, TrainingData
from harness.running.bench import Bench
from harness.running.measure import Meter
from harness.store.atomic import new_folder, write_array, write_json
from harness.store.predictions import unit_rows
from harness.store.run import ALL_ROWS, MemberSpec

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
    """

    member: MemberSpec
    fold: int
    only_test: bool = False

    @property
    def key(self) -> str:
        """The task's key."""
        return self.member.keys[self.fold]


@dataclass(frozen=True)
class Outcome:
    """How a task ended: ``record`` if well; else ``reason``, ``trace`` and whether the input was at fault."""

    task: Task
    record: dict[str, Any] | None = None
    reason: str = ""
    trace: str = ""
    input_fault: bool = False


def task_key(
    plugin: str, version: str, config: dict[str, Any], data: str, encoder: str, folds: str, fold: int, seed: int
) -> str:
    """Hash all that a task's predictions depend on."""
    return key_hash([CONTRACT, plugin, version, config, data, encoder, folds, fold, seed])[:12]


def run_task(
    task: Task, bench: Bench, progress: Callable[[str, int, int], None], scratch_root: Path | None = None
) -> Outcome:
    """Do one task. Never raises for what a plugin or the data does wrong: that is an outcome too.

    Parameters
    ----------
    task, bench
        What to do, and the opened inputs.
    progress
        Told ``(label, done, total)`` by the plugin.
    scratch_root
        Where the task's scratch folder is made. Default: the system's folder for temporary files.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="harness-", dir=scratch_root) as scratch:
            record = _perform(task, bench, Path(scratch), progress)
    except InputError as error:
        return Outcome(task, reason=str(error), trace=traceback.format_exc(), input_fault=True)
    except (Exception, SystemExit) as error:  # whatever a plugin raises loses its own task and no other
        return Outcome(task, reason=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
    return Outcome(task, record=record)


def _perform(task: Task, bench: Bench, scratch: Path, progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    cache = DiskCache()
    predictor = _build(task, bench, scratch, cache, progress)
    folder = bench.run.task_folder(task.member.name, task.fold, task.key)
    if task.only_test:
        predictor.load(folder / "model")
        _predict_test(task, bench, predictor, folder)
        return dict(json.loads((folder / "record.json").read_text(encoding="utf-8")))
    record: dict[str, Any] = {"started": datetime.now(UTC).isoformat(timespec="seconds")}
    all_images = bench.dataset.lazy_images(bench.config.workers or 1)
    with new_folder(folder) as half:
        if task.member.trainable:
            train_rows, rows = bench.folds.training_rows(task.fold), bench.folds.held_rows(task.fold)
            train = _training_data(bench, all_images, train_rows)
            record |= _measured("fit", cache, lambda: predictor.fit(train))[1]
            record |= {"n_train": len(train_rows), "n_purged": bench.folds.purged(task.fold)}
        else:
            rows = np.arange(len(bench.dataset))
        ids = [bench.dataset.ids[i] for i in rows]
        images = all_images.take(rows.tolist())
        values, cost = _measured("predict", cache, lambda: predictor.predict(images))
        predictions = unit_rows(values, ids, _who(task))
        record |= cost | _describe(task, bench, predictor, predictions, rows)
        np.save(half / "predictions.npy", predictions, allow_pickle=False)
        write_json(half / "ids.json", ids)
        (half / "model").mkdir()
        predictor.save(half / "model")
        _predict_test(task, bench, predictor, half)
        record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(half / "record.json", record)
    return record


def _build(
    task: Task, bench: Bench, scratch: Path, cache: DiskCache, progress: Callable[[str, int, int], None]
) -> Predictor:
    context = Context(
        scratch=scratch,
        seed=task_seed(bench.config.seed, task.member.plugin, task.fold),
        workers=bench.config.workers or 1,
        requested_device=bench.config.device,
        cache=cache,
        on_progress=progress,
    )
    return build_predictor(task.member, bench.manager, context)


def build_predictor(member: MemberSpec, manager: PluginManager, context: Context) -> Predictor:
    """Make a member's predictor with its stored options, neither fitted nor loaded."""
    cls = manager.predictor(member.plugin)
    return cls(cls.Config.model_validate(member.config), context)


def task_seed(seed: int, plugin: str, fold: int) -> int:
    """Derive a task's own seed, so that folds differ and no task depends on which ran before it."""
    digest = hashlib.sha256(f"{seed}\0{plugin}\0{fold}".encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF


def _training_data(bench: Bench, images: Images, rows: NDArray[np.int64]) -> TrainingData:
    dataset = bench.dataset
    indices = rows.tolist()
    return TrainingData(
        ids=[dataset.ids[i] for i in indices],
        images=images.take(indices),
        prompts=[dataset.texts[i][0] for i in indices],
        captions=[dataset.texts[i] for i in indices],
        targets=np.array(bench.targets[rows]),
        groups=bench.folds.group[rows],
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
    task: Task, bench: Bench, predictor: Predictor, predictions: NDArray[np.float32], rows: NDArray[np.int64]
) -> dict[str, Any]:
    count = predictor.parameter_count()
    targets = np.asarray(bench.targets[rows], dtype=np.float64)
    return {
        "member": task.member.name,
        "plugin": task.member.plugin,
        "version": task.member.version,
        "config": task.member.config,
        "key": task.key,
        "fold": task.fold,
        "seed": task_seed(bench.config.seed, task.member.plugin, task.fold),
        "device": predictor.context.requested_device,
        "n": len(rows),
        "score": float(np.einsum("ij,ij->i", predictions.astype(np.float64), targets).mean()),
        "trainable_parameters": count.trainable,
        "total_parameters": count.total,
    }


def _predict_test(task: Task, bench: Bench, predictor: Predictor, folder: Path) -> None:
    if bench.test is None:
        return
    values = predictor.predict(bench.test.lazy_images(bench.config.workers or 1))
    predictions = unit_rows(values, list(bench.test.ids), f"{_who(task)}, test set")
    write_array(folder / f"test-{bench.test.fingerprint}.npy", predictions)


def _who(task: Task) -> str:
    fold = "all rows" if task.fold == ALL_ROWS else f"fold {task.fold}"
    return f"plugin '{task.member.name}' ({task.member.plugin} {task.member.version}), {fold}"
