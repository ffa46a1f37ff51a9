"""How many rows of each set or source stay: caps, shares of the whole, and a number in all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from harness.data.curating.selecting import Reason, Selection
from harness.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.curating.rows import JoinedRows


class Parts:
    """The rows by the names that caps and shares are given to: sets, and sources.

    Parameters
    ----------
    rows
        n rows of several sets.
    """

    def __init__(self, rows: JoinedRows) -> None:
        self._sets = [one.name for one in rows.sets]
        self._set_of = rows.set_of
        self._sources, self._source_of = rows.sources()

    def __len__(self) -> int:
        return len(self._set_of)

    @property
    def names(self) -> list[str]:
        """Every name that is known, sets first."""
        return list(dict.fromkeys([*self._sets, *self._sources]))

    def rows(self, name: str) -> NDArray[np.bool_]:
        """Return which rows are of a set or source, shape (n,)."""
        if name in self._sets:
            return self._set_of == self._sets.index(name)
        return self._source_of == self._sources.index(name)

    def refuse_unknown(self, option: str, names: Sequence[str]) -> None:
        """Raise ``InputError`` for a name that is neither a set's nor a source's."""
        for name in names:
            if name not in self.names:
                known = ", ".join(self.names[:20]) + (", …" if len(self.names) > 20 else "")
                raise InputError(f"{option} {name}: no set or source is called that; there are: {known}")


def apply_caps(selection: Selection, parts: Parts, caps: Mapping[str, int], chances: NDArray[np.uint64]) -> Selection:
    """Return the selection with no more rows of each named set or source than its cap; chance decides which stay.

    A source's cap is applied before that of its set.
    """
    parts.refuse_unknown("--cap", list(caps))
    for name in sorted(caps, key=lambda name: int(np.count_nonzero(parts.rows(name)))):
        rows = np.flatnonzero(parts.rows(name) & (selection.reason == Reason.KEPT))
        selection = selection.without(_over(rows, caps[name], chances), Reason.CAP)
    return selection


def apply_shares(
    selection: Selection,
    parts: Parts,
    shares: Mapping[str, Fraction],
    total: int | None,
    chances: NDArray[np.uint64],
) -> Selection:
    """Return the selection with the named sets or sources at their shares of the final rows.

    As many rows stay as the shares allow (or ``total``, if that is less): the largest N with share · N rows of each
    name at hand. Of N rows each name gets the whole part of share · N, and what is missing to N goes to the largest
    remainders, of equal ones to the name given first. Rows of no name are the rest. Chance decides which stay.

    Raises
    ------
    InputError
        For an unknown name, names that overlap, or shares that cannot be: over 1 in sum, or 1 in sum where rows of
        other names are at hand, or less than 1 where none are.
    """
    kept = selection.reason == Reason.KEPT
    own = share_rows(parts, shares)
    pools = {name: np.flatnonzero(rows & kept) for name, rows in own.items()}
    left = 1 - sum(shares.values(), Fraction(0))
    counts = share_counts(
        {**shares, "": left} if left else shares, {name: len(pool) for name, pool in pools.items()}, total
    )
    over = [_over(pool, counts.get(name, 0), chances) for name, pool in pools.items()]
    return selection.without(np.concatenate(over), Reason.SHARE)


def share_rows(parts: Parts, shares: Mapping[str, Fraction]) -> dict[str, NDArray[np.bool_]]:
    """Return the rows of each name with a share, and under the name "" all others.

    Raises
    ------
    InputError
        As ``apply_shares``.
    """
    parts.refuse_unknown("--share", list(shares))
    found: dict[str, NDArray[np.bool_]] = {}
    taken = np.zeros(len(parts), dtype=np.bool_)
    for name in shares:
        found[name] = parts.rows(name)
        if (taken & found[name]).any():
            raise InputError(f"--share {name}: its rows have another share already; name a set, or its sources")
        taken |= found[name]
    _refuse_impossible(shares, bool((~taken).any()))
    return {**found, "": ~taken}


def _refuse_impossible(shares: Mapping[str, Fraction], others: bool) -> None:
    left = 1 - sum(shares.values(), Fraction(0))
    told = ", ".join(f"{name}={float(share):g}" for name, share in shares.items())
    if left < 0:
        raise InputError(f"--share {told}: they are {float(1 - left):g} in sum, and may be 1; lower one")
    if left == 0 and others:
        raise InputError(
            f"--share {told}: they are 1 in sum, and nothing is left for the other sets; lower one, or leave those out"
        )
    if left > 0 and not others:
        raise InputError(
            f"--share {told}: they are {float(1 - left):g} in sum, and there are no other rows; make them 1 in sum"
        )


def share_counts(shares: Mapping[str, Fraction], at_hand: Mapping[str, int], total: int | None) -> dict[str, int]:
    """Return how many rows each name gets: of the largest N, by the method of largest remainders (Hamilton).

    Parameters
    ----------
    shares
        1 in sum.
    at_hand
        Rows of each name.
    total
        N at most.
    """
    n = min(math.floor(at_hand[name] / share) for name, share in shares.items() if share > 0)
    if total is not None:
        n = min(n, total)
    counts = {name: math.floor(share * n) for name, share in shares.items()}
    remainder = {name: share * n - counts[name] for name, share in shares.items()}
    for name in sorted(remainder, key=lambda name: -remainder[name])[: n - sum(counts.values())]:
        counts[name] += 1
    return counts


def _over(rows: NDArray[np.int64], count: int, chances: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the rows beyond ``count``, those that chance put last."""
    return rows[np.lexsort((rows, chances[rows]))[count:]]
