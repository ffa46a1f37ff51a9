"""Every layout as it lies on disk, and everything that can be wrong with one, named by file and row."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.data.dataset import Dataset
from harness.data.opening import open_dataset
from harness.errors import InputError
from harness.plugin import PluginManager
from tests.conftest import make_kaggle, save_image

# -- writing small data sets ---------------------------------------------------------------------


def images(folder: Path, *names: str) -> Path:
    """Write one image a name; the content depends on the name alone."""
    for name in names:
        save_image(folder / name, seed=sum(name.encode()))
    return folder


def kaggle(root: Path, rows: Sequence[str], names: Sequence[str], header: str = "imgId,prompt") -> Path:
    images(root / "images", *names)
    (root / "prompts.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return root


def imagefolder_csv(root: Path, header: str, *rows: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "metadata.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return root


def imagefolder_jsonl(root: Path, *rows: object) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (root / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def flickr8k(root: Path, *rows: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "captions.txt").write_text("\n".join(["image,caption", *rows]) + "\n", encoding="utf-8")
    return root


def flickr30k(root: Path, *rows: str) -> Path:
    images(root / "flickr30k_images", "1.jpg", "2.jpg")
    (root / "results.csv").write_text("\n".join(["image_name| comment_number| comment", *rows]) + "\n", "utf-8")
    return root


COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "b.jpg"}, {"id": 3, "file_name": "a.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 3, "caption": "a dog on grass"},
        {"id": 2, "image_id": 7, "caption": "a red bus\n"},
        {"id": 3, "image_id": 3, "caption": "the dog runs"},
    ],
}


def write_json(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


READERS = PluginManager().readers  # once: to look for plugins takes longer than most tests


def opened(location: Path, **options: Any) -> Dataset:
    return open_dataset(str(location), READERS, **options)


def refusal(location: Path) -> str:
    """The message a user gets for a data set that cannot be read; images count as read when hashed."""
    with pytest.raises(InputError) as caught:
        _ = opened(location).fingerprint
    return str(caught.value)


def says(message: str, *parts: str) -> None:
    """Fail unless the message holds every part."""
    for part in parts:
        assert part in message, f"{part!r} is not in: {message}"


# -- Kaggle --------------------------------------------------------------------------------------


def test_kaggle_rows_come_in_the_order_of_the_table(tmp_path: Path) -> None:
    data = opened(kaggle(tmp_path, ["b,a bee", 'a,"an ant, red"'], ["a.png", "b.jpg"]))
    assert (data.layout, list(data.ids), list(data.texts)) == ("kaggle", ["b", "a"], [("a bee",), ("an ant, red",)])
    assert [Path(image.name).name for image in data.images] == ["b.jpg", "a.png"]
    assert (data.groups, data.sources, data.has_texts) == (None, None, True)


def test_kaggle_takes_group_and_source_columns_and_a_byte_order_mark(tmp_path: Path) -> None:
    header = "\ufeffsource,imgId,group,prompt"
    data = opened(kaggle(tmp_path, ["sd14,a,1,an ant", ",b,2,a bee"], ["a.png", "b.png"], header))
    assert (list(data.groups or ()), list(data.sources or ())) == (["1", "2"], ["sd14", ""])


def test_kaggle_ids_of_images_in_subfolders_hold_the_folder(tmp_path: Path) -> None:
    data = opened(kaggle(tmp_path, ["x/a,an ant", "y/a,a bee"], ["x/a.png", "y/a.png"]))
    assert [Path(image.name).parent.name for image in data.images] == ["x", "y"]


def test_kaggle_prompts_may_hold_line_breaks_and_messages_still_name_the_row(tmp_path: Path) -> None:
    good = opened(kaggle(tmp_path / "good", ['a,"an ant\nin two lines"'], ["a.png"]))
    assert good.texts[0] == ("an ant\nin two lines",)
    bad = kaggle(tmp_path / "bad", ['a,"an ant\nin two lines"', "b,"], ["a.png", "b.png"])
    says(refusal(bad), f"{bad / 'prompts.csv'} row 2 (line 4)", "'b'", "empty")


@pytest.mark.parametrize(
    ("rows", "names", "parts"),
    [
        (["a,ant", "b,bee"], ["a.png"], ["prompts.csv row 2", "images/b.png", "add the file or remove the row"]),
        (["a,ant"], ["a.png", "z.png"], ["images/z.png", "has no row in", "prompts.csv", "add a row"]),
        (["a,ant"], ["a.png", "y.png", "z.png"], ["images/y.png and 1 more", "prompts.csv"]),
        (["a,ant", "b,bee", "a,axe"], ["a.png", "b.png"], ["row 3", "'a'", "prompts.csv row 1", "must be unique"]),
        (["a,ant", "b,"], ["a.png", "b.png"], ["prompts.csv row 2", "'b'", "empty", "write it or remove the row"]),
        (["a,ant", 'b," \t "'], ["a.png", "b.png"], ["prompts.csv row 2", "'b'", "empty"]),
        (["a,ant", ",bee"], ["a.png"], ["prompts.csv row 2", "the id is empty"]),
        (["a,ant", "b"], ["a.png", "b.png"], ["prompts.csv row 2 (line 3)", "fewer fields than the header"]),
        (["a,ant, red"], ["a.png"], ["prompts.csv row 1 (line 2)", "more fields", "quote texts that hold commas"]),
        (["a,ant"], ["a.png", "a.jpg"], ["images/a.png", "a.jpg", "same imgId", "keep one"]),
        ([], [".keep.png"], ["no rows", "add images"]),
    ],
)
def test_a_bad_kaggle_row_is_named_with_its_mend(
    tmp_path: Path, rows: list[str], names: list[str], parts: list[str]
) -> None:
    says(refusal(kaggle(tmp_path, rows, names)), str(tmp_path), *parts)


def test_a_missing_column_is_named_beside_those_that_are_there(tmp_path: Path) -> None:
    location = kaggle(tmp_path, ["a,ant"], ["a.png"], "imgId,text")
    says(refusal(location), str(location / "prompts.csv"), "lacks the column prompt", "imgId, text")


def test_an_empty_table_lacks_all_columns(tmp_path: Path) -> None:
    location = kaggle(tmp_path, [], ["a.png"], "")
    (location / "prompts.csv").write_bytes(b"")
    says(refusal(location), "lacks the column imgId and prompt", "nothing")


def test_kaggle_needs_its_image_folder(tmp_path: Path) -> None:
    location = kaggle(tmp_path, ["a,ant"], ["a.png"])
    shutil.rmtree(location / "images")
    says(refusal(location), str(location / "images"), "no such folder", "<imgId>.png")


def test_groups_on_some_rows_only_are_refused(tmp_path: Path) -> None:
    header, names = "imgId,prompt,group", ["a.png", "b.png"]
    later = kaggle(tmp_path / "later", ["a,ant,1", "b,bee,"], names, header)
    says(refusal(later), "prompts.csv row 2", "'b' has no group", "fill in the column or drop it")
    first = kaggle(tmp_path / "first", ["a,ant,", "b,bee,1"], names, header)
    says(refusal(first), "prompts.csv row 1", "'a' has no group")


@pytest.mark.parametrize("row", ['b,"a bee', 'b,"a "bee"'])
def test_broken_quoting_names_the_file_and_the_mend(tmp_path: Path, row: str) -> None:
    location = kaggle(tmp_path, ["a,an ant", row, "c,a cow"], ["a.png", "b.png", "c.png"])
    says(refusal(location), str(location / "prompts.csv"), "check its quoting")


@pytest.mark.parametrize("row", ['b,"a bee', 'b,"a "bee"'])
def test_broken_quoting_names_the_row_or_line(tmp_path: Path, row: str) -> None:
    location = kaggle(tmp_path, ["a,an ant", row, "c,a cow"], ["a.png", "b.png", "c.png"])
    assert re.search(r"\b(row 2|line [34])\b", refusal(location)), refusal(location)


def test_a_table_that_is_not_utf8_names_the_byte(tmp_path: Path) -> None:
    location = kaggle(tmp_path, ["a,an ant"], ["a.png", "b.png"])
    start = (location / "prompts.csv").read_bytes() + b"b,caf"
    (location / "prompts.csv").write_bytes(start + "é\n".encode("latin-1"))
    says(refusal(location), str(location / "prompts.csv"), "UTF-8", f"byte {len(start)}")


def test_the_byte_named_is_that_of_the_file_however_long(tmp_path: Path) -> None:
    location = kaggle(tmp_path, [f"a,{'an ant ' * 9000}"], ["a.png", "b.png"])
    start = (location / "prompts.csv").read_bytes() + b"b,caf"
    (location / "prompts.csv").write_bytes(start + "é\n".encode("latin-1"))
    says(refusal(location), f"byte {len(start)}")


# -- image folder --------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["prompt", "text", "caption"])
def test_metadata_csv_gives_texts_from_any_of_its_names(tmp_path: Path, column: str) -> None:
    data = opened(imagefolder_csv(images(tmp_path, "b.png", "a.png"), f"file_name,{column}", "b.png,bee", "a.png,ant"))
    assert (data.layout, list(data.ids), list(data.texts)) == ("imagefolder", ["b", "a"], [("bee",), ("ant",)])


def test_metadata_jsonl_gives_ids_groups_sources_and_lists_of_captions(tmp_path: Path) -> None:
    first = {"file_name": "x/a.png", "prompt": ["an ant", "a red ant"], "id": 17, "group": 0, "source": "sd14"}
    second = {"file_name": "b.png", "prompt": "a bee", "id": "b-1", "group": "g", "source": None}
    data = opened(imagefolder_jsonl(images(tmp_path, "x/a.png", "b.png"), first, "", second))
    assert (list(data.ids), list(data.texts)) == (["17", "b-1"], [("an ant", "a red ant"), ("a bee",)])
    assert (list(data.groups or ()), list(data.sources or ())) == (["0", "g"], ["sd14", ""])


def test_metadata_without_a_text_column_is_a_test_set(tmp_path: Path) -> None:
    table = opened(imagefolder_csv(images(tmp_path / "csv", "a.png"), "file_name,id", "a.png,first"))
    lines = opened(imagefolder_jsonl(images(tmp_path / "jsonl", "a.png"), {"file_name": "a.png"}))
    assert (table.has_texts, table.ids, lines.has_texts, lines.ids) == (False, ["first"], False, ["a"])


def test_repeated_stems_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    names = ["x/a.png", "y/a.png", "b.png"]
    table = imagefolder_csv(images(tmp_path / "table", *names), "file_name,prompt", *(f"{n},some text" for n in names))
    assert list(opened(table).ids) == ["x/a", "y/a", "b"]
    assert list(opened(images(tmp_path / "plain", *names)).ids) == ["b", "x/a", "y/a"]


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        (['{"file_name": "a.png", "prompt": "ant"}', "{oops"], ["line 2", "not JSON", "one object a line"]),
        (['["a.png", "ant"]'], ["line 1", "not an object"]),
        (['{"image": "a.png", "prompt": "ant"}'], ["line 1", "lacks the key file_name"]),
        (['{"file_name": "a.png", "prompt": 5}'], ["line 1", "'prompt' must be a text or a list of texts", "5"]),
        (['{"file_name": "a.png", "prompt": []}'], ["line 1", "must be a text or a list of texts"]),
        (['{"file_name": "a.png", "prompt": ["ant", ""]}'], ["line 1", "'a'", "empty"]),
        (['{"file_name": "a.png", "prompt": null}'], ["line 1", "'prompt' must be a text"]),
        (['{"file_name": "a.png", "text": "ant"}', '{"file_name": "z.png", "text": "bee"}'], ["line 2", "z.png"]),
        (['{"file_name": "a.png", "prompt": "\\ud800 ant"}'], ["line 1"]),
        (['{"file_name": "a.png", "prompt": "ant"}', '{"file_name": "a.png", "prompt": "bee"}'], ["line 2", "'a'"]),
    ],
)
def test_a_bad_jsonl_line_is_named(tmp_path: Path, rows: list[str], parts: list[str]) -> None:
    location = imagefolder_jsonl(images(tmp_path, "a.png"), *rows)
    says(refusal(location), str(location / "metadata.jsonl"), *parts)


@pytest.mark.parametrize("bare", [0, 1])
def test_a_jsonl_row_without_the_prompt_that_others_have_is_refused_wherever_it_stands(
    tmp_path: Path, bare: int
) -> None:
    rows = [{"file_name": "a.png", "prompt": "ant"}, {"file_name": "b.png", "prompt": "bee"}]
    del rows[bare]["prompt"]
    says(refusal(imagefolder_jsonl(images(tmp_path, "a.png", "b.png"), *rows)), f"metadata.jsonl line {bare + 1}")


def test_bad_metadata_csv_is_named(tmp_path: Path) -> None:
    unlisted = imagefolder_csv(images(tmp_path / "unlisted", "a.png", "z.png"), "file_name,prompt", "a.png,ant")
    says(refusal(unlisted), str(unlisted / "z.png"), "has no row in", "metadata.csv")
    nameless = imagefolder_csv(images(tmp_path / "nameless", "a.png"), "image,prompt", "a.png,ant")
    says(refusal(nameless), "metadata.csv", "lacks the column file_name")
    absent = imagefolder_csv(tmp_path / "absent", "file_name,prompt", "a.png,ant")
    says(refusal(absent), "metadata.csv row 1", "no image", "a.png")


def test_a_jsonl_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    location = images(tmp_path, "a.png")
    (location / "metadata.jsonl").write_bytes('{"file_name": "a.png", "prompt": "café"}\n'.encode("latin-1"))
    says(refusal(location), str(location / "metadata.jsonl"), "UTF-8")


# -- several captions an image -------------------------------------------------------------------


def flickr_pair(root: Path) -> Path:
    images(root / "Images", "2_x.jpg", "1_y.jpg")
    return flickr8k(root, '2_x.jpg,"a dog , running ."', "1_y.jpg,a bus", "2_x.jpg,the dog", "2_x.jpg,grass")


def test_flickr8k_is_one_row_an_image_in_the_order_they_first_appear(tmp_path: Path) -> None:
    data = opened(flickr_pair(tmp_path))
    assert (data.layout, list(data.ids)) == ("flickr", ["2_x", "1_y"])
    assert list(data.texts) == [("a dog , running .", "the dog", "grass"), ("a bus",)]


def test_flickr30k_captions_may_hold_commas_and_quotes(tmp_path: Path) -> None:
    rows = ['1.jpg| 0| Two "young" guys , outside .', "2.jpg| 0| A bus", "1.jpg| 1| Guys", "2.jpg| 4   A red bus"]
    data = opened(flickr30k(tmp_path, *rows))
    assert list(data.ids) == ["1", "2"]
    assert [t.strip() for t in data.texts[0]] == ['Two "young" guys , outside .', "Guys"]
    assert [t.strip() for t in data.texts[1]] == ["A bus", "A red bus"]


def test_captions_are_averaged_cut_or_spread_as_asked(tmp_path: Path) -> None:
    location = flickr_pair(tmp_path)
    mean, first, spread = (opened(location, captions=mode) for mode in ("mean", "first", "all"))
    assert [len(texts) for texts in mean.texts] == [3, 1]
    assert list(first.texts) == [("a dog , running .",), ("a bus",)]
    assert (list(first.ids), first.parents) == (["2_x", "1_y"], None)
    assert list(spread.ids) == ["2_x#0", "2_x#1", "2_x#2", "1_y"]
    assert list(spread.texts) == [("a dog , running .",), ("the dog",), ("grass",), ("a bus",)]
    assert list(spread.parents or ()) == [0, 0, 0, 1]
    assert [Path(image.name).stem for image in spread.images] == ["2_x", "2_x", "2_x", "1_y"]
    assert len({d.fingerprint for d in (mean, first, spread)}) == 3


def test_a_test_set_has_no_captions_to_spread(tmp_path: Path) -> None:
    assert list(opened(images(tmp_path, "a.png"), captions="all").ids) == ["a"]


def test_bad_flickr_tables_are_named(tmp_path: Path) -> None:
    bare = flickr8k(tmp_path / "bare", "1.jpg,a bus")
    says(refusal(bare), str(bare), "captions.txt", "Images", "flickr30k_images")
    absent = flickr8k(images(tmp_path / "absent/Images", "1.jpg").parent, "1.jpg,a bus", "2.jpg,a dog")
    says(refusal(absent), "captions.txt row 2", "no image", "2.jpg")
    unlisted = flickr8k(images(tmp_path / "unlisted/Images", "1.jpg", "2.jpg").parent, "1.jpg,a bus")
    says(refusal(unlisted), "2.jpg", "has no row in", "captions.txt")
    empty = flickr8k(images(tmp_path / "empty/Images", "1.jpg").parent, "1.jpg,a bus", "1.jpg,  ")
    says(refusal(empty), "captions.txt row 2", "'1.jpg'", "empty")


def test_bad_flickr30k_tables_are_named(tmp_path: Path) -> None:
    fields = flickr30k(tmp_path / "fields", "1.jpg| 0| a bus", "2.jpg| 0| a dog | or two")
    says(refusal(fields), f"{fields / 'results.csv'} line 3", "image_name| comment_number| comment", "4 fields")
    latin = flickr30k(tmp_path / "latin", "1.jpg| 0| a bus")
    (latin / "results.csv").write_bytes("image_name| comment_number| comment\n1.jpg| 0| café\n".encode("latin-1"))
    says(refusal(latin), str(latin / "results.csv"), "UTF-8")


# -- COCO ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "photographs"),
    [
        ("captions_val2017.json", "val2017"),
        ("annotations/captions_val2017.json", "val2017"),
        ("annotations/captions_val2017.json", "images/val2017"),
        ("annotations/captions_val2017.json", "images"),
        ("captions_val2017.json", "."),
    ],
)
def test_coco_is_found_wherever_its_parts_usually_lie(tmp_path: Path, document: str, photographs: str) -> None:
    path = write_json(tmp_path / document, COCO)
    images(tmp_path / photographs, "a.jpg", "b.jpg")
    for data in (opened(tmp_path), opened(path)):
        assert (data.layout, list(data.ids)) == ("coco", ["b", "a"])
        assert list(data.texts) == [("a red bus",), ("a dog on grass", "the dog runs")]


def test_photographs_of_one_name_in_two_folders_have_ids_of_their_own(tmp_path: Path) -> None:
    names = ["a/1.jpg", "b/1.jpg"]
    content = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [{"image_id": i, "caption": name} for i, name in enumerate(names)],
    }
    write_json(tmp_path / "captions_x.json", content)
    images(tmp_path, *names)
    data = opened(tmp_path)
    assert (list(data.ids), list(data.texts)) == (["a/1", "b/1"], [("a/1.jpg",), ("b/1.jpg",)])


def test_of_several_coco_files_one_must_be_named(tmp_path: Path) -> None:
    images(tmp_path / "val2017", "a.jpg", "b.jpg")
    chosen = write_json(tmp_path / "annotations/captions_val2017.json", COCO)
    other = write_json(tmp_path / "annotations/captions_train2017.json", COCO)
    says(refusal(tmp_path), str(tmp_path), "2 caption files", "--data", str(other))
    assert len(opened(chosen)) == 2


def coco_with(images: object = COCO["images"], annotations: object = COCO["annotations"]) -> dict[str, object]:
    return {"images": images, "annotations": annotations}


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ([], ["needs the keys images and annotations"]),
        ({"images": []}, ["needs the keys images and annotations"]),
        (coco_with(annotations=[{"caption": "a dog"}]), ["annotations[0]", "image_id and caption"]),
        (coco_with(annotations=["a dog"]), ["annotations[0]", "image_id and caption"]),
        (coco_with(annotations=7), ["annotations"]),
        (coco_with(annotations=[{"image_id": [3], "caption": "a dog"}]), ["annotations[0]"]),
        (coco_with(images=None), ["images"]),
        (coco_with(images=[*COCO["images"], {"id": 9}]), ["images[2]", "id and file_name"]),
        (coco_with(images=[*COCO["images"], {"id": 9, "file_name": "c.jpg"}]), ["images[2]", "'c.jpg'", "no caption"]),
        (coco_with(images=[{"id": 3, "file_name": 12}]), ["images[0]", "file_name"]),
        (coco_with(images=COCO["images"][:1]), ["image_id 3", "not in images"]),
        (coco_with(annotations=[*COCO["annotations"], {"image_id": 7, "caption": " "}]), ["images[0]", "empty"]),
        (coco_with(annotations=[*COCO["annotations"], {"image_id": 7, "caption": None}]), ["annotations[3]"]),
        (coco_with(images=[*COCO["images"], COCO["images"][0]]), ["images[2]"]),
    ],
)
def test_bad_coco_documents_are_named(tmp_path: Path, content: object, parts: list[str]) -> None:
    images(tmp_path / "val2017", "a.jpg", "b.jpg", "c.jpg")
    document = write_json(tmp_path / "captions_val2017.json", content)
    says(refusal(tmp_path), str(document), *parts)


def test_coco_that_is_not_json_or_lacks_a_photograph_is_named(tmp_path: Path) -> None:
    document = write_json(tmp_path / "captions_val2017.json", COCO)
    images(tmp_path / "val2017", "b.jpg")
    says(refusal(tmp_path), f"{document}: images[1]", "no image", "a.jpg", "add the file")
    document.write_text('{"images": [],\n oops', encoding="utf-8")
    says(refusal(tmp_path), f"{document} line 2", "not JSON")
    document.write_bytes(b'{"images": "\xe9"}')
    says(refusal(tmp_path), str(document), "UTF-8")


# -- a plain folder, and what is no data set -----------------------------------------------------


def test_a_plain_folder_is_a_test_set_in_the_order_of_its_paths(tmp_path: Path) -> None:
    images(tmp_path, "b.png", "a.JPG", "sub/c.jpeg", ".hidden.png", ".thumbs/d.png")
    (tmp_path / "notes.txt").write_text("not an image")
    data = opened(tmp_path)
    assert (data.layout, list(data.ids), data.has_texts) == ("images", ["a", "b", "c"], False)


def test_a_missing_folder_is_answered_with_its_parent_and_a_name_with_what_there_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refusal(tmp_path / "nowhere")
    says(message, str(tmp_path / "nowhere"), "no such folder", f"the folder {tmp_path} has no 'nowhere' in it")
    monkeypatch.chdir(tmp_path)
    message = refusal(Path("nowhere"))
    says(message, "nowhere: there is no such folder")
    says(message, "prompts.csv", "metadata.csv", "captions.txt", "captions_*.json", "a folder with images", "scenes")


def test_a_folder_of_hidden_images_only_has_no_rows(tmp_path: Path) -> None:
    images(tmp_path, ".hidden.png", ".thumbs/d.png")
    says(refusal(tmp_path), str(tmp_path), "add images")


@pytest.mark.parametrize("names", [[], ["notes.txt", "sub/weights.bin"]])
def test_a_folder_with_nothing_to_read_is_answered_with_what_was_looked_for(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no data set")
    says(refusal(tmp_path), str(tmp_path), "looked for", "prompts.csv", "metadata.csv", "captions.txt")


def test_a_file_that_is_no_data_set_is_named(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", 1)
    says(refusal(tmp_path / "a.png"), str(tmp_path / "a.png"), "looked for")


# -- fingerprint ---------------------------------------------------------------------------------


def fingerprint(root: Path, change: Callable[[Path], object] = lambda root: None) -> str:
    """Fingerprint of the usual small data set, after a change."""
    kaggle(root, ["a,an ant,1,sd14", "b,a bee,2,sd15"], ["a.png", "b.png"], "imgId,prompt,group,source")
    change(root)
    return opened(root).fingerprint


def rewritten(old: str, new: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        table = root / "prompts.csv"
        text = table.read_text(encoding="utf-8")
        assert old in text
        table.write_text(text.replace(old, new), encoding="utf-8")

    return change


def test_the_fingerprint_ignores_row_order_and_place(tmp_path: Path) -> None:
    swapped = rewritten("a,an ant,1,sd14\nb,a bee,2,sd15", "b,a bee,2,sd15\na,an ant,1,sd14")
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "two/deeper", swapped)


@pytest.mark.parametrize(("old", "new"), [("an ant", "An ant"), (",2,", ",1,"), ("sd15", "sd21"), ("a bee", "a bee ")])
def test_the_fingerprint_changes_with_any_text(tmp_path: Path, old: str, new: str) -> None:
    assert fingerprint(tmp_path / "one") != fingerprint(tmp_path / "two", rewritten(old, new))


def test_the_fingerprint_changes_with_an_id(tmp_path: Path) -> None:
    def rename(root: Path) -> None:
        rewritten("\nb,", "\nc,")(root)
        (root / "images/b.png").rename(root / "images/c.png")

    assert fingerprint(tmp_path / "one") != fingerprint(tmp_path / "two", rename)


def test_the_fingerprint_changes_with_one_byte_of_an_image(tmp_path: Path) -> None:
    def add_a_byte(root: Path) -> None:
        with (root / "images/a.png").open("ab") as stream:
            stream.write(b"\0")

    assert fingerprint(tmp_path / "one") != fingerprint(tmp_path / "two", add_a_byte)


def test_an_image_that_is_replaced_after_it_was_read_is_read_again(tmp_path: Path) -> None:
    location = make_kaggle(tmp_path, ["an ant", "a bee"])
    before = opened(location).fingerprint
    save_image(location / "images/img001.png", seed=99, size=(41, 32))
    assert opened(location).fingerprint != before


def test_captions_moved_from_one_image_to_the_next_change_the_fingerprint(tmp_path: Path) -> None:
    rows = [{"file_name": "a.png", "prompt": ["x", "y"]}, {"file_name": "b.png", "prompt": ["z"]}]
    moved = [{"file_name": "a.png", "prompt": ["x"]}, {"file_name": "b.png", "prompt": ["y", "z"]}]
    one, two = (imagefolder_jsonl(images(tmp_path / str(i), "a.png", "b.png"), *r) for i, r in enumerate((rows, moved)))
    assert opened(one).fingerprint != opened(two).fingerprint
