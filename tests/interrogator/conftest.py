"""Towers and phrase lists that the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interrogator.towers import few_phrases, save_clip


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random CLIP, 24-d, 32 px."""
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def short_lists(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """Phrase lists that take no time to embed: some of each packaged one."""
    lists = few_phrases()
    monkeypatch.setattr("harness_interrogator.writing.phrase_lists", lambda files: lists)
    return lists
