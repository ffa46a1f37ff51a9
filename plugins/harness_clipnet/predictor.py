"""The predictor ``clipnet``, its model files, and what it explains. Nothing heavy is imported before it is used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.plugin import (
    EMBEDDING_DIM,
    Explanation,
    InputError,
    NotFittedError,
    ParameterCount,
    Predictor,
    Requirements,
)
from harness.training import l2_normalised, seeded
from harness_clipnet.config import PRESETS, ClipNetConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Context, Images, TrainingData
    from harness_clipnet.inference import Fitted

_ARCHITECTURE = ("lora_rate", "nfz_rate", "rank", "lora_scale", "head_width", "epochs")
_BLOCK = 1024


class ClipNetPredictor(Predictor):
    """A CLIP vision tower and a wide head, trained together.

    The last layers of the tower are trained in full, those below get LoRA, the first are frozen; the pooled output
    goes through Linear, BatchNorm, ReLU and Linear to the embedding. The loss is 1 - cosine, which is the score.
    """

    name = "clipnet"
    version = "2"
    Config = ClipNetConfig
    presets = PRESETS

    _fitted: Fitted | None = None
    _prompts: PromptTable | None = None

    def fit(self, train: TrainingData) -> None:
        """Train on the fold's rows; an inner split by group, if asked for, is taken out of them."""
        from harness_clipnet.training import fit_network

        self._fitted = None  # a second fit must not hold two networks
        self._fitted = fit_network(self.config, self.context, train)
        limit, seed = self.config.max_prompts, self.context.seed
        self._prompts = PromptTable.of_training(train.prompts, train.targets, limit, seed)

    def prepare(self, images: Images) -> None:
        """Compute the features that the head starts from, if the options ask for that."""
        from harness_clipnet.training import prepare_features

        prepare_features(self.config, self.context, images)

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Return unit rows, shape (len(images), 384)."""
        from harness_clipnet.inference import predict_rows

        fitted = self._ready("predict")
        if len(images) == 0:
            return np.zeros((0, EMBEDDING_DIM), dtype=np.float32)
        return l2_normalised(predict_rows(fitted, images, self.config, self.context))

    def explain(self, images: Images) -> list[list[Explanation]]:
        """Name the training prompts nearest to each prediction, by cosine, best first."""
        self._ready("explain")
        assert self._prompts is not None
        return self._prompts.nearest(self.predict(images), self.config.nearest)

    def save(self, folder: Path) -> None:
        """Write adapters, trained layers, head and the prompts; the tower's own weights are not copied."""
        fitted = self._ready("save")
        assert self._prompts is not None
        save_fitted(fitted, self.config, folder)
        self._prompts.save(folder)

    def load(self, folder: Path) -> None:
        """Load ``tower`` again and put what ``save`` wrote into it. ``InputError`` if it is another tower."""
        self._fitted = load_fitted(folder, self.config, self.context)
        self._prompts = PromptTable.load(folder)

    def requirements(self, rows: int) -> Requirements:
        """Name the tower, and estimate size and memory from its shape, where that needs no network.

        Options that contradict the tower are an ``InputError`` here, before any work.
        """
        from harness_clipnet.beginning import check_small_size
        from harness_clipnet.estimate import estimate_memory
        from harness_clipnet.network import planned_parameters
        from harness_clipnet.tower import known_config

        models = (self.config.tower,)
        shape = known_config(self.config.tower, self.config.image_size)
        if shape is None:
            return Requirements(models)
        check_small_size(self.config, shape)
        parameters = planned_parameters(self.config, shape)
        memory = estimate_memory(self.config, shape, parameters, rows, self.context.device)
        return Requirements(models, parameters, memory)

    def parameter_count(self) -> ParameterCount:
        """Count tower, LoRA and head; before ``fit`` from the tower's config, where that needs no network."""
        from harness_clipnet.network import count_parameters, planned_parameters
        from harness_clipnet.tower import known_config

        if self._fitted is not None:
            return count_parameters(self._fitted.network)
        shape = known_config(self.config.tower, self.config.image_size)
        return ParameterCount() if shape is None else planned_parameters(self.config, shape)

    def _ready(self, what: str) -> Fitted:
        if self._fitted is None:
            raise NotFittedError(f"clipnet: call fit or load before {what}")
        return self._fitted


def save_fitted(fitted: Fitted, config: ClipNetConfig, folder: Path) -> None:
    """Write ``clipnet.json`` and ``clipnet.safetensors``: adapters, trained layers and head, but no whole tower."""
    from safetensors.torch import save_file

    from harness_clipnet.network import trained_state

    about = {
        "tower": config.tower,
        "tower_hash": fitted.tower_hash,
        "architecture": {key: getattr(config, key) for key in _ARCHITECTURE},
        "preprocessing": fitted.preprocessing.to_json(),
    }
    (folder / "clipnet.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
    state = {name: value.cpu().contiguous() for name, value in trained_state(fitted.network).items()}
    save_file(state, str(folder / "clipnet.safetensors"))


def load_fitted(folder: Path, config: ClipNetConfig, context: Context) -> Fitted:
    """Read what ``save_fitted`` wrote, onto the tower that ``config`` names.

    Raises
    ------
    InputError
        If that tower is not the one the saved weights belong to, or the files do not belong together.
    """
    from safetensors.torch import load_file

    from harness.pipeline import Preprocessing
    from harness_clipnet.beginning import start_network
    from harness_clipnet.inference import Fitted
    from harness_clipnet.network import restore, trained_state

    about = json.loads((folder / "clipnet.json").read_text(encoding="utf-8"))
    preprocessing = Preprocessing.from_json(about["preprocessing"])
    with seeded(
        context.seed, context.device
    ):  # what is drawn here is overwritten below; only the caller's random numbers matter
        network, _, digest = start_network(config.model_copy(update=about["architecture"]), preprocessing)
    if digest != about["tower_hash"]:
        raise InputError(
            f"{folder}: trained on the tower {about['tower']} with weights {about['tower_hash']}, but "
            f"clipnet.tower={config.tower} has weights {digest}; name the checkpoint it was trained on, or train again"
        )
    state, expected = load_file(str(folder / "clipnet.safetensors")), trained_state(network)
    odd = sorted(
        {key for key in state.keys() & expected.keys() if state[key].shape != expected[key].shape}
        | (state.keys() ^ expected.keys())
    )
    if odd:
        raise InputError(
            f"{folder}: clipnet.safetensors and clipnet.json do not belong together ({len(odd)} weights are missing, "
            f"unknown or of another shape, {odd[0]} first); copy the folder again, or train again"
        )
    restore(network, state)
    return Fitted(network.to(context.device).eval(), preprocessing, digest)


class PromptTable:
    """Distinct prompts with their embeddings.

    Parameters
    ----------
    prompts
        n texts.
    embeddings
        Unit rows, shape (n, 384). Half precision: cosines are right to three decimals, at half the disk.
    """

    def __init__(self, prompts: Sequence[str], embeddings: NDArray[np.float16]) -> None:
        self._prompts = list(prompts)
        self._embeddings = embeddings

    @classmethod
    def of_training(cls, prompts: Sequence[str], targets: NDArray[np.float32], limit: int, seed: int) -> PromptTable:
        """Keep each prompt once, and at most ``limit`` of them, chosen by the seed."""
        first: dict[str, int] = {}
        for i, prompt in enumerate(prompts):
            first.setdefault(prompt, i)
        rows = np.array(list(first.values()), dtype=np.int64)
        if len(rows) > limit:
            rows = np.sort(np.random.default_rng(seed).choice(rows, size=limit, replace=False))
        return cls([prompts[i] for i in rows], targets[rows].astype(np.float16))

    def nearest(self, predictions: NDArray[np.float32], count: int) -> list[list[Explanation]]:
        """Return the ``count`` prompts of highest cosine with each unit prediction, shape (m, 384), best first."""
        count = min(count, len(self._prompts))
        if count == 0:
            return [[] for _ in predictions]
        table = self._embeddings.astype(np.float32)
        found = []
        for start in range(0, len(predictions), _BLOCK):
            cosines = predictions[start : start + _BLOCK] @ table.T
            best = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
            for row, columns in zip(cosines, best, strict=True):
                ordered = sorted(columns.tolist(), key=lambda j: (-row[j], j))
                found.append([Explanation("prompt", self._prompts[j], float(row[j])) for j in ordered])
        return found

    def save(self, folder: Path) -> None:
        """Write ``prompts.json`` and ``prompts.safetensors``."""
        from safetensors.numpy import save_file

        (folder / "prompts.json").write_text(json.dumps(self._prompts, ensure_ascii=False), encoding="utf-8")
        save_file({"embeddings": self._embeddings}, str(folder / "prompts.safetensors"))

    @classmethod
    def load(cls, folder: Path) -> PromptTable:
        """Read what ``save`` wrote."""
        from safetensors.numpy import load_file

        prompts = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
        return cls(prompts, load_file(str(folder / "prompts.safetensors"))["embeddings"])
