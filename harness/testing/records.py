"""What became of a check, and the exception that says that the contract is not kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.errors import HarnessError

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


class ContractError(HarnessError):
    """The predictor does not keep the contract. ``came`` says what it did; ``mend`` is better advice if it is known."""

    def __init__(self, came: str, mend: str = "") -> None:
        super().__init__(came)
        self.came = came
        self.mend = mend
