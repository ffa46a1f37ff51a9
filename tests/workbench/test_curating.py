"""Deduplicate, mix, convert: what lies in the new folder, read back, and what happens when that is interrupted."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import harness
from harness.data.dataset import Dataset
from harness.data.images import EncodedImage
from harness.data.targets import PromptEncoder, row_targets
from harness.errors import InputError
from harness.store.curated import CuratedDocument
from harness.workbench import shards
from harness.workbench.curating import Curation
from tests.conftest import PROMPTS, make_kaggle, save_image
from tests.workbench.curated import make_set, make_three, read, snapshot


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return make_three(tmp_path_factory.mktemp("sets"))


def removed(folder: Path) -> list[dict[str, str]]:
    with gzip.open(folder / "removed.csv.gz", "rt", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# -- dedup -----------------------------------------------------------------------------------------


def test_dedup_leaves_no_near_duplicates_and_says_what_went(three: tuple[Path, Path, Path], tmp_path: Path) -> None:
    alpha = three[0]
    found = harness.dedup(alpha, tmp_path / "out")
    before, after = read(alpha), read(tmp_path / "out")
    assert after.ids == found.ids
    targets = row_targets(after.texts, PromptEncoder())
    cosine = targets @ targets.T
    np.fill_diagonal(cosine, -1)
    assert cosine.max() < 0.9
    gone = removed(tmp_path / "out")
    assert {row["removed"] for row in gone} | set(after.ids) == set(before.ids)
    assert len(gone) + len(after) == len(before) == found.report.rows
    texts = dict(zip(before.ids, before.texts, strict=True))
    digests = dict(zip(before.ids, before.digests, strict=True))
    encoder = PromptEncoder()
    for row in gone:
        a, b = row_targets([texts[row["removed"]], texts[row["instead"]]], encoder)
        assert row["instead"] in after.ids
        assert float(row["cosine"]) == pytest.approx(float(a @ b), abs=2e-4)
        if "prompt" in row["reason"]:
            assert float(row["cosine"]) >= 0.9 - 1e-4
        else:
            assert digests[row["removed"]] == digests[row["instead"]]
    report = found.report
    assert sum(report.removed.values()) == len(gone)
    assert report.histogram is not None
    assert report.histogram.after is not None
    assert sum(report.histogram.before) == report.prompts == 320
    assert sum(report.histogram.after) == report.prompts_kept
    assert report.histogram.after[-2:] == [0, 0]
    assert [pair.cosine for pair in report.above] == sorted(pair.cosine for pair in report.above)
    assert report.above[0].cosine >= 0.9 > report.below[0].cosine
    assert report.families[0].prompts >= 1


@pytest.mark.parametrize(("keep", "kept"), [("longest", "c"), ("shortest", "b"), ("first", "a")])
def test_what_stays_is_what_was_asked_for(tmp_path: Path, keep: str, kept: str) -> None:
    texts = {"a": "a red fox in the snow", "b": "a red fox in snow", "c": "a red fox there in the snow"}
    folder = tmp_path / "data"
    folder.mkdir()
    for i, name in enumerate(texts):
        save_image(folder / f"{name}.png", i)
    for number, order in enumerate(["abc", "acb"]):
        lines = [f"{name}.png,{texts[name]}" for name in order]
        (folder / "metadata.csv").write_text("\n".join(["file_name,prompt", *lines]) + "\n")
        found = harness.dedup(folder, keep=keep, threshold=0.8)
        assert found.ids == [kept], (keep, number)
        assert found.folder is None


def test_images_of_one_prompt_stay_as_many_as_asked_for(tmp_path: Path) -> None:
    data = make_set(tmp_path / "data", [PROMPTS[0]] * 12 + [PROMPTS[1]] * 3)
    assert len(harness.dedup(data).ids) == 15 - 2  # every seventh image is the one before it again
    assert len(harness.dedup(data, images=False).ids) == 15
    few = harness.dedup(data, per_prompt=2, seed=3)
    assert len(few.ids) == 4
    assert few.report.removed["more images of a prompt than asked for"] >= 15 - 2 - 4
    assert harness.dedup(data, per_prompt=2, seed=3).ids == few.ids
    assert any(harness.dedup(data, per_prompt=2, seed=seed).ids != few.ids for seed in range(4, 9))


def test_what_stays_depends_on_no_order_of_rows(three: tuple[Path, Path, Path], tmp_path: Path) -> None:
    beta = three[1]
    header, *lines = (beta / "metadata.csv").read_text().splitlines()
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in beta.glob("*.png"):
        (copy / path.name).hardlink_to(path)
    np.random.default_rng(0).shuffle(lines)
    (copy / "metadata.csv").write_text("\n".join([header, *lines]) + "\n")
    assert set(harness.dedup(copy, per_prompt=1).ids) == set(harness.dedup(beta, per_prompt=1).ids)


def test_every_caption_can_be_a_row(tmp_path: Path) -> None:
    folder = tmp_path / "flickr"
    lines = ["image,caption"]
    for i in range(4):
        save_image(folder / "Images" / f"{i}.png", i)
        lines += [f'{i}.png,"{text}"' for text in (PROMPTS[i], f"{PROMPTS[i]} .", PROMPTS[i + 4])]
    (folder / "captions.txt").write_text("\n".join(lines) + "\n")
    assert len(harness.dedup(folder, captions="all").ids) == 8
    assert len(harness.dedup(folder).ids) == 4
    with pytest.raises(InputError, match=r"--images: with --captions all"):
        harness.dedup(folder, captions="all", images=True)


# -- mix -------------------------------------------------------------------------------------------


def test_a_mix_keeps_nothing_of_evaluation_data_and_every_source(
    three: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    alpha, beta, held = three
    found = harness.mix({"one": alpha, "two": beta}, tmp_path / "out", exclude=[held], cap={"two": 30})
    after, test = read(tmp_path / "out"), read(held)
    encoder = PromptEncoder()
    cosine = row_targets(after.texts, encoder) @ row_targets(test.texts, encoder).T
    assert cosine.max() < 0.7
    assert not set(after.digests) & set(test.digests)
    assert after.sources is not None
    assert set(after.sources) == {"one/s0", "one/s1", "two"}
    assert list(after.sources).count("two") == 30
    assert all(row_id.startswith(("one/row-", "two/row-")) for row_id in after.ids)
    (told,) = found.report.held
    assert told.near_prompts > 10
    assert told.same_images >= 1
    assert told.nearest_kept == pytest.approx(float(cosine.max()), abs=2e-4)
    instead = {row["instead"].split("/")[0] for row in removed(tmp_path / "out") if "evaluation" in row["reason"]}
    assert instead == {"held"}
    # A prompt of both sets is the first one's, unless its row there went for its image.
    shown = {row["removed"] for row in removed(tmp_path / "out") if "image" in row["reason"]}
    one = {f"one/{row_id}": texts for row_id, texts in zip(read(alpha).ids, read(alpha).texts, strict=True)}
    both = {texts for row_id, texts in one.items() if row_id not in shown} & set(read(beta).texts)
    assert len(both) > 50
    assert all(row_id.startswith("one/") for row_id, texts in zip(after.ids, after.texts, strict=True) if texts in both)
    assert found.report.removed["a prompt of an earlier set"] > 10


def test_a_mix_has_the_shares_that_were_asked_for(three: tuple[Path, Path, Path]) -> None:
    alpha, beta, _ = three
    found = harness.mix([f"a={alpha}", f"b={beta}"], share={"b": ".25", "a/s0": "1/3"}, rows=61, threshold=None)
    by_source = {one.source: one.kept for one in found.report.sources}
    assert by_source == {"a/s0": 20, "a/s1": 26, "b": 15}  # of 61: 20.33, 25.42 and 15.25
    assert found.report.kept == 61
    assert "over a share" in found.report.removed
    again = harness.mix([f"a={alpha}", f"b={beta}"], share={"b": 0.25, "a/s0": "1/3"}, rows=61, threshold=None)
    assert again.ids == found.ids


def test_sets_of_captions_and_prompts_groups_and_none_become_one(tmp_path: Path) -> None:
    grouped = make_set(tmp_path / "grouped", PROMPTS[:6], groups=2)
    folder = tmp_path / "flickr"
    save_image(folder / "Images" / "x.png", 99)
    (folder / "captions.txt").write_text(f"image,caption\nx.png,{PROMPTS[8]}\nx.png,{PROMPTS[9]}\n")
    for to in ("parquet", "webdataset"):
        harness.mix([grouped, folder], tmp_path / to, to=to)
        found = read(tmp_path / to)
        assert list(found.texts)[-1] == (PROMPTS[8], PROMPTS[9])
        assert found.texts[0] == (PROMPTS[0],)
        assert found.groups is not None
        assert [found.groups[0], found.groups[1], found.groups[-1]] == ["grouped/g0", "grouped/g1", "flickr/x"]


# -- convert ---------------------------------------------------------------------------------------


def same(a: Dataset, b: Dataset) -> None:
    for name in ("ids", "texts", "groups", "sources", "seeds", "digests"):
        one, other = getattr(a, name, None), getattr(b, name, None)
        assert (None if one is None else list(one)) == (None if other is None else list(other)), name
    assert a.fingerprint == b.fingerprint


ODD = [
    'a prompt with, commas and "quotes"',
    "two\nlines",
    "Negative prompt: none of it",
    " spaces around ",
    "héllo wörld, 日本語の 絵 🎨",
    "steps: 3\nSteps: 20, Sampler: Euler a",
    "<script>alert('x')</script> & more",
    "tab\tand\r\nreturn",
]


@pytest.mark.parametrize("to", ["parquet", "webdataset"])
@pytest.mark.parametrize("bound", [{"shard_rows": 3}, {"shard_bytes": 900}, {}])
def test_what_is_converted_is_the_same_data(tmp_path: Path, to: str, bound: dict[str, Any]) -> None:
    data = make_set(tmp_path / "data", [*ODD, *PROMPTS], sources=3, groups=4)
    PIL.Image.new("RGB", (9, 7), "red").save(data / "0003.png", "JPEG")  # the name is not the content
    before = {path.name: path.read_bytes() for path in data.glob("*.png")}
    found = harness.convert(data, tmp_path / "out", to=to, **bound)
    assert found.report.written is not None
    assert found.report.kept == found.report.written.rows == len(ODD) + len(PROMPTS)
    assert (found.report.written.files > 1) == bool(bound)
    same(read(data), read(tmp_path / "out"))
    again = harness.convert(tmp_path / "out", tmp_path / "back", to="parquet" if to == "webdataset" else "webdataset")
    same(read(data), read(tmp_path / "back"))
    assert again.report.kept == found.report.kept
    assert {path.name: path.read_bytes() for path in data.glob("*.png")} == before


def test_a_test_set_and_images_made_on_the_spot_are_converted(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for i in range(5):
        save_image(plain / f"{i}.png", i)
    harness.convert(plain, tmp_path / "out")
    same(read(plain), read(tmp_path / "out"))
    drawn = harness.convert("scenes:6:3", tmp_path / "drawn", to="webdataset")
    assert drawn.report.prompts == 6
    made, read_back = read("scenes:6:3"), read(tmp_path / "drawn")
    assert (list(made.ids), list(made.texts)) == (list(read_back.ids), list(read_back.texts))
    for a, b in zip(made.images, read_back.images, strict=True):
        assert np.array_equal(np.asarray(a.open()), np.asarray(b.open()))


def test_no_image_is_decoded(three: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **more: Any) -> Any:
        raise AssertionError("an image is decoded")

    with monkeypatch.context() as patch:
        patch.setattr("harness.data.images._decoded", refuse)
        patch.setattr(EncodedImage, "open", refuse)
        patch.setattr(EncodedImage, "digest", refuse)
        harness.convert(three[0], tmp_path / "a", to="webdataset")
        harness.mix([three[0], three[1]], tmp_path / "b", exclude=[three[2]])
        harness.dedup(three[0], tmp_path / "c")


def test_hugging_face_datasets_reads_the_parquet_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = make_set(tmp_path / "data", PROMPTS, sources=2)
    harness.convert(data, tmp_path / "out", shard_rows=5)
    files = sorted(map(str, (tmp_path / "out").glob("*.parquet")))
    found = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(found.features["image"], datasets.Image)
    assert found["prompt"][:] == PROMPTS
    expected = np.asarray(PIL.Image.open(data / "0004.png").convert("RGB"))
    assert np.array_equal(np.asarray(found[4]["image"].convert("RGB")), expected)
    assert found[4]["id"] == "row-4"


def test_webdataset_reads_the_tar_files(tmp_path: Path) -> None:
    data = make_set(tmp_path / "data", [*PROMPTS, "Negative prompt: no text file"], sources=2)
    harness.convert(data, tmp_path / "out", to="webdataset", shard_rows=7)
    members: dict[str, dict[str, bytes]] = {}
    for shard in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(shard) as archive:
            for member in archive:
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
                key, _, suffix = member.name.partition(".")
                stream = archive.extractfile(member)
                assert stream is not None
                members.setdefault(key, {})[suffix] = stream.read()
    assert list(members) == [f"{i:09d}" for i in range(len(PROMPTS) + 1)]
    fifth = members["000000005"]
    assert fifth["png"] == (data / "0005.png").read_bytes()
    assert fifth["txt"].decode() == PROMPTS[5]
    assert json.loads(fifth["json"]) == {"id": "row-5", "prompt": PROMPTS[5], "source": "s1"}
    assert set(members[f"{len(PROMPTS):09d}"]) == {"png", "json"}  # a text file would be read as settings of a web UI


# -- begun, and gone on with -----------------------------------------------------------------------


def curate(action: str, three: tuple[Path, Path, Path], out: Path) -> Curation:
    if action == "dedup":
        return harness.dedup(three[0], out, shard_rows=40)
    if action == "mix":
        return harness.mix(three[:2], out, exclude=three[2:], share={"beta": ".2"}, shard_rows=25, to="webdataset")
    return harness.convert(three[1], out, shard_bytes=20_000)


class StopError(Exception):
    """What a disturbed command ends with."""


@pytest.mark.parametrize("action", ["dedup", "mix", "convert"])
def test_stopped_before_any_write_it_goes_on_to_the_same_files(
    action: str, three: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curate(action, three, tmp_path / "whole")
    expected = snapshot(tmp_path / "whole")
    assert len(expected) > 7
    write = shards.write_file
    calls = {"left": 0}

    def stopping(path: Path, fill: Any) -> None:
        def half(stream: io.BufferedWriter) -> None:
            fill(stream)
            if calls["left"] == 0:
                raise StopError
            calls["left"] -= 1

        write(path, half)

    places = [
        "harness.workbench.shards",
        "harness.workbench.curating",
        "harness.store.document",
        "harness.store.atomic",
    ]
    out = tmp_path / "disturbed"
    stopped = 0
    for left in [0, 0, 1, 2, 3, 5, 4, 2, 1, 0, 6, 5, 4, 3, 100]:
        calls["left"] = left
        with monkeypatch.context() as patch:
            for place in places:
                patch.setattr(f"{place}.write_file", stopping, raising=False)
            try:
                curate(action, three, out)
            except StopError:
                stopped += 1
    assert stopped >= 4
    curate(action, three, out)
    written = snapshot(out)
    for name in ("report.json", "report.html"):  # they name their folder
        told = (out / name).read_text().replace(str(out), str(tmp_path / "whole"))
        assert told == (tmp_path / "whole" / name).read_text()
        written.pop(name), expected.pop(name)
    assert written == expected
    assert CuratedDocument.read(out / ".curated.json").finished


def test_the_same_command_again_writes_nothing(three: tuple[Path, Path, Path], tmp_path: Path) -> None:
    first = harness.dedup(three[0], tmp_path / "out", shard_rows=40)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")}
    again = harness.dedup(three[0], tmp_path / "out", shard_rows=40)
    assert (again.ids, again.report) == (first.ids, first.report)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")} == times


def test_a_shard_that_was_cut_off_or_removed_is_written_again(three: tuple[Path, Path, Path], tmp_path: Path) -> None:
    harness.dedup(three[0], tmp_path / "out", shard_rows=40)
    expected = snapshot(tmp_path / "out")
    cut = tmp_path / "out" / "00001.parquet"
    cut.write_bytes(cut.read_bytes()[:1000])
    (tmp_path / "out" / "00003.parquet").unlink()
    harness.dedup(three[0], tmp_path / "out", shard_rows=40)
    assert snapshot(tmp_path / "out") == expected


def test_another_command_is_refused_and_nothing_is_lost(three: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    harness.dedup(three[0], out)
    before = snapshot(out)
    for other in (
        lambda: harness.dedup(three[0], out, threshold=0.8),
        lambda: harness.dedup(three[1], out),
        lambda: harness.dedup(three[0], out, to="webdataset"),
        lambda: harness.convert(three[0], out),
        lambda: harness.mix([three[0]], out),
    ):
        with pytest.raises(InputError, match=r"it holds what `harness data dedup` writes.*--out"):
            other()
    assert snapshot(out) == before
    kaggle = make_kaggle(tmp_path / "mine")
    with pytest.raises(InputError, match="it exists and is not empty; name a new folder"):
        harness.convert(three[0], kaggle)
    with pytest.raises(InputError, match="it is a file"):
        harness.convert(three[0], kaggle / "prompts.csv")


def test_data_that_changed_meanwhile_are_other_data(tmp_path: Path) -> None:
    data = make_kaggle(tmp_path / "data")
    harness.convert(data, tmp_path / "out")
    save_image(data / "images" / "img003.png", 77)
    with pytest.raises(InputError, match="of other data or with other options"):
        harness.convert(data, tmp_path / "out")


# -- the page --------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else_and_escapes_prompts(tmp_path: Path) -> None:
    prompts = ["<script>alert('x')</script> a fox", "<script>alert('x')</script> a fox!", *PROMPTS[:5]]
    data = make_set(tmp_path / "data", prompts, sources=2)
    found = harness.mix([data], tmp_path / "out", threshold=0.8, exclude=[make_kaggle(tmp_path / "eval", PROMPTS[4:6])])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert" in page
    assert "<script" not in page
    assert re.findall(r"(?:src|href|url)\s*[=(]", page) == []
    assert "http" not in page
    assert "prefers-color-scheme: dark" in page
    assert page.count("<rect") >= 2
    for pair in [*found.report.above, *found.report.below, *found.report.held_above]:
        assert f"{pair.cosine:.4f}" in page
    assert str(found.report.kept) in page
    assert found._repr_html_().startswith("<div>")
