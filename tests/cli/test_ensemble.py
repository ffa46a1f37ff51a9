"""`harness ensemble` on runs laid out by hand: choosing members, comparing methods, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from harness.ensemble.blend import choose_members, run_problem, weights_of
from harness.errors import InputError
from harness.store.run import RunFolder
from tests.conftest import Harness
from tests.ensemble.problems import members, write_run

NAMES = ["ridge", "knn", "mean", "tower"]
METHODS = ["simplex", "signed", "nnls", "greedy", "uniform", "best"]


def run_of(folder: Path, test: bool = False) -> RunFolder:
    views, targets = members(80, 4, 3, dim=384)
    return write_run(folder, dict(zip(NAMES, views, strict=True)), targets, test)


def test_all_methods_side_by_side_and_the_submission_of_simplex(tmp_path: Path, harness: Harness) -> None:
    run = run_of(tmp_path / "run", test=True)
    every = harness("ensemble", "--optimize", "--method", "all", "--run-dir", run.path, "--json")
    assert every.code == 0, every.err
    documents = {document["method"]: document for document in every.json["methods"]}
    assert sorted(documents) == sorted(METHODS)
    assert "blended with simplex" in every.err
    assert {name for name, document in documents.items() if document["submission"]} == {"simplex"}
    assert json.loads((run.path / "blend.json").read_text()) == documents["simplex"]
    submission = (run.path / "submission.csv").read_bytes()
    alone = harness("ensemble", "--optimize", "--run-dir", run.path, "--json")
    assert alone.json == documents["simplex"]
    assert (run.path / "submission.csv").read_bytes() == submission
    assert documents["simplex"]["kkt_residual"] <= 1e-6
    assert documents["greedy"]["kkt_residual"] is None
    table = harness("ensemble", "--optimize", "--method", "all", "--run-dir", run.path)
    lines = [line.split() for line in table.out.splitlines() if line.strip()]
    for name, document in documents.items():
        line = next(line for line in lines if line[0] == name)
        assert line[1:3] == [f"{document['score']:.4f}", f"{document['nested_score']:.4f}"]
        assert f"{document['gain']['mean']:+.4f}" in line
    for member in NAMES:
        line = next(line for line in lines if line[0] == member)
        order = next(line for line in lines if line[0] == "weights")[1:]
        assert line[1:] == [f"{documents[name]['weights'][member]:.3f}" for name in order]
    single = harness("ensemble", "--optimize", "--run-dir", run.path)
    assert "KKT residual" in single.out
    assert "7 starts" in single.out


def test_members_are_left_out_by_name(tmp_path: Path, harness: Harness) -> None:
    run = run_of(tmp_path / "run", test=True)
    left = harness("ensemble", "--optimize", "--run-dir", run.path, "--exclude", "mean, knn", "--json")
    assert left.code == 0, left.err
    assert list(left.json["weights"]) == ["ridge", "tower"]
    assert left.json["excluded"] == ["knn", "mean"]
    # What was left out on purpose is no gap in the blend that anyone need be told of.
    assert weights_of(run, NAMES) == (
        {name: weight for name, weight in left.json["weights"].items() if weight},
        [],
    )
    one = harness("ensemble", "--run-dir", run.path, "--include", "knn")
    assert one.code == 0, one.err
    assert "there is nothing to blend: 'knn' is the only member" in one.err
    with (run.path / "submission-uniform.csv").open(newline="") as stream:
        values = np.array([float(row["val"]) for row in csv.DictReader(stream)]).reshape(80, 384)
    alone = run.predictions(run.members["knn"]).astype(np.float64)
    assert np.allclose(values, alone / np.linalg.norm(alone, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(
    ("include", "exclude", "parts"),
    [
        (["rigde"], None, ["--include rigde", "did you mean ridge?", "knn, mean, tower"]),
        (None, ["towr"], ["--exclude towr", "did you mean tower?"]),
        (None, NAMES, ["leave no member", "ridge, knn, mean, tower"]),
        (["knn"], ["knn"], ["leave no member"]),
        ([], None, ["leave no member"]),
    ],
)
def test_a_wrong_choice_of_members_is_refused(
    tmp_path: Path, include: list[str] | None, exclude: list[str] | None, parts: list[str]
) -> None:
    run = run_of(tmp_path / "run")
    with pytest.raises(InputError) as refused:
        choose_members(run, include, exclude)
    assert [part for part in parts if part not in str(refused.value)] == []


def test_the_chosen_stand_in_the_order_of_the_run(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    assert choose_members(run, ["tower", "ridge", "mean"], ["mean"]) == ["ridge", "tower"]
    assert choose_members(run) == NAMES


def test_a_member_with_rows_missing_is_refused_by_name_and_can_be_left_out(tmp_path: Path) -> None:
    views, targets = members(40, 3, 1, dim=384)
    views[1][[3, 7]] = np.nan
    run = write_run(tmp_path / "run", {"a": views[0], "gap": views[1], "c": views[2]}, targets)
    with pytest.raises(InputError, match=r"member 'gap' has no prediction for 2 of 40 rows.*--exclude gap"):
        run_problem(run, choose_members(run))
    assert np.isfinite(run_problem(run, choose_members(run, exclude=["gap"])).gram).all()


def test_an_unknown_method_is_refused_with_the_nearest(tmp_path: Path, harness: Harness) -> None:
    run = run_of(tmp_path / "run")
    refused = harness("ensemble", "--optimize", "--method", "gredy", "--run-dir", run.path)
    assert refused.code == 2
    assert "did you mean greedy or signed?" in refused.err
    without = harness("ensemble", "--optimize", "--run-dir", run.path, env={"HARNESS_DISABLE_PLUGINS": "blenders"})
    assert without.code == 2
    assert "harness plugins list" in without.err
    assert not (run.path / "blend.json").exists()


def test_what_each_member_brought_is_shown_and_kept(tmp_path: Path, harness: Harness) -> None:
    run = run_of(tmp_path / "run")
    shown = harness("ensemble", "--optimize", "--contributions", "--run-dir", run.path)
    assert shown.code == 0, shown.err
    document = json.loads((run.path / "blend.json").read_text())
    asked = harness("ensemble", "--optimize", "--contributions", "--method", "all", "--run-dir", run.path, "--json")
    assert asked.json["methods"][0] == document, "with all methods it is of the one that is submitted"
    assert [method for method in asked.json["methods"] if "contributions" in method] == [document]
    assert asked.err.count("%") == 0, "a bar of steps is for terminals"
    brought = document["contributions"]
    assert (brought["exact"], brought["permutations"]) == (True, None)
    assert sum(brought["shapley"].values()) == pytest.approx(document["nested_score"], abs=1e-12)
    lines = [line.split() for line in shown.out.splitlines() if line.strip()]
    table = lines[next(i for i, line in enumerate(lines) if "Shapley" in line and "member" in line) :]
    for name in NAMES:
        line, errors, predictions = [line for line in table if line[0] == name and len(line) > len(NAMES)]
        loss = brought["leave_one_out"][name]
        figures = [f"{document['weights'][name]:.3f}", f"{brought['shapley'][name]:.4f}", f"{loss['mean']:+.4f}"]
        assert line[1:] == [*figures, f"{loss['ci_low']:+.4f}", "…", f"{loss['ci_high']:+.4f}"]
        assert errors[1:] == [f"{brought['error_correlation'][name][other]:.3f}" for other in NAMES]
        assert predictions[1:] == [f"{brought['prediction_cosine'][name][other]:.3f}" for other in NAMES]
    assert "exact, over all 15 coalitions" in shown.out
    plain = harness("ensemble", "--optimize", "--run-dir", run.path, "--json")
    assert plain.json == {key: value for key, value in document.items() if key != "contributions"}


def test_what_many_members_brought_is_sampled_and_says_so(tmp_path: Path, harness: Harness) -> None:
    views, targets = members(40, 9, 3, dim=384)
    run = write_run(tmp_path / "run", {f"m{i}": view for i, view in enumerate(views)}, targets)
    shown = harness("ensemble", "--optimize", "--method", "nnls", "--contributions", "--run-dir", run.path)
    assert shown.code == 0, shown.err
    brought = json.loads((run.path / "blend.json").read_text())["contributions"]
    assert (brought["exact"], brought["permutations"]) == (False, 72)
    assert "sampled from 72 permutations" in shown.out
    for name, value in brought["shapley"].items():
        assert f"{value:.4f} ± {brought['shapley_error'][name]:.4f}" in shown.out


def test_an_only_member_has_no_leave_one_out(tmp_path: Path, harness: Harness) -> None:
    run = run_of(tmp_path / "run")
    command = ("ensemble", "--optimize", "--contributions", "--run-dir", run.path, "--include", "knn")
    one = harness(*command)
    assert one.code == 0, one.err
    assert "leave-one-out is not defined for an only member" in one.err
    document = harness(*command, "--json").json
    assert document["contributions"]["leave_one_out"] == {"knn": None}
    assert document["contributions"]["shapley"]["knn"] == pytest.approx(document["nested_score"])


def test_contributions_are_of_a_learned_blend(tmp_path: Path, harness: Harness) -> None:
    refused = harness("ensemble", "--contributions", "--run-dir", run_of(tmp_path / "run").path)
    assert refused.code == 2
    assert "--contributions says what members bring to a learned blend; add --optimize" in refused.err
