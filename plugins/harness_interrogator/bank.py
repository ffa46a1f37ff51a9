"""The mode ``prompts``: the training fold's own prompts and images, and how near ones are averaged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.plugin import EMBEDDING_DIM, Explanation, InputError
from harness.training import kept_apart, l2_normalised
from harness_interrogator.neighbours import Bank
from harness_interrogator.texts import embed_once

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Context, TrainingData
    from harness_interrogator.config import InterrogatorConfig
    from harness_interrogator.towers import Clip

COUNTS = (20, 100, 500, 2500)
SHARPNESSES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.5)
MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
_ALL = 100_000  # rows up to which averaging them all is tried: that shrinks towards the mean target by itself
_MOST_QUERIES = 1000  # rows that choose the options: enough to tell them apart, cheap for any n


@dataclass(frozen=True)
class Setting:
    """How neighbours are averaged: counts and sharpnesses of texts and of images, and the share of texts."""

    text_count: int
    text_sharpness: float
    image_count: int
    image_sharpness: float
    mix: float


@dataclass(frozen=True)
class PromptBank:
    """What ``fit`` keeps of a fold.

    Parameters
    ----------
    digest
        Of the CLIP whose space the embeddings are in.
    centre
        Mean embedding of the training images, shape (d,): queries are taken from there, prompts from their own mean.
        In CLIP's space images and texts lie in two narrow cones (Liang et al. 2022, arXiv:2203.02053).
    prompts
        Distinct training prompts.
    texts, images
        Their bank, and that of the training images.
    setting
        Chosen, or given.
    """

    digest: str
    centre: NDArray[np.float32]
    prompts: Sequence[str]
    texts: Bank
    images: Bank
    setting: Setting

    @classmethod
    def fit(cls, config: InterrogatorConfig, context: Context, clip: Clip, train: TrainingData) -> PromptBank:
        """Embed a fold's prompts and images, and choose the options left open."""
        images = clip.embed_images(context, train.images, config.image_batch)
        prompts, owners = _distinct(train.captions)
        texts = embed_once(context, clip, prompts, config.text_batch)
        centre = images.mean(axis=0, dtype=np.float64).astype(np.float32)
        images, texts = (
            l2_normalised(images - centre),
            l2_normalised(texts - texts.mean(axis=0, dtype=np.float64).astype(np.float32)),
        )
        sums = np.zeros((len(prompts), EMBEDDING_DIM), dtype=np.float32)
        np.add.at(sums, owners[:, 0], train.targets[owners[:, 1]])
        queries = np.sort(np.random.default_rng(context.seed).permutation(len(images))[:_MOST_QUERIES])
        some = images[queries[:256]]
        text_bank, image_bank = Bank.of(texts, l2_normalised(sums), some), Bank.of(images, train.targets, some)
        setting = _Choice(config, text_bank, image_bank, owners, train).best(images, queries)
        return cls(clip.digest, centre, prompts, text_bank, image_bank, setting)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return unit predictions, shape (n, 384), of images with these embeddings, shape (n, d)."""
        s, queries = self.setting, l2_normalised(features - self.centre)
        found = np.empty((len(queries), EMBEDDING_DIM), dtype=np.float32)
        step = min(self.texts.step([s.text_count]), self.images.step([s.image_count]))
        for start in range(0, len(queries), step):
            part = queries[start : start + step]
            said = self.texts.average(self.texts.similarities(part), [s.text_count], [s.text_sharpness])[:, 0]
            seen = self.images.average(self.images.similarities(part), [s.image_count], [s.image_sharpness])[:, 0]
            found[start : start + step] = l2_normalised(np.float32(s.mix) * said + np.float32(1 - s.mix) * seen)
        return found

    def nearest(self, features: NDArray[np.float32], count: int) -> list[list[Explanation]]:
        """Return the training prompts most similar to each image, best first, with their centred cosines."""
        queries, found = l2_normalised(features - self.centre), []
        step = self.texts.step([])
        for start in range(0, len(queries), step):
            for row in self.texts.similarities(queries[start : start + step]):
                best = np.argsort(-row, kind="stable")[:count].tolist()
                found.append([Explanation("prompt", self.prompts[i], float(row[i])) for i in best])
        return found

    def save(self, folder: Path) -> None:
        """Write ``bank.json`` and ``bank.safetensors``."""
        from dataclasses import asdict

        from safetensors.numpy import save_file

        arrays = {"centre": self.centre}
        for name, bank in (("texts", self.texts), ("images", self.images)):
            arrays |= {f"{name}.embeddings": bank.embeddings, f"{name}.targets": bank.targets}
        save_file(arrays, str(folder / "bank.safetensors"))
        about = {
            "clip": self.digest,
            "setting": asdict(self.setting),
            "scales": [self.texts.scale, self.images.scale],
            "prompts": list(self.prompts),
        }
        (folder / "bank.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, config: InterrogatorConfig, clip: Clip) -> PromptBank:
        """Read what ``save`` wrote. Raises ``InputError`` if it belongs to another CLIP than ``clip``."""
        from safetensors.numpy import load_file

        about = json.loads((folder / "bank.json").read_text(encoding="utf-8"))
        if about["clip"] != clip.digest:
            raise InputError(
                f"{folder}: fitted with a CLIP with weights {about['clip']}, but interrogator.clip={config.clip} has "
                f"weights {clip.digest}; name the CLIP it was fitted with, or fit again"
            )
        arrays = load_file(str(folder / "bank.safetensors"))
        texts, images = (
            Bank(arrays[f"{name}.embeddings"], arrays[f"{name}.targets"], scale)
            for name, scale in zip(("texts", "images"), about["scales"], strict=True)
        )
        return cls(about["clip"], arrays["centre"], about["prompts"], texts, images, Setting(**about["setting"]))


@dataclass(frozen=True)
class _Choice:
    """Chooses the options left open, by mean cosine of training rows predicted without what is to be kept apart.

    Parameters
    ----------
    config, texts, images
        The options, and both banks.
    owners
        Pairs (text of its bank, training row) that say whose each text is, shape (pairs, 2).
    train
        The training rows; those of the bank of images are in their order.
    """

    config: InterrogatorConfig
    texts: Bank
    images: Bank
    owners: NDArray[np.int64]
    train: TrainingData

    def best(self, queries: NDArray[np.float32], rows: NDArray[np.int64]) -> Setting:
        """Return the best setting for the queries ``rows``; of equal ones the first."""
        targets = self.train.targets
        sharpnesses = SHARPNESSES if self.config.sharpness is None else (self.config.sharpness,)
        mixes = np.array(MIXES if self.config.mix is None else (self.config.mix,), dtype=np.float32)
        text_counts, image_counts = self._counts(self.texts), self._counts(self.images)
        grid = (len(text_counts) * len(sharpnesses), len(image_counts) * len(sharpnesses), len(mixes))
        scores = np.zeros(grid)
        one_block = len(np.unique(self.train.groups if self.train.blocks is None else self.train.blocks)) < 2
        if scores.size > 1 and not one_block:  # of one block nothing can be held out honestly
            step = min(self.texts.step(text_counts), self.images.step(image_counts))
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                apart = kept_apart(self.train, part)
                said = _average(self.texts, self._texts_of(apart), text_counts, sharpnesses, queries[part])
                seen = _average(self.images, apart, image_counts, sharpnesses, queries[part])
                scores += _mixed_scores(said, seen, targets[part], mixes)
            a, b, c = (int(i) for i in np.unravel_index(scores.argmax(), grid))
        else:
            a, b, c = (size // 2 for size in grid)
        (ta, sa), (tb, sb) = divmod(a, len(sharpnesses)), divmod(b, len(sharpnesses))
        return Setting(text_counts[ta], sharpnesses[sa], image_counts[tb], sharpnesses[sb], float(mixes[c]))

    def _counts(self, bank: Bank) -> list[int]:
        if self.config.neighbours is not None:
            return [min(self.config.neighbours, len(bank))]
        counts = [count for count in COUNTS if count < len(bank)]
        return counts + ([len(bank)] if len(bank) <= _ALL else [])

    def _texts_of(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which texts belong to any of some rows, shape (k, texts), of a mask of rows, shape (k, n)."""
        found = np.zeros((len(rows), len(self.texts)), dtype=np.bool_)
        query, pair = np.nonzero(rows[:, self.owners[:, 1]])
        found[query, self.owners[pair, 0]] = True
        return found


def _average(
    bank: Bank,
    apart: NDArray[np.bool_],
    counts: Sequence[int],
    sharpnesses: Sequence[float],
    queries: NDArray[np.float32],
) -> NDArray[np.float32]:
    similarities = bank.similarities(queries)
    # Unless all are to be kept apart: two groups may share every prompt.
    similarities[apart & ~apart.all(axis=1, keepdims=True)] = -np.inf
    return bank.average(similarities, counts, sharpnesses)


def _mixed_scores(
    said: NDArray[np.float32], seen: NDArray[np.float32], targets: NDArray[np.float32], mixes: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Sum the cosines of every mixture with the targets: shape (settings of texts, settings of images, mixes).

    The cosine of a mixture of unit vectors follows from three dot products, so no mixture is ever made.
    """
    a = np.einsum("qsd,qd->qs", said, targets)[:, :, None, None]
    b = np.einsum("qtd,qd->qt", seen, targets)[:, None, :, None]
    between = np.matmul(said, seen.transpose(0, 2, 1))[:, :, :, None]
    length = np.sqrt(mixes**2 + (1 - mixes) ** 2 + 2 * mixes * (1 - mixes) * between)
    return ((mixes * a + (1 - mixes) * b) / np.maximum(length, 1e-6)).sum(axis=0, dtype=np.float64)


def _distinct(captions: Sequence[tuple[str, ...]]) -> tuple[list[str], NDArray[np.int64]]:
    """Return each text once, and the pairs (text, row) that say whose it is: shape (pairs, 2)."""
    first: dict[str, int] = {}
    pairs = {(first.setdefault(text, len(first)), row) for row, texts in enumerate(captions) for text in texts}
    return list(first), np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
