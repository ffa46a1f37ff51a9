"""Writing a submission: streamed, float32 values in their shortest exact form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from harness.errors import InputError
from harness.store.atomic import write_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER = ("imgId_eId", "val")
_IMAGES_A_BLOCK = 256
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
        reads back to the same float32. Memory stays flat: blocks of 256 images.

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
    seen = set()
    for image_id in ids:
        if not image_id:
            raise InputError("an image id is empty and cannot stand in a submission; name every image")
        if any(c in image_id for c in _FORBIDDEN):
            raise InputError(
                f"the image id {image_id!r} holds a comma, quote or line break and cannot stand in a submission; "
                "rename it"
            )
        if image_id in seen:
            raise InputError(f"the image id '{image_id}' is in the test set twice; ids must be unique")
        seen.add(image_id)


def _write_rows(stream: IO[bytes], ids: Sequence[str], values: NDArray[Any]) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    dim = values.shape[1]
    suffixes = pa.array([f"_{e}" for e in range(dim)])
    stream.write((",".join(HEADER) + "\n").encode())
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    for start in range(0, len(ids), _IMAGES_A_BLOCK):
        block = np.ascontiguousarray(values[start : start + _IMAGES_A_BLOCK], dtype=np.float32)
        if not np.isfinite(block).all():
            row = start + int((~np.isfinite(block).all(axis=1)).argmax())
            raise ValueError(f"the prediction of '{ids[row]}' is not finite")
        names = pa.array(ids[start : start + _IMAGES_A_BLOCK]).take(pa.array(np.repeat(np.arange(len(block)), dim)))
        tails = pa.concat_arrays([suffixes] * len(block))
        table = pa.table({"id": pc.binary_join_element_wise(names, tails, ""), "val": block.ravel()})
        csv.write_csv(table, stream, options)
