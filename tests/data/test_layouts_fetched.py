"""What img2dataset writes and what it takes, JourneyDB, and Lexica's forms."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from harness.data.layouts import journeydb
from harness.data.layouts.img2dataset import Img2datasetReader
from harness.data.layouts.journeydb import JourneyDbReader
from harness.plugin import ShardedReader
from tests.data.test_layouts import images, opened, refusal, says
from tests.data.test_layouts_parquet import bad, bytes_of, encoded, good, structs

FORMS = ("files", "webdataset", "parquet")


def fetched(root: Path, form: str, count: int = 8, a_shard: int = 4, captions: bool = True) -> Path:
    """Write what img2dataset does for some addresses of which every third fails, by the calls of its own writers."""
    import webdataset

    root.mkdir(parents=True, exist_ok=True)
    for shard in range(math.ceil(count / a_shard)):
        name, rows = f"{shard:05d}", range(shard * a_shard, min(count, (shard + 1) * a_shard))
        table: list[dict[str, Any]] = []
        members: list[dict[str, Any]] = []
        for index, i in enumerate(rows):
            failed = i % 3 == 2
            key = f"{shard:05d}{index:04d}"
            meta = {
                "url": f"https://example.org/{i}.jpg",
                "caption": f"caption {i}",
                "seed": i,
                "key": key,
                "status": "failed_to_download" if failed else "success",
                "error_message": "HTTP Error 404: Not Found" if failed else None,
                "width": None if failed else 7,
                "height": None if failed else 7,
            }
            table.append(meta)
            if not failed:
                text = {"txt": f"caption {i}"} if captions else {}
                members.append({"__key__": key, "jpg": encoded(i, "JPEG"), **text, "json": json.dumps(meta, indent=4)})
        if form == "webdataset":
            with webdataset.TarWriter(str(root / f"{name}.tar")) as sink:
                for member in members:
                    sink.write(member)
        elif form == "files":
            for member in members:
                for suffix in {"jpg", "txt", "json"} & set(member):
                    path = root / name / f"{member['__key__']}.{suffix}"
                    path.parent.mkdir(exist_ok=True)
                    content = member[suffix]
                    path.write_bytes(content if isinstance(content, bytes) else content.encode())
        by_key = {member["__key__"]: member for member in members}
        if form == "parquet":
            for meta in table:
                meta["txt"] = by_key[meta["key"]]["txt"] if meta["key"] in by_key else None
                meta["jpg"] = by_key[meta["key"]]["jpg"] if meta["key"] in by_key else None
        parquet.write_table(pa.Table.from_pylist(table), root / f"{name}.parquet")
        stats = {
            "count": len(table),
            "successes": len(members),
            "failed_to_download": len(table) - len(members),
            "failed_to_resize": 0,
            "duration": 1.0,
            "status_dict": {"HTTP Error 404: Not Found": len(table) - len(members), "success": len(members)},
        }
        (root / f"{name}_stats.json").write_text(json.dumps(stats, indent=4))
    return root


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stats", [True, False])
def test_all_forms_give_the_same_rows_and_count_what_was_not_fetched(tmp_path: Path, form: str, stats: bool) -> None:
    fetched(tmp_path, form)
    if not stats:
        for path in tmp_path.glob("*_stats.json"):
            path.unlink()
    data = opened(tmp_path)
    assert (data.layout, list(data.texts)) == ("img2dataset", [(f"caption {i}",) for i in (0, 1, 3, 4, 6, 7)])
    assert list(data.ids) == ["000000000", "000000001", "000000003", "000010000", "000010002", "000010003"]
    assert [Path(image.name).name for image in data.images] if form == "files" else True
    found = good(Img2datasetReader().read(tmp_path))
    assert [row.seed for row in found] == [0, 1, 3, 4, 6, 7]
    read = [row.image.read_bytes() if isinstance(row.image, Path) else bytes_of(row) for row in found]
    assert read == [encoded(i, "JPEG") for i in (0, 1, 3, 4, 6, 7)]
    notes = " ".join(data.notes)
    says(notes, "2 of 8 addresses were not fetched (2 failed_to_download; most often: HTTP Error 404: Not Found)")
    assert ("00000 and 1 more: img2dataset did not finish it" in notes) == (not stats)


@pytest.mark.parametrize("form", FORMS)
def test_each_shard_is_read_alone(tmp_path: Path, form: str) -> None:
    reader = Img2datasetReader()
    assert isinstance(reader, ShardedReader)
    shards = list(reader.shards(fetched(tmp_path, form)))
    assert [shard.name[:5] for shard in shards] == ["00000", "00001"]
    apart = [row for shard in shards for row in reader.read_shard(tmp_path, shard)]
    assert apart == list(reader.read(tmp_path))


def test_a_text_in_a_folder_that_is_written_anew_makes_another_shard(tmp_path: Path) -> None:
    reader = Img2datasetReader()
    before = reader.shards(fetched(tmp_path, "files"))
    assert reader.shards(tmp_path) == before
    (tmp_path / "00000/000000001.txt").write_text("caption 9")
    after = reader.shards(tmp_path)
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)


def test_what_is_wrong_with_files_is_said_in_their_place(tmp_path: Path) -> None:
    fetched(tmp_path, "files")
    (tmp_path / "00000/000000001.txt").unlink()
    (tmp_path / "00000/000000003.json").write_text("{oops")
    found = list(Img2datasetReader().read(tmp_path))
    assert [row.texts[0] for row in good(found)] == [f"caption {i}" for i in (0, 4, 6, 7)]
    says(str(bad(found)), "000000001.jpg", "no 000000001.txt", "000000003.json", "not JSON")
    says(refusal(tmp_path), "000000001.jpg: there is no 000000001.txt")


def test_shards_without_notes_of_img2dataset_are_read_as_before(tmp_path: Path) -> None:
    fetched(tmp_path, "webdataset")
    for path in [*tmp_path.glob("*.json"), *tmp_path.glob("*.parquet")]:
        path.unlink()
    assert (opened(tmp_path).layout, opened(tmp_path).ids[0]) == ("webdataset", "00000/000000000")


# -- lists of addresses ----------------------------------------------------------------------------

ROWS = [{"url": f"https://example.org/{i}.jpg", "caption": f"an, ant {i}", "id": str(i)} for i in range(3)]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl", "json"])
@pytest.mark.parametrize("named", [True, False])
def test_a_list_of_addresses_names_img2dataset(tmp_path: Path, suffix: str, named: bool) -> None:
    frame, path = pd.DataFrame(ROWS).rename(columns={"url": "URL"}), tmp_path / f"list.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    elif suffix.startswith("json"):
        frame.to_json(path, orient="records", lines=suffix == "jsonl")
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    says(
        refusal(path if named else tmp_path),
        f"{path}: its column URL holds addresses, and the images are not here",
        f"img2dataset --url_list {path} --input_format {suffix} --url_col URL --caption_col caption",
        f"--data {tmp_path / 'list-images'}",
    )


def test_an_answer_of_lexica_is_a_list_of_addresses(tmp_path: Path) -> None:
    image = {
        "id": "0a1b",
        "gallery": "https://lexica.art?q=0a1b",
        "src": "https://image.lexica.art/md/0a1b",
        "prompt": "an ant",
    }
    (tmp_path / "search.json").write_text(
        json.dumps({"images": [{**image, "width": 512, "seed": "42", "grid": False}]})
    )
    says(refusal(tmp_path), "search.json", "column src holds addresses", "--caption_col prompt", "img2dataset")


def test_tables_whose_images_are_there_are_read_though_they_have_addresses(tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png", "2.png")
    frame = pd.DataFrame(ROWS).assign(file_name=[f"{i}.png" for i in range(3)])
    frame.to_csv(tmp_path / "list.csv", index=False)
    assert (opened(tmp_path).layout, len(opened(tmp_path))) == ("table", 3)


def test_the_published_lexica_dataset_is_read_with_its_seeds(tmp_path: Path) -> None:
    """Columns of vera365/lexica_dataset (Shen et al. 2023), as programs that load it name them."""
    columns = {
        "image": structs(3),
        "prompt": ["an ant", "an ant", "a bee"],
        "id": ["00a", "00b", "00c"],
        "promptid": ["p", "p", "q"],
        "width": [512] * 3,
        "height": [512] * 3,
        "seed": ["4142513475", "2", "3"],
        "grid": [False] * 3,
        "model": ["stable-diffusion"] * 3,
        "subject": ["ant", "ant", "bee"],
        "modifier10": [["red"], ["blue"], []],
    }
    for split in ("train", "test"):
        parquet.write_table(pa.table(columns), tmp_path / f"{split}-00000-of-00001.parquet")
    data = opened(Path(f"{tmp_path}:train"))
    assert (list(data.ids), list(data.texts)) == (["00a", "00b", "00c"], [("an ant",), ("an ant",), ("a bee",)])


# -- JourneyDB -------------------------------------------------------------------------------------


def journey(root: Path, count: int = 6, name: str = "train_anno_realease_repath.jsonl") -> Path:
    lines = []
    for i in range(count):
        path = f"{i % 3:03d}/{i:08x}-0e1f.jpg"
        if i % 3 < 2:
            images(root / "imgs", path)
        task = {"Task2": {"Caption": f"a caption {i}"}, "Task3": {}}
        lines.append(json.dumps({"img_path": f"./{path}", "prompt": f"prompt {i} — é", **task}, ensure_ascii=False))
    (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / "imgs/002.tgz").write_bytes(b"\x1f\x8b")
    return root


@pytest.mark.parametrize("name", ["train_anno_realease_repath.jsonl", "valid_anno_repath.jsonl"])
@pytest.mark.parametrize("part", [1 << 26, 1, 100, 139])
def test_journeydb_is_read_as_far_as_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part: int
) -> None:
    monkeypatch.setattr(journeydb, "_PART", part)
    location = journey(tmp_path, name=name)
    data = opened(location)
    assert (data.layout, list(data.texts)) == ("journeydb", [(f"prompt {i} — é",) for i in (0, 1, 3, 4)])
    assert data.ids[2] == "000/00000003-0e1f"
    says(" ".join(data.notes), "1 archives that are not unpacked (002.tgz)")
    assert list(opened(location / name).ids) == list(data.ids)
    assert (len(JourneyDbReader().shards(location)) > 1) == (part < 1000)


def test_lines_of_journeydb_that_are_broken_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    table = journey(tmp_path) / "train_anno_realease_repath.jsonl"
    lines = table.read_bytes().split(b"\n")
    lines[1:2] = [b"{oops", b'{"img_path": "./000/x.jpg"}', b'{"img_path": "../../x.jpg", "prompt": "x"}', b"\xe9"]
    table.write_bytes(b"\n".join(lines))
    found = list(JourneyDbReader().read(tmp_path))
    assert [row.texts[0][:8] for row in good(found)] == ["prompt 0", "prompt 3", "prompt 4"]
    reasons = [row.reason for row in bad(found)]
    assert len(reasons) == 4
    for reason, part in zip(reasons, ["not JSON", "lacks the key prompt", "outside of imgs/", "not JSON"], strict=True):
        says(reason, part)
    assert bad(found)[0].where == f"{table} byte {len(lines[0]) + 1}"


def test_journeydb_without_any_folder_says_how_to_unpack(tmp_path: Path) -> None:
    import shutil

    journey(tmp_path)
    for folder in ("000", "001"):
        shutil.rmtree(tmp_path / "imgs" / folder)
    says(refusal(tmp_path), "no folder of images", f"tar -xzf {tmp_path / 'imgs/002.tgz'} -C {tmp_path / 'imgs'}")


def test_an_image_of_journeydb_that_is_missing_is_named(tmp_path: Path) -> None:
    journey(tmp_path)
    (tmp_path / "imgs/000/00000003-0e1f.jpg").unlink()
    says(refusal(tmp_path), "there is no image", "00000003-0e1f.jpg")
