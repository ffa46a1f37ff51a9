"""Captions out of a captioner: its most probable ones, by beam search, or draws from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness_cnnrnn.network import Captioner, ImageFeatures, chosen
from harness_cnnrnn.vocabulary import END, MARKS, START, UNKNOWN

_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Caption:
    """Numbers of the words said, without marks, and the log-probability of having said them (and then END)."""

    words: tuple[int, ...]
    score: float


class _Hypotheses:
    """Captions in the making: k of them for each of n images, held as n * k rows."""

    def __init__(self, network: Captioner, features: ImageFeatures, count: int) -> None:
        self._network, self._features = network, features.repeat(count)
        self._state = network.first_state(self._features)
        rows, device = len(self._features.mean), features.mean.device
        self.count = count
        self.words = torch.zeros(rows, 0, dtype=torch.int64, device=device)
        self.done = torch.zeros(rows, dtype=torch.bool, device=device)
        self.score = torch.zeros(rows, device=device)
        self._last = torch.full((rows,), START, device=device)

    def expect(self) -> torch.Tensor:
        """Return log-probabilities of what each row says next, shape (n * k, words).

        Nobody says START or UNKNOWN, or nothing at all where there are words; who is done says END for certain.
        """
        expected, self._state = self._network.decode(self._features, self._last.unsqueeze(1), self._state)
        scores = self._network.scores(expected[:, 0]).float()
        scores[:, [START, UNKNOWN]] = _NEVER
        if self.words.shape[1] == 0 and scores.shape[1] > MARKS:
            scores[:, END] = _NEVER
        known = scores.log_softmax(dim=1)
        known[self.done] = _NEVER
        known[self.done, END] = 0.0
        return known

    def extend(self, words: torch.Tensor, scores: torch.Tensor, origins: torch.Tensor | None = None) -> None:
        """Say one word more in each row; ``origins`` are the rows that the new ones continue, if not themselves."""
        if origins is not None:
            self._state = chosen(self._state, origins)
            self.words, self.done = self.words[origins], self.done[origins]
        self.words = torch.cat([self.words, words.unsqueeze(1)], dim=1)
        self.done = self.done | (words == END)
        self.score, self._last = scores, words

    def lengths(self) -> torch.Tensor:
        """Return how many words each row has, END included."""
        return (self.words != END).sum(dim=1) + self.done

    def captions(self) -> list[list[Caption]]:
        """Return k captions an image, in the order of the rows."""
        said = [tuple(number for number in row if number != END) for row in self.words.tolist()]
        rows = [Caption(*pair) for pair in zip(said, self.score.tolist(), strict=True)]
        return [rows[start : start + self.count] for start in range(0, len(rows), self.count)]


@torch.inference_mode()
def beam_search(
    network: Captioner, features: ImageFeatures, *, beams: int, words: int, length_penalty: float = 0.0
) -> list[list[Caption]]:
    """Keep the ``beams`` best hypotheses at each word.

    A finished caption stays among them until better ones displace it, and what is unfinished after ``words`` words is
    cut there. With as many beams as there are captions this is exhaustive.

    Parameters
    ----------
    network
        In evaluation mode.
    features
        Of n images.
    beams, words
        Width of the search, and most words of a caption.
    length_penalty
        Hypotheses compete by log-probability / length ** this (Wu et al. 2016, arXiv:1609.08144, without its
        constants), END counted.

    Returns
    -------
    list of n lists of Caption
        Best first; fewer than ``beams`` where so many do not exist. Scores are plain log-probabilities.
    """
    hypotheses = _Hypotheses(network, features, beams)
    n = len(features.mean)
    hypotheses.score.view(n, beams)[:, 1:] = _NEVER  # all rows of an image start alike: only one may speak
    first = torch.arange(n, device=hypotheses.score.device).unsqueeze(1) * beams
    for _ in range(words):
        known = hypotheses.expect()
        size = known.shape[1]
        total = hypotheses.score.unsqueeze(1) + known
        length = (hypotheses.lengths() + ~hypotheses.done).clamp(min=1).unsqueeze(1)
        best = (total / length**length_penalty).view(n, -1).topk(beams, dim=1).indices
        origins = (first + best // size).view(-1)
        hypotheses.extend((best % size).view(-1), total.view(n, -1).gather(1, best).view(-1), origins)
        if hypotheses.done.all():
            break
    return [[caption for caption in found if caption.score > _NEVER] for found in hypotheses.captions()]


@torch.inference_mode()
def draw_captions(
    network: Captioner, features: ImageFeatures, *, count: int, words: int, temperature: float, seed: int
) -> list[list[Caption]]:
    """Draw captions from the network: what it believes, where beam search finds what it says most easily.

    Drawn by adding Gumbel noise to the log-probabilities and taking the largest sum. The noise is the same for all
    images: what is said of an image depends on the seed, and neither on its place nor on its company.

    Parameters
    ----------
    network
        In evaluation mode.
    features
        Of n images.
    count, words
        Captions an image, and most words of a caption.
    temperature
        Divides the log-probabilities before the draw.
    seed
        Of the noise.

    Returns
    -------
    list of n lists of Caption
        ``count`` each, in no order.
    """
    hypotheses = _Hypotheses(network, features, count)
    n, generator = len(features.mean), torch.Generator().manual_seed(seed)
    for _ in range(words):
        known = hypotheses.expect()
        noise = -torch.empty(count, known.shape[1]).exponential_(generator=generator).log()
        said = (known / temperature + noise.to(known.device).repeat(n, 1)).argmax(dim=1)
        hypotheses.extend(said, hypotheses.score + known.gather(1, said.unsqueeze(1)).squeeze(1))
        if hypotheses.done.all():
            break
    return hypotheses.captions()
