"""The predictor ``vitgpt2``. Nothing heavy is imported before it is used."""

from __future__ import annotations

import json
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
from harness.training import best_shrinkage, l2_normalised, mean_direction, shrunk
from harness_vitgpt2.config import PRESETS, TEMPERATURES, VitGpt2Config

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.models.captioner import AnyCaptioner, Caption
    from harness.plugin import Images, TrainingData


class VitGpt2Predictor(Predictor):
    """A vision encoder and a language decoder that caption an image; the caption's embedding is the prediction.

    The prediction is the mean of the beams' unit embeddings, weighted by their length-normalised probability: under a
    cosine loss the best guess is the direction of the expected embedding, and the beams stand for the distribution of
    captions. Whole probabilities would leave the best beam all but alone, and shorter ones ahead of longer.
    """

    name = "vitgpt2"
    version = "2"
    Config = VitGpt2Config
    presets = PRESETS

    _captioner: AnyCaptioner | None = None
    _mean: NDArray[np.float32] | None = None
    _shrink = 0.0
    _temperature: float | None = None

    def fit(self, train: TrainingData) -> None:
        """Fine-tune the captioner on the fold's rows, if asked for, and choose how far to shrink towards their mean.

        Raises
        ------
        InputError
            If the captioner cannot be had, or was composed and is not to be trained.
        """
        from harness.models.captioner import Captioner, load_captioner
        from harness_vitgpt2.training import fine_tune

        config = self.config
        for option, value in (("shrink", config.shrink), ("temperature", config.temperature)):
            if value is None and config.epochs:
                raise InputError(
                    f"vitgpt2.{option}=null chooses on the training rows, which a captioner fine-tuned on them knows "
                    f"by heart; set vitgpt2.{option} to a number, or vitgpt2.epochs=0"
                )
        captioner = load_captioner(config.captioner, "vitgpt2.captioner", config.question)
        if config.epochs and not isinstance(captioner, Captioner):
            raise InputError(
                f"vitgpt2.epochs={config.epochs}: only encoder-decoders (VisionEncoderDecoderModel) are fine-tuned; "
                f"{config.captioner} is a {captioner.model.config.model_type}; set vitgpt2.epochs=0 to use it as it is"
            )
        if captioner.untrained and not config.epochs:
            raise InputError(
                f"vitgpt2.captioner={config.captioner}: composed captioners know nothing yet; set vitgpt2.epochs, or "
                "name one that was trained"
            )
        tuned = config.epochs and isinstance(captioner, Captioner)
        self._captioner = fine_tune(captioner, config, self.context, train) if tuned else captioner
        self._mean = mean_direction(train.targets)
        self._temperature = config.temperature
        self._shrink = 0.0 if config.shrink is None else config.shrink
        if None in (config.shrink, config.temperature):  # the captioner has not seen these rows, so they can tell
            self._choose(self._captions(train.images), train)

    def _choose(self, captions: list[list[Caption]], train: TrainingData) -> None:
        """Choose what was left open of temperature and shrinkage, by mean cosine on the training rows."""
        assert self._mean is not None
        found = []
        for temperature in TEMPERATURES if self.config.temperature is None else (self.config.temperature,):
            self._temperature = temperature
            rows = self._embed(captions)
            shrink = self.config.shrink
            if shrink is None:
                shrink = best_shrinkage(rows, train.targets, self._mean)
            guess = shrunk(rows, self._mean, shrink)
            found.append((float(np.einsum("ij,ij->", guess, train.targets)), temperature, shrink))
        _, self._temperature, self._shrink = max(found, key=lambda choice: choice[0])

    def prepare(self, images: Images) -> None:
        """Caption the images, unless each fold has a captioner of its own."""
        from harness.models.captioner import load_captioner

        if not self.config.epochs:
            captioner = load_captioner(self.config.captioner, "vitgpt2.captioner", self.config.question)
            self._captions(images, captioner)

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Return unit rows, shape (len(images), 384)."""
        self._ready("predict")
        if len(images) == 0:
            return np.zeros((0, EMBEDDING_DIM), dtype=np.float32)
        assert self._mean is not None
        return shrunk(self._embed(self._captions(images)), self._mean, self._shrink)

    def explain(self, images: Images) -> list[list[Explanation]]:
        """Give each distinct caption with its share in the prediction, the largest first."""
        self._ready("explain")
        found = []
        for captions in self._captions(images):
            shares: dict[str, float] = {}
            for caption, weight in zip(captions, self._weights(captions), strict=False):
                shares[caption.text] = shares.get(caption.text, 0.0) + float(weight)
            ordered = sorted(shares.items(), key=lambda item: -item[1])
            found.append([Explanation("caption", text, share) for text, share in ordered])
        return found

    def save(self, folder: Path) -> None:
        """Write ``vitgpt2.json`` and ``mean.npy``, and the captioner too if it was fine-tuned."""
        from harness.models.captioner import Captioner

        captioner = self._ready("save")
        tuned = bool(self.config.epochs)
        about = {"captioner": self.config.captioner, "digest": captioner.digest, "tuned": tuned}
        about |= {"shrink": self._shrink, "temperature": self._temperature}
        (folder / "vitgpt2.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
        assert self._mean is not None
        np.save(folder / "mean.npy", self._mean, allow_pickle=False)
        if tuned:
            assert isinstance(captioner, Captioner)
            captioner.save(folder / "captioner")

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote. ``InputError`` if the captioner is another than at that time."""
        from harness.models.captioner import load_captioner, read_captioner

        about = json.loads((folder / "vitgpt2.json").read_text(encoding="utf-8"))
        if about["tuned"]:
            captioner: AnyCaptioner = read_captioner(folder / "captioner", f"{folder}", about["digest"])
        else:
            captioner = load_captioner(self.config.captioner, "vitgpt2.captioner", self.config.question)
            if captioner.digest != about["digest"]:
                raise InputError(
                    f"{folder}: saved with the captioner {about['captioner']} of digest {about['digest']}, but "
                    f"vitgpt2.captioner={self.config.captioner} has {captioner.digest}; name the same one, or run again"
                )
        self._captioner, self._shrink, self._temperature = captioner, about["shrink"], about["temperature"]
        self._mean = np.load(folder / "mean.npy")

    def parameter_count(self) -> ParameterCount:
        """Count the captioner's weights; those that fine-tuning changed are the trainable ones."""
        from harness_vitgpt2.estimate import count_parameters

        return ParameterCount() if self._captioner is None else count_parameters(self._captioner.model, self.config)

    def requirements(self, rows: int) -> Requirements:
        """Tell captioner, parameters and memory; sizes only where no network is needed to know them."""
        from harness_vitgpt2.estimate import requirements

        return requirements(self.config)

    def _ready(self, what: str) -> AnyCaptioner:
        if self._captioner is None:
            raise NotFittedError(f"vitgpt2: call fit or load before {what}")
        return self._captioner

    def _captions(self, images: Images, captioner: AnyCaptioner | None = None) -> list[list[Caption]]:
        from harness.models.captioner import captions_of
        from harness.models.generating import Decoding

        config, captioner = self.config, captioner or self._ready("predict")
        decoding = Decoding(config.beams, config.tokens or captioner.default_tokens, config.decoding == "draws")
        return captions_of(captioner, self.context, images, decoding, config.predict_batch)

    def _embed(self, captions: list[list[Caption]]) -> NDArray[np.float32]:
        """Return unit rows, shape (n, 384): each text embedded once, weighted by probability."""
        from harness.data.targets import PromptEncoder

        texts = sorted({caption.text for beams in captions for caption in beams})
        table = dict(zip(texts, PromptEncoder().encode(texts), strict=True))
        rows = np.empty((len(captions), EMBEDDING_DIM), dtype=np.float32)
        for row, beams in zip(rows, captions, strict=True):
            weights = self._weights(beams)
            row[:] = l2_normalised(weights @ np.stack([table[caption.text] for caption in beams[: len(weights)]]))
        return rows

    def _weights(self, beams: list[Caption]) -> NDArray[np.float64]:
        """Return the shares of the beams that count, the most probable first; they sum to 1."""
        scores = np.array([caption.score for caption in beams[: 1 if self.config.average == "best" else None]])
        if self.config.decoding == "draws":  # by how often it is drawn a caption has its probability already
            return np.full(len(scores), 1 / len(scores))
        weights = np.exp((scores - scores.max()) / (self._temperature or self.config.temperature or 1.0))
        return weights / weights.sum()
