"""Which image a row names: never another one in silence, never one outside of the data's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from harness.data.layouts.files import NamedImages
from harness.errors import InputError
from tests.data.test_found_prompts import two
from tests.data.test_layouts import imagefolder_csv, imagefolder_jsonl, images, opened, refusal, says, write_json


def rows(root: Path, *values: str) -> Path:
    """A table with a row a value, each with an id of its own."""
    return imagefolder_jsonl(
        root, *({"file_name": value, "prompt": f"text {i}", "id": f"r{i}"} for i, value in enumerate(values))
    )


def paths(root: Path) -> list[str]:
    return [Path(image.name).relative_to(root).as_posix() for image in opened(root).images]


# -- never another image in silence ----------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["train/001.png", "train\\001.png", "train/001", "./train/001.png", "{}/train/001.png"]
)
def test_an_image_of_another_folder_is_not_taken_for_it(tmp_path: Path, value: str) -> None:
    root = rows(images(tmp_path, "val/001.png"), value.format(tmp_path), "val/001.png")
    says(refusal(root), "metadata.jsonl line 1", "no image", "001")


@pytest.mark.parametrize("first", ["/content/train/001.png", "C:\\set\\train\\001.png", "https://x.org/train/001.png"])
@pytest.mark.parametrize("second", ["/content/val/001.png", "val/001.png", "001.png", "VAL/001.PNG"])
def test_two_paths_that_lead_to_one_image_are_refused(tmp_path: Path, first: str, second: str) -> None:
    for values in ((first, second), (second, first)):
        root = rows(images(tmp_path, "val/001.png"), *values)
        says(refusal(root), "metadata.jsonl line 2", "both lead to", "line 1", str(root / "val/001.png"))


def test_one_image_may_have_several_rows_and_exact_paths_several_spellings(tmp_path: Path) -> None:
    root = rows(images(tmp_path, "val/001.png"), "val/001.png", "./val/001.png", "val\\001.png", "val/001.png")
    assert paths(root) == ["val/001.png"] * 4


def test_the_longest_end_of_a_path_from_elsewhere_counts(tmp_path: Path) -> None:
    root = rows(images(tmp_path, "a/x.png", "b/x.png", "x.png"), "/content/set/b/x.png", "D:/set/A/X", "x")
    assert paths(root) == ["b/x.png", "a/x.png", "x.png"]
    says(refusal(rows(root, "/content/set/c/y.png")), "outside the data's folder")


# -- no path is a traceback ------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["x" * 5000, "y/" * 3000 + "x.png", "/" + "z" * 5000, "\udcff.png", "..", "/", "."])
def test_paths_that_no_file_can_have_are_refused_by_row(tmp_path: Path, value: str) -> None:
    says(refusal(rows(images(tmp_path, "a.png"), value)), "metadata.jsonl line 1")


def test_a_closed_folder_beside_others_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system answers whoever is not root, who may open everything."""
    two(tmp_path)
    (tmp_path / "closed").mkdir()
    stat, scandir = os.stat, os.scandir

    def closed(path: Any) -> bool:
        return isinstance(path, (str, os.PathLike)) and "closed" in Path(os.fspath(path)).parts

    def no_stat(path: Any, **options: Any) -> os.stat_result:
        if closed(path) and Path(path).name != "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    def no_scandir(path: Any = ".") -> Any:
        if closed(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "stat", no_stat)
    monkeypatch.setattr(os, "scandir", no_scandir)
    (tmp_path / "a.png").rename(tmp_path / "closed.tmp")  # no image beside the folders, so that each is asked
    (tmp_path / "one").mkdir()
    (tmp_path / "b.png").rename(tmp_path / "one/b.png")
    data = opened(tmp_path)
    assert list(data.ids) == ["b"]
    says(" ".join(data.notes), "closed", "Permission denied")
    says(refusal(tmp_path / "closed"), "closed", "Permission denied", "change its permissions")
    monkeypatch.setattr(os, "access", lambda path, mode: not closed(path))
    says(refusal(rows(tmp_path, "closed/x.png")), "metadata.jsonl line 1", "cannot be read", "permissions")


# -- nothing outside of the folder -----------------------------------------------------------------

TEXT = ["a text"]


def _karpathy(root: Path, value: str) -> Path:
    entry: dict[str, Any] = {"filename": Path(value).name, "filepath": str(Path(value).parent)}
    return write_json(root / "dataset_x.json", {"images": [{**entry, "sentences": [{"raw": text} for text in TEXT]}]})


LISTED: dict[str, Callable[[Path, str], Any]] = {
    "kaggle": lambda root, value: (
        imagefolder_csv(root, "")
        .joinpath("prompts.csv")
        .write_text(f"imgId,prompt\n{json.dumps(value)},{TEXT[0]}\n", encoding="utf-8")
    ),
    "imagefolder": lambda root, value: rows(root, value),
    "table": lambda root, value: write_json(root / "t.json", [{"image": value, "prompt": TEXT[0]}]),
    "flickr": lambda root, value: (root / "Flickr8k.token.txt").write_text(f"{value}#0\t{TEXT[0]}\n", encoding="utf-8"),
    "karpathy": _karpathy,
    "coco": lambda root, value: write_json(
        root / "annotations/captions_x.json",
        {"images": [{"id": 1, "file_name": value}], "annotations": [{"image_id": 1, "caption": TEXT[0]}]},
    ),
    "diffusiondb": lambda root, value: write_json(root / "part-000001.json", {value: {"p": TEXT[0]}}),
}


@pytest.mark.parametrize("layout", LISTED)
@pytest.mark.parametrize("value", ["../secret.png", "../../secret.png", "{}/secret.png", "images/../../secret.png"])
def test_no_reader_opens_an_image_outside_of_the_folder(tmp_path: Path, layout: str, value: str) -> None:
    images(tmp_path, "secret.png", "set/images/x.png")
    root = tmp_path / "set"
    LISTED[layout](root, value.format(tmp_path))
    (root / "metadata.csv").unlink(missing_ok=True)
    message = refusal(root)
    assert "outside the data's folder" in message or "no image" in message, message
    assert str(tmp_path / "set") in message


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(LISTED)), st.lists(st.sampled_from(["..", ".", "images", "out", "x.png", "~"]), min_size=1)
)
@example("coco", ["..", "out", "x.png"])
def test_whatever_a_reader_opens_lies_in_the_folder(tmp_path: Path, layout: str, parts: list[str]) -> None:
    root = images(tmp_path / "in", "images/x.png") / layout
    images(root, "images/x.png")
    images(tmp_path / "in", "out/x.png")
    LISTED[layout](root, "/".join(parts))
    (root / "metadata.csv").unlink(missing_ok=True)
    try:
        names = [image.name for image in opened(root).images]
    except InputError:
        names = []
    assert all(Path(name).resolve().is_relative_to(root.resolve()) for name in names)


def test_coco_names_and_karpathys_are_found_as_any_tables_are(tmp_path: Path) -> None:
    images(tmp_path / "coco", "val2014/x.png")
    LISTED["coco"](tmp_path / "coco", "val2014\\X.png")
    images(tmp_path / "flat", "images/x.png")
    LISTED["karpathy"](tmp_path / "flat", "val2014/x.png")
    images(tmp_path / "deep", "val2014/x.png")
    LISTED["karpathy"](tmp_path / "deep", "val2014/x.png")
    for name, layout in (("coco", "coco"), ("flat", "karpathy"), ("deep", "karpathy")):
        data = opened(tmp_path / name)
        assert (data.layout, [Path(i.name).name for i in data.images]) == (layout, ["x.png"])


@pytest.mark.parametrize(
    "table", ["", "metadata.csv", "metadata.jsonl", "metadata.parquet", "x.csv", "x.jsonl", "x.json", "x.parquet"]
)
def test_folders_are_walked_and_tables_read_once_an_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    two(tmp_path / "images")
    names, prompts = ["images/a.png", "images/b.png"], ["an ant", "a bee"]
    columns = {"file_name": names, "prompt": prompts}
    entries = [json.dumps({"file_name": n, "prompt": p}) for n, p in zip(names, prompts, strict=True)]
    if table.endswith(".csv"):
        (tmp_path / table).write_text("file_name,prompt\n" + "images/a.png,an ant\nimages/b.png,a bee\n")
    elif table.endswith(".parquet"):
        parquet.write_table(pa.table(columns), tmp_path / table)
    elif table:
        (tmp_path / table).write_text("\n".join(entries) if table.endswith("l") else f"[{','.join(entries)}]")
    walked, read = [], []
    walk, read_bytes, file = os.walk, Path.read_bytes, parquet.ParquetFile
    monkeypatch.setattr(os, "walk", lambda *args, **options: walked.append(str(args[0])) or walk(*args, **options))
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or read_bytes(path))
    monkeypatch.setattr(parquet, "ParquetFile", lambda path: read.append(path.name) or file(path))
    for times in (1, 2):  # nothing is kept for the next
        assert len(opened(tmp_path)) == 2
        # The reader of plain folders looks for a first image, too.
        assert walked.count(str(tmp_path)) == times * (1 if table else 2)
        assert [name for name in read if name == table] == [table] * (times if table else 0)


def test_a_relative_path_below_the_folder_costs_no_walk(tmp_path: Path) -> None:
    named = NamedImages(images(tmp_path, "sub/x.png"))
    assert named.path("sub/x.png", "row 1") == tmp_path / "sub/x.png"
    assert "found" not in vars(named)
