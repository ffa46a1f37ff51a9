"""The network: a CNN that sees, a recurrent decoder that speaks.

Show and Tell (Vinyals et al. 2015, arXiv:1411.4555) in three strokes: the CNN's features start the recurrent cell,
each word is predicted from the words before, and in training those are the true ones. Beside it every word sees the
image again after the cell, which few rows need (the "merge" of Tanti et al. 2018, arXiv:1703.09137): as the mean over
all places, or, with attention (Xu et al. 2015, arXiv:1502.03044), as a mean whose weights the word chooses. The cell
does not need to know what was attended to (Luong et al. 2015, arXiv:1508.04025), so a whole sentence takes one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from harness.plugin import EMBEDDING_DIM
from harness_cnnrnn.encoder import build_encoder

if TYPE_CHECKING:
    from harness_cnnrnn.config import CnnRnnConfig

State = tuple[torch.Tensor, ...]
"""Of the recurrent cell: one tensor of a GRU, two of an LSTM, each of shape (1, n, width)."""


class ImageFeatures(NamedTuple):
    """Features of n images: of p places each, shape (n, p, d), and their mean, shape (n, d)."""

    places: torch.Tensor
    mean: torch.Tensor

    def repeat(self, times: int) -> ImageFeatures:
        """Return each image ``times`` times in a row, for as many captions."""
        return ImageFeatures(*(part.repeat_interleave(times, dim=0) for part in self))


class Captioner(nn.Module):
    """A CNN and a decoder over ``words`` numbers.

    Parameters
    ----------
    config
        What the network is.
    words
        Size of the vocabulary, marks included.
    pretrained
        Fetch the backbone's weights; otherwise they are overwritten later.
    """

    def __init__(self, config: CnnRnnConfig, words: int, *, pretrained: bool = True) -> None:
        super().__init__()
        self.encoder = build_encoder(config, pretrained=pretrained)
        seen = self.encoder.features
        self.words = nn.Embedding(words, config.embedding)
        nn.init.normal_(self.words.weight, std=config.embedding**-0.5)
        self.bias = nn.Parameter(torch.zeros(words))
        cell = nn.LSTM if config.cell == "lstm" else nn.GRU
        self.start = nn.Linear(seen, config.width * (2 if config.cell == "lstm" else 1))
        self.shown = nn.Linear(seen, config.embedding)
        self.cell = cell(config.embedding, config.width, batch_first=True)
        self.query = nn.Linear(config.width, seen, bias=False) if config.attention else None
        self.out = nn.Linear(config.width + seen, config.embedding)
        self.guess = nn.Linear(seen, EMBEDDING_DIM) if config.embedding_loss else None
        self.dropout = nn.Dropout(config.dropout)

    def encode(self, pixels: torch.Tensor) -> ImageFeatures:
        """Return the features of images, shape (n, 3, s, s), values 0..1."""
        places = self.dropout(self.encoder(pixels).flatten(2).transpose(1, 2))
        return ImageFeatures(places, places.mean(dim=1))

    def first_state(self, features: ImageFeatures) -> State:
        """Return the state of the cell from which an image's caption starts."""
        parts = torch.tanh(self.start(features.mean)).chunk(2 if isinstance(self.cell, nn.LSTM) else 1, dim=1)
        return tuple(part.unsqueeze(0).contiguous() for part in parts)

    def decode(self, features: ImageFeatures, given: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Take in words, and return what is to be expected after each.

        Parameters
        ----------
        features
            Of n images.
        given
            Numbers of t words each, shape (n, t), int64.
        state
            Before them.

        Returns
        -------
        expected, state
            Shape (n, t, embedding), and the state after the words. ``scores`` turns the first into words.
        """
        inputs = self.dropout(self.words(given) + self.shown(features.mean).unsqueeze(1))
        outputs, after = self.cell(inputs, state if len(state) > 1 else state[0])
        looked = self._look(features, outputs)
        expected = torch.tanh(self.out(torch.cat([self.dropout(outputs), looked], dim=2)))
        return self.dropout(expected), after if isinstance(after, tuple) else (after,)

    def scores(self, expected: torch.Tensor) -> torch.Tensor:
        """Return unnormalised log-probabilities of all words: shape (..., embedding) to (..., words)."""
        return expected @ self.words.weight.T + self.bias

    def _look(self, features: ImageFeatures, outputs: torch.Tensor) -> torch.Tensor:
        """Return what each of t words sees of its image, shape (n, t, d)."""
        if self.query is None:
            return features.mean.unsqueeze(1).expand(-1, outputs.shape[1], -1)
        likeness = self.query(outputs) @ features.places.transpose(1, 2) / features.places.shape[2] ** 0.5
        return likeness.softmax(dim=2) @ features.places


def chosen(state: State, rows: torch.Tensor) -> State:
    """Return the state of some rows, in that order."""
    return tuple(part[:, rows] for part in state)
