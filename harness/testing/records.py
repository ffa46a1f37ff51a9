"""What a check is, and what became of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.testing.bench import Bench

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """What became of one check.

    Parameters
    ----------
    name
        The check.
    status
        ``passed``, ``failed`` or ``skipped``.
    expected
        What the contract asks.
    came
        What the predictor did; empty unless it failed.
    mend
        How to mend it; empty unless it failed.
    reason
        Why the check was skipped; empty otherwise.
    seconds
        Wall time.
    """

    name: str
    status: Status
    expected: str
    came: str = ""
    mend: str = ""
    reason: str = ""
    seconds: float = 0.0

    def describe(self) -> str:
        """Return the record in words, over several lines if the check failed."""
        if self.status == "failed":
            return f"{self.name} failed\n  expected: {self.expected}\n  came:     {self.came}\n  mend:     {self.mend}"
        return f"{self.name} {self.status}" + (f": {self.reason}" if self.reason else "")


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
        Raises ``Broken`` if the contract is not kept; whatever else a predictor raises in it counts as well.
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
    function: Callable[[Bench], None]
    needs: tuple[str, ...] = ()
    only: Literal["trainable", "untrained", "both"] = "both"
    untouched: bool = False
    spoils: bool = False


class Broken(HarnessError):  # noqa: N818 - it is the contract that is broken
    """The predictor does not keep the contract. ``came`` says what it did; ``mend`` is better advice if it is known."""

    def __init__(self, came: str, mend: str = "") -> None:
        super().__init__(came)
        self.came = came
        self.mend = mend


_REGISTRY: dict[str, Check] = {}


def check(
    name: str,
    *,
    expected: str,
    mend: str,
    needs: tuple[str, ...] = (),
    only: Literal["trainable", "untrained", "both"] = "both",
    untouched: bool = False,
    spoils: bool = False,
) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Register a function as a check; the arguments are those of ``Check``."""

    def register(function: Callable[[Bench], None]) -> Callable[[Bench], None]:
        if name in _REGISTRY:
            raise ValueError(f"two checks are called {name}")
        _REGISTRY[name] = Check(name, expected, mend, function, needs, only, untouched, spoils)
        return function

    return register


def registered() -> dict[str, Check]:
    """Return all checks by name: first those in an untouched process, last those that spoil theirs."""
    import harness.testing.checks  # noqa: F401 - registers them

    return dict(sorted(_REGISTRY.items(), key=lambda item: (not item[1].untouched, item[1].spoils)))
