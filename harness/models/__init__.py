"""From a model name (``tiny``, a hub id, a path) to weights on disk."""

from harness.models.activation import own_activation
from harness.models.resolve import TINY_FOLDER, fetch_model

__all__ = ["TINY_FOLDER", "fetch_model", "own_activation"]
