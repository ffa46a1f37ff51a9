"""The executors by the names that ``--executor`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.running.executors import Executor, Inline, Parallel, Serial
from harness.store.config import RunConfig
from harness.wording import Say


def _ray(config: RunConfig, say: Say) -> Executor:
    from harness.running.remote.ray_executor import RayExecutor  # an extra, which takes seconds to import

    return RayExecutor(config, say)


def _slurm(config: RunConfig, say: Say) -> Executor:
    from harness.running.remote.slurm_executor import SlurmExecutor  # an extra

    return SlurmExecutor(config, say)


EXECUTORS: Mapping[str, Callable[[RunConfig, Say], Executor]] = {
    "serial": lambda config, say: Serial(),
    "parallel": lambda config, say: Parallel(),
    "inline": lambda config, say: Inline(),
    "ray": _ray,
    "slurm": _slurm,
}
