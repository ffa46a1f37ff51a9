"""Packages of strangers, installed as wheels beside a wheel of the harness, and used through the commands."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import harness_scenes
import numpy as np
import pytest

from harness.testing import check_names
from tests.third_party.environment import ROOT, Environment, build_wheel, make_environment

# One process, and so one environment, for all of them.
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("third_party")]
HERE = Path(__file__).parent
ROWS, NEW = 48, 3


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the harness, prompt-forest and postcards."""
    folder = tmp_path_factory.mktemp("third-party")
    made = make_environment(folder / "environment")
    # Forced, because the environment behind it may hold the same version; its dependencies are there.
    made.install("--no-deps", "--force-reinstall", build_wheel(ROOT, folder))
    made.install(build_wheel(HERE / "prompt-forest", folder), build_wheel(HERE / "postcards", folder))
    return made


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two postcard archives, one of them without greetings."""
    folder = tmp_path_factory.mktemp("work")
    write_archive(folder / "cards.zip", range(ROWS), prompts=True)
    write_archive(folder / "new.zip", range(900, 900 + NEW), prompts=False)
    return folder


@pytest.fixture(scope="module")
def run_folder(environment: Environment, work: Path) -> Path:
    """A run of their predictor beside two of ours, on their data."""
    answer = environment.run(
        "harness", "run", "--plugins", "forest,mean,knn", "--data", "cards.zip", "--test", "new.zip",
        "--folds", "2", "--set", "forest.trees=5", "--run-dir", "run", cwd=work,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    return work / "run"


def write_archive(path: Path, indices: range, prompts: bool) -> None:
    cards = []
    with zipfile.ZipFile(path, "w") as archive:
        for index in indices:
            scene = harness_scenes.compose(77, index)
            stream = io.BytesIO()
            harness_scenes.draw(scene, 48).save(stream, "PNG")
            archive.writestr(f"pictures/{index}.png", stream.getvalue())
            card = {"number": f"card-{index}", "picture": f"pictures/{index}.png", "series": "abc"[index % 3]}
            cards.append(card | ({"greeting": scene.prompt} if prompts else {}))
        archive.writestr("cards.jsonl", "\n".join(map(json.dumps, cards)))


def listing(environment: Environment, cwd: Path) -> dict[str, dict[str, object]]:
    answer = environment.run("harness", "plugins", "list", "--json", cwd=cwd)
    assert answer.code == 0, answer.err
    return {status["name"]: status for status in answer.json}


def test_the_harness_under_test_is_the_installed_wheel(environment: Environment, tmp_path: Path) -> None:
    script = "import harness, harness_baselines; print(harness.__file__, harness_baselines.__file__)"
    answer = environment.run("python", "-c", script, cwd=tmp_path)
    assert answer.out.split() == [
        str(environment.site / name / "__init__.py") for name in ("harness", "harness_baselines")
    ]


def test_the_wheel_has_every_file_of_the_packages(environment: Environment) -> None:
    """Weights, templates, markers: what is in the checkout and no README, or a picture in one, is in the wheel."""

    def files(root: Path, package: str) -> set[str]:
        found = (path.relative_to(root) for path in (root / package).rglob("*") if path.is_file())
        return {str(path) for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc"}

    missing = files(ROOT, "harness") - files(environment.site, "harness")
    allowed = {name for name in missing if name.endswith(("README.md", "screenshot.webp"))}
    assert missing - allowed == set()


def test_the_strangers_plugins_are_listed_with_what_they_bring(environment: Environment, work: Path) -> None:
    found = listing(environment, work)
    forest, postcards = found["prompt-forest"], found["postcards"]
    assert (forest["status"], forest["version"], forest["predictors"]) == ("ok", "1.4.2", ["forest"])
    assert (postcards["status"], postcards["version"]) == ("ok", "0.3")
    assert (postcards["datasets"], postcards["blenders"]) == (["postcards"], ["bootstrap-median"])
    assert (found["mean"]["status"], found["mean"]["distribution"]) == ("ok", "prompt-harness")


def test_their_predictor_stands_on_the_leaderboard_beside_ours(environment: Environment, run_folder: Path) -> None:
    board = environment.run("harness", "leaderboard", "--run-dir", run_folder, "--json", cwd=run_folder.parent).json
    rows = {row["plugin"]: row for row in board["rows"]}
    assert set(rows) == {"forest", "mean", "knn"}
    assert rows["forest"]["version"] == "3"
    assert {row["n"] for row in rows.values()} == {ROWS}
    assert set(rows["forest"]["slices"]) == {"a", "b", "c"}  # the reader's sources
    stored = sorted((run_folder).rglob("forest.safetensors"))
    assert len(stored) == 2  # folds


@pytest.mark.parametrize("method", ["bootstrap-median", None])
def test_their_predictor_is_blended_by_their_method_and_by_ours(
    environment: Environment, run_folder: Path, method: str | None
) -> None:
    out = run_folder.parent / f"{method}.csv"
    chosen = [] if method is None else ["--method", method]
    command = ["ensemble", "--optimize", *chosen, "--run-dir", run_folder, "--out", out, "--json"]
    answer = environment.run("harness", *command, cwd=run_folder.parent)
    assert answer.code == 0, answer.err
    document = answer.json
    assert document["method"] == (method or "simplex")
    assert set(document["weights"]) == {"forest", "mean", "knn"}
    assert sum(document["weights"].values()) == pytest.approx(1.0)
    lines = out.read_text().splitlines()
    assert len(lines) == 1 + 384 * NEW
    row = np.array([float(line.split(",")[1]) for line in lines[1:385]])
    assert lines[1].startswith("card-900_0,")
    assert np.linalg.norm(row) > 0


def test_their_predictor_passes_the_conformance_kit(environment: Environment, work: Path) -> None:
    answer = environment.run(
        "harness", "plugins", "check", "forest", "--set", "trees=3", "--set", "components=4", "--json", cwd=work
    )
    wrong = [check for check in answer.json["checks"] if check["status"] == "failed"]
    assert (wrong, answer.code) == ([], 0)
    assert [check["name"] for check in answer.json["checks"]] == check_names()
    assert answer.json["distribution"] == "prompt-forest 1.4.2"


def test_a_wheel_can_start_a_package_of_its_own(environment: Environment, tmp_path: Path) -> None:
    answer = environment.run("harness", "plugins", "new", "sunset", cwd=tmp_path)
    assert answer.code == 0, answer.err
    environment.install("--target", tmp_path / "target", "--no-deps", tmp_path / "sunset")
    assert (tmp_path / "target" / "harness_sunset" / "py.typed").is_file()
    taken = environment.run("harness", "plugins", "new", "forest", cwd=tmp_path)
    assert (taken.code, "prompt-forest 1.4.2" in taken.err) == (2, True)


HOOK = "@hookimpl\ndef harness_register_predictors(register):\n    register(Theirs)\n"
PREDICTOR = """
from harness.plugin import Predictor, hookimpl

class Theirs(Predictor):
    name, version, trainable = "{name}", "1", False
    def predict(self, images):
        import numpy as np
        return np.ones((len(images), 384), dtype=np.float32)

"""
BROKEN = {
    "b-import": ("import a_module_nobody_has\n", "ModuleNotFoundError: No module named 'a_module_nobody_has'"),
    "b-syntax": ("def harness_register_predictors(register:\n", "SyntaxError"),
    "b-class": ("from harness.plugin import hookimpl\nclass Theirs:\n    name = 'theirs'\n" + HOOK, "not a subclass"),
    "b-twin": (PREDICTOR.format(name="forest") + HOOK, "registered twice, by b-twin 1.0 and by prompt-forest 1.4.2"),
    "b-hook": (
        PREDICTOR.format(name="hooked") + HOOK.replace("predictors", "predictor"),
        "did you mean harness_register_predictors",
    ),
    "b-newer": ("import harness.of_the_future\n", "it needs prompt-harness>=99, and this is harness"),
    "b-exits": ("import sys\nsys.exit('goodbye')\n", "SystemExit"),
}


@pytest.fixture
def broken(environment: Environment) -> Iterator[Environment]:
    """The environment with broken packages beside the good ones; afterwards without them."""
    files: list[Path] = []
    for name, (source, _) in BROKEN.items():
        module = environment.site / f"{name.replace('-', '_')}.py"
        info = environment.site / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        metadata, points = info / "METADATA", info / "entry_points.txt"
        needs = "prompt-harness>=99" if name == "b-newer" else "prompt-harness<99"
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {needs}\n")
        points.write_text(f"[harness.plugins]\n{name} = {module.stem}\n")
        module.write_text(source)
        files += [module, metadata, points]
    yield environment
    for file in files:
        file.unlink()
    for info in {file.parent for file in files} - {environment.site}:
        info.rmdir()


def test_broken_packages_are_listed_with_their_reasons_and_break_nothing(broken: Environment, work: Path) -> None:
    found = listing(broken, work)
    for name, (_, reason) in BROKEN.items():
        if name != "b-twin":
            assert found[name]["status"] == "broken", name
            assert reason in str(found[name]["reason"]), name
    # Of two with the same name, the one that is found second is told; neither can be used by that name.
    assert found["prompt-forest"]["status"] == "broken"
    assert BROKEN["b-twin"][1] in str(found["prompt-forest"]["reason"])
    assert found["postcards"]["status"] == "ok"

    table = broken.run("harness", "plugins", "list", cwd=work)
    assert (table.code, "Traceback" in table.err) == (0, False)
    said = broken.run("harness", "--help", cwd=work)
    assert (said.code, said.err) == (0, "")
    command = ["run", "--plugins", "mean", "--data", "cards.zip", "--folds", "2"]
    run = broken.run("harness", *command, "--run-dir", "beside-broken", cwd=work)
    assert run.code == 0, run.err
    assert not any(name in run.err + run.out for name in BROKEN)


def test_a_broken_package_that_is_asked_for_is_refused_with_its_reason(broken: Environment, work: Path) -> None:
    for name, (_, reason) in BROKEN.items():
        asked = "forest" if name == "b-twin" else name
        answer = broken.run("harness", "run", "--plugins", f"mean,{asked}", "--data", "cards.zip", cwd=work)
        assert (answer.code, "Traceback" in answer.err) == (2, False), name
        assert reason in answer.err, name
