"""What a backbone will need, from its architecture alone: built on torch's meta device, where weights weigh nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.models import fetch_model
from harness.models.loading import loaded_once
from harness.models.names import library_name
from harness.plugin import InputError
from harness_baselines.backbones import BATCH
from harness_baselines.depths import efficientnet_forward, open_clip_forward, timm_forward, tower_forward
from harness_baselines.features import BLOCK_NUMBERS
from harness_baselines.naming import PIXELS, NamedBackbone, named_backbones
from harness_baselines.nearest import TABLE_BLOCK
from harness_baselines.normal import IN_MEMORY

if TYPE_CHECKING:
    from harness_baselines.depths import Forward

_FLOAT = 4
_PIXELS_WIDTH = 704


@dataclass(frozen=True)
class BackboneSize:
    """Size of a backbone: weights, width of its features, and bytes at the peak of embedding a batch."""

    parameters: int
    width: int
    memory: int


@loaded_once(maxsize=8)
def backbone_size(name: str) -> BackboneSize | None:
    """Return the size of backbones without their weights; None where an architecture is on the hub too.

    Raises
    ------
    InputError
        If a backbone is unknown or not installed.
    """
    sizes = [_size(named) for named in named_backbones(name)]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return None
    return BackboneSize(
        sum(size.parameters for size in known),
        sum(size.width for size in known),
        max(size.memory for size in known),  # one after another
    )


def _size(named: NamedBackbone) -> BackboneSize | None:
    family, _, rest = library_name(named.name).partition(":")
    if named.name == PIXELS:
        return BackboneSize(0, _PIXELS_WIDTH, BATCH * (64 * 64 * 8 * 3 + _PIXELS_WIDTH) * _FLOAT)
    if named.name == "tiny":
        return _open_clip_size(str(fetch_model("tiny", tiny="clip", option="backbone")), named.depths)
    if named.name == "efficientnet-lite2":
        return _efficientnet_lite2_size(named.depths)
    if family == "timm":
        return _timm_size(rest, named.depths)
    if family == "open_clip":
        return _open_clip_size(rest, named.depths)
    return _transformers_size(named)


def _timm_size(name: str, depths: Sequence[str]) -> BackboneSize | None:
    import timm
    import torch
    from timm.data import resolve_model_data_config

    local = Path(name).is_dir()
    if not local and not timm.is_model(name.partition(".")[0]):
        return None  # a hub name, or a wrong one: only the hub can tell
    with torch.device("meta"):
        model = timm.create_model(f"local-dir:{name}" if local else name, pretrained=False, num_classes=0).eval()
    return _measured(model, timm_forward(model), depths, resolve_model_data_config(model)["input_size"][-1])


def _open_clip_size(name: str, depths: Sequence[str]) -> BackboneSize | None:
    import open_clip
    import torch

    local = Path(name).is_dir()
    model_name = f"local-dir:{name}" if local else name.partition("/")[0]
    if not local and model_name not in open_clip.list_models():
        return None
    with torch.device("meta"), _unwarned():
        model = open_clip.create_model(model_name, load_weights=False, device="meta").eval()
    size = model.visual.image_size
    return _measured(model, open_clip_forward(model), depths, size if isinstance(size, int) else size[0])


def _transformers_size(named: NamedBackbone) -> BackboneSize | None:
    from harness.models.towers import build_tower

    tower = build_tower(named.name, option="backbone")
    if tower is None:
        return None
    return _measured(tower, tower_forward(tower), named.depths, tower.preprocessing.size)


@contextmanager
def _unwarned() -> Iterator[None]:
    """Keep open_clip from warning that the model has no weights: it is meant to have none."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _efficientnet_lite2_size(depths: Sequence[str]) -> BackboneSize:
    from importlib.util import find_spec

    if find_spec("efficientnet_lite_pytorch") is None:
        raise InputError(
            "the backbone efficientnet-lite2 is not installed; run `pip install 'prompt-harness[efficientnet]'`"
        )
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    with torch.device("meta"):
        model = EfficientNet.from_name("efficientnet-lite2").eval()
    return _measured(model, efficientnet_forward(model), depths, 260)


def _measured(model: Any, forward: Forward, depths: Sequence[str], size: int) -> BackboneSize:
    """Send one image of shapes through, and note the largest step: what goes into a layer and what comes out."""
    import torch

    largest = 0

    def watch(module: Any, given: Any, result: Any) -> None:
        nonlocal largest
        tensors = [t for t in (*given, result) if isinstance(t, torch.Tensor)]
        largest = max(largest, sum(t.numel() for t in tensors))

    handles = [module.register_forward_hook(watch) for module in model.modules() if not list(module.children())]
    with torch.no_grad():
        features = forward(torch.empty(1, 3, size, size, device="meta"), depths)
    for handle in handles:
        handle.remove()
    parameters = sum(p.numel() for p in model.parameters())
    # Beside the largest step: the batch itself, as read ahead and as stacked.
    memory = _FLOAT * (parameters + BATCH * (largest + 4 * 3 * size**2))
    return BackboneSize(parameters, sum(block.shape[-1] for block in features), memory)


def knn_memory(size: BackboneSize, rows: int) -> int:
    """Return bytes: the backbone first; then the table, a block of features on its way into it, and the targets.

    And what 256 queries are compared with at a time: likenesses, their negatives, and positions of eight bytes. Of more
    rows than are compared with at once, it is all axes of them in half precision instead.
    """
    block = min(rows * size.width, BLOCK_NUMBERS)
    compared = 256 * (4 * min(rows, TABLE_BLOCK) + 200 * 384)
    bounds = 2 * rows * size.width * (rows > TABLE_BLOCK)
    return max(size.memory, _FLOAT * (rows * (size.width + 384) + 5 * block + compared) + bounds)


def ridge_memory(size: BackboneSize, rows: int) -> int:
    """Return bytes: the backbone first; then the solution in float64.

    That is features and targets, the standardised copy, the eigendecomposition of the smaller Gram matrix (three of
    its size), and two weight matrices. Of more rows than are taken at once, it is the sums of all rows and of each of
    the five inner folds, and a block of features, instead.
    """
    width = size.width
    if rows * width > IN_MEMORY:
        doubles = (6 + 4) * (width**2 + 384 * width) + 3 * BLOCK_NUMBERS
        return max(size.memory, 8 * doubles + _FLOAT * rows * 384)
    doubles = rows * (3 * width + 3 * 384) + 3 * min(rows, width) ** 2 + 2 * width * 384
    return max(size.memory, 8 * doubles + _FLOAT * rows * width)


def kernel_memory(size: BackboneSize, rows: int, landmarks: int) -> int:
    """Return bytes, as ``ridge_memory`` does: three kernels of the landmarks, mapped rows, and two solutions.

    Of more mapped rows than are taken at once, it is their sums instead.
    """
    doubles = 3 * landmarks**2 + 2 * landmarks * 384
    if rows * landmarks > IN_MEMORY:
        doubles += 4 * (landmarks**2 + 384 * landmarks) + 3 * 4096 * landmarks + 3 * BLOCK_NUMBERS
        return max(size.memory, 8 * doubles + _FLOAT * rows * 384)
    return max(size.memory, 8 * (doubles + 2 * rows * landmarks + 3 * rows * 384) + 2 * _FLOAT * rows * size.width)
