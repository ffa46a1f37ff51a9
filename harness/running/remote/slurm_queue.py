"""SLURM as the executor uses it: jobs submitted through submitit, asked for, and cancelled."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.store.config import RunConfig

_SECONDS = 60
"""That SLURM's commands may take; a busy controller is slow."""
_LOG_LINES = 5
_MOST_JOBS = 1000
"""Jobs of a command that wait or run at a time, at most: SLURM's own default for an array."""


def require_slurm() -> None:
    """Raise ``InputError`` if submitit is not installed, or this is no machine that jobs are submitted from."""
    if find_spec("submitit") is None:
        raise InputError('--executor slurm needs submitit; pip install "prompt-harness[slurm]"')
    if missing := [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]:
        raise InputError(
            f"--executor slurm: there is no {missing[0]} on this machine; run the command where jobs are submitted "
            "from (a login node), or choose another --executor"
        )


class SlurmQueue:
    """The jobs of a command.

    Parameters
    ----------
    folder
        That takes logs and submitit's files; all machines see it.
    config
        Says what each job asks for.
    memory
        Bytes that a task needs, by its predictor's estimate; 0: unknown.
    """

    def __init__(self, folder: Path, config: RunConfig, memory: int) -> None:
        self._folder, self._config, self._memory = folder, config, memory

    @cached_property
    def most(self) -> int:
        """How many jobs a command has in the queue at most: no array may be longer than SLURM is set up for."""
        told = _ask("scontrol", "show", "config") or ""
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", told, flags=re.MULTILINE)
        return max(min(_MOST_JOBS, int(found[1]) if found else _MOST_JOBS), 1)

    def submit(self, elements: Sequence[Any], parallel: int | None) -> list[str]:
        """Submit an array of jobs, and return their ids.

        Parameters
        ----------
        elements
            What each calls.
        parallel
            Most at a time; None: as many as SLURM lets.

        Raises
        ------
        InputError
            With what SLURM says, if it takes none.
        """
        import submitit

        config = self._config
        executor = submitit.SlurmExecutor(folder=str(self._folder / "logs" / "%j"), max_num_timeout=1000)
        parameters: dict[str, Any] = {
            "job_name": "harness",
            "time": config.slurm_minutes,
            "cpus_per_task": config.slurm_cpus,
            "additional_parameters": {"requeue": True, **_spelt(config.slurm_set)},
        }
        if config.slurm_partition:
            parameters["partition"] = config.slurm_partition
        gpus = config.slurm_gpus if config.slurm_gpus is not None else int(config.device.startswith("cuda"))
        if gpus:
            parameters["gpus_per_node"] = gpus
        if config.slurm_gib is not None:
            parameters["mem"] = f"{config.slurm_gib * 1024:.0f}MB"
        elif self._memory:
            parameters["mem"] = f"{self._memory // 2**20 + 2048}MB"
        if parallel is not None:
            parameters["array_parallelism"] = parallel
        try:
            executor.update_parameters(**parameters)
            with executor.batch():
                jobs = [executor.submit(element) for element in elements]
            return [str(job.job_id) for job in jobs]
        except subprocess.CalledProcessError as error:
            said = " ".join((error.output or b"").decode(errors="replace").split()) or str(error)
            raise InputError(f"SLURM takes no job: {said}") from error
        except Exception as error:  # submitit has its own ways to say that sbatch failed
            if type(error).__name__ != "FailedJobError":
                raise
            said = " ".join(str(error).split())
            raise InputError(
                f"SLURM takes no job: {said}; see --slurm-partition, --slurm-gib and --slurm-set"
            ) from error

    def states(self, jobs: Iterable[str]) -> Mapping[str, str] | None:
        """Return the state of each job that SLURM still has, by its id; None where SLURM does not answer."""
        wanted = set(jobs)
        ids = sorted({job.partition("_")[0] for job in wanted})
        told = _ask("squeue", "--noheader", "--array", "--format", "%i|%F_%K|%T", "--jobs", ",".join(ids))
        if told is None:
            return None
        found = {}
        for line in told.splitlines():
            single, member, state = line.split("|")
            for job in (single, member, member.partition("_")[0]):
                if job in wanted:
                    found[job] = state
        return found

    def cancel(self, jobs: Iterable[str]) -> None:
        """End jobs, whether they run or wait."""
        if ids := sorted(jobs):
            _ask("scancel", *ids)

    def log_of(self, job: str) -> Path:
        """Return where the log of a job lies."""
        array = job.partition("_")[0]
        return self._folder / "logs" / array / f"{job}_0_log.err"

    def clear_logs(self, named: str) -> None:
        """Remove the logs of jobs that SLURM has no more, but for those whose path stands in a text."""
        found = [path for path in (self._folder / "logs").glob("*") if str(path) not in named]
        for script in found:
            if script.is_file():  # which SLURM has long copied
                script.unlink(missing_ok=True)
        folders = [path for path in found if path.is_dir()]
        alive = self.states(folder.name.partition("_")[0] for folder in folders) if folders else None
        for folder in folders:
            if alive is not None and folder.name.partition("_")[0] not in alive:
                shutil.rmtree(folder, ignore_errors=True)

    def last_words(self, job: str) -> str:
        """Return the end of a job's log."""
        try:
            lines = self.log_of(job).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_LOG_LINES:])


def _ask(*command: str) -> str | None:
    """Return what a command of SLURM prints; None if it fails. Of jobs that have long ended it knows nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode == 0:
        return done.stdout
    return "" if "Invalid job id" in done.stderr else None


def _spelt(given: Mapping[str, str | int]) -> dict[str, str | int]:
    return {key.lstrip("-").replace("_", "-"): value for key, value in given.items()}


def read_json(path: Path) -> Any:
    """Return a document; None where it is not there yet, or is being replaced."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
