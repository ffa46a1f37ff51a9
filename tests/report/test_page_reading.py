"""What the making of a page reads and searches: each file once, each row scored once, one search a fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.plugin import PluginManager
from harness.report.page.agreement import constant_members, members_problem
from harness.report.page.finding import finding
from harness.report.page.voices import Voices
from harness.store import run as store
from harness.store.run import BLEND, RunFolder
from harness.workbench.blending import blend_run
from tests.report.runs import REQUEST, make_pictures, make_run


@pytest.fixture(scope="module")
def blended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A run of three members with a blend, its sums not kept yet."""
    root = tmp_path_factory.mktemp("reading")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        make_pictures(root / "pictures")
        run = make_run(REQUEST, "runs/first")
        blend_run(run, PluginManager())
        yield RunFolder(root / "runs/first")


def test_each_prediction_file_is_opened_once(blended: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    voices = Voices.of(blended)
    opened: Counter[Path] = Counter()
    read = store.read_predictions
    monkeypatch.setattr(store, "read_predictions", lambda folder, key: opened.update([folder]) or read(folder, key))
    again = Voices.of(blended)
    files = {
        blended.task_folder(name, fold, key) for name, m in blended.members.items() for fold, key in m.keys.items()
    }
    assert opened == dict.fromkeys(files, 1)
    constant_members(again)
    rows = np.arange(len(blended.rows.ids))
    finding(again, rows)
    # Also where the sums of the members are not kept yet.
    for kept in sorted((blended.path / "gram").rglob("*"), reverse=True):
        kept.rmdir() if kept.is_dir() else kept.unlink()
    assert members_problem(again, []) is not None
    assert opened == dict.fromkeys(files, 1)
    # And what is read from them is what lies in the run.
    for name, member in blended.members.items():
        assert np.array_equal(again.predictions(name, rows), blended.predictions(member))
    blend = again.predictions(BLEND, rows)
    assert np.einsum("ij,ij->i", blend, blended.targets) == pytest.approx(voices.column(BLEND), abs=1e-6)


def test_a_member_that_says_the_same_of_every_row_is_found(blended: RunFolder) -> None:
    assert constant_members(Voices.of(blended)) == ["mean"]
