"""One task as its predictor does it: fitted on a fold's training rows, asked about the rows held out.

What it answers is judged and written elsewhere (``judging.py``), where the predictor does not run.
"""

from __future__ import annotations

import hashlib
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.arrays import taken
from harness.data.cache import DiskCache, key_hash
from harness.data.columns import prompts_of, rows_at
from harness.data.file_memory import Part
from harness.data.unfilled import unfilled
from harness.errors import HarnessError, InputError
from harness.plugin import Context, Images, PluginManager, Predictor, TrainingData, in_use
from harness.plugin.importing import readable, storable
from harness.running.checkpoints import checkpoint_folder
from harness.running.inputs import Inputs
from harness.running.measure import Meter
from harness.running.memory import refuse_too_large
from harness.running.pieces import Piece, images_of, piece_key, piece_rows
from harness.running.shared_rows import export_rows
from harness.store.finished import require_model_unchanged
from harness.store.predictions import plain_array
from harness.store.schema import ALL_ROWS, Member

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import ImageSource

Named = tuple[str, int, Piece | None]
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
        True if the fold is done and only the test set, or a piece of it, is left to predict, from the saved model.
    found
        Where the fold lies finished, in the folder of another run; None if it is in this one's, or is to be done.
    piece
        A part of the member's work on single images, which is all that is to be done; its fold is ``ALL_ROWS``.
    gathered
        True if all pieces of it are done, and what is left is to save the model, unless only the test set was.
    """

    member: Member
    fold: int
    only_test: bool = False
    found: Path | None = None
    piece: Piece | None = None
    gathered: bool = False

    @property
    def key(self) -> str:
        """The task's key."""
        return self.member.keys[self.fold] if self.piece is None else piece_key(self.member)

    @property
    def named(self) -> Named:
        """What tells it from the other tasks of its run."""
        return self.member.name, self.fold, self.piece


@dataclass(frozen=True)
class Answer:
    """What a predictor answered, and what that took. Nothing in it has been checked.

    Parameters
    ----------
    predictions, test
        Of the rows held out and of the test set; None if it did not get so far, or there is no test set.
    costs
        Fields of the task's record that are known only where the predictor runs.
    reason, trace
        Why it failed; empty if it did not.
    input_fault
        Whether it failed over what the user gave, as the predictor says.
    refused
        The image that the harness's own reader refused, if that is what it failed over; else empty.
    """

    predictions: NDArray[Any] | None = None
    test: NDArray[Any] | None = None
    costs: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    trace: str = ""
    input_fault: bool = False
    refused: str = ""


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


def do_task(
    task: Task,
    inputs: Inputs,
    place: Path,
    progress: Callable[[str, int, int], None],
    scratch_root: Path | None = None,
    *,
    export: bool = False,
) -> Answer:
    """Let a predictor do one task. Never raises for what a plugin or the data does wrong: that is an answer, too.

    Parameters
    ----------
    task, inputs
        What to do, and what with.
    place
        A folder of the answer's own, in which the predictor saves its model. What else lies in it is not looked at.
    progress
        Told ``(label, done, total)`` by the plugin.
    scratch_root
        Where the task's scratch folder is made. Default: the system's folder for temporary files.
    export
        Whether rows that a piece computed ahead are written to the place, too, since the command has another cache.
    """
    refused: list[tuple[str, BaseException]] = []
    try:
        with tempfile.TemporaryDirectory(prefix="harness-", dir=scratch_root) as scratch:
            rows = place / "rows" if export else None
            return _perform(task, inputs, place / "model", rows, Path(scratch), _careful(progress), refused)
    except (Exception, SystemExit) as error:  # whatever a plugin raises loses its own task and no other
        reason = readable(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {readable(error)}"
        return Answer(
            reason=reason,
            trace=storable(traceback.format_exc()),
            input_fault=isinstance(error, InputError),
            refused=next((name for name, fault in refused if fault in _causes(error)), ""),
        )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that it was raised from, or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _careful(progress: Callable[[str, int, int], None]) -> Callable[[str, int, int], None]:
    """Return a listener that takes whatever a plugin calls its progress."""

    def tell(label: Any, done: Any, total: Any) -> None:
        try:
            progress(storable(str(label)), int(done), int(total))
        except (TypeError, ValueError, OverflowError):  # NaN of NaN, say: no news
            return

    return tell


def _perform(
    task: Task,
    inputs: Inputs,
    model: Path,
    rows: Path | None,
    scratch: Path,
    progress: Callable[[str, int, int], None],
    refused: list[tuple[str, BaseException]],
) -> Answer:
    cache = DiskCache(files=task.member.files)
    predictor = _build(task, inputs, scratch, cache, progress)
    with in_use(predictor.context):
        if task.piece is not None:
            return _do_piece(task, task.piece, inputs, predictor, cache, rows, refused)
        return _do(task, inputs, predictor, cache, model, refused)


def _do_piece(
    task: Task,
    piece: Piece,
    inputs: Inputs,
    predictor: Predictor,
    cache: DiskCache,
    rows: Path | None,
    refused: list[tuple[str, BaseException]],
) -> Answer:
    """Predict some images, or prepare them; in the latter case write what that put into the cache to ``rows``."""
    costs: dict[str, Any] = {"started": datetime.now(UTC).isoformat(timespec="seconds")}
    _refuse_too_large(task, inputs, predictor)
    trained = task.member.trainable
    if task.only_test:
        _load(task, inputs, predictor)
    chosen = piece_rows(piece, inputs, trained=trained).tolist()
    images = images_of(piece.of, inputs).lazy_images(inputs.config.workers or 1, refused).take(chosen)
    stage = predictor.prepare if trained else predictor.predict
    values, cost = _measured("predict", cache, lambda: stage(images))
    costs |= {name.removeprefix("predict_"): value for name, value in cost.items()}
    if not trained:
        return Answer(plain_array(values, who(task)), None, costs)
    costs["row_files"] = sorted(folder.name for folder in cache.files_used)
    if rows is not None:
        export_rows(sorted(cache.files_used), images.digests, rows)
    return Answer(costs=costs)


def _do(
    task: Task,
    inputs: Inputs,
    predictor: Predictor,
    cache: DiskCache,
    model: Path,
    refused: list[tuple[str, BaseException]],
) -> Answer:
    if task.only_test and task.gathered:
        return Answer()
    if task.only_test:
        with Meter() as meter:
            _load(task, inputs, predictor)
            test = _predict_test(task, inputs, predictor, refused)
        return Answer(test=test, costs={"seconds": round(meter.seconds, 6)})
    costs: dict[str, Any] = {"started": datetime.now(UTC).isoformat(timespec="seconds")}
    _refuse_too_large(task, inputs, predictor)
    all_images = inputs.dataset.lazy_images(inputs.config.workers or 1, refused)
    if task.member.trainable:
        train = _training_data(inputs, all_images, inputs.folds.training_rows(task.fold))
        costs |= _measured("fit", cache, lambda: predictor.fit(train))[1]
    predictions = None
    if not task.gathered:
        images = all_images.take(rows_of(task, inputs).tolist())
        values, cost = _measured("predict", cache, lambda: predictor.predict(images))
        predictions = plain_array(values, who(task))
        costs |= cost
        del values
    count = predictor.parameter_count()
    costs |= {
        "device": str(predictor.context.requested_device),
        "trainable_parameters": int(count.trainable),
        "total_parameters": int(count.total),
    }
    model.mkdir(parents=True)
    predictor.save(model)
    test = None if task.gathered else _predict_test(task, inputs, predictor, refused)
    weights = predictor.context.weights  # which any plugin may write into
    costs["weights"] = {storable(str(name)): storable(str(commit)) for name, commit in dict(weights).items()}
    costs["history"] = [(storable(stage), *told) for stage, *told in predictor.context.history]
    costs["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    return Answer(predictions, test, costs)


def _load(task: Task, inputs: Inputs, predictor: Predictor) -> None:
    folder = inputs.run.task_folder(task.member.name, task.fold, task.key)
    require_model_unchanged(folder)
    predictor.load(folder / "model")


def _refuse_too_large(task: Task, inputs: Inputs, predictor: Predictor) -> None:
    """Raise ``InputError`` if the predictor says that the task takes more memory than there is, and no limit is set."""
    if inputs.config.task_memory is None:
        train_rows = len(inputs.folds.training_rows(max(task.fold, 0))) if task.member.trainable else 0
        context = replace(predictor.context)
        refuse_too_large(task.member, build_predictor(task.member, inputs.manager, context), train_rows)


def rows_of(task: Task, inputs: Inputs) -> NDArray[np.int64]:
    """Return the numbers of the rows that a task predicts."""
    if task.piece is not None:
        return piece_rows(task.piece, inputs, trained=False)
    return inputs.folds.held_rows(task.fold) if task.member.trainable else np.arange(len(inputs.dataset))


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
        checkpoints=checkpoint_folder(inputs.run, task.member.name, task.fold, task.key).absolute(),
        checkpoint_seconds=60 * inputs.config.checkpoint_minutes,
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
    captions = rows_at(dataset.texts, indices)
    return TrainingData(
        ids=rows_at(dataset.ids, indices),
        images=images.take(indices),
        prompts=prompts_of(captions),
        captions=captions,
        targets=taken(inputs.targets, rows, unfilled((len(rows), *inputs.targets.shape[1:]))),
        groups=inputs.folds.group[rows],
        blocks=None if inputs.folds.part is None else inputs.folds.block[rows],
        threshold=inputs.folds.threshold,
        sources=rows_at(dataset.sources, indices),
        contained=_contained(dataset.images),
    )


def _contained(images: Sequence[ImageSource]) -> bool:
    """Whether most images lie in files with others; a thousand of them tell."""
    some = images[:: max(1, len(images) // 1000)]
    return 2 * sum(isinstance(getattr(image, "place", None), Part) for image in some) > len(some)


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


def _predict_test(
    task: Task, inputs: Inputs, predictor: Predictor, refused: list[tuple[str, BaseException]]
) -> NDArray[Any] | None:
    if inputs.test is None:
        return None
    values = predictor.predict(inputs.test.lazy_images(inputs.config.workers or 1, refused))
    return plain_array(values, f"{who(task)}, test set")


def who(task: Task) -> str:
    """Name a task in messages, with the predictor's version."""
    version = f" ({task.member.predictor} {task.member.version})"
    return f"plugin '{task.member.name}'{version}, {_part(task)}"


def called(task: Task) -> str:
    """Name a task in short: "knn fold 2"."""
    return f"{task.member.name} {_part(task)}"


def _part(task: Task) -> str:
    if (piece := task.piece) is None:
        return "all rows" if task.fold == ALL_ROWS else f"fold {task.fold}"
    what = "part" if task.member.trainable else "rows"
    return f"{what} {piece.start} to {piece.stop - 1} of the {'test set' if piece.of == 'test' else 'images'}"
