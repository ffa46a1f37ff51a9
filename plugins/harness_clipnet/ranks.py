"""One fit on several devices: the images of each batch are shared out, and every process sees all of their features.

A process a device (a *rank*) runs its part of a batch through the tower. The pooled outputs are gathered, and mixup,
head, BatchNorm and loss are computed in each of them from the whole batch, as they are in one process: statistics are
those of all rows, and a row may be mixed with one of another device. What it costs is a head computed several times.
Gradients of the tower's weights are summed over the ranks; those of the head are the same in all but for rounding, and
averaged, so that the weights stay the same. Everything random is drawn by each rank for the whole batch.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn

from harness.plugin import Context, HarnessError, InputError

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from harness_clipnet.config import ClipNetConfig

    Follow = Callable[..., None]

_PATIENCE = timedelta(minutes=10)
"""How long a rank waits for another one in a step."""
_BUCKET = 1 << 25
"""Numbers of gradients that are sent together: 128 MiB."""
_LOOK = 0.05


@dataclass(frozen=True)
class Ranks:
    """The processes of a fit, as one of them sees them.

    Parameters
    ----------
    rank, world
        Which one this is, and how many there are.
    seed
        Of what the tower draws on each.
    """

    rank: int
    world: int
    seed: int

    def part(self, rows: int) -> slice:
        """Return which of the rows of a batch are this rank's."""
        return slice(self.rank * rows // self.world, (self.rank + 1) * rows // self.world)

    def gathered(self, features: torch.Tensor, rows: int) -> torch.Tensor:
        """Return the features of all ``rows`` of a batch, float32, from each rank's own; gradients find their way."""
        found: torch.Tensor = _Gather.apply(features.float(), self, rows)
        return found

    @contextmanager
    def own_noise(self, step: int, device: str) -> Iterator[None]:
        """Let what the tower draws (dropout) be this rank's own; afterwards generators are where they were, in all."""
        cards = [torch.device(device)] if device.startswith("cuda") else []
        with torch.random.fork_rng(cards):
            if self.rank:
                torch.manual_seed(hash((self.seed, step, self.rank)))
            yield

    def sum_gradients(self, tower: nn.Module, head: nn.Module) -> None:
        """Sum the gradients of the tower over the ranks, and average those of the head."""
        for module, share in ((tower, 1.0), (head, 1.0 / self.world)):
            gradients = [p.grad for p in module.parameters() if p.grad is not None]
            for bucket in _buckets(gradients):
                flat = torch.cat([gradient.reshape(-1).float() for gradient in bucket])
                distributed.all_reduce(flat)
                parts = flat.mul_(share).split([gradient.numel() for gradient in bucket])
                for gradient, part in zip(bucket, parts, strict=True):
                    gradient.copy_(part.view_as(gradient))

    def told(self, value: Callable[[], float], device: str) -> float:
        """Return what the first rank finds."""
        number = torch.tensor(value() if self.rank == 0 else 0.0, dtype=torch.float64, device=device)
        distributed.broadcast(number, 0)
        return number.item()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: torch.Tensor, ranks: Ranks, rows: int) -> torch.Tensor:
        context.own = ranks.part(rows)
        sizes = [Ranks(rank, ranks.world, 0).part(rows) for rank in range(ranks.world)]
        longest = max(size.stop - size.start for size in sizes)
        sent = features.new_zeros((longest, *features.shape[1:]))
        sent[: len(features)] = features
        found = [torch.empty_like(sent) for _ in sizes]
        distributed.all_gather(found, sent)
        return torch.cat([part[: size.stop - size.start] for part, size in zip(found, sizes, strict=True)])

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        # Each rank has computed the whole loss: what it says of this rank's rows is all that there is.
        return gradients[0][context.own].contiguous(), None, None


def _buckets(gradients: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and size + gradient.numel() > _BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel()
    if bucket:
        yield bucket


def check_devices(config: ClipNetConfig, context: Context) -> None:
    """Raise ``InputError`` if a fit cannot be shared by so many devices here."""
    kind, _, number = context.device.partition(":")
    if config.devices == 1:
        return
    asked = f"clipnet.devices={config.devices}"
    if kind not in ("cuda", "cpu") or number:
        raise InputError(
            f"{asked} shares a fit over GPUs of CUDA, and --device is {context.device}; give --device cuda"
        )
    if kind == "cuda" and torch.cuda.device_count() < config.devices:
        seen = torch.cuda.device_count()
        raise InputError(
            f"{asked}, and this process sees {seen} {'GPU' if seen == 1 else 'GPUs'}; give clipnet.devices={seen}, or "
            "--executor serial: with parallel each worker has one GPU"
        )


def with_synchronised_norms(tower: nn.Module, config: ClipNetConfig, device: str) -> nn.Module:
    """Return a tower whose own BatchNorm, if it has any, takes its statistics over all ranks."""
    if config.devices == 1 or not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in tower.modules()):
        return tower
    if not device.startswith("cuda"):
        raise InputError(
            f"clipnet.devices={config.devices}: the tower {config.tower} has BatchNorm, which torch synchronises "
            "on GPUs only; leave clipnet.devices out on a CPU"
        )
    from timm.layers import convert_sync_batchnorm

    converted: nn.Module = convert_sync_batchnorm(tower)
    return converted


@contextmanager
def started(
    config: ClipNetConfig, context: Context, follow: Follow, arguments: tuple[Any, ...], begin: dict[str, Any]
) -> Iterator[Ranks]:
    """Start the other ranks, and be the first; leaving the context ends them.

    Parameters
    ----------
    follow
        What each of the others does, called with ``(ranks, config, context, begin, *arguments)``: a function of a
        module, and what can be pickled.
    begin
        Tensors, numbers and texts that all begin with.

    Raises
    ------
    HarnessError
        If one of them failed: with its reason. ``InputError`` if that was its failure.
    """
    folder = Path(tempfile.mkdtemp(prefix="ranks-", dir=context.scratch))
    torch.save(begin, folder / "begin.pt")
    device, threads = context.device, torch.get_num_threads()
    spawn = multiprocessing.get_context("spawn")
    told = (context.seed, context.workers, device, str(context.scratch))
    others = [
        spawn.Process(target=_follow, args=(rank, folder, config, told, follow, arguments), daemon=True)
        for rank in range(1, config.devices)
    ]
    try:
        for process in others:
            process.start()
        _await(others, folder)
        if device == "cpu":
            torch.set_num_threads(_threads(config.devices))
        _meet(0, config.devices, folder, device)
        yield Ranks(0, config.devices, context.seed)
    except Exception as error:
        raise _reason(folder, others, error) from error
    finally:
        torch.set_num_threads(threads)
        with suppress(Exception):  # it may be broken
            distributed.destroy_process_group()
        for process in others:
            process.join(_LOOK if process.exitcode is None and _failed(folder) else 30)
            if process.exitcode is None:
                process.kill()
                process.join()


def _follow(
    rank: int, folder: Path, config: ClipNetConfig, told: tuple[int, int, str, str], follow: Follow, arguments: Any
) -> None:
    try:
        seed, workers, device, scratch = told
        if device == "cpu":
            torch.set_num_threads(_threads(config.devices))
        else:
            torch.cuda.set_device(rank)
        own = device if device == "cpu" else f"{device}:{rank}"
        context = Context(Path(scratch), seed, workers, own)
        begin = torch.load(folder / "begin.pt", map_location="cpu", weights_only=True)
        (folder / f"ready-{rank}").touch()
        _meet(rank, config.devices, folder, device)
        follow(Ranks(rank, config.devices, seed), config, context, begin, *arguments)
        distributed.destroy_process_group()
    except BaseException as error:
        kind = "input" if isinstance(error, InputError) else "other"
        told_of = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        half = folder / f".error-{rank}"
        half.write_text(f"{kind}\n{told_of}", encoding="utf-8")
        half.replace(folder / f"error-{time.time_ns()}-{rank}")
        traceback.print_exc()
        os._exit(1)  # threads of a broken group may hang


def _meet(rank: int, world: int, folder: Path, device: str) -> None:
    backend = "gloo" if device == "cpu" else "nccl"
    distributed.init_process_group(
        backend, init_method=f"file://{folder.absolute()}/meet", rank=rank, world_size=world, timeout=_PATIENCE
    )


def _threads(world: int) -> int:
    return max(1, torch.get_num_threads() // world)


def _await(others: list[SpawnProcess], folder: Path) -> None:
    """Wait until all of them are there; one that dies before would be waited for in vain."""
    while len(list(folder.glob("ready-*"))) < len(others):
        if any(process.exitcode is not None for process in others):
            raise RuntimeError("a process of the fit ended before it began")
        time.sleep(_LOOK)


def _failed(folder: Path) -> list[Path]:
    return sorted(folder.glob("error-*"))  # the first one first: others fail because of it


def _reason(folder: Path, others: list[SpawnProcess], error: Exception) -> Exception:
    """Return the failure of another rank where this one only noticed that it is gone."""
    if isinstance(error, HarnessError):
        return error
    until = time.monotonic() + 2.0
    while not _failed(folder) and time.monotonic() < until:
        time.sleep(_LOOK)
    if not _failed(folder):
        died = next(((rank, p.exitcode) for rank, p in enumerate(others, 1) if p.exitcode), None)
        if died is None:
            return error
        return HarnessError(f"clipnet: the process of device {died[0]} ended with exit code {died[1]}")
    first = _failed(folder)[0]
    kind, _, told = first.read_text(encoding="utf-8").partition("\n")
    if kind == "input":
        return InputError(told)
    return HarnessError(f"clipnet: the process of device {first.name.rpartition('-')[2]} failed: {told}")
