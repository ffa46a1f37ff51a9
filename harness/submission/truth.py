"""What a submission is scored against: a table of prompts, a data set, or another submission."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.layouts.tables import read_csv
from harness.data.opening import Readers, open_dataset
from harness.data.targets import PromptEncoder, row_targets
from harness.errors import InputError
from harness.submission.columns import is_compressed
from harness.submission.read import SUFFIXES, is_submission, read_submission

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_truth(spec: str, encoder: PromptEncoder, readers: Readers) -> tuple[list[str], NDArray[np.float32]]:
    """Return ids and true embeddings, shape (n, 384), float32.

    Parameters
    ----------
    spec
        A CSV file with ``imgId,prompt``, a submission file of true embeddings (compressed or not), or any data set with
        prompts.
    encoder
        Embeds prompts.
    readers
        Data set readers, by name.

    Raises
    ------
    InputError
        If it is none of these, or a row is wrong.
    """
    path = Path(spec)
    if path.is_file() and path.name.lower().endswith(SUFFIXES):
        if is_submission(path):
            truth = read_submission(path)
            return truth.ids, truth.vectors
        if is_compressed(path):
            raise InputError(
                f"--truth {spec}: what is compressed here is no submission; a table of prompts, or a data set, is read "
                "unpacked, so unpack it"
            )
        ids, texts = _read_prompts(path)
    else:
        dataset = open_dataset(spec, readers)
        if not dataset.has_texts:
            raise InputError(
                f"--truth {spec}: the data set has no prompts; name a prompts.csv or a data set with prompts"
            )
        ids, texts = list(dataset.ids), list(dataset.texts)
    return ids, row_targets(texts, encoder)


def _read_prompts(path: Path) -> tuple[list[str], list[tuple[str, ...]]]:
    """Read ``imgId,prompt`` without looking for images: to score needs none."""
    seen: dict[str, str] = {}
    texts: list[tuple[str, ...]] = []
    for where, row in read_csv(path, ["imgId", "prompt"]):
        image = row["imgId"]
        if image in seen:
            raise InputError(f"{where}: the id '{image}' is already taken by {seen[image]}; ids must be unique")
        if not row["prompt"].strip():
            raise InputError(f"{where}: the prompt of '{image}' is empty; write it or remove the row")
        seen[image] = where
        texts.append((row["prompt"],))
    if not texts:
        raise InputError(f"{path}: it has no rows; add prompts")
    return list(seen), texts
