"""An embedded synthetic data set: prompts composed by a grammar, and pictures that show what they say.

The pictures are icon-font glyphs with procedural surfaces on procedural backdrops, rendered in many styles.
They let a workbench for prompt recovery run where there is no other data. They are synthetic: a score on them
says nothing about pictures made by Stable Diffusion or by any other text-to-image model.

A scene is fixed by `VERSION`, a seed and an index, and depends on no other scene.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.plugin import hookimpl

from .model import Scene

if TYPE_CHECKING:
    from PIL.Image import Image

    from harness.plugin import DatasetReader

__all__ = ["VERSION", "Scene", "compose", "draw"]

VERSION = "2"
"""Changes whenever any prompt or any pixel does."""


def compose(seed: int, index: int) -> Scene:
    """Compose a scene and its prompt, without drawing.

    Parameters
    ----------
    seed : int
        Names a data set; not negative.
    index : int
        Number of the scene in that data set; not negative.

    Returns
    -------
    Scene
        The scene, the same on every call.
    """
    from .grammar import compose as compose_scene

    return compose_scene(seed, index)


def draw(scene: Scene, size: int = 128) -> Image:
    """Draw a scene.

    Parameters
    ----------
    scene : Scene
        What to draw.
    size : int
        Side of the picture in pixels, at least 16.

    Returns
    -------
    PIL.Image.Image
        RGB picture of `size` x `size` pixels.
    """
    from .drawing import draw as draw_scene

    return draw_scene(scene, size)


@hookimpl
def harness_register_datasets(register: Callable[[DatasetReader], None]) -> None:
    """Register the data set by its name."""
    from .reader import ScenesReader

    register(ScenesReader())
