"""The search finds the most probable captions, and the draws follow the network's probabilities."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from harness_cnnrnn.network import Captioner, ImageFeatures
from harness_cnnrnn.search import Caption, beam_search, draw_captions
from harness_cnnrnn.vocabulary import END, MARKS, START, UNKNOWN

from tests.cnnrnn.captioners import random_captioner

WORDS, LIMIT = MARKS + 3, 3


@torch.inference_mode()
def by_enumeration(network: Captioner, features: ImageFeatures, image: int) -> dict[tuple[int, ...], float]:
    """The log-probability of every caption of at most LIMIT words, each scored by itself from the beginning."""
    one = ImageFeatures(features.places[image : image + 1], features.mean[image : image + 1])
    found = {}
    for length in range(1, LIMIT + 1):
        for words in product(range(MARKS, WORDS), repeat=length):
            said = [*words, END] if length < LIMIT else list(words)
            given = torch.tensor([[START, *said[:-1]]])
            scores = network.scores(network.decode(one, given, network.first_state(one))[0])[0]
            scores[:, [START, UNKNOWN]] = -torch.inf
            scores[0, END] = -torch.inf
            known = scores.log_softmax(dim=1)
            found[words] = float(sum(known[i, word] for i, word in enumerate(said)))
    return found


@pytest.mark.parametrize("options", [{}, {"cell": "lstm", "attention": True}], ids=["gru", "lstm, attention"])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_what_enumeration_finds(options: dict, penalty: float) -> None:
    network, features = random_captioner(WORDS, 3, **options)
    found = beam_search(network, features, beams=48, words=LIMIT, length_penalty=penalty)
    for image, captions in enumerate(found):
        every = by_enumeration(network, features, image)
        assert sum(np.exp(list(every.values()))) == pytest.approx(1.0, abs=1e-4)
        assert {caption.words for caption in captions} == every.keys()
        for caption in captions:
            assert caption.score == pytest.approx(every[caption.words], abs=1e-4)
        # END counts as a word; what was cut has none.
        length = [min(len(caption.words) + 1, LIMIT) for caption in captions]
        ranked = [caption.score / n**penalty for caption, n in zip(captions, length, strict=True)]
        assert ranked == sorted(ranked, reverse=True)


def test_a_narrow_beam_finds_less_and_one_beam_is_greedy() -> None:
    network, features = random_captioner(WORDS, 16)
    best = [max(by_enumeration(network, features, i).items(), key=lambda item: item[1]) for i in range(16)]
    greedy = beam_search(network, features, beams=1, words=LIMIT)
    narrow = beam_search(network, features, beams=2, words=LIMIT)
    for (words, score), (alone,), (first, _) in zip(best, greedy, narrow, strict=True):
        assert alone.score <= score + 1e-4
        assert first.score <= score + 1e-4
        assert (first.words == words) == (abs(first.score - score) < 1e-4)
    for image, (alone,) in enumerate(greedy):  # step by step the likeliest word, whatever comes of it
        every = by_enumeration(network, features, image)
        prefix: tuple[int, ...] = ()
        while len(prefix) < len(alone.words):
            mass = {
                word: sum(np.exp(s) for w, s in every.items() if w[: len(prefix) + 1] == (*prefix, word))
                for word in range(MARKS, WORDS)
            }
            prefix = (*prefix, max(mass, key=mass.__getitem__))
        assert prefix == alone.words


def test_what_is_said_of_an_image_does_not_depend_on_its_company() -> None:
    network, features = random_captioner(WORDS, 6)
    third = ImageFeatures(features.places[2:3], features.mean[2:3])

    def same(one: list[Caption], other: list[Caption]) -> bool:
        words = [a.words for a in one] == [b.words for b in other]
        return words and np.allclose([a.score for a in one], [b.score for b in other], atol=1e-5)

    drawn = {"count": 5, "words": LIMIT, "temperature": 1.0, "seed": 4}
    assert same(
        beam_search(network, third, beams=3, words=LIMIT)[0], beam_search(network, features, beams=3, words=3)[2]
    )
    assert same(draw_captions(network, third, **drawn)[0], draw_captions(network, features, **drawn)[2])


def test_draws_follow_the_probabilities_and_the_seed() -> None:
    network, features = random_captioner(WORDS, 1)
    every = by_enumeration(network, features, 0)
    (drawn,) = draw_captions(network, features, count=4000, words=LIMIT, temperature=1.0, seed=0)
    counts = Counter(caption.words for caption in drawn)
    for words, score in every.items():
        expected = np.exp(score)
        assert counts[words] / 4000 == pytest.approx(expected, abs=4 * np.sqrt(expected / 4000) + 1e-3)
    assert all(caption.score == pytest.approx(every[caption.words], abs=1e-4) for caption in drawn)
    again = draw_captions(network, features, count=4000, words=LIMIT, temperature=1.0, seed=0)[0]
    assert again == drawn
    assert draw_captions(network, features, count=4000, words=LIMIT, temperature=1.0, seed=1)[0] != drawn
    (cold,) = draw_captions(network, features, count=4000, words=LIMIT, temperature=0.2, seed=0)
    assert len({caption.words for caption in cold}) < len(counts)


def test_without_words_there_is_nothing_to_say() -> None:
    network, features = random_captioner(MARKS, 2)
    assert beam_search(network, features, beams=3, words=4) == [[Caption((), 0.0)]] * 2
    assert draw_captions(network, features, count=2, words=4, temperature=1.0, seed=0) == [[Caption((), 0.0)] * 2] * 2
