"""The towers that the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clipnet.towers import save_vision_tower, save_whole_clip


@pytest.fixture(scope="session")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random vision tower of 5 layers, 32 px."""
    return save_vision_tower(tmp_path_factory.mktemp("tower"))


@pytest.fixture(scope="session")
def whole_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole random CLIP, the same shape."""
    return save_whole_clip(tmp_path_factory.mktemp("clip"))
