"""Vision towers by name, of timm, open_clip and transformers, as one kind of module that can be adapted by layer."""

from harness.models.names import has_tower, library_name
from harness.models.towers.load import build_tower, load_tower
from harness.models.towers.tower import Tower, adapt

__all__ = ["Tower", "adapt", "build_tower", "has_tower", "library_name", "load_tower"]
