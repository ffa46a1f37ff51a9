"""Images for prompts, by a diffusion model: the use case behind ``harness data generate``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.generating.batches import Batches, planned_batches
from harness.generating.making import Job, Progress, make_images, told
from harness.generating.options import GenerateOptions, parse_options
from harness.generating.pipeline import TextToImage, first_batch
from harness.generating.prompts import read_prompts, requests_hash, requests_of
from harness.generating.repository import find_repository
from harness.generating.state import Asked, GenerateFolder, GenerateState, ShardRecord
from harness.plugin import Context, PluginManager, in_use
from harness.running.device import require_device
from harness.store.places import free_bytes
from harness.training.precision import precision_name
from harness.version import __version__
from harness.wording import Say

_PNG_BYTES, _JPEG_BYTES = 1.8, 0.45
"""Bytes a pixel of images of Stable Diffusion, as PNG, and as JPEG of quality 95: see harness/generating/README.md."""


@dataclass(frozen=True)
class Plan:
    """What a command would make and need.

    Parameters
    ----------
    job
        What is to be made.
    prompts
        How many were read, without those that ``limit`` leaves.
    state
        What the folder was begun with; None: it is new.
    batch_size
        Images at a time to begin with.
    waiting
        Rows of shards that are not finished which are made already, by the shard's number.
    records
        What became of finished shards.
    """

    job: Job
    prompts: int
    state: GenerateState | None
    batch_size: int
    waiting: Mapping[int, set[int]]
    records: Mapping[int, ShardRecord]

    @property
    def batches(self) -> list[list[int]]:
        """Rows that are not made yet, batch by batch."""
        found = []
        for number, kept in self.waiting.items():
            for batch in planned_batches(self.job.requests, self.job.shards[number], self.batch_size):
                if left := [row for row in batch if row not in kept]:
                    found.append(left)
        return found

    @property
    def bytes(self) -> int | None:
        """About what is still to be written; None where the size of the images is not known."""
        options = self.job.options
        pixels = options.pixels or self.job.repository.pixels
        if pixels is None:
            return None
        rate = _PNG_BYTES if options.jpeg is None else _JPEG_BYTES * min(1.0, options.jpeg / 95)
        return math.ceil(sum(map(len, self.batches)) * pixels[0] * pixels[1] * rate)

    def document(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        job, batches, fetch = self.job, self.batches, self.job.repository.to_fetch
        todo = sum(map(len, batches))
        return {
            "out": str(job.folder.path),
            "goes_on": self.state is not None,
            "model": job.repository.name,
            "revision": job.repository.revision,
            "prompts": self.prompts,
            "rows": len(job.requests),
            "done": len(job.requests) - todo,
            "to_do": todo,
            "batch_size": self.batch_size,
            "batches": len(batches),
            "shards": len(job.shards),
            "shards_done": len(self.records),
            "device": job.device,
            "precision": job.precision,
            "fetch": None if fetch is None else fetch.document(),
            "bytes": self.bytes,
            "bytes_free": free_bytes(job.folder.path),
        }


@dataclass(frozen=True)
class Generated:
    """What became of a command.

    Parameters
    ----------
    job
        What was to be made.
    records
        What became of each shard.
    made
        Rows that this command made.
    seconds
        What it took, from when the model was loaded.
    batch_size
        Images at a time, as found.
    left_out
        Rows without an image.
    """

    job: Job
    records: Sequence[ShardRecord]
    made: int
    seconds: float
    batch_size: int
    left_out: int

    @property
    def images(self) -> int:
        """Images in the folder."""
        return sum(record.images for record in self.records)

    @property
    def notes(self) -> list[str]:
        """What a user should know, in sentences."""
        where = [f"the rows without an image are listed in {self.job.folder.left_out}"] if self.left_out else []
        return [*told(self.records), *where]

    def document(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        kinds = [row.kind for record in self.records for row in record.left_out]
        return {
            "out": str(self.job.folder.path),
            "model": self.job.repository.name,
            "revision": self.job.repository.revision,
            "rows": len(self.job.requests),
            "images": self.images,
            "made": self.made,
            "flagged": kinds.count("flagged") + sum(record.flagged for record in self.records),
            "broken": kinds.count("broken"),
            "truncated": sum(record.truncated for record in self.records),
            "left_out": self.left_out,
            "left_out_list": str(self.job.folder.left_out) if self.left_out else None,
            "shards": sum(record.images > 0 for record in self.records),
            "bytes": sum(record.bytes for record in self.records),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.made / self.seconds, 4) if self.made else None,
            "batch_size": self.batch_size,
            "device": self.job.device,
            "precision": self.job.precision,
        }


def _silent(*_: Any) -> None:
    """Take what nobody wants to hear."""


def what_would_generate(prompts: str, out: Path, options: Mapping[str, Any], plugin_files: Sequence[Path] = ()) -> Plan:
    """Say what ``generate_images`` would make and need. Nothing is written, and of the weights nothing fetched.

    Raises as ``generate_images`` does.
    """
    return _plan(_job(prompts, out, parse_options(options), plugin_files))


def generate_images(
    prompts: str,
    out: Path,
    options: Mapping[str, Any],
    plugin_files: Sequence[Path] = (),
    *,
    say: Say = _silent,
    progress: Progress = _silent,
    fetching: Callable[[str, int, int], None] = _silent,
) -> Generated:
    """Make an image of every prompt that has none yet in a folder, by a pipeline of ``diffusers``.

    Parameters
    ----------
    prompts
        A text file with one a line, a table with a column ``prompt``, or any data set.
    out
        The folder: new, or one that the same command began.
    options
        Of ``GenerateOptions``, by name; None: not given.
    plugin_files
        Plugins in single files, whose data sets ``prompts`` may name.
    say
        Told, in a line of text, of each step that can take long.
    progress
        Told how many rows are done, and of how many.
    fetching
        Told how much of the weights is fetched: what, megabytes, and of how many.

    Raises
    ------
    InputError
        For anything wrong with prompts, model, options or folder.
    HarnessError
        If a row fails twice, or the device's memory is short; what is made is kept.
    """
    parsed = parse_options(options)
    job = _job(prompts, out, parsed, plugin_files)
    job.folder.state(_asked(job))  # before anything is written there
    with job.folder.locked():
        plan = _plan(job)
        todo = sum(map(len, plan.batches))
        state = plan.state or GenerateState(asked=_asked(job), versions=_versions())
        _say_of_versions(state, say)
        job.folder.begin(state)
        began, size = time.monotonic(), plan.batch_size
        if len(plan.records) < len(job.shards):
            pipeline = _pipeline(job, say, fetching)
            batches = Batches(pipeline, plan.batch_size, fixed=parsed.batch_size != "auto")
            say(f"{todo} of {len(job.requests)} images to make, {plan.batch_size} at a time, into {out}")
            began = time.monotonic()
            make_images(job, pipeline, batches, state, progress)
            size = batches.size
        seconds = time.monotonic() - began
        records = [record for _, record in sorted(job.records().items())]
        left_out = job.folder.list_left_out(records)
    return Generated(job, records, todo, seconds, size, left_out)


def _job(prompts: str, out: Path, options: GenerateOptions, plugin_files: Sequence[Path]) -> Job:
    if find_spec("diffusers") is None:
        raise InputError("diffusers is not installed, which makes the images: pip install 'prompt-harness[diffusers]'")
    require_device(options.device)
    read = read_prompts(prompts, PluginManager(plugin_files).readers)
    requests = requests_of(read, options)
    repository = find_repository(options.model, options.revision, options.variant)
    device = Context(Path(), requested_device=options.device).device
    return Job(requests, options, repository, GenerateFolder(out), device, precision_name(device, options.precision))


def _plan(job: Job) -> Plan:
    state = job.folder.state(_asked(job))
    records = job.records()
    waiting = {number: job.waiting(number) for number in range(len(job.shards)) if number not in records}
    size = first_batch(job.options, job.device)
    if state is not None and state.batch_size is not None and job.options.batch_size == "auto":
        size = state.batch_size
    several = job.options.images_per_prompt
    return Plan(job, len(job.requests) // several, state, size, waiting, records)


def _asked(job: Job) -> Asked:
    options = job.options
    same = {name: getattr(options, name) for name in Asked.model_fields if name in type(options).model_fields}
    return Asked(
        **{
            **same,
            "model": job.repository.name,
            "revision": job.repository.revision,
            "prompts": requests_hash(job.requests),
            "rows": len(job.requests),
            "precision": job.precision,
        }
    )


def _pipeline(job: Job, say: Say, fetching: Callable[[str, int, int], None]) -> TextToImage:
    with in_use(Context(Path(), on_progress=fetching)):
        folder = job.repository.fetched()
    say(f"loading {job.repository.source} on {job.device} in {job.precision}")
    pipeline = TextToImage(folder, job.options, job.device, job.precision)
    pipeline.refuse(job.requests)
    return pipeline


def _versions() -> dict[str, str]:
    return {"harness": __version__, **{name: version(name) for name in ("diffusers", "transformers", "torch")}}


def _say_of_versions(state: GenerateState, say: Say) -> None:
    """Say where the folder was begun with other versions, whose images may differ."""
    for name, now in _versions().items():
        before = state.versions.get(name)
        if before is not None and before != now and name != "harness":
            say(f"the folder was begun with {name} {before}, and goes on with {now}: images may differ")
