"""Training by teacher forcing: each word is predicted from the true words before it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from harness.plugin import HarnessError
from harness_cnnrnn.network import Captioner
from harness_cnnrnn.optim import parameter_groups, warmed_cosine
from harness_cnnrnn.pixels import Pixels, vary
from harness_cnnrnn.vocabulary import END, START, Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Context, TrainingData
    from harness_cnnrnn.config import CnnRnnConfig

_IGNORED = -100  # torch's cross-entropy leaves such labels out
_INNER_BATCH = 64


def inner_split(groups: NDArray[np.int64], share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide rows into those trained on and those held out inside the fold; no group is on both sides.

    Returns
    -------
    inside, outside
        Sorted row indices. With fewer than two groups, or a share of 0, ``outside`` is empty.
    """
    from sklearn.model_selection import GroupKFold

    everything = np.arange(len(groups))
    folds = min(round(1.0 / share), len(np.unique(groups))) if share else 0
    if folds < 2:
        return everything, everything[:0]
    # The folds are balanced, but a group larger than a fold has the first: the last one keeps to the share.
    *_, (inside, outside) = GroupKFold(folds).split(everything, groups=groups)
    return inside, outside


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
    with _seeded(context):
        network = Captioner(config, len(vocabulary)).to(context.device)
        loop = _Loop(network, vocabulary, config, context, train, inside, outside)
        for epoch in range(config.epochs):
            loop.epoch(epoch)
            if loop.patience_is_over():
                break
        loop.take_best()
    return network.eval(), vocabulary


def blank_network(config: CnnRnnConfig, words: int) -> Captioner:
    """Return a network whose weights are to be overwritten; draws nothing from the caller's random numbers."""
    with torch.random.fork_rng(devices=[]):
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
        self._pixels = Pixels(context, train.images, network.encoder.size, config.cache_images_mb)
        self._targets = torch.from_numpy(np.array(train.targets, dtype=np.float32)).to(context.device)
        self._size = min(config.batch_size, len(inside))
        self._steps, self._step = config.epochs * (len(inside) // self._size), 0
        self._optimizer = torch.optim.AdamW(parameter_groups(network, config))
        self._best: tuple[float, int, dict[str, torch.Tensor]] | None = None
        self._epoch = 0
        self._expect_frequent_words()

    def epoch(self, epoch: int) -> None:
        """Make one pass over the rows in an order of its own, and measure the loss on the inner rows."""
        self._epoch = epoch
        rng = np.random.default_rng((self._context.seed, epoch))
        steps = len(self._inside) // self._size
        order = self._inside[rng.permutation(len(self._inside))[: steps * self._size]].reshape(steps, self._size)
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        config, total = self._config, 0.0
        self._network.train()
        for done, (rows, pixels) in enumerate(zip(order, self._pixels.batches(order), strict=True), start=1):
            seen = vary(pixels, config.crop_min, config.flip, config.light, noise)
            total += self._update(seen, rows, noise)
            self._step += 1
            if done % 10 == 0 or done == steps:
                self._context.progress(f"training: loss {total / done:.3f}", self._step, self._steps)
        if len(self._outside):
            self._compare(self._inner_loss())

    def patience_is_over(self) -> bool:
        """Whether the inner loss has not fallen for long enough."""
        return self._best is not None and 0 < self._config.patience <= self._epoch - self._best[1]

    def take_best(self) -> None:
        """Let the network be as it was after the best epoch, if inner rows could tell."""
        if self._best is not None:
            self._network.load_state_dict(self._best[2])

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

    def _update(self, pixels: torch.Tensor, rows: NDArray[np.int64], noise: torch.Generator) -> float:
        """Make one step and return its loss."""
        config, network = self._config, self._network
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * warmed_cosine(self._step, self._steps, config.warmup)
        labels = self._labels(rows, self._epoch)
        with self._autocast():
            sight = network.see(pixels)
            given = shifted(labels)
            if config.own_words:
                given = self._with_own_words(sight, given, noise)
            expected, _ = network.say(sight, given, network.begin(sight))
            scores = network.scores(expected[labels != _IGNORED])
            guess = network.guess(sight.mean) if network.guess is not None else None
        loss = functional.cross_entropy(
            scores.float(), labels[labels != _IGNORED], label_smoothing=config.label_smoothing
        )
        value = loss.item()
        if not math.isfinite(value):
            raise HarnessError(
                f"cnnrnn: the loss became {value} at step {self._step}; lower cnnrnn.lr, or set "
                "cnnrnn.precision=float32"
            )
        if guess is not None:
            cosine = functional.cosine_similarity(guess.float(), self._targets[torch.from_numpy(rows)], dim=1)
            loss = loss + config.embedding_loss * (1.0 - cosine.mean())
        loss.backward()
        if config.clip_norm:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return value

    @torch.no_grad()
    def _with_own_words(self, sight: Any, given: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
        """Replace a growing share of the words by the network's own guesses after the true words before them.

        Scheduled sampling (Bengio et al. 2015, arXiv:1506.03099) in two passes instead of word by word (Mihaylova &
        Martins 2019, arXiv:1906.07651).
        """
        expected, _ = self._network.say(sight, given, self._network.begin(sight))
        own = self._network.scores(expected[:, :-1]).argmax(dim=2)
        share = self._config.own_words * self._step / self._steps
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
            sight = network.see(pixels)
            expected, _ = network.say(sight, shifted(labels), network.begin(sight))
            scores = network.scores(expected[labels != _IGNORED])
            total += functional.cross_entropy(scores, labels[labels != _IGNORED], reduction="sum").item()
            words += len(scores)
        return total / words

    def _compare(self, loss: float) -> None:
        """Remember the network as it stands if it is the best so far."""
        if self._best is None or loss < self._best[0]:
            state = {name: value.to("cpu", copy=True) for name, value in self._network.state_dict().items()}
            self._best = loss, self._epoch, state

    def _autocast(self) -> AbstractContextManager[Any]:
        wanted = self._context.dtype if self._config.precision == "auto" else self._config.precision
        if wanted == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self._context.device).type, dtype=getattr(torch, wanted))


def shifted(labels: torch.Tensor) -> torch.Tensor:
    """Return what the decoder is fed to say ``labels``, shape (n, t): START, then each label but the last."""
    start = torch.full_like(labels[:, :1], START)
    before = labels[:, :-1]
    return torch.cat([start, before.where(before != _IGNORED, torch.full_like(before, END))], dim=1)


@contextmanager
def _seeded(context: Context) -> Iterator[None]:
    """Draw first weights and dropout from the task's seed, and leave the caller's random numbers as they were."""
    devices = [context.device] if context.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(context.seed)
        yield
