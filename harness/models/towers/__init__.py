"""Vision towers by name, of timm, open_clip and transformers, as one kind of module that can be adapted by layer."""

from harness.models.towers.load import build_tower, has_tower, load_tower
from harness.models.towers.tower import Tower, TowerPreprocessing, adapt

__all__ = ["Tower", "TowerPreprocessing", "adapt", "build_tower", "has_tower", "load_tower"]
