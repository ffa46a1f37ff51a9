"""Other ways to break a check than the one in ``wrong.py``, and ways that look alike and are allowed."""

from __future__ import annotations

import json
import logging
import os
import socket
import sqlite3
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

from harness.plugin import Predictor
from harness.testing import check_predictor
from tests.testing.neat import Neat
from tests.warm import COLD_VARIABLE


class ImportsWhenConstructed(Neat):
    def __init__(self, config, context):  # type: ignore[no-untyped-def]
        import scipy

        super().__init__(config, context)
        self.scipy = scipy


class ReadsWhenConstructed(Neat):
    def __init__(self, config, context):  # type: ignore[no-untyped-def]
        super().__init__(config, context)
        self.guide = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


class PrintsPastPython(Neat):
    def fit(self, train):  # type: ignore[no-untyped-def]
        os.write(2, b"epoch 1 of 1\n")
        super().fit(train)


class Warns(Neat):
    def fit(self, train):  # type: ignore[no-untyped-def]
        warnings.warn("few rows", stacklevel=1)
        logging.getLogger("neat").error("few rows")
        super().fit(train)


class WritesBesideTheData(Neat):
    def fit(self, train):  # type: ignore[no-untyped-def]
        super().fit(train)
        sqlite3.connect(Path(train.images._sources[0].name).with_name("features.sqlite")).close()


class LeavesATemporaryFile(Neat):
    def predict(self, images):  # type: ignore[no-untyped-def]
        tempfile.mkstemp()
        return super().predict(images)


class CleansUp(Neat):
    def fit(self, train):  # type: ignore[no-untyped-def]
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "targets.npy", train.targets)
        (self.context.scratch / "notes.json").write_text(json.dumps(len(train)))
        super().fit(train)


class LooksUpAHost(Neat):
    def fit(self, train):  # type: ignore[no-untyped-def]
        try:
            socket.getaddrinfo("weights.example.org", 443)
        except OSError:
            super().fit(train)


class TalksToItself(Neat):
    def fit(self, train):  # type: ignore[no-untyped-def]
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
        super().fit(train)


@pytest.mark.parametrize(
    ("cls", "check", "came"),
    [
        (ImportsWhenConstructed, "inert-constructor", "it imports scipy"),
        (ReadsWhenConstructed, "inert-constructor", "README.md"),
        (PrintsPastPython, "no-output", "fit printed epoch 1 of 1"),
        (WritesBesideTheData, "no-writes", "features.sqlite"),
        (LeavesATemporaryFile, "no-writes", "was left behind"),
        (LooksUpAHost, "no-network", "fit reached for weights.example.org:443"),
    ],
)
def test_other_ways_to_break_a_check_are_noticed(
    cls: type[Predictor], check: str, came: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if check == "inert-constructor":  # in a warm process, what it may not import is there already
        monkeypatch.setenv(COLD_VARIABLE, "1")
    (record,) = check_predictor(cls, checks=[check])
    assert record.status == "failed"
    assert came in record.came


@pytest.mark.parametrize(
    ("cls", "check"), [(Warns, "no-output"), (CleansUp, "no-writes"), (TalksToItself, "no-network")]
)
def test_what_is_allowed_is_let_pass(cls: type[Predictor], check: str) -> None:
    fitted, record = check_predictor(cls, checks=["fit-and-predict", check])
    assert fitted.status == "passed", fitted.describe()
    assert record.status == "passed", record.describe()
