"""`harness plugins new` writes a whole package or nothing. That it installs and works, `tests/docs` tries."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness as package
from harness.errors import InputError
from harness.plugin import PluginManager
from harness.plugin.scaffold import check_new_name, package_files, write_package
from tests.conftest import Harness
from tests.plugin.test_manager import GOOD, install

LONGEST = "a" + "-b" * 19 + "c"


def tool(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    # mypy does not follow an editable install; where harness is installed as a wheel, it needs no path.
    env = os.environ | {"MYPYPATH": str(Path(package.__file__).parents[1])}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=env)


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_it_writes_a_package_whose_entry_point_names_its_module(harness: Harness, tmp_path: Path) -> None:
    answer = harness("plugins", "new", "warm-cold", "--dir", tmp_path)
    assert (answer.code, answer.err) == (0, "")
    written = {str(path.relative_to(tmp_path)) for path in (tmp_path / "warm-cold").rglob("*") if path.is_file()}
    assert written == {
        "warm-cold/pyproject.toml",
        "warm-cold/README.md",
        "warm-cold/src/harness_warm_cold/__init__.py",
        "warm-cold/src/harness_warm_cold/py.typed",
        "warm-cold/tests/test_warm_cold.py",
    }
    assert all(str(tmp_path / name) in answer.out for name in written)
    project = tomllib.loads((tmp_path / "warm-cold" / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["harness.plugins"] == {"warm-cold": "harness_warm_cold"}
    assert oct((tmp_path / "warm-cold").stat().st_mode) == oct((tmp_path / "warm-cold" / "src").stat().st_mode)
    module = tmp_path / "warm-cold" / "src" / "harness_warm_cold" / "__init__.py"
    assert PluginManager([module]).predictor("warm-cold").__name__ == "WarmColdPredictor"


@pytest.mark.parametrize("name", ["a", LONGEST])
def test_what_it_writes_is_clean_whatever_the_length_of_the_name(tmp_path: Path, name: str) -> None:
    write_package(name, tmp_path, PluginManager())
    folder = tmp_path / name
    for arguments in (
        ("check", "."),
        ("check", "--select", "E,F,I,B,UP,SIM,RUF,N,T20,C4,PTH,PT,RET,TID", "."),
        ("check", "--select", "D", "--ignore", "D105,D107,D203,D213,D401,D413", "src"),
        ("format", "--check", "."),
    ):
        done = tool("ruff", *arguments, "--no-cache", cwd=folder)
        assert done.returncode == 0, done.stdout
    if name != LONGEST:
        done = tool("mypy", "--follow-imports=silent", "--cache-dir", str(tmp_path / "mypy"), cwd=folder)
        assert done.returncode == 0, done.stdout


@given(st.from_regex(r"[a-z]([a-z0-9_-]{0,38}[a-z0-9])?", fullmatch=True))
def test_every_legal_name_gives_code_that_compiles_and_a_valid_project(name: str) -> None:
    texts = package_files(name)
    for place, text in texts.items():
        assert "$" not in text
        assert max((len(line) for line in text.splitlines()), default=0) <= 120 or place == "README.md"
        if place.endswith(".py"):
            compile(text, place, "exec")
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    (module,) = project["entry-points"]["harness.plugins"].values()
    assert module.isidentifier()
    assert f"src/{module}/__init__.py" in texts


@pytest.mark.parametrize("name", ["", "Warm", "1st", "a b", "-a", "a-", "a_", "../a", "a/b", "é", "a" * 41])
def test_what_cannot_be_a_name_is_refused_and_nothing_is_written(harness: Harness, tmp_path: Path, name: str) -> None:
    before = contents(tmp_path)
    answer = harness("plugins", "new", "--dir", tmp_path, "--", name)
    assert answer.code == 2
    assert "cannot be the name of a predictor" in answer.err
    assert contents(tmp_path) == [*before, "cwd"] or contents(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ridge", "taken by prompt-harness "),
        ("blenders", "taken by prompt-harness "),  # an entry point's name
        ("baselines", "already a module harness_baselines"),
    ],
)
def test_a_name_that_is_taken_is_refused_with_who_has_it(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        write_package(name, tmp_path, PluginManager())
    assert contents(tmp_path) == []


def test_the_name_of_a_third_partys_predictor_is_taken_also_if_it_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    install(site, "stranger", {"entry": "stranger_named"}, {"stranger_named": GOOD.format(cls="A", name="theirs")})
    install(site, "broken", {"shattered": "broken_named"}, {"broken_named": "raise OSError('no')"})
    manager = PluginManager()
    with pytest.raises(InputError, match=r"'theirs' is taken by stranger 2\.5"):
        check_new_name("theirs", manager)
    with pytest.raises(InputError, match=r"'shattered' is taken by broken 2\.5 \(broken\)"):
        check_new_name("shattered", manager)


def test_what_exists_is_left_alone(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = contents(tmp_path)
    for name in ("mine", "file", "link"):
        answer = harness("plugins", "new", name, "--dir", tmp_path)
        assert (answer.code, "already exists" in answer.err) == (2, True)
    answer = harness("plugins", "new", "mine", "--dir", tmp_path / "nowhere")
    assert (answer.code, "there is no such folder" in answer.err) == (2, True)
    assert contents(tmp_path) == before


def test_where_writing_fails_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object, **__: object) -> int:
        if path.name.startswith("test_"):
            raise OSError(28, "No space left on device")
        return path.parent.stat().st_size

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_package("mine", tmp_path, PluginManager())
    assert contents(tmp_path) == []
