"""The distinct prompts of many rows, in the order in which they are preferred, and their embeddings."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from harness.data.cache import cache_folder
from harness.data.curating.rows import BLOCK, JoinedRows, blocks
from harness.data.targets import row_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.targets import PromptEncoder

Keep = Literal["longest", "shortest", "first"]
KEEPS: tuple[str, ...] = get_args(Keep)
Progress = Callable[[str, int, int], None]
"""Told what goes on, how much of it is done, and of how much."""
_IN_MEMORY = 1 << 20
"""Prompts whose embeddings are kept in memory (1.5 GiB); of more they lie in a file."""


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Prompts:
    """The m distinct prompts of n rows, each a text or all captions of a row; the lower its number, the more preferred.

    Texts are distinct where their characters are: MiniLM reads no case, and so sees ``A dog`` and ``a dog`` as equal.

    Parameters
    ----------
    node
        Prompt of each row, shape (n,), int64.
    rows
        Rows sorted by prompt, in each by preference, shape (n,), int64.
    start
        Where the rows of each prompt begin in ``rows``, and behind the last the number of rows, shape (m + 1,).
    vectors
        Target of each prompt, shape (m, 384), float32, unit rows.
    """

    node: NDArray[np.int64]
    rows: NDArray[np.int64]
    start: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.start) - 1

    def first_row(self, prompt: int) -> int:
        """Return the most preferred row of a prompt."""
        return int(self.rows[self.start[prompt]])


def distinct_prompts(
    rows: JoinedRows,
    encoder: PromptEncoder,
    *,
    keep: Keep = "longest",
    seed: int = 0,
    progress: Progress = silent,
) -> Prompts:
    """Find the distinct prompts, put them in the order of preference, and embed them.

    A prompt of an earlier set is preferred to one of a later set; then ``keep`` decides, and then a hash of the text.
    Of a prompt's rows those of earlier sets are preferred, and then chance does, drawn from id and seed. So nothing
    depends on the order of the rows, unless ``first`` asks for it.

    Parameters
    ----------
    rows
        With prompts.
    keep
        ``longest`` prefers the prompt with the most characters, ``shortest`` that with the fewest, ``first`` the
        one that comes first in its set.
    """
    high, low, length = _fingerprints(rows)
    order = np.lexsort((low, high))
    new = np.concatenate([[True], (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])])
    by_text = np.empty(len(rows), dtype=np.int64)
    by_text[order] = np.cumsum(new) - 1
    rank = rows.set_of
    count = int(new.sum())
    first_set = np.full(count, np.iinfo(np.int16).max, dtype=np.int16)
    np.minimum.at(first_set, by_text, rank)
    weight = np.zeros(count, dtype=np.int64)
    if keep == "first":
        weight[:] = len(rows)
        np.minimum.at(weight, by_text, np.arange(len(rows)))
    else:
        weight[by_text] = length if keep == "shortest" else -length
    number = np.empty(count, dtype=np.int64)
    number[np.lexsort((np.arange(count), weight, first_set))] = np.arange(count)
    node = number[by_text]
    position = np.arange(len(rows), dtype=np.uint64) if keep == "first" else rows.chances(seed)
    by_prompt = np.lexsort((position, rank, node))
    start = np.concatenate([[0], np.cumsum(np.bincount(node, minlength=count))])
    vectors = embedded(rows, by_prompt[start[:-1]], encoder, progress)
    return Prompts(node, by_prompt, start, vectors)


def embedded(
    rows: JoinedRows, chosen: NDArray[np.int64], encoder: PromptEncoder, progress: Progress = silent
) -> NDArray[np.float32]:
    """Return the targets of some rows, shape (len(chosen), 384), a block at a time."""
    vectors = _table(len(chosen))
    for start in range(0, len(chosen), BLOCK):
        part = chosen[start : start + BLOCK].tolist()
        vectors[start : start + len(part)] = row_targets([rows.texts_of(row) for row in part], encoder)
        progress("prompts embedded", start + len(part), len(chosen))
    return vectors


def _table(count: int) -> NDArray[np.float32]:
    if count <= _IN_MEMORY:
        return np.empty((count, 384), dtype=np.float32)
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as stream:  # it has no name, and goes with the array
        return np.memmap(stream, dtype=np.float32, mode="w+", shape=(count, 384))


def _fingerprints(rows: JoinedRows) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
    """Return 128 bits that tell each row's texts from others', as two numbers, and the characters they have."""
    found = np.empty((len(rows), 2), dtype=np.uint64)
    length = np.empty(len(rows), dtype=np.int64)
    at = 0
    for part in blocks(rows.texts()):
        digests = b"".join(_fingerprint(texts) for texts in part)
        found[at : at + len(part)] = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
        length[at : at + len(part)] = [sum(map(len, texts)) for texts in part]
        at += len(part)
    return found[:, 0], found[:, 1], length


def _fingerprint(texts: Sequence[str]) -> bytes:
    told = "".join(f"{len(text)}:{text}" for text in texts)
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest()
