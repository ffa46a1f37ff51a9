"""The guide for plugin authors: its blocks run as they stand, and its reference names all there is."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

import harness.plugin as contract
from harness import pipeline, training
from harness.plugin import events, hooks, tracking
from tests.conftest import PROMPTS, run_harness, save_image
from tests.third_party.environment import ROOT, Environment, make_environment

GUIDE = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")
START, PUBLISH = "From an empty folder to the leaderboard", "Publishing"


@dataclass(frozen=True)
class Section:
    title: str
    text: str

    @property
    def blocks(self) -> list[tuple[str, str]]:
        """Language and text of each fenced block."""
        return re.findall(r"^```(\w*)\n(.*?)^```", self.text, flags=re.DOTALL | re.MULTILINE)


def sections(mark: str = "##") -> dict[str, Section]:
    prose = re.split(rf"^{mark} ", GUIDE, flags=re.MULTILINE)[1:]
    return {part.split("\n")[0]: Section(part.split("\n")[0], part) for part in prose}


def commands(block: str) -> list[list[str]]:
    lines = [line.split("  #")[0].strip() for line in block.splitlines()]
    assert all(re.match(r"(harness|pip|pytest) ", line) for line in lines), lines
    return [shlex.split(line) for line in lines]


GROWING = [title for title, section in sections().items() if section.blocks and title not in (START, PUBLISH)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment to install the reader's package into, with the checkout as its harness."""
    return make_environment(tmp_path_factory.mktemp("tutorial") / "environment", ROOT, ROOT / "plugins")


@pytest.mark.long
@pytest.mark.xdist_group("tutorial")
def test_a_stranger_reaches_the_leaderboard_in_under_ten_commands(environment: Environment, tmp_path: Path) -> None:
    script = [command for _, block in sections()[START].blocks for command in commands(block)]
    assert len(script) < 10
    said = {}
    for name, *arguments in [*script, *commands(sections()[PUBLISH].blocks[0][1])]:
        module = {"harness": "harness.cli"}.get(name, name)
        answer = environment.run("python", "-m", module, *arguments, cwd=tmp_path)
        assert answer.code == 0, f"{name} {arguments}\n{answer.out}\n{answer.err}"
        said[" ".join([name, *arguments])] = answer.out
    (listing,) = [out for command, out in said.items() if command.startswith("harness plugins list")]
    assert re.search(r"^ sunset +harness-sunset 0\.1\.0 +ok +sunset", listing, flags=re.MULTILINE)
    board = environment.run("python", "-m", "harness.cli", "leaderboard", "--json", cwd=tmp_path).json
    scores = {row["plugin"]: row["score"] for row in board["rows"]}
    assert scores.keys() == {"sunset", "mean", "ridge", "blend"}
    assert scores["sunset"] > scores["mean"]  # it learns something
    assert [path.name for path in (tmp_path / "dist").iterdir()] == ["harness_sunset-0.1.0-py3-none-any.whl"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the guide assumes of its reader: images with prompts beside them, and a photo."""
    for i, prompt in enumerate(PROMPTS):
        save_image(tmp_path / "pairs" / f"{i:02d}.png", i)
        (tmp_path / "pairs" / f"{i:02d}.txt").write_text(prompt)
    save_image(tmp_path / "photo.png", 99)
    return tmp_path


@pytest.mark.long
@pytest.mark.parametrize("title", GROWING)
def test_every_block_of_the_guide_runs(title: str, folder: Path) -> None:
    said, files, env = [], [], {}
    for language, block in sections()[title].blocks:
        if language == "python":
            files.append(block.split("\n")[0].removeprefix("# "))
            (folder / files[-1]).write_text(block)
            continue
        assert language == "sh"
        env |= re.findall(r"^export (\w+)=(\S+)$", block, flags=re.MULTILINE)
        for _, *arguments in commands(re.sub(r"^export .*\n", "", block, flags=re.MULTILINE)):
            answer = run_harness(*arguments, cwd=folder, env=env)
            assert answer.code == 0, f"{arguments}\n{answer.err}"
            assert "stopped" not in answer.err  # a listener that raised
            said.append(answer.out)
    assert said, "a plugin that no command uses"
    expected = {
        "palette.py": ["Steps of each colour channel", "fine", "2 passed"],
        "glance.py": ["glance", "2 passed"],
        "daylight.py": ["all-MiniLM-L6-v2", "daylight", "a cloudy day"],
        "pairs.py": ["pairs", "knn"],
        "stripes.py": ["", "knn"],
        "softmax.py": ["ridge", "softmax", "simplex"],
        "journal.py": ["mean"],
        "ledger.py": ["mean", "mean"],
    }
    (file,) = files
    for words, out in zip(expected[file], said, strict=True):
        assert words in out
    if file == "journal.py":
        lines = [json.loads(line) for line in (folder / "heard" / "journal.jsonl").read_text().splitlines()]
        assert [line["kind"] for line in lines] == [
            "run_started", *["task_started", "task_finished"] * 2, "run_finished",
        ]  # fmt: skip
    if file == "ledger.py":
        lines = [line.split(" ", 1)[1] for line in (folder / "ledger.txt").read_text().splitlines()]
        assert [line.split(":")[0] for line in lines] == ["mean fold 0", "mean fold 1", "mean", "kept"], "nothing twice"


def test_the_guide_shows_each_hook_in_use() -> None:
    blocks = "".join(block for section in sections().values() for language, block in section.blocks)
    for name in (name for name in vars(hooks) if name.startswith("harness_")):
        assert f"@hookimpl\ndef {name}(" in blocks, name


def members(cls: type) -> dict[str, str]:
    """Return the public members, and how the reference writes each: with its arguments if it is a method."""
    fields = vars(cls).get("__annotations__", {})
    written = {name: name for name in {**vars(cls), **fields} if not name.startswith("_")}
    for name in written.keys() - fields.keys():
        function = getattr(vars(cls)[name], "__func__", vars(cls)[name])
        if inspect.isfunction(function):
            given = list(inspect.signature(function).parameters.values())[1:]
            words = ["**" * (one.kind is inspect.Parameter.VAR_KEYWORD) + one.name for one in given]
            written[name] = f"{name}({', '.join(words)})"
    return written


DOCUMENTED = ["Predictor", "Context", "TrainingData", "Images", "DatasetReader", "Row", "ImageSource", "Blender"]
DOCUMENTED += ["BlendProblem", "RunEvent"]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_reference_has_every_member_of_a_class_and_no_other(name: str) -> None:
    section = sections("###")[f"`{name}`"]
    rows = re.findall(r"^\| (`[^|]*`) \|", section.text, flags=re.MULTILINE)
    written = [word for row in rows for word in re.findall(r"`([^`]+)`", row)]
    given = ["config", "context"] if name == "Predictor" else []  # by the constructor
    assert sorted(written) == sorted([*members(getattr(contract, name)).values(), *given])


def test_the_reference_has_every_optional_member_of_a_reader() -> None:
    section = sections("###")["What a reader may have besides"]
    written = re.findall(r"^\| `(\w+)[^|]*` \|", section.text, flags=re.MULTILINE)
    listed = (inspect.getdoc(contract.DatasetReader) or "").split("Other Parameters")[1]
    assert written == re.findall(r"^(\w+) : ", listed, flags=re.MULTILINE)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_member_has_a_docstring_or_stands_in_that_of_its_class(name: str) -> None:
    cls = getattr(contract, name)
    for member in members(cls):
        own = inspect.getdoc(vars(cls).get(member)) if member not in cls.__annotations__ else None
        beneath = rf'^    {member}:[^\n]*\n    """'  # a text below an attribute, which Python drops
        above = re.search(rf"\b{member}\b", inspect.getdoc(cls) or "")
        assert own or above or re.search(beneath, inspect.getsource(cls), flags=re.MULTILINE), f"{name}.{member}"


def test_the_reference_has_all_that_trained_predictors_share_with_its_arguments() -> None:
    section = sections("###")["`harness.training`"]
    written = re.findall(r"`(\w+\([^`]*\))`", "".join(re.findall(r"^\| ([^|]*) \|", section.text, flags=re.MULTILINE)))
    public = {name: getattr(training, name) for name in training.__all__}
    expected = [f"{name}({', '.join(inspect.signature(value).parameters)})" for name, value in public.items()]
    assert sorted(written) == sorted(expected)


def test_the_reference_has_all_that_trackers_share_with_its_arguments() -> None:
    section = sections("###")["`harness.plugin.tracking`"]
    public = {
        name: value for name, value in vars(tracking).items() if getattr(value, "__module__", "") == tracking.__name__
    }
    for name, value in public.items():
        given = inspect.signature(value).parameters.values()
        words = ["*" * (one.kind is inspect.Parameter.VAR_POSITIONAL) + one.name for one in given]
        assert f"`{name}({', '.join(words)})`" in section.text, name
        for member in vars(value) if inspect.isclass(value) else ():
            if not member.startswith("_") and member not in ("hear", "interrupt"):  # these call what is filled in
                assert re.search(rf"`{member}\b", section.text), f"{name}.{member}"


def test_the_reference_has_all_of_the_pipeline_with_its_arguments() -> None:
    section = sections("###")["`harness.pipeline`"]
    written = re.findall(r"`([^`]*)`", "".join(re.findall(r"^\| ([^|]*) \|", section.text, flags=re.MULTILINE)))
    for name in pipeline.__all__:
        value = getattr(pipeline, name)
        shown = f"{name}({', '.join(inspect.signature(value).parameters)})" if callable(value) else name
        assert shown in written, shown


def test_the_reference_names_all_that_the_contract_exports_and_all_events() -> None:
    reference = sections()["Reference"].text
    for name in contract.__all__:
        assert re.search(rf"`@?{name}\b", reference), name
    for cls in (contract.Explanation, contract.ParameterCount, contract.Requirements):
        assert f"`{cls.__name__}({', '.join(inspect.signature(cls).parameters)})`" in reference
    for member in members(contract.BlendSolution):
        assert f"`{member}`" in reference, member
    for kind in get_args(events.EventKind):
        assert f"`{kind}`" in reference, kind
