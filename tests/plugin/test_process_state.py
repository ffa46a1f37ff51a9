"""What code leaves in a process is taken back, kind by kind, or named where it cannot be."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
import torch

from harness.plugin.process_state import ProcessState
from harness.store import predictions


@pytest.fixture(autouse=True)
def safe() -> Iterator[None]:
    """Whatever a test leaves, the tests after it do not find."""
    state = ProcessState()
    yield
    state.restore()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


KINDS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "the working folder": (lambda: os.chdir("/"), Path.cwd),
    "the environment": (lambda: os.environ.update(HARNESS_CACHE="x", A_NEW_ONE="y"), lambda: dict(os.environ)),
    "the umask": (lambda: os.umask(0o777), _umask),
    "sys.path": (lambda: sys.path.reverse(), lambda: list(sys.path)),
    "warnings.filters": (lambda: warnings.simplefilter("ignore"), lambda: list(warnings.filters)),
    "signal handlers": (
        lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
        lambda: signal.getsignal(signal.SIGTERM),
    ),
    "the recursion limit": (lambda: sys.setrecursionlimit(5000), sys.getrecursionlimit),
    "the garbage collector": (gc.disable, gc.isenabled),
    "the socket timeout": (lambda: socket.setdefaulttimeout(0.1), socket.getdefaulttimeout),
    "the level of logging": (lambda: logging.getLogger().setLevel(1), lambda: logging.getLogger().level),
    "numpy's error state": (lambda: np.seterr(all="raise"), np.geterr),
    "numpy's print options": (lambda: np.set_printoptions(precision=2), lambda: np.get_printoptions()["precision"]),
    "PIL.Image.MAX_IMAGE_PIXELS": (
        lambda: setattr(PIL.Image, "MAX_IMAGE_PIXELS", None),
        lambda: PIL.Image.MAX_IMAGE_PIXELS,
    ),
    "PIL.ImageFile.LOAD_TRUNCATED_IMAGES": (
        lambda: setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", True),
        lambda: PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
    ),
    "torch's default dtype": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "torch's gradient mode": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "torch's threads": (lambda: torch.set_num_threads(torch.get_num_threads() + 1), torch.get_num_threads),
    "torch's default device": (lambda: torch.set_default_device("meta"), lambda: torch.empty(1).device.type),
    "numpy.einsum": (lambda: setattr(np, "einsum", len), lambda: np.einsum),
    "numpy.linalg.norm": (lambda: setattr(np.linalg, "norm", len), lambda: np.linalg.norm),
    "os.replace": (lambda: setattr(os, "replace", len), lambda: os.replace),
    "torch.nn.functional.relu": (
        lambda: setattr(torch.nn.functional, "relu", len),
        lambda: torch.nn.functional.relu,
    ),
    "torch.Tensor.backward": (lambda: setattr(torch.Tensor, "backward", len), lambda: torch.Tensor.backward),
    "PIL.Image.Image.convert": (lambda: setattr(PIL.Image.Image, "convert", len), lambda: PIL.Image.Image.convert),
    "harness.store.predictions.unit_rows": (
        lambda: setattr(predictions, "unit_rows", len),
        lambda: predictions.unit_rows,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_as_it_was(kind: str) -> None:
    change, look = KINDS[kind]
    state, before = ProcessState(), look()
    change()
    assert look() != before
    assert state.restore().back == [kind]
    assert look() == before
    assert state.restore().back == []


def test_what_was_added_to_the_search_path_comes_last() -> None:
    state, before = ProcessState(), list(sys.path)
    sys.path.insert(0, "/a/new/one")
    state.restore()
    assert sys.path == [*before, "/a/new/one"], "the module that added it may import from there later"


def test_a_thread_cannot_be_taken_back() -> None:
    state, end = ProcessState(), threading.Event()
    thread = threading.Thread(target=end.wait, name="mine", daemon=True)
    thread.start()
    try:
        assert state.restore().left == ["the thread mine"]
    finally:
        end.set()
        thread.join()
    assert state.restore().left == []


def test_a_mode_that_was_entered_and_not_left_cannot_be_taken_back() -> None:
    state, mode = ProcessState(), torch.inference_mode()
    mode.__enter__()
    try:
        assert state.restore().left == ["torch's inference mode"]
    finally:
        mode.__exit__(None, None, None)


def test_a_strangers_function_in_a_library_loaded_since_is_seen() -> None:
    state = ProcessState()
    module = ModuleType("numpy.a_late_one")
    stranger: dict[str, Any] = {"__name__": "someones_plugin.patches"}
    exec("def replacement(): pass", stranger)
    module.function = stranger["replacement"]  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    try:
        assert state.restore({"someones_plugin"}).left == ["numpy.a_late_one.function"]
        assert state.restore().left == []
    finally:
        del sys.modules[module.__name__]


def test_importing_all_we_use_changes_no_function() -> None:
    state = ProcessState()
    for name in ("transformers", "sentence_transformers", "open_clip", "timm", "sklearn.linear_model"):
        importlib.import_module(name)
    told = state.restore()
    assert told.left == []
    assert not [name for name in told.back if name not in ("the environment", "warnings.filters")]
