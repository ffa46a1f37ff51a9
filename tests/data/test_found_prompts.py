"""Prompts that are there are found or named: all layouts, tables of any form, paths of any spelling."""

from __future__ import annotations

import io
import json
import os
import tarfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from harness.data.dataset import Dataset
from harness.data.images import ImageFile
from tests.conftest import save_image
from tests.data.test_layouts import images, opened, refusal, says, write_json

PROMPTS = {"a.png": "an ant", "b.png": "a bee, red"}


def texts(data: Dataset) -> dict[str, tuple[str, ...]]:
    return {Path(image.name).name: text for image, text in zip(data.images, data.texts, strict=True)}


def found(location: Path, layout: str, expected: dict[str, str] = PROMPTS) -> Dataset:
    """Fail unless the data set is read by that reader, with these prompts, and its images are whole."""
    data = opened(location)
    assert (data.layout, texts(data)) == (layout, {name: (text,) for name, text in expected.items()})
    assert data.fingerprint
    return data


def two(folder: Path) -> Path:
    return images(folder, *PROMPTS)


def table(folder: Path, name: str, content: str | bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


# -- metadata tables -------------------------------------------------------------------------------

ROWS = [("a.png", "an ant"), ("b.png", "a bee, red")]
FORMS: dict[str, tuple[str, bytes]] = {
    "commas": ("metadata.csv", b'file_name,prompt\na.png,an ant\nb.png,"a bee, red"\n'),
    "semicolons": ("metadata.csv", b"file_name;prompt\na.png;an ant\nb.png;a bee, red\n"),
    "a note for spreadsheets": ("metadata.csv", b"sep=;\r\nfile_name;prompt\r\na.png;an ant\r\nb.png;a bee, red\r\n"),
    "tabs in a .csv": ("metadata.csv", b"file_name\tprompt\na.png\tan ant\nb.png\ta bee, red\n"),
    "tabs": ("metadata.tsv", b"file_name\tprompt\na.png\tan ant\nb.png\ta bee, red\n"),
    "case and spaces": ("metadata.csv", b' File Name , PROMPT \na.png,an ant\nb.png,"a bee, red"\n'),
    "spaces after commas": ("metadata.csv", b'file_name, Caption\na.png, an ant\nb.png, "a bee, red"\n'),
    "text": ("metadata.csv", b'file_name,Text\na.png,an ant\nb.png,"a bee, red"\n'),
    "an index": ("metadata.csv", b',file_name,prompt\n0,a.png,an ant\n1,b.png,"a bee, red"\n'),
    "empty columns and rows": ("metadata.csv", b'file_name,prompt,,\na.png,an ant,,\nb.png,"a bee, red",,\n,,,\n'),
    "carriage returns": ("metadata.csv", b'file_name,prompt\ra.png,an ant\rb.png,"a bee, red"\r'),
    "UTF-16": ("metadata.csv", 'file_name,prompt\na.png,an ant\nb.png,"a bee, red"\n'.encode("utf-16")),
    "UTF-8 with a mark": ("metadata.csv", b'\xef\xbb\xbffile_name,prompt\na.png,an ant\nb.png,"a bee, red"\n'),
    "JSON lines": (
        "metadata.jsonl",
        b'{"file_name": "a.png", "Text": "an ant"}\n{"file_name": "b.png", "Text": "a bee, red"}\n',
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_metadata_is_read_in_every_form(tmp_path: Path, form: str) -> None:
    name, content = FORMS[form]
    found(table(two(tmp_path), name, content), "imagefolder")


def test_metadata_parquet_is_read(tmp_path: Path) -> None:
    names, prompts = zip(*ROWS, strict=True)
    parquet.write_table(pa.table({"file_name": names, "Prompt": prompts}), two(tmp_path) / "metadata.parquet")
    found(tmp_path, "imagefolder")


def test_columns_that_are_not_known_are_named_and_not_taken_for_a_test_set_in_silence(tmp_path: Path) -> None:
    data = opened(table(two(tmp_path), "metadata.csv", "file_name,beschreibung\na.png,Ameise\nb.png,Biene\n"))
    assert not data.has_texts
    says(" ".join(data.notes), "metadata.csv", "beschreibung", "prompt")


# -- other tables ----------------------------------------------------------------------------------


def parquet_table(folder: Path) -> None:
    parquet.write_table(pa.table({"image": list(PROMPTS), "caption": list(PROMPTS.values())}), folder / "train.parquet")


TABLES: dict[str, Callable[[Path], object]] = {
    "captions.csv": lambda f: table(f, "captions.csv", "Image Path|Caption\na.png|an ant\nb.png|a bee, red\n"),
    "labels.tsv": lambda f: table(f, "labels.tsv", "image\tsentence\na.png\tan ant\nb.png\ta bee, red\n"),
    "prompts.csv": lambda f: table(f, "prompts.csv", 'filename,prompt\na.png,an ant\nb.png,"a bee, red"\n'),
    "by the bare name": lambda f: table(f, "x.csv", 'id,prompt\na,an ant\nb,"a bee, red"\n'),
    "a map": lambda f: write_json(f / "captions.json", PROMPTS),
    "a list": lambda f: write_json(f / "data.json", [{"file": n, "Prompt": t} for n, t in PROMPTS.items()]),
    "JSON lines": lambda f: table(
        f, "x.jsonl", "\n".join(json.dumps({"img": n, "text": t}) for n, t in PROMPTS.items())
    ),
    "parquet": parquet_table,
}


@pytest.mark.parametrize("kind", TABLES)
def test_any_table_of_images_and_prompts_is_read(tmp_path: Path, kind: str) -> None:
    two(tmp_path / "pictures")
    TABLES[kind](tmp_path)
    found(tmp_path, "table")


def test_of_several_tables_one_must_be_named_and_can_be(tmp_path: Path) -> None:
    two(tmp_path)
    for name in ("one.csv", "two.csv"):
        table(tmp_path, name, 'image,prompt\na.png,an ant\nb.png,"a bee, red"\n')
    says(refusal(tmp_path), "2 tables", "one.csv, two.csv", f"--data {tmp_path / 'one.csv'}")
    found(tmp_path / "two.csv", "table")


def test_a_table_that_is_not_read_is_named_with_what_it_needs(tmp_path: Path) -> None:
    two(tmp_path)
    table(tmp_path, "labels.csv", "image,klasse\na.png,1\nb.png,2\n")
    table(tmp_path, "broken.csv", b"image,prompt\na.png,caf\xe9\n")
    notes = " ".join(opened(tmp_path).notes)
    says(notes, "labels.csv", "needs a column file_name and one prompt", "klasse", "broken.csv", "not UTF-8")


# -- captions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Flickr8k.token.txt", "results_20130124.token", "Flickr8k_text/Flickr8k.token.txt"])
def test_the_original_tables_of_flickr_are_read(tmp_path: Path, name: str) -> None:
    two(tmp_path / "Flicker8k_Dataset")
    path = tmp_path / name
    table(path.parent, path.name, 'a.png#0\tan ant\na.png#1\ta small ant .\nb.png#0\ta bee, "red"\n')
    data = opened(tmp_path)
    assert (data.layout, list(data.texts)) == ("flickr", [("an ant", "a small ant ."), ('a bee, "red"',)])


def test_a_line_of_tokens_that_is_wrong_is_named(tmp_path: Path) -> None:
    two(tmp_path / "Images")
    table(tmp_path, "Flickr8k.token.txt", "a.png#0\tan ant\nb.png a bee\n")
    says(refusal(tmp_path), "Flickr8k.token.txt line 2", "name.jpg#number")


def test_the_photograph_that_flickr8k_never_published_is_told_of(tmp_path: Path) -> None:
    two(tmp_path / "Images")
    missing = "2258277193_586949ec62.jpg.1"
    table(tmp_path, "Flickr8k.token.txt", f"a.png#0\tan ant\n{missing}#0\ta man\nb.png#0\ta bee\n")
    data = opened(tmp_path)
    assert list(data.ids) == ["a", "b"]
    says(" ".join(data.notes), missing, "not in the published archive")


@pytest.mark.parametrize("header", ["image_name,comment_number,comment", "file,nr,Caption", "image,x,sentence"])
def test_captions_with_other_headers_are_read(tmp_path: Path, header: str) -> None:
    two(tmp_path / "images")
    table(tmp_path, "captions.txt", f'{header}\na.png,0,an ant\nb.png,0,"a bee, red"\n')
    found(tmp_path, "flickr")


def test_a_captions_table_without_its_columns_is_named(tmp_path: Path) -> None:
    two(tmp_path / "images")
    table(tmp_path, "captions.txt", "image,klasse\na.png,1\n")
    says(refusal(tmp_path), "captions.txt", "lacks the column caption", "image, klasse")


@pytest.mark.parametrize("place", [".", "images"])
@pytest.mark.parametrize(
    ("name", "content"),
    [("results.csv", "model,score\nridge,0.4\n"), ("hf.token", "hf_abcdef\n"), ("x.token.txt", "one two\n")],
)
def test_files_of_other_programs_do_not_make_test_images_flickrs(
    tmp_path: Path, place: str, name: str, content: str
) -> None:
    two(tmp_path / place)
    data = opened(table(tmp_path, name, content))
    assert (data.layout, data.has_texts, len(data)) == ("images", False, 2)


def test_a_results_table_of_another_program_does_not_hide_the_captions(tmp_path: Path) -> None:
    two(tmp_path / "Images")
    table(tmp_path, "results.csv", "model,score\nridge,0.4\n")
    table(tmp_path, "._results.token", b"\0\5")
    found(table(tmp_path, "my.token", "a.png#0\tan ant\nb.png#0\ta bee, red\n"), "flickr")


def karpathy(folder: Path, *sentences: list[str]) -> Path:
    rows = [
        {"filename": name, "split": split, "sentences": [{"raw": text, "tokens": []} for text in some]}
        for name, split, some in zip(PROMPTS, ["train", "val"], sentences, strict=True)
    ]
    return write_json(folder / "dataset_flickr30k.json", {"dataset": "flickr30k", "images": rows})


def test_karpathys_split_files_are_read_with_the_split_as_source(tmp_path: Path) -> None:
    two(tmp_path / "flickr30k-images")
    document = karpathy(tmp_path, ["an ant", "one ant"], ["a bee"])
    for location in (tmp_path, document):
        data = opened(location)
        assert (data.layout, list(data.texts)) == ("karpathy", [("an ant", "one ant"), ("a bee",)])
        assert list(data.sources or ()) == ["train", "val"]
    karpathy(tmp_path, ["an ant"], [])
    says(refusal(tmp_path), "images[1]", "'b.png' has no sentence")


# -- prompts beside and inside of images -----------------------------------------------------------


@pytest.mark.parametrize("suffix", [".txt", ".caption"])
def test_texts_beside_images_are_read(tmp_path: Path, suffix: str) -> None:
    for name, text in PROMPTS.items():
        table(two(tmp_path), Path(name).stem + suffix, f"{text}\n")
    found(tmp_path, "sidecar")
    (tmp_path / f"b{suffix}").unlink()
    says(refusal(tmp_path), str(tmp_path / "b.png"), "there is no b.txt")


def test_json_beside_images_and_settings_beside_images_are_read(tmp_path: Path) -> None:
    write_json(two(tmp_path) / "a.json", {"width": 3, "Caption": "an ant"})
    table(tmp_path, "b.txt", "a bee, red\nNegative prompt: wasps\nSteps: 20, Sampler: Euler a")
    found(tmp_path, "sidecar")


@pytest.mark.parametrize(
    "document",
    [{"width": 3}, {"prompt": [1, 2]}, {"text": ["an ant", None], "caption": []}, [["prompt"]], {"prompt": {"a": "b"}}],
)
def test_json_that_holds_no_prompt_makes_no_data_set(tmp_path: Path, document: object) -> None:
    write_json(two(tmp_path) / "a.json", document)
    assert not opened(tmp_path).has_texts


def test_a_key_that_holds_no_text_does_not_hide_one_that_does(tmp_path: Path) -> None:
    write_json(two(tmp_path) / "a.json", {"prompt": [1, 2], "caption": "an ant"})
    table(tmp_path, "b.txt", "a bee, red")
    found(tmp_path, "sidecar")


def with_text(path: Path, keyword: str, text: str, *, compress: bool = False, international: bool = False) -> None:
    import PIL.Image
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    if international:
        info.add_itxt(keyword, text, zip=compress)
    else:
        info.add_text(keyword, text, zip=compress)
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.name.encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path, pnginfo=info)


@pytest.mark.parametrize(("compress", "international"), [(False, False), (True, False), (False, True), (True, True)])
def test_prompts_that_pictures_carry_are_read(tmp_path: Path, compress: bool, international: bool) -> None:
    kind = {"compress": compress, "international": international}
    with_text(tmp_path / "a.png", "parameters", "an ant\nNegative prompt: wasps\nSteps: 20, Seed: 1", **kind)
    with_text(tmp_path / "sub/b.png", "parameters", "a bee,\nred <lora:x:1>\nSteps: 20", **kind)
    found(tmp_path, "pnginfo", {"a.png": "an ant", "b.png": "a bee,\nred <lora:x:1>"})


def test_pictures_of_which_only_some_carry_a_prompt_are_a_test_set_that_says_so(tmp_path: Path) -> None:
    with_text(tmp_path / "b.png", "parameters", "a bee\nSteps: 20")
    with_text(tmp_path / "c.png", "workflow", "{}")
    images(tmp_path, "a.png")
    data = opened(tmp_path)
    assert (data.layout, data.has_texts, len(data)) == ("images", False, 3)
    says(" ".join(data.notes), "1 of 3 images carry their prompt", "a.png has none", "ComfyUI", "metadata.csv")


# -- parts, shards and splits ----------------------------------------------------------------------


def part(folder: Path, number: int, names: dict[str, str]) -> Path:
    place = images(folder / f"part-{number:06d}", *names)
    write_json(place / f"part-{number:06d}.json", {n: {"p": t, "se": 1, "c": 7.0} for n, t in names.items()})
    return place


def test_parts_of_diffusiondb_are_read_one_by_one_and_together(tmp_path: Path) -> None:
    one = part(tmp_path, 1, {"a.png": "an ant"})
    part(tmp_path, 2, {"b.png": "a bee, red"})
    found(one, "diffusiondb", {"a.png": "an ant"})
    found(tmp_path, "diffusiondb")
    images(one, "z.png")
    says(refusal(tmp_path), "z.png", "has no row in", "part-000001.json")
    write_json(one / "part-000001.json", {"a.png": {"se": 1}})
    says(refusal(one), "part-000001.json: 'a.png'", "key p")


def shard(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def picture(folder: Path, seed: int) -> bytes:
    save_image(folder / "picture.png", seed)
    return (folder / "picture.png").read_bytes()


def test_shards_give_the_same_pixels_as_files(tmp_path: Path) -> None:
    first, second = picture(tmp_path, 1), picture(tmp_path, 2)
    members = {"000.png": first, "000.txt": b"an ant", "001.png": second, "001.json": b'{"caption": "a bee"}'}
    shard(tmp_path / "set/00000.tar", members)
    shard(tmp_path / "set/00001.tar", {"x/002.png": second, "x/002.txt": b"a cow"})
    data = opened(tmp_path / "set")
    assert (data.layout, list(data.texts)) == ("webdataset", [("an ant",), ("a bee",), ("a cow",)])
    assert list(data.ids) == ["00000/000", "00000/001", "00001/002"]
    save_image(tmp_path / "alone.png", 2)
    alone = ImageFile(tmp_path / "alone.png")
    assert (np.asarray(data.images[1].open()) == np.asarray(alone.open())).all()
    assert data.images[1].digest() == data.images[2].digest() == alone.digest() != data.images[0].digest()


def test_names_that_repeat_in_a_shard_are_told_apart_by_their_folder_and_leftovers_passed_over(tmp_path: Path) -> None:
    first, second = picture(tmp_path, 1), picture(tmp_path, 2)
    members = {"./a/000.png": first, "a/000.txt": b"an ant", "b/000.png": second, "b/000.txt": b"a bee"}
    leftovers = {"__MACOSX/a/000.png": b"\0", "a/._000.png": b"\0", "._a": b"\0"}
    shard(tmp_path / "set/00000.tar", {**leftovers, **members})
    (tmp_path / "set/._00000.tar").write_bytes(b"\0\5\x16\7")
    data = opened(tmp_path / "set")
    assert (data.layout, list(data.ids), list(data.texts)) == (
        "webdataset",
        ["a/000", "b/000"],
        [("an ant",), ("a bee",)],
    )
    shard(tmp_path / "set/00001.tar", {"a/000.png": first, "a/000.txt": b"a cow"})
    assert list(opened(tmp_path / "set").ids) == ["00000/a/000", "00000/b/000", "00001/000"]


@pytest.mark.parametrize(
    ("members", "parts"),
    [
        ({"0.txt": b"an ant", "1.png": b""}, ["1.png", "no 1.txt or .json"]),
        ({"0.png": b"no image", "0.txt": b"an ant"}, ["00000.tar: 0.png", "not an image"]),
        ({"0.txt": b"\xe9", "0.png": b""}, ["00000.tar: 0.txt", "UTF-8"]),
        ({"0.json": b"{", "0.png": b""}, ["00000.tar: 0.json", "JSON"]),
        ({"0.json": b"9" * 5000, "0.png": b""}, ["00000.tar: 0.json", "JSON"]),
        ({"0.json": b"[" * 99_999, "0.png": b""}, ["00000.tar: 0.json", "JSON"]),
    ],
)
def test_a_shard_that_is_wrong_is_named_with_the_member(
    tmp_path: Path, members: dict[str, bytes], parts: list[str]
) -> None:
    says(refusal(shard(tmp_path / "00000.tar", members)), *parts)


def test_a_shard_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = shard(tmp_path / "00000.tar", {"0.png": picture(tmp_path, 1), "0.txt": b"an ant"})
    path.write_bytes(path.read_bytes()[:900])
    says(refusal(path), "00000.tar")


@pytest.mark.parametrize("names", [("train", "test"), ("train", "validation", "test"), ("one", "two")])
def test_folders_with_tables_of_their_own_are_named_and_not_merged(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        table(two(tmp_path / name), "metadata.csv", FORMS["commas"][1])
    first = "train" if "train" in names else "one"
    says(refusal(tmp_path), *(f"{name}/" for name in names), "not merged", f"--data {tmp_path / first}")
    found(tmp_path / names[1], "imagefolder")


def test_split_folders_of_images_alone_are_not_merged_and_others_are(tmp_path: Path) -> None:
    two(tmp_path / "set/train")
    two(tmp_path / "set/test")
    says(refusal(tmp_path / "set"), "train/", "test/", "not merged")
    images(tmp_path / "other/train", "a.png")
    images(tmp_path / "other/cats", "b.png")
    assert sorted(opened(tmp_path / "other").ids) == ["a", "b"]


@pytest.mark.parametrize("name", ["images.zip", "images.tar.gz", "data-00000-of-00001.arrow"])
def test_what_must_be_unpacked_first_is_named(tmp_path: Path, name: str) -> None:
    table(tmp_path, name, b"anything")
    says(refusal(tmp_path), name, "metadata.csv" if name.endswith(".arrow") else "unpack it")


# -- nothing is left out in silence ----------------------------------------------------------------


def test_images_are_known_by_content_where_their_names_say_nothing(tmp_path: Path) -> None:
    import PIL.Image

    for number, (name, kind) in enumerate(
        {"a": "PNG", "b.dat": "JPEG", "c.AVIF": "AVIF", "d.unknown": "WEBP", "e.JFIF": "JPEG", "f.pjp": "JPEG"}.items()
    ):
        PIL.Image.new("RGB", (8, 8), (number * 9, 0, 0)).save(tmp_path / name, kind)
    table(tmp_path, "readme", "no image")
    table(tmp_path, "notes.doc", "no image either")
    data = opened(tmp_path)
    assert (sorted(data.ids), data.notes) == (["a", "b", "c", "d", "e", "f"], ())
    assert len(set(data.digests)) == 6


def test_what_is_left_out_is_counted_with_its_reason(tmp_path: Path) -> None:
    two(tmp_path)
    table(tmp_path, "photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    table(tmp_path, "nameless", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    table(tmp_path, "IMG_1.CR2", b"II*\0raw")
    table(tmp_path, "clip.mp4", b"\0\0\0\x18ftypisom")
    data = opened(tmp_path)
    assert len(data) == 2
    says(" | ".join(data.notes), "2 entries (nameless, photo.heic)", "pillow-heif", "1 entry (IMG_1.CR2)", "clip.mp4")
    for path in tmp_path.glob("?.png"):
        path.unlink()
    says(refusal(tmp_path), "none of its images is read", "pillow-heif")


def test_heic_that_a_table_lists_is_refused_with_the_package_that_reads_it(tmp_path: Path) -> None:
    table(tmp_path, "photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    table(tmp_path, "metadata.csv", "file_name,prompt\nphoto.heic,an ant\n")
    says(refusal(tmp_path), "photo.heic", "pillow-heif")


def test_linked_folders_are_read_once_and_circles_end(tmp_path: Path) -> None:
    two(tmp_path / "elsewhere")
    images(tmp_path / "set", "c.png")
    (tmp_path / "set/link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "set/circle").symlink_to(tmp_path / "set", target_is_directory=True)
    data = opened(tmp_path / "set")
    assert sorted(data.ids) == ["a", "b", "c"]
    says(" ".join(data.notes), "circle", "read already")


@pytest.mark.parametrize("names", [["__MACOSX/a.png"], [".thumbs/a.png", "@eadir/b.png"]])
def test_a_folder_of_leftovers_holds_no_images(tmp_path: Path, names: list[str]) -> None:
    says(refusal(images(tmp_path, *names)), "no data set was recognised")
    two(tmp_path / "elsewhere")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert len(opened(tmp_path / "set")) == 2


def test_images_of_one_name_and_two_suffixes_are_both_test_rows(tmp_path: Path) -> None:
    assert sorted(opened(images(tmp_path, "a.png", "a.jpg")).ids) == ["a.jpg", "a.png"]


# -- paths -----------------------------------------------------------------------------------------


def listed(root: Path, value: str) -> Path:
    return table(root, "metadata.jsonl", json.dumps({"file_name": value, "prompt": "an ant"}))


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("café.png", unicodedata.normalize("NFD", "café.png")),
        (unicodedata.normalize("NFD", "café.png"), "café.png"),
        ("sub/x.png", "sub\\x.png"),
        ("sub/x.png", ".\\sub\\x.png"),
        ("sub/x.png", "./sub/../sub/x.png"),
        ("sub/x.png", "x.png"),
        ("sub/x.png", "sub/x"),
        ("X.PNG", "x.png"),
        ("x.png", " x.png "),
        ("x.png", "C:\\Users\\me\\set\\x.png"),
        ("x.png", "/content/drive/set/x.png"),
    ],
)
def test_images_are_found_however_a_table_spells_them(tmp_path: Path, file: str, value: str) -> None:
    data = opened(listed(images(tmp_path, file), value))
    assert [Path(image.name) for image in data.images] == [tmp_path / file]
    assert data.fingerprint


@pytest.mark.parametrize("spelt", ["absolute", "relative", "link"])
@pytest.mark.parametrize("value", ["{root}/sub/x.png", "../set/sub/x.png"])
def test_absolute_and_climbing_paths_are_read_inside_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelt: str, value: str
) -> None:
    root = listed(images(tmp_path / "set", "sub/x.png"), value.format(root=tmp_path / "set"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    location = {"absolute": root, "relative": Path("set"), "link": Path("link")}[spelt]
    assert len(opened(location)) == 1


@pytest.mark.parametrize("value", ["../secret.png", "{root}/../secret.png", "sub/../../secret.png", "../set-2/y.png"])
def test_paths_outside_of_the_folder_are_refused(tmp_path: Path, value: str) -> None:
    images(tmp_path, "secret.png", "set-2/y.png")
    root = listed(images(tmp_path / "set", "x.png"), value.format(root=tmp_path / "set"))
    says(refusal(root), "metadata.jsonl line 1", "outside the data's folder")


def test_a_name_that_two_images_answer_to_is_refused(tmp_path: Path) -> None:
    says(refusal(listed(images(tmp_path, "a/x.png", "b/x.png"), "x.png")), "may be", "a/x.png", "b/x.png")


def test_the_competitions_ids_are_found_in_another_unicode_form(tmp_path: Path) -> None:
    images(tmp_path / "images", unicodedata.normalize("NFD", "café.png"))
    found(
        table(tmp_path, "prompts.csv", "imgId,prompt\ncafé,an ant\n"),
        "kaggle",
        {unicodedata.normalize("NFD", "café.png"): "an ant"},
    )


def test_an_entry_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    two(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe")  # never opened: that would wait for ever
    says(refusal(tmp_path), "gone.png")
