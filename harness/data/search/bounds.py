"""Upper bounds of all cosines from one product of low precision, and how far below the threshold they stay.

A row x is turned onto the principal axes of the table, z = Q'x, which changes no cosine. Of z, the first k coordinates
are kept, rounded to bfloat16 (or float16, float32), and of the rest only its length r. Then by Cauchy and Schwarz

    x.y <= [z_1 ... z_k, r_x] . [z_1 ... z_k, r_y] + what rounding took,

and the last term has a bound that is known: rounding errors are computed in float64 when the table is made. Further
columns take the threshold off, so that a pair is near only if its product is not negative: one sign tells, and a
product near zero has all the digits that its format can give. Rows between which nothing is to be learned any more
(`settle`) have columns that raise the threshold for pairs of them, and of them alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

MARGIN = 1e-6
"""Subtracted from a threshold, so that the rounding of a target to float32 never lets a pair at the threshold pass."""
_SAMPLE = 4096
_COMPARED = 1024
_NEVER = 4.0  # taken off a cosine, leaves less than any threshold
_CHUNK = 16_384
_WIDTHS = (64, 96, 128, 192, 256, 416)


@dataclass
class Bounds:
    """A table of n rows, the product of any two of which (one side times ``signs``) bounds their cosine.

    Parameters
    ----------
    table
        Shape (n, width): k coordinates, the length of the rest, two ones, and whether the row is settled at each
        threshold; bfloat16, float16 or float32, on any device.
    signs
        What the columns of one side are multiplied by, shape (width,).
    levels
        Thresholds less ``MARGIN``, ascending, shape (t,), float64.
    """

    table: torch.Tensor
    signs: torch.Tensor
    levels: NDArray[np.float64]
    slack: float
    """How far, at most, a product lies below the cosine."""

    def lowered(self, cosines: NDArray[np.float64]) -> torch.Tensor:
        """Return what two columns take off for a threshold a row, less the slack, shape (len(cosines), 2)."""
        import torch

        return in_two(torch.from_numpy(cosines - self.slack), self.table.dtype)

    def settle(self, settled: NDArray[np.int8]) -> None:
        """Raise the threshold between any two rows that are both settled at the first s thresholds to the next one."""
        import torch

        first = self.table.shape[1] - len(self.levels)
        for k in range(len(self.levels)):
            column = torch.from_numpy(settled > k).to(self.table.device)
            self.table[:, first + k] = column.to(self.table.dtype)


def principal_axes(vectors: NDArray[np.float32], rows: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Return an orthonormal basis, shape (d, d), a column an axis: those that hold most of a sample's squares first."""
    from threadpoolctl import threadpool_limits

    sample = sample_of(vectors, rows, _SAMPLE).astype(np.float64)
    with threadpool_limits(1, "blas"):  # steps this small wait for each other longer than they take
        _, axes = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(axes[:, ::-1])


def choose_width(
    vectors: NDArray[np.float32],
    axes: NDArray[np.float64],
    least: float,
    thresholds: int,
    *,
    a_column: float,
    a_pair: float,
    rows: NDArray[np.int64] | None = None,
) -> int:
    """Return how many columns cost least: few are multiplied fast, and let more pairs pass.

    Parameters
    ----------
    least
        The lowest threshold.
    thresholds
        How many there are.
    a_column, a_pair
        Time of a column of all products, and of the check of all pairs, in any unit.
    """
    turned = sample_of(vectors, rows, _COMPARED) @ axes.astype(np.float32)
    near = turned @ turned.T >= least
    np.fill_diagonal(near, False)
    pairs = max(1, len(turned) * (len(turned) - 1))
    price = {}
    for width in _WIDTHS:
        k = kept_columns(width, thresholds, vectors.shape[1])
        rest = np.linalg.norm(turned[:, k:], axis=1)
        bound = turned[:, :k] @ turned[:, :k].T + np.outer(rest, rest)
        np.fill_diagonal(bound, -1.0)
        # Pairs that are near have to be checked however many columns there are.
        passed = (bound >= least - 0.004) & ~near
        price[width] = width * a_column + passed.sum() / pairs * a_pair
        if k == vectors.shape[1]:
            break
    return min(price, key=price.__getitem__)


def make_bounds(
    vectors: NDArray[np.float32],
    axes: NDArray[np.float64],
    thresholds: Sequence[float],
    width: int,
    dtype: torch.dtype,
    *,
    device: str = "cpu",
    home: str = "cpu",
    rows: NDArray[np.int64] | None = None,
) -> Bounds:
    """Make the table, a chunk at a time.

    Parameters
    ----------
    vectors
        Rows of about unit length, shape (n, d), float32.
    axes
        Orthonormal basis, shape (d, d).
    thresholds
        Ascending.
    device, home
        Where it is computed, and where it is kept.
    rows
        Which rows take part; None: all.
    """
    import torch

    levels = np.asarray(thresholds, dtype=np.float64) - MARGIN
    n = len(vectors) if rows is None else len(rows)
    k = kept_columns(width, len(levels), vectors.shape[1])
    width = k + 3 + len(levels)
    table = torch.zeros((n, width), dtype=dtype, device=home)
    errs = Errs()
    for start in range(0, n, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        part = vectors[chunk] if rows is None else vectors[rows[chunk]]
        rounded, _, err = _rounded(part, torch.from_numpy(axes[:, :k]).to(device), dtype)
        table[chunk, : k + 1] = rounded.to(home)
        errs = errs.or_more(err)
    table[:, k + 1 : k + 3] = 1
    slack = slack_of(errs, errs, width)
    off = in_two(torch.from_numpy(levels[:1] - slack), dtype)[0]
    steps = _down(torch.tensor([*np.diff(levels).tolist(), _NEVER], dtype=torch.float64), dtype)
    signs = torch.cat([torch.ones(k + 1, dtype=dtype), -off, -steps])
    return Bounds(table, signs, levels, slack)


class Errs(NamedTuple):
    """The most that rows of low precision err by, and how long they and their rests are."""

    error: float = 0.0
    length: float = 0.0
    rest: float = 0.0

    def or_more(self, other: Errs) -> Errs:
        """Return the most of both."""
        return Errs(*map(max, self, other))


class Rounded(NamedTuple):
    """Rows of low precision: k coordinates, the length of the rest and room for two columns, shape (n, k + 3).

    With that length, shape (n,), and what the rows err by.
    """

    rows: torch.Tensor
    rest: NDArray[np.float32]
    errs: Errs


def rounded_rows(
    vectors: NDArray[np.float32], axes: NDArray[np.float64], k: int, dtype: torch.dtype, last: float
) -> Rounded:
    """Return rows on the first k axes, a chunk at a time; the last two columns are filled with a number."""
    import torch

    # With all its columns from the start: there is no room for another one of a large table.
    table = torch.full((len(vectors), k + 3), last, dtype=dtype)
    rest = np.empty(len(vectors), dtype=np.float32)
    errs, basis = Errs(), torch.from_numpy(axes[:, :k])
    for start in range(0, len(vectors), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        table[chunk, : k + 1], rest[chunk], err = _rounded(vectors[chunk], basis, dtype)
        errs = errs.or_more(err)
    return Rounded(table, rest, errs)


def _rounded(part: NDArray[np.float32], basis: torch.Tensor, dtype: torch.dtype) -> Rounded:
    import torch

    eps, tiny = torch.finfo(dtype).eps, torch.finfo(dtype).tiny
    rows = torch.from_numpy(np.array(part)).to(basis.device).double()
    turned = rows @ basis
    rounded = turned.to(dtype)
    # What all axes hold is the length of the row. Differences of squares err by less than is added under the root.
    left = (rows.square().sum(dim=1) - turned.square().sum(dim=1)).clamp_min(0).add(1e-12).sqrt()
    up = (left * (1 + eps) + tiny).to(dtype)
    errs = Errs(
        float((turned - rounded.double()).norm(dim=1).max()),
        float(rounded.double().norm(dim=1).max()),
        float(left.max()) * (1 + 2 * eps),
    )
    return Rounded(torch.cat([rounded, up[:, None]], dim=1), up.float().cpu().numpy(), errs)


def slack_of(left: Errs, right: Errs, width: int) -> float:
    """Return how far, at most, a product of rows of two tables lies below what they would have without rounding."""
    # Sums are taken in float32, in any order, and by tensor cores with fewer guard digits than IEEE has: 2 ** -22 for
    # each of the terms is more than any of them errs.
    rounding = left.error * right.length + right.error * left.length + left.error * right.error
    return rounding + (width + 8) * 2.0**-22 * (left.length * right.length + left.rest * right.rest + 2) + 1e-6


def kept_columns(width: int, thresholds: int, dim: int) -> int:
    """Return how many coordinates a table of some width has room for, beside what each of its rows needs."""
    return min(dim, max(1, width - 3 - thresholds))


def in_two(numbers: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Write numbers as the sum of two of a format, shape (len, 2), which is no more than they are."""
    import torch

    high = numbers.to(dtype)
    return torch.stack([high, _down(numbers - high.double(), dtype)], dim=1)


def _down(numbers: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Round down to what a format can hold."""
    import torch

    info = torch.finfo(dtype)
    return (numbers - numbers.abs() * info.eps - info.tiny).to(dtype)


def sample_of(vectors: NDArray[np.float32], rows: NDArray[np.int64] | None, most: int) -> NDArray[np.float32]:
    """Return about ``most`` rows, as far from each other as they lie."""
    n = len(vectors) if rows is None else len(rows)
    chosen = np.arange(0, n, max(1, n // most))
    return vectors[chosen if rows is None else rows[chosen]]
