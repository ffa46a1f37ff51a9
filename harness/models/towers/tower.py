"""A vision tower whatever its library: its blocks from input to output, its pooled features, LoRA on its attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from harness.errors import InputError
from harness.pipeline import Preprocessing

ATTENTION = frozenset({"attn", "self_attn", "attention", "self_attention"})
"""What timm, open_clip and transformers call the attention of a block."""
_STAGES = ("stages", "blocks", "layer")
_FUSED = frozenset({"qkv", "in_proj"})


class Tower(nn.Module):  # type: ignore[misc]
    """Normalised pixels (n, 3, s, s) to pooled features (n, width).

    BatchNorm keeps its statistics in training: those of a small batch of a fine-tuning are worse than its own.

    Parameters
    ----------
    model
        The library's module, without its text tower and classifier.
    pool
        From the module and pixels to features, shape (n, width).
    preprocessing
        What the tower wants to see.
    name
        What the user called it, for messages.
    outputs
        Names of parameters that work after the last block though they are registered before it.
    """

    def __init__(
        self,
        model: nn.Module,
        pool: Callable[[Any, torch.Tensor], torch.Tensor],
        preprocessing: Preprocessing,
        name: str,
        outputs: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.model = model
        self._pool = pool
        self.preprocessing = preprocessing
        self.name = name
        self.attention = _attention(model)
        self.blocks = _blocks(model, self.attention)
        """Names of the blocks of a transformer, or of the stages of a convolutional network, from the input on."""
        self._outputs = frozenset(outputs)
        self._places = _places(model, self.blocks, self._outputs)
        self.width = self._probe()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pooled features, shape (n, width)."""
        return self._pool(self.model, pixels)

    def train(self, mode: bool = True) -> Tower:
        """Set the mode of all but BatchNorm."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def place(self, name: str) -> int:
        """Return the number of the block a parameter of ``model`` belongs to.

        -1 is before the first (embeddings), ``len(blocks)`` after the last (norm, pooling head). What lies between two
        blocks, as the downsampling of Swin, goes with the later one.
        """
        return self._places[name.replace(".parametrizations.", ".").partition(".original")[0].partition(".0.lora_")[0]]

    def recompute_activations(self) -> None:
        """Let blocks keep only their inputs in training: slower, less memory."""
        from torch.utils.checkpoint import checkpoint

        for name in self.blocks:
            block = self.model.get_submodule(name)
            inner = block.forward

            def again(*args: Any, _inner: Any = inner, _block: nn.Module = block, **kwargs: Any) -> Any:
                if not (_block.training and torch.is_grad_enabled()):
                    return _inner(*args, **kwargs)
                return checkpoint(_inner, *args, use_reentrant=False, **kwargs)

            again.recomputes = True  # type: ignore[attr-defined]  # for whoever copies the block
            block.forward = again

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def refusal(self, size: int) -> str | None:
        """Say why the tower as it is built cannot take images of a size, None if it can. Ask it in evaluation mode."""
        device = next(self.model.parameters()).device
        try:
            found = self(torch.zeros(1, 3, size, size, device=device))
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            return str(error).partition("\n")[0]
        return None if found.shape == (1, self.width) else f"its features have the shape {tuple(found.shape)}"

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _probe(self) -> int:
        """Send one grey image through: whether the size suits is for the library to say, and it says it so."""
        self.eval()
        size = self.preprocessing.size
        device = next(self.model.parameters()).device
        try:
            found = self(torch.zeros(1, 3, size, size, device=device))
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            raise InputError(
                f"{self.name}: it cannot take images of {size} x {size} pixels ({str(error).splitlines()[0]}); "
                "leave the image size out, or give a multiple of its patch"
            ) from error
        if found.ndim != 2:
            raise InputError(f"{self.name}: its features have the shape {tuple(found.shape)}, one vector was expected")
        return int(found.shape[1])


class LowRank(nn.Module):  # type: ignore[misc]
    """W + scale · B A (Hu et al. 2021, arXiv:2106.09685), as a parametrization of a weight.

    On the weight and not on the map's output, as peft has it: several libraries hand the weight itself to a kernel
    (``nn.MultiheadAttention``, timm's BEiT and EVA), which an update of the output would never reach. Where one weight
    makes queries, keys and values, each has its own A and B. B starts at zero, A is drawn from torch's generator.
    """

    def __init__(self, weight: torch.Tensor, rank: int, scale: float, parts: int) -> None:
        super().__init__()
        out, into = weight.shape
        self.scale = scale
        self.lora_A = nn.Parameter(torch.empty(parts, rank, into, device=weight.device))
        self.lora_B = nn.Parameter(torch.zeros(parts, out // parts, rank, device=weight.device))
        for part in self.lora_A:
            nn.init.kaiming_uniform_(part, a=5**0.5)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the adapted weight."""
        return weight + self.scale * (self.lora_B @ self.lora_A).reshape(weight.shape)


def adapt(tower: Tower, lora: range, trained: range, rank: int, scale: float) -> None:
    """Put LoRA on the attention of some blocks and let it, other blocks, and what follows the last be trained.

    Raises
    ------
    InputError
        If a block that is to have LoRA has no attention of linear maps.
    """
    for number in lora:
        block = tower.blocks[number]
        weights = _projections(tower, block)
        if not weights:
            raise InputError(
                f"{tower.name}: LoRA adapts attention, and {block} has none of linear maps; "
                "set lora_rate=0 and train the last of its "
                f"{len(tower.blocks)} stages or blocks by nfz_rate"
            )
        for module, key, parts in weights:
            parametrize.register_parametrization(
                module, key, LowRank(getattr(module, key), rank, scale, parts), unsafe=True
            )
    for name, parameter in tower.model.named_parameters():
        place = tower.place(name)
        parameter.requires_grad_(".lora_" in name or place in trained or place == len(tower.blocks))


def _attention(model: nn.Module) -> list[str]:
    """Return the names of the outermost attention modules that are inside numbered blocks."""
    found: list[str] = []
    for name, _ in model.named_modules():
        parts = name.split(".")
        inside = any(name.startswith(f"{other}.") for other in found)
        if parts[-1] in ATTENTION and any(part.isdigit() for part in parts) and not inside:
            found.append(name)
    return found


def _blocks(model: nn.Module, attention: Sequence[str]) -> list[str]:
    """Return the blocks that hold attention; without any, the stages of a convolutional network."""
    found: dict[str, None] = {}
    for name in attention:
        parts = name.split(".")
        last = max(i for i, part in enumerate(parts) if part.isdigit())
        found[".".join(parts[: last + 1])] = None
    if found:
        return list(found)
    for name, module in model.named_modules():
        leaf = name.rpartition(".")[2]
        if leaf in _STAGES and isinstance(module, (nn.Sequential, nn.ModuleList)) and len(module) > 1:
            return [f"{name}.{i}" for i in range(len(module))]
    for name, module in [("", model), *model.named_modules()]:
        if hasattr(module, "layer1") and hasattr(module, "layer2"):
            start = f"{name}." if name else ""
            return [f"{start}{child}" for child, _ in module.named_children() if child[:-1] == "layer"]
    raise InputError(f"{type(model).__name__}: neither blocks with attention nor stages were found in it")


def _places(model: nn.Module, blocks: Sequence[str], outputs: frozenset[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    names = [name for name, _ in model.named_parameters()]
    own = [next((i for i, block in enumerate(blocks) if name.startswith(f"{block}.")), None) for name in names]
    after = max((at for at, place in enumerate(own) if place is not None), default=-1)
    following: int = len(blocks)
    for at in range(len(names) - 1, -1, -1):
        place = own[at]
        if place is not None:
            following = place
        elif names[at] in outputs or at > after:
            place = len(blocks)
        else:
            place = following if following else -1
        places[names[at]] = place
    return places


def _projections(tower: Tower, block: str) -> list[tuple[nn.Module, str, int]]:
    """Return the weights of a block's attention: module, name of the weight, how many maps it is made of."""
    found: list[tuple[nn.Module, str, int]] = []
    for attention in tower.attention:
        if not attention.startswith(f"{block}."):
            continue
        for name, module in tower.model.get_submodule(attention).named_modules():
            if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
                found.append((module, "in_proj_weight", 3))
            elif isinstance(module, nn.Linear):
                found.append((module, "weight", 3 if name.rpartition(".")[2] in _FUSED else 1))
    return found
