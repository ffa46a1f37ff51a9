"""Awkward and damaged members as a user meets them: `harness ensemble` blends them, or refuses in one clear message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import harness.cli
from harness.ensemble.blenders import BUILT_IN
from harness.store.run import RunFolder
from harness.store.schema import ALL_ROWS
from tests.ensemble.problems import members, write_run

METHODS = sorted(BUILT_IN)
Rows = NDArray[np.float32]


def ensemble(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple:
    """Run the command in this process, where a warning is an error: a user must not see one either."""
    monkeypatch.setattr("sys.argv", ["harness", "ensemble", "--optimize", "--json", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        harness.cli.main()
        raise SystemExit(0)
    printed = capsys.readouterr()
    return ended.value.code or 0, printed.out, printed.err


def views_of(n: int, k: int) -> tuple[dict[str, Rows], Rows]:
    views, targets = members(n, k, 2, dim=384)
    return {f"m{i}": view for i, view in enumerate(views)}, targets


# -- handled -------------------------------------------------------------------------------------


def one_member() -> tuple[dict[str, Rows], Rows]:
    return views_of(40, 1)


def identical_members() -> tuple[dict[str, Rows], Rows]:
    views, targets = views_of(40, 1)
    return dict.fromkeys(("m0", "m1", "m2"), views["m0"]), targets


def fewer_rows_than_members() -> tuple[dict[str, Rows], Rows]:
    return views_of(5, 8)


def a_constant_member() -> tuple[dict[str, Rows], Rows]:
    views, targets = views_of(40, 3)
    return {**views, "constant": np.tile(targets.mean(axis=0), (40, 1))}, targets


def opposite_members() -> tuple[dict[str, Rows], Rows]:
    views, targets = views_of(40, 1)
    return {"m0": views["m0"], "against": -views["m0"]}, targets


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "make", [one_member, identical_members, fewer_rows_than_members, a_constant_member, opposite_members]
)
def test_awkward_members_are_blended(
    make: Callable[[], tuple[dict[str, Rows], Rows]],
    method: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = write_run(tmp_path / "run", *make(), test=True)
    code, out, err = ensemble(capsys, monkeypatch, "--method", method, "--run-dir", run.path)
    assert code == 0, err
    document = json.loads(out)
    singles = {
        name: float(np.mean(np.sum(unit(run.predictions(spec)) * unit(run.targets), axis=1)))
        for name, spec in run.members.items()
    }
    best = max(singles.values())
    assert list(document["weights"]) == list(run.members)
    assert sum(map(abs, document["weights"].values())) == pytest.approx(1.0)
    assert np.isfinite([document["score"], document["nested_score"], *document["nested_ci"]]).all()
    assert document["best_single"]["score"] == pytest.approx(best, abs=1e-6)
    if method in ("simplex", "greedy", "signed", "best"):
        assert document["score"] >= best - 1e-6
    if make in (one_member, identical_members):
        assert document["score"] == pytest.approx(best, abs=1e-6)
        assert document["gain"]["mean"] == pytest.approx(0.0, abs=1e-9)
    assert (run.path / "submission.csv").is_file()


def unit(rows: Rows) -> NDArray[np.float64]:
    values = np.asarray(rows, dtype=np.float64)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"uniform"}))  # equal weights count a copy twice
def test_a_longer_copy_of_a_member_changes_no_score(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    views, targets = views_of(60, 4)
    again = {**views, "copy": views["m1"] * np.float32(30), "m2": views["m2"] * np.float32(30)}
    documents = []
    for name, held in (("plain", views), ("copied", again)):
        run = write_run(tmp_path / name, held, targets)
        code, out, err = ensemble(capsys, monkeypatch, "--method", method, "--run-dir", run.path)
        assert code == 0, err
        documents.append(json.loads(out))
    for key in ("score", "nested_score"):
        assert documents[0][key] == pytest.approx(documents[1][key], abs=1e-6)


# -- refused -------------------------------------------------------------------------------------


def stored(run: RunFolder, file: str) -> Path:
    return run.task_folder("m1", ALL_ROWS, "k") / file


def change(file: str, row: int, value: float) -> Callable[[RunFolder], None]:
    def act(run: RunFolder) -> None:
        values = np.load(stored(run, file))
        values[row] = value
        np.save(stored(run, file), values)

    return act


def all_zeros(run: RunFolder) -> None:
    np.save(stored(run, "predictions.npy"), np.zeros((40, 384), dtype=np.float32))


def zero_target(run: RunFolder) -> None:
    values = np.array(run.targets)
    values[3] = 0.0
    np.save(run.path / "targets.npy", values)


def rename_a_row(run: RunFolder) -> None:
    ids = json.loads(stored(run, "ids.json").read_text())
    stored(run, "ids.json").write_text(json.dumps([*ids[:3], "stranger", *ids[4:]]))


def belong_to_one_fold(run: RunFolder) -> None:
    """Predictions of all rows, stored as those of fold 0."""
    document = run.document
    moved = document.members["m1"].model_copy(update={"keys": {0: "k"}})
    run.update(document.model_copy(update={"members": {**document.members, "m1": moved}}))
    run.task_folder("m1", ALL_ROWS, "k").rename(run.task_folder("m1", 0, "k"))


def put_all_rows_into_one_fold(run: RunFolder) -> None:
    lines = (run.path / "rows.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    (run.path / "rows.csv").write_text("\n".join([lines[0], *(",".join([r[0], "0", *r[2:]]) for r in rows)]) + "\n")


def lose_rows(run: RunFolder) -> None:
    values, ids = np.load(stored(run, "predictions.npy")), json.loads(stored(run, "ids.json").read_text())
    np.save(stored(run, "predictions.npy"), values[:-2])
    stored(run, "ids.json").write_text(json.dumps(ids[:-2]))


DAMAGES: dict[str, tuple[Callable[[RunFolder], None], list[str]]] = {
    "missing rows": (lose_rows, ["member 'm1'", "no prediction for 2 of 40 rows", "--exclude m1"]),
    "zeros everywhere": (all_zeros, ["member 'm1'", "'row0'", "all zeros", "40 such rows of 40", "--exclude m1"]),
    "a row of zeros": (
        change("predictions.npy", 3, 0.0),
        ["member 'm1'", "'row3'", "all zeros or not finite", "1 such rows of 40", "--exclude m1"],
    ),
    "NaN": (change("predictions.npy", 3, np.nan), ["member 'm1'", "'row3'", "not finite", "--exclude m1"]),
    "infinity": (change("predictions.npy", 3, np.inf), ["member 'm1'", "'row3'", "not finite", "--exclude m1"]),
    "a target of zeros": (zero_target, ["targets.npy", "'row3'", "start the run anew"]),
    "a row of another run": (rename_a_row, ["members/m1", "not those of this run's folds", "remove the folder"]),
    "rows of other folds": (belong_to_one_fold, ["m1/fold-0-k", "not those of this run's folds", "remove the folder"]),
    "one fold": (put_all_rows_into_one_fold, ["all 40 rows", "one fold", "--group-threshold"]),
    "a test prediction of zeros": (change("test-t.npy", 3, 0.0), ["member 'm1'", "'row3'", "test", "--exclude m1"]),
    "a test prediction of NaN": (change("test-t.npy", 3, np.nan), ["member 'm1'", "'row3'", "test", "--exclude m1"]),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_members_are_refused_by_name_and_nothing_is_written(
    damage: str,
    method: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    act, parts = DAMAGES[damage]
    run = write_run(tmp_path / "run", *views_of(40, 3), test=True)
    act(run)
    code, out, err = ensemble(capsys, monkeypatch, "--method", method, "--run-dir", run.path)
    assert (code, out) == (2, ""), err
    assert err.count("Error: ") == 1
    assert len(err.splitlines()) == 1
    assert [part for part in parts if part not in err] == []
    assert not (run.path / "blend.json").exists()
    assert not (run.path / "submission.csv").exists()
    if "--exclude m1" in parts:
        code, out, err = ensemble(capsys, monkeypatch, "--run-dir", run.path, "--exclude", "m1")
        assert code == 0, err
