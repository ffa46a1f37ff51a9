"""The captioner that the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vitgpt2.captioners import save_captioner


@pytest.fixture(scope="session")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random captioner: ViT of 32 px and GPT-2, two layers each."""
    return save_captioner(tmp_path_factory.mktemp("captioner"))
