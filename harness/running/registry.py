"""The executors by the names that ``--executor`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.running.executors import Executor, Inline, Parallel, Serial
from harness.store.config import RunConfig


def _ray(config: RunConfig) -> Executor:
    from harness.running.remote.ray_executor import RayExecutor  # an extra, which takes seconds to import

    return RayExecutor(config)


def _slurm(config: RunConfig) -> Executor:
    from harness.running.remote.slurm_executor import SlurmExecutor  # an extra

    return SlurmExecutor(config)


EXECUTORS: Mapping[str, Callable[[RunConfig], Executor]] = {
    "serial": lambda config: Serial(),
    "parallel": lambda config: Parallel(),
    "inline": lambda config: Inline(),
    "ray": _ray,
    "slurm": _slurm,
}
