"""Data sets, images, targets, groups and folds. Public helpers for plugins are named here, loaded lazily."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Dataset": "harness.data.dataset",
    "build_dataset": "harness.data.dataset",
    "open_dataset": "harness.data.opening",
    "LazyImages": "harness.data.lazy_images",
    "ImageFile": "harness.data.images",
    "DiskCache": "harness.data.cache",
    "MostAlike": "harness.data.search.most_alike",
    "PromptEncoder": "harness.data.targets",
    "row_targets": "harness.data.targets",
    "Folds": "harness.data.folds",
    "make_folds": "harness.data.folds",
    "threshold_table": "harness.data.folds",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used (PEP 562): ``import harness.data`` stays light."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'harness.data' has no attribute '{name}'")
