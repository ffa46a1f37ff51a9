"""The words a decoder can say: those of the training prompts that are frequent enough."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

END, START, UNKNOWN = 0, 1, 2
"""Numbers of the marks before the words: a caption ends, begins, or has a word that is not known."""
MARKS = 3

_WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")
_BEFORE_MARK = re.compile(r" (?=[.,;:!?)\]}])")


def split_words(text: str) -> list[str]:
    """Split a text into lower-case words, hyphens and apostrophes inside them kept, and punctuation marks."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words and their numbers; word i of ``words`` has the number ``MARKS + i``."""

    words: tuple[str, ...]

    @classmethod
    def of_prompts(cls, prompts: Iterable[str], min_count: int, max_words: int) -> Vocabulary:
        """Take the words that ``min_count`` prompts or more have, the most frequent ones if there are too many.

        Sorted, so that numbers do not depend on the order of the prompts.
        """
        counts = Counter(word for prompt in prompts for word in set(split_words(prompt)))
        frequent = sorted((-count, word) for word, count in counts.items() if count >= min_count)
        return cls(tuple(sorted(word for _, word in frequent[:max_words])))

    def __len__(self) -> int:
        """Return how many numbers there are, marks included."""
        return MARKS + len(self.words)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=MARKS)}

    def encode(self, text: str, limit: int) -> list[int]:
        """Return the numbers of a text's first ``limit`` words, and END."""
        return [*(self._numbers.get(word, UNKNOWN) for word in split_words(text)[:limit]), END]

    def decode(self, numbers: Sequence[int]) -> str:
        """Return the text of a caption up to its END, with punctuation where it belongs."""
        said = numbers[: numbers.index(END)] if END in numbers else numbers
        return _BEFORE_MARK.sub("", " ".join(self.words[number - MARKS] for number in said if number >= MARKS))
