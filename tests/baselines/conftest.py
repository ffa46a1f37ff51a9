"""Six small pictures, and a context that caches."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.cache import DiskCache
from harness.data.lazy_images import LazyImages
from harness.plugin import Context
from tests.conftest import save_images


@pytest.fixture
def images(tmp_path: Path) -> LazyImages:
    return save_images(tmp_path, 6, (64, 48), workers=2)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(scratch=tmp_path, requested_device="cpu", cache=DiskCache(tmp_path / "cache"))
