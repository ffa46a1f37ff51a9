"""The core names no plugin of its own distribution: each can be deleted, and the rest still runs."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POINTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
    "harness.plugins"
]
PACKAGES = sorted(path.parent.name for path in (ROOT / "plugins").glob("harness_*/__init__.py"))
# Words of English and of statistics as well; that no module of theirs is imported is tested by the packages' names.
WORDS = {"mean"}
NAMES = {name for name, module in POINTS.items() if module.split(".")[0] in PACKAGES} - WORDS


def spoken(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of each identifier and each string that is no docstring and no sentence."""
    texts = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            if " " not in node.value.strip():
                yield node.lineno, node.value
            else:  # in a sentence, what stands in quotes of code
                yield from ((node.lineno, name) for name in re.findall(r"`([^`]+)`", node.value))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield node.lineno, getattr(node, "module", None) or ""
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg | ast.keyword):
            yield node.lineno, node.arg or ""


def named(source: str) -> list[tuple[int, str]]:
    """Lines on which a plugin is named, as a module, an identifier, a name or a data set: ``scenes:40``."""
    return [
        (line, text)
        for line, text in spoken(ast.parse(source))
        if re.split(r"\W", text)[0] in NAMES or any(re.search(rf"\b{package}\b", text) for package in PACKAGES)
    ]


def test_every_plugin_of_the_distribution_is_known_here() -> None:
    assert {module.split(".")[0] for module in POINTS.values()} == {*PACKAGES, "harness"}
    assert {"scenes", "clipnet", "knn"} <= NAMES


@pytest.mark.parametrize("path", sorted((ROOT / "harness").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_names_none_of_them(path: Path) -> None:
    assert named(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "from harness_scenes import compose",
        "import harness_clipnet.network",
        "scenes = 3",
        "data = 'scenes:40:3'",
        "from harness.data import scenes",
        "help = 'the embedded `scenes` are taken'",
        "call(knn=1)",
        "load('harness_scenes.reader')",
    ],
)
def test_a_name_would_be_found(line: str) -> None:
    assert named(line)


def test_prose_is_not_a_name() -> None:
    assert not named('"""Weights that have seen scenes."""\nnote = "synthetic scenes only"\nmean = 3')


def test_nobody_is_told_to_install_the_strangers_package() -> None:
    """``harness`` on PyPI is a stranger's; ours is ``prompt-harness``."""
    wrong = re.compile(r"(?<!un)install (?:-\S+ )*[\"'`]?harness(?:\[|[\"'`\s]|$)", flags=re.MULTILINE)
    assert wrong.search("pip install 'harness[mlflow]'")
    assert not wrong.search("pip install 'prompt-harness[mlflow]'")
    files = [path for end in ("py", "md", "yaml", "toml", "txt", "j2") for path in ROOT.rglob(f"*.{end}")]
    ours = [path for path in files if not {".venv", ".git", "build"} & set(path.relative_to(ROOT).parts)]
    assert len(ours) > 300
    found = [f"{path.relative_to(ROOT)}: {hit.group()}" for path in ours for hit in wrong.finditer(path.read_text())]
    assert [line for line in found if "tests/docs/test_names.py" not in line] == []
