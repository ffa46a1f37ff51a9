"""The one class a predictor plugin writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.plugin.context import Context
    from harness.plugin.images import Images
    from harness.plugin.training import TrainingData

EMBEDDING_DIM = 384
"""Width of an all-MiniLM-L6-v2 sentence embedding, and so of every prediction."""


class PredictorConfig(BaseModel):
    """Base of a predictor's options: immutable, and an unknown key is an error.

    Give every field a type, bounds where it has them, and a description: ``harness plugins info``
    prints them, and ``--set plugin.key=value`` is checked against them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


@dataclass(frozen=True, slots=True)
class Explanation:
    """One thing a predictor can say about an image in words.

    Parameters
    ----------
    kind
        What sort of statement it is: ``caption``, ``phrase``, ``prompt`` (a training prompt nearby).
    text
        The words.
    score
        The predictor's own confidence or similarity, if it has one.
    """

    kind: str
    text: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """How many numbers a model holds, and how many of them training may change."""

    trainable: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a task will need, told before anything is fetched or fitted.

    Parameters
    ----------
    models
        Weights it uses, by the names the configuration gives.
    parameters
        Size of the fitted model; None if it cannot be told without fetching weights.
    memory
        Bytes at the peak of ``fit`` or ``predict``, on the device of the task, beyond what the process
        holds before; an estimate. None: unknown.
    """

    models: tuple[str, ...] = ()
    parameters: ParameterCount | None = None
    memory: int | None = None


class Predictor(ABC):
    """Maps images to the 384-d all-MiniLM-L6-v2 embeddings of their prompts.

    A subclass sets ``name`` and ``version`` (both go into every cache key and record: raise the version whenever the
    same configuration would predict something else; what local files hold that options name goes there by itself) and
    writes ``predict``; a trainable one also ``fit``, ``save`` and ``load``.

    The constructor stays inert: it keeps its arguments and loads nothing, so that listing plugins
    and planning a run cost nothing. Heavy imports (torch, scikit-learn) belong inside the methods.

    Parameters
    ----------
    config
        An instance of the class's own ``Config``.
    context
        Device, seed, worker count, scratch folder, progress and caches of this task.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    Config: ClassVar[type[BaseModel]] = PredictorConfig
    trainable: ClassVar[bool] = True
    """False: predicted once for all rows, and those predictions serve every fold."""
    by_default: ClassVar[bool] = True
    """False: takes no part in a ``harness run`` that names no predictors, because it takes its time. Of use in the
    harness's own distribution only: predictors of other distributions take part when they are named."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named settings (``tiny``, ``reference``) for ``--preset``; ``--set`` overrides them."""

    def __init__(self, config: Any, context: Context) -> None:
        self.config = config
        self.context = context

    @classmethod
    def uses_tiny_weights(cls, config: BaseModel) -> bool:
        """Whether a configuration uses the bundled weights, which have only ever seen synthetic scenes.

        A run on any other data then says so. The default looks for an option whose value is ``tiny``.
        """
        return "tiny" in config.model_dump().values()

    def fit(self, train: TrainingData) -> None:  # noqa: B027 - optional: an untrained predictor has none
        """Learn from the training rows of one fold, and from nothing else.

        Fitting twice must equal fitting once. Randomness comes from ``self.context.seed``.
        """

    def prepare(self, images: Images) -> None:  # noqa: B027 - optional, too
        """Compute ahead, with ``context.cached_rows``, what ``fit`` and ``predict`` will ask of each image alone.

        Features, captions: where several machines or GPUs are at work, each is asked for a part of the images first,
        and ``fit`` and ``predict`` find the rows of all parts in the cache. It is called before ``fit`` and without
        ``load``, on another object than these, or not at all, and must change no prediction. Predictors that are not
        trained need not write it: their ``predict`` itself is asked in parts.

        Parameters
        ----------
        images
            Some images of the run, of the rows and of the test set.
        """

    @abstractmethod
    def predict(self, images: Images) -> NDArray[np.float32]:
        """Predict one embedding an image.

        Returns
        -------
        ndarray of shape (len(images), 384), float32, finite
            Row *i* belongs to ``images[i]``, and depends on no other image. Length does not matter: the core
            L2-normalises. No images give shape (0, 384).

        Raises
        ------
        NotFittedError
            If a trainable predictor was neither fitted nor loaded.
        """

    def save(self, folder: Path) -> None:  # noqa: B027 - optional for the same reason
        """Write everything ``predict`` needs into an existing empty folder (safetensors, json or npy; no pickle)."""

    def load(self, folder: Path) -> None:  # noqa: B027
        """Restore what ``save`` wrote; afterwards ``predict`` gives the same rows."""

    def explain(self, images: Images) -> list[list[Explanation]]:
        """Say in words what the predictor sees: one list an image, empty where it has no words."""
        return [[] for _ in range(len(images))]

    def requirements(self, rows: int) -> Requirements:
        """Say what a task will need: what ``harness run --dry-run`` shows.

        Must not reach a network, and not load weights where their shapes can be had without.

        Parameters
        ----------
        rows
            Training rows of a fold; 0 for a predictor that is not trained.
        """
        return Requirements()

    def parameter_count(self) -> ParameterCount:
        """Size of the model as it stands after ``fit`` or ``load``."""
        return ParameterCount()
