"""Which rows are trained on, in which order, and how images are varied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


def inner_split(groups: NDArray[np.int64], share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide a fold's training rows into those trained on and those held out to choose options or stop early.

    No group is on both sides, for the same reason as with the folds: rows of a group say nearly the same.

    Parameters
    ----------
    groups
        Group of each row, shape (n,): ``train.groups``.
    share
        Of the rows that should be held out, 0 to 0.5; nearly met, as groups are whole. 0 holds none out.

    Returns
    -------
    inside, outside
        Sorted row positions, int64. With fewer than two groups nothing can be held out, and ``outside`` is empty.
    """
    import numpy as np

    everything = np.arange(len(groups))
    folds = 0 if share == 0.0 else min(round(1.0 / share), len(np.unique(groups)))
    if folds < 2:
        return everything, everything[:0]
    from sklearn.model_selection import GroupKFold

    # The folds are balanced, but a group larger than a fold has the first: the last one keeps to the share.
    *_, (inside, outside) = GroupKFold(folds).split(everything, groups=groups)
    return inside, outside


def epoch_batches(rows: int, batch_size: int, seed: int | Sequence[int] | np.random.Generator) -> NDArray[np.int64]:
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
    """
    import numpy as np

    steps = rows // batch_size
    order = np.random.default_rng(seed).permutation(rows)
    return order[: steps * batch_size].reshape(steps, batch_size)


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
    side = crop_min + (1.0 - crop_min) * drawn[0]
    theta = torch.zeros(n, 2, 3, device=drawn.device)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = ((1.0 - side) * (2.0 * drawn[1:] - 1.0)).T
    grid = functional.affine_grid(theta.to(pixels.device), list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
