"""From options and training rows to a trained network: the head on cached features first, then tower and head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from harness.models import fetch_model
from harness.models.towers import has_tower
from harness.models.towers import load_tower as load_named_tower
from harness.pipeline import PixelStore, Preprocessing, placed
from harness.plugin import InputError
from harness.training import (
    Checkpoints,
    compiling_pays,
    epoch_batches,
    forward_operations,
    inner_split,
    seeded,
    torch_generator,
)
from harness_clipnet.inference import TowerInference, tower_rows
from harness_clipnet.network import (
    ClipNet,
    Mixup,
    build_head,
    head_groups,
    network_groups,
    prepare_tower,
)
from harness_clipnet.pixels import augment, read_preprocessing
from harness_clipnet.stage import Batch, Stage, train_stage
from harness_clipnet.tower import layer_plan, layers_of, load_tower, recompute_activations, tower_name, weights_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Context, Images, TrainingData
    from harness_clipnet.config import ClipNetConfig

_HEAD, _TOWER = 0, 1  # the stages, in the seeds of their orders


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
    inference
        What ``predict_rows`` made of the tower, once it was called.
    """

    network: ClipNet
    preprocessing: Preprocessing
    tower_hash: str
    inference: TowerInference | None = None


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
        named = load_named_tower(name, preprocessing.size if preprocessing else config.image_size, "clipnet.tower")
        digest = weights_hash(named)
        head = build_head(named.width, config.head_width, config.head_dropout)
        prepare_tower(named, config)
        return ClipNet(named, head), preprocessing or named.preprocessing, digest
    folder = fetch_model(config.tower, tiny="clip", option="clipnet.tower")
    tower = load_tower(folder, config.tower)
    shape = tower.config
    preprocessing = preprocessing or read_preprocessing(folder, shape.image_size, config.image_size)
    if preprocessing.size < shape.patch_size:
        raise InputError(
            f"clipnet.image_size={preprocessing.size}: the patches of tower {config.tower} are {shape.patch_size} "
            f"pixels wide; give at least that"
        )
    if config.image_size and (over := config.image_size % shape.patch_size):
        low = config.image_size - over
        raise InputError(
            f"clipnet.image_size={config.image_size} is no multiple of a patch: the patches of tower {config.tower} "
            f"are {shape.patch_size} pixels wide, and {over} pixels of each side would not be seen; give {low} or "
            f"{low + shape.patch_size}"
        )
    digest = weights_hash(tower)
    head = build_head(shape.hidden_size, config.head_width, config.head_dropout)
    prepare_tower(tower, config)
    return ClipNet(tower, head), preprocessing, digest


def fit_network(config: ClipNetConfig, context: Context, train: TrainingData) -> Fitted:
    """Train on all rows of a fold, or all but the inner split. Raises ``InputError`` for what cannot be trained."""
    if not config.epochs and not config.head_epochs:
        raise InputError("clipnet.epochs=0 and clipnet.head_epochs=0 leave nothing to train; set one of them")
    inside, outside = inner_split(train, config.inner_share)
    if len(inside) < 2:
        raise InputError(
            f"clipnet: BatchNorm needs at least 2 training rows, this fold has {len(inside)}; lower --folds"
        )
    with seeded(context.seed, context.device):
        network, preprocessing, digest = start_network(config)
        _start_at_the_mean(network.head, train.targets[inside])
        network.to(context.device)
        fitting = _Fitting(config, context, train, network, preprocessing, digest, inside, outside)
        checkpoints = Checkpoints(context, "clipnet 1")
        left = checkpoints.load()
        if config.head_epochs and (left is None or left["stage"] == "head"):
            train_stage(fitting.head_stage(), config, context, checkpoints, left)
            left = None
        if config.epochs:
            with fitting.compiled_tower():
                train_stage(fitting.tower_stage(), config, context, checkpoints, left)
    return Fitted(network.eval(), preprocessing, digest)


def predict_rows(fitted: Fitted, images: Images, config: ClipNetConfig, context: Context) -> NDArray[np.float32]:
    """Return one row an image, in order. Shape (n, 384), float32."""
    if fitted.inference is None:
        fitted.inference = TowerInference(fitted.network.tower, fitted.preprocessing, config, context.device)
    return tower_rows(fitted.inference, images, config, context, fitted.network.head.eval())


@dataclass
class _Fitting:
    """What both stages need."""

    config: ClipNetConfig
    context: Context
    train: TrainingData
    network: ClipNet
    preprocessing: Preprocessing
    digest: str
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]

    def __post_init__(self) -> None:
        self._targets = placed(torch.from_numpy(np.array(self.train.targets, dtype=np.float32)), self.context.device)
        self._batch_size = min(self.config.batch_size, len(self.inside))
        self._steps = len(self.inside) // self._batch_size
        self._noise = torch.Generator()

    def head_stage(self) -> Stage:
        """Return the head phase of LP-FT (Kumar et al. 2022, arXiv:2202.10054): the tower only gave the features."""
        features = self._features()
        device = self.context.device

        def batches(epoch: int, start: int) -> Iterator[Batch]:
            order = self._order(_HEAD, epoch)[start:]
            rows, mixups = self._positions(self.inside[order]), self._mixups(_HEAD, epoch)[start:]
            for row, mixup in zip(rows, mixups, strict=True):
                yield Batch(features[row.to(features.device)].to(device), self._targets[row].to(device), mixup)

        def inner() -> Iterator[Batch]:
            for row in self._inner_rows():
                yield Batch(features[row].to(device), self._targets[row].to(device))

        head = self.network.head
        groups = head_groups(head, self.config, self.config.lr_head)
        scored = self._scored(inner)
        return Stage("head", head, groups, self.config.head_epochs, self._steps, batches, scored, self._noise)

    def tower_stage(self) -> Stage:
        """Return the stage that trains tower and head on pixels."""
        if self.config.gradient_checkpointing:
            recompute_activations(self.network.tower)
        source, held = self._source(self.inside), self._source(self.outside)

        def batches(epoch: int, start: int) -> Iterator[Batch]:
            order = self._order(_TOWER, epoch)[start:]
            if not start:  # else the generator is where the checkpoint left it
                self._noise.set_state(torch_generator(np.random.default_rng((self.context.seed, epoch))).get_state())
            rows, mixups = self._positions(self.inside[order]), self._mixups(_TOWER, epoch)[start:]
            for pixels, row, mixup in zip(source.batches(order), rows, mixups, strict=True):
                normal = self.preprocessing.normalise(pixels)
                seen = augment(normal, self.config.crop_min, self.config.flip, self._noise)
                yield Batch(seen, self._targets[row].to(self.context.device), mixup)

        def inner() -> Iterator[Batch]:
            for pixels, row in zip(held.in_order(self.config.predict_batch), self._inner_rows(), strict=True):
                yield Batch(self.preprocessing.normalise(pixels), self._targets[row].to(self.context.device))

        tuned = self.config.lr_head_tuned if self.config.head_epochs else None
        groups = network_groups(self.network, self.config, tuned or self.config.lr_head)
        scored = self._scored(inner)
        return Stage("train", self.network, groups, self.config.epochs, self._steps, batches, scored, self._noise)

    def compiled_tower(self) -> AbstractContextManager[None]:
        """Return a context in which the tower is compiled for training, if that pays."""
        config, device, size = self.config, self.context.device, self.preprocessing.size
        work = 0.0
        if device.startswith("cuda") and config.compile == "auto":
            plan = layer_plan(layers_of(self.network.tower), config.lora_rate, config.nfz_rate)
            example = torch.zeros(2, 3, size, size, device=device)
            # Once forwards, once back to the first layer that is adapted, once for the weights that are trained.
            passes = 1 + (len(plan.lora) + 2 * len(plan.trained)) / plan.layers
            images = config.epochs * self._steps * self._batch_size
            work = images * passes * forward_operations(self.network.features, example)
        if not compiling_pays(config.compile, device, work, training=True):
            return nullcontext()
        return self.network.compiled_training(config.compile)

    def _features(self) -> torch.Tensor:
        """Return the pooled output of the tower as it starts, shape (n, hidden), once an image for all folds."""
        config, context = self.config, self.context
        kind = torch.device(context.device).type
        key = ["clipnet features", "2", self.digest, *self.preprocessing.key(), kind, self.config.precision]

        def compute(part: Images) -> NDArray[np.float32]:
            inference = TowerInference(self.network.tower.eval(), self.preprocessing, config, context.device)
            return tower_rows(inference, part, config, context, None)

        rows = context.cached_rows(key, self.train.images, compute)
        return placed(torch.from_numpy(np.array(rows, dtype=np.float32)), context.device)

    def _source(self, rows: NDArray[np.int64]) -> PixelStore:
        seen = self.preprocessing
        images = self.train.images.take(rows.tolist())
        transform = seen.pixels_for(self.context.device)
        return PixelStore(self.context, images, transform, 3 * seen.size**2, self.config.cache_images_mb)

    def _order(self, stage: int, epoch: int) -> NDArray[np.int64]:
        return epoch_batches(len(self.inside), self._batch_size, (self.context.seed, stage, epoch))

    def _positions(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return positions where the targets are, all of a pass at once: each copy makes a GPU wait."""
        return torch.from_numpy(rows).to(self._targets.device)

    def _mixups(self, stage: int, epoch: int) -> list[Mixup | None]:
        """Return the mixup of each step of a pass; their generator is another one than that of its order."""
        rng = np.random.default_rng((self.context.seed, stage, epoch, 1))
        drawn = [Mixup.draw(self._batch_size, self.config.mixup, rng) for _ in range(self._steps)]
        return [mixup and mixup.on(self.context.device) for mixup in drawn]

    def _inner_rows(self) -> list[NDArray[np.int64]]:
        size = self.config.predict_batch
        return [self.outside[start : start + size] for start in range(0, len(self.outside), size)]

    def _scored(self, inner: Callable[[], Iterator[Batch]]) -> Callable[[], Iterator[Batch]] | None:
        return inner if len(self.outside) else None


@torch.no_grad()
def _start_at_the_mean(head: nn.Module, targets: NDArray[np.float32]) -> None:
    """Let the untrained head be the ``mean`` predictor: what it learns is how an image differs from that."""
    head[-1].weight.zero_()
    head[-1].bias.copy_(torch.from_numpy(np.array(targets.mean(axis=0), dtype=np.float32)))
