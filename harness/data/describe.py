"""What a data set holds, in figures: for people and as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.data.columns import CaptionColumn, count_distinct
from harness.data.copies import link_copies
from harness.data.dataset import Dataset
from harness.data.folds import DEFAULT_THRESHOLD, ThresholdRow, format_table, threshold_table
from harness.data.groups import pictures_of
from harness.data.likeness import TextLikeness, text_likeness
from harness.data.pictures import picture_notes
from harness.data.targets import PromptEncoder, row_targets
from harness.wording import number_of

MOST_DECODED = 50_000
"""Images up to which all are decoded to look for copies: some minutes on two cores, once."""


@dataclass(frozen=True)
class Description:
    """Figures of a data set.

    Parameters
    ----------
    captions
        Texts over all rows.
    distinct_texts, distinct_images
        How many differ.
    shared_pictures, shared_rows, blank_pictures, blank_rows
        Pictures that several rows show, and those rows; and the same of pictures under unrelated prompts.
    copies
        Row ids of images that are copies of each other though their bytes differ, a list each; None where there are
        too many images to decode them all for that.
    sources
        Rows by source.
    threshold
        The group threshold a run would use.
    broken
        Place and reason of all that was left out since it cannot be read.
    notes
        What was left out of what lies there, and the like.
    likeness
        How far apart the encoder sees the texts; None for a test set.
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
    shared_pictures: int
    shared_rows: int
    blank_pictures: int
    blank_rows: int
    copies: list[list[str]] | None
    sources: dict[str, int]
    own_groups: int | None
    fingerprint: str
    broken: list[tuple[str, str]]
    notes: list[str]
    synthetic: bool
    threshold: float
    n_folds: int
    likeness: TextLikeness | None
    thresholds: list[ThresholdRow]

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        document = asdict(self)
        if self.likeness is not None:
            document["likeness"] |= {"alike": self.likeness.alike, "notes": self.likeness.notes()}
        return document

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
        lines += [f"note             {text}" for text in self.notes]
        if self.likeness is not None:
            cosine = self.likeness.cosine
            told = "-" if cosine is None else f"{cosine:z.3f} between two distinct texts, on the mean"
            lines += [f"cosine           {told}", *(f"texts            {text}" for text in self.likeness.notes())]
        if self.sources:
            lines += ["sources          " + ", ".join(f"{name} {count}" for name, count in self.sources.items())]
        if self.own_groups is not None:
            lines += [f"own groups       {self.own_groups}: each is held out whole, with all that is linked to it"]
        lines += [f"pictures         {told}" for told in self._pictures()]
        if self.synthetic:
            lines += ["synthetic: scores on it mean nothing for Stable Diffusion"]
        if self.thresholds:
            lines += [
                "",
                f"group thresholds for {number_of(self.n_folds, 'fold')} (a run would use {self.threshold:g}):",
            ]
            lines += [format_table(self.thresholds)]
        return "\n".join(lines)

    def _pictures(self) -> list[str]:
        told = picture_notes(self.shared_pictures, self.shared_rows, self.blank_pictures, self.blank_rows)
        if self.copies is None:
            told.append(f"more than {MOST_DECODED}: copies with other bytes were not looked for")
        elif self.copies:
            named = "; ".join(" = ".join(ids[:3]) for ids in self.copies[:3])
            more = "; …" if len(self.copies) > 3 else ""
            told.append(
                f"{len(self.copies)} have copies that were encoded anew or resized, which `harness run --link-images "
                f"near` holds out together: {named}{more}"
            )
        return told


def _distinct_texts(texts: Sequence[tuple[str, ...]]) -> int:
    if isinstance(texts, CaptionColumn):
        return count_distinct(texts.flat)
    return len({text for each in texts for text in each})


def _copies(dataset: Dataset) -> list[list[str]] | None:
    if count_distinct(dataset.digests) > MOST_DECODED:
        return None
    linked = link_copies(dataset).pictures
    assert linked is not None, "they were linked just now"
    rows: dict[int, dict[str, str]] = {}
    for row_id, digest, picture in zip(dataset.ids, dataset.digests, linked, strict=True):
        rows.setdefault(picture, {}).setdefault(digest, row_id)  # of rows with equal bytes the first speaks for all
    return [list(ids.values()) for ids in rows.values() if len(ids) > 1]


def describe_dataset(dataset: Dataset, encoder: PromptEncoder, *, n_folds: int, seed: int) -> Description:
    """Count what a data set holds, and what each group threshold would mean for it."""
    fingerprint = dataset.fingerprint  # first: a damaged image is named before the encoder is loaded
    table: list[ThresholdRow] = []
    pictures = likeness = None
    if dataset.has_texts:
        targets = row_targets(dataset.texts, encoder)
        table = threshold_table(dataset, targets, n_folds=n_folds, seed=seed)
        pictures = pictures_of(dataset, targets)
        likeness = text_likeness(dataset, targets, encoder)
    recommended = dataset.recommended_threshold
    return Description(
        name=dataset.name,
        layout=dataset.layout,
        location=dataset.location,
        rows=len(dataset),
        captions=sum(len(texts) for texts in dataset.texts),
        distinct_texts=_distinct_texts(dataset.texts),
        distinct_images=count_distinct(dataset.digests),
        shared_pictures=pictures.shared if pictures else 0,
        shared_rows=pictures.rows if pictures else 0,
        blank_pictures=pictures.blank if pictures else 0,
        blank_rows=pictures.blank_rows if pictures else 0,
        copies=_copies(dataset),
        sources=dict(sorted(Counter(dataset.sources or ()).items())),
        own_groups=None if dataset.groups is None else len(set(dataset.groups)),
        fingerprint=fingerprint,
        broken=[(row.where, row.reason) for row in dataset.broken],
        notes=list(dataset.notes),
        synthetic=dataset.synthetic,
        threshold=DEFAULT_THRESHOLD if recommended is None else recommended,
        n_folds=n_folds,
        likeness=likeness,
        thresholds=table,
    )
