"""Published documents: every key described, every figure in the table, and nothing of this machine's folders."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.plugin import PluginManager
from harness.report.figures import predictions_digest
from harness.report.markdown import markdown
from harness.report.published import file_stem
from harness.report.recipe import is_absolute, run_command
from harness.running.config import parse_settings
from harness.store.config import RunConfig
from harness.store.published import PublishedDocument
from harness.store.run import RunFolder
from harness.store.schema import RunDocument
from tests.report.conftest import Shelf
from tests.report.runs import leaves, publish_run

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "leaderboards"
HERE = sorted(FOLDER.glob("*.json"))


def described(heading: str) -> set[str]:
    """Keys in the table below a heading of the README."""
    text = (FOLDER / "README.md").read_text()
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)` \| \S", section, flags=re.MULTILINE))


def undescribed(value: Any, known: set[str], path: str = "") -> list[str]:
    if isinstance(value, list):
        return [miss for item in value for miss in undescribed(item, known, f"{path}[]")]
    if not isinstance(value, dict):
        return []
    missing = []
    for key, item in value.items():
        inner = f"{path}.{key}" if path else key
        if inner not in known:
            inner = f"{path}.*"
        missing += undescribed(item, known, inner) if inner in known else [f"{path}.{key}"]
    return missing


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
def test_every_key_that_is_published_here_is_described(path: Path) -> None:
    assert undescribed(json.loads(path.read_text()), described("The document")) == []


def test_every_key_that_is_published_is_described(shelf: Shelf) -> None:
    known = described("The document")
    assert undescribed(json.loads(shelf.published.path.read_text()), known) == []
    stranger = json.loads(shelf.published.path.read_text())
    stranger["blends"][0]["gain"]["stranger"] = 1
    assert undescribed(stranger, known) == ["blends[].gain.stranger"]


def test_nothing_is_nan_and_nothing_is_a_path_of_this_machine(shelf: Shelf) -> None:
    text = shelf.published.path.read_text() + shelf.published.path.with_suffix(".md").read_text()
    assert str(shelf.root) not in text
    for path, value in leaves(json.loads(shelf.published.path.read_text())):
        assert not (isinstance(value, float) and math.isnan(value)), path
        assert not (isinstance(value, str) and is_absolute(value)), path


def tables(text: str) -> list[list[dict[str, str]]]:
    """Read the tables of a Markdown text back; a column name that comes twice is numbered."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()]
        head, rule, *rows = [[cell.strip().replace("\\|", "|") for cell in line] for line in cells]
        assert all(re.fullmatch("---:?", cell) for cell in rule)
        names = [f"{name} {head[:i].count(name) + 1}" if name in head[:i] else name for i, name in enumerate(head)]
        found.append([dict(zip(names, row, strict=True)) for row in rows])
    return found


def check_table(document: dict[str, Any], text: str) -> None:
    members, blends, weights, *distances = tables(text)
    sources = sorted({source for row in document["rows"] for source in row["slices"]})
    for rank, (row, cells) in enumerate(zip(document["rows"], members, strict=True), start=1):
        assert cells["rank"] == str(rank)
        assert f"`{row['plugin']}`" in cells["plugin"]
        assert ("*" in cells["plugin"]) == row["out_of_domain"]
        assert cells["score"] == f"{row['score']:.4f}"
        assert cells["95 % interval"] == f"{row['ci_low']:.4f} … {row['ci_high']:.4f}"
        behind, mark = row["behind_leader"], "≈ " * row["tied_with_leader"]
        assert cells["behind the first"] == ("" if behind is None else f"{mark}{behind['mean']:.4f}")
        for source in sources if len(sources) <= 6 else []:
            assert cells[source] == f"{row['slices'][source]:.4f}"
        assert float(cells["fit s/fold"]) == pytest.approx(row["fit_seconds"], abs=0.051)
        assert float(cells["images/s"]) == pytest.approx(row["images_per_second"], abs=0.51)
        assert (cells["trainable"], cells["version"]) == (str(row["trainable_parameters"]), row["version"])
    for blend, cells in zip(document["blends"], blends, strict=True):
        assert cells["method"] == f"`{blend['method']}`"
        assert (cells["fitted"], cells["nested"]) == (f"{blend['score']:.4f}", f"{blend['nested_score']:.4f}")
        low, high = (float(end) for end in cells["95 % interval"].split(" … "))
        assert [low, high] == pytest.approx(blend["nested_ci"], abs=5.1e-5)
        low, high = (float(end) for end in cells["95 % interval 2"].split(" … "))
        assert [float(cells["gain"]), low, high] == pytest.approx(list(blend["gain"].values()), abs=5.1e-5)
        residual = blend["kkt_residual"]
        assert cells["KKT residual"] == ("–" if residual is None else f"{residual:.0e}")
    for cells in weights:
        for blend in document["blends"]:
            assert cells[blend["method"]] == f"{blend['weights'][cells['member'].strip('`')]:.3f}"
    assert len(weights) == len(document["rows"])
    check_distances(document, distances)
    assert all(command in text for command in document["commands"].values())
    assert ("mean nothing for Stable Diffusion" in text) == document["dataset"]["synthetic"]


def check_distances(document: dict[str, Any], distances: list[list[dict[str, str]]]) -> None:
    """Every score by distance stands in the table with three decimals, and what there is none of is a dash."""
    told = [*document["rows"], *document["blends"]]
    if not any(one.get("by_distance") for one in told):
        assert distances == []
        return
    (counts, *by_distance), by_overlap = distances
    shown = [re.match(r"\d+", cell) for cell in list(counts.values())[1:]]
    assert [int(found[0]) for found in shown if found] == [one["n"] for one in told[0]["by_distance"]]
    for one, near, mixed in zip(told, by_distance, by_overlap, strict=True):
        assert one.get("plugin", one.get("method")) in near[""] == mixed[""]
        for key, cells in (("by_distance", near), ("by_overlap", mixed)):
            for told_score, cell in zip(one[key], list(cells.values())[1:], strict=True):
                assert (cell == "–") == (told_score["score"] is None)
                if cell != "–":
                    assert float(cell.rstrip("~").split(" ±")[0]) == pytest.approx(told_score["score"], abs=5.1e-4)


def test_the_table_holds_each_figure_of_the_document(shelf: Shelf) -> None:
    document = shelf.published.document.document()
    text = shelf.published.path.with_suffix(".md").read_text()
    check_table(document, text)
    assert "sd|14" in tables(text)[0][0], "a pipe in a name breaks no row"
    assert "`near` (knn)" in text
    changed = json.loads(json.dumps(document))
    changed["rows"][0]["score"] += 1e-3
    with pytest.raises(AssertionError):
        check_table(changed, text)


def test_warnings_and_the_unranked_are_said(shelf: Shelf) -> None:
    document = shelf.published.document.document()
    document["dataset"]["synthetic"] = document["rows"][0]["out_of_domain"] = True
    document["incomplete"] = {"late": "1 of 3 folds are missing"}
    document["folds"]["split"] = "source"
    document["folds"]["purged"] = [1, 2, 0]
    for row in document["rows"]:
        row["slices"] = {f"s{i}": 0.5 for i in range(7)}
    text = markdown(PublishedDocument.parse(document, "document"))
    check_table(document, text)
    for words in (
        *("mean nothing for Stable Diffusion", "\\* The bundled tiny weights", "by source", "3 training rows purged"),
        *("Not ranked: `late`, 1 of 3 folds are missing.", "each of the 7 sources"),
    ):
        assert words in text


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
def test_what_is_published_here_is_linked_has_its_table_and_keeps_the_promises(path: Path) -> None:
    document = json.loads(path.read_text())
    index = (FOLDER / "README.md").read_text()
    assert f"({path.name})" in index
    assert f"({path.stem}.md)" in index
    check_table(document, path.with_suffix(".md").read_text())
    check_blends(document)


def check_blends(document: dict[str, Any]) -> None:
    """The optimum of the simplex is no lower than what greedy selection, one of its points, finds."""
    blends = {blend["method"]: blend for blend in document["blends"]}
    simplex, greedy = blends["simplex"], blends["greedy"]
    assert simplex["score"] >= greedy["score"] - 1e-6
    assert greedy["score"] >= simplex["best_single"]["score"] - 1e-6
    assert simplex["best_single"]["score"] == pytest.approx(document["rows"][0]["score"], abs=1e-6)
    assert simplex["kkt_residual"] <= 1e-6


def test_every_table_here_has_its_document() -> None:
    names = {path.stem for path in HERE} | {"README"}
    assert {path.stem for path in FOLDER.glob("*.md")} == names
    assert set(re.findall(r"\(([\w.-]+)\.json\)", (FOLDER / "README.md").read_text())) == {path.stem for path in HERE}


def test_the_blends_keep_their_promises(shelf: Shelf) -> None:
    check_blends(shelf.published.document.document())


def test_the_digest_depends_on_ids_and_values_and_not_on_the_order() -> None:
    rng = np.random.default_rng(0)
    values, ids = rng.normal(size=(20, 384)).astype(np.float32), [f"r{i}" for i in range(20)]
    order = rng.permutation(20)
    digest = predictions_digest(values, ids)
    assert predictions_digest(values[order], [ids[i] for i in order]) == digest
    assert predictions_digest(values[order], ids) != digest
    values[3, 7] = np.nextafter(values[3, 7], np.float32(9))
    assert predictions_digest(values, ids) != digest


# -- the recipe ------------------------------------------------------------------------------------


def test_the_command_says_what_the_members_depend_on(shelf: Shelf) -> None:
    words = shlex.split(shelf.published.document.commands.run)
    assert words[:2] == ["harness", "run"]
    told = dict(zip(words[2::2], words[3::2], strict=True))
    assert told == {
        "--data": "pictures",
        "--plugins": "mean,knn,near=knn",
        "--preset": "tiny",
        "--folds": "3",
        "--group-threshold": "0.7",
        "--seed": "0",
        "--set": "near.neighbours=3",
    }


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["C"])),
)


@given(value=st.one_of(SCALARS, st.lists(SCALARS, max_size=3)))
@example(value="\xa0")
def test_options_are_quoted_so_that_they_are_read_back(value: Any) -> None:
    words = shlex.split(run_command(RunConfig(data="x", set={"a.b": {"rate": value}}, plugin_files=("p q.py",))))
    assert words[-2:] == ["--plugin-file", "p q.py"]
    assert parse_settings([words[words.index("--set") + 1]]) == {"a.b": {"rate": value}}


@pytest.mark.parametrize("text", ["/weights", "~/w", "timm:/w", "open_clip:ViT-B-32//w.pt", "C:\\w", "x:D:\\w"])
def test_a_path_of_this_machine_is_seen(text: str) -> None:
    assert is_absolute(text)


@pytest.mark.parametrize(
    "text", ["tiny", "openai/clip", "open_clip:ViT-L-14/openai", "https://h.co/a", "models/w", "a b"]
)
def test_a_name_is_no_path_of_this_machine(text: str) -> None:
    assert not is_absolute(text)


def test_names_of_files() -> None:
    assert file_stem("drawbench", "drawbench", "group") == "drawbench"
    assert file_stem("drawbench", "drawbench", "source") == "drawbench-by-source"
    assert file_stem("scenes", "scenes:1000:7", "group") == "scenes-1000-7"
    assert file_stem("a b/c", "x", "group") == "a-b-c"
    assert file_stem("..", "..", "group") == "leaderboard"


class Altered(RunFolder):
    """A run whose ``run.json`` says something else."""

    def __init__(self, run: RunFolder, **changes: Any) -> None:
        super().__init__(run.path)
        self._changes = changes

    @property
    def document(self) -> RunDocument:
        document = super().document.document()
        for path, value in self._changes.items():
            *parts, last = path.split("__")
            inner = document
            for part in parts:
                inner = inner[part]
            inner[last] = value
        return RunDocument.parse(document, "run.json")


def test_folds_by_source_get_a_file_and_a_title_of_their_own(shelf: Shelf, tmp_path: Path) -> None:
    run = Altered(shelf.run, folds__split="source", config__split="source")
    published = publish_run(run, tmp_path)
    assert published.path.name == "pictures-by-source.json"
    assert "--split source" in published.document.commands.run
    assert published.document.folds.split == "source"


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"members__knn__config": {"backbone": "timm:/w"}}, ["knn.backbone is timm:/w", "absolute path", "hub id"]),
        ({"members__knn__distribution": "/p/mine.py"}, ["/p/mine.py", "relative --plugin-file"]),
    ],
)
def test_paths_of_this_machine_are_refused(
    shelf: Shelf, tmp_path: Path, changes: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(InputError) as refused:
        publish_run(Altered(shelf.run, **changes), tmp_path)
    assert [part for part in parts if part not in str(refused.value)] == []
    assert list(tmp_path.iterdir()) == []


def test_a_member_with_rows_missing_is_listed_and_not_ranked(shelf: Shelf, tmp_path: Path) -> None:
    members = shelf.run.document.document()["members"]
    late = {**members["near"], "keys": {**members["near"]["keys"], "2": "unknown"}}
    published = publish_run(Altered(shelf.run, members__near=late), tmp_path)
    assert published.document.incomplete == {"near": "1 of 3 folds are missing"}
    assert sorted(row.plugin for row in published.document.rows) == ["knn", "mean"]
    assert list(published.document.blends[0].weights) == ["mean", "knn"]
    assert "near" not in published.document.commands.run
    nothing = {name: {**spec, "keys": {"0": "unknown"}} for name, spec in members.items()}
    with pytest.raises(InputError, match="no member has a prediction for every row"):
        publish_run(Altered(shelf.run, members=nothing), tmp_path / "none")


def test_options_are_said_in_full_where_the_predictor_is_not_installed(shelf: Shelf) -> None:
    from harness.report.recipe import portable_settings

    predictors = {name: cls for name, cls in PluginManager().predictors.items() if name != "knn"}
    settings = portable_settings(shelf.run.document, ["knn"], data="pictures", predictors=predictors)
    assert settings.set["knn"] == shelf.run.members["knn"].config


def test_publishing_again_replaces_the_files(shelf: Shelf, tmp_path: Path) -> None:
    first = publish_run(shelf.run, tmp_path)
    again = publish_run(shelf.run, tmp_path)
    written = ["index.html", "pictures.html", "pictures.json", "pictures.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == written
    assert first.document.model_copy(update={"published": ""}) == again.document.model_copy(update={"published": ""})
