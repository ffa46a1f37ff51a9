"""The phrase modes: a text for each image out of a caption and the phrases nearest to it.

The recipes are those of clip-interrogator 0.6.0 (github.com/pharmapsychotic/clip-interrogator), but for two of its
slips: its ranks over a table of several chunks are approximate, and of the chunks' least similar phrases it takes the
most similar; and a negative chain starts from a similarity of the wrong sign.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_interrogator.chain import Chain, grow
from harness_interrogator.config import CAPTIONED
from harness_interrogator.phrases import phrase_lists
from harness_interrogator.tables import PhraseTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Context, Images
    from harness_interrogator.config import InterrogatorConfig
    from harness_interrogator.towers import Clip

_MERGED = ("artists", "flavors", "mediums", "movements", "trendings")
_CHAINED = 16  # images whose chains grow together: with 2 048 candidates each, enough texts for any batch
_CAPTIONER = "interrogator.captioner"
_CLASSIC, _OTHERS = 3, 32  # phrases, unless the options say


@dataclass(frozen=True, slots=True)
class Written:
    """What a phrase mode says of an image.

    Parameters
    ----------
    text
        The whole text.
    phrases
        The phrases it was made of, each with its own similarity to the image; the context may have cut off the last.
    caption, caption_score
        What it starts with, and its log-probability; empty and None without a captioner.
    """

    text: str
    phrases: tuple[tuple[str, float], ...]
    caption: str = ""
    caption_score: float | None = None


class Writer:
    """Writes texts.

    Parameters
    ----------
    config, context
        The predictor's.
    clip
        What images and phrases are compared in.
    """

    def __init__(self, config: InterrogatorConfig, context: Context, clip: Clip) -> None:
        self.config, self.context, self.clip = config, context, clip

    @property
    def key(self) -> list[Any]:
        """All that a text depends on beside its image, for cache keys."""
        config = self.config
        lists = "\n".join(phrase for phrases in phrase_lists(config.phrases).values() for phrase in phrases)
        options = [config.mode, config.phrase_count, config.least_phrases, config.candidates]
        captioner: list[Any] = []
        if config.mode in CAPTIONED and config.captioner != "none":
            from harness.models.captioner import load_captioner

            digest = load_captioner(config.captioner, _CAPTIONER).digest
            captioner = [digest, config.caption_beams, config.caption_tokens]
        return [*self.clip.key(), hashlib.sha256(lists.encode()).hexdigest()[:16], options, captioner]

    def write(self, images: Images) -> list[Written]:
        """Return a text an image."""
        features = self.clip.embed_images(self.context, images, self.config.image_batch)
        captions = self._captions(images)
        return self.compose(features, captions)

    def compose(self, features: NDArray[np.float32], captions: Sequence[tuple[str, float | None]]) -> list[Written]:
        """Return a text for each image embedding, shape (n, d), and caption with its score."""
        words = [caption for caption, _ in captions]
        count = self.config.phrase_count or (_CLASSIC if self.config.mode == "classic" else _OTHERS)
        if self.config.mode == "fast":
            found = self._fast(features, words, count)
        elif self.config.mode == "classic":
            found = self._classic(features, words, count)
        else:
            chained = self._best if self.config.mode == "best" else self._negative
            found = []
            for start in range(0, len(features), _CHAINED):
                part = slice(start, start + _CHAINED)
                found += chained(features[part], words[part], count)
                self.context.progress(f"interrogator {self.config.mode}", len(found), len(features))
        return [Written(w.text, w.phrases, *caption) for w, caption in zip(found, captions, strict=True)]

    def _captions(self, images: Images) -> list[tuple[str, float | None]]:
        if self.config.captioner == "none" or self.config.mode not in CAPTIONED:
            return [("", None)] * len(images)
        from harness.models.captioner import caption_images

        found = caption_images(
            self.context,
            images,
            model=self.config.captioner,
            option=_CAPTIONER,
            beams=self.config.caption_beams,
            tokens=self.config.caption_tokens,
            batch=self.config.image_batch,
        )
        return [(captions[0].text, captions[0].score) for captions in found]

    def _fast(self, features: NDArray[np.float32], captions: Sequence[str], count: int) -> list[Written]:
        found = self._nearest(self._merged, features, count)
        texts = [
            ", ".join([caption] * bool(caption) + [phrase for phrase, _ in phrases])
            for caption, phrases in zip(captions, found, strict=True)
        ]
        return self._shortened(texts, found)

    def _classic(self, features: NDArray[np.float32], captions: Sequence[str], count: int) -> list[Written]:
        mediums, artists, trendings, movements = (
            self._nearest(self._table(name), features, 1) for name in ("mediums", "artists", "trendings", "movements")
        )
        flavors = self._nearest(self._table("flavors"), features, count)
        texts, parts = [], []
        for i, caption in enumerate(captions):
            medium, artist = mediums[i][0][0], artists[i][0][0]
            named = caption.startswith(medium)
            begins = caption if named else f"{caption}, {medium}" if caption else medium
            rest = [*trendings[i], *movements[i], *flavors[i]]
            texts.append(", ".join([f"{begins} {artist}", *(phrase for phrase, _ in rest)]))
            parts.append([*([] if named else mediums[i]), *artists[i], *rest])
        return self._shortened(texts, parts)

    def _best(self, features: NDArray[np.float32], captions: Sequence[str], count: int) -> list[Written]:
        pools = self._nearest(self._merged, features, self.config.candidates)
        grown = self._chained(features, captions, pools, count, 1.0)
        kinds = [grown, self._classic(features, captions, count), self._fast(features, captions, count)]
        if any(captions):
            kinds.append([Written(caption, ()) for caption in captions])
        vectors = self.clip.embed_texts([w.text for kind in kinds for w in kind], self.config.text_batch)
        scores = np.einsum("knd,nd->kn", vectors.reshape(len(kinds), *features.shape), features)
        for scored, kind in zip(scores, kinds, strict=True):
            scored[[not written.text for written in kind]] = -np.inf  # a captioner may be silent
        return [kinds[k][i] for i, k in enumerate(scores.argmax(axis=0).tolist())]

    def _negative(self, features: NDArray[np.float32], captions: Sequence[str], count: int) -> list[Written]:
        pools = self._nearest(self._table("flavors"), features, self.config.candidates, furthest=True)
        negative = self._nearest(self._table("negative"), features, len(self._table("negative").phrases), furthest=True)
        pools = [sorted([*pool, *more], key=lambda pair: pair[1]) for pool, more in zip(pools, negative, strict=True)]
        return self._chained(features, [""] * len(features), pools, count, -1.0)

    def _chained(
        self,
        features: NDArray[np.float32],
        captions: Sequence[str],
        pools: Sequence[list[tuple[str, float]]],
        count: int,
        sign: float,
    ) -> list[Written]:
        """Grow a text for each image from its caption, or without one from the first phrase of its pool."""
        starts = [caption or pool[0][0] for caption, pool in zip(captions, pools, strict=True)]
        vectors = self.clip.embed_texts(starts, self.config.text_batch)
        scores = sign * np.einsum("nd,nd->n", vectors, features)
        chains = []
        for i, (start, pool) in enumerate(zip(starts, pools, strict=True)):
            phrases = [phrase for phrase in dict(pool) if captions[i] or phrase != start]
            chosen = [] if captions[i] else [start]
            chains.append(Chain(features[i], start, float(scores[i]), phrases, chosen=chosen))
        grow(self.clip, chains, self.config.least_phrases, count, sign, self.config.text_batch)
        return [
            Written(chain.best, tuple((phrase, dict(pool)[phrase]) for phrase in chain.chosen[: chain.kept]))
            for chain, pool in zip(chains, pools, strict=True)
        ]

    def _shortened(self, texts: Sequence[str], parts: Sequence[list[tuple[str, float]]]) -> list[Written]:
        short = shortened(self.clip, texts)
        return [Written(text, tuple(phrases)) for text, phrases in zip(short, parts, strict=True)]

    @staticmethod
    def _nearest(
        table: PhraseTable, features: NDArray[np.float32], count: int, furthest: bool = False
    ) -> list[list[tuple[str, float]]]:
        indices, similarities = table.nearest(features, count, furthest)
        return [
            [(table.phrases[i], value) for i, value in zip(row, values, strict=True)]
            for row, values in zip(indices.tolist(), similarities.tolist(), strict=True)
        ]

    @cached_property
    def _tables(self) -> dict[str, PhraseTable]:
        lists = phrase_lists(self.config.phrases)
        names = ("flavors", "negative") if self.config.mode == "negative" else _MERGED
        return {
            name: PhraseTable.embed(self.context, self.clip, lists[name], self.config.text_batch, name)
            for name in names
        }

    def _table(self, name: str) -> PhraseTable:
        return self._tables[name]

    @cached_property
    def _merged(self) -> PhraseTable:
        return PhraseTable.merged([self._table(name) for name in _MERGED])


def shortened(clip: Clip, texts: Sequence[str]) -> list[str]:
    """Cut texts at a comma so that each fits the context; the part before the first comma stays whatever its length.

    A part is dropped, and all after it, if the text before it directly followed by it fills the context. That grows
    with the number of parts, so a few rounds of bisection over all texts find the place.
    """
    parts = [text.split(", ") for text in texts]
    low, high = [1] * len(parts), [len(each) for each in parts]
    while open_ := [i for i in range(len(parts)) if low[i] < high[i]]:
        middles = [(low[i] + high[i]) // 2 for i in open_]
        tried = [", ".join(parts[i][:m]) + parts[i][m] for i, m in zip(open_, middles, strict=True)]
        for i, m, full in zip(open_, middles, clip.full(tried), strict=True):
            if full:
                high[i] = m
            else:
                low[i] = m + 1
    return [", ".join(each[:kept]) for each, kept in zip(parts, low, strict=True)]
