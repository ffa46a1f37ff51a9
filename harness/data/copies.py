"""Images that are copies of each other though their bytes differ: encoded anew, or resized."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.data.cache import RowTable, cache_folder
from harness.data.neighbours import Components

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from harness.data.dataset import Dataset
    from harness.data.lazy_images import LazyImages

_BITS = 4
"""Bits of 64 in which the hashes of two copies may differ. Of 1 200 JPEG copies of 300 DrawBench images and as many of
Flickr8k (quality 30 to 90, a third to one and a half times the size) none differs in more."""
_FAR = 6.0
"""Mean difference of two copies' thumbnails, of 255. The farthest of those copies, a small photograph's, has 6.0;
images that two versions of a generator made of one prompt and seed, with hashes as near, have 6.3 and more."""
_SIDE = 16
_CHUNK = 256
_BUCKET = 2_000
_ROWS = 16_384
_BANDS = 5
"""The hash is cut into more bands than bits may differ, so that two copies agree in one band at least."""


def link_copies(dataset: Dataset, progress: Callable[[int, int], None] = lambda done, total: None) -> Dataset:
    """Return the data set with copies counted as one picture, wherever ``shared_pictures`` looks for it.

    Copies are found by perceptual hash (pHash: the signs of the low frequencies of the cosine transform, by the
    package ImageHash), and looked at: their thumbnails must agree, since images without detail have hashes of chance.

    Parameters
    ----------
    dataset
        Each image that is not known yet is decoded once.
    progress
        Told how many of them are, and of how many.

    Raises
    ------
    InputError
        Naming the file, if an image cannot be decoded.
    """
    number = {digest: i for i, digest in enumerate(sorted(set(dataset.digests)))}
    hashes, thumbnails = _looks(dataset, number, progress)
    copies = Components(len(number))
    for i, j in near_hashes(hashes):
        apart = np.abs(thumbnails[i].astype(np.int16) - thumbnails[j]).mean(axis=1)
        copies.link(i[apart <= _FAR], j[apart <= _FAR])
    return dataset.changed(pictures=[int(copies.labels[number[digest]]) for digest in dataset.digests])


def known_copies(images: LazyImages, digests: Sequence[str]) -> list[list[int]]:
    """Return for each of m images the rows that show a copy of it, as ``link_copies`` finds them.

    Parameters
    ----------
    images
        Each is decoded.
    digests
        Content hash of each of n rows. Only images whose looks are remembered are compared: no row is decoded.
    """
    looks = np.frombuffer(b"".join(_look(images[i]) for i in range(len(images))), dtype=np.uint8).reshape(
        len(images), -1
    )
    hashes = np.ascontiguousarray(looks[:, :8]).view(np.uint64).ravel()
    table = RowTable(cache_folder() / "rows" / "looks-1.sqlite")
    found: list[list[int]] = [[] for _ in range(len(images))]
    for start in range(0, len(digests), _ROWS):
        part = list(digests[start : start + _ROWS])
        known = {digest: value for digest, (value, _) in table.get(part).items()}
        rows = [i for i, digest in enumerate(part) if digest in known]
        others = np.frombuffer(b"".join(known[part[i]] for i in rows), dtype=np.uint8).reshape(-1, looks.shape[1])
        near = np.bitwise_count(hashes[:, None] ^ np.ascontiguousarray(others[:, :8]).view(np.uint64).ravel()) <= _BITS
        for m, j in zip(*np.nonzero(near), strict=True):
            if np.abs(looks[m, 8:].astype(np.int16) - others[j, 8:]).mean() <= _FAR:
                found[m].append(start + rows[j])
    return found


def near_hashes(hashes: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the pairs of 64-bit hashes that differ in at most 4 bits; a pair may come more than once.

    Multi-index hashing (Norouzi, Punjani & Fleet 2012): cut into 5 bands, two such hashes agree in one at least, so
    only hashes with a band in common are compared. Of a band that thousands share (images without detail), each is
    compared with the nearest in order of the whole hash.
    """
    edges = np.linspace(0, 64, _BANDS + 1).astype(int)
    for low, high in pairwise(edges.tolist()):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.lexsort((hashes, band))
        starts = np.flatnonzero(np.concatenate([[True], band[order][1:] != band[order][:-1]]))
        for rows in np.split(order, starts[1:]):
            for start in range(0, len(rows), _BUCKET):
                some = rows[start : start + 2 * _BUCKET]
                yield from _within(some, hashes)


def _within(
    rows: NDArray[np.int64], hashes: NDArray[np.uint64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for start in range(0, len(rows) - 1, _CHUNK):
        part = rows[start : start + _CHUNK]
        differ = np.bitwise_count(hashes[part][:, None] ^ hashes[rows][None, :])
        i, j = np.nonzero(differ <= _BITS)
        later = part[i] < rows[j]
        if later.any():
            yield part[i[later]], rows[j[later]]


def _looks(
    dataset: Dataset, number: dict[str, int], progress: Callable[[int, int], None]
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Return hash (k,) and thumbnail (k, 768) of each distinct image, remembered by content."""
    table = RowTable(cache_folder() / "rows" / "looks-1.sqlite")
    known = {digest: value for digest, (value, _) in table.get(number).items()}
    image_of = dict(zip(dataset.digests, dataset.images, strict=True))
    new = [digest for digest in number if digest not in known]
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(new), _CHUNK):
            part = new[start : start + _CHUNK]
            found = dict(zip(part, pool.map(lambda digest: _look(image_of[digest].open()), part), strict=True))
            table.put((digest, value, 0.0) for digest, value in found.items())
            known |= found
            progress(start + len(part), len(new))
    values = np.frombuffer(b"".join(known[digest] for digest in number), dtype=np.uint8).reshape(len(number), -1)
    return np.ascontiguousarray(values[:, :8]).view(np.uint64).ravel(), values[:, 8:]


def _look(image: Image) -> bytes:
    """Return the 64 bits of an RGB image's perceptual hash, and its thumbnail."""
    import imagehash
    import PIL.Image

    bits = np.packbits(imagehash.phash(image).hash.ravel())
    small = image.resize((_SIDE, _SIDE), PIL.Image.Resampling.BOX)
    return bits.tobytes() + np.asarray(small, dtype=np.uint8).tobytes()
