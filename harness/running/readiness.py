"""What a run needs of the machine, checked before any work: a device, places to write to, disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.plugin import EMBEDDING_DIM
from harness.running.device import require_device
from harness.running.task import rows_of
from harness.store.places import free_bytes, require_cache, require_run_folder
from harness.wording import size_of

if TYPE_CHECKING:
    from harness.running.plan import Plan
    from harness.store.config import RunConfig

_ROW_BYTES = 4 * EMBEDDING_DIM


def require_machine(config: RunConfig, name_option: Callable[[str], str]) -> None:
    """Refuse a run, before its data are opened, whose device or places to write to are not there.

    Raises
    ------
    InputError
        Naming the option or variable, and the mend.
    """
    require_device(config.device, name_option("device"), here=config.executor not in ("ray", "slurm"))
    require_cache()
    require_run_folder(config.run_dir, name_option("run_dir"))


def bytes_to_write(plans: Sequence[Plan]) -> int:
    """Return how many bytes plans will write at the least: targets and predictions, without models."""
    total = 0
    for plan in plans:
        inputs = plan.inputs
        if not plan.run.exists:
            total += len(inputs.dataset) * (_ROW_BYTES + inputs.folds.n_folds)
        for task in plan.todo:
            rows = 0 if task.only_test else len(rows_of(task, inputs))
            total += (rows + (0 if inputs.test is None else len(inputs.test))) * _ROW_BYTES
    return total


def require_disk(plans: Sequence[Plan], option: str = "--run-dir") -> None:
    """Raise ``InputError`` if the disk of the run's folder does not hold what plans will write at the least."""
    run, needed = plans[0].run, bytes_to_write(plans)
    free = free_bytes(run.path)
    if needed > free:
        raise InputError(
            f"{run.path}: the run writes at least {size_of(needed)}, and {size_of(free)} are free there; "
            f"free some space, or name a folder on another disk with {option}"
        )
