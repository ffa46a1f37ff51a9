"""A class reaches another process from wherever it was defined."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import types
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.plugin import PluginManager
from harness.plugin.source import ClassSource

LOAD = """
import json, sys
from harness.plugin.source import ClassSource
loaded = ClassSource(**json.load(sys.stdin)).load()
print(json.dumps([loaded.__module__, loaded.__qualname__, loaded().speak()]))
"""
GREETER = "WORD = 'hello'\nclass Greeter:\n    class Loud:\n        def speak(self):\n            return WORD.upper()\n\
    def speak(self):\n        return WORD\n"


class Speaker:
    def speak(self) -> str:
        return "of a module"


def elsewhere(source: ClassSource, folder: Path) -> list[str]:
    """What another process makes of a class: its module, its name, and what an object of it says."""
    text = json.dumps(asdict(source))
    done = subprocess.run(
        [sys.executable, "-c", LOAD], cwd=folder, input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_a_class_of_a_module_is_imported_by_name(tmp_path: Path) -> None:
    source = ClassSource.of(Speaker)
    assert source.value == ""
    assert elsewhere(source, tmp_path) == [__name__, "Speaker", "of a module"]


def test_a_class_inside_a_class_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greeter.py").write_text(GREETER)
    monkeypatch.syspath_prepend(tmp_path)
    from greeter import Greeter  # type: ignore[import-not-found]

    assert elsewhere(ClassSource.of(Greeter.Loud), tmp_path) == ["greeter", "Greeter.Loud", "HELLO"]


def test_a_class_of_a_plugin_file_is_loaded_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "my plugin.py"
    file.write_text(
        "from harness.plugin import Predictor, hookimpl\n"
        "class Mine(Predictor):\n    name, version, trainable = 'mine', '1', False\n"
        "    def __init__(self, *anything):\n        pass\n"
        "    def speak(self):\n        return 'from a file'\n"
        "    def predict(self, images):\n        raise NotImplementedError\n"
        "@hookimpl\ndef harness_register_predictors(register):\n    register(Mine)\n"
    )
    source = ClassSource.of(PluginManager([file]).predictor("mine"))
    assert source.value == ""
    assert elsewhere(source, tmp_path)[1:] == ["Mine", "from a file"]


def test_a_class_inside_a_function_is_sent_by_value(tmp_path: Path) -> None:
    word = "by value"

    class Inner(Speaker):
        def speak(self) -> str:
            return f"{super().speak()}, {word}"

    assert elsewhere(ClassSource.of(Inner), tmp_path)[2] == "of a module, by value"


def test_a_class_of_a_module_without_a_file_is_sent_with_what_it_refers_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("never_written")
    monkeypatch.setitem(sys.modules, "never_written", module)
    exec(GREETER, vars(module))
    assert elsewhere(ClassSource.of(module.Greeter), tmp_path) == ["never_written", "Greeter", "hello"]


def test_a_class_of_a_script_or_a_notebook_is_sent_by_value(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"{GREETER}import json, sys\nfrom dataclasses import asdict\nfrom harness.plugin.source import ClassSource\n"
        "json.dump(asdict(ClassSource.of(Greeter)), sys.stdout)\n"
    )
    written = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    script.unlink()
    assert elsewhere(ClassSource(**json.loads(written)), tmp_path)[2] == "hello"


def test_a_class_that_cannot_be_sent_is_named() -> None:
    class Locked:
        lock = threading.Lock()

    with pytest.raises(InputError, match=r"Locked cannot be sent to another process .*at the top of a module"):
        ClassSource.of(Locked)
