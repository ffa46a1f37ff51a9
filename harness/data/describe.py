"""What a data set holds, in figures: for people and as a document."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from harness.data.dataset import Dataset
from harness.data.folds import DEFAULT_THRESHOLD, ThresholdRow, format_table, threshold_table
from harness.data.targets import PromptEncoder, row_targets


@dataclass(frozen=True)
class Description:
    """Figures of a data set.

    Parameters
    ----------
    captions
        Texts over all rows.
    distinct_texts, distinct_images
        How many differ.
    sources
        Rows by source.
    threshold
        The group threshold a run would use.
    thresholds
        What each threshold would mean; empty for a test set.
    """

    name: str
    layout: str
    location: str
    rows: int
    captions: int
    distinct_texts: int
    distinct_images: int
    sources: dict[str, int]
    own_groups: int | None
    fingerprint: str
    synthetic: bool
    threshold: float
    n_folds: int
    thresholds: list[ThresholdRow]

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return asdict(self)

    def text(self) -> str:
        """Return the figures as lines of text."""
        lines = [
            f"{self.name}: {self.layout} at {self.location}",
            f"fingerprint      {self.fingerprint}",
            f"rows             {self.rows}",
            f"distinct images  {self.distinct_images}",
        ]
        if self.captions:
            each = f" ({self.captions / self.rows:.3g} a row)" if self.captions != self.rows else ""
            lines += [f"texts            {self.captions}{each}, {self.distinct_texts} distinct"]
        else:
            lines += ["texts            none: usable as --test"]
        if self.sources:
            lines += ["sources          " + ", ".join(f"{name} {count}" for name, count in self.sources.items())]
        if self.own_groups is not None:
            lines += [f"own groups       {self.own_groups}: kept whole; the threshold only purges"]
        if self.synthetic:
            lines += ["synthetic: scores on it mean nothing for Stable Diffusion"]
        if self.thresholds:
            lines += ["", f"group thresholds for {self.n_folds} folds (a run would use {self.threshold:g}):"]
            lines += [format_table(self.thresholds)]
        return "\n".join(lines)


def describe_dataset(dataset: Dataset, encoder: PromptEncoder, *, n_folds: int, seed: int) -> Description:
    """Count what a data set holds, and what each group threshold would mean for it."""
    table: list[ThresholdRow] = []
    if dataset.has_texts:
        table = threshold_table(dataset, row_targets(dataset.texts, encoder), n_folds=n_folds, seed=seed)
    recommended = dataset.recommended_threshold
    return Description(
        name=dataset.name,
        layout=dataset.layout,
        location=dataset.location,
        rows=len(dataset),
        captions=sum(len(texts) for texts in dataset.texts),
        distinct_texts=len({text for texts in dataset.texts for text in texts}),
        distinct_images=len(set(dataset.digests)),
        sources=dict(sorted(Counter(dataset.sources or ()).items())),
        own_groups=None if dataset.groups is None else len(set(dataset.groups)),
        fingerprint=dataset.fingerprint,
        synthetic=dataset.synthetic,
        threshold=DEFAULT_THRESHOLD if recommended is None else recommended,
        n_folds=n_folds,
        thresholds=table,
    )
