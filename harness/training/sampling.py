"""Which rows are trained on, in which order, and how images are varied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


_WINDOW = 16
"""Blocks among which rows are shuffled."""


def epoch_batches(
    rows: int, batch_size: int, seed: int | Sequence[int] | np.random.Generator, block: int = 0
) -> NDArray[np.int64]:
    """Return a random order of row positions as batches, shape (steps, batch_size), int64.

    What does not fill a batch is left out of this pass: BatchNorm has no statistics of one or two rows.

    Parameters
    ----------
    rows
        How many there are to choose from, at least ``batch_size``.
    batch_size
        At least 1.
    seed
        Of the order, such as ``(context.seed, epoch)``; or a generator, which is drawn from.
    block
        If given, so many neighbours stay near each other, so that a shard in which they lie is read here and there
        instead of everywhere at once: blocks of them are shuffled, and then the rows of each sixteen blocks. 0: any row
        may follow any other.
    """
    import numpy as np

    steps = rows // batch_size
    rng = np.random.default_rng(seed)
    order = rng.permutation(rows) if not block else _blockwise(rows, block, rng)
    return order[: steps * batch_size].reshape(steps, batch_size)


def _blockwise(rows: int, block: int, rng: np.random.Generator) -> NDArray[np.int64]:
    import numpy as np

    position = np.arange(rows)
    turn = rng.permutation(-(-rows // block))  # when each block has its turn
    order = np.argsort(turn[position // block], kind="stable")
    found: NDArray[np.int64] = order[np.lexsort((rng.random(rows), position // (_WINDOW * block)))]
    return found


def at_most(labels: NDArray[np.int64], most: int, seed: int | Sequence[int] | np.random.Generator) -> NDArray[np.int64]:
    """Return the positions of ``most`` random rows of each label, or of all that it has, ascending, int64.

    Parameters
    ----------
    labels
        Shape (n,); of rows of which too many are alike, as those of one prompt or one source.
    most
        At least 1.
    seed
        Of the choice, such as ``(context.seed, epoch)``: other rows each pass; or a generator, which is drawn from.
    """
    import numpy as np

    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    place = np.arange(len(labels)) - np.repeat(starts, counts)
    found: NDArray[np.int64] = np.sort(order[place < most])
    return found


def one_of_each(labels: NDArray[np.int64], seed: int | Sequence[int] | np.random.Generator) -> NDArray[np.int64]:
    """Return the position of one random row of each label, in the order of the labels, shape (distinct,), int64.

    Parameters
    ----------
    labels
        Shape (n,); rows with the same one stand in for each other, as the images of one prompt do.
    seed
        Of the choice, such as ``(context.seed, epoch)``; or a generator, which is drawn from.
    """
    import numpy as np

    shuffled = np.random.default_rng(seed).permutation(len(labels))
    first: NDArray[np.int64] = np.unique(labels[shuffled], return_index=True)[1]
    return shuffled[first]


def random_crops(pixels: torch.Tensor, drawn: torch.Tensor, crop_min: float) -> torch.Tensor:
    """Crop a random square out of each image and resize it to the image's size, bilinearly.

    On a whole batch, from numbers drawn beforehand: what comes out depends on them alone, never on which loader
    thread came first.

    Parameters
    ----------
    pixels
        Shape (n, 3, s, s), floating point.
    drawn
        Uniform on 0..1, shape (3, n): of each image the side of the crop, and its place across and down.
    crop_min
        Least side of a crop as a share of s, above 0; 1 returns the images as they are.

    Returns
    -------
    Tensor of the shape, dtype and device of ``pixels``
    """
    import torch
    from torch.nn import functional

    if crop_min >= 1.0:
        return pixels
    n = len(pixels)
    drawn = drawn.to(pixels.device, non_blocking=True)  # else each step would wait for the GPU
    side = crop_min + (1.0 - crop_min) * drawn[0]
    theta = torch.zeros(n, 2, 3, device=drawn.device)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = ((1.0 - side) * (2.0 * drawn[1:] - 1.0)).T
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
