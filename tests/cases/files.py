"""Images, tables and layouts: what must hold of the cases."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from harness.submission.read import read_submission
from tests.cases.case import Ran, expected


def told(ran: Ran, label: str) -> list[str]:
    """Return what `harness data describe` said under a label, once a time it was asked."""
    return re.findall(rf"^{label} +(.*\S) *$", ran.out, flags=re.MULTILINE)


def says(text: str, *parts: str) -> None:
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in: {text}"


def all_tasks_done(run: Path, *members: str) -> None:
    assert not list(run.glob("members/*/failed-*")), [p.read_text() for p in run.glob("members/*/failed-*")]
    for member in members:
        assert list(run.glob(f"members/{member}/*/predictions.npy")), f"{member} has no predictions in {run}"


@expected("01-jfif-avif-skipped")
def all_kinds_of_images_are_test_rows(ran: Ran) -> None:
    names = {f"pic{i}" for i in (0, 1, 2, 3, 4, 5, 6, 7, 9)}
    assert (ran.code, told(ran, "rows")) == (0, ["9"]), ran
    assert set(read_submission(ran.folder / "sub.csv").ids) == names
    assert names <= set(ran.out.split())


@expected("02-tiff-lab-float")
def cielab_is_converted(ran: Ran) -> None:
    assert told(ran, "rows") == ["8"], ran
    all_tasks_done(ran.folder / "run", "mean", "knn")
    assert "internal" not in ran.text


@expected("03-tiff-float")
def floats_are_scaled(ran: Ran) -> None:
    assert (ran.code, told(ran, "rows")) == (0, ["8"]), ran
    low, high, deviation = map(float, ran.out.splitlines()[-1].split())
    assert 0 <= low < 30 < 200 < high <= 255
    assert deviation > 20


@expected("05-png-big-text")
def long_texts_in_a_png_are_no_damage(ran: Ran) -> None:
    assert told(ran, "rows") == ["8"], ran
    assert "damaged" not in ran.text


@expected("06-huge-200mp")
def what_is_too_large_is_called_that(ran: Ran) -> None:
    says(ran.text, "photos/img00.png", "195000000 pixels", "HARNESS_MAX_PIXELS=195000000")
    assert "damaged" not in ran.text
    assert "Warning" not in ran.text
    memory = re.search(r"Maximum resident set size \(kbytes\): (\d+)", ran.out)
    assert memory is not None, ran
    assert int(memory[1]) < 1_000_000


@expected("07-truncated")
def a_truncated_jpeg_is_named(ran: Ran) -> None:
    assert (ran.code, ran.out) == (2, ""), ran
    says(ran.err, "photos/img0", ".jpg", "damaged")


@expected("08-truncated-hidden")
def images_that_were_closed_early_are_named_before_any_work(ran: Ran) -> None:
    named = re.findall(r"photos/(img00\.jpg|img01\.png): cannot be read as an image: it is damaged", ran.err)
    assert len(named) == 2, ran  # once by each command
    assert not list(ran.folder.glob("run/members/*"))
    assert ran.out == ""


@expected("09-zero-byte")
def an_empty_file_is_named(ran: Ran) -> None:
    assert ran.code == 2, ran
    says(ran.err, "photos/img03.png", "not an image")


@expected("10-odd-modes")
def all_modes_are_read(ran: Ran) -> None:
    assert ran.code == 0, ran
    all_tasks_done(ran.folder / "run", "mean", "knn", "clipnet")


@expected("11-thin-image")
def a_thin_image_needs_no_gigabytes(ran: Ran) -> None:
    assert ran.code == 0, ran
    all_tasks_done(ran.folder / "run", "mean", "clipnet", "interrogator", "vitgpt2", "knn")
    memory = re.search(r"Maximum resident set size \(kbytes\): (\d+)", ran.out)
    assert memory is not None, ran
    assert int(memory[1]) < 2_000_000


@expected("12-hf-splits")
def split_folders_are_named_and_not_merged(ran: Ran) -> None:
    says(ran.err, "train/", "test/", "not merged", "--data photos/train")
    assert told(ran, "rows") == ["8"], ran  # of photos/train, which the last command names
    assert not list(ran.folder.glob("run/members/*"))


@expected("13-hf-metadata-parquet")
def metadata_parquet_is_read(ran: Ran) -> None:
    assert (ran.code, told(ran, "rows"), told(ran, "texts")[0]) == (0, ["8"], "8, 8 distinct"), ran
    all_tasks_done(ran.folder / "run", "mean")


@expected("14-sidecar-txt")
def texts_beside_images_are_read(ran: Ran) -> None:
    assert (ran.code, told(ran, "rows"), told(ran, "texts")[0]) == (0, ["8"], "8, 8 distinct"), ran
    all_tasks_done(ran.folder / "run", "mean")


@expected("15-webdataset-tar")
def shards_are_read(ran: Ran) -> None:
    assert (ran.code, told(ran, "rows"), told(ran, "texts")[0]) == (0, ["8", "8"], "8, 8 distinct"), ran


@expected("16-diffusiondb-part")
def diffusiondb_is_read(ran: Ran) -> None:
    assert (ran.code, told(ran, "rows"), told(ran, "texts")[0]) == (0, ["8", "8"], "8, 8 distinct"), ran
    all_tasks_done(ran.folder / "run", "mean")


@expected("18-karpathy-json")
def karpathys_file_is_read(ran: Ran) -> None:
    assert (ran.code, told(ran, "rows")) == (0, ["6", "6"]), ran
    assert [text for text in told(ran, "texts") if "a row" in text] == ["30 (5 a row), 30 distinct"] * 2


@expected("19-flickr30k-captions-txt")
def captions_with_another_header_are_read(ran: Ran) -> None:
    assert (ran.code, told(ran, "rows"), told(ran, "texts")[0]) == (0, ["6"], "30 (5 a row), 30 distinct"), ran


@expected("20-coco-subset")
def an_image_without_a_caption_is_named(ran: Ran) -> None:
    assert ran.code == 2, ran
    says(ran.err, "000000000007.jpg", "has no caption", "add an annotation or remove the image")


@expected("21-unlisted-image")
def an_image_without_a_row_is_named(ran: Ran) -> None:
    assert ran.code == 2, ran
    says(ran.err, "zz_extra.png", "has no row in photos/metadata.csv")


@expected("22-split-like-names")
def names_like_those_of_splits_are_only_names(ran: Ran) -> None:
    assert (ran.code, told(ran, "rows")) == (0, ["6"]), ran


@expected("23-repeated-rows")
def rows_of_one_image_are_told_how_to_be_captions(ran: Ran) -> None:
    assert ran.code == 2, ran
    says(ran.err, "metadata.csv row 7", "several prompts", "captions.txt")


@expected("24-nfd-names")
def another_unicode_form_is_found(ran: Ran) -> None:
    assert (ran.code, told(ran, "rows")) == (0, ["6"]), ran


@expected("25-backslash-paths")
def backslashes_are_found(ran: Ran) -> None:
    assert (ran.code, told(ran, "rows")) == (0, ["6"]), ran


@expected("26-absolute-paths")
def absolute_paths_are_found(ran: Ran) -> None:
    assert told(ran, "rows") == ["5", "5"], ran


def scores_one(ran: Ran) -> None:
    assert re.search(r"^score 1\.000000 ", ran.out, flags=re.MULTILINE), ran


@expected("27-null-prompts")
def null_is_a_prompt(ran: Ran) -> None:
    assert ran.code == 0, ran
    scores_one(ran)


@expected("28-excel-csv")
def semicolons_and_utf16_are_read(ran: Ran) -> None:
    assert (ran.code, told(ran, "rows")) == (0, ["5", "5"]), ran


@expected("41-submission-index-col")
def every_form_of_a_submission_scores_one(ran: Ran) -> None:
    assert ran.code == 0, ran
    scores = dict(re.findall(r"^-- (\S+)\nscore (\S+)", ran.out, flags=re.MULTILINE))
    names = [
        "withindex",
        "shuffled",
        "crlf",
        "zip.csv",
        "gz.csv",
        "sci",
        "images_reversed",
        "sorted_as_text",
        "blankend",
    ]
    assert [name for name in names if not any(found.startswith(name) for found in scores)] == [], ran
    assert np.allclose([float(score) for score in scores.values()], 1.0, atol=1e-5), scores


@expected("57-odd-text")
def any_text_is_a_prompt(ran: Ran) -> None:
    assert ran.code == 0, ran
    scores_one(ran)
    all_tasks_done(ran.folder / "run", "mean", "interrogator")


@expected("60-a1111-png-info")
def prompts_in_the_pictures_are_read(ran: Ran) -> None:
    assert (ran.code, told(ran, "rows"), told(ran, "texts")[0]) == (0, ["8"], "8, 8 distinct"), ran
    all_tasks_done(ran.folder / "run", "mean")


@expected("64-odd-file-names")
def leftovers_are_passed_over(ran: Ran) -> None:
    assert told(ran, "rows") == ["6"], ran
