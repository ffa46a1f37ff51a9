"""The predictor ``interrogator``. Nothing heavy is imported before it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from harness.plugin import (
    EMBEDDING_DIM,
    Explanation,
    NotFittedError,
    ParameterCount,
    Predictor,
    Requirements,
)
from harness_interrogator.config import CAPTIONED, PRESETS, InterrogatorConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Images, TrainingData
    from harness_interrogator.bank import PromptBank
    from harness_interrogator.towers import Clip
    from harness_interrogator.writing import Writer


class InterrogatorPredictor(Predictor):
    """Finds the words nearest to an image in CLIP's space; nothing is trained.

    In the mode ``prompts`` the words are the training fold's own prompts, and the prediction is a weighted mean of the
    targets of the nearest prompts and of the nearest images. In the other modes the words are phrases of large lists,
    which are written behind a caption; the prediction is the embedding of that text, whatever the training rows are.
    """

    name = "interrogator"
    version = "1"
    Config = InterrogatorConfig
    presets = PRESETS

    _bank: PromptBank | None = None
    _writer: Writer | None = None

    @classmethod
    def uses_tiny_weights(cls, config: BaseModel) -> bool:
        """Whether the CLIP, or a captioner that the mode asks, is the bundled one."""
        options = InterrogatorConfig.model_validate(config.model_dump())
        return options.clip == "tiny" or (options.mode in CAPTIONED and options.captioner == "tiny")

    def fit(self, train: TrainingData) -> None:
        """In the mode ``prompts`` embed the fold's prompts and images; otherwise there is nothing to learn."""
        if self.config.mode == "prompts":
            from harness_interrogator.bank import PromptBank

            self._bank = PromptBank.fit(self.config, self.context, self._clip(), train)

    def prepare(self, images: Images) -> None:
        """Embed the images in the mode ``prompts``, and write their texts in the others."""
        if self.config.mode == "prompts":
            self._features(images)
        else:
            self._written(images)

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Return unit rows, shape (len(images), 384)."""
        if self.config.mode == "prompts":
            bank = self._fitted("predict")
            return bank.predict(self._features(images))
        if len(images) == 0:
            return np.zeros((0, EMBEDDING_DIM), dtype=np.float32)
        return self._written(images)

    def explain(self, images: Images) -> list[list[Explanation]]:
        """Name the nearest training prompts, or the text, its caption and its phrases, the best of each kind first."""
        if self.config.mode == "prompts":
            return self._fitted("explain").nearest(self._features(images), self.config.nearest)
        sign = 1 if self.config.mode == "negative" else -1
        found = []
        for written in self._writing().write(images) if len(images) else []:
            said = [Explanation("text", written.text)]
            if written.caption:
                said.append(Explanation("caption", written.caption, written.caption_score))
            phrases = sorted(written.phrases, key=lambda pair: sign * pair[1])
            found.append(said + [Explanation("phrase", phrase, similarity) for phrase, similarity in phrases])
        return found

    def save(self, folder: Path) -> None:
        """Write the bank, or that there is none; CLIP's own weights are not copied."""
        if self.config.mode == "prompts":
            self._fitted("save").save(folder)
        else:
            (folder / "interrogator.json").write_text(json.dumps({"mode": self.config.mode}), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote. ``InputError`` if it belongs to another CLIP than ``clip``."""
        if self.config.mode == "prompts":
            from harness_interrogator.bank import PromptBank

            self._bank = PromptBank.load(folder, self.config, self._clip())

    def parameter_count(self) -> ParameterCount:
        """Nothing is trained; the total is that of both towers, and of the captioner where the mode asks one."""
        total = self._clip().parameters
        if self._captioner():
            from harness.models.captioner import load_captioner

            model = load_captioner(self.config.captioner, "interrogator.captioner").model
            total += sum(parameter.numel() for parameter in model.parameters())
        return ParameterCount(0, total)

    def requirements(self, rows: int) -> Requirements:
        """Name the models; size and memory where no weights are needed to know them."""
        from harness_interrogator.towers import known_size

        captioner = [self.config.captioner] if self._captioner() else []
        models = tuple(dict.fromkeys([self.config.clip, *captioner]))
        sizes = [known_size(self.config.clip), *(_captioner_size(name) for name in captioner)]
        if None in sizes:
            return Requirements(models=models)
        size = sum(filter(None, sizes))
        # Weights, and in float32 the table, or the fold's prompts and images with their targets; both hold about 1024
        # dimensions at most.
        table = 2 * rows * 1.5 * (1024 + EMBEDDING_DIM) if self.config.mode == "prompts" else 1.5 * 112_000 * 1024
        return Requirements(models, ParameterCount(0, size), 4 * size + 4 * int(table) + 2**28)

    def _captioner(self) -> bool:
        return self.config.mode in CAPTIONED and self.config.captioner != "none"

    def _clip(self) -> Clip:
        from harness_interrogator.towers import load_clip

        return load_clip(self.config.clip, self.context.device)

    def _features(self, images: Images) -> NDArray[np.float32]:
        return self._clip().embed_images(self.context, images, self.config.image_batch)

    def _written(self, images: Images) -> NDArray[np.float32]:
        """Return the embeddings of the images' texts, unit rows, shape (len(images), 384)."""
        from harness.data.targets import PromptEncoder

        writer = self._writing()
        # The training rows have no say in these, so every fold model would write the same text again.
        return self.context.cached_rows(
            ["interrogator", self.version, *writer.key],
            images,
            lambda part: PromptEncoder().encode([written.text for written in writer.write(part)]),
        )

    def _writing(self) -> Writer:
        from harness_interrogator.writing import Writer

        if self._writer is None:
            self._writer = Writer(self.config, self.context, self._clip())
        return self._writer

    def _fitted(self, what: str) -> PromptBank:
        if self._bank is None:
            raise NotFittedError(f"interrogator: call fit or load before {what}")
        return self._bank


def _captioner_size(name: str) -> int | None:
    from harness.models.captioner import empty_captioner

    model = empty_captioner(name, "interrogator.captioner")
    return None if model is None else sum(parameter.numel() for parameter in model.parameters())
