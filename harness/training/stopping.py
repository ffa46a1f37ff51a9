"""When training ends: the best epoch so far, and a loss that is no longer a number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError

if TYPE_CHECKING:
    import torch


class BestEpoch:
    """Keeps the weights of the epoch with the best inner score, and says when to stop waiting for a better one.

    Parameters
    ----------
    patience
        Epochs in a row without a better score after which to stop; 0 never stops.

    Attributes
    ----------
    score
        The best so far, or None.
    state
        A copy of the weights that had it, on the CPU, or None.
    """

    def __init__(self, patience: int = 0) -> None:
        self._patience = patience
        self._waited = 0
        self.score: float | None = None
        self.state: dict[str, torch.Tensor] | None = None

    def compare(self, score: float, state: Mapping[str, torch.Tensor]) -> None:
        """Take in the score of one more epoch, the higher the better, and copy its weights if it is the best.

        The score must be of rows that are not trained on and not of the fold that the predictor is judged on: see
        `inner_split`.
        """
        if self.score is None or score > self.score:
            self.score, self._waited = score, 0
            self.state = {name: value.to("cpu", copy=True) for name, value in state.items()}
        else:
            self._waited += 1

    def checkpoint(self) -> dict[str, Any]:
        """Return what it knows, for a checkpoint."""
        return {"waited": self._waited, "score": self.score, "state": self.state}

    def restore(self, known: dict[str, Any]) -> None:
        """Take up what ``checkpoint`` gave."""
        self._waited, self.score, self.state = known["waited"], known["score"], known["state"]

    @property
    def patience_is_over(self) -> bool:
        """Whether to stop."""
        return 0 < self._patience <= self._waited


def check_loss(loss: float, predictor: str, when: str, mend: str) -> None:
    """Raise ``HarnessError`` if a loss is infinite or not a number.

    Parameters
    ----------
    loss
        Of one step or the mean of several.
    predictor, when, mend
        For the message: ``cnnrnn``, ``step 12``, ``lower cnnrnn.lr``.
    """
    if not math.isfinite(loss):
        raise HarnessError(f"{predictor}: the loss became {loss} at {when}; {mend}")
