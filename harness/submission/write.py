"""Writing a submission: streamed, float32 values in their shortest exact form."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from harness.errors import InputError
from harness.store.atomic import write_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER = ("imgId_eId", "val")
_IMAGES_A_BLOCK = 64
_THREADS = 2
_FORBIDDEN = ',"\n\r'


def write_submission(path: Path, ids: Sequence[str], predictions: NDArray[np.float32]) -> None:
    """Write a submission file; under its final name it is complete or what it was before.

    Parameters
    ----------
    path
        The file to write.
    ids
        One id an image, in the order of the file.
    predictions
        Shape (len(ids), 384), float32, finite. Written as they are, in the shortest decimal form that
        reads back to the same float32. Memory stays flat: a few blocks of 64 images.

    Raises
    ------
    InputError
        If an id cannot stand in the file, appears twice, or the file cannot be written.
    """
    _check_ids(ids)
    values = np.asarray(predictions)
    if values.ndim != 2 or len(values) != len(ids):
        raise ValueError(f"{len(ids)} ids but predictions of shape {values.shape}")
    try:
        write_file(path, lambda stream: _write_rows(stream, ids, values))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name another file with --out") from error


def _check_ids(ids: Sequence[str]) -> None:
    if problem := why_unwritable(ids):
        raise InputError(problem)


def why_unwritable(ids: Sequence[str]) -> str:
    """Return why images of these ids can have no submission, and the mend; empty if they can."""
    seen = set()
    for image_id in ids:
        if not image_id:
            return "an image id is empty and cannot stand in a submission; name every image"
        if any(c in image_id for c in _FORBIDDEN):
            return (
                f"the image id {image_id!r} holds a comma, quote or line break and cannot stand in a submission; "
                "rename it"
            )
        if image_id in seen:
            return f"the image id '{image_id}' is in the test set twice; ids must be unique"
        seen.add(image_id)
    return ""


def _write_rows(stream: IO[bytes], ids: Sequence[str], values: NDArray[Any]) -> None:
    """Write the header, then blocks of images formatted by two threads (Arrow works outside the interpreter lock)."""
    stream.write((",".join(HEADER) + "\n").encode())
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[Future[bytes]] = deque()
        for start in range(0, len(ids), _IMAGES_A_BLOCK):
            block = slice(start, start + _IMAGES_A_BLOCK)
            waiting.append(pool.submit(_format, ids[block], values[block]))
            if len(waiting) > 2 * _THREADS:
                stream.write(waiting.popleft().result())
        for lines in waiting:
            stream.write(lines.result())


def _format(ids: Sequence[str], block: NDArray[Any]) -> bytes:
    """Return the lines of some images."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = np.ascontiguousarray(block, dtype=np.float32)
    if not np.isfinite(rows).all():
        row = int((~np.isfinite(rows).all(axis=1)).argmax())
        raise ValueError(f"the prediction of '{ids[row]}' is not finite")
    n, dim = rows.shape
    names = pa.array(ids, pa.string()).take(pa.array(np.repeat(np.arange(n), dim)))
    tails = pa.array([f"_{e}," for e in range(dim)]).take(pa.array(np.tile(np.arange(dim), n)))
    # Arrow casts float32 to its shortest exact decimal. The joined strings lie one after the other in
    # memory: that buffer is the text of the file.
    lines = pc.binary_join_element_wise(names, tails, pc.cast(pa.array(rows.ravel()), pa.string()), "\n", "")
    _, offsets, text = lines.buffers()
    return text.to_pybytes()[: int(np.frombuffer(offsets, dtype=np.int32)[n * dim])]
