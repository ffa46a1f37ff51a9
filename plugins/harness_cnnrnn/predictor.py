"""The predictor ``cnnrnn``. Nothing heavy is imported before it is used."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.plugin import (
    EMBEDDING_DIM,
    Explanation,
    NotFittedError,
    ParameterCount,
    Predictor,
    Requirements,
)
from harness.training import best_shrinkage, inner_split, mean_direction, shrunk
from harness_cnnrnn.config import PRESETS, CnnRnnConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.targets import PromptEncoder
    from harness.plugin import Images, TrainingData
    from harness_cnnrnn.network import Captioner
    from harness_cnnrnn.vocabulary import Vocabulary

_BLIND_SHARE = 0.7
"""``shrink`` where there are too few groups to choose it on: a captioner of so few rows knows little."""
_ARCHITECTURE = (
    "backbone", "image_size", "channels", "attention", "cell", "width", "embedding", "embedding_loss"
)  # fmt: skip


class _Fitted(NamedTuple):
    """What ``predict`` needs: the network, its words, the mean training target, and the share of that."""

    network: Captioner
    vocabulary: Vocabulary
    mean: NDArray[np.float32]
    shrink: float


class CnnRnnPredictor(Predictor):
    """A CNN and a recurrent decoder that learn to caption from the training prompts alone.

    The prediction is the mean of the unit embeddings of several captions: under a cosine loss the best guess is the
    direction of the expected embedding, and the captions stand for what the network believes.
    """

    name = "cnnrnn"
    by_default = False  # half a minute a fold of 480 rows, on one core
    version = "1"
    Config = CnnRnnConfig
    presets = PRESETS

    _fitted: _Fitted | None = None

    def fit(self, train: TrainingData) -> None:
        """Train on most of the fold's rows; keep the best epoch, and choose how far to shrink, on the others.

        Raises
        ------
        InputError
            If the backbone cannot be had.
        """
        from harness_cnnrnn.training import train_captioner

        self._fitted = None  # a second fit must not hold two networks
        inside, outside = inner_split(train, self.config.inner_share)
        network, vocabulary = train_captioner(self.config, self.context, train, inside, outside)
        mean = mean_direction(train.targets)
        shrink = self.config.shrink
        fitted = _Fitted(network, vocabulary, mean, _BLIND_SHARE if shrink is None else shrink)
        if shrink is None and len(outside):
            rows = self._rows(fitted, train.images.take(outside.tolist()))
            fitted = fitted._replace(shrink=best_shrinkage(rows, train.targets[outside], mean))
        self._fitted = fitted

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Return unit rows, shape (len(images), 384)."""
        fitted = self._ready("predict")
        if len(images) == 0:
            return np.zeros((0, EMBEDDING_DIM), dtype=np.float32)
        return shrunk(self._rows(fitted, images), fitted.mean, fitted.shrink)

    def explain(self, images: Images) -> list[list[Explanation]]:
        """Give each distinct caption with its share in the prediction, the largest first."""
        from harness_cnnrnn.captioning import caption_images, embed_texts, shares

        fitted = self._ready("explain")
        if len(images) == 0:
            return []
        captions = caption_images(fitted.network, fitted.vocabulary, self.config, self.context, images)
        table = embed_texts(self._encoder, captions)
        return [[Explanation("caption", *part) for part in shares(one, table, self.config)] for one in captions]

    def save(self, folder: Path) -> None:
        """Write ``cnnrnn.json`` (words, share of the mean, architecture) and ``cnnrnn.safetensors``."""
        from safetensors.torch import save_file

        fitted = self._ready("save")
        about = {
            "architecture": {key: getattr(self.config, key) for key in _ARCHITECTURE},
            "shrink": fitted.shrink,
            "mean": fitted.mean.tolist(),
            "words": fitted.vocabulary.words,
        }
        (folder / "cnnrnn.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        state = {name: value.cpu().contiguous() for name, value in fitted.network.state_dict().items()}
        save_file(state, str(folder / "cnnrnn.safetensors"))

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote; a backbone's pretrained weights are not fetched again."""
        from safetensors.torch import load_file

        from harness_cnnrnn.training import blank_network
        from harness_cnnrnn.vocabulary import Vocabulary

        about = json.loads((folder / "cnnrnn.json").read_text(encoding="utf-8"))
        vocabulary = Vocabulary(tuple(about["words"]))
        network = blank_network(self.config.model_copy(update=about["architecture"]), len(vocabulary))
        network.load_state_dict(load_file(str(folder / "cnnrnn.safetensors")))
        mean = np.array(about["mean"], dtype=np.float32)
        self._fitted = _Fitted(network.to(self.context.device).eval(), vocabulary, mean, about["shrink"])

    def requirements(self, rows: int) -> Requirements:
        """Name a backbone of timm's, and estimate the memory; parameters wait for the training prompts' words."""
        from harness_cnnrnn.estimate import requirements

        return requirements(self.config, rows)

    def parameter_count(self) -> ParameterCount:
        """Count the network's weights; all but a frozen backbone's are trained."""
        if self._fitted is None:
            return ParameterCount()
        network = self._fitted.network
        total = sum(p.numel() for p in network.parameters())
        frozen = sum(p.numel() for p in network.encoder.parameters()) if self.config.lr_encoder == 0.0 else 0
        return ParameterCount(total - frozen, total)

    @cached_property
    def _encoder(self) -> PromptEncoder:
        from harness.data import PromptEncoder

        return PromptEncoder(device=self.context.device)

    def _ready(self, what: str) -> _Fitted:
        if self._fitted is None:
            raise NotFittedError(f"cnnrnn: call fit or load before {what}")
        return self._fitted

    def _rows(self, fitted: _Fitted, images: Images) -> NDArray[np.float32]:
        """Return the captions' embeddings averaged, not yet shrunk: unit rows, shape (n, 384)."""
        from harness_cnnrnn.captioning import caption_images, embed_texts, mix

        captions = caption_images(fitted.network, fitted.vocabulary, self.config, self.context, images)
        return mix(captions, embed_texts(self._encoder, captions), fitted.mean, self.config)
