"""Work on single images in pieces: shared by workers, done once, and put together as one worker would have it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.cache import DiskCache
from harness.data.images import ImageFile
from harness.data.row_files import BUCKETS, RowFile, content_keys
from harness.plugin import PluginManager
from harness.running import agenda as agenda_module
from harness.running.agenda import Agenda
from harness.running.config import resolve_config
from harness.running.judging import Outcome
from harness.running.pieces import PieceStore, ranges
from harness.running.plan import Plan, plan_run
from harness.running.session import carry_out
from harness.running.shared_rows import RowLog, import_rows
from harness.store.run import RunFolder
from tests.conftest import PROMPTS, Harness, make_kaggle, save_image
from tests.running.ray_nodes import RayNodes
from tests.running.test_ray import assert_same

if TYPE_CHECKING:
    from harness.running.inputs import Inputs

PLUGIN = Path(__file__).with_name("piecemeal_plugin.py")
ROWS, TESTS = 16, 9


@pytest.fixture
def test_set(tmp_path: Path) -> Path:
    for i in range(TESTS):
        save_image(tmp_path / "new" / f"{i}.png", 100 + i)
    return tmp_path / "new"


def command(data: Path, run_dir: Path, notes: Path, *more: object, plugins: str = "piecemeal") -> tuple[object, ...]:
    settings = [part for name in plugins.split(",") for part in ("--set", f"{name}.notes={notes}")]
    return (
        *("run", "--data", data, "--plugin-file", PLUGIN, "--plugins", plugins, *settings, "--folds", 2),
        *("--run-dir", run_dir, "--json", *more),
    )


def seen(notes: Path) -> Counter[str]:
    lines = notes.read_text().splitlines() if notes.exists() else []
    return Counter(line.split()[1] for line in lines)


def calls(notes: Path) -> list[int]:
    """Return how many images each call of ``predict`` of the member that is not trained was given."""
    file = notes.with_name(f"{notes.name}.calls")
    return sorted(int(line) for line in file.read_text().splitlines()) if file.exists() else []


def test_an_untrained_member_is_shared_by_workers(
    kaggle: Path, test_set: Path, tmp_path: Path, harness: Harness
) -> None:
    test = ("--test", test_set)
    alone = harness(*command(kaggle, tmp_path / "serial", tmp_path / "one", *test))
    assert alone.code == 0, alone.err
    apart = {"HARNESS_TASKS": str(tmp_path / "apart")}
    shared = ("--executor", "parallel", "--jobs", 2, "--piece-rows", 5)
    both = harness(*command(kaggle, tmp_path / "parallel", tmp_path / "two", *test, *shared), env=apart)
    assert (both.code, both.json["computed"]) == (0, 1), both.err
    assert_same(tmp_path / "serial", tmp_path / "parallel")
    assert seen(tmp_path / "two") == seen(tmp_path / "one"), "each image was done once"
    assert set(seen(tmp_path / "two").values()) == {1}
    assert calls(tmp_path / "one") == [TESTS, ROWS]
    assert calls(tmp_path / "two") == [4, 4, 4, 4, 4, 5], "of five rows at most"
    runs = [RunFolder(tmp_path / name) for name in ("serial", "parallel")]
    tests = [np.load(next(run.path.rglob("test-*.npy"))) for run in runs]
    assert np.array_equal(*tests)
    records = [run.record(run.members["piecemeal"], -1) for run in runs]
    assert records[0] is not None
    assert records[1] is not None
    assert (records[1].n, records[1].score) == (ROWS, records[0].score)
    assert records[1].predict_seconds > 0
    assert records[1].predict_peak_memory_bytes
    assert not list(runs[1].path.rglob("pieces")), "what they left is part of the task now"
    assert not list(runs[1].path.rglob("output-*")), "and nothing was printed"


def test_a_test_set_that_comes_later_is_shared_by_workers(
    kaggle: Path, test_set: Path, tmp_path: Path, harness: Harness
) -> None:
    shared = ("--executor", "parallel", "--jobs", 2, "--piece-rows", 4)
    first = harness(*command(kaggle, tmp_path / "run", tmp_path / "notes", *shared))
    assert first.code == 0, first.err
    assert calls(tmp_path / "notes") == [4, 4, 4, 4]
    told = command(kaggle, tmp_path / "run", tmp_path / "notes", *shared, "--test", test_set)
    later = harness(*told)
    assert (later.code, later.json["computed"], later.json["tested"]) == (0, 0, 1), later.err
    assert calls(tmp_path / "notes") == [3, 3, 3, 4, 4, 4, 4], "the new images in three calls"
    alone = harness(
        *command(kaggle, tmp_path / "serial", tmp_path / "one", "--test", test_set),
        env={"HARNESS_TASKS": str(tmp_path / "apart")},
    )
    assert alone.code == 0, alone.err
    tests = [np.load(next((tmp_path / name).rglob("test-*.npy"))) for name in ("run", "serial")]
    assert np.array_equal(*tests)
    assert not list((tmp_path / "run").rglob("pieces"))
    assert (tmp_path / "notes.loads").read_text().split() == ["1"] * 3, "from the saved model, each time"


def test_few_rows_are_not_shared(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    for name, more in (("few", ()), ("never", ("--piece-rows", 0))):
        notes = tmp_path / name
        told = command(kaggle, tmp_path / f"run-{name}", notes, "--executor", "parallel", "--jobs", 2, *more)
        answer = harness(*told, "--task-timeout", 100)
        assert answer.code == 0, answer.err
        assert len(notes.read_text().splitlines()) == ROWS
        assert calls(notes) == [ROWS], "all rows in one call"


@pytest.mark.long
def test_a_killed_command_loses_the_pieces_at_work(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    notes = tmp_path / "notes"
    slow = ("--set", "piecemeal.slow=0.2", "--executor", "parallel", "--jobs", 2, "--piece-rows", 2)
    told = command(kaggle, tmp_path / "run", notes, *slow)
    process = subprocess.Popen([sys.executable, "-m", "harness.cli", *map(str, told)], stdout=subprocess.DEVNULL)
    while not len(list((tmp_path / "run").rglob("data-*.json"))) >= 3:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list((tmp_path / "run").rglob("data-*.json")))
    time.sleep(0.5)  # its workers end with it
    before = sum(seen(notes).values())
    answer = harness(*told)
    assert (answer.code, answer.json["computed"]) == (0, 1), answer.err
    assert sum(seen(notes).values()) - before == ROWS - 2 * kept
    assert (
        harness(*command(kaggle, tmp_path / "serial", notes), env={"HARNESS_TASKS": str(tmp_path / "apart")}).code == 0
    )
    assert_same(tmp_path / "serial", tmp_path / "run")


def test_a_damaged_piece_is_done_again(kaggle: Path, tmp_path: Path) -> None:
    plan = planned(kaggle, tmp_path / "run", "piecemeal", tmp_path / "notes")
    store = PieceStore(plan.inputs, plan.members[0])
    from harness.running.pieces import Piece

    rows = np.eye(8, 384, dtype=np.float32)
    store.write(Piece("data", 0, 8), {"started": "x"}, rows)
    store.write(Piece("data", 4, 12), {"started": "x"}, rows)
    assert store.gaps("data", ROWS) == [(8, ROWS)], "the second overlaps, and is not counted"
    (file,) = store.folder.glob("data-0-8.npy")
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert store.gaps("data", ROWS) == [(0, 4), (12, ROWS)]


def test_a_piece_that_fails_fails_its_task_and_no_other(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    bad = ImageFile(kaggle / "images" / "img009.png").digest()
    notes, gate = tmp_path / "notes", tmp_path / "mended"
    more = ("--set", f"piecemeal.bad={bad}", "--set", f"piecemeal.gate={gate}")
    shared = ("--executor", "parallel", "--jobs", 2, "--piece-rows", 4)
    told = command(kaggle, tmp_path / "run", notes, *more, *shared, "-v")
    first = harness(*told, "--plugins", "piecemeal,mean")
    assert (first.code, first.json["computed"], first.json["failed"]) == (1, 2, 1), first.err
    failure = json.loads((tmp_path / "run" / "members" / "piecemeal" / "failed-all.json").read_text())
    assert failure["reason"] == "RuntimeError: an image that it cannot do"
    assert "piecemeal_plugin.py" in failure["traceback"]
    before = seen(notes)
    gate.touch()
    again = harness(*told, "--plugins", "piecemeal,mean")
    assert (again.code, again.json["computed"], again.json["reused"]) == (0, 1, 2), again.err
    twice = seen(notes) - before
    assert sum(twice.values()) < ROWS, "what was done stays done"
    assert not (tmp_path / "run" / "members" / "piecemeal" / "failed-all.json").exists()


def test_what_was_killed_is_not_done_again_for_a_member_that_has_failed(
    kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    killer, bad = (ImageFile(kaggle / "images" / f"img{i:03}.png").digest() for i in (0, ROWS - 1))
    given = {"killer": killer, "bad": bad, "gate": tmp_path / "never", "slow": 0.4}
    faults = [part for key, value in given.items() for part in ("--set", f"piecemeal.{key}={value}")]
    shared = ("--executor", "parallel", "--jobs", 2, "--piece-rows", ROWS // 2)
    answer = harness(*command(kaggle, tmp_path / "run", tmp_path / "notes", *faults, *shared))
    assert (answer.code, answer.json["failed"]) == (1, 1), answer.err
    failure = json.loads((tmp_path / "run" / "members" / "piecemeal" / "failed-all.json").read_text())
    assert failure["reason"] == "RuntimeError: an image that it cannot do"
    assert calls(tmp_path / "notes") == [ROWS // 2, ROWS // 2], "the piece that was killed was begun once"


def test_a_damaged_image_ends_the_run_from_a_piece(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    (kaggle / "images" / "img003.png").write_bytes(b"no image")
    shared = ("--executor", "parallel", "--jobs", 2, "--piece-rows", 4)
    answer = harness(*command(kaggle, tmp_path / "run", tmp_path / "notes", *shared))
    assert answer.code == 2
    assert "img003.png" in answer.err.strip().splitlines()[-1]


# -- what is next ----------------------------------------------------------------------------------


def planned(data: Path, run_dir: Path, plugins: str, notes: Path, **more: object) -> Plan:
    settings = {name: {"notes": str(notes)} for name in plugins.split(",")}
    given = {"data": str(data), "plugins": plugins, "plugin_files": [str(PLUGIN)], "set": settings, "folds": 2}
    config = resolve_config({**given, "run_dir": str(run_dir), "executor": "inline", **more})
    return plan_run(config, PluginManager([PLUGIN]))


def test_tasks_wait_for_what_is_prepared(kaggle: Path, tmp_path: Path) -> None:
    plan = planned(kaggle, tmp_path / "run", "ahead", tmp_path / "notes", piece_rows=2)
    agenda = Agenda(plan.todo, plan.inputs)
    assert (agenda.most(separate=False), agenda.most(separate=True)) == (2, 8)
    agenda.share_out(2, separate=True)
    assert [task.piece for task in agenda] == [None, None], "as many folds as workers share by themselves"
    agenda.share_out(3, separate=True)
    pieces = []
    while (task := agenda.take()) is not None:
        pieces.append(task)
    assert all(task.piece is not None for task in pieces)
    assert sum(task.piece.stop - task.piece.start for task in pieces if task.piece) == BUCKETS
    for task in pieces[:-1]:
        assert not list(agenda.heard(Outcome(task)))
        assert agenda.take() is None
    assert not list(agenda.heard(Outcome(pieces[-1], reason="it failed"))), "the tasks will tell"
    assert "could not be computed ahead, and is left to the folds: it failed" in agenda.notes[0]
    folds = [agenda.take(), agenda.take()]
    assert [task.fold for task in folds if task] == [0, 1]
    assert agenda.take() is None
    assert not len(agenda)


def test_pieces_that_come_back_after_another_failed_are_dropped(kaggle: Path, tmp_path: Path) -> None:
    plan = planned(kaggle, tmp_path / "run", "ahead,piecemeal", tmp_path / "notes", piece_rows=2)
    for name, left in (("piecemeal", 0), ("ahead", 2)):
        agenda = Agenda([task for task in plan.todo if task.member.name == name], plan.inputs)
        agenda.share_out(3, separate=True)
        killed, failed, lost = (agenda.take() for _ in range(3))
        assert killed is not None
        assert failed is not None
        assert lost is not None
        agenda.give_back(killed, killed=True)
        assert list(agenda.again) == [killed]
        told = list(agenda.heard(Outcome(failed, reason="it failed")))
        assert [outcome.task.piece for outcome in told] == ([None] if name == "piecemeal" else [])
        agenda.give_back(lost)
        assert not agenda.again
        rest = [agenda.take() for _ in range(len(agenda))]
        assert [task is not None and task.piece is None for task in rest] == [True] * left, "no fold waits for them"


def test_threads_are_not_given_away_for_pieces_on_cpus(
    kaggle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda_module, "LEAST", 2)
    plan = planned(kaggle, tmp_path / "run", "piecemeal,ahead", tmp_path / "notes")
    agenda = Agenda(plan.todo, plan.inputs)
    assert agenda.most(separate=False) == 3
    assert agenda.most(separate=True) > 8
    assert (
        Agenda([task for task in plan.todo if task.member.name == "piecemeal"], plan.inputs).most(separate=False) == 8
    )


def test_ranges_cover_everything_once() -> None:
    found = list(ranges([(0, 10), (13, 14), (20, 27)], 4, 27))
    assert found == [(0, 3), (3, 7), (7, 10), (13, 14), (20, 23), (23, 27)]


@given(st.integers(1, 200), st.integers(1, 60), st.data())
def test_what_is_left_is_cut_as_before(whole: int, size: int, data: st.DataObject) -> None:
    cut = list(ranges([(0, whole)], size, whole))
    assert max(stop - start for start, stop in cut) <= size
    left = sorted(data.draw(st.sets(st.sampled_from(cut))))
    gaps: list[tuple[int, int]] = []
    for start, stop in left:
        gaps = [*gaps[:-1], (gaps[-1][0], stop)] if gaps and gaps[-1][1] == start else [*gaps, (start, stop)]
    assert list(ranges(gaps, size, whole)) == left


# -- caches that machines do not share -------------------------------------------------------------


def test_rows_go_from_one_cache_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [f"{i:032x}" for i in range(1, 9)]
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "one"))
    file = RowFile(DiskCache().rows_folder / "kind-1.rows")
    rows = np.arange(8 * 3, dtype=np.float32).reshape(8, 3)
    file.add(content_keys(digests[:5]), rows[:5], 0.5)
    log = RowLog(cast("Inputs", SimpleNamespace(dataset=SimpleNamespace(digests=digests[2:]), test=None)))
    log.note(["kind-1.rows"])
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "other"))
    for folder in log.news("other", tmp_path / "way"):
        assert [file.name for file in folder.iterdir()] == ["kind-1.rows"]
        import_rows(folder)
    file.add(content_keys(digests[5:]), rows[5:], np.full(3, 0.25, np.float32))
    for folder in log.news("other", tmp_path / "way"):
        import_rows(folder)
        import_rows(folder)  # once more adds nothing
    assert not list(log.news("other", tmp_path / "way"))
    other = RowFile(DiskCache().rows_folder / "kind-1.rows")
    found = other.find(content_keys(digests))
    assert (found[:2] < 0).all(), "images of other runs stay"
    assert np.array_equal(other.gather(found[2:]), rows[2:])
    assert other.seconds(found[2:]) == pytest.approx(3 * 0.5 + 3 * 0.25)


def test_rows_under_a_wrong_name_are_refused(kaggle: Path, tmp_path: Path) -> None:
    from harness.running.pieces import row_file

    for name in ("../x.rows", "x", "a/b.rows"):
        with pytest.raises(ValueError, match="no name of a row file"):
            row_file(name)


def test_what_was_prepared_is_asked_for_again_if_the_cache_lost_it(
    kaggle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.running.pieces import Piece

    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    plan = planned(kaggle, tmp_path / "run", "ahead", tmp_path / "notes")
    carry_out(plan)
    (name,) = (folder.name for folder in (tmp_path / "cache" / "rows").glob("ahead-*.rows"))
    store = PieceStore(plan.inputs, plan.members[0])
    store.write(Piece("data", 0, 8), {"started": "x"}, row_files=[name])
    assert store.gaps("data", BUCKETS) == [(8, BUCKETS)]
    (tmp_path / "cache" / "rows" / name / "index.bin").unlink()
    assert store.gaps("data", BUCKETS) == [(0, BUCKETS)]


@pytest.fixture(scope="module")
def two() -> Iterator[RayNodes]:
    """Two machines, each with a cache of its own."""
    if find_spec("ray") is None:
        pytest.skip("needs the extra ray")
    with RayNodes() as nodes:
        for name in ("one", "two"):
            nodes.start(name, NODE=name, HARNESS_CACHE=str(nodes.folder / name / "cache"))
        yield nodes


@pytest.mark.long
def test_machines_without_a_common_cache_share_what_is_computed_ahead(
    test_set: Path, tmp_path: Path, harness: Harness, two: RayNodes
) -> None:
    data = make_kaggle(tmp_path / "more", [f"{prompt}, take {k}" for k in range(3) for prompt in PROMPTS])
    both = {"plugins": "ahead,piecemeal"}
    alone = harness(*command(data, tmp_path / "serial", tmp_path / "one", "--test", test_set, **both))
    assert alone.code == 0, alone.err
    own = {"HARNESS_TASKS": str(tmp_path / "apart"), "HARNESS_CACHE": str(tmp_path / "cache"), **two.environment}
    told = command(data, tmp_path / "far", tmp_path / "two", "--test", test_set, **both)
    answer = harness(*told, "--executor", "ray", "--piece-rows", 4, env=own)
    assert (answer.code, answer.json["computed"]) == (0, 3), answer.err
    assert_same(tmp_path / "serial", tmp_path / "far")
    done = [line.split() for line in (tmp_path / "two").read_text().splitlines()]
    assert set(Counter((name, digest) for name, digest, _ in done).values()) == {1}, "nothing was done twice"
    for member in ("ahead", "piecemeal"):
        assert {node for name, _, node in done if name == member} == {"one", "two"}
    own["HARNESS_TASKS"] = str(tmp_path / "again")
    far = command(data, tmp_path / "again-far", tmp_path / "three", plugins="ahead")
    assert harness(*far, "--executor", "ray", "--piece-rows", 4, env=own).code == 0
    assert not (tmp_path / "three").exists(), "what lies in the command's cache is handed on"
