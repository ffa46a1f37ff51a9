"""Plugins and models: what must hold of the cases."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import harness
import harness.models
from harness.data.opening import open_dataset
from harness.models.captioner import caption_images
from harness.models.convert import tiny_clip_vision_folder
from harness.plugin import Context, PluginManager
from tests.cases.case import Ran, expected, prepared, task_scores
from tests.conftest import run_harness

TINY = Path(harness.models.__file__).parent / "tiny"


def undisturbed_clipnet(ran: Ran, rows: int) -> dict[str, float]:
    """Score of each task of an untrained clipnet on so many scenes where no plugin of a stranger takes part."""
    done = run_harness(
        *("run", "--data", f"scenes:{rows}", "--plugins", "clipnet", "--set", "clipnet.epochs=0"),
        *("--folds", 2, "--run-dir", "alone"),
        cwd=ran.folder,
    )
    assert done.code == 0, done.err
    return task_scores(ran.folder / "alone")


def member_scores(run: Path, member: str) -> list[float]:
    """Score of each finished task of a member."""
    return [json.loads(path.read_text())["score"] for path in sorted(run.glob(f"members/{member}/*/record.json"))]


@expected("30-ep-stale-module")
def stale_module(ran: Ran) -> None:
    assert re.search(r"gone +harness-gone 1.0 +broken", ran.out)
    assert "No module named 'harness_gone_module'" in ran.text
    assert "2 tasks computed" in ran.err


@expected("31-ep-baseexception")
def base_exception(ran: Ran) -> None:
    assert re.search(r"panic +harness-panic 1.0 +broken", ran.out)
    assert "PanicException: called `Option::unwrap()` on a `None`" in ran.text
    assert ran.out.count("rc=0") == 2
    assert "rows 40" in ran.text


@expected("32-ep-no-metadata")
def no_metadata(ran: Ran) -> None:
    assert re.search(r"leftover +harness_leftover 1.0 +ok", ran.out)
    assert "rc=0" in ran.out
    assert set(task_scores(ran.folder / "run")) == {
        f"{name} {fold}" for name in ("mean", "leftover") for fold in (0, 1)
    }


@expected("34-ep-prints")
def prints(ran: Ran) -> None:
    assert ran.out.split() == ["json=0", "json=0"]


@expected("35-ep-two-names")
def two_names(ran: Ran) -> None:
    assert "predictor name 'twin' is registered twice, by harness-a 1.0 and by harness-b 1.0" in ran.text
    assert ran.err.count("Error:") == 1
    assert "2 tasks computed" in ran.err, "with one of them disabled"


@expected("37-plugin-global-state")
def global_state(ran: Ran) -> None:
    alone, beside = task_scores(ran.folder / "a"), task_scores(ran.folder / "b")
    assert len(alone) == 6
    assert alone == beside
    assert task_scores(ran.folder / "c") == undisturbed_clipnet(ran, 60)


@expected("38-plugin-nan-fold")
def nan_fold(ran: Ran) -> None:
    assert "holds NaN or infinity" in ran.text
    assert "all zeros" in (ran.folder / "run" / "members" / "zero" / "failed-0.json").read_text()
    assert ran.code == 0
    blend = json.loads((ran.folder / "run" / "blend.json").read_text())
    assert set(blend["weights"]) == {"mean", "knn"}
    assert all(math.isfinite(weight) for weight in blend["weights"].values())
    assert math.isfinite(blend["nested_score"])
    for name in ("nanny", "zero"):
        assert f"the blend goes without '{name}': 2 of its 2 tasks are not done" in ran.text


@expected("39-duplicate-members")
def duplicate_members(ran: Ran) -> None:
    assert ran.code == 0
    assert not {"nan", "inf", "-inf"} & set(ran.out.lower().split())
    assert {"a", "b", "c", "mean", "ridge"} <= set(ran.out.split())
    of_one, *of_others = ([task_scores(ran.folder / "run")[f"{name} {fold}"] for fold in range(3)] for name in "abc")
    assert of_others == [of_one, of_one]
    blend = json.loads((ran.folder / "run" / "blend.json").read_text())
    assert sum(blend["weights"].values()) == pytest.approx(1.0)
    same = harness.open_run(ran.folder / "run").blend(exclude=["b", "c"])
    assert blend["nested_score"] == pytest.approx(same.nested_score, abs=1e-4), "that of one of them"


@expected("40-grad-disabled-by-plugin")
def grad_disabled(ran: Ran) -> None:
    assert "2 tasks computed" in ran.out
    assert task_scores(ran.folder / "c") == undisturbed_clipnet(ran, 40)


@expected("50-openclip-quickgelu")
def quick_gelu(ran: Ran) -> None:
    plain, quick = (member_scores(ran.folder / "run", name) for name in ("knn", "q"))
    assert len(plain) == 2
    assert plain == pytest.approx(quick, abs=1e-6), "whatever the spelling of the model"
    members = json.loads((ran.folder / "run" / "run.json").read_text())["members"]
    backbones = {members[name]["config"]["backbone"] for name in ("knn", "q")}
    assert backbones == {"open_clip:ViT-B-32-quickgelu/openai"}


@prepared("51-captioner-2021-format")
def captioner_weights(folder: Path) -> None:
    """The bundled captioner's weights, in the format of that time."""
    torch.save(load_file(TINY / "captioner" / "model.safetensors"), folder / "cap" / "pytorch_model.bin")


@prepared("52-clip-2021-format-fp16")
def tower_weights(folder: Path) -> None:
    """The bundled tower's weights, likewise, in half precision."""
    tensors = load_file(tiny_clip_vision_folder() / "model.safetensors")
    torch.save({name: tensor.half() for name, tensor in tensors.items()}, folder / "tower" / "pytorch_model.bin")


@expected("51-captioner-2021-format")
def captioner_of_2021(ran: Ran) -> None:
    assert "4 tasks computed" in ran.out
    assert len(member_scores(ran.folder / "run", "old")) == 2
    # With the tiny captioner the preset shrinks towards the mean, too, and scores differ; what is captioned does not.
    context = Context(ran.folder, requested_device="cpu")
    images = open_dataset("scenes:3", PluginManager(disabled=["mlflow"]).readers).lazy_images()
    told = {"option": "captioner", "beams": 2, "tokens": 8}
    old = caption_images(context, images, model=str(ran.folder / "cap"), **told)
    new = caption_images(context, images, model="tiny", **told)
    assert [[caption.text for caption in one] for one in old] == [[caption.text for caption in one] for one in new]


@expected("52-clip-2021-format-fp16")
def clip_of_2021(ran: Ran) -> None:
    by_member = {name: member_scores(ran.folder / "run", name) for name in ("new", "old")}
    assert len(by_member["old"]) == 2
    assert by_member["old"] == pytest.approx(by_member["new"], abs=0.02)


@expected("53-position-embedding-size")
def position_embeddings(ran: Ran) -> None:
    own, larger = (member_scores(ran.folder / "run", name) for name in "ab")
    assert (len(own), len(larger)) == (2, 2)
    assert all(map(math.isfinite, larger))
    assert own != larger
    assert "clipnet.image_size=100 is no multiple of a patch" in ran.text


@expected("54-not-a-clip-tower")
def not_a_clip_tower(ran: Ran) -> None:
    lines = ran.out.splitlines()
    assert len(lines) == 9
    assert all(re.search(r"clipnet\.tower|interrogator\.clip", line) for line in lines), ran.out
    assert all(line.startswith("Error: ") for line in lines), ran.out
    assert not list(ran.folder.glob("run*/members/*/fold-*")), "refused before any work"
    assert "siglip/preprocessor_config.json does not say how images are prepared" in lines[0]


@expected("55-batch-size-invariance")
def batch_size_invariance(ran: Ran) -> None:
    differences = dict(re.findall(r"(\w+) max difference ([\d.e-]+)", ran.out))
    assert set(differences) == {"interrogator", "vitgpt2", "knn"}
    assert all(float(value) <= 1e-6 for value in differences.values()), differences


@expected("59-phrases-file")
def phrases_file(ran: Ran) -> None:
    assert "2 tasks computed" in ran.out
    for file, reason in {
        "latin.txt": "cannot be read as UTF-8 text",
        "empty.txt": "holds no phrase",
        "none.txt": "No such file or directory",
    }.items():
        assert re.search(rf"interrogator\.phrases: {file} .*{reason}", ran.out), file
    assert "caption" in ran.out


@expected("62-lora-batchnorm-reload")
def lora_and_batchnorm(ran: Ran) -> None:
    assert "failed" not in ran.out.replace("0 failed", "")
    assert "passed" in ran.out


@expected("63-plugin-file-edited")
def edited_plugin_file(ran: Ran) -> None:
    told = re.findall(r"(\d+) tasks? computed, (\d+) reused", ran.out)
    assert told == [("2", "0"), ("2", "0")], "another file is another predictor"
