"""Six small pictures, and a context that caches."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.cache import DiskCache
from harness.data.images import ImageFile, LazyImages
from harness.plugin import Context
from tests.conftest import save_image


@pytest.fixture
def images(tmp_path: Path) -> LazyImages:
    files = [tmp_path / f"{i}.png" for i in range(6)]
    for i, path in enumerate(files):
        save_image(path, i, size=(64, 48))
    sources = [ImageFile(path) for path in files]
    return LazyImages(sources, [source.digest() for source in sources], workers=2)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(scratch=tmp_path, requested_device="cpu", cache=DiskCache(tmp_path / "cache"))
