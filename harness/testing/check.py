"""What a check is, and the decorator that makes one of a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.testing.subject import Subject

Kind = Literal["trainable", "untrained"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the contract asks of a predictor.

    Parameters
    ----------
    name
        What it is called in tables, test ids and options.
    expected, mend
        What the contract asks, and how to mend what does not keep it.
    function
        Raises ``ContractError`` if the contract is not kept; whatever else a predictor raises in it counts as well.
    needs
        Checks that must have passed, since without them this one cannot tell.
    only
        ``trainable`` or ``untrained`` if it does not apply to the other kind.
    untouched
        Whether it must run in a process in which the predictor has done nothing yet.
    spoils
        Whether the process is of no use to other checks if this one fails.
    """

    name: str
    expected: str
    mend: str
    function: Callable[[Subject], None]
    needs: tuple[str, ...] = ()
    only: Literal[Kind, "both"] = "both"
    untouched: bool = False
    spoils: bool = False

    def applies_to(self, kind: Kind) -> bool:
        """Whether the contract asks this of predictors of a kind."""
        return self.only in ("both", kind)


def check(
    name: str,
    *,
    expected: str,
    mend: str,
    needs: tuple[str, ...] = (),
    only: Literal[Kind, "both"] = "both",
    untouched: bool = False,
    spoils: bool = False,
) -> Callable[[Callable[[Subject], None]], Check]:
    """Make a check of a function; the arguments are those of ``Check``."""

    def made(function: Callable[[Subject], None]) -> Check:
        return Check(name, expected, mend, function, needs, only, untouched, spoils)

    return made
