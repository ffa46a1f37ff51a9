"""The README's blocks run as they stand."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROMPTS, Harness, run_harness, save_image
from tests.generating.pipelines import save_pipeline

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def commands(block: str) -> list[list[str]]:
    joined = block.replace("\\\n", " ")
    lines = (line.split("#")[0].strip() for line in joined.splitlines())
    return [shlex.split(line) for line in lines if line.startswith("harness ")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the README assumes of its reader: a folder of images with prompts, one of new images, a few prompts."""
    rows = []
    for i, prompt in enumerate(PROMPTS):
        save_image(tmp_path / "photos" / f"{i}.png", i)
        rows.append([f"{i}.png", prompt])
        if i < 3:
            save_image(tmp_path / "new" / f"{i}.png", 100 + i)
    with (tmp_path / "photos" / "metadata.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file_name", "prompt"], *rows])
    with (tmp_path / "answers.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["imgId", "prompt"], *([str(i), PROMPTS[i]] for i in range(3))])
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    save_pipeline(tmp_path / "stable-diffusion-v1-5" / "stable-diffusion-v1-5")  # in place of the hub's, by its name
    return tmp_path


def test_every_command_of_the_readme_works(folder: Path) -> None:
    (script,) = [block for block in blocks("python") if "@hookimpl" in block]
    assert len([line for line in script.splitlines() if line.strip()]) <= 22
    (folder / "my_plugin.py").write_text(script)
    asked = [command for block in blocks("sh") for command in commands(block)]
    assert len(asked) >= 8
    for command in asked:
        answer = run_harness(*command[1:], cwd=folder)
        assert answer.code == 0, f"{' '.join(command)}\n{answer.err}"


def test_the_scripts_in_python_run_one_after_the_other(folder: Path) -> None:
    scripts = [block for block in blocks("python") if "import harness\n" in block]
    assert len(scripts) == 3
    assert len([line for line in scripts[0].splitlines() if line.strip()]) <= 12
    for number, script in enumerate(scripts):
        path = folder / f"script{number}.py"
        path.write_text(script)
        done = subprocess.run([sys.executable, path.name], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stderr}"
        assert done.stdout


def test_every_command_is_in_the_readme(harness: Harness) -> None:
    text = (ROOT / "README.md").read_text()
    for group in ([], ["plugins"], ["data"], ["runs"]):
        listing = harness(*group, "--help").out.split("Commands:")[1]
        for name in re.findall(r"^  (\w+)", listing, flags=re.MULTILINE):
            if name not in ("plugins", "data", "runs"):
                assert f"harness {' '.join([*group, name])}" in text, name
