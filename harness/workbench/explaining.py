"""What the members of a run say, in words of their own, of rows that their models held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.data.images import shows
from harness.data.lazy_images import LazyImages
from harness.errors import InputError
from harness.process import usable_cores
from harness.running.predicting import Explanations, Progress, held_out_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.plugin import ImageSource, PluginManager
    from harness.report.page.thumbnails import Opener
    from harness.store.run import RunFolder

_STATEMENTS = 3


def own_words(
    run: RunFolder,
    manager: PluginManager,
    rows: NDArray[np.int64],
    opener: Opener | None,
    device: str,
    progress: Progress,
) -> tuple[Mapping[str, Explanations], Mapping[str, str]]:
    """Ask the members of a run about some of its rows; those whose image is not the run's are left out.

    Parameters
    ----------
    run, manager
        The run, and the plugins.
    rows
        Numbers of m rows, shape (m,).
    opener
        Gives the image of a row.
    device, progress
        As ``predict`` has them.

    Returns
    -------
    tuple
        By member what it says of each of the m rows (nothing of those left out); and why others say nothing.

    Raises
    ------
    InputError
        If no image is at hand, or the device is none.
    """
    places, sources, digests = [], [], []
    for place, row in enumerate(rows.tolist()):
        source = None if opener is None else opener(row)
        if source is None:
            continue
        try:
            digest = _digest_as_seen(source, run, row)
        except (InputError, OSError):  # damaged since, or gone: the page shows that row without an image
            continue
        if digest is not None:
            places.append(place)
            sources.append(source)
            digests.append(digest)
    if not places:
        raise InputError(
            f"{run.path}: no image of the run is at hand, so that its members cannot be asked what they see; leave "
            "--explain out, or run this where the data set is"
        )
    images = LazyImages(sources, digests, min(16, usable_cores()))
    found = held_out_words(
        run, manager, rows[places].tolist(), images, device=device, top=_STATEMENTS, progress=progress
    )
    words: dict[str, Explanations] = {}
    for name, said in found.words.items():
        words[name] = [[] for _ in range(len(rows))]
        for place, own in zip(places, said, strict=True):
            words[name][place] = own
    return words, found.silent


def _digest_as_seen(source: ImageSource, run: RunFolder, row: int) -> str | None:
    """Return the content hash of a row's image; None where it is not the one that the run saw.

    In a run that was begun before hashes were kept, any that is whole may be.
    """
    if run.rows.pictures is None:
        return source.digest()
    digest = run.rows.pictures[row]
    return digest if shows(source, digest) else None
