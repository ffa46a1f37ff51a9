"""From options and training rows to a trained network: the head on cached features first, then tower and head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from harness.models import fetch_model
from harness.models.towers import Tower, has_tower
from harness.models.towers import load_tower as load_named_tower
from harness.pipeline import Preprocessing
from harness.plugin import InputError
from harness.training import (
    Checkpoints,
    Precision,
    epoch_batches,
    inner_split,
    one_of_each,
    seeded,
    torch_generator,
)
from harness_clipnet.augment import augment, jittered
from harness_clipnet.network import (
    ClipNet,
    Mixup,
    build_head,
    head_groups,
    network_groups,
    prepare_tower,
)
from harness_clipnet.pixels import PixelSource, read_preprocessing
from harness_clipnet.stage import Batch, Stage, train_stage
from harness_clipnet.start import load_text, start_from_text
from harness_clipnet.tower import load_tower, pooled, recompute_activations, tower_name, weights_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Context, Images, TrainingData
    from harness_clipnet.config import ClipNetConfig

_LEAST_BATCH = 4  # smaller batches take other matrix kernels, whose rounding differs in the last bits
_HEAD, _TOWER, _SMALL = 0, 1, 2  # the stages, in the seeds of their orders


@dataclass
class Fitted:
    """A network that can predict.

    Parameters
    ----------
    network
        On its device, in evaluation mode.
    preprocessing
        What its images went through in training.
    tower_hash
        ``weights_hash`` of the tower before LoRA and training.
    """

    network: ClipNet
    preprocessing: Preprocessing
    tower_hash: str


def start_network(
    config: ClipNetConfig, preprocessing: Preprocessing | None = None
) -> tuple[ClipNet, Preprocessing, str]:
    """Load the tower, apply the plan and put a new head on it, on the CPU.

    The caller seeds torch's global generator; LoRA and head are drawn from it. With no tower epochs nothing in
    the tower is adapted.

    Returns
    -------
    network, preprocessing, tower_hash
        ``preprocessing`` is the given one, or else the checkpoint's.

    Raises
    ------
    InputError
        If the tower cannot be had, the plan asks for too many layers, or images are no whole number of patches wide.
    """
    name = tower_name(config.tower)
    if has_tower(name):
        size, two = preprocessing.size if preprocessing else config.image_size, config.small_size is not None
        named = load_named_tower(name, size, "clipnet.tower", two)
        digest = weights_hash(named)
        head = build_head(named.width, config.head_width, config.head_dropout)
        prepare_tower(named, config)
        return ClipNet(named, head), preprocessing or named.preprocessing, digest
    folder = fetch_model(config.tower, tiny="clip", option="clipnet.tower")
    tower = load_tower(folder, config.tower)
    shape = tower.config
    preprocessing = preprocessing or read_preprocessing(folder, shape.image_size, config.image_size)
    _check_patches("image_size", preprocessing.size, bool(config.image_size), shape.patch_size, config.tower)
    digest = weights_hash(tower)
    head = build_head(shape.hidden_size, config.head_width, config.head_dropout)
    prepare_tower(tower, config)
    return ClipNet(tower, head), preprocessing, digest


def fit_network(config: ClipNetConfig, context: Context, train: TrainingData) -> Fitted:
    """Train on all rows of a fold, or all but the inner split. Raises ``InputError`` for what cannot be trained."""
    _check_options(config)
    inside, outside = inner_split(train, config.inner_share)
    text = load_text(config) if config.head_start == "text" else None
    with seeded(context.seed, context.device):
        network, preprocessing, digest = start_network(config)
        _start_at_the_mean(network.head, train.targets[inside])
        first = small_preprocessing(config, network.tower, preprocessing)
        network.to(context.device)
        fitting = _Fitting(config, context, train, network, preprocessing, first, digest, inside, outside)
        checkpoints = Checkpoints(context, "clipnet 1")
        left = checkpoints.load()
        if text is not None and left is None:
            start_from_text(network.head, fitting.features(), train, inside, text, context)
        text = None  # its memory is wanted
        if config.gradient_checkpointing and config.epochs:
            recompute_activations(network.tower)
        for label, stage in fitting.stages():
            if left is None or left["stage"] == label:
                train_stage(stage(), config, context, checkpoints, left)
                left = None
    return Fitted(network.eval(), preprocessing, digest)


def small_preprocessing(config: ClipNetConfig, tower: nn.Module, own: Preprocessing) -> Preprocessing:
    """Return how images are prepared in the first stage: as later, or ``small_size`` wide.

    Raises
    ------
    InputError
        If that is no smaller, no whole number of patches, or the tower cannot take images of two sizes.
    """
    size = config.small_size
    if size is None:
        return own
    if size >= own.size:
        raise InputError(
            f"clipnet.small_size={size}: the images of the stage after it are {own.size} pixels wide; "
            "give less, or a larger clipnet.image_size"
        )
    if not isinstance(tower, Tower):
        _check_patches("small_size", size, True, tower.config.patch_size, config.tower)
    elif (reason := tower.refusal(size)) is not None:
        raise InputError(
            f"clipnet.small_size={size}: the tower {config.tower} was built for images of {own.size} pixels and cannot "
            f"take these as well ({reason}); leave the option out, or take a CLIP of transformers or a convolutional "
            "tower"
        )
    return replace(own, size=size)


def _check_options(config: ClipNetConfig) -> None:
    """Raise ``InputError`` for options that contradict each other."""
    if not config.epochs and not config.head_epochs:
        raise InputError("clipnet.epochs=0 and clipnet.head_epochs=0 leave nothing to train; set one of them")
    if config.small_size is not None and not config.epochs:
        raise InputError(
            f"clipnet.small_size={config.small_size} trains the tower before the epochs at image_size, and "
            "clipnet.epochs=0; set clipnet.epochs, or leave small_size out"
        )
    if config.weights == "bfloat16" and config.precision not in ("auto", "bfloat16"):
        raise InputError(
            f"clipnet.weights=bfloat16 computes in bfloat16, and clipnet.precision={config.precision}; "
            "set precision to auto or bfloat16"
        )


def _check_patches(option: str, size: int, asked: bool, patch: int, tower: str) -> None:
    """Raise ``InputError`` unless images are a whole number of patches wide, at least one."""
    if size < patch:
        raise InputError(
            f"clipnet.{option}={size}: the patches of tower {tower} are {patch} pixels wide; give at least that"
        )
    if asked and (over := size % patch):
        low = size - over
        raise InputError(
            f"clipnet.{option}={size} is no multiple of a patch: the patches of tower {tower} are {patch} pixels wide, "
            f"and {over} pixels of each side would not be seen; give {low} or {low + patch}"
        )


def predict_rows(
    fitted: Fitted, images: Images, config: ClipNetConfig, context: Context, module: nn.Module | None = None
) -> NDArray[np.float32]:
    """Return one row an image, in order: of the network, or of ``module`` if given. Shape (n, d), float32."""
    source = PixelSource(images, fitted.preprocessing, context.device, 0, config.predict_batch)
    precision = Precision(context.device, config.precision)
    network = (module or fitted.network).eval()
    found = []
    with torch.inference_mode(), precision.autocast():
        for pixels in source.in_order():
            missing = max(0, _LEAST_BATCH - len(pixels))
            padded = torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)]) if missing else pixels
            rows = network(fitted.preprocessing.normalise(padded))
            found.append(rows[: len(pixels)].float().cpu().numpy())
    return np.concatenate(found)


@dataclass
class _Fitting:
    """What all stages need. ``first`` is how images are prepared in the first stage, ``preprocessing`` in the last."""

    config: ClipNetConfig
    context: Context
    train: TrainingData
    network: ClipNet
    preprocessing: Preprocessing
    first: Preprocessing
    digest: str
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]

    def __post_init__(self) -> None:
        self._targets = torch.from_numpy(np.array(self.train.targets, dtype=np.float32))
        self._prompts: NDArray[np.int64] | None = None
        rows = len(self.inside)
        if self.config.one_per_prompt:
            numbers: dict[tuple[str, ...], int] = {}
            captions = [tuple(self.train.captions[row]) for row in self.inside.tolist()]
            self._prompts = np.array([numbers.setdefault(each, len(numbers)) for each in captions], dtype=np.int64)
            rows = len(numbers)
        if rows < 2:
            what = "prompts (one_per_prompt=true)" if self.config.one_per_prompt else "rows"
            raise InputError(
                f"clipnet: BatchNorm needs at least 2 training {what}, this fold has {rows}; lower --folds"
            )
        self._rows, self._batch_size = rows, min(self.config.batch_size, rows)
        self._steps = rows // self._batch_size
        self._noise = torch.Generator()

    def stages(self) -> list[tuple[str, Callable[[], Stage]]]:
        """Return the labels of the stages in their order, and what makes each: one holds its pixels alone."""
        config, found = self.config, []
        if config.head_epochs:
            found.append(("head", self._head_stage))
        if config.small_size is not None:
            found.append(("small", lambda: self._tower_stage("small", _SMALL, self.first, config.small_epochs)))
        if config.epochs:
            found.append(("train", lambda: self._tower_stage("train", _TOWER, self.preprocessing, config.epochs)))
        return found

    def _head_stage(self) -> Stage:
        """Return the head phase of LP-FT (Kumar et al. 2022, arXiv:2202.10054): the tower only gave the features."""
        features = self.features()
        device = self.context.device

        def batches(epoch: int, start: int) -> Iterator[Batch]:
            order = self._order(_HEAD, epoch)[start:]
            for row, mixup in zip(self.inside[order], self._mixups(_HEAD, epoch)[start:], strict=True):
                yield Batch(features[row].to(device), self._targets[row].to(device), mixup)

        def inner() -> Iterator[Batch]:
            for row in self._inner_rows():
                yield Batch(features[row].to(device), self._targets[row].to(device))

        head = self.network.head
        groups = head_groups(head, self.config, self.config.lr_head)
        scored = self._scored(inner)
        return Stage("head", head, groups, self.config.head_epochs, self._steps, batches, scored, self._noise)

    def _tower_stage(self, label: str, number: int, seen: Preprocessing, epochs: int) -> Stage:
        """Return a stage that trains tower and head on pixels."""
        config, seed = self.config, self.context.seed
        source, held = self._source(self.inside, seen), self._source(self.outside, seen)

        def batches(epoch: int, start: int) -> Iterator[Batch]:
            order = self._order(number, epoch)[start:]
            if not start:  # else the generator is where the checkpoint left it
                drawn = np.random.default_rng((seed, epoch) if number == _TOWER else (seed, epoch, number))
                self._noise.set_state(torch_generator(drawn).get_state())
            mixups = self._mixups(number, epoch)[start:]
            for pixels, row, mixup in zip(source.batches(order), order, mixups, strict=True):
                normal = seen.normalise(jittered(pixels, config.jitter, self._noise))
                varied = augment(normal, config.crop_min, config.flip, self._noise)
                yield Batch(varied, self._targets[self.inside[row]].to(self.context.device), mixup)

        def inner() -> Iterator[Batch]:
            for pixels, row in zip(held.in_order(), self._inner_rows(), strict=True):
                yield Batch(seen.normalise(pixels), self._targets[row].to(self.context.device))

        begun = config.head_epochs or config.head_start == "text" or (config.small_size and number == _TOWER)
        tuned = config.lr_head_tuned if begun else None
        groups = network_groups(self.network, config, tuned or config.lr_head)
        return Stage(label, self.network, groups, epochs, self._steps, batches, self._scored(inner), self._noise)

    def features(self) -> torch.Tensor:
        """Return the pooled output of the tower as it starts, shape (n, hidden), once an image for all folds.

        From images as the first stage sees them: the head is to suit the tower that it is trained with next.
        """
        fitted = Fitted(self.network, self.first, self.digest)
        kind = torch.device(self.context.device).type
        key = ["clipnet features", "1", self.digest, *self.first.key(), kind, self.config.precision]
        rows = self.context.cached_rows(
            key,
            self.train.images,
            lambda part: predict_rows(fitted, part, self.config, self.context, _Pooled(self.network.tower)),
        )
        return torch.from_numpy(np.array(rows, dtype=np.float32))

    def _source(self, rows: NDArray[np.int64], seen: Preprocessing) -> PixelSource:
        images = self.train.images.take(rows.tolist())
        return PixelSource(images, seen, self.context.device, self.config.cache_images_mb, self.config.predict_batch)

    def _order(self, stage: int, epoch: int) -> NDArray[np.int64]:
        """Return the positions in ``inside`` that a pass takes, shape (steps, batch)."""
        seed = (self.context.seed, stage, epoch)
        batches = epoch_batches(self._rows, self._batch_size, seed)
        return batches if self._prompts is None else one_of_each(self._prompts, (*seed, 2))[batches]

    def _mixups(self, stage: int, epoch: int) -> list[Mixup | None]:
        """Return the mixup of each step of a pass; their generator is another one than that of its order."""
        rng = np.random.default_rng((self.context.seed, stage, epoch, 1))
        return [Mixup.draw(self._batch_size, self.config.mixup, rng) for _ in range(self._steps)]

    def _inner_rows(self) -> list[NDArray[np.int64]]:
        size = self.config.predict_batch
        return [self.outside[start : start + size] for start in range(0, len(self.outside), size)]

    def _scored(self, inner: Callable[[], Iterator[Batch]]) -> Callable[[], Iterator[Batch]] | None:
        return inner if len(self.outside) else None


class _Pooled(nn.Module):
    """A tower as a module from normalised pixels to pooled outputs."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pooled(self.tower, pixels)


@torch.no_grad()
def _start_at_the_mean(head: nn.Module, targets: NDArray[np.float32]) -> None:
    """Let the untrained head be the ``mean`` predictor: what it learns is how an image differs from that."""
    head[-1].weight.zero_()
    head[-1].bias.copy_(torch.from_numpy(np.array(targets.mean(axis=0), dtype=np.float32)))
