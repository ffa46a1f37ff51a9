"""A head that starts as a linear map learned from texts: what the text tower knows, on the features of the images.

Said to be what the 7th place of "Stable Diffusion - Image to Prompts" did: a linear map from the features of CLIP's
text tower to the embeddings of the prompts, on those of its image tower, which lie in the same space. Their write-up
was not read; the map below, its scale, and how it is put into a head with BatchNorm and ReLU are ours.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from harness.models.clip_text import TEXTS_AT_ONCE, ClipText, load_clip_text, text_shape
from harness.plugin import EMBEDDING_DIM, InputError
from harness.training import l2_normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Context, TrainingData
    from harness_clipnet.config import ClipNetConfig

LEAST_WIDTH = 2 * EMBEDDING_DIM
_MOST = 50_000
"""Rows the map is learned from, at most; it has a few hundred thousand numbers, and their prompts are encoded."""
_PENALTIES = 10.0 ** np.arange(-4.0, 2.1, 0.5)
"""Of the ridge, in terms of the mean square of a text feature summed over the rows."""
_ROW = 3.0**-0.5
"""Length of a row of a linear layer as torch starts it, on average."""
_BLOCK = 8192


@dataclass(frozen=True)
class AffineStart:
    """From pooled outputs x to ``output + weight @ (x - centre)``.

    Parameters
    ----------
    weight
        Shape (384, hidden), float64.
    centre
        Mean of the training features, shape (hidden,), float64.
    output
        Mean of the training targets, shape (384,), float64.
    covariance
        Of the training features, shape (hidden, hidden), float64.
    """

    weight: NDArray[np.float64]
    centre: NDArray[np.float64]
    output: NDArray[np.float64]
    covariance: NDArray[np.float64]


def load_text(config: ClipNetConfig) -> ClipText:
    """Load the text tower. Raises ``InputError`` if there is none, or if the head is too narrow for the start."""
    if config.head_width < LEAST_WIDTH:
        raise InputError(
            f"clipnet.head_width={config.head_width}: clipnet.head_start=text needs two hidden units for each of the "
            f"{EMBEDDING_DIM} outputs; give at least {LEAST_WIDTH}"
        )
    return load_clip_text(config.tower, "clipnet.head_start=text", "clipnet.tower")


def text_memory(config: ClipNetConfig, hidden: int, rows: int) -> int:
    """Estimate the bytes that the start needs beside the network.

    Parameters
    ----------
    config, hidden
        Options, and the width of the tower's pooled output.
    rows
        Training rows whose features are in the same memory, 0 if none are.
    """
    shape = text_shape(config.tower)
    if shape is None:  # it is not here yet
        return 0
    weights, width, tokens = shape
    encoding = TEXTS_AT_ONCE * tokens * width * (2 + 2 * 4)  # residual stream, MLP before and after its activation
    learning = 8 * min(rows, _MOST) * (hidden + 3 * EMBEDDING_DIM)
    return 4 * rows * hidden + max(4 * (weights + encoding), learning)


def start_from_text(
    head: nn.Module,
    features: torch.Tensor,
    train: TrainingData,
    inside: NDArray[np.int64],
    text: ClipText,
    context: Context,
) -> None:
    """Put the map into an untrained head that starts as the mean, in place; it is learned from the rows inside alone.

    Parameters
    ----------
    head
        From ``build_head``.
    features
        Pooled outputs of the images of all training rows, shape (n, hidden), on the CPU.
    train, inside
        The rows of the fold, and positions of those that are trained on.
    text, context
        The text tower, and where it computes.
    """
    rng = np.random.default_rng((context.seed, 2))
    rows = inside if len(inside) <= _MOST else np.sort(rng.choice(inside, _MOST, replace=False))
    first: dict[tuple[str, ...], int] = {}
    for row in rows.tolist():
        first.setdefault(tuple(train.captions[row]), row)
    texts = _text_features(list(first), text, context)
    start = affine_start(
        texts, train.targets[list(first.values())], features.numpy(), train.targets, inside, rows, text.projection
    )
    if start is not None:
        put_affine(head, start)


def affine_start(
    texts: NDArray[Any],
    text_targets: NDArray[Any],
    features: NDArray[Any],
    targets: NDArray[Any],
    inside: NDArray[np.int64],
    rows: NDArray[np.int64],
    projection: torch.Tensor | None,
) -> AffineStart | None:
    """Learn the map. None where the images' features say nothing by it: then no scale above 0 helps.

    A ridge regression takes centred text features to centred targets. Images' features lie elsewhere in the shared
    space than texts' (the modality gap; Liang et al. 2022, arXiv:2203.02053) and are not of their length: they are
    centred on their own mean, and the map is scaled by the one number that leaves the least squares on the training
    images. That also shortens what it adds to the mean target by as much as an image says less than its prompt. Of a
    row of penalties the one is taken whose predictions from the training images have the highest mean cosine: the gap
    between texts and images is what the penalty has to suit. Two numbers in all are learned from the images.

    Parameters
    ----------
    texts, text_targets
        Unit text features of distinct training prompts, shape (m, d), and their targets, shape (m, 384).
    features, targets
        Of all training rows, shapes (n, hidden) and (n, 384).
    inside, rows
        Positions of what is trained on, and of those among them that scale and penalty are learned from.
    projection
        Shape (d, hidden), or None for the identity.
    """
    centre, covariance = _moments(features, inside)
    output = targets[inside].mean(axis=0, dtype=np.float64)
    project = np.eye(len(centre)) if projection is None else projection.double().numpy()
    t = texts.astype(np.float64) - texts.mean(axis=0, dtype=np.float64)
    y = text_targets.astype(np.float64) - text_targets.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(t.T @ t)
    crossed = vectors.T @ (t.T @ y)
    images = (features[rows].astype(np.float64) - centre) @ (project.T @ vectors)
    wanted = targets[rows].astype(np.float64)
    best, found = -np.inf, None
    for penalty in _PENALTIES * max(values.mean(), 1e-12):
        ridge = crossed / (np.maximum(values, 0.0) + penalty)[:, None]
        added = images @ ridge
        size = np.einsum("ij,ij->", added, added)
        scale = np.einsum("ij,ij->", added, wanted - output) / size if size > 0 else 0.0
        score = np.einsum("ij,ij->", l2_normalised(output + scale * added), wanted) / len(rows)
        if scale > 0 and score > best:
            best, found = score, scale * (project.T @ vectors @ ridge).T
    return None if found is None else AffineStart(found, centre, output, covariance)


@torch.no_grad()
def put_affine(head: nn.Module, start: AffineStart) -> None:
    """Let a head in evaluation mode be exactly the affine map, in place.

    Hidden units 0 to 383 are the rows of the map, 384 to 767 their negatives: ReLU(a) - ReLU(-a) = a. BatchNorm is
    calibrated on the training features, of all hidden units, and the last layer undoes it. The other hidden units keep
    their random weights, and add nothing until their last layer, zero at first, is trained. Rows of the first layer
    have the length that torch starts rows with, so that a learning rate means the same for all of them.
    """
    linear, norm, last = head[0], head[1], head[-1]
    lengths = np.linalg.norm(start.weight, axis=1)
    rows = _ROW * start.weight / np.maximum(lengths, 1e-30)[:, None]
    n = len(rows)
    weight = linear.weight.double().cpu().numpy()
    bias = linear.bias.double().cpu().numpy()
    weight[:n], weight[n : 2 * n] = rows, -rows
    weight = weight.astype(np.float32).astype(np.float64)  # as it will be
    bias[: 2 * n] = 0.0
    variance = np.einsum("ij,jk,ik->i", weight, start.covariance, weight, optimize=True).astype(np.float32)
    gain = lengths / _ROW * np.sqrt(variance[:n].astype(np.float64) + norm.eps)
    outward = np.zeros(last.weight.shape)
    outward[np.arange(n), np.arange(n)], outward[np.arange(n), n + np.arange(n)] = gain, -gain
    for into, value in (
        (linear.weight, weight),
        (linear.bias, bias),
        (norm.running_mean, weight @ start.centre + bias),
        (norm.running_var, variance),
        (last.weight, outward),
        (last.bias, start.output),
    ):
        into.copy_(torch.from_numpy(np.asarray(value, dtype=np.float32)))


def _moments(features: NDArray[Any], rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and covariance of some rows, in float64, a block at a time."""
    centre = features[rows].mean(axis=0, dtype=np.float64)
    total = np.zeros((len(centre), len(centre)))
    for start in range(0, len(rows), _BLOCK):
        part = features[rows[start : start + _BLOCK]].astype(np.float64) - centre
        total += part.T @ part
    return centre, total / (len(rows) - 1)


def _text_features(captions: list[tuple[str, ...]], text: ClipText, context: Context) -> NDArray[Any]:
    """Return the mean of the unit features of each row's texts, shape (m, d).

    A row's target is the mean of its texts' embeddings, made a unit row; a linear map takes means to means.
    """
    flat = [caption for row in captions for caption in row]
    digest = hashlib.sha256()
    for name, value in sorted(text.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    said = hashlib.sha256(repr(flat).encode()).hexdigest()

    def compute() -> NDArray[Any]:
        return text.encode(flat, context.device, lambda done, total: context.progress("prompts", done, total))

    rows = context.cached(["clipnet texts", "1", digest.hexdigest()[:16], said], compute)
    starts = np.cumsum([0, *(len(row) for row in captions[:-1])])
    sums = np.add.reduceat(rows.astype(np.float64), starts, axis=0)
    return sums / np.array([len(row) for row in captions])[:, None]
