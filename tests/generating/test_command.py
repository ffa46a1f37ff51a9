"""``harness data generate`` as a user gives it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.data.opening import open_dataset
from harness.errors import InputError
from harness.plugin import PluginManager
from tests import warm
from tests.conftest import Harness
from tests.generating.conftest import Make, write_rows
from tests.generating.shards import contents, records


@pytest.fixture
def scenes(harness: Harness, tiny: Path, tmp_path: Path) -> Path:
    """Images of the prompts of embedded scenes, two of each, made by the command."""
    out = tmp_path / "made"
    answer = harness(
        *("data", "generate", "scenes:12:7", "--model", tiny, "--out", out, "--steps", 1, "--images-per-prompt", 2),
        *("--shard-rows", 10, "--batch-size", 8, "--json"),
    )
    assert answer.code == 0, answer.err
    told = {"rows": 24, "images": 24, "made": 24, "shards": 3, "flagged": 0, "broken": 0, "left_out": 0}
    assert {key: answer.json[key] for key in told} == told
    assert answer.json["bytes"] == sum(map(len, contents(out).values()))
    return out


def test_what_it_makes_is_a_data_set_that_predictors_run_on(harness: Harness, scenes: Path) -> None:
    readers = PluginManager().readers
    prompts = open_dataset("scenes:12:7", readers)
    dataset = open_dataset(str(scenes), readers)
    assert [texts[0] for texts in dataset.texts] == [texts[0] for texts in prompts.texts for _ in range(2)]
    assert list(dataset.ids) == [f"{row_id}-{number}" for row_id in prompts.ids for number in range(2)]
    (source,) = set(dataset.sources or ())
    assert source.startswith("tiny-sd@")
    assert list(dataset.seeds or ()) == [row["seed"] for row in records(scenes)]
    answer = harness("run", "--data", scenes, "--plugins", "mean,ridge", "--folds", 2, "--json")
    assert answer.code == 0, answer.err
    assert {row["plugin"] for row in answer.json["rows"]} == {"mean", "ridge"}
    assert set(answer.json["rows"][0]["slices"]) == {source}


def test_a_dry_run_says_what_there_is_to_do_and_writes_nothing(harness: Harness, tiny: Path, tmp_path: Path) -> None:
    command = ("data", "generate", "scenes:12:7", "--model", tiny, "--out", tmp_path / "out", "--limit", 10)
    answer = harness(*command, "--batch-size", 4, "--shard-rows", 6, "--dry-run", "--json")
    assert answer.code == 0, answer.err
    told = answer.json
    assert (told["prompts"], told["to_do"], told["batches"], told["shards"], told["goes_on"]) == (10, 10, 3, 2, False)
    assert told["bytes"] == pytest.approx(10 * 64 * 64 * 1.8, rel=0.01)  # its images are 64 pixels wide
    assert told["fetch"] is None
    assert not (tmp_path / "out").exists()


def test_a_dry_run_in_words_and_a_folder_that_was_begun_otherwise(
    harness: Harness, make: Make, prompts: Path, tiny: Path, tmp_path: Path
) -> None:
    make("made", shard_rows=4, limit=5)
    command = ("data", "generate", prompts, "--model", tiny, "--out", tmp_path / "made", "--shard-rows", 4)
    (tmp_path / "made" / "00001.tar").unlink()
    planned = harness(*command, "--steps", 2, "--limit", 5, "--dry-run")
    assert planned.code == 0, planned.err
    assert "to make   1 in 1 batch of 1" in planned.out
    assert "to fetch  nothing" in planned.out
    assert f"{tmp_path / 'made'} (goes on), 2 shards" in planned.out
    refused = harness(*command, "--steps", 3, "--limit", 5)
    assert (refused.code, refused.out) == (2, "")
    assert "it was begun with other options: --steps 2, and now 3. Give the same" in refused.err


def test_ctrl_c_leaves_a_folder_that_the_same_command_goes_on_in(make: Make, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("data", "generate", "scenes:6:7", "--model", tiny, "--steps", "60", "--batch-size", 1, "--out")
    parts = out / ".generate" / "parts"
    with (tmp_path / "errors").open("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", *map(str, (*command, out))],
            stdin=subprocess.DEVNULL,
            stderr=errors,
            # What is started in the background may ignore the interrupt, and hands that down.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        while process.poll() is None and not (parts.is_dir() and list(parts.glob("*.tar"))):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        errors.seek(0)
        assert "Interrupted; the same command goes on where this stopped" in errors.read()
    kept = len(list(parts.glob("*.tar")))
    assert 1 <= kept < 6
    goes_on = make("out", "scenes:6:7", steps=60, batch_size=1, said=(said := []))
    assert goes_on.made == 6 - kept
    assert f"{6 - kept} of 6 images to make" in said[-1]
    make("whole", "scenes:6:7", steps=60, batch_size=1)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.long
def test_kills_at_any_moment_cost_no_byte(tiny: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"a red fox, number {i}"} for i in range(14)]
    prompts = write_rows(tmp_path / "rows.jsonl", rows)
    kills = 5
    arguments = map(str, (tiny, prompts, tmp_path, 3, kills))
    command = [sys.executable, "-m", "tests.generating.killed", *arguments]
    with (tmp_path / "out").open("w+") as out:
        process = warm.start(command, stdin=subprocess.DEVNULL, stdout=out, cwd=Path(__file__).parents[2])
        assert process.wait(500) == 0
        out.seek(0)
        met = json.loads(out.read())
    assert len(met) == kills
    assert len({tuple(state) for state in met}) > 1  # at different moments
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(contents(tmp_path / "whole")) == 3
    left = [path.name for path in (tmp_path / "killed").rglob("*") if path.is_file()]
    assert not [name for name in left if name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": "nowhere/here/it/is"}, "--model nowhere/here/it/is: there is no such folder"),
        ({"model": "no/such"}, "--model no/such: it is no folder here, and the hub did not give it"),
        ({"model": "words.txt"}, "--model words.txt: it is a file, and a pipeline is a folder"),
        ({"model": "."}, "it has no model_index.json, so it is no pipeline of diffusers"),
        ({"size": "64x60"}, "--size 64x60: width and height must be multiples of 8; the nearest is 64x64"),
        ({"revision": "main"}, "is a folder, which has no revisions; leave it out"),
        ({"variant": "fp16"}, "has no weights of this variant; it has none"),
        ({"device": "gpu"}, "--device gpu: there is no such device; did you mean cuda?"),
    ],
)
def test_wrong_input_is_named_with_its_mend(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("a red fox\n")
    with pytest.raises(InputError) as caught:
        make("out", "words.txt", **changed)
    assert told in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_pipelines_that_are_not_loaded(make: Make, tiny: Path, tmp_path: Path) -> None:
    def refused(name: str, **changed: object) -> str:
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(tiny, folder)
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps({**index, **changed}))
        with pytest.raises(InputError) as caught:
            make("out", model=str(folder))
        return str(caught.value)

    assert "it is a DDPMPipeline, which makes no images of texts alone" in refused("other", _class_name="DDPMPipeline")
    told = refused("own", _class_name=["pipeline", "Mine"])
    assert "is code of its own (['pipeline', 'Mine']), which is not run" in told
    told = refused("code", unet=["my_unet", "Mine"])
    assert "its unet is a Mine of 'my_unet'; only components of diffusers and transformers" in told
    assert "is spread over two repositories" in refused("two", _class_name="KandinskyV22CombinedPipeline")
    shutil.copytree(tiny, tmp_path / "pickled")
    weights = tmp_path / "pickled" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    assert "the weights of its unet are there as pickles alone, which can run any code" in refused("pickled")
    shutil.copytree(tiny, tmp_path / "cut")
    weights = tmp_path / "cut" / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "its pipeline cannot be loaded" in refused("cut")


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['diffusers'] = None; from harness.cli import main; main()"

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, "data", "generate", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    (tmp_path / "words.txt").write_text("a red fox\n")
    assert "--images-per-prompt" in ask("--help").stdout
    missing = ask("words.txt", "--model", "some/model", "--out", "out")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert (
        "diffusers is not installed, which makes the images: pip install 'prompt-harness[diffusers]'" in missing.stderr
    )
