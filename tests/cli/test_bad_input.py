"""Bad input through the real command: exit code 2, one clear message, and nothing lost that was computed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness.submission.write import write_submission
from tests.conftest import PROMPTS, Answer, Harness, make_kaggle, run_harness, save_image

IDS = [f"img{i:03d}" for i in range(len(PROMPTS))]

PIXELS_PLUGIN = '''
from pathlib import Path

import numpy as np
from harness.plugin import Predictor, PredictorConfig, hookimpl

class Pixels(Predictor):
    """Damages one image, and decodes every one it is asked about."""
    name, version, Config = "pixels", "1", PredictorConfig
    def fit(self, train):
        self.mean = train.targets.mean(axis=0)
        content = Path("IMAGE").read_bytes()
        Path("IMAGE").write_bytes(content[: len(content) // 2])
    def predict(self, images):
        shades = [shade for batch in images.batches(lambda image: np.asarray(image).mean(), 4) for shade in batch]
        return (self.mean + 1e-3 * np.array(shades)[:, None] / 255).astype(np.float32)
    def save(self, folder):
        np.save(folder / "mean.npy", self.mean)
    def load(self, folder):
        self.mean = np.load(folder / "mean.npy")

@hookimpl
def harness_register_predictors(register):
    register(Pixels)
'''


def refused(answer: Answer, *parts: object) -> None:
    """Fail unless the command ended with code 2, an empty stdout and one message that holds every part."""
    assert answer.code == 2, answer
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert "Warning" not in answer.err
    assert "defect of harness" not in answer.err
    assert answer.err.count("Error: ") == 1, answer.err
    assert [str(part) for part in parts if str(part) not in answer.err] == [], answer.err


def snapshot(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder, but for the empty lock."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("run --data nowhere", ["nowhere", "no such folder", "prompts.csv", "metadata.csv", "captions.txt", "scenes"]),
        ("run --data empty", ["empty", "no data set was recognised", "looked for", "prompts.csv"]),
        ("run --plugins maen", ["no plugin is called 'maen'", "did you mean mean?", "harness plugins list"]),
        ("run --plugins mean,mean", ["--plugins", "'mean' is named twice", "mean2=mean"]),
        ("run --plugins ridge --set ridge.bakbone=x", ["--set ridge.bakbone", "did you mean backbone"]),
        ("run --plugins ridge --set rigde.backbone=x", ["--set rigde", "no plugin of this run", "ridge"]),
        ("run --set backbone=x", ["--set backbone=x", "plugin.key=value"]),
        ("run --config typo.yaml", ["typo.yaml", "fold", "no such option", "did you mean folds"]),
        ("run --config typo.yaml --set mean.x=1", ["typo.yaml", "did you mean folds"]),
        ("run --config broken.yaml", ["--config broken.yaml", "not YAML"]),
        ("run --config list.yaml", ["--config list.yaml", "must be a mapping", "folds: 5"]),
        ("run --config gone.yaml", ["--config gone.yaml", "cannot be read"]),
        ("run --folds 1", ["--folds", "2", "got 1"]),
        ("run --folds five", ["--folds", "integer"]),
        ("run --group-threshold 2", ["--group-threshold", "1", "got 2"]),
        ("run --preset big", ["--preset", "tiny", "reference", "'big'"]),
        ("run --executor lokky", ["--executor", "serial", "parallel", "'lokky'"]),
        ("run --flods 3", ["--flods", "--folds"]),
        ("run --plugin-file gone.py", ["gone.py"]),
        ("run --data scenes:many", ["scenes:many", "scenes:ROWS", "whole numbers"]),
        ("leaderboard", ["no run", "harness run", "--run-dir"]),
        ("leaderboard --run-dir empty --json", ["empty", "no run here", "harness run"]),
        ("ensemble --optimize --run-dir gone", ["gone", "no run here", "harness run"]),
        ("ensemble --method simplex", ["--method", "--optimize"]),
        ("plugins info rigde", ["'rigde'", "did you mean ridge?"]),
        ("score gone.csv --truth truth.csv", ["gone.csv", "no such file"]),
        ("score good.csv --truth gone.csv", ["gone.csv", "no such"]),
        ("score good.csv", ["--truth"]),
        ("data describe nowhere", ["nowhere", "no such folder"]),
        ("data describe empty --captions frist", ["--captions", "mean", "first", "all"]),
    ],
)
def test_a_wrong_option_is_named_with_its_mend(
    harness: Harness, tmp_path: Path, arguments: str, parts: list[str]
) -> None:
    folder = tmp_path / "cwd"
    (folder / "empty").mkdir()
    (folder / "typo.yaml").write_text("fold: 3\n")
    (folder / "broken.yaml").write_text("folds: [3\n")
    (folder / "list.yaml").write_text("- folds\n")
    for name in ("good.csv", "truth.csv"):
        write_submission(folder / name, ["a"], np.ones((1, 384), dtype=np.float32))
    before = snapshot(folder)
    refused(harness(*arguments.split()), *parts)
    assert snapshot(folder) == before


# -- data ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """A finished run: its data, its folder, and the leaderboard it gave."""

    root: Path
    leaderboard: object

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def run(self) -> Path:
        return self.root / "run"

    def command(self, *arguments: object) -> Answer:
        return run_harness(*arguments, cwd=self.root)

    def repeat(self) -> Answer:
        """Give the command that made the run once more."""
        return self.command("run", "--data", self.data, "--plugins", "mean", "--folds", 3, "--run-dir", self.run)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run over a small data set; tests damage the data and put it back."""
    root = tmp_path_factory.mktemp("done")
    make_kaggle(root / "data")
    first = Done(root, None).repeat()
    assert first.code == 0, first.err
    return Done(root, Done(root, None).command("leaderboard", "--run-dir", "run", "--json").json)


def replace_line(table: Path, number: int, text: str) -> None:
    lines = table.read_text().splitlines()
    lines[number - 1] = text
    table.write_text("\n".join(lines) + "\n")


def append_line(table: Path, text: str) -> None:
    table.write_text(table.read_text() + text + "\n")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:90])


def text_named_jpg(data: Path) -> None:
    (data / "images/img003.png").unlink()
    (data / "images/img003.jpg").write_text("this is not an image")


DAMAGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "a row without an image": (
        lambda data: (data / "images/img003.png").unlink(),
        ["prompts.csv row 4 (line 5)", "there is no image", "img003.png", "add the file or remove the row"],
    ),
    "an image without a row": (
        lambda data: save_image(data / "images/stray.png", 99),
        ["images/stray.png", "has no row in", "prompts.csv", "add a row with its prompt, or move the image"],
    ),
    "a truncated PNG": (
        lambda data: truncate(data / "images/img003.png"),
        ["images/img003.png", "damaged", "replace the file, or remove it and its row"],
    ),
    "a text file named .jpg": (
        text_named_jpg,
        ["images/img003.jpg", "it is not an image", "replace the file, or remove it and its row"],
    ),
    "duplicate ids": (
        lambda data: append_line(data / "prompts.csv", "img001,another prompt"),
        ["prompts.csv row 17 (line 18)", "'img001' is already taken", "prompts.csv row 2", "ids must be unique"],
    ),
    "an empty prompt": (
        lambda data: replace_line(data / "prompts.csv", 5, "img003,"),
        ["prompts.csv row 4 (line 5)", "'img003' is empty", "write it or remove the row"],
    ),
    "a row too short": (
        lambda data: replace_line(data / "prompts.csv", 5, "img003"),
        ["prompts.csv row 4 (line 5)", "fewer fields"],
    ),
    "a missing column": (
        lambda data: replace_line(data / "prompts.csv", 1, "imgId,text"),
        ["prompts.csv", "lacks the column prompt"],
    ),
    "other content": (
        lambda data: save_image(data / "images/img003.png", 99),
        ["--run-dir", "the rows are the same, but an image", "name another --run-dir"],
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data_is_refused_and_the_finished_run_stays(done: Done, tmp_path: Path, damage: str) -> None:
    act, parts = DAMAGES[damage]
    before = snapshot(done.run)
    shutil.copytree(done.data, tmp_path / "whole")
    try:
        act(done.data)
        refused(done.repeat(), *parts)
        if damage != "other content":
            refused(done.command("data", "describe", done.data, "--json"), *parts)
    finally:
        shutil.rmtree(done.data)
        shutil.copytree(tmp_path / "whole", done.data)
    assert snapshot(done.run) == before
    assert len(list(done.run.glob("members/mean/fold-*/predictions.npy"))) == 3


def test_after_all_that_the_run_is_whole_and_used_again(done: Done) -> None:
    assert done.command("leaderboard", "--run-dir", "run", "--json").json == done.leaderboard
    again = done.repeat()
    assert (again.code, "nothing to do: all 3 tasks" in again.err) == (0, True), again.err


@pytest.mark.parametrize("damage", ["a truncated PNG", "a text file named .jpg"])
def test_a_damaged_test_set_is_refused_before_anything_is_written(done: Done, tmp_path: Path, damage: str) -> None:
    act, parts = DAMAGES[damage]
    shutil.copytree(done.data / "images", tmp_path / "test/images")
    act(tmp_path / "test")
    before = snapshot(done.run)
    answer = done.command(
        "run", "--data", done.data, "--plugins", "mean", "--folds", 3, "--run-dir", "run", "--test", tmp_path / "test"
    )
    refused(answer, *parts)
    assert snapshot(done.run) == before


def test_a_run_folder_that_is_something_else_is_left_alone(done: Done) -> None:
    before = snapshot(done.data)
    answer = done.command("run", "--data", done.data, "--plugins", "mean", "--run-dir", done.data)
    refused(answer, f"--run-dir {done.data}", "it exists and is not a run", "name a new or an empty folder")
    assert snapshot(done.data) == before


def test_other_folds_in_the_same_folder_are_refused(done: Done) -> None:
    before = snapshot(done.run)
    answer = done.command("run", "--data", done.data, "--plugins", "mean", "--run-dir", "run", "--folds", 4)
    refused(answer, "--run-dir run", "--folds was 3 and is now 4", "name another --run-dir")
    assert snapshot(done.run) == before


def test_a_submission_of_a_run_without_test_set_is_refused(done: Done) -> None:
    answer = done.command("ensemble", "--optimize", "--run-dir", "run", "--out", "submission.csv")
    refused(answer, "--out submission.csv", "no test set", "--test")
    assert not (done.root / "submission.csv").exists()


def test_prompts_are_asked_for_where_there_are_none(done: Done) -> None:
    images = done.data / "images"
    refused(done.command("run", "--data", images, "--plugins", "mean"), images, "no prompts", "add prompts.csv")
    refused(done.command("data", "targets", images, "--out", "t.csv"), images, "no prompts")
    assert not (done.root / "t.csv").exists()


def test_an_image_that_breaks_while_the_run_goes_on_loses_no_finished_fold(harness: Harness, kaggle: Path) -> None:
    """Found when a predictor first decodes it, and by the command itself when it looks."""
    image = kaggle / "images/img003.png"
    sound = image.read_bytes()
    plugin = kaggle.parent / "pixels_plugin.py"
    plugin.write_text(PIXELS_PLUGIN.replace("IMAGE", str(image)))
    common = ("run", "--data", kaggle, "--folds", 2, "--run-dir", kaggle.parent / "run")
    answer = harness(*common, "--plugins", "mean,pixels", "--plugin-file", plugin)
    assert (answer.code, answer.out) == (2, ""), answer
    assert "Traceback" not in answer.err
    message = answer.err[answer.err.index("Error: ") :]
    assert f"{image}: cannot be read as an image: it is damaged" in message
    assert "replace the file, or remove it and its row" in message
    finished = list((kaggle.parent / "run").glob("members/*/fold-*"))
    assert finished
    board = harness("leaderboard", "--run-dir", kaggle.parent / "run", "--json")
    assert board.code == 0, board.err
    assert harness(*common, "--plugins", "mean").code == 2, "it is refused before any work from now on"
    image.write_bytes(sound)
    again = harness(*common, "--plugins", "mean")
    assert again.code == 0, again.err
    assert set(finished) <= set((kaggle.parent / "run").glob("members/*/fold-*"))


# -- submissions ---------------------------------------------------------------------------------

Lines = list[str]

WRONG: dict[str, tuple[Callable[[Lines], Lines], list[str]]] = {
    "a missing row": (lambda lines: lines[:9] + lines[10:], ["'img000_8' is missing", "needs rows 0 to 383"]),
    "a missing image": (lambda lines: lines[:-384], ["the image 'img015' is missing", "img015_0 to img015_383"]),
    "a duplicate row": (
        lambda lines: [*lines[:5], lines[4], *lines[5:]],
        ["line 6", "'img000_3' is already on line 5", "remove one of the two"],
    ),
    "an unknown image": (
        lambda lines: [line.replace("img001_", "stranger_") for line in lines],
        ["line 386", "the image 'stranger' is unknown"],
    ),
    "a NaN": (lambda lines: [*lines[:9], "img000_8,nan", *lines[10:]], ["line 10", "'img000_8'", "finite number"]),
    "a text": (lambda lines: [*lines[:9], "img000_8,cat", *lines[10:]], ["line 10", "'img000_8'", "not a number"]),
    "a zero vector": (
        lambda lines: [f"{line.split(',')[0]},0" if line.startswith("img002_") else line for line in lines],
        ["'img002' is all zeros"],
    ),
    "another header": (lambda lines: ["id,value", *lines[1:]], ["the first line must be imgId_eId,val"]),
    "nothing": (lambda lines: [], ["the first line must be imgId_eId,val"]),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_submission_is_named_by_line_or_id_and_left_as_it_is(done: Done, tmp_path: Path, fault: str) -> None:
    edit, parts = WRONG[fault]
    values = np.random.default_rng(0).normal(size=(len(IDS), 384)).astype(np.float32)
    path = tmp_path / "submission.csv"
    write_submission(path, IDS, values)
    path.write_text("".join(f"{line}\n" for line in edit(path.read_text().splitlines())))
    before = path.read_bytes()
    answer = done.command("score", path, "--truth", done.data / "prompts.csv", "--json")
    refused(answer, path, *parts)
    assert path.read_bytes() == before


def test_debug_adds_the_traceback_and_keeps_the_exit_code(harness: Harness) -> None:
    answer = harness("--debug", "run", "--data", "nowhere")
    assert answer.code == 2
    assert "Traceback" in answer.err
    assert "nowhere: there is no such folder" in answer.err
