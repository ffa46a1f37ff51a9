"""No files of the harness import each other in a circle, not even inside functions or for the types alone."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imports_below(package: Path) -> dict[str, set[str]]:
    """The modules of a package that each of its modules imports, wherever in its code."""
    files = {module_name(path, package): path for path in sorted(package.rglob("*.py"))}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = absolute(node, name, path)
                members = {f"{base}.{alias.name}" for alias in node.names}
                found[name] |= members & files.keys()
                if not members <= files.keys():
                    found[name].add(base)
        found[name] = (found[name] & files.keys()) - {name}
    return found


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def absolute(node: ast.ImportFrom, name: str, path: Path) -> str:
    if not node.level:
        return node.module or ""
    above = name.split(".")[: len(name.split(".")) - node.level + (path.name == "__init__.py")]
    return ".".join([*above, *([node.module] if node.module else [])])


def a_circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, each the next one; empty if there are none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_files_import_each_other_in_a_circle() -> None:
    imports = imports_below(ROOT / "harness")
    assert len(imports) > 100
    assert imports["harness.process.group"] == {"harness.process.parent"}
    assert a_circle(imports) == []


@pytest.mark.parametrize(
    "code",
    [
        "import package.b",
        "from package.b import something",
        "from package import b",
        "from . import b",
        "from .b import something",
        "def later():\n    import package.b",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package.b import Something",
    ],
)
def test_a_circle_is_found_however_it_is_written(code: str, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    for name, text in {"__init__": "", "a": code, "b": "from package.c import thing", "c": "import package.a"}.items():
        (package / f"{name}.py").write_text(text)
    circle = a_circle(imports_below(package))
    assert circle[0] == circle[-1]
    assert set(circle) == {"package.a", "package.b", "package.c"}
    (package / "c.py").write_text("import package")
    assert a_circle(imports_below(package)) == []
