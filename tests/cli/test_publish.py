"""`harness leaderboard --publish` and `--verify`, as one does them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.report.site import write_site
from tests.conftest import Answer, make_kaggle, run_harness
from tests.report.test_published import described, undescribed

PLUGINS = ("--plugins", "mean,near=knn", "--set", "near.neighbours=3", "--folds", 2)


@dataclass(frozen=True)
class Place:
    """A folder with data, a run of it, and what was published of it."""

    root: Path

    def __call__(self, *arguments: object, **options: Any) -> Answer:
        return run_harness(*arguments, cwd=self.root, **options)

    @property
    def file(self) -> Path:
        return self.root / "leaderboards" / "photos.json"

    def edit(self, **changes: Any) -> None:
        document = json.loads(self.file.read_text())
        for path, value in changes.items():
            *parts, last = path.split("__")
            inner = document
            for part in parts:
                inner = inner[int(part) if isinstance(inner, list) else part]
            inner[last] = value
        self.file.write_text(json.dumps(document))
        write_site(self.file.parent)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = Place(tmp_path_factory.mktemp("publish"))
    make_kaggle(place.root / "photos")
    run = place("run", "--data", "photos", *PLUGINS, "--run-dir", "runs/first")
    assert run.code == 0, run.err
    published = place("leaderboard", "--publish", "leaderboards/")
    assert published.code == 0, published.err
    assert "wrote leaderboards/photos.json and leaderboards/photos.md" in published.err
    assert "wrote leaderboards/index.html and 1 page" in published.err
    assert "95 % interval" in published.out
    return place.root


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Place:
    place = Place(Path(shutil.copytree(made, tmp_path / "place")))
    # `signed` brings scikit-learn in, which takes longer to import than all the rest to check.
    place.edit(blends=[blend for blend in json.loads(place.file.read_text())["blends"] if blend["method"] != "signed"])
    return place


def test_published_and_verified(made: Path) -> None:
    place = Place(made)
    shown = place("leaderboard", "--verify")
    assert shown.code == 0, shown.err
    assert "1 verified" in shown.err
    assert "from the predictions in runs/first" in shown.err
    for word in ("data set", "published", "found", "difference", "verdict", "near", "predictions_sha256", "simplex"):
        assert word in shown.out
    document = place("leaderboard", "--verify", "leaderboards/photos.json", "--json").json
    assert undescribed(document, described("What `--verify --json` prints")) == []
    assert (document["verified"], document["differing"], document["not_checked"]) == (1, 0, 0)
    figures = document["documents"][0]["figures"]
    assert {figure["verdict"] for figure in figures} == {"same"}
    assert not document["documents"][0]["recomputed"]
    assert not [path for path in (place.root / "runs").iterdir() if path.name != "first"]


def test_a_figure_that_differs_ends_with_code_1_and_is_named(place: Place) -> None:
    score = json.loads(place.file.read_text())["rows"][0]["score"]
    place.edit(rows__0__score=score + 0.01)
    told = place("leaderboard", "--verify")
    assert told.code == 1
    assert "1 differs: 1 figures differ; the first: leaderboards/photos.json, " in told.err
    assert f"score: published {score + 0.01}, found {score}" in told.err
    assert "differs" in told.out
    document = place("leaderboard", "--verify", "--json")
    assert (document.code, document.json["differing"]) == (1, 1)
    assert "differ" in document.err
    assert place("leaderboard", "--verify", "--tolerance", 0.02).code == 0


def test_a_page_that_is_not_its_documents_is_named_with_the_mend(place: Place) -> None:
    page = place.file.with_suffix(".html")
    page.write_text(page.read_text().replace("Leaderboard", "Winners"))
    told = place("leaderboard", "--verify")
    assert told.code == 1
    assert "leaderboards/photos.html: differs: it is not what its documents give" in told.err
    assert "1 verified: 1 web page of 2 not as the documents say" in told.err
    document = place("leaderboard", "--verify", "leaderboards/photos.json", "--json")
    assert (document.code, document.json["verified"]) == (1, 1)
    assert [(one["file"], one["state"]) for one in document.json["pages"]] == [("leaderboards/photos.html", "differs")]
    assert document.json["pages"][0]["mend"].endswith("`harness leaderboard --site leaderboards` writes it anew")

    mended = place("leaderboard", "--site", "leaderboards")
    assert (mended.code, mended.out) == (0, "")
    assert "wrote leaderboards/index.html and 1 page" in mended.err
    assert place("leaderboard", "--verify").code == 0


def test_without_the_run_it_is_computed_again(place: Place) -> None:
    shutil.rmtree(place.root / "runs")
    told = place("leaderboard", "--verify")
    assert told.code == 0, told.err
    assert "computed again in runs/verify-photos (tolerance 1e-06)" in told.err
    assert "[4/4]" in told.err, "progress as `harness run` shows it"
    assert (place.root / "runs" / "verify-photos" / "run.json").is_file()
    again = place("leaderboard", "--verify", "--json").json["documents"][0]
    assert (again["state"], again["recomputed"], again["run_dir"]) == ("verified", False, "runs/verify-photos")


def test_the_printed_command_makes_the_same_members(place: Place) -> None:
    import shlex

    document = json.loads(place.file.read_text())
    command = shlex.split(document["commands"]["run"])
    assert command[0] == "harness"
    run = place(*command[1:], "--json").json
    assert (run["computed"], run["reused"]) == (0, 4), "the very tasks of the first run"
    assert run["fold_hash"] == document["folds"]["hash"]
    assert [row["score"] for row in run["rows"]] == [row["score"] for row in document["rows"]]
    blends = place(*shlex.split(document["commands"]["ensemble"])[1:], "--json").json["methods"]
    scores = {blend["method"]: blend["score"] for blend in blends}
    assert {blend["method"]: blend["score"] for blend in document["blends"]}.items() <= scores.items()
    assert place(*shlex.split(document["commands"]["verify"])[1:]).code == 0


def test_data_that_is_absent_is_not_checked(place: Place) -> None:
    shutil.rmtree(place.root / "runs")
    (place.root / "photos").rename(place.root / "store")
    named = place("leaderboard", "--verify", "leaderboards/photos.json")
    assert (named.code, named.out) == (2, "")
    assert "its data 'photos' is not here" in named.err
    assert "HARNESS_REAL_DATA" in named.err
    alone = place("leaderboard", "--verify")
    assert (alone.code, "nothing could be checked" in alone.err) == (2, True)
    (place.root / "elsewhere").mkdir()
    (place.root / "store").rename(place.root / "elsewhere" / "photos")
    found = place("leaderboard", "--verify", env={"HARNESS_REAL_DATA": str(place.root / "elsewhere")})
    assert found.code == 0, found.err
    assert "1 verified" in found.err


def test_one_that_is_absent_is_noted_beside_others(place: Place) -> None:
    other = json.loads(place.file.read_text())
    other["folds"]["hash"], other["config"]["data"] = "0" * 16, "gone"
    place.file.with_name("gone.json").write_text(json.dumps(other))
    assert place("leaderboard", "--site", "leaderboards").code == 0
    told = place("leaderboard", "--verify")
    assert told.code == 0, told.err
    assert "1 verified, 1 not checked" in told.err
    assert "gone.json: not checked: its data 'gone' is not here" in told.err


def test_other_data_of_the_same_name_is_refused(place: Place) -> None:
    shutil.rmtree(place.root / "runs")
    prompts = place.root / "photos" / "prompts.csv"
    prompts.write_text(prompts.read_text().replace("fox", "cat"))
    told = place("leaderboard", "--verify")
    assert told.code == 2
    assert "fingerprint" in told.err
    assert not (place.root / "runs").exists()


def test_a_run_named_must_be_the_one(place: Place) -> None:
    assert place("run", "--data", "photos", "--plugins", "mean", "--folds", 3, "--run-dir", "runs/other").code == 0
    told = place("leaderboard", "--verify", "leaderboards/photos.json", "--run-dir", "runs/other")
    assert told.code == 2
    assert "--run-dir runs/other is not the run it was published from: its folds are others" in told.err
    assert place("leaderboard", "--verify", "--run-dir", "runs/first").code == 0


def test_data_given_by_an_absolute_path_needs_a_name(place: Place) -> None:
    data = (place.root / "photos").resolve()
    run = place("run", "--data", data, *PLUGINS, "--run-dir", "runs/first", "--json")
    assert (run.code, run.json["computed"]) == (0, 0)
    refused = place("leaderboard", "--publish", "out", "--run-dir", "runs/first")
    assert refused.code == 2
    assert f"HARNESS_REAL_DATA={data.parent} makes it `--data photos`" in refused.err
    assert not (place.root / "out").exists()
    named = place("leaderboard", "--publish", "out", env={"HARNESS_REAL_DATA": str(data.parent)})
    assert named.code == 0, named.err
    assert json.loads((place.root / "out" / "photos.json").read_text())["config"]["data"] == "photos"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("leaderboards", ["PATH leaderboards", "--verify"]),
        ("--tolerance 1e-3", ["--tolerance", "--verify"]),
        ("--verify --publish out", ["--publish", "--verify"]),
        ("--verify --tolerance nan", ["--tolerance nan"]),
        ("--site leaderboards --verify", ["--site", "--verify"]),
        ("--site leaderboards --run-dir runs/first", ["--site takes what is published"]),
        ("--site gone", ["--site gone: there is no such folder"]),
        ("--site photos", ["no published leaderboard here"]),
        ("--verify gone", ["gone: there is no such file or folder"]),
        ("--verify photos", ["no published leaderboard here"]),
        ("--verify photos/prompts.csv", ["it is not JSON", "publish it anew"]),
        ("--publish photos/prompts.csv", ["it is a file"]),
        ("--publish out --run-dir gone", ["there is no run here"]),
    ],
)
def test_wrong_options_are_named(made: Path, arguments: str, parts: list[str]) -> None:
    answer = run_harness("leaderboard", *arguments.split(), cwd=made)
    assert (answer.code, answer.out) == (2, ""), answer
    assert [part for part in parts if part not in answer.err] == [], answer.err
