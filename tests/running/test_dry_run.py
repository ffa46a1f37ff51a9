"""A dry run tells the plan and does nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.plugin import Context, PluginManager
from tests.conftest import Harness


def snapshot(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_nothing_is_made_and_the_plan_is_told(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    command = ("run", "--data", kaggle, "--plugins", "mean,r=ridge", "--dry-run")
    document = harness(*command, "--json").json
    assert list((tmp_path / "cwd").iterdir()) == []
    assert document["dataset"]["rows"] == 16
    assert (document["folds"]["n_folds"], document["folds"]["threshold"]) == (5, 0.7)
    assert document["folds"]["fold_hash"]
    assert document["run_exists"] is False
    assert document["run_dir"].startswith("runs/")
    mean, ridge = document["members"]
    assert (ridge["plugin"], ridge["predictor"], ridge["models"]) == ("r", "ridge", [])
    assert mean["parameters"] == {"trainable": 384, "total": 384}
    assert ridge["parameters"] == {"trainable": 705 * 384, "total": 705 * 384}
    assert ridge["memory_bytes"] > 705 * 384 * 8
    assert [task["state"] for task in ridge["tasks"]] == ["todo"] * 5
    shown = harness(*command)
    assert shown.code == 0, shown.err
    for word in ("run folder", "r (ridge)", "to do", "MiB"):
        assert word in shown.out
    assert "nothing was written" in shown.err
    assert list((tmp_path / "cwd").iterdir()) == []


def test_what_is_done_is_counted_and_the_run_is_left_alone(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    run = tmp_path / "run"
    command = ("run", "--data", kaggle, "--folds", 3, "--run-dir", run, "--json")
    assert harness(*command, "--plugins", "mean").code == 0
    before = snapshot(run)
    document = harness(*command, "--plugins", "mean,ridge", "--test", kaggle / "images", "--dry-run").json
    states = {m["plugin"]: [task["state"] for task in m["tasks"]] for m in document["members"]}
    assert states == {"mean": ["only_test"] * 3, "ridge": ["todo"] * 3}
    assert document["folds"]["fold_hash"]
    again = harness(*command, "--plugins", "mean", "--dry-run").json
    assert [task["state"] for task in again["members"][0]["tasks"]] == ["reused"] * 3
    assert snapshot(run) == before
    refused = harness(*command, "--plugins", "mean", "--folds", 4, "--dry-run")
    assert (refused.code, "other folds" in refused.err) == (2, True)


def test_the_reference_setting_is_planned_without_its_weights(kaggle: Path, harness: Harness) -> None:
    command = ("run", "--data", kaggle, "--plugins", "clipnet,ridge", "--preset", "reference", "--dry-run", "--json")
    answer = harness(*command, "--task-memory", 1000)
    assert answer.code == 0, answer.err
    clipnet, ridge = answer.json["members"]
    assert clipnet["models"] == ["openai/clip-vit-large-patch14-336"]
    share = clipnet["parameters"]["trainable"] / clipnet["parameters"]["total"]
    assert share == pytest.approx(0.4187, abs=1e-4)
    assert clipnet["memory_bytes"] > 4 * clipnet["parameters"]["total"]
    assert ridge["models"] == ["open_clip:ViT-L-14-quickgelu/openai"]
    assert ridge["parameters"]["total"] > 4e8
    assert answer.err.strip() == ""
    needed = max(member["memory_bytes"] for member in (clipnet, ridge))
    there = answer.json["memory_there_bytes"]
    refused = harness(*command)
    assert refused.code == (2 if needed > there else 0)
    assert ("by its own estimate" in refused.err) == (needed > there)
    assert len(refused.json["too_large"]) == sum(member["memory_bytes"] > there for member in (clipnet, ridge))


HUGE = """
from harness.plugin import Predictor, Requirements, hookimpl

class Huge(Predictor):
    name, version, trainable = "huge", "1", False
    def requirements(self, rows):
        return Requirements(memory=2**60)
    def predict(self, images):
        raise AssertionError

@hookimpl
def harness_register_predictors(register):
    register(Huge)
"""


@pytest.mark.parametrize("executor", ["ray", "slurm"])
def test_on_a_cluster_memory_is_compared_with_no_machine(
    executor: str, kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    (tmp_path / "huge.py").write_text(HUGE)
    command = ("run", "--data", kaggle, "--plugins", "huge", "--plugin-file", tmp_path / "huge.py", "--dry-run")
    here = harness(*command, "--json")
    assert (here.code, len(here.json["too_large"])) == (2, 1)
    assert here.json["memory_there_bytes"] > 0
    there = harness(*command, "--json", "--executor", executor)
    assert there.code == 0, there.err
    assert (there.json["executor"], there.json["too_large"]) == (executor, [])
    assert there.json["memory_there_bytes"] is None
    assert there.json["members"][0]["memory_bytes"] == 2**60
    shown = harness(*command, "--executor", executor)
    assert shown.code == 0, shown.err
    note = f"memory was compared with no machine's: tasks are done where {executor} has room for them"
    assert note in " ".join(shown.err.split())
    assert note not in " ".join(harness(*command).err.split())


def test_what_cannot_be_told_is_a_question_mark(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    (tmp_path / "odd.py").write_text(
        "import numpy as np\nfrom harness.plugin import Predictor, hookimpl\n"
        "class Odd(Predictor):\n    name = 'odd'\n    version = '1'\n    trainable = False\n"
        "    def requirements(self, rows):\n        raise RuntimeError(f'{rows} rows are odd')\n"
        "    def predict(self, images):\n        raise AssertionError\n"
        "@hookimpl\ndef harness_register_predictors(register):\n    register(Odd)\n"
    )
    command = ("run", "--data", kaggle, "--plugins", "clipnet,odd", "--plugin-file", tmp_path / "odd.py", "--dry-run")
    answer = harness(*command, "--set", "clipnet.tower=nobody/knows")
    assert answer.code == 0, answer.err
    assert "?" in answer.out
    assert "not known before the weights are fetched or without a network" in answer.out
    assert "odd could not say what it needs: RuntimeError: 0 rows are odd" in answer.err
    wrong = harness(*command, "--set", "clipnet.lora_rate=0.9")
    assert (wrong.code, "lower one of them" in wrong.err) == (2, True)


@pytest.mark.parametrize("backbone", ["tiny", "efficientnet-lite2"])
def test_a_backbone_on_the_meta_device_has_the_parameters_of_the_loaded_one(backbone: str, tmp_path: Path) -> None:
    from harness_baselines.backbones import backbone_parameters

    cls = PluginManager().predictor("knn")
    context = Context(tmp_path, requested_device="cpu")
    needs = cls(cls.Config(backbone=backbone), context).requirements(100)
    assert needs.parameters is not None
    assert needs.parameters.total == backbone_parameters(context, backbone)
    assert needs.models == (backbone,)
