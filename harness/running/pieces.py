"""Work on single images in pieces, so that several workers share it: predictions of what is not trained, and features.

A member that is not trained predicts a range of rows a piece, and its task puts them together. One that is trained
computes ahead what depends on single images (``Predictor.prepare``), a share of the contents a piece, into the cache.
What is done of a task lies in the run's folder until it is finished, so that a kill costs the pieces at work.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.data.cache import DiskCache, key_hash
from harness.data.row_files import BUCKETS, RowFile, buckets_of, content_keys, distinct
from harness.errors import InputError
from harness.plugin import EMBEDDING_DIM
from harness.store.atomic import write_array
from harness.store.checksums import checksum, require_unchanged
from harness.store.schema import PieceRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.dataset import Dataset
    from harness.running.inputs import Inputs
    from harness.store.run import RunFolder
    from harness.store.schema import Member

LEAST = 256
"""Images that are worth a piece of their own: a task costs about a tenth of a second by itself."""
A_WORKER = 4
"""Pieces a worker, so that one that was given slow images does not keep the others waiting for long."""
_FOLDER = "pieces"
Of = Literal["data", "test"]


@dataclass(frozen=True)
class Piece:
    """Some images of a run.

    Parameters
    ----------
    of
        Whether they are of its rows, or of its test set.
    start, stop
        A range of rows, to be predicted; of a member that is trained a range of ``BUCKETS`` parts by content, to be
        prepared.
    """

    of: Of
    start: int
    stop: int


def piece_key(member: Member) -> str:
    """Return what the pieces of a member depend on, beside the test set: all that its tasks do."""
    keys = sorted(set(member.keys.values()))
    return keys[0] if len(keys) == 1 else key_hash(keys)[:12]


def piece_rows(piece: Piece, inputs: Inputs, *, trained: bool) -> NDArray[np.int64]:
    """Return the numbers of a piece's rows: of what is prepared each content once."""
    if not trained:
        return np.arange(piece.start, piece.stop)
    keys = content_keys(images_of(piece.of, inputs).digests)
    first, _ = distinct(keys)
    part = buckets_of(keys[first])
    return np.sort(first[(part >= piece.start) & (part < piece.stop)])


def images_of(of: Of, inputs: Inputs) -> Dataset:
    """Return the data set that a piece is of."""
    dataset = inputs.dataset if of == "data" else inputs.test
    assert dataset is not None, "there is a test set to take a piece of"
    return dataset


def ranges(gaps: Sequence[tuple[int, int]], size: int, whole: int) -> Iterator[tuple[int, int]]:
    """Cut ranges of 0 to ``whole`` where equal parts of at most ``size`` of all of it end.

    Whatever is done of these parts, those that are left are cut as before: jobs that are on their way are known by it.
    """
    count = max(-(-whole // max(size, 1)), 1)
    cuts = [whole * k // count for k in range(count + 1)]
    for start, stop in gaps:
        yield from pairwise([start, *(cut for cut in cuts if start < cut < stop), stop])


class PieceStore:
    """The pieces of a member that are done, in the run's folder.

    Parameters
    ----------
    inputs, member
        The run and the member.
    """

    def __init__(self, inputs: Inputs, member: Member) -> None:
        self._inputs, self._member = inputs, member
        self.key = piece_key(member)
        self.folder = pieces_folder(inputs.run, member.name) / self.key

    def write(
        self,
        piece: Piece,
        costs: dict[str, Any],
        rows: NDArray[np.float32] | None = None,
        row_files: Sequence[str] = (),
    ) -> None:
        """Note that a piece is done, with its unit predictions if it has any."""
        told = self._file(piece)
        told.parent.mkdir(parents=True, exist_ok=True)
        told.unlink(missing_ok=True)
        if rows is not None:
            write_array(told.with_suffix(".npy"), rows)
        PieceRecord(
            key=self.key,
            images=piece.of,
            start=piece.start,
            stop=piece.stop,
            row_files=list(row_files),
            checksum_npy=None if rows is None else checksum(told.with_suffix(".npy")),
            **costs,
        ).write(told)

    def found(self, of: Of) -> list[tuple[PieceRecord, Path]]:
        """Return the records of the pieces that are done and whole, by their start, and their files; none twice."""
        found = []
        for path in sorted(self.folder.glob(f"{self._name(of)}-*.json")):
            with suppress(InputError, OSError):
                record = PieceRecord.read(path)
                if record.checksum_npy is not None:
                    require_unchanged(path.with_suffix(".npy"), record.checksum_npy, PieceRecord.MEND)
                if record.key == self.key and record.images == of and self._still_cached(record, of):
                    found.append((record, path))
        found.sort(key=lambda pair: (pair[0].start, -pair[0].stop))
        kept: list[tuple[PieceRecord, Path]] = []
        for record, path in found:
            if not kept or record.start >= kept[-1][0].stop:
                kept.append((record, path))
        return kept

    def gaps(self, of: Of, whole: int) -> list[tuple[int, int]]:
        """Return the ranges of 0 to ``whole`` that no piece is done of."""
        gaps, at = [], 0
        for record, _ in self.found(of):
            if record.start > at:
                gaps.append((at, record.start))
            at = max(at, record.stop)
        return [*gaps, *([(at, whole)] if at < whole else [])]

    def gathered(self, of: Of) -> NDArray[np.float32]:
        """Return the predictions of all pieces, shape (n, 384), float32. Raises ``ValueError`` if there is a gap."""
        whole = len(images_of(of, self._inputs))
        if self.gaps(of, whole):
            raise ValueError("a piece of its predictions is gone from the run's folder; give the command again")
        values = np.empty((whole, EMBEDDING_DIM), dtype=np.float32)
        for record, path in self.found(of):
            values[record.start : record.stop] = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        return values

    def seconds(self, of: Of) -> float:
        """Return how long all pieces took together."""
        return round(sum(record.seconds for record, _ in self.found(of)), 6)

    def costs(self) -> dict[str, Any]:
        """Return what the predictions of all rows took, as a task's record has it."""
        records = [record for record, _ in self.found("data")]
        peaks = [record.peak_memory_bytes for record in records if record.peak_memory_bytes is not None]
        return {
            "started": min(record.started for record in records),
            "predict_seconds": round(sum(record.seconds for record in records), 6),
            "predict_seconds_cold": round(sum(record.seconds_cold for record in records), 6),
            "predict_peak_memory_bytes": max(peaks, default=None),
        }

    def _still_cached(self, record: PieceRecord, of: Of) -> bool:
        """Whether the cache has the rows that a piece put there."""
        if not record.row_files:
            return record.checksum_npy is not None
        rows = piece_rows(Piece(of, record.start, record.stop), self._inputs, trained=True)
        digests = images_of(of, self._inputs).digests
        keys = content_keys([digests[row] for row in rows.tolist()])
        return all((RowFile(row_file(name)).find(keys) >= 0).all() for name in record.row_files)

    def _file(self, piece: Piece) -> Path:
        return self.folder / f"{self._name(piece.of)}-{piece.start}-{piece.stop}.json"

    def _name(self, of: Of) -> str:
        return of if of == "data" else f"test-{images_of(of, self._inputs).ordered_fingerprint}"


def row_file(name: str) -> Path:
    """Return where a row file of the cache lies. Raises ``ValueError`` for a name that leads elsewhere."""
    if Path(name).name != name or not name.endswith(".rows"):
        raise ValueError(f"{name}: it is no name of a row file")
    return DiskCache().rows_folder / name


def pieces_folder(run: RunFolder, member: str) -> Path:
    """Return where the pieces of a member lie."""
    return run.path / "members" / member / _FOLDER


def clear_pieces(run: RunFolder, member: Member, *, finished: bool) -> None:
    """Remove the pieces of a member that are of no more use: all if its tasks are finished, else those of others."""
    folder = pieces_folder(run, member.name)
    for other in folder.glob("*"):
        if finished or other.name != piece_key(member):
            shutil.rmtree(other, ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()


def parts_for(images: int, workers: int, least: int) -> int:
    """Return how many of ``BUCKETS`` parts a piece has, where ``workers`` share so many images; all: none is made."""
    pieces = min(A_WORKER * workers, images // max(least, 1), BUCKETS)
    return -(-BUCKETS // pieces) if pieces > 1 else BUCKETS
