"""What is public is documented, and the rooms import only whom they may."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from harness.plugin import PluginManager, hooks
from harness.running.config import RunConfig

ROOT = Path(__file__).parents[2]


def test_rooms_import_only_whom_they_may() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_hook_is_documented_in_code_and_guide() -> None:
    guide = (ROOT / "plugins" / "README.md").read_text()
    names = [name for name in vars(hooks) if name.startswith("harness_")]
    assert len(names) == 4
    for name in names:
        function = getattr(hooks, name)
        assert inspect.getdoc(function), name
        assert f"`{name}(" in guide, f"plugins/README.md does not mention {name}"
        for argument in inspect.signature(function).parameters:
            assert f"{name}({argument})" in guide


def test_every_option_of_a_run_is_described_and_has_a_switch() -> None:
    from harness.cli.run import run

    switches = set(inspect.signature(run).parameters)
    for name, field in RunConfig.model_fields.items():
        assert field.description, name
        assert {"set": "set_", "plugin_files": "plugin_file"}.get(name, name) in switches, name


@pytest.mark.parametrize("name", sorted(PluginManager().predictors))
def test_every_option_of_a_predictor_is_described_and_survives_json(name: str) -> None:
    cls = PluginManager().predictors[name]
    assert inspect.getdoc(cls)
    for key, field in cls.Config.model_fields.items():
        assert field.description, f"{name}.{key}"
    config = cls.Config()
    assert cls.Config.model_validate_json(config.model_dump_json()) == config
    for preset in ("tiny", "reference"):
        cls.Config.model_validate(dict(cls.presets.get(preset, {})))


def test_every_room_says_what_lives_there() -> None:
    folders = [ROOT / name for name in ("harness", "plugins", "leaderboards", "tests", "configs")]
    folders += [p for p in (ROOT / "harness").iterdir() if p.is_dir() and p.name != "__pycache__"]
    folders += [
        p for p in (ROOT / "plugins").iterdir() if p.is_dir() and p.name.startswith("harness_") and "egg" not in p.name
    ]
    missing = [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "README.md").is_file()]
    assert missing == []


def test_the_configurations_are_valid() -> None:
    from harness.running.config import resolve_config
    from harness.running.members import choose_members

    files = sorted((ROOT / "configs").glob("*.yaml"))
    assert files
    for file in files:
        choose_members(resolve_config({}, file), PluginManager())
        assert f"`{file.name}`" in (ROOT / "configs" / "README.md").read_text()


def test_files_and_functions_stay_readable() -> None:
    import ast

    for path in [*(ROOT / "harness").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        source = path.read_text()
        assert len(source.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and "cli" not in path.parts:
                assert node.end_lineno - node.lineno < 60, f"{path}:{node.lineno} {node.name}"
