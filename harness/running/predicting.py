"""What the members of a finished run say of new images: their saved fold models, one at a time."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.cache import DiskCache
from harness.data.dataset import image_digests
from harness.data.images import ImageFile
from harness.data.layouts.files import FoundImages, find_images
from harness.data.lazy_images import LazyImages
from harness.errors import HarnessError, InputError, PredictionError
from harness.plugin import EMBEDDING_DIM, Context, Explanation, PluginManager, Predictor
from harness.process import usable_cores
from harness.running.askable import why_not
from harness.running.nearest import nearest_by_fold
from harness.running.task import build_predictor, task_seed
from harness.running.training_images import TrainingImage, images_by_fold, training_images
from harness.store.finished import require_model_unchanged
from harness.store.predictions import unit_rows
from harness.store.run import RunFolder
from harness.store.schema import ALL_ROWS, Member
from harness.wording import number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Explanations = list[list[Explanation]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class GivenImages:
    """Images to say something of: m names as the user gave them, the images, and threads that decode them.

    ``notes`` says what of their folders was left out.
    """

    names: list[str]
    images: LazyImages
    workers: int
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)


@dataclass
class Predictions:
    """What the members of a run say of m images, and what became of members that say nothing.

    Parameters
    ----------
    names
        The images, as they were given.
    embeddings
        By member, in the order of the run: unit mean over its fold models, shape (m, 384), float32.
    explanations
        By member: what it says of each image in words, one list an image.
    skipped
        Members that were not asked, with the reason.
    failed
        Members that failed while they were asked, with the reason.
    tiny
        Members on the bundled tiny weights, which have only ever seen synthetic scenes.
    notes
        What else a user should know, in sentences.
    training
        What each image is to the run, if it was trained on it: then only the models speak that never saw it.
    """

    names: list[str]
    embeddings: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    explanations: dict[str, Explanations] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    tiny: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    training: list[TrainingImage | None] = field(default_factory=list)

    def by_fold(self) -> dict[int | None, list[int]]:
        """Return the images by the first fold whose models speak of them; None: those of which all do."""
        return images_by_fold(self.training)


def open_images(paths: Sequence[Path]) -> GivenImages:
    """Open image files, and all image files below folders; each once, and decoded to see that it can be.

    Raises
    ------
    InputError
        Naming the file that is missing or no image, or the folder that holds none.
    """
    files: list[Path] = []
    notes: list[str] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder; name image files, or a folder of them")
        found = find_images(path) if path.is_dir() else FoundImages([path])
        if not found.images:
            left = "".join(f" ({note})" for note in found.notes())
            raise InputError(f"{path}: there is no image in this folder{left}; name image files, or a folder of them")
        files += found.images
        notes += found.notes()
    sources = [ImageFile(path) for path in dict.fromkeys(files)]
    workers = min(16, usable_cores())
    names = [str(source.path) for source in sources]
    digests = image_digests(sources)  # refuses what is no image, which in a plugin would look like the plugin's fault
    return GivenImages(names, LazyImages(sources, digests, workers), workers, notes)


def predict_images(
    run: RunFolder,
    manager: PluginManager,
    given: GivenImages,
    *,
    device: str = "auto",
    top: int = 5,
    progress: Progress = lambda label, done, total: None,
) -> Predictions:
    """Let every finished member of a run predict images with all of its fold models, and say what it sees.

    What a member explains comes from the model of its first fold; one that explains nothing gets the run's prompts
    nearest to its prediction. Of an image that the run was trained on, only models speak that never saw it.

    Parameters
    ----------
    run, manager, given
        The run, the plugins, and m images.
    device
        Torch device of the predictors.
    top
        Most statements a member makes of an image.
    progress
        Told of each fold model: member, done, total.

    Raises
    ------
    InputError
        If there is no run, or no member of it can be asked.
    """
    found = Predictions(given.names, notes=list(given.notes), training=training_images(run, given.images))
    models = _FoldModels(run, manager, given, found.training, device, top)
    if run.rows.pictures is None:
        found.notes.append(
            "the run was begun before it was kept which images it was trained on: of those, what is said here may be "
            "what its models were told; give its command again with another --run-dir"
        )
    if not any(run.rows.prompts):
        found.notes.append("the run was taken in without its prompts, so that none can be told as near")
    members = run.members
    for name, member in members.items():
        if reason := models.why_not(member):
            found.skipped[name] = reason
    if len(found.skipped) == len(members):
        reasons = "".join(f"\n  - {name}: {reason}" for name, reason in found.skipped.items())
        raise InputError(f"{run.path}: the run has no member that can be asked{reasons}")
    for name, member in members.items():
        if name in found.skipped:
            continue
        if models.is_tiny(member):
            found.tiny.append(name)
        try:
            found.embeddings[name], found.explanations[name], problem = models.ask(member, progress)
        except Exception as error:  # whatever a plugin raises silences it alone
            found.failed[name] = _reason(error)
            continue
        if problem:
            found.failed[name] = problem
    return found


@dataclass(frozen=True)
class HeldOutWords:
    """What members say of rows of their own run in words, each row by the model that held it out.

    Parameters
    ----------
    words
        By member that has words of its own: what it says of each row, one list a row.
    silent
        Members that were not asked or failed, with the reason. A member without words of its own is in neither.
    """

    words: dict[str, Explanations] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


def held_out_words(
    run: RunFolder,
    manager: PluginManager,
    rows: Sequence[int],
    images: LazyImages,
    *,
    device: str = "auto",
    top: int = 3,
    progress: Progress = lambda label, done, total: None,
) -> HeldOutWords:
    """Ask the members of a run what they see in some of its rows, each by the model of the fold that held the row out.

    Parameters
    ----------
    run, manager
        The run, and the plugins.
    rows
        Numbers of m rows.
    images
        Their images.
    device, top, progress
        As ``predict_images`` has them.
    """
    given = GivenImages([run.rows.ids[i] for i in rows], images, min(16, usable_cores()))
    models = _FoldModels(run, manager, given, [None] * len(rows), device, top)
    held = run.rows.fold[np.asarray(rows, dtype=np.int64)]
    found = HeldOutWords()
    for name, member in run.members.items():
        if reason := models.why_not(member):
            found.silent[name] = reason
            continue
        if manager.predictor(member.predictor).explain is Predictor.explain:
            continue
        words: Explanations = [[] for _ in rows]
        try:
            for done, fold in enumerate(sorted(member.keys)):
                progress(name, done, len(member.keys))
                asked = [i for i, own in enumerate(held.tolist()) if fold in (ALL_ROWS, own)]
                for i, said in zip(asked, models.explain(member, fold, asked), strict=True):
                    words[i] = said[:top]
        except Exception as error:  # whatever a plugin raises silences it alone
            found.silent[name] = _reason(error)
            continue
        found.words[name] = words
    return found


@dataclass(frozen=True)
class _FoldModels:
    """What is the same for every member that is asked."""

    run: RunFolder
    manager: PluginManager
    given: GivenImages
    training: list[TrainingImage | None]
    device: str
    top: int

    def why_not(self, member: Member) -> str:
        """Return why a member cannot be asked, or nothing."""
        return why_not(self.run, self.manager, member)

    def is_tiny(self, member: Member) -> bool:
        """Whether a member uses the bundled tiny weights."""
        cls = self.manager.predictor(member.predictor)
        return cls.uses_tiny_weights(cls.Config.model_validate(member.config))

    def ask(self, member: Member, progress: Progress) -> tuple[NDArray[np.float32], Explanations, str]:
        """Return a member's embeddings, its explanations, and why it could not explain itself, if it could not."""
        total = np.zeros((len(self.given), EMBEDDING_DIM))
        words: Explanations = [[] for _ in self.given.names]
        problem = ""
        for done, fold in enumerate(sorted(member.keys)):
            progress(member.name, done, len(member.keys))
            asked = [i for i in range(len(self.given)) if self._speaks(fold, i)]
            explained = [i for i in asked if not any(self._speaks(f, i) for f in member.keys if f < fold)]
            if not asked:
                continue
            # Only the function below holds the model, so that it is gone before the next is loaded.
            rows, said = self._ask_one(member, fold, asked, explained)
            total[asked] += rows
            if isinstance(said, str):
                problem = f"explain failed ({said}); the prompts nearest to its prediction are shown instead"
            else:
                for i, own in zip(explained, said, strict=True):
                    words[i] = own
        length = np.linalg.norm(total, axis=1, keepdims=True)
        predictions = (total / np.maximum(length, 1e-12)).astype(np.float32)
        if not all(words):
            near = self.nearest(predictions)
            words = [own or other for own, other in zip(words, near, strict=True)]
        return predictions, [said[: self.top] for said in words], problem

    def _speaks(self, fold: int, image: int) -> bool:
        """Whether the model of a fold may be asked about an image."""
        told = self.training[image]
        return fold == ALL_ROWS or told is None or not told.folds or fold in told.folds

    def nearest(self, predictions: NDArray[np.float32]) -> Explanations:
        """Return the prompts nearest to each prediction, of rows that the models behind it may have learned from."""
        return nearest_by_fold(self.run, predictions, self.top, images_by_fold(self.training))

    def _ask_one(
        self, member: Member, fold: int, asked: list[int], explained: list[int]
    ) -> tuple[NDArray[np.float32], Explanations | str]:
        """Return a fold model's unit predictions of some images, and its words for some, or why it has none."""
        with self._loaded(member, fold) as predictor:
            who = f"{member.predictor} {member.version}, model {_folder_of(self.run, member, fold).name}"
            names = [self.given.names[i] for i in asked]
            rows = unit_rows(predictor.predict(self.given.images.take(asked)), names, who)
            if not explained:
                return rows, []
            try:
                return rows, _checked_words(predictor.explain(self.given.images.take(explained)), len(explained))
            except Exception as error:  # its predictions are as good as before
                return rows, _reason(error)

    def explain(self, member: Member, fold: int, asked: list[int]) -> Explanations:
        """Return what a fold model says of some images in words."""
        if not asked:
            return []
        with self._loaded(member, fold) as predictor:
            return _checked_words(predictor.explain(self.given.images.take(asked)), len(asked))

    @contextmanager
    def _loaded(self, member: Member, fold: int) -> Iterator[Predictor]:
        """Give the saved model of a fold."""
        folder = _folder_of(self.run, member, fold)
        with tempfile.TemporaryDirectory(prefix="harness-") as scratch:
            seed = task_seed(self.run.document.folds.seed, member.predictor, fold)
            cache = DiskCache(files=member.files)
            context = Context(Path(scratch), seed, self.given.workers, requested_device=self.device, cache=cache)
            predictor = build_predictor(member, self.manager, context)
            require_model_unchanged(folder)
            try:
                predictor.load(folder / "model")
            except Exception as error:  # a file that is gone or damaged raises what its reader likes
                raise HarnessError(
                    f"the saved model {folder / 'model'} cannot be loaded ({_reason(error)}); "
                    f"if it is damaged, remove {folder} and give the command of the run again"
                ) from error
            yield predictor


def _folder_of(run: RunFolder, member: Member, fold: int) -> Path:
    """Return where the task of a member on a fold lies."""
    return run.task_folder(member.name, fold, member.keys[fold])


def _checked_words(said: Any, count: int) -> Explanations:
    """Return what ``explain`` gave, if it is one list an image of statements with finite scores or none."""
    if len(said) != count:
        raise PredictionError(f"it returned {len(said)} lists for {number_of(count, 'image')}")
    words: Explanations = []
    for one in said:
        words.append([])
        for item in one:
            if not isinstance(item, Explanation):
                raise PredictionError(f"it returned {item!r}, which is no Explanation")
            score = None if item.score is None else float(item.score)
            if score is not None and not math.isfinite(score):
                raise PredictionError(f"the score of {item.text!r} is {score}")
            words[-1].append(Explanation(item.kind, item.text, score))
    return words


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
