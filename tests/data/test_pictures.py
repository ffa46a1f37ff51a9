"""Rows that show one picture: linked where it says something, whether its bytes are equal or it is a copy."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from harness.data.copies import link_copies, near_hashes
from harness.data.folds import make_folds
from harness.data.groups import pictures_of
from harness.data.opening import open_dataset
from harness.data.targets import PromptEncoder, row_targets
from harness.plugin import PluginManager
from tests.conftest import PROMPTS, Harness
from tests.data.synthetic import dataset_of, unit
from tests.data.test_folds import assert_parts_whole, same_partition


def independent(n: int, seed: int = 0) -> NDArray[np.float32]:
    return unit(np.random.default_rng(seed).normal(size=(n, 64)))


@pytest.mark.parametrize("k", [3, 5, 30])
def test_unrelated_prompts_make_a_picture_blank_and_related_ones_do_not(k: int) -> None:
    targets = independent(200)
    data = dataset_of([f"t{i}" for i in range(200)], pictures=[0] * k + list(range(1, 201 - k)))
    found = pictures_of(data, targets)
    assert (found.shared, found.rows, found.blank, found.blank_rows) == (0, 0, 1, k)
    assert len(set(found.picture)) == 200
    targets[:k] = unit(targets[0] + 0.9 * targets[:k])
    found = pictures_of(data, targets)
    assert (found.shared, found.rows, found.blank, found.blank_rows) == (1, k, 0, 0)
    assert len(set(found.picture[:k])) == 1


def test_two_unrelated_prompts_are_too_few_to_tell_and_one_prompt_is_no_reason() -> None:
    targets = independent(60)
    text = [0, 1, *[2] * 4, *range(3, 57)]
    data = dataset_of([f"t{i}" for i in text], pictures=[0, 0, 1, 1, 1, 1, *range(2, 56)])
    found = pictures_of(data, targets[text])
    assert (found.shared, found.rows, found.blank) == (2, 6, 0)


def test_hashes_that_are_near_are_found_as_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 300, dtype=np.uint64)
    flips = np.array([sum(1 << int(b) for b in rng.choice(64, k, replace=False)) for k in rng.integers(0, 8, 300)])
    hashes = np.concatenate([hashes, hashes ^ flips.astype(np.uint64)])
    found = {tuple(sorted(pair)) for i, j in near_hashes(hashes) for pair in zip(i.tolist(), j.tolist(), strict=True)}
    near = np.bitwise_count(hashes[:, None] ^ hashes[None, :]) <= 4
    assert found == {(a, b) for a, b in np.argwhere(near).tolist() if a < b}
    assert len(found) > 100


def photographs(folder: Path, prompts: Sequence[str]) -> None:
    """Smooth pictures with detail, as photographs are; ``metadata.csv`` lists those that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(len(prompts)):
        noise = np.random.default_rng(i).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        PIL.Image.fromarray(noise).resize((160, 160), PIL.Image.Resampling.BICUBIC).save(folder / f"{i:02d}.png")


def listed(folder: Path, rows: Sequence[tuple[str, str]]) -> Path:
    with (folder / "metadata.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file_name", "prompt"), *rows])
    return folder


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Sixteen pictures, the first four also as a JPEG file, a smaller one, and one with the very same bytes."""
    folder = tmp_path / "pictures"
    photographs(folder, PROMPTS)
    rows = [(f"{i:02d}.png", prompt) for i, prompt in enumerate(PROMPTS)]
    for i in range(4):
        image = PIL.Image.open(folder / f"{i:02d}.png")
        image.save(folder / f"{i:02d}-jpeg.jpg", quality=40)
        image.resize((80, 80), PIL.Image.Resampling.LANCZOS).save(folder / f"{i:02d}-small.png")
        (folder / f"{i:02d}-same.png").write_bytes((folder / f"{i:02d}.png").read_bytes())
        ends = ("-jpeg.jpg", "-small.png", "-same.png")
        rows += [(f"{i:02d}{end}", f"{PROMPTS[i]} and {PROMPTS[4 + 3 * i + e]}") for e, end in enumerate(ends)]
    return listed(folder, rows)


def test_copies_are_named_and_linked_where_that_is_asked_for(copied: Path, harness: Harness) -> None:
    told = harness("data", "describe", copied, "--json").json
    assert (told["distinct_images"], told["shared_pictures"], told["shared_rows"]) == (24, 4, 8)
    assert sorted(map(sorted, told["copies"])) == [[f"0{i}", f"0{i}-jpeg", f"0{i}-small"] for i in range(4)]
    words = harness("data", "describe", copied).out
    assert "4 pictures are shown by several rows, 8 in all" in words
    assert "4 have copies that were encoded anew or resized" in words

    data = open_dataset(str(copied), PluginManager().readers)
    targets = row_targets(data.texts, PromptEncoder())
    near = link_copies(data)
    picture = np.array([int(name[:2]) for name in data.ids])
    assert near.pictures is not None
    assert same_partition(np.array(near.pictures), picture)
    folds = make_folds(near, targets, n_folds=3, threshold=0.99, seed=0)
    assert_parts_whole(folds)
    for f in range(3):
        assert not set(picture[folds.training_rows(f)]) & set(picture[folds.held_rows(f)])


def test_a_run_says_what_it_linked_and_linking_more_is_another_run(copied: Path, harness: Harness) -> None:
    command = ("run", "--data", copied, "--plugins", "mean", "--folds", 3, "--group-threshold", 0.95, "--json")
    first = harness(*command)
    assert "4 pictures are shown by several rows, 8 in all, which are held out together" in first.err
    near = harness(*command, "--link-images", "near")
    assert near.code == 0, near.err
    assert "4 pictures are shown by several rows, 16 in all" in near.err
    assert near.json["rows"][0]["groups"] < first.json["rows"][0]["groups"]
    assert harness(*command, "--link-images", "near").json["computed"] == 0, "it is found again"
    refused = harness(*command, "--run-dir", first.json["run_dir"], "--link-images", "near")
    assert refused.code == 2
    assert "--link-images was equal and is now near" in refused.err


def test_images_without_detail_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for i in range(8):
        PIL.Image.new("RGB", (64, 64), (i * 30, 200 - i * 20, 90)).save(folder / f"{i}.png")
    linked = link_copies(
        open_dataset(str(listed(folder, [(f"{i}.png", PROMPTS[i]) for i in range(8)])), PluginManager().readers)
    )
    assert linked.pictures is not None
    assert len(set(linked.pictures)) == 8


def test_a_file_listed_twice_is_refused_with_the_mend(tmp_path: Path, harness: Harness) -> None:
    folder = tmp_path / "twice"
    photographs(folder, PROMPTS[:3])
    listed(folder, [("00.png", "one"), ("01.png", "two"), ("00.png", "three"), ("02.png", "four")])
    refused = harness("run", "--data", folder, "--plugins", "mean")
    assert refused.code == 2
    assert "ids must be unique; an image with several prompts is listed in captions.txt" in " ".join(
        refused.err.split()
    )


@pytest.mark.real
def test_captions_as_files_have_the_folds_of_captions_as_rows(real_data: Path, tmp_path: Path) -> None:
    flickr = open_dataset(str(real_data / "flickr8k_1000"), PluginManager().readers)
    folder = tmp_path / "files"
    folder.mkdir()
    rows = []
    for i in range(120):
        content = Path(flickr.images[i].name).read_bytes()
        for j, caption in enumerate(flickr.texts[i]):
            name = f"{flickr.ids[i]}#{j}.jpg"  # so that it sorts as `--captions all` calls the row
            (folder / name).write_bytes(content)
            rows.append((name, caption))
    readers = PluginManager().readers
    files = open_dataset(str(listed(folder, rows)), readers)
    captions = open_dataset(str(real_data / "flickr8k_1000"), readers, "all").take(list(range(600)))
    assert list(files.texts) == list(captions.texts)
    targets = row_targets(files.texts, PromptEncoder())
    one, other = (make_folds(data, targets, n_folds=5, threshold=0.7, seed=0) for data in (files, captions))
    assert np.array_equal(one.fold, other.fold)
    assert same_partition(one.group, other.group)
    assert (one.fold.reshape(120, 5) == one.fold[::5, None]).all()


@pytest.mark.real
def test_the_black_picture_of_the_safety_filter_is_told_apart(real_data: Path) -> None:
    data = open_dataset(str(real_data / "drawbench"), PluginManager().readers)
    found = pictures_of(data, row_targets(data.texts, PromptEncoder()))
    assert (found.shared, found.blank, found.blank_rows) == (0, 1, 3)
    (black,) = {data.digests[i] for i in range(600) if data.digests.count(data.digests[i]) > 1}
    image = data.images[data.digests.index(black)].open()
    assert not np.asarray(image).any()
