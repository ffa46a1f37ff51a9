"""Plugins load in isolation: a broken one is named with its reason and touches nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.plugin import PluginManager, RunEvent

GOOD = """
import numpy as np
from harness.plugin import Predictor, PredictorConfig, hookimpl

class {cls}(Predictor):
    name = "{name}"
    version = "1"
    def predict(self, images):
        return np.ones((len(images), 384), dtype=np.float32)

@hookimpl
def harness_register_predictors(register):
    register({cls})
"""


def install(site: Path, distribution: str, entry_points: dict[str, str], modules: dict[str, str]) -> None:
    """Lay a distribution out as an installer would: modules and a dist-info folder."""
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source)
    info = site / f"{distribution.replace('-', '_')}-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n")
    lines = "".join(f"{name} = {target}\n" for name, target in entry_points.items())
    (info / "entry_points.txt").write_text(f"[harness.plugins]\n{lines}")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on sys.path to install distributions into; its modules are forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder  # type: ignore[misc]
    for name in set(sys.modules) - before:
        del sys.modules[name]


BROKEN = {
    "import": ("import no_such_module_anywhere", "ModuleNotFoundError"),
    "syntax": ("def broken(:\n", "SyntaxError"),
    "exits": ("raise SystemExit(3)", "SystemExit"),
    "base_class": (
        "from harness.plugin import hookimpl\nclass X: name='x'; version='1'\n"
        "@hookimpl\ndef harness_register_predictors(register): register(X)\n",
        "not a subclass of harness.plugin.Predictor",
    ),
    "abstract": (
        "from harness.plugin import hookimpl, Predictor\nclass X(Predictor): name='x'; version='1'\n"
        "@hookimpl\ndef harness_register_predictors(register): register(X)\n",
        "does not write predict",
    ),
    "misspelt": (
        "from harness.plugin import hookimpl\n@hookimpl\ndef harness_register_predictor(register): pass\n",
        "did you mean harness_register_predictors",
    ),
    "argument": (
        "from harness.plugin import hookimpl\n@hookimpl\ndef harness_register_predictors(registry): pass\n",
        "registry",
    ),
    "unmarked": ("def harness_register_predictors(register): pass\n", "put @hookimpl"),
    "empty": ("x = 1\n", "implements none of the hooks"),
    "raises": (
        "from harness.plugin import hookimpl\n@hookimpl\n"
        "def harness_register_predictors(register): raise ValueError('no')\n",
        "ValueError: no",
    ),
    "no_version": (GOOD.format(cls="X", name="x").replace('version = "1"', ""), "version must be a string"),
    "bad_name": (GOOD.format(cls="X", name="X Y"), "use lower-case letters"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_listed_with_its_reason_and_breaks_nothing(site: Path, kind: str) -> None:
    source, reason = BROKEN[kind]
    install(site, "stranger", {f"broken-{kind}": f"stranger_{kind}"}, {f"stranger_{kind}": source})
    install(site, "friend", {"friend": "friend_plugin"}, {"friend_plugin": GOOD.format(cls="F", name="friend")})
    manager = PluginManager()
    status = next(s for s in manager.statuses if s.name == f"broken-{kind}")
    assert status.status == "broken"
    assert reason in status.reason
    assert (status.distribution, status.version) == ("stranger", "2.5")
    assert {"friend", "mean", "knn", "ridge"} <= manager.predictors.keys()
    with pytest.raises(InputError, match="cannot be used"):
        manager.predictor(f"broken-{kind}")


def test_a_name_registered_twice_is_an_error_that_names_both(site: Path) -> None:
    install(site, "one", {"first": "one_plugin"}, {"one_plugin": GOOD.format(cls="A", name="twin")})
    install(site, "two", {"second": "two_plugin"}, {"two_plugin": GOOD.format(cls="B", name="twin")})
    manager = PluginManager()
    with pytest.raises(InputError, match=r"one 2\.5 and by two 2\.5"):
        manager.predictor("twin")
    assert "twin" not in manager.predictors
    assert next(s for s in manager.statuses if s.name == "second").status == "broken"
    chosen = PluginManager(disabled=["one:first"])
    assert chosen.predictor("twin").__name__ == "B"


def test_a_plugin_can_be_blocked_by_name(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "friend", {"friend": "friend_blocked"}, {"friend_blocked": "raise RuntimeError('imported')"})
    monkeypatch.setenv("HARNESS_DISABLE_PLUGINS", "friend, knn")
    manager = PluginManager()
    assert {s.name: s.status for s in manager.statuses}["friend"] == "disabled"
    assert "friend_blocked" not in sys.modules
    assert "knn" not in manager.predictors
    with pytest.raises(InputError, match="HARNESS_DISABLE_PLUGINS"):
        manager.predictor("knn")


def test_an_unknown_plugin_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(InputError, match="did you mean ridge"):
        PluginManager().predictor("rigde")


def test_a_plugin_file_is_a_plugin(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD.format(cls="Mine", name="mine"))
    assert PluginManager([path]).predictor("mine").name == "mine"


def test_a_plugin_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        PluginManager([tmp_path / "absent.py"])
    path = tmp_path / "bad.py"
    path.write_text("import no_such_module_anywhere")
    with pytest.raises(InputError, match="ModuleNotFoundError"):
        PluginManager([path])


def test_a_listener_that_raises_is_noted_once_and_the_others_still_hear(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    listeners = tmp_path / "loud.py", tmp_path / "broken.py"
    listeners[0].write_text(
        "from harness.plugin import hookimpl\n@hookimpl\ndef harness_run_event(event):\n"
        f"    with open({str(heard)!r}, 'a') as stream:\n        stream.write(event.kind + '\\n')\n"
    )
    listeners[1].write_text(
        "from harness.plugin import hookimpl\n@hookimpl\ndef harness_run_event(event):\n    raise OSError('full')\n"
    )
    manager = PluginManager(listeners)
    for kind in ("run_started", "run_finished"):
        manager.emit(RunEvent(kind, tmp_path))  # type: ignore[arg-type]
    assert heard.read_text().split() == ["run_started", "run_finished"]
    assert len(manager.listener_failures) == 1
    assert "OSError: full" in manager.listener_failures[0]


def test_a_plugin_that_fails_halfway_registers_nothing(site: Path) -> None:
    source = GOOD.format(cls="Half", name="half") + "    raise ValueError('after the first')\n"
    install(site, "half", {"half": "half_plugin"}, {"half_plugin": source})
    assert "half" not in PluginManager().predictors


BLENDER = """
import numpy as np
from harness.plugin import hookimpl

class Last:
    name, summary = "{name}", "the last member"
    def weights(self, problem):
        return np.eye(len(problem.members))[-1]

@hookimpl
def harness_register_blenders(register):
    register(Last())
"""


def test_a_blending_method_cannot_take_the_place_of_another_unseen(site: Path) -> None:
    install(site, "other", {"aaa": "aaa_plugin"}, {"aaa_plugin": BLENDER.format(name="greedy")})
    install(site, "more", {"more": "more_plugin"}, {"more_plugin": BLENDER.format(name="last")})
    manager = PluginManager()
    assert manager.blender("last").summary == "the last member"
    assert "greedy" not in manager.blenders
    with pytest.raises(InputError, match=r"'greedy' is registered twice, by other 2\.5 and by prompt-harness"):
        manager.blender("greedy")
    assert "simplex" in manager.blenders
    with pytest.raises(InputError, match="did you mean simplex"):
        manager.blender("simplx")


def test_a_predictor_and_a_blender_may_share_a_name(site: Path) -> None:
    install(site, "one", {"first": "one_named"}, {"one_named": GOOD.format(cls="A", name="greedy")})
    manager = PluginManager()
    assert manager.predictor("greedy").__name__ == "A"
    assert manager.blender("greedy").summary.startswith("ensemble selection")


REQUIREMENTS = {
    "prompt-harness>=99": "it needs prompt-harness>=99, and this is harness",
    "Prompt.Harness ~= 0.0.1": "it needs Prompt.Harness~=0.0.1",
    "prompt-harness[efficientnet]<0.0.2": "it needs prompt-harness<0.0.2",
    "prompt-harness >= soon": "a requirement that cannot be read: prompt-harness >= soon",
    "prompt-harness": "",
    "harness>=0.1": "which is a stranger's; this harness is called prompt-harness",
    "harness-tools": "",
    "prompt_harness>=0.0.1,<99": "",
    "prompt-harness>=99; extra == 'test'": "",
    "prompt-harness>=99; python_version < '3'": "",
    "harness-of-another-kind>=99": "",
    "numpy>=99": "",  # an installer's business: what is missing shows when it is imported
}


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_a_plugin_that_needs_another_harness_is_not_imported_and_says_so(site: Path, line: str) -> None:
    source = GOOD.format(cls="Future", name="future")
    install(site, "future", {"future": "future_plugin"}, {"future_plugin": source})
    with (site / "future-2.5.dist-info" / "METADATA").open("a") as stream:
        stream.write(f"Requires-Dist: {line}\n")
    status = next(s for s in PluginManager().statuses if s.name == "future")
    reason = REQUIREMENTS[line]
    assert reason in status.reason
    assert status.status == ("broken" if reason else "ok")
    assert ("future_plugin" in sys.modules) == (not reason)
