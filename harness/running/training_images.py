"""Images that a run was trained on, found among images that it is asked about, and the models that never saw them.

A model that learned from an image repeats the prompt it was given. Of such an image only the models speak that held it
out, as they do on the leaderboard.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.data.copies import known_copies

if TYPE_CHECKING:
    from harness.data.folds import Folds
    from harness.data.lazy_images import LazyImages
    from harness.store.run import RunFolder


@dataclass(frozen=True)
class TrainingImage:
    """An image that stands among the rows of a run.

    Parameters
    ----------
    rows
        Ids of the rows that show it.
    folds
        The folds whose models may speak: each held one of the rows out, and learned from none. Empty: there is none,
        and all speak.
    copy
        It is no equal file, but a copy: encoded anew, or resized.
    """

    rows: list[str]
    folds: list[int]
    copy: bool = False

    def describe(self) -> str:
        """Say what it is, and who speaks of it."""
        what = f"{'copy of the training image' if self.copy else 'training image'} '{self.rows[0]}'"
        if len(self.rows) > 1:
            what += f" and {len(self.rows) - 1} more"
        if not self.folds:
            return f"{what}: every model learned from it, so this says what they were told"
        folds = f"fold{'s' * (len(self.folds) > 1)} {', '.join(map(str, self.folds))}"
        return f"{what}: by the models of {folds} alone, which never saw it"


def training_images(run: RunFolder, images: LazyImages) -> list[TrainingImage | None]:
    """Return what each of m images is to a run; None: it was not trained on it.

    Equal files are found by their hashes. Copies are, too, where the run linked them (``--link-images near``).
    """
    known = run.rows.pictures
    if known is None:
        return [None] * len(images)
    rows_of: dict[str, list[int]] = defaultdict(list)
    asked = set(images.digests)
    for i, picture in enumerate(known):
        if picture in asked:
            rows_of[picture].append(i)
    copies: Sequence[list[int]] = [[]] * len(images)
    if run.document.folds.link_images == "near":
        copies = known_copies(images, known)
    found: list[TrainingImage | None] = []
    for digest, copied in zip(images.digests, copies, strict=True):
        rows = rows_of.get(digest) or copied
        ids = [run.rows.ids[i] for i in rows]
        found.append(TrainingImage(ids, _honest(run.folds, rows), not rows_of.get(digest)) if rows else None)
    return found


def _honest(folds: Folds, rows: Sequence[int]) -> list[int]:
    return [
        fold
        for fold in sorted(set(folds.fold[rows].tolist()))
        if not np.isin(np.asarray(rows), folds.training_rows(fold)).any()
    ]


def images_by_fold(images: Sequence[TrainingImage | None]) -> dict[int | None, list[int]]:
    """Return the numbers of images by the first fold whose models speak of them; None: those of which all do."""
    found: dict[int | None, list[int]] = defaultdict(list)
    for i, image in enumerate(images):
        found[image.folds[0] if image and image.folds else None].append(i)
    return dict(found)
