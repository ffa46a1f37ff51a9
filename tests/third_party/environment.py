"""An environment with wheels of the harness and of others, made without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Answer

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Environment:
    """A virtual environment whose heavy dependencies are those of the environment that the tests run in.

    They are found through a ``.pth`` file behind its own packages; what is installed into it comes before. An editable
    installation of the harness there has no effect here: a ``.pth`` file does not make Python read those of the folder
    that it names.
    """

    folder: Path

    @property
    def site(self) -> Path:
        (found,) = (self.folder / "lib").glob("python3*/site-packages")
        return found

    def run(self, *command: object, cwd: Path, timeout: float = 900) -> Answer:
        """Run a command of the environment, ``harness`` or ``python``, as its user would."""
        name, *arguments = map(str, command)
        env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "HARNESS_DISABLE_PLUGINS")}
        env |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        # pip has it the wrong way round: to say "no build isolation" by a variable takes a 0.
        env["PIP_NO_BUILD_ISOLATION"] = "0"
        bin_folder = self.folder / "bin"
        env["PATH"] = f"{bin_folder}{os.pathsep}{env['PATH']}"
        done = subprocess.run(
            [str(bin_folder / name), *arguments],
            cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    def install(self, *arguments: object) -> None:
        """Call ``pip install``, which finds every dependency installed or fails."""
        answer = self.run("python", "-m", "pip", "install", "--quiet", *arguments, cwd=self.folder)
        assert answer.code == 0, answer.err


def make_environment(folder: Path, *editable: Path) -> Environment:
    """Make the environment, with nothing of its own yet but the ``editable`` folders, as an editable installation."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    environment = Environment(folder)
    paths = [*map(str, editable), sysconfig.get_path("purelib")]
    (environment.site / "shared.pth").write_text("\n".join(paths) + "\n")
    return environment


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the wheel of a project from a copy, since a build leaves folders, which the next one would pack."""
    copy = folder / f"{source.name}-source"
    parts = ["pyproject.toml", "README.md", "LICENSE", "harness", "plugins"] if source == ROOT else ["."]
    junk = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for part in parts:
        if (source / part).is_dir():
            shutil.copytree(source / part, copy / part, ignore=junk, dirs_exist_ok=True)
        else:
            copy.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / part, copy / part)
    out = folder / f"{source.name}-wheel"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(out), str(copy)], check=True)
    (wheel,) = out.glob("*.whl")
    return wheel
