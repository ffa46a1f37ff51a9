"""The example of the room's README does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import harness.process

README = Path(__file__).parents[2] / "harness" / "process" / "README.md"


def test_the_example_runs(tmp_path: Path) -> None:
    module, script = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "greeting.py").write_text(module)
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_public_is_told_of() -> None:
    for name in harness.process.__all__:
        assert name in README.read_text(encoding="utf-8"), name
