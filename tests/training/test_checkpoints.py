"""Checkpoints inside a fit: whole or the one before, of this software alone, and not too many."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from harness.plugin import Context
from harness.plugin.context import MOST_MEASURED
from harness.training import Checkpoints


def checkpoints(folder: Path, seconds: float = 0.0, kind: str = "a 1") -> Checkpoints:
    context = Context(folder, requested_device="cpu", checkpoints=folder / "kept", checkpoint_seconds=seconds)
    return Checkpoints(context, kind)


def test_what_was_saved_last_is_loaded_with_the_generator(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path)
    assert kept.load() is None
    assert kept.due
    kept.save({"step": 1, "weights": {"w": torch.arange(3.0)}})
    torch.manual_seed(7)
    torch.rand(5)
    kept.save({"step": 2, "weights": {"w": torch.arange(4.0)}, "best": None, "scores": [0.5, 1.0]})
    expected = torch.rand(3)
    torch.manual_seed(0)
    found = checkpoints(tmp_path).load()
    assert found is not None
    assert (found["step"], found["best"], found["scores"]) == (2, None, [0.5, 1.0])
    assert torch.equal(found["weights"]["w"], torch.arange(4.0))
    assert torch.equal(torch.rand(3), expected)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["checkpoint.pt"]


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    kept = Checkpoints(Context(tmp_path, checkpoint_seconds=0.0), "a 1")
    assert not kept.due
    kept.save({"step": 1})
    assert kept.load() is None
    assert list(tmp_path.iterdir()) == []


def test_what_was_made_by_something_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints(tmp_path).save({"step": 1})
    assert checkpoints(tmp_path, kind="a 2").load() is None
    monkeypatch.setattr("torch.__version__", "0.1")
    assert checkpoints(tmp_path).load() is None


@pytest.mark.parametrize("kept", [b"", b"PK\x03\x04", None])
def test_a_damaged_one_is_as_if_it_were_not_there(kept: bytes | None, tmp_path: Path) -> None:
    checkpoints(tmp_path).save({"step": 1, "weights": torch.zeros(1000)})
    file = tmp_path / "kept" / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:2000] if kept is None else kept)
    assert checkpoints(tmp_path).load() is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_costs_one_and_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = checkpoints(tmp_path)
    kept.save({"step": 1})
    half = tmp_path / "kept" / f".checkpoint.pt.{os.getpid()}.tmp"
    half.symlink_to("/dev/full")
    kept.save({"step": 2, "weights": torch.zeros(100_000)})
    assert "no checkpoint was written" in capfd.readouterr().err
    found = checkpoints(tmp_path).load()
    assert found is not None
    assert found["step"] == 1
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["checkpoint.pt"]


def test_they_cost_no_more_than_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    kept = checkpoints(tmp_path, seconds=60.0)
    assert not kept.due
    now += 59
    assert not kept.due
    now += 1
    assert kept.due
    written = torch.save

    def slow(*args: object, **kwargs: object) -> None:
        nonlocal now
        now += 10
        written(*args, **kwargs)

    monkeypatch.setattr("torch.save", slow)
    kept.save({"step": 1})
    now += 199
    assert not kept.due, "ten seconds are 5 % of two hundred"
    now += 1
    assert kept.due


def test_things_that_are_measured_in_turn_are_thinned_each_for_itself(tmp_path: Path) -> None:
    context = Context(tmp_path)
    for step in range(1000):
        context.measured("head", step, loss=1.0)
        context.measured("head", step, inner_score=0.5)
    assert len(context.history) <= MOST_MEASURED
    for name in ("loss", "inner_score"):
        steps = [step for _, step, told in context.history if name in told]
        assert len(steps) > 100
        assert min(steps) < 20
        assert max(steps) > 980


def test_what_a_fit_measured_outlives_a_kill(tmp_path: Path) -> None:
    first = Context(tmp_path, requested_device="cpu", checkpoints=tmp_path / "kept", checkpoint_seconds=0.0)
    kept = Checkpoints(first, "a 1")
    first.measured("head", 10, loss=0.5)
    kept.save({"step": 10})
    first.measured("head", 20, loss=0.4)  # after the checkpoint: it is measured again
    second = Context(tmp_path, requested_device="cpu", checkpoints=tmp_path / "kept")
    assert Checkpoints(second, "a 1").load() == {"step": 10}
    assert second.history == [("head", 10, {"loss": 0.5})]
