"""Options of a run: command line over file over defaults, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.plugin import PluginManager
from harness.running.config import parse_settings, resolve_config
from harness.running.members import choose_members


def test_the_command_line_wins_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "folds: 4\nseed: 3\ngroup-threshold: 0.8\nplugins: [mean, ridge]\nset: {ridge: {alpha: 5, backbone: x}}\n"
    )
    config = resolve_config({"seed": 9, "set": {"ridge": {"alpha": 7.0}}}, file)
    assert (config.folds, config.seed, config.group_threshold, config.executor) == (4, 9, 0.8, "serial")
    assert config.set == {"ridge": {"alpha": 7.0, "backbone": "x"}}
    assert config.plugins == ("mean", "ridge")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fold: 4\n", "did you mean folds"),
        ("folds: 1\n", r"run.yaml: folds: it must be at least 2, got 1"),
        ("folds: many\n", "folds: it must be a whole number, got 'many'"),
        ("executor: threads\n", "executor: choose 'serial', 'parallel', 'ray', 'slurm' or 'inline'"),
        ("executor: slurm\nship_data: true\n", "ship_data: only the executor ray is sent data, and machines of slurm"),
        ("- folds\n", "must be a mapping"),
        ("folds: [\n", "not YAML"),
        ("set: {ridge: 3}\n", "set: it must be a mapping of options"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key_and_the_mend(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        resolve_config({}, file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        resolve_config({}, tmp_path / "absent.yaml")


def test_settings_are_read_as_yaml_scalars() -> None:
    assert parse_settings(["knn.neighbours=5", "knn.power=2.5", "knn.backbone=timm:x", "knn.flag=true"]) == {
        "knn": {"neighbours": 5, "power": 2.5, "backbone": "timm:x", "flag": True}
    }


@pytest.mark.parametrize("item", ["knn", "knn.k", "knn=3", ".k=3", "knn.=3", "knn.k=[1"])
def test_a_malformed_setting_is_refused(item: str) -> None:
    with pytest.raises(InputError, match=r"--set "):
        parse_settings([item])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plugins": "maen"}, "did you mean mean"),
        ({"plugins": "knn,knn"}, "named twice"),
        ({"plugins": "a/b=knn"}, "must be letters"),
        ({"plugins": "knn", "set": {"ridge": {"alpha": 1}}}, "no plugin of this run is called 'ridge'"),
        (
            {"plugins": "knn", "set": {"knn": {"neighbors": 1}}},
            r"--set knn.neighbors: there is no such option; did you mean neighbours",
        ),
        (
            {"plugins": "knn", "set": {"knn": {"neighbours": 0}}},
            r"--set knn.neighbours: it must be at least 1, got 0",
        ),
        (
            {"plugins": "ridge", "set": {"ridge": {"alpha": "much"}}},
            r"--set ridge.alpha: it must be a number, got 'much'",
        ),
    ],
)
def test_a_wrong_choice_of_members_is_refused(options: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=message):
        choose_members(resolve_config(options), PluginManager())


def test_aliases_make_two_members_of_one_plugin() -> None:
    config = resolve_config({"plugins": "near=knn,knn", "set": {"near": {"neighbours": 3}}})
    near, plain = choose_members(config, PluginManager())
    assert (near.name, near.predictor, near.config["neighbours"]) == ("near", "knn", 3)
    assert (plain.name, plain.config["neighbours"]) == ("knn", None)


def test_a_preset_is_below_a_setting() -> None:
    config = resolve_config({"plugins": "knn,ridge", "preset": "reference", "set": {"ridge": {"backbone": "pixels"}}})
    knn, ridge = choose_members(config, PluginManager())
    assert knn.config["backbone"] == "open_clip:ViT-L-14-quickgelu/openai"
    assert ridge.config["backbone"] == "pixels"
