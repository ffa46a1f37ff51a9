"""Features of a model at several depths, from one pass forward.

``last`` is what the model itself pools. N/M is the mean over all positions of what comes out of block ⌈N/M · blocks⌉,
as it is (no final norm, no class token). What a block is:

efficientnet-lite2  each of its 21 inverted residual blocks
timm                what ``forward_intermediates`` lists: blocks of a transformer, stages of a convolutional network
open_clip, tiny     likewise, of the image tower
transformers        each block that holds attention; stages of a convolutional network
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

from harness.plugin import InputError
from harness_baselines.naming import LAST

if TYPE_CHECKING:
    from torch import Tensor

    from harness.models.towers import Tower

    Forward = Callable[[Tensor, Sequence[str]], list[Tensor]]
    """From pixels (n, 3, h, w) and depths to features at each, shapes (n, d)."""
    Intermediates = Callable[[Tensor, list[int] | None, bool], tuple[Tensor | None, list[Tensor]]]
    """From pixels, numbers of blocks (None: all) and whether the output is wanted to it and maps (n, c, h, w)."""


def timm_forward(model: Any) -> Forward:
    """Return the forward pass of a timm model that was made with ``num_classes=0``."""

    def intermediates(pixels: Tensor, blocks: list[int] | None, output: bool) -> tuple[Tensor | None, list[Tensor]]:
        options = {"indices": blocks, "output_fmt": "NCHW", "stop_early": not output}
        if not output:
            return None, model.forward_intermediates(pixels, intermediates_only=True, **options)
        final, maps = model.forward_intermediates(pixels, **options)
        return model.forward_head(final), maps

    if not hasattr(model, "forward_intermediates"):
        return _last_alone(model, type(model).__name__)
    return _at_depths(model, intermediates)


def open_clip_forward(model: Any) -> Forward:
    """Return the forward pass of the image tower of an open_clip model."""
    if not hasattr(model.visual, "forward_intermediates"):
        return _last_alone(model.encode_image, type(model.visual).__name__)
    unit = inspect.signature(model.encode_image).parameters["normalize"].default  # True for CoCa alone

    def intermediates(pixels: Tensor, blocks: list[int] | None, output: bool) -> tuple[Tensor | None, list[Tensor]]:
        found = model.forward_intermediates(
            image=pixels,
            image_indices=blocks,
            stop_early=not output,
            normalize=unit,
            intermediates_only=not output,
        )
        return found.get("image_features"), found["image_intermediates"]

    return _at_depths(model.encode_image, intermediates)


def efficientnet_forward(model: Any) -> Forward:
    """Return the forward pass of a model of the package ``efficientnet-lite-pytorch``, without its classifier."""

    def last(pixels: Tensor) -> Tensor:
        pooled: Tensor = model.extract_features(pixels).mean(dim=(2, 3))
        return pooled

    def intermediates(pixels: Tensor, blocks: list[int] | None, output: bool) -> tuple[Tensor | None, list[Tensor]]:
        maps: dict[int, Tensor] = {}
        asked = range(len(model._blocks)) if blocks is None else blocks
        handles = [
            model._blocks[i].register_forward_hook(lambda module, given, result, i=i: maps.update({i: result}))
            for i in asked
        ]
        try:
            features = last(pixels)
        finally:
            for handle in handles:
                handle.remove()
        return features, [maps[i] for i in asked]

    return _at_depths(last, intermediates)


def tower_forward(tower: Tower) -> Forward:
    """Return the forward pass of a vision tower of ``harness.models``: a block's output is maps or a row of tokens."""

    def intermediates(pixels: Tensor, blocks: list[int] | None, output: bool) -> tuple[Tensor | None, list[Tensor]]:
        found: dict[int, Tensor] = {}
        asked = range(len(tower.blocks)) if blocks is None else blocks

        def keep(number: int) -> Any:
            def hook(module: Any, given: Any, result: Any) -> None:
                result = result[0] if isinstance(result, tuple) else result
                found[number] = result if result.ndim == 4 else result.transpose(1, 2)

            return hook

        handles = [tower.model.get_submodule(tower.blocks[i]).register_forward_hook(keep(i)) for i in asked]
        try:
            features = tower(pixels)
        finally:
            for handle in handles:
                handle.remove()
        return features, [found[i] for i in asked]

    return _at_depths(tower, intermediates)


def _at_depths(last: Callable[[Tensor], Tensor], intermediates: Intermediates) -> Forward:
    count = 0

    def forward(pixels: Tensor, depths: Sequence[str]) -> list[Tensor]:
        nonlocal count
        if list(depths) == [LAST]:
            return [last(pixels)]
        if not count:  # one image's pass, since only the model knows
            count = len(intermediates(pixels[:1], None, False)[1])
        place = {depth: ceil(Fraction(depth) * count) - 1 for depth in depths if depth != LAST}
        blocks = sorted(set(place.values()))
        output, maps = intermediates(pixels, blocks, LAST in depths)
        pooled = {block: mapped.flatten(2).mean(dim=2) for block, mapped in zip(blocks, maps, strict=True)}
        return [output if depth == LAST else pooled[place[depth]] for depth in depths]

    return forward


def _last_alone(last: Callable[[Tensor], Tensor], kind: str) -> Forward:
    def forward(pixels: Tensor, depths: Sequence[str]) -> list[Tensor]:
        if list(depths) != [LAST]:
            raise InputError(
                f"backbone: its library gives a {kind} no features between; write it without @, or with @last"
            )
        return [last(pixels)]

    return forward
