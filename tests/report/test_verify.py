"""Verification: what is the same passes, and whatever is tampered with is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.errors import InputError
from harness.plugin import PluginManager
from harness.report.matching import check_versions, gained, lacks, matching_run
from harness.report.reading import Published, published_in, read_published
from harness.report.verify import EXACT, Verification, verify
from harness.running.members import keys_of
from harness.scoring.leaderboard import leaderboard
from harness.store.run import RunFolder
from harness.store.schema import RunDocument
from tests.conftest import without_checksums
from tests.ensemble.problems import members, write_run
from tests.report.conftest import Shelf
from tests.report.runs import publish_run

Edit = Callable[[dict[str, Any]], None]


def edited(published: Published, folder: Path, edit: Edit) -> Published:
    """A copy of a published document with something changed."""
    document = json.loads(published.path.read_text())
    edit(document)
    path = folder / published.path.name
    path.write_text(json.dumps(document))
    return read_published(path)


def copied(run: RunFolder, folder: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(run.path, folder)))


def by_hand(run: RunFolder, folder: Path) -> RunFolder:
    """A copy that can be changed by hand."""
    return RunFolder(without_checksums(copied(run, folder).path))


def change(run: RunFolder, edit: Callable[[dict[str, Any]], Any]) -> None:
    document = run.document.document()
    edit(document)
    run.update(RunDocument.parse(document, "run.json"))


def check(published: Published, run: RunFolder, tolerance: float | None = None) -> Verification:
    return verify(published, run, PluginManager(), keys_of, tolerance=tolerance)


def named(verification: Verification) -> list[str]:
    return [f"{figure.row}: {figure.name}" for figure in verification.differing]


def test_what_was_published_is_verified(shelf: Shelf) -> None:
    found = check(shelf.published, shelf.run)
    assert (found.state, found.tolerance, named(found)) == ("verified", EXACT, [])
    names = {figure.name for figure in found.figures if figure.row in ("knn", "simplex", "")}
    assert {"score", "ci_low", "slices.sd|14", "predictions_sha256", "nested_score", "weights.mean"} <= names
    assert {"fold_weights[2].near", "gain.ci_high", "kkt_residual", "folds.hash", "nested_ci[0]"} <= names
    assert not {"fit_seconds", "images_per_second"} & names
    assert matching_run(shelf.published, [shelf.run], PluginManager(), keys_of) is shelf.run


def blend(document: dict[str, Any], method: str) -> dict[str, Any]:
    return next(blend for blend in document["blends"] if blend["method"] == method)


def _shift(container: dict[str, Any], key: str, by: float) -> None:
    container[key] += by


EDITS: dict[str, tuple[Edit, list[str]]] = {
    "a score": (lambda d: _shift(d["rows"][1], "score", 2e-6), ["{1}: score"]),
    "an end": (lambda d: _shift(d["rows"][0], "ci_high", -1e-3), ["{0}: ci_high"]),
    "a slice": (lambda d: _shift(d["rows"][2]["slices"], "sd21", 1e-5), ["{2}: slices.sd21"]),
    "a slice less": (lambda d: d["rows"][2]["slices"].pop("sd21"), ["{2}: slices.sd21"]),
    "a digest": (lambda d: d["rows"][0].update(predictions_sha256="0" * 64), ["{0}: predictions_sha256"]),
    "a count": (lambda d: _shift(d["rows"][0], "n", 1), ["{0}: n"]),
    "an option": (lambda d: d["rows"][0]["config"].update(x=1), ["{0}: config.x"]),
    "the ranks": (lambda d: d["rows"].reverse(), [": order[0]", ": order[2]"]),
    "the command": (lambda d: d["commands"].update(run="harness run"), [": commands.run"]),
    "the rows": (lambda d: _shift(d["dataset"], "rows", 1), [": dataset.rows"]),
    "purged": (lambda d: d["folds"].update(purged=[0, 0, 9]), [": folds.purged[2]"]),
    "a nested score": (lambda d: _shift(blend(d, "greedy"), "nested_score", 1e-4), ["greedy: nested_score"]),
    "a gain": (lambda d: _shift(blend(d, "nnls")["gain"], "ci_low", 1e-4), ["nnls: gain.ci_low"]),
    "a nested end": (lambda d: blend(d, "best")["nested_ci"].__setitem__(1, 0.9), ["best: nested_ci[1]"]),
    "the best": (lambda d: blend(d, "simplex")["best_single"].update(plugin="x"), ["simplex: best_single.plugin"]),
    "a residual": (lambda d: blend(d, "simplex").update(kkt_residual=1e-3), ["simplex: kkt_residual"]),
    "a weight": (lambda d: _shift(blend(d, "greedy")["weights"], "mean", -1e-3), ["greedy: weights.mean"]),
    "a weight of a fold": (
        lambda d: _shift(blend(d, "uniform")["fold_weights"][1], "knn", 1e-2),
        ["uniform: fold_weights[1].knn"],
    ),
    "weights doubled": (
        lambda d: blend(d, "uniform").update(weights=dict.fromkeys(["mean", "knn", "near"], 2 / 3)),
        ["uniform: weights.mean", "uniform: weights.knn", "uniform: weights.near"],
    ),
    "a weight less": (lambda d: blend(d, "greedy")["weights"].pop("near"), ["greedy: weights"]),
    "a fold less": (lambda d: blend(d, "greedy")["fold_weights"].pop(), ["greedy: fold_weights"]),
}


@pytest.mark.parametrize("fault", EDITS)
def test_a_figure_that_was_tampered_with_is_named(shelf: Shelf, tmp_path: Path, fault: str) -> None:
    edit, parts = EDITS[fault]
    ranks = [row.plugin for row in shelf.published.document.rows]
    found = check(edited(shelf.published, tmp_path, edit), shelf.run)
    assert found.state == "differs"
    assert named(found) == [part.format(*ranks) for part in parts]


def test_what_an_earlier_version_did_not_say_is_no_difference(shelf: Shelf, tmp_path: Path) -> None:
    def forget(document: dict[str, Any]) -> None:
        del document["dataset"]["texts"]
        for one in (*document["rows"], *document["blends"]):
            del one["by_distance"], one["by_overlap"]
        for row in document["rows"]:
            del row["prompts_alike"], row["effective_groups"]

    found = check(edited(shelf.published, tmp_path, forget), shelf.run)
    assert (found.state, named(found)) == ("verified", [])


def test_a_score_by_distance_that_was_tampered_with_is_named(shelf: Shelf, tmp_path: Path) -> None:
    told = next(i for i, one in enumerate(shelf.published.document.rows[0].by_distance) if one.n)

    def tamper(document: dict[str, Any]) -> None:
        document["rows"][0]["by_distance"][told]["score"] += 1e-3

    found = check(edited(shelf.published, tmp_path, tamper), shelf.run)
    assert [name.split(": ")[1] for name in named(found)] == [f"by_distance[{told}].score"]


def test_weights_of_another_optimum_are_the_same(shelf: Shelf, tmp_path: Path) -> None:
    """Two members that predict the same may share their weight in any way."""
    run = by_hand(shelf.run, tmp_path / "run")
    for fold, key in run.members["near"].keys.items():
        twin = run.task_folder("knn", fold, run.members["knn"].keys[fold])
        shutil.copy(twin / "predictions.npy", run.task_folder("near", fold, key))
    published = publish_run(run, tmp_path / "twins")

    def share(document: dict[str, Any]) -> None:
        weights = blend(document, "uniform")["weights"]
        weights["knn"], weights["near"] = weights["knn"] + 0.2, weights["near"] - 0.2

    assert named(check(edited(published, tmp_path, share), run)) == []


def test_weights_that_are_only_near_the_optimum_are_not(shelf: Shelf, tmp_path: Path) -> None:
    """Where the score is flat, a weight can move further than the score's tolerance would notice."""
    run = by_hand(shelf.run, tmp_path / "run")
    rng = np.random.default_rng(0)
    for name, member in run.members.items():
        for fold, key in member.keys.items():
            targets = run.targets[run.rows.fold == fold]
            noise = rng.normal(size=targets.shape) / 20
            np.save(run.task_folder(name, fold, key) / "predictions.npy", (targets + noise).astype(np.float32))
    published = publish_run(run, tmp_path / "noisy")

    def move(document: dict[str, Any]) -> None:
        weights = blend(document, "simplex")["weights"]
        assert min(weights.values()) > 0.1
        weights["mean"], weights["knn"] = weights["mean"] - 5e-4, weights["knn"] + 5e-4

    moved = edited(published, tmp_path, move)
    assert named(check(moved, run)) == ["simplex: weights.mean", "simplex: weights.knn"]
    assert named(check(moved, run, tolerance=2e-6)) == []


@pytest.mark.parametrize(
    ("longer", "tolerance", "differs"), [(1.002, 5e-3, False), (1.002, EXACT, True), (2, 5e-3, True)]
)
def test_weights_that_need_not_sum_to_one_may_move_as_members_may(
    shelf: Shelf, tmp_path: Path, longer: float, tolerance: float, differs: bool
) -> None:
    """A blend's score does not tell its length, which follows what its members are elsewhere."""

    def stretch(document: dict[str, Any]) -> None:
        weights = blend(document, "signed")["weights"]
        weights.update({name: longer * weight for name, weight in weights.items()})

    found = named(check(edited(shelf.published, tmp_path, stretch), shelf.run, tolerance))
    assert bool(found) == differs
    assert all(name.startswith("signed: weights.") for name in found)


@pytest.mark.parametrize("by", [1e-3, 1e-7])
def test_predictions_that_were_tampered_with_are_found(shelf: Shelf, tmp_path: Path, by: float) -> None:
    run = by_hand(shelf.run, tmp_path / "run")
    path = run.task_folder("mean", 0, run.members["mean"].keys[0]) / "predictions.npy"
    values = np.load(path)
    values[0, 0] += by
    np.save(path, values)
    found = check(shelf.published, run)
    assert "mean: predictions_sha256" in named(found)
    assert ("mean: score" in named(found)) == (by > EXACT)


def test_other_versions_or_machines_get_the_wider_tolerance_and_no_digests(shelf: Shelf, tmp_path: Path) -> None:
    def elsewhere(document: dict[str, Any]) -> None:
        document["versions"]["numpy"] = "0.1"
        document["rows"][0]["score"] += 1e-3
        document["rows"][0]["predictions_sha256"] = "0" * 64
        blend(document, "simplex")["starts_agreeing"] = 0

    published = edited(shelf.published, tmp_path, elsewhere)
    found = check(published, shelf.run)
    assert (found.state, found.tolerance) == ("verified", 5e-3)
    strict = check(published, shelf.run, tolerance=EXACT)
    first = published.document.rows[0].plugin
    assert named(strict) == [f"{first}: score", f"{first}: predictions_sha256", "simplex: starts_agreeing"]

    def more_memory(document: dict[str, Any]) -> None:
        document["machine"]["memory_bytes"] += 1

    assert check(edited(shelf.published, tmp_path, more_memory), shelf.run).tolerance == EXACT

    def more_cores(document: dict[str, Any]) -> None:
        document["machine"]["cores"] += 1

    assert check(edited(shelf.published, tmp_path, more_cores), shelf.run).tolerance == 5e-3

    def far(document: dict[str, Any]) -> None:
        elsewhere(document)
        document["rows"][0]["score"] += 5e-3

    assert named(check(edited(shelf.published, tmp_path, far), shelf.run)) == [f"{first}: score"]


def test_a_later_member_that_leads_changes_nothing(shelf: Shelf, tmp_path: Path) -> None:
    run = by_hand(shelf.run, tmp_path / "run")
    document = run.document
    oracle = document.members["mean"].model_copy(update={"name": "oracle"})
    for fold, key in run.members["mean"].keys.items():
        task = Path(shutil.copytree(run.task_folder("mean", fold, key), run.task_folder("oracle", fold, key)))
        np.save(task / "predictions.npy", run.targets[run.rows.fold == fold])
    run.update(document.model_copy(update={"members": {**document.members, "oracle": oracle}}))
    assert leaderboard(run).rows[0].plugin == "oracle"
    assert lacks(run, shelf.published, PluginManager(), keys_of) == ""
    assert named(check(shelf.published, run)) == []


def test_a_run_that_is_another_is_not_taken(shelf: Shelf, tmp_path: Path) -> None:
    run = copied(shelf.run, tmp_path / "run")
    task = run.task_folder("mean", 1, run.members["mean"].keys[1])
    task.rename(task.with_name("elsewhere"))
    assert "'mean' is not finished" in lacks(run, shelf.published, PluginManager(), keys_of)
    change(run, lambda d: d["members"]["knn"]["keys"].update({"0": "other"}))
    task.with_name("elsewhere").rename(task)
    assert "'knn' has another configuration or version" in lacks(run, shelf.published, PluginManager(), keys_of)
    change(run, lambda d: d["members"].pop("knn"))
    assert "no member 'knn'" in lacks(run, shelf.published, PluginManager(), keys_of)
    change(run, lambda d: d["folds"].update(fold_hash="other"))
    assert "its folds are others" in lacks(run, shelf.published, PluginManager(), keys_of)
    assert matching_run(shelf.published, [run], PluginManager(), keys_of) is None


def test_an_option_that_a_predictor_gained_is_no_difference_at_its_default(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published without it, the run has it, and with it other keys: the predictions are the same all the same."""
    manager = PluginManager()
    document = json.loads(shelf.published.path.read_text())
    plain = document["rows"][[row["plugin"] for row in document["rows"]].index("near")]
    assert plain["config"].pop("power", "absent") is None  # the default, and what a later version gained
    member = shelf.run.members["near"].model_copy(update={"config": plain["config"]})
    keys = keys_of(member, shelf.run.document.folds, shelf.run.document.config.seed, manager)
    plain["keys"] = {str(fold): key for fold, key in keys.items()}

    def published(**changes: Any) -> Published:
        (tmp_path / "pictures.json").write_text(json.dumps(document | changes))
        return read_published(tmp_path / "pictures.json")

    def rows_with(**changes: Any) -> list[dict[str, Any]]:
        return [row | (changes if row["plugin"] == "near" else {}) for row in document["rows"]]

    earlier = published()
    near = next(row for row in earlier.document.rows if row.plugin == "near")
    assert gained(near, shelf.run.document, manager, keys_of) == {"power"}
    assert lacks(shelf.run, earlier, manager, keys_of) == ""
    assert named(check(earlier, shelf.run)) == []
    # What would make other predictions still does.
    other = published(rows=rows_with(keys=plain["keys"] | {"1": "0" * 12}))
    assert "'near' has another configuration" in lacks(shelf.run, other, manager, keys_of)
    assert named(check(other, shelf.run)) == [f"near: keys.{fold}" for fold in range(3)]
    other = published(rows=rows_with(config=plain["config"] | {"neighbours": 4}))
    assert named(check(other, shelf.run))[0] == "near: config.neighbours"
    # And so does an option that stands at something else than its default.
    monkeypatch.setattr(manager.predictor("knn").Config.model_fields["power"], "default", 2.0)
    assert "'near' has another configuration" in lacks(shelf.run, earlier, manager, keys_of)


def test_other_versions_of_a_predictor_are_refused(shelf: Shelf, tmp_path: Path) -> None:
    manager = PluginManager()
    check_versions(shelf.published, manager)
    later = edited(shelf.published, tmp_path, lambda d: d["rows"][0].update(version="99"))
    with pytest.raises(InputError, match=r"with version 99 .* is installed"):
        check_versions(later, manager)
    gone = edited(shelf.published, tmp_path, lambda d: d["rows"][0].update(predictor="gone"))
    with pytest.raises(InputError, match=r"pictures.json.*no plugin is called 'gone'"):
        check_versions(gone, manager)
    method = edited(shelf.published, tmp_path, lambda d: d["blends"][0].update(method="magic"))
    with pytest.raises(InputError, match=r"pictures.json.*no method is called 'magic'"):
        verify(method, shelf.run, manager, keys_of)


WRONG: dict[str, tuple[Callable[[str], str], list[str]]] = {
    "cut off": (lambda text: text[: len(text) // 2], ["it is not JSON", "publish it anew"]),
    "NaN": (
        lambda text: text.replace('"score": 0.', '"score": NaN, "was": 0.', 1),
        ["rows.0.score", "NaN", "publish it anew"],
    ),
    "another document": (lambda text: '{"dataset": "x", "rows": []}', ["no published leaderboard", "--publish"]),
    "a list": (lambda text: "[]", ["no published leaderboard"]),
    "a later schema": (lambda text: text.replace('"schema": 1', '"schema": 2'), ["later version", "schema 2"]),
    "a score that is a text": (
        lambda text: text.replace('"score": 0.', '"score": "x", "was": 0.', 1),
        ["rows.0.score"],
    ),
    "no members": (lambda text: json.dumps({**json.loads(text), "rows": []}), ["rows", "at least 1"]),
    "a text for the folds": (lambda text: text.replace('"purged": [', '"purged": "x", "was": [', 1), ["folds.purged"]),
    "an option that is none": (lambda text: text.replace('"preset": ', '"pre": ', 1), ["config.pre"]),
    "a member less": (
        lambda text: json.dumps({**json.loads(text), "rows": json.loads(text)["rows"][1:]}),
        ["its rows"],
    ),
    "an older schema": (lambda text: text.replace('"schema": 1', '"schema": 0'), ["'schema'", "publish it anew"]),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_no_published_leaderboard_is_refused(shelf: Shelf, tmp_path: Path, fault: str) -> None:
    edit, parts = WRONG[fault]
    path = tmp_path / "wrong.json"
    path.write_text(edit(shelf.published.path.read_text()))
    with pytest.raises(InputError) as refused:
        read_published(path)
    assert [part for part in [str(path), *parts] if part not in str(refused.value)] == [], refused.value


def test_where_nothing_is_published(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \*\.json"):
        published_in(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        published_in(tmp_path / "gone")


# -- weights of a fold are judged on the rows that they were learned on -----------------------------


def noisy_run(folder: Path, n_folds: int, near: NDArray[np.bool_] | None = None) -> RunFolder:
    """A run of two members of which each has its weight, over 60 rows."""
    views, targets = members(60, 2, 3, dim=384)
    return write_run(folder, {"one": views[0], "two": views[1]}, targets, n_folds=n_folds, near=near)


def verification_of(run: RunFolder, folder: Path, edit: Edit) -> list[str]:
    published = publish_run(run, folder / "published", data="made")
    return named(check(edited(published, folder, edit), run, EXACT))


def test_two_folds_are_judged_each_on_the_other(tmp_path: Path) -> None:
    """Without a fold there is one fold left, in which no weights could be learned, but any can be scored."""
    run = noisy_run(tmp_path / "run", 2)

    def swap(document: dict[str, Any]) -> None:
        weights = blend(document, "nnls")["fold_weights"][1]
        weights["one"], weights["two"] = weights["two"], weights["one"]

    assert verification_of(run, tmp_path, swap) == ["nnls: fold_weights[1].one", "nnls: fold_weights[1].two"]


def test_rows_that_a_fold_must_not_learn_from_do_not_judge_its_weights(tmp_path: Path) -> None:
    """The two members differ in rows near fold 0 only, so that any weights without it are an optimum."""
    fold = np.arange(60) % 4
    near = np.eye(4, dtype=bool)[fold]
    near[fold == 1, 0] = True
    views, targets = members(60, 2, 3, dim=384)
    views[1] = np.where((fold == 1)[:, None], views[1], views[0])
    run = write_run(tmp_path / "run", {"one": views[0], "two": views[1]}, targets, near=near)

    def share(document: dict[str, Any], without: int) -> None:
        weights = blend(document, "uniform")["fold_weights"][without]
        weights["one"], weights["two"] = weights["one"] + 0.2, weights["two"] - 0.2

    assert verification_of(run, tmp_path, lambda d: share(d, 0)) == []
    shared = verification_of(run, tmp_path, lambda d: share(d, 2))
    assert shared == ["uniform: fold_weights[2].one", "uniform: fold_weights[2].two"]
