"""Training by teacher forcing: each word is predicted from the true words before it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from harness.training import (
    BestEpoch,
    Checkpoints,
    Precision,
    ScheduledAdamW,
    check_loss,
    epoch_batches,
    parameter_groups,
    seeded,
    torch_generator,
)
from harness_cnnrnn.network import Captioner
from harness_cnnrnn.pixels import pixel_store, ready, vary
from harness_cnnrnn.vocabulary import END, START, Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Context, TrainingData
    from harness_cnnrnn.config import CnnRnnConfig

_IGNORED = -100  # torch's cross-entropy leaves such labels out
_INNER_BATCH = 64


def train_captioner(
    config: CnnRnnConfig, context: Context, train: TrainingData, inside: NDArray[np.int64], outside: NDArray[np.int64]
) -> tuple[Captioner, Vocabulary]:
    """Train on the rows ``inside``; return the network of the epoch that does best on ``outside``, or of the last.

    Raises
    ------
    InputError
        If the backbone cannot be had.
    HarnessError
        If the loss is no longer a number.
    """
    prompts = (caption for row in inside for caption in train.captions[row])
    vocabulary = Vocabulary.of_prompts(prompts, config.min_count, config.max_words)
    with seeded(context.seed, context.device):
        network = Captioner(config, len(vocabulary)).to(context.device)
        loop = _Loop(network, vocabulary, config, context, train, inside, outside)
        first, step = loop.go_on()
        for epoch in range(first, config.epochs):
            loop.epoch(epoch, step)
            step = 0
            if loop.best.patience_is_over:
                break
        if loop.best.state is not None:
            network.load_state_dict(loop.best.state)
    return network.eval(), vocabulary


def blank_network(config: CnnRnnConfig, words: int) -> Captioner:
    """Return a network whose weights are to be overwritten; draws nothing from the caller's random numbers."""
    with seeded(0):
        return Captioner(config, words, pretrained=False)


class _Loop:
    """The state of a training."""

    def __init__(
        self,
        network: Captioner,
        vocabulary: Vocabulary,
        config: CnnRnnConfig,
        context: Context,
        train: TrainingData,
        inside: NDArray[np.int64],
        outside: NDArray[np.int64],
    ) -> None:
        self._network, self._vocabulary, self._config, self._context = network, vocabulary, config, context
        self._train, self._inside, self._outside = train, inside, outside
        self._pixels = pixel_store(context, train.images, network.encoder.size, config.cache_images_mb)
        self._targets = torch.from_numpy(np.array(train.targets, dtype=np.float32)).to(context.device)
        self._size = min(config.batch_size, len(inside))
        self._precision = Precision(context.device, config.precision)
        self._optimizer = ScheduledAdamW(
            rated_groups(network, config),
            steps=config.epochs * (len(inside) // self._size),
            warmup=config.warmup,
            clip_norm=config.clip_norm,
            precision=self._precision,
            clipped=list(network.parameters()),
        )
        self.best = BestEpoch(config.patience)
        self._epoch = 0
        self._total = torch.zeros((), device=context.device)
        self._noise = torch.Generator()
        self._checkpoints = Checkpoints(context, "cnnrnn 2")
        self._expect_frequent_words()

    def go_on(self) -> tuple[int, int]:
        """Take up what a process left that was killed; return the pass to make, and the steps of it that are done."""
        left = self._checkpoints.load()
        if left is None:
            return 0, 0
        self._network.load_state_dict(left["network"])
        self._optimizer.restore(left["optimizer"])
        self.best.restore(left["best"])
        self._noise.set_state(left["noise"])
        self._total.copy_(left["total"])
        return left["epoch"], left["step"]

    def epoch(self, epoch: int, start: int) -> None:
        """Make one pass over the rows in an order of its own, or the rest of it, and measure the inner rows' loss."""
        self._epoch = epoch
        rng = np.random.default_rng((self._context.seed, epoch))
        order = self._inside[epoch_batches(len(self._inside), self._size, rng)]
        if not start:  # else the generator is where the checkpoint left it
            self._noise.set_state(torch_generator(rng).get_state())
            self._total.zero_()
        config, noise = self._config, self._noise
        self._network.train()
        rest = order[start:]
        for done, (rows, pixels) in enumerate(zip(rest, self._pixels.batches(rest), strict=True), start=start + 1):
            seen = vary(ready(pixels), config.crop_min, config.flip, config.light, noise)
            self._total += self._update(seen, rows, noise)
            if done % 10 == 0 or done == len(order):  # reading the loss makes a GPU wait
                loss, made = self._total.item() / done, self._optimizer.done
                mend = "lower cnnrnn.lr, or set cnnrnn.precision=float32"
                check_loss(loss, "cnnrnn", f"step {made}", mend)
                self._context.measured("training", made, loss=loss)
                self._context.progress(f"training: loss {loss:.3f}", made, self._optimizer.steps)
            if self._checkpoints.due:
                self._checkpoints.save(
                    {
                        "epoch": epoch,
                        "step": done,
                        "network": self._network.state_dict(),
                        "optimizer": self._optimizer.state(),
                        "best": self.best.checkpoint(),
                        "noise": noise.get_state(),
                        "total": self._total,
                    }
                )
        if len(self._outside):
            inner = self._inner_loss()
            self._context.measured("training", self._optimizer.done, inner_loss=inner)
            self.best.compare(-inner, self._network.state_dict())

    @torch.no_grad()
    def _expect_frequent_words(self) -> None:
        """Start from the words' frequencies: what is learned is how a caption differs from any."""
        counts = Counter(number for row in self._inside for number in self._numbers(row, 0))
        total = torch.tensor([1.0 + counts[number] for number in range(len(self._vocabulary))])
        self._network.bias.copy_((total / total.sum()).log())

    def _numbers(self, row: int, epoch: int) -> list[int]:
        """Return the numbers of a row's caption; a row with several shows another one at each pass."""
        captions = self._train.captions[row]
        return self._vocabulary.encode(captions[epoch % len(captions)], self._config.prompt_words)

    def _labels(self, rows: NDArray[np.int64], epoch: int) -> torch.Tensor:
        """Return the numbers of each row's caption, padded with `_IGNORED`: int64, shape (n, longest)."""
        numbers = [torch.tensor(self._numbers(row, epoch)) for row in rows]
        return nn.utils.rnn.pad_sequence(numbers, batch_first=True, padding_value=_IGNORED).to(self._context.device)

    def _update(self, pixels: torch.Tensor, rows: NDArray[np.int64], noise: torch.Generator) -> torch.Tensor:
        """Make one step and return the loss of its words, still on the device."""
        config, network = self._config, self._network
        labels = self._labels(rows, self._epoch)
        with self._precision.autocast():
            features = network.encode(pixels)
            given = shifted(labels)
            if config.own_words:
                given = self._with_own_words(features, given, noise)
            expected, _ = network.decode(features, given, network.first_state(features))
            scores = network.scores(expected[labels != _IGNORED])
            guess = network.guess(features.mean) if network.guess is not None else None
        loss = functional.cross_entropy(
            scores.float(), labels[labels != _IGNORED], label_smoothing=config.label_smoothing
        )
        words = loss.detach()
        if guess is not None:
            cosine = functional.cosine_similarity(guess.float(), self._targets[torch.from_numpy(rows)], dim=1)
            loss = loss + config.embedding_loss * (1.0 - cosine.mean())
        self._optimizer.update(loss)
        return words

    @torch.no_grad()
    def _with_own_words(self, features: Any, given: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
        """Replace a growing share of the words by the network's own guesses after the true words before them.

        Scheduled sampling (Bengio et al. 2015, arXiv:1506.03099) in two passes instead of word by word (Mihaylova &
        Martins 2019, arXiv:1906.07651).
        """
        expected, _ = self._network.decode(features, given, self._network.first_state(features))
        own = self._network.scores(expected[:, :-1]).argmax(dim=2)
        share = self._config.own_words * self._optimizer.done / self._optimizer.steps
        replaced = (torch.rand(own.shape, generator=noise) < share).to(own.device)
        return torch.cat([given[:, :1], torch.where(replaced, own, given[:, 1:])], dim=1)

    @torch.no_grad()
    def _inner_loss(self) -> float:
        """Return the mean loss a word on the inner rows, by teacher forcing, without smoothing."""
        network, total, words = self._network.eval(), 0.0, 0
        for start in range(0, len(self._outside), _INNER_BATCH):
            rows = self._outside[start : start + _INNER_BATCH]
            (pixels,) = self._pixels.batches(rows[None])
            labels = self._labels(rows, 0)
            features = network.encode(ready(pixels))
            expected, _ = network.decode(features, shifted(labels), network.first_state(features))
            scores = network.scores(expected[labels != _IGNORED])
            total += functional.cross_entropy(scores, labels[labels != _IGNORED], reduction="sum").item()
            words += len(scores)
        return total / words


def shifted(labels: torch.Tensor) -> torch.Tensor:
    """Return what the decoder is fed to say ``labels``, shape (n, t): START, then each label but the last."""
    start = torch.full_like(labels[:, :1], START)
    before = labels[:, :-1]
    return torch.cat([start, before.where(before != _IGNORED, torch.full_like(before, END))], dim=1)


def rated_groups(network: Captioner, config: CnnRnnConfig) -> list[dict[str, Any]]:
    """Return AdamW's groups: encoder and the rest at their rates, norms and biases without decay; rate 0 freezes."""
    network.requires_grad_(True)
    encoder_rate = config.lr if config.lr_encoder is None else config.lr_encoder
    rated = ((n, p, encoder_rate if n.startswith("encoder.") else config.lr) for n, p in network.named_parameters())
    return parameter_groups(rated, config.weight_decay)
