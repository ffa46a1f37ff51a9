"""`import harness`: a notebook's dozen lines, the same figures as the commands, and messages in Python's words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import harness as face
from harness.errors import InputError, TaskFailedError
from harness.plugin import Predictor
from harness.workbench.publishing import publish_run
from harness.workbench.running import run_predictors
from tests.conftest import Harness

SCRIPT = """
import json, sys
import numpy as np
import harness

class Middle(harness.Predictor):
    name, version = "middle", "1"
    def fit(self, train): self.centre = np.median(train.targets, axis=0)
    def predict(self, images): return np.tile(self.centre, (len(images), 1))
    def save(self, folder): np.save(folder / "centre.npy", self.centre)
    def load(self, folder): self.centre = np.load(folder / "centre.npy")

data, test = sys.argv[1:]
run = harness.run(data, predictors=["mean", "ridge", Middle], test=test, folds=2, run_dir="in-python")
blend, pair = run.blend("simplex"), run.compare("blend", "mean")
seen = run.predict([test])
blend.submit("python.csv")
print(json.dumps([run.leaderboard().document(), blend.document(), pair.document(), seen.embeddings["middle"].shape]))
"""


def test_a_script_gives_the_figures_of_the_commands_to_the_digit(
    kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    (tmp_path / "cwd" / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", str(kaggle), str(kaggle / "images")]
    done = subprocess.run(command, cwd=tmp_path / "cwd", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    board, blend, pair, shape = json.loads(done.stdout)
    assert shape == [16, 384]
    middle = next(row for row in board["rows"] if row["plugin"] == "middle")
    plugin = SCRIPT.split("data, test")[0].replace("import json, sys\n", "") + (
        "@harness.hookimpl\ndef harness_register_predictors(register):\n    register(Middle)\n"
    )
    (tmp_path / "cwd" / "middle.py").write_text(plugin)
    answer = harness(
        *("run", "--data", kaggle, "--plugin-file", "middle.py", "--plugins", "mean,ridge,middle", "--folds", 2),
        *("--test", kaggle / "images", "--run-dir", "in-shell", "--json"),
    )
    assert answer.code == 0, answer.err
    # A run looks at no distances, and at no blend, which may lead.
    timed = {"fit_seconds", "images_per_second", "by_distance", "by_overlap", "behind_leader", "tied_with_leader"}
    rows = [row for row in board["rows"] if not row["blend"]]
    for here, there in zip(rows, answer.json["rows"], strict=True):
        assert {k: v for k, v in here.items() if k not in timed} == {k: v for k, v in there.items() if k not in timed}
    assert middle["score"] == next(row["score"] for row in answer.json["rows"] if row["plugin"] == "middle")
    told = harness("ensemble", "--optimize", "--json", "--out", "shell.csv", "--run-dir", "in-shell").json
    own = {"submission", "tasks"}  # its place, and keys that know where a class came from
    assert {k: v for k, v in told.items() if k not in own} == {k: v for k, v in blend.items() if k not in own}
    assert (tmp_path / "cwd" / "shell.csv").read_bytes() == (tmp_path / "cwd" / "python.csv").read_bytes()
    compared = harness("compare", "blend", "mean", "--run-dir", "in-shell", "--json").json
    assert compared["comparisons"] == pair["comparisons"]


class Constant(Predictor):
    name, version = "constant", "1"

    def fit(self, train):  # type: ignore[no-untyped-def]
        self.value = train.targets[0]

    def predict(self, images):  # type: ignore[no-untyped-def]
        return np.tile(self.value, (len(images), 1)).astype(np.float32)


class Failing(Constant):
    name = "failing"

    def predict(self, images):  # type: ignore[no-untyped-def]
        raise RuntimeError("not today")


def test_classes_take_part_under_names_of_ones_own(kaggle: Path, in_tmp: Path) -> None:
    run = face.run(
        kaggle.name, predictors={"a": Constant, "b": "mean", "constant": Constant}, folds=2, executor="inline"
    )
    assert list(run.members) == ["a", "b", "constant"]
    assert np.array_equal(run.predictions("a"), run.predictions("constant"))
    assert run.members["a"].distribution.startswith("class ")
    assert [len(x) for x in (run.ids, run.prompts, run.targets)] == [16, 16, 16]
    for fold in range(2):
        assert set(run.folds.training_rows(fold)).isdisjoint(run.folds.held_rows(fold))
    image = next((kaggle / "images").iterdir())
    skipped = face.open_run(run.path).predict(image).skipped
    assert list(skipped) == ["a", "constant"]
    assert "give that to harness.open_run(PATH, predictors=[...])" in skipped["a"]
    page = run.report(in_tmp / "page.html").read_text(encoding="utf-8")
    assert "for which it needs a --plugin-file: a, constant." in page
    document = json.loads(publish_run(run.folder, in_tmp / "published").document.read_text(encoding="utf-8"))
    assert document["config"]["plugins"] == ["b=mean"], "nobody else has the classes"
    again = face.run(kaggle, predictors=[Constant], folds=2, executor="inline")
    assert face.open_run().path == again.path
    assert face.open_run(run.path.name).ids == run.ids, "a name below runs/ is enough"
    assert {one.path for one in face.runs()} == {run.path, again.path}


def test_what_fails_is_told_and_the_rest_is_kept(kaggle: Path, in_tmp: Path) -> None:
    with pytest.raises(TaskFailedError, match="not today"):
        face.run(kaggle, predictors=["mean", Failing], folds=2, executor="inline")
    assert [row.plugin for row in face.open_run().leaderboard().rows] == ["mean"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fold": 3}, "no option of run is called 'fold'; did you mean folds?"),
        ({"folds": 1}, "folds=: it must be at least 2, got 1"),
        ({"predictors": ["maen"]}, "did you mean mean"),
        ({"predictors": [3]}, "is neither a name nor a subclass of harness.Predictor"),
        ({"predictors": []}, "predictors=: name at least 1"),
        ({"set": {"knn": {}}}, "no plugin of this run is called 'knn'"),
    ],
)
def test_wrong_options_are_refused_in_python_words(
    kaggle: Path, in_tmp: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        face.run(kaggle, **{"predictors": ["mean"], **options})  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert not Path("runs").exists()


def test_results_show_as_tables_in_a_notebook(kaggle: Path, in_tmp: Path) -> None:
    run = face.run(kaggle, predictors=["mean", Constant], folds=2, executor="inline")
    blend = run.blend()
    for shown, words in (
        (run.leaderboard(), ("constant", "95 % interval")),
        (blend, ("nested score", "weight")),
        (run.compare("blend", "mean"), ("A − B", "blend")),
    ):
        html = shown._repr_html_()
        assert html.startswith("<table>")
        for word in words:
            assert word in html
            assert word in str(shown)
    assert "members mean, constant" in repr(run)
    with pytest.raises(InputError, match="did you mean mean"):
        run.predictions("maen")
    with pytest.raises(InputError, match="no test set"):
        blend.submit("x.csv")


def test_nothing_heavy_is_imported_with_the_face() -> None:
    script = "import harness, sys; harness.run, harness.Run; print(sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"torch", "transformers", "sklearn", "scipy", "pyarrow", "rich"}.isdisjoint(eval(done.stdout))
    assert "run" in dir(face)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = face.nothing  # type: ignore[attr-defined]


def test_a_test_set_that_can_have_no_submission_is_told_of_before_the_work(kaggle: Path, tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    for image in sorted((kaggle / "images").iterdir())[:3]:
        (tmp_path / "test" / image.name).write_bytes(image.read_bytes())
    asked = {"data": str(kaggle), "test": str(tmp_path / "test"), "plugins": "mean", "folds": 2, "executor": "inline"}
    told: list[str] = []
    run_predictors({**asked, "run_dir": str(tmp_path / "plain")}, say=told.append)
    assert not any("submission" in line for line in told)
    next((tmp_path / "test").iterdir()).rename(tmp_path / "test" / "a,b.png")
    run_predictors({**asked, "run_dir": str(tmp_path / "odd")}, say=told.append)
    (line,) = [line for line in told if "submission" in line]
    assert "'a,b'" in line
    assert "rename it" in line
