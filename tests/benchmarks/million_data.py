"""Makes the rows of the benchmark ``million``: WebDataset shards of prompts and small pictures, and a test set.

A prompt is a name of four rare words before a sentence of the scenes grammar ("westchester tides anthologies anymore,
in the city we see robot head with zebra stripes"). Sentences of the grammar alone are too much alike for a million: at
.7 each would be near 25 others, and most would chain. So would two or three sentences joined, which is an average of
them to the encoder. The words come from its vocabulary, so that each says something to it.

Rows come in families, of which most have one row: a prompt, and what somebody did with it afterwards, the very same
again (another picture) or with a word exchanged or a tag added. Sizes follow Zipf's law with exponent 3, so that three
rows in five are alone, and the largest families have a hundred.

A picture is drawn once for a hundred rows that have nothing to do with each other, but each has a file of its own.
With equal files (``--shared-images``) most pictures say nothing of their prompts and link nothing, as a safety filter's
do; but some happen to seem related, and those chain a third of ten thousand rows.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from harness_scenes import compose, draw
from numpy.typing import NDArray

from harness.data.targets import PromptEncoder

VERSION = 1
"""Changes whenever what is made does."""
WORDS = 4
SHARD_ROWS, LEAST_SHARDS = 10_000, 4
SIDE, QUALITY = 64, 85
ROWS_A_PICTURE = 100
_LARGEST_FAMILY = 100
_TAGS = (
    "highly detailed",
    "wide angle",
    "close up",
    "at dusk",
    "soft light",
    "muted colours",
    "vivid colours",
    "very old",
    "seen from above",
    "trending",
    "award winning",
    "4k",
)
_BLOCK = 512


@dataclass(frozen=True)
class Recipe:
    """What fixes the rows.

    Parameters
    ----------
    rows, seed
        How many, and of what chance.
    pictures
        Least number of pictures; there are more where ``rows`` has hundreds of them.
    shared
        Whether the rows of a picture have equal bytes. Otherwise a comment in each file tells its number, so that every
        image is read, hashed and decoded, and none is linked with another.
    """

    rows: int
    seed: int = 0
    pictures: int = 500
    shared: bool = False

    @property
    def test_rows(self) -> int:
        """Rows of the test set."""
        return max(1, self.rows // 10)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return f"{self.rows}-{self.seed}" + "-shared" * self.shared


@dataclass(frozen=True)
class Made:
    """What lies there.

    Parameters
    ----------
    train, test
        Folders of shards.
    facts
        Figures of what was made: rows, distinct prompts, families, pictures, bytes, seconds.
    """

    train: Path
    test: Path
    facts: dict[str, Any]


@dataclass(frozen=True)
class Said:
    """What the prompts of some rows are made of, an entry a row: family, change, and the numbers of four words."""

    family: NDArray[np.int64]
    variant: NDArray[np.int64]
    words: NDArray[np.int32]


def make(folder: Path, recipe: Recipe, workers: int | None = None) -> Made:
    """Write the shards, unless they lie there.

    Parameters
    ----------
    folder
        Holds one folder a recipe.
    recipe
        What to make.
    workers
        Processes; None: one a core.
    """
    home = folder / recipe.name
    manifest = home / "manifest.json"
    asked = {"version": VERSION, **asdict(recipe)}
    made = Made(home / "train", home / "test", {})
    if manifest.is_file():
        kept = json.loads(manifest.read_text(encoding="utf-8"))
        if kept["recipe"] == asked:
            return Made(made.train, made.test, kept["facts"])
    shutil.rmtree(home, ignore_errors=True)
    for each in (made.train, made.test):
        each.mkdir(parents=True)
    began = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool:
        facts = _write(pool, made, recipe)
    facts["seconds"] = round(time.perf_counter() - began, 1)
    manifest.write_text(json.dumps({"recipe": asked, "facts": facts}, indent=1), encoding="utf-8")
    return Made(made.train, made.test, facts)


def _write(pool: ProcessPoolExecutor, made: Made, recipe: Recipe) -> dict[str, Any]:
    rows, rng = recipe.rows, np.random.default_rng(recipe.seed)
    family, variant = families(rows, rng)
    words = rng.integers(0, len(vocabulary()), (int(family.max()) + 1, WORDS), dtype=np.int32)
    count = min(rows, max(recipe.pictures, rows // ROWS_A_PICTURE))
    own = rng.permutation(rows)[:count]  # a picture is one row's own, and shows what that row says
    shown = rng.integers(0, count, rows)
    shown[own] = np.arange(count)
    began = time.perf_counter()
    pictures = _drawn(pool, recipe.seed, family[own])
    # Other scenes, so that no test image is one of those learned from.
    tested = max(1, min(recipe.test_rows, max(recipe.pictures // 5, recipe.test_rows // ROWS_A_PICTURE)))
    test_pictures = _drawn(pool, recipe.seed, np.arange(tested) + rows)
    drawn = time.perf_counter()
    jobs = []
    for shard, (start, stop) in enumerate(_slices(rows, shards_of(rows))):
        part = slice(start, stop)
        said = Said(family[part], variant[part], words[family[part]])
        chosen = [pictures[k] for k in shown[part].tolist()]
        path = made.train / f"{shard:05d}.tar"
        jobs.append(pool.submit(write_shard, path, start, chosen, recipe, said))
        if len(jobs) % 8 == 0:  # no more pictures wait in the queue than a few shards have
            jobs[-8].result()
    hashes = np.concatenate([job.result() for job in jobs])
    asked = rng.integers(0, tested, recipe.test_rows)
    for shard, (start, stop) in enumerate(_slices(recipe.test_rows, shards_of(recipe.test_rows))):
        chosen = [test_pictures[k] for k in asked[start:stop].tolist()]
        write_shard(made.test / f"{shard:05d}.tar", start, chosen, recipe)
    sizes = np.bincount(family)
    return {
        "rows": rows,
        "test_rows": recipe.test_rows,
        "shards": shards_of(rows),
        "distinct_prompts": len(np.unique(hashes)),
        "families": len(sizes),
        "rows_alone": int((sizes == 1).sum()),
        "largest_family": int(sizes.max()),
        "pictures": count,
        "bytes": sum(file.stat().st_size for file in made.train.parent.rglob("*.tar")),
        "drawing_seconds": round(drawn - began, 1),
        "writing_seconds": round(time.perf_counter() - drawn, 1),
    }


def families(rows: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the family of each row, and what was done to its prompt: 0: nothing; else a number of the change."""
    sizes = np.minimum(rng.zipf(3.0, rows), _LARGEST_FAMILY)
    sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), rows)) + 1]
    family = np.repeat(np.arange(len(sizes)), sizes)[:rows]
    first = np.concatenate([[0], np.cumsum(sizes)])[family]
    variant = np.where(rng.random(rows) < 0.5, 0, np.arange(rows) - first)  # half of them say the very same
    order = rng.permutation(rows)
    return family[order], variant[order]


def vocabulary() -> list[str]:
    """Return the words of four letters and more that the prompt encoder has a piece for."""
    return [piece for piece in PromptEncoder().word_pieces.vocabulary if len(piece) > 3 and _is_word(piece)]


def _is_word(piece: str) -> bool:
    return piece.isascii() and piece.isalpha()


def prompt(seed: int, family: int, variant: int, words: Sequence[str], others: Sequence[str]) -> str:
    """Return the prompt of a row.

    Parameters
    ----------
    seed, family
        Which scene its sentence tells.
    variant
        What was done to the first prompt of the family: odd: a word was exchanged; even: a tag was added.
    words, others
        The words of its name, and those they are exchanged for.
    """
    name, told = list(words), compose(seed, family).prompt
    if variant % 2:
        name[variant // 2 % len(name)] = others[(family + variant) % len(others)]
    elif variant:
        told = f"{told}, {_TAGS[variant // 2 % len(_TAGS)]}"
    return f"{' '.join(name)}, {told}"


def shards_of(rows: int) -> int:
    """Return how many shards hold so many rows."""
    return min(rows, max(LEAST_SHARDS, -(-rows // SHARD_ROWS)))


def _slices(rows: int, parts: int) -> Iterator[tuple[int, int]]:
    return pairwise(np.linspace(0, rows, parts + 1).astype(int).tolist())


def _drawn(pool: ProcessPoolExecutor, seed: int, scenes: NDArray[np.int64]) -> list[bytes]:
    return list(pool.map(picture, [seed] * len(scenes), scenes.tolist(), chunksize=16))


def picture(seed: int, index: int) -> bytes:
    """Draw a scene as a JPEG."""
    stream = io.BytesIO()
    draw(compose(seed, index), SIDE).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def write_shard(
    path: Path,
    start: int,
    pictures: Sequence[bytes],
    recipe: Recipe,
    said: Said | None = None,
) -> NDArray[np.int64]:
    """Write one shard.

    Parameters
    ----------
    path
        The tar file.
    start
        Number of its first row.
    pictures
        The file of each row.
    recipe
        Its seed, and whether files of a picture are equal.
    said
        What the prompts are made of; None for a test set, which has none.

    Returns
    -------
    ndarray of shape (rows,), int64
        A hash of each prompt; empty for a test set.
    """
    known = vocabulary() if said is not None else []
    hashes = []
    with path.open("wb") as stream:
        for k, content in enumerate(pictures):
            key = f"{start + k:09d}"
            if not recipe.shared:  # what begins a JPEG, and then a comment
                content = content[:2] + b"\xff\xfe\x00\x0b" + key.encode() + content[2:]
            stream.write(_member(f"{key}.jpg", content))
            if said is None:
                continue
            family, variant = int(said.family[k]), int(said.variant[k])
            text = prompt(recipe.seed, family, variant, [known[w] for w in said.words[k].tolist()], known)
            hashes.append(hash_of(text))
            facts = {"prompt": text, "seed": variant, "source": "scenes", "family": family}
            stream.write(_member(f"{key}.json", json.dumps(facts).encode()))
            stream.write(_member(f"{key}.txt", text.encode()))
        stream.write(bytes(2 * _BLOCK))
    return np.array(hashes, dtype=np.int64)


def hash_of(text: str) -> int:
    """Return a hash of a text that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def _member(name: str, content: bytes) -> bytes:
    """Return one member of a tar file in the plain format of POSIX.1-1988: `tarfile` takes ten times as long."""
    head = (
        name.encode().ljust(100, b"\0")
        + b"0000644\0"
        + b"0000000\0" * 2
        + b"%011o\0" % len(content)
        + b"00000000000\0"
        + b" " * 8  # what counts for the sum where the sum will stand
        + b"0"
        + bytes(100)
        + b"ustar\00000"
    ).ljust(_BLOCK, b"\0")
    head = head[:148] + b"%06o\0 " % sum(head) + head[156:]
    return head + content + bytes(-len(content) % _BLOCK)
