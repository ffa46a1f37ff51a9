"""The work: shard by shard, batch by batch, each kept as soon as it is finished."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.errors import HarnessError
from harness.generating.batches import Batches, planned_batches
from harness.generating.options import GenerateOptions
from harness.generating.pipeline import Picture, TextToImage
from harness.generating.prompts import Request
from harness.generating.repository import Repository
from harness.generating.shards import SUFFIXES, WRITERS, encode, read_parts, write_part
from harness.generating.state import GenerateFolder, GenerateState, LeftOut, ShardRecord
from harness.wording import number_of

Progress = Callable[[int, int], None]
"""Told how many rows are done, and of how many."""
_AHEAD = 2
"""Batches that may wait to be encoded and written while the next is made."""
_ENCODERS = 4
_BROKEN_IN_A_ROW = 20
"""After so many it is not the rows that are wrong."""


@dataclass(frozen=True)
class Job:
    """What is to be made.

    Parameters
    ----------
    requests
        One a row.
    options
        As given.
    repository
        The pipeline.
    folder
        Where to.
    device, precision
        As found.
    """

    requests: Sequence[Request]
    options: GenerateOptions
    repository: Repository
    folder: GenerateFolder
    device: str
    precision: str

    @property
    def suffix(self) -> str:
        """How shards end."""
        return SUFFIXES[self.options.format]

    @property
    def shards(self) -> list[range]:
        """Numbers of the rows of each shard."""
        size, total = self.options.shard_rows, len(self.requests)
        return [range(start, min(start + size, total)) for start in range(0, total, size)]

    def records(self) -> dict[int, ShardRecord]:
        """Return what became of the shards that are finished."""
        found = {number: self.folder.finished(number, self.suffix) for number in range(len(self.shards))}
        return {number: record for number, record in found.items() if record is not None}

    def waiting(self, number: int) -> set[int]:
        """Return the rows of an unfinished shard that are made already."""
        return read_parts(self.folder.parts_of(number)).keys() & set(self.shards[number])


@dataclass
class _Broken:
    """Rows that failed twice, by number: kept in memory until their shard is finished, so that others try again."""

    reasons: dict[int, str] = field(default_factory=dict)
    in_a_row: int = 0


def make_images(job: Job, pipeline: TextToImage, batches: Batches, state: GenerateState, progress: Progress) -> None:
    """Make all images that are not there yet, and finish their shards.

    Raises
    ------
    HarnessError
        If a row fails twice and ``--skip-broken`` is not given, if many do one after the other, or if memory is short.
    """
    todo = [number for number in range(len(job.shards)) if job.folder.finished(number, job.suffix) is None]
    done = len(job.requests) - sum(len(job.shards[number]) for number in todo)
    broken = _Broken()
    with _writer() as write:
        for number in todo:
            kept = job.waiting(number)
            done += len(kept)
            progress(done, len(job.requests))
            for planned in planned_batches(job.requests, job.shards[number], batches.size):
                rows = [row for row in planned if row not in kept]
                if not rows:
                    continue
                pictures = batches([job.requests[row] for row in rows])
                if batches.size != state.batch_size:
                    state = state.model_copy(update={"batch_size": batches.size})
                    state.write(job.folder.state_file)
                write(_write_batch, job, pipeline, number, rows, pictures)
                done += len(rows)
                progress(done, len(job.requests))
                _judge(job, rows, pictures, broken)
            write(_finish_shard, job, number, dict(broken.reasons))
            broken.reasons.clear()


def _judge(job: Job, rows: Sequence[int], pictures: Sequence[Picture], broken: _Broken) -> None:
    """Note rows that failed, or end over them."""
    for row, picture in zip(rows, pictures, strict=True):
        if picture.pixels is not None:
            broken.in_a_row = 0
            continue
        request = job.requests[row]
        if not job.options.skip_broken:
            raise HarnessError(
                f"row '{request.id}' failed twice: {picture.problem}. What was made before it is kept in "
                f"{job.folder.path}; the same command tries it again, and with --skip-broken lists it and goes on"
            )
        broken.reasons[row] = picture.problem
        broken.in_a_row += 1
        if broken.in_a_row >= _BROKEN_IN_A_ROW:
            raise HarnessError(
                f"{_BROKEN_IN_A_ROW} rows one after the other failed twice, the last of them '{request.id}': "
                f"{picture.problem}. What was made before them is kept in {job.folder.path}"
            )


def _write_batch(job: Job, pipeline: TextToImage, shard: int, rows: Sequence[int], pictures: Sequence[Picture]) -> None:
    kept = {row: picture for row, picture in zip(rows, pictures, strict=True) if picture.pixels is not None}
    with ThreadPoolExecutor(_ENCODERS) as pool:  # encoders leave Python's lock alone
        images = pool.map(lambda picture: encode(picture.pixels, job.options.jpeg), kept.values())
        ready = {
            row: (image, _record(job, pipeline, job.requests[row], picture))
            for (row, picture), image in zip(kept.items(), images, strict=True)
        }
    if ready:
        write_part(job.folder.part(shard, min(ready)), ready)


def _record(job: Job, pipeline: TextToImage, request: Request, picture: Picture) -> dict[str, Any]:
    """Return what is written beside an image; keys that say nothing are left out."""
    assert picture.pixels is not None
    height, width = picture.pixels.shape[:2]
    told = {
        "id": request.id,
        "prompt": request.prompt,
        "seed": request.seed,
        "source": request.source if request.source is not None else job.repository.source,
        "group": request.group,
        "negative_prompt": request.negative,
        "steps": pipeline.steps(request),
        "guidance": pipeline.guidance(request),
        "width": width,
        "height": height,
        "model": job.repository.name,
        "revision": job.repository.revision,
        "scheduler": pipeline.scheduler,
        "precision": job.precision,
        "prompt_source": request.origin,
        "truncated": picture.truncated,
        "flagged": picture.flagged or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _finish_shard(job: Job, number: int, broken: dict[int, str]) -> None:
    """Join the batches of a shard, in the order of its rows, and note what became of each row."""
    rows, found = job.shards[number], read_parts(job.folder.parts_of(number))
    images, left_out = [], []
    for row in rows:
        request = job.requests[row]
        about = {"id": request.id, "prompt": request.prompt, "seed": request.seed}
        if row not in found:
            if row not in broken:
                raise HarnessError(f"{job.folder.parts}: a finished batch is gone; the same command makes it again")
            left_out.append(LeftOut(**about, kind="broken", reason=broken[row]))
        elif found[row].record.get("flagged") and not job.options.keep_flagged:
            left_out.append(LeftOut(**about, kind="flagged", reason="the model's safety checker blackened it"))
        else:
            images.append(found[row])
    path = job.folder.shard(number, job.suffix)
    if images:
        WRITERS[job.options.format](path, images, job.options.suffix)
    else:
        path.unlink(missing_ok=True)
    record = ShardRecord(
        rows=len(rows),
        images=len(images),
        flagged=sum(bool(image.record.get("flagged")) for image in images),
        truncated=sum(bool(image.record.get("truncated")) for image in images),
        bytes=path.stat().st_size if images else 0,
        left_out=tuple(left_out),
    )
    job.folder.finish(number, record)


@contextmanager
def _writer() -> Iterator[Callable[..., None]]:
    """Give a function that has a thread call another, in order; what is begun is finished however the block ends.

    It waits where too many calls are not done yet, and raises what one of them raised.
    """
    waiting: deque[Future[Any]] = deque()

    def write(function: Callable[..., None], *arguments: Any) -> None:
        waiting.append(pool.submit(function, *arguments))
        while len(waiting) > _AHEAD or (waiting and waiting[0].done()):
            waiting.popleft().result()

    with ThreadPoolExecutor(1, thread_name_prefix="harness-shards") as pool:
        yield write
        while waiting:
            waiting.popleft().result()


def told(records: Sequence[ShardRecord]) -> list[str]:
    """Say what a user should know of the rows of finished shards, in sentences."""
    kinds = [row.kind for record in records for row in record.left_out]
    kept, cut = sum(record.flagged for record in records), sum(record.truncated for record in records)
    sentences = {
        f"{number_of(kinds.count('flagged'), 'image')} blackened by the model's safety checker: left out "
        "(--keep-flagged keeps them, marked)": kinds.count("flagged"),
        f"{number_of(kept, 'image')} blackened by the model's safety checker: kept, marked flagged": kept,
        f"{number_of(kinds.count('broken'), 'row')} failed twice: left out": kinds.count("broken"),
        f"{number_of(cut, 'prompt')} longer than the 77 tokens that the model reads: its end is not in the image "
        "(marked truncated)": cut,
    }
    return [text for text, count in sentences.items() if count]
