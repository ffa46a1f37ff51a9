"""Words and their numbers."""

from __future__ import annotations

from harness_cnnrnn.vocabulary import END, MARKS, UNKNOWN, Vocabulary, split_words
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(max_size=60)


def test_words_keep_hyphens_and_apostrophes_and_marks_stand_alone() -> None:
    text = "A half-and-half chef's hat, O'Keeffe’s style (1930)."
    assert split_words(text) == [
        "a",
        "half-and-half",
        "chef's",
        "hat",
        ",",
        "o'keeffe’s",
        "style",
        "(",
        "1930",
        ")",
        ".",
    ]


def test_rare_words_are_unknown_and_the_frequent_ones_are_kept() -> None:
    prompts = ["a cat", "a cat", "a dog dog dog", "an owl"]
    vocabulary = Vocabulary.of_prompts(prompts, 2, 100)
    assert vocabulary.words == ("a", "cat")  # dog is said often, but in one prompt only
    assert vocabulary.encode("a dog and a cat", 10) == [MARKS, UNKNOWN, UNKNOWN, MARKS, MARKS + 1, END]
    assert vocabulary.encode("a dog and a cat", 2) == [MARKS, UNKNOWN, END]
    assert Vocabulary.of_prompts(prompts, 1, 1).words == ("a",)
    assert Vocabulary.of_prompts(prompts[::-1], 1, 100) == Vocabulary.of_prompts(prompts, 1, 100)
    assert len(Vocabulary.of_prompts(prompts, 9, 100)) == MARKS


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_a_known_text_comes_back_word_for_word(texts: list[str]) -> None:
    vocabulary = Vocabulary.of_prompts(texts, 1, 10_000)
    for text in texts:
        numbers = vocabulary.encode(text, 1000)
        assert UNKNOWN not in numbers
        assert split_words(vocabulary.decode(numbers)) == split_words(text)


def test_punctuation_is_written_where_it_belongs() -> None:
    text = "in the woods, a stool. seen by night"
    vocabulary = Vocabulary.of_prompts([text], 1, 100)
    assert vocabulary.decode(vocabulary.encode(text, 100)) == text
    assert vocabulary.decode([END, MARKS]) == ""
