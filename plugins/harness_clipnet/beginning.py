"""What a fit begins with: a tower with its plan, a new head, and how images are prepared in each stage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from harness.models import fetch_model
from harness.models.towers import Tower, has_tower
from harness.models.towers import load_tower as load_named_tower
from harness.pipeline import Preprocessing
from harness.plugin import InputError
from harness_clipnet.network import ClipNet, build_head, prepare_tower
from harness_clipnet.pixels import read_preprocessing
from harness_clipnet.tower import load_tower, tower_name, weights_hash

if TYPE_CHECKING:
    from harness_clipnet.config import ClipNetConfig


def start_network(
    config: ClipNetConfig, preprocessing: Preprocessing | None = None
) -> tuple[ClipNet, Preprocessing, str]:
    """Load the tower, apply the plan and put a new head on it, on the CPU.

    The caller seeds torch's global generator; LoRA and head are drawn from it. With no tower epochs nothing in
    the tower is adapted.

    Returns
    -------
    network, preprocessing, tower_hash
        ``preprocessing`` is the given one, or else the checkpoint's.

    Raises
    ------
    InputError
        If the tower cannot be had, the plan asks for too many layers, or images are no whole number of patches wide.
    """
    name = tower_name(config.tower)
    if has_tower(name):
        size, two = preprocessing.size if preprocessing else config.image_size, config.small_size is not None
        named = load_named_tower(name, size, "clipnet.tower", two)
        digest = weights_hash(named)
        head = build_head(named.width, config.head_width, config.head_dropout)
        prepare_tower(named, config)
        return ClipNet(named, head), preprocessing or named.preprocessing, digest
    folder = fetch_model(config.tower, tiny="clip", option="clipnet.tower")
    tower = load_tower(folder, config.tower)
    shape = tower.config
    preprocessing = preprocessing or read_preprocessing(folder, shape.image_size, config.image_size)
    _check_patches("image_size", preprocessing.size, bool(config.image_size), shape.patch_size, config.tower)
    digest = weights_hash(tower)
    head = build_head(shape.hidden_size, config.head_width, config.head_dropout)
    prepare_tower(tower, config)
    return ClipNet(tower, head), preprocessing, digest


def small_preprocessing(config: ClipNetConfig, tower: nn.Module, own: Preprocessing) -> Preprocessing:
    """Return how images are prepared in the first stage: as later, or ``small_size`` wide.

    Raises
    ------
    InputError
        If that is no smaller, no whole number of patches, or the tower cannot take images of two sizes.
    """
    size = config.small_size
    if size is None:
        return own
    _check_smaller(size, own.size)
    if not isinstance(tower, Tower):
        _check_patches("small_size", size, True, tower.config.patch_size, config.tower)
    elif (reason := tower.refusal(size)) is not None:
        raise InputError(
            f"clipnet.small_size={size}: the tower {config.tower} was built for images of {own.size} pixels and cannot "
            f"take these as well ({reason}); leave the option out, or take a CLIP of transformers or a convolutional "
            "tower"
        )
    return replace(own, size=size)


def check_small_size(config: ClipNetConfig, shape: Any) -> None:
    """Raise ``InputError`` for a small size that a tower's shape, from ``known_config``, does not suit."""
    if config.small_size is None:
        return
    if isinstance(shape, Tower):
        _check_smaller(config.small_size, shape.preprocessing.size)
        return
    _check_smaller(config.small_size, config.image_size or shape.image_size)
    _check_patches("small_size", config.small_size, True, shape.patch_size, config.tower)


def _check_smaller(size: int, own: int) -> None:
    if size >= own:
        raise InputError(
            f"clipnet.small_size={size}: the images of the stage after it are {own} pixels wide; "
            "give less, or a larger clipnet.image_size"
        )


def _check_patches(option: str, size: int, asked: bool, patch: int, tower: str) -> None:
    """Raise ``InputError`` unless images are a whole number of patches wide, at least one."""
    if size < patch:
        raise InputError(
            f"clipnet.{option}={size}: the patches of tower {tower} are {patch} pixels wide; give at least that"
        )
    if asked and (over := size % patch):
        low = size - over
        raise InputError(
            f"clipnet.{option}={size} is no multiple of a patch: the patches of tower {tower} are {patch} pixels wide, "
            f"and {over} pixels of each side would not be seen; give {low} or {low + patch}"
        )
