"""What ``datasets`` saves and loads: Arrow files on disk, and data sets by the name of the hub, without a network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest

from harness.data.layouts.arrow import ArrowReader
from harness.data.layouts.contained import ArchivedImage
from harness.data.layouts.hub import HubReader, Spec
from harness.errors import InputError
from harness.plugin import BrokenRow, Row, ShardedReader
from tests.data.test_layouts import images, opened, refusal, says
from tests.data.test_layouts_parquet import PROMPTS, bad, by_datasets, bytes_of, encoded, good, structs


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library's cache, for this test alone; no network, as where ``HF_HUB_OFFLINE`` is set."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return folder


def rows_of(location: Path | str) -> list[Row | BrokenRow]:
    reader: Any = HubReader() if str(location).startswith("hf:") else ArrowReader()
    assert isinstance(reader, ShardedReader)
    assert reader.matches(Path(location))
    return list(reader.read(Path(location)))


def same_as(data: Any, rows: list[Row | BrokenRow]) -> None:
    """Hold rows against the library's own."""
    found = good(rows)
    assert len(found) == len(rows) == len(data)
    assert [row.texts[0] for row in found] == data["text"][:]
    for row, theirs in zip(found, data["image"], strict=True):
        assert isinstance(row.image, ArchivedImage)
        assert (np.asarray(row.image.open()) == np.asarray(theirs.convert("RGB"))).all()


# -- saved to disk ---------------------------------------------------------------------------------


def test_what_is_saved_to_disk_is_read_as_it_is_loaded(tmp_path: Path) -> None:
    data = by_datasets(tmp_path / "parquet")
    data.save_to_disk(tmp_path / "one")
    same_as(datasets.load_from_disk(str(tmp_path / "one")), rows_of(tmp_path / "one"))
    assert list(opened(tmp_path / "one").ids) == ["0", "1", "2", "3", "4"]
    data.save_to_disk(tmp_path / "three", num_shards=3)
    same_as(datasets.load_from_disk(str(tmp_path / "three")), rows_of(tmp_path / "three"))
    assert opened(tmp_path / "three").layout == "arrow"
    assert len(set(opened(tmp_path / "three").digests)) == 5


def test_saved_splits_are_not_merged(tmp_path: Path) -> None:
    data = by_datasets(tmp_path / "parquet")
    datasets.DatasetDict({"train": data, "test": data.select(range(2))}).save_to_disk(tmp_path / "set")
    says(refusal(tmp_path / "set"), "not merged", f"--data {tmp_path / 'set'}")
    assert len(rows_of(Path(f"{tmp_path / 'set'}:test"))) == len(rows_of(tmp_path / "set/test")) == 2


def test_arrow_files_that_are_damaged_or_compressed_are_named(tmp_path: Path) -> None:
    table = pa.table({"image": structs(9), "text": ["x"] * 9})
    for name, options in (("plain", None), ("packed", pa.ipc.IpcWriteOptions(compression="lz4"))):
        with pa.ipc.new_file(tmp_path / f"{name}.arrow", table.schema, options=options) as sink:
            sink.write_table(table)
    assert [bytes_of(row) for row in good(rows_of(tmp_path / "plain.arrow"))] == [encoded(i) for i in range(9)]
    says(refusal(tmp_path / "packed.arrow"), "packed.arrow: it is compressed", "anew without compression")
    with pa.ipc.new_stream(tmp_path / "cut.arrow", table.schema) as sink:
        sink.write_table(table, max_chunksize=3)
    path = tmp_path / "cut.arrow"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found = rows_of(path)
    assert 3 <= len(good(found)) < 9
    assert [row.where for row in bad(found)] == [str(path)]
    says(bad(found)[0].reason, "cannot be read as Arrow", "fetch it again", "rows before that are read")


def test_nulls_in_arrow_files_are_named(tmp_path: Path) -> None:
    image = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    given = {"image": [structs(1)[0], None, structs(2)[1]], "text": ["an ant", "a bee", None]}
    datasets.Dataset.from_dict(given, features=image).save_to_disk(tmp_path / "set")
    found = rows_of(tmp_path / "set")
    assert [row.texts for row in good(found)] == [("an ant",)]
    assert ["row 2" in bad(found)[0].where, "row 3" in bad(found)[1].where] == [True, True]


# -- by name ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("hf:owner/name", Spec("owner/name")),
        ("hf:name", Spec("name")),
        ("hf:owner/name:train", Spec("owner/name", split="train")),
        ("hf:owner/name/large@v1.0:test", Spec("owner/name", "large", "v1.0", "test")),
        ("hf:owner/name?config=c&revision=r&image=jpg&prompt=a b", Spec("owner/name", "c", "r", None, "jpg", "a b")),
        ("hf:./folder/a/b:train", Spec("./folder/a/b", split="train")),
        ("hf:/a/b/c", Spec("/a/b/c")),
    ],
)
def test_names_are_taken_apart(text: str, spec: Spec) -> None:
    assert Spec.of(text) == spec


@pytest.mark.parametrize(
    "text", ["hf:", "hf::train", "hf:a/b:", "hf:a/b?colour=red", "hf:a/b?image=", "hf:a/b:train[:9]"]
)
def test_names_of_another_form_are_refused_with_it(text: str) -> None:
    with pytest.raises(InputError, match=r"write hf:NAME|name a whole one"):
        rows_of(text)


def test_a_folder_is_read_as_the_library_loads_it(tmp_path: Path) -> None:
    by_datasets(tmp_path / "repository/data", shards=3)
    spec = f"hf:{tmp_path}/repository"
    data = datasets.load_dataset(str(tmp_path / "repository"), split="train")
    same_as(data, rows_of(spec))
    assert opened(Path(spec)).layout == "hub"
    assert [row.seed for row in good(rows_of(spec))] == list(range(5))


def test_columns_can_be_named(tmp_path: Path) -> None:
    features = datasets.Features(
        {"left": datasets.Image(), "right": datasets.Image(), "words": datasets.Value("string")}
    )
    given = {"left": structs(2), "right": structs(2)[::-1], "words": list(PROMPTS[:2])}
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict(given, features=features).to_parquet(tmp_path / "set/a.parquet")
    spec = f"hf:{tmp_path}/set"
    found = good(rows_of(f"{spec}:train?image=right&prompt=words"))
    assert [(bytes_of(row), row.texts[0]) for row in found] == [(encoded(1), "an ant"), (encoded(0), "a bee, red")]
    for options, parts in (
        ("", ["2 columns of images (left, right)", "?image=left"]),
        ("?image=middle", ["no column 'middle'", "left, right, words"]),
        ("?image=words", ["'words' holds no images", "left, right"]),
        ("?image=left&prompt=right", ["'right' holds no texts", "words"]),
    ):
        says(str(bad(rows_of(spec + options))), *parts)


def test_images_in_files_of_a_folder_are_read_there_and_nowhere_else(tmp_path: Path) -> None:
    images(tmp_path / "set", "a.png", "b.png")
    images(tmp_path, "secret.png")
    lines = [json.dumps({"file_name": n, "text": t}) for n, t in (("a.png", "an ant"), ("b.png", "a bee"))]
    (tmp_path / "set/metadata.jsonl").write_text("\n".join(lines))
    found = good(rows_of(f"hf:{tmp_path}/set"))
    assert [(row.image, row.texts) for row in found] == [
        (tmp_path / "set/a.png", ("an ant",)),
        (tmp_path / "set/b.png", ("a bee",)),
    ]
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    given = {"image": [{"bytes": None, "path": str(tmp_path / "secret.png")}], "text": ["x"]}
    (tmp_path / "other").mkdir()
    table = pa.table(given, schema=features.arrow_schema)
    pa.parquet.write_table(table, tmp_path / "other/a.parquet")
    says(str(bad(rows_of(f"hf:{tmp_path}/other"))), "secret.png", "no file that datasets fetched")


def test_one_of_several_splits_must_be_named(tmp_path: Path) -> None:
    by_datasets(tmp_path / "set/data", shards=1)
    shutil.copy(tmp_path / "set/data/train-00000-of-00001.parquet", tmp_path / "set/data/test-00000-of-00001.parquet")
    spec = f"hf:{tmp_path}/set"
    with pytest.raises(InputError) as caught:
        rows_of(spec + "?prompt=text")
    says(
        str(caught.value),
        "not merged",
        "train, test",
        f"--data {spec}:train?prompt=text --test {spec}:test?prompt=text",
    )
    with pytest.raises(InputError, match=r"no split 'val' \(it has: train, test\); name one"):
        rows_of(f"{spec}:val")
    assert len(rows_of(f"{spec}:test")) == 5


def in_the_cache(tmp_path: Path, cache: Path) -> None:
    """Put a data set where the library leaves one of the hub that it has loaded."""
    by_datasets(tmp_path / "set/data", shards=1)
    builder = datasets.load_dataset_builder(str(tmp_path / "set"), cache_dir=str(tmp_path / "made"))
    builder.download_and_prepare()
    kept = cache / "owner___name/default/0.0.0" / ("0" * 40)
    shutil.copytree(builder.cache_dir, kept)
    for path in kept.glob("set-*.arrow"):
        path.rename(path.with_name(path.name.replace("set-", "name-")))
    told = (kept / "dataset_info.json").read_text().replace('"dataset_name": "set"', '"dataset_name": "name"')
    (kept / "dataset_info.json").write_text(told)


def test_without_a_network_what_was_loaded_is_read_from_the_cache(tmp_path: Path, cache: Path) -> None:
    in_the_cache(tmp_path, cache)
    found = good(rows_of("hf:owner/name"))
    assert [row.texts[0] for row in found] == list(PROMPTS)
    assert [bytes_of(row) for row in found] == [encoded(i) for i in range(5)]
    assert [row.id for row in found] == ["0", "1", "2", "3", "4"]


def test_without_a_network_what_was_not_loaded_is_refused_with_the_mend() -> None:
    with pytest.raises(InputError) as caught:
        rows_of("hf:owner/nothing")
    says(str(caught.value), "hf:owner/nothing: ", "without a network", "load it once", "load_dataset('owner/nothing')")


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more"])
def test_what_the_library_cannot_load_is_refused_in_its_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set").mkdir()
    if content:
        (tmp_path / "set/a.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"hf:.*set: .*(data files|[Pp]arquet).*; see whether datasets.load_dataset"):
        rows_of(f"hf:{tmp_path}/set")


def test_the_library_is_imported_only_where_it_is_asked() -> None:
    code = (
        "import sys; from pathlib import Path; from harness.plugin import PluginManager\n"
        "[reader.matches(Path('nowhere')) for reader in PluginManager().readers.values()]\n"
        "print([m for m in ('datasets', 'pyarrow', 'pandas', 'torch', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
