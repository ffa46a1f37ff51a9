"""From options and training rows to a trained network: the head on cached features first, then tower and head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from harness.pipeline import PixelStore, Preprocessing, placed
from harness.training import (
    Checkpoints,
    Precision,
    compiling_pays,
    forward_operations,
    inner_split,
    precision_name,
    seeded,
    torch_generator,
)
from harness_clipnet.augment import Share, augment, jittered
from harness_clipnet.beginning import small_preprocessing, start_network
from harness_clipnet.epochs import EpochRows
from harness_clipnet.inference import Fitted, TowerInference, image_features
from harness_clipnet.network import ClipNet, Mixup, head_groups, network_groups, restore, trained_state
from harness_clipnet.ranks import Ranks, check_devices, started, with_synchronised_norms
from harness_clipnet.stage import Batch, Stage, train_stage
from harness_clipnet.start import load_text, start_from_text
from harness_clipnet.tower import layer_plan, layers_of, recompute_activations

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.models.towers import Tower
    from harness.plugin import Context, Images, TrainingData
    from harness_clipnet.config import ClipNetConfig

_HEAD, _TOWER, _SMALL = 0, 1, 2  # the stages, in the seeds of their orders


def fit_network(config: ClipNetConfig, context: Context, train: TrainingData) -> Fitted:
    """Train on all rows of a fold, or all but the inner split. Raises ``InputError`` for what cannot be trained."""
    check_devices(config, context)
    inside, outside = inner_split(train, config.inner_share)
    text = load_text(config) if config.head_start == "text" else None
    with seeded(context.seed, context.device):
        network, preprocessing, digest = start_network(config)
        _start_at_the_mean(network.head, train.targets[inside])
        first = small_preprocessing(config, network.tower, preprocessing)
        network.tower = with_synchronised_norms(network.tower, config, context.device)
        network.to(context.device)
        fitting = _Fitting(config, context, train, network, preprocessing, first, digest, inside, outside)
        checkpoints = Checkpoints(context, "clipnet 1")
        left = checkpoints.load()
        if text is not None and left is None:
            start_from_text(network.head, fitting.features().cpu(), train, inside, text, context)
        text = None  # its memory is wanted
        if config.gradient_checkpointing and config.epochs:
            recompute_activations(network.tower)
        with fitting.compiled_tower(), ExitStack() as stack:
            for label, stage in fitting.stages():
                if left is None or left["stage"] == label:
                    if label != "head" and config.devices > 1 and fitting.ranks is None:
                        fitting.share(stack.enter_context(_with_others(fitting, label, left)))
                    train_stage(stage(), config, context, checkpoints, left)
                    left = None
    network.ranks = None
    return Fitted(network.eval(), preprocessing, digest)


def prepare_features(config: ClipNetConfig, context: Context, images: Images) -> None:
    """Compute ahead what a fit asks the tower as it starts, if it does: for its head."""
    if config.head_epochs or config.head_start == "text":
        with seeded(context.seed, context.device):
            network, preprocessing, digest = start_network(config)
        first = small_preprocessing(config, network.tower, preprocessing)
        _features(network.tower.to(context.device), first, digest, images, config, context)


def _features(
    tower: Tower, first: Preprocessing, digest: str, images: Images, config: ClipNetConfig, context: Context
) -> NDArray[np.float32]:
    """Return the pooled output of a tower that nothing was trained of, shape (n, hidden), cached by image.

    From images as the first stage sees them: the head is to suit the tower that it is trained with next.
    """
    kind, computed = torch.device(context.device).type, precision_name(context.device, config.precision)
    key = ["clipnet features", "2", digest, *first.key(), kind, computed]

    def compute(part: Images) -> NDArray[np.float32]:
        return image_features(TowerInference(tower.eval(), first, config, context.device), part, config, context)

    return context.cached_rows(key, images, compute)


def _with_others(fitting: _Fitting, label: str, left: dict[str, Any] | None) -> AbstractContextManager[Ranks]:
    """Start the other ranks, which begin with a stage where this one does."""
    begin = {
        "stage": label,
        "left": left,
        "state": trained_state(fitting.network),
        "random": torch.get_rng_state(),
    }
    if fitting.context.device.startswith("cuda"):
        begin["random_cuda"] = torch.cuda.get_rng_state()
    return started(fitting.config, fitting.context, _follow, (fitting.train, fitting.inside, fitting.outside), begin)


def _follow(
    ranks: Ranks,
    config: ClipNetConfig,
    context: Context,
    begin: dict[str, Any],
    train: TrainingData,
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
) -> None:
    """Train tower and head as one of the other ranks; the result is the first one's, too."""
    with seeded(context.seed, context.device):
        network, preprocessing, digest = start_network(config)
        first = small_preprocessing(config, network.tower, preprocessing)
        network.tower = with_synchronised_norms(network.tower, config, context.device)
        network.to(context.device)
        restore(network, begin["state"])
        fitting = _Fitting(config, context, train, network, preprocessing, first, digest, inside, outside)
        fitting.share(ranks)
        if config.gradient_checkpointing:
            recompute_activations(network.tower)
        torch.set_rng_state(begin["random"])
        if "random_cuda" in begin:
            torch.cuda.set_rng_state(begin["random_cuda"])
        labels, left = [label for label, _ in fitting.stages()], begin["left"]
        with fitting.compiled_tower():
            for label, stage in fitting.stages():
                if labels.index(label) >= labels.index(begin["stage"]):
                    train_stage(stage(), config, context, Checkpoints(context, ""), left)
                    left = None


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
        config = self.config
        self._targets = placed(_tensor(self.train.targets), self.context.device)
        lengths = {_HEAD: config.head_epochs, _TOWER: config.epochs, _SMALL: config.small_epochs}
        if config.small_size is None:
            del lengths[_SMALL]
        passes = [self._seed(stage, epoch) for stage, epochs in lengths.items() for epoch in range(epochs)]
        self._rows = EpochRows(config, self.train, self.inside, passes)
        self._batch_size = min(config.batch_size, self._rows.rows)
        self._steps = self._rows.rows // self._batch_size
        self._noise = torch.Generator()
        self.ranks: Ranks | None = None

    def share(self, ranks: Ranks) -> None:
        """Let the stages that follow share their batches with other processes."""
        self.ranks = self.network.ranks = ranks

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

    def _tower_stage(self, label: str, number: int, seen: Preprocessing, epochs: int) -> Stage:
        """Return a stage that trains tower and head on pixels."""
        config, seed = self.config, self.context.seed
        source, held = self._source(self.inside, seen), self._source(self.outside, seen)

        def batches(epoch: int, start: int) -> Iterator[Batch]:
            order = self._order(number, epoch)[start:]
            if not start:  # else the generator is where the checkpoint left it
                drawn = np.random.default_rng((seed, epoch) if number == _TOWER else (seed, epoch, number))
                self._noise.set_state(torch_generator(drawn).get_state())
            rows, mixups = self._positions(self.inside[order]), self._mixups(number, epoch)[start:]
            share = None if self.ranks is None else Share(self.ranks.part(self._batch_size), self._batch_size)
            own = order if share is None else np.ascontiguousarray(order[:, share.part])
            for pixels, row, mixup in zip(source.batches(own), rows, mixups, strict=True):
                normal = seen.normalise(jittered(pixels, config.jitter, self._noise, share))
                varied = augment(normal, config.crop_min, config.flip, self._noise, share)
                yield Batch(varied, self._targets[row].to(self.context.device), mixup)

        def inner() -> Iterator[Batch]:
            for pixels, row in zip(held.in_order(config.predict_batch), self._inner_rows(), strict=True):
                yield Batch(seen.normalise(pixels), self._targets[row].to(self.context.device))

        begun = config.head_epochs or config.head_start == "text" or (config.small_size and number == _TOWER)
        tuned = config.lr_head_tuned if begun else None
        groups = network_groups(self.network, config, tuned or config.lr_head)
        scored = self._scored(inner)
        return Stage(label, self.network, groups, epochs, self._steps, batches, scored, self._noise, self.ranks)

    def features(self) -> torch.Tensor:
        """Return the pooled output of the tower as it starts, shape (n, hidden), once an image for all folds."""
        tower, images = self.network.tower, self.train.images
        rows = _features(tower, self.first, self.digest, images, self.config, self.context)
        return placed(_tensor(rows), self.context.device)

    def _source(self, rows: NDArray[np.int64], seen: Preprocessing) -> PixelStore:
        images, device = self.train.images.take(rows.tolist()), self.context.device
        return PixelStore(self.context, images, seen.pixels_for(device), 3 * seen.size**2, self.config.cache_images_mb)

    def compiled_tower(self) -> AbstractContextManager[None]:
        """Return a context in which the tower is compiled for training, if that pays."""
        config, device = self.config, self.context.device
        work = 0.0
        if config.epochs and device.startswith("cuda") and config.compile == "auto":
            plan = layer_plan(layers_of(self.network.tower), config.lora_rate, config.nfz_rate)
            # Once forwards, once back to the first layer that is adapted, once for the weights that are trained.
            passes = 1 + (len(plan.lora) + 2 * len(plan.trained)) / plan.layers
            size = self.preprocessing.size
            self.network.eval()  # dropout would move the generator, and a fit that goes on has it where it was
            with Precision(device, config.precision).autocast():
                an_image = forward_operations(self.network.features, torch.zeros(2, 3, size, size, device=device))
            work = config.epochs * self._steps * self._batch_size * passes * an_image
        if not config.epochs or not compiling_pays(config.compile, device, work, training=True):
            return nullcontext()
        return self.network.compiled_training(config.compile)

    def _order(self, stage: int, epoch: int) -> NDArray[np.int64]:
        """Return the positions in ``inside`` that a pass takes, shape (steps, batch)."""
        return self._rows.order(self._seed(stage, epoch), self._batch_size, decoded=stage != _HEAD)

    def _seed(self, stage: int, epoch: int) -> tuple[int, int, int]:
        return self.context.seed, stage, epoch

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


def _tensor(rows: NDArray[np.float32]) -> torch.Tensor:
    """Return rows as a tensor, which nothing writes to: the same memory, where torch takes it."""
    return torch.from_numpy(np.require(rows, dtype=np.float32, requirements=["C", "W"]))


@torch.no_grad()
def _start_at_the_mean(head: nn.Module, targets: NDArray[np.float32]) -> None:
    """Let the untrained head be the ``mean`` predictor: what it learns is how an image differs from that."""
    head[-1].weight.zero_()
    head[-1].bias.copy_(torch.from_numpy(np.array(targets.mean(axis=0), dtype=np.float32)))
