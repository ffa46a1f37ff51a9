"""What ``save`` writes, and that ``load`` brings it back in another process, from another place."""

from __future__ import annotations

import json
import pickletools
import struct
import zipfile
from pathlib import Path

import numpy as np

from harness.testing.check import check
from harness.testing.checks.predicting import STEADY
from harness.testing.observing import listing
from harness.testing.records import ContractError
from harness.testing.reloading import reloaded
from harness.testing.subject import Subject

_WHY = "a pickle runs any code when it is loaded"


@check(
    "save-load",
    expected="a new predictor in a new process predicts the same after `load`",
    mend="`save` writes all that `predict` needs, also what `fit` chose; a trainable one has `save` and `load`",
    needs=STEADY,
)
def save_load(subject: Subject) -> None:
    """Test images are predicted from the saved models, at another time and maybe on another machine."""
    subject.lifetime.raise_errors_of("save", "load")
    subject.same(reloaded(subject).rows(0), subject.reference(), "in a new process")


@check(
    "model-moves",
    expected="a saved model works after its folder was moved and made read-only, and the scratch folder is gone",
    mend="write no paths into the model and keep no file of it in scratch; `load` writes nothing into the folder",
    needs=("save-load",),
)
def model_moves(subject: Subject) -> None:
    """Run folders are copied, archived and shared."""
    found = reloaded(subject)
    rows = found.rows(1)
    if found.written:
        raise ContractError(f"{', '.join(found.written)} in the model's folder was written while it was loaded")
    subject.same(rows, found.wanted, "from the moved folder")


@check(
    "model-files",
    expected="`save` writes safetensors, json, npy and plain text; no pickle",
    mend="arrays: `safetensors.numpy.save_file`, `safetensors.torch.save_file` or `np.save(..., allow_pickle=False)`; "
    "the rest: json",
    needs=("fit-and-predict",),
)
def model_files(subject: Subject) -> None:
    """A model of somebody else's must be safe to load."""
    subject.lifetime.raise_errors_of("save")
    for path in sorted(subject.lifetime.model.rglob("*")):
        if path.is_file():
            problem = wrong_content(path)
            if problem:
                raise ContractError(f"{path.relative_to(subject.lifetime.model)}: {problem}")


@check(
    "model-kept",
    expected="`predict` and `explain` change nothing of what `save` writes",
    mend="keep what they remember out of the model, or remember nothing",
    needs=STEADY,
)
def model_kept(subject: Subject) -> None:
    """A model that learns from the images it is asked about has seen the test set."""
    folders = [subject.new_folder("model") for _ in range(3)]
    subject.predictor.save(folders[0])
    subject.predictor.save(folders[1])
    subject.rows(subject.predictor, subject.data.elsewhere().images)
    subject.predictor.explain(subject.data.elsewhere().images)
    subject.predictor.save(folders[2])
    first, second, third = map(listing, folders)
    steady = {name for name in first.keys() | second.keys() if first.get(name) == second.get(name)}
    odd = sorted(name for name in (third.keys() - second.keys()) | steady if third.get(name) != second.get(name))
    if odd:
        raise ContractError(f"after predicting other images, save writes another {', '.join(odd)}")


def wrong_content(path: Path) -> str:
    """Say what is wrong with a file of a model, judging by its content; nothing if it is as it should be."""
    data = path.read_bytes()
    if data.startswith(b"\x93NUMPY"):
        return _npy_problem(path)
    if _is_json(data) or _is_safetensors(data):
        return ""
    if zipfile.is_zipfile(path):
        return f"it is an archive{_first_of(path)} (torch.save, np.savez and joblib write such)"
    if _is_pickle(data):
        return f"it is a pickle; {_WHY}"
    if path.suffix in (".npy", ".json", ".safetensors"):
        return f"it is not {path.suffix[1:]}"
    return "" if _is_text(data) else "it is neither safetensors, json, npy nor plain text"


def _first_of(archive: Path) -> str:
    with zipfile.ZipFile(archive) as opened:
        return "".join(f" with {name}" for name in opened.namelist()[:1])


def _npy_problem(path: Path) -> str:
    try:
        np.load(path, allow_pickle=False)
    except ValueError as error:  # an array of objects, or a file that is cut off
        return f"{error}; {_WHY}"
    return ""


def _is_safetensors(data: bytes) -> bool:
    size = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    return 0 < size <= len(data) - 8 and _is_json(data[8 : 8 + size])


def _is_pickle(data: bytes) -> bool:
    """Whether the bytes begin with a pickle of a newer protocol, or are one of the oldest, which is text."""
    try:
        operations = list(pickletools.genops(data))
    except Exception:  # it raises many types; all mean that these are no operations of a pickle
        return False
    whole = operations[-1][2] == len(data.rstrip()) - 1
    return data[:1] == b"\x80" or (whole and len(operations) > 2)


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False
