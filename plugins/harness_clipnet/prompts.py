"""The training prompts nearest to a predicted embedding: what ``explain`` says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.plugin import Explanation

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1024


class PromptTable:
    """Distinct prompts with their embeddings.

    Parameters
    ----------
    prompts
        n texts.
    embeddings
        Unit rows, shape (n, 384). Half precision: cosines are right to three decimals, at half the disk.
    """

    def __init__(self, prompts: Sequence[str], embeddings: NDArray[np.float16]) -> None:
        self._prompts = list(prompts)
        self._embeddings = embeddings

    @classmethod
    def of_training(cls, prompts: Sequence[str], targets: NDArray[np.float32], limit: int, seed: int) -> PromptTable:
        """Keep each prompt once, and at most ``limit`` of them, chosen by the seed."""
        first: dict[str, int] = {}
        for i, prompt in enumerate(prompts):
            first.setdefault(prompt, i)
        rows = np.array(list(first.values()), dtype=np.int64)
        if len(rows) > limit:
            rows = np.sort(np.random.default_rng(seed).choice(rows, size=limit, replace=False))
        return cls([prompts[i] for i in rows], targets[rows].astype(np.float16))

    def nearest(self, predictions: NDArray[np.float32], count: int) -> list[list[Explanation]]:
        """Return the ``count`` prompts of highest cosine with each unit prediction, shape (m, 384), best first."""
        count = min(count, len(self._prompts))
        if count == 0:
            return [[] for _ in predictions]
        table = self._embeddings.astype(np.float32)
        found = []
        for start in range(0, len(predictions), _BLOCK):
            cosines = predictions[start : start + _BLOCK] @ table.T
            best = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
            for row, columns in zip(cosines, best, strict=True):
                ordered = sorted(columns.tolist(), key=lambda j: (-row[j], j))
                found.append([Explanation("prompt", self._prompts[j], float(row[j])) for j in ordered])
        return found

    def save(self, folder: Path) -> None:
        """Write ``prompts.json`` and ``prompts.safetensors``."""
        from safetensors.numpy import save_file

        (folder / "prompts.json").write_text(json.dumps(self._prompts, ensure_ascii=False), encoding="utf-8")
        save_file({"embeddings": self._embeddings}, str(folder / "prompts.safetensors"))

    @classmethod
    def load(cls, folder: Path) -> PromptTable:
        """Read what ``save`` wrote."""
        from safetensors.numpy import load_file

        prompts = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
        return cls(prompts, load_file(str(folder / "prompts.safetensors"))["embeddings"])
