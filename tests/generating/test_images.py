"""Images by real pipelines of random weights: the same whatever the batch, and whole after any stop."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.opening import open_dataset
from harness.errors import HarnessError, InputError
from harness.generating.batches import Batches, planned_batches
from harness.generating.options import parse_options
from harness.generating.pipeline import Picture, TextToImage, first_batch
from harness.generating.prompts import Request
from harness.generating.shards import key_of
from harness.generating.state import STATE
from harness.plugin import PluginManager
from tests.conftest import PROMPTS
from tests.generating.conftest import STEPS, Make, write_rows
from tests.generating.pipelines import BROKEN_WORD, save_checker, save_pipeline
from tests.generating.shards import contents, images, names, records


@contextmanager
def room_for(images: int) -> Iterator[list[int]]:
    """Let the memory hold so many images at a time, as far as a UNet can tell; gives the batches that it met."""
    from diffusers import UNet2DConditionModel

    forward, met = UNet2DConditionModel.forward, []

    def limited(self: Any, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        met.append(len(sample) // 2)  # with guidance each image is there twice
        if len(sample) > 2 * images:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return forward(self, sample, *args, **kwargs)

    UNet2DConditionModel.forward = limited
    try:
        yield met
    finally:
        UNet2DConditionModel.forward = forward


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
def test_any_architecture_and_any_batch_make_the_same_images(make: Make, tmp_path: Path, kind: str) -> None:
    model = str(save_pipeline(tmp_path / kind, kind))
    made = [make(f"by-{size}", model=model, batch_size=size) for size in (1, 4)]
    one, four = (images(tmp_path / f"by-{size}") for size in (1, 4))
    assert [picture.shape for picture in one] == [(64, 64, 3)] * 6
    # Rounding may differ in the last bits of float32, and so by one of 255 levels where it decides.
    assert max(np.abs(a - b).max() for a, b in zip(one, four, strict=True)) <= 1
    others = [np.abs(one[0] - other).mean() for other in one[1:]]
    assert min(others) > 5  # each is of its own seed
    assert [each.document()["batch_size"] for each in made] == [1, 4]
    assert [row["source"] for row in records(tmp_path / "by-1")] == [made[0].job.repository.source] * 6


def test_an_image_is_that_of_the_library_with_its_seed(make: Make, tiny: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    make(batch_size=3, guidance=5.0, negative="blurry", size="72x48")
    row, picture = records(tmp_path / "made")[4], images(tmp_path / "made")[4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = StableDiffusionPipeline.from_pretrained(tiny, safety_checker=None)
        pipe.set_progress_bar_config(disable=True)
        made = pipe(
            PROMPTS[4], generator=torch.Generator().manual_seed(row["seed"]), num_inference_steps=STEPS,
            guidance_scale=5.0, negative_prompt="blurry", width=72, height=48,
        )  # fmt: skip
    assert picture.shape == (48, 72, 3)
    assert np.abs(picture - np.asarray(made.images[0], dtype=np.int16)).max() <= 1
    told = {"steps": STEPS, "guidance": 5.0, "negative_prompt": "blurry", "width": 72, "height": 48, "flagged": None}
    assert {key: row.get(key) for key in told} == told


def test_a_row_is_the_same_among_other_rows_and_in_another_order(make: Make, tmp_path: Path) -> None:
    make("all")
    rows = [{"prompt": prompt} for prompt in (PROMPTS[5], PROMPTS[1])]
    make("two", write_rows(tmp_path / "two.jsonl", rows), batch_size=2)
    rows_of_all, of_all = records(tmp_path / "all"), images(tmp_path / "all")
    by_prompt = {row["prompt"]: picture for row, picture in zip(rows_of_all, of_all, strict=True)}
    for row, picture in zip(records(tmp_path / "two"), images(tmp_path / "two"), strict=True):
        assert np.abs(picture - by_prompt[row["prompt"]]).max() <= 1


def test_rows_with_settings_of_their_own(make: Make, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"prompt": prompt, "id": f"r.{i}/x"} for i, prompt in enumerate(PROMPTS[:6])]
    rows[1] |= {"steps": 1, "seed": 77, "source": "mine"}
    rows[3] |= {"guidance": 1.0}
    rows[4] |= {"negative_prompt": "blurry"}
    make("own", write_rows(tmp_path / "own.jsonl", rows), batch_size=4)
    found = records(tmp_path / "own")
    assert [row["id"] for row in found] == [
        row["id"] for row in rows
    ]  # in their order, though batches are of like rows
    assert [row["steps"] for row in found] == [2, 1, 2, 2, 2, 2]
    assert [row["guidance"] for row in found] == [7.5, 7.5, 7.5, 1.0, 7.5, 7.5]
    assert (found[1]["seed"], found[1]["source"], found[4]["negative_prompt"]) == (77, "mine", "blurry")
    assert names(tmp_path / "own")[:2] == ["r%2E0%2Fx.png", "r%2E0%2Fx.json"]
    alone = write_rows(tmp_path / "alone.jsonl", [rows[4]])
    make("alone", alone)
    assert np.abs(images(tmp_path / "alone")[0] - images(tmp_path / "own")[4]).max() <= 1


def test_a_command_goes_on_where_it_stopped_and_comes_to_the_same_bytes(make: Make, tmp_path: Path) -> None:
    options = {"batch_size": 2, "shard_rows": 4}
    make("whole", **options)

    class StoppedError(Exception):
        pass

    def stop(after: int) -> Any:
        def progress(done: int, total: int) -> None:
            if done >= after:
                raise StoppedError

        return progress

    with pytest.raises(StoppedError):
        make("cut", progress=stop(2), **options)
    assert not contents(tmp_path / "cut")
    assert len(list((tmp_path / "cut" / ".generate" / "parts").iterdir())) == 1
    with pytest.raises(StoppedError):
        make("cut", progress=stop(6), **options)
    said: list[str] = []
    last = make("cut", said=said, **options)
    assert last.made == 0 or "of 6 images to make" in said[-1]
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    again = make("cut", said=(quiet := []), **options)
    assert (again.made, again.images, quiet) == (0, 6, [])  # no model is loaded for nothing
    shown = sorted(path.name for path in (tmp_path / "cut").iterdir() if path.name != ".generate")
    assert shown == ["00000.tar", "00001.tar"]
    assert not list((tmp_path / "cut" / ".generate" / "parts").iterdir())


def test_damaged_batches_and_lost_shards_are_made_again(make: Make, tmp_path: Path) -> None:
    options = {"batch_size": 2, "shard_rows": 3}
    make("whole", **options)
    (tmp_path / "whole" / "00001.tar").rename(tmp_path / "lost.tar")
    assert make("whole", **options).made == 3
    assert (tmp_path / "whole" / "00001.tar").read_bytes() == (tmp_path / "lost.tar").read_bytes()
    with (tmp_path / "whole" / "00000.tar").open("ab") as stream:
        stream.write(b"more")
    parts = tmp_path / "whole" / ".generate" / "parts"
    (parts / "00000-0000000.tar").write_bytes(b"no archive" * 100)
    assert make("whole", **options).made == 3
    assert len(contents(tmp_path / "whole")) == 2


def test_the_folder_is_a_data_set(make: Make, tmp_path: Path) -> None:
    make("made", shard_rows=100)
    dataset = open_dataset(str(tmp_path / "made"), PluginManager().readers)
    assert list(dataset.texts) == [(prompt,) for prompt in PROMPTS[:6]]
    assert [image.open().size for image in dataset.images] == [(64, 64)] * 6
    assert [np.asarray(image.open()).tolist() for image in dataset.images] == [
        p.tolist() for p in images(tmp_path / "made")
    ]


def test_parquet_as_datasets_reads_it(make: Make, tmp_path: Path) -> None:
    from pyarrow import parquet

    make("tar")
    make("table", format="parquet", shard_rows=4)
    files = sorted((tmp_path / "table").glob("*.parquet"))
    rows = [row for file in files for row in parquet.read_table(file).to_pylist()]
    assert [file.name for file in files] == ["00000.parquet", "00001.parquet"]
    for row, record in zip(rows, records(tmp_path / "tar"), strict=True):
        assert {key: value for key, value in row.items() if value is not None and key != "image"} == record
        assert row["image"]["path"] == f"{record['id']}.png"
        assert row["image"]["bytes"][:4] == b"\x89PNG"
    features = json.loads(parquet.read_schema(files[0]).metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert set(features) == set(parquet.read_schema(files[0]).names)


def test_jpeg(make: Make, tmp_path: Path) -> None:
    make("png")
    make("jpg", jpeg=95)
    assert names(tmp_path / "jpg")[0].endswith(".jpg")
    for a, b in zip(images(tmp_path / "png"), images(tmp_path / "jpg"), strict=True):
        assert 0 < np.abs(a - b).mean() < 40


def test_batches_are_halved_where_memory_is_short(make: Make, tiny: Path, tmp_path: Path) -> None:
    requests = [Request(f"{i}", prompt, i, steps=1) for i, prompt in enumerate(PROMPTS[:6])]
    pipeline = TextToImage(tiny, parse_options({"model": str(tiny), "steps": 1}), "cpu", "float32")
    with room_for(2) as met:
        batches = Batches(pipeline, 8, fixed=False)
        made = batches(requests)
    assert (met, batches.size) == ([6, 4, 2, 2, 2], 2)
    with room_for(3) as met:
        assert len(Batches(pipeline, 16, fixed=False)(requests)) == 6
    assert met == [6, 4, 2, 2, 2]
    whole = pipeline(requests)
    for a, b in zip(made, whole, strict=True):
        assert np.abs(a.pixels.astype(int) - b.pixels.astype(int)).max() <= 1
    with room_for(2), pytest.raises(HarnessError, match=r"--batch-size 4: .* give --batch-size 2 or auto"):
        make("fixed", batch_size=4)
    with room_for(0), pytest.raises(HarnessError, match="does not hold even one image at a time"):
        make("none", batch_size=1)


def test_the_size_that_fits_is_kept_for_the_next_command(make: Make, tmp_path: Path) -> None:
    make("made", limit=4)
    state = json.loads((tmp_path / "made" / STATE).read_text())
    assert state["batch_size"] == 1
    assert first_batch(parse_options({"model": "m"}), "cuda") == 16
    assert first_batch(parse_options({"model": "m", "size": "1024x1024"}), "cuda:1") == 4
    assert first_batch(parse_options({"model": "m", "size": "4096x4096"}), "cuda") == 1
    assert first_batch(parse_options({"model": "m", "batch_size": "7"}), "cpu") == 7


def test_batches_depend_on_the_rows_alone() -> None:
    requests = [Request(f"{i}", "p", i, steps=1 + i % 2) for i in range(10)]
    assert planned_batches(requests, range(2, 9), 2) == [[2, 4], [6, 8], [3, 5], [7]]


def test_a_row_that_breaks_ends_the_work_or_is_listed(make: Make, tmp_path: Path) -> None:
    rows = [{"prompt": prompt, "id": f"r{i}"} for i, prompt in enumerate(PROMPTS[:6])]
    rows[3]["prompt"] = f"a {BROKEN_WORD} sign"
    source = write_rows(tmp_path / "rows.jsonl", rows)
    options = {"batch_size": 2, "shard_rows": 6}
    with pytest.raises(HarnessError, match=r"row 'r3' failed twice: it has values that are no numbers.*--skip-broken"):
        make("made", source, **options)
    made = make("made", source, skip_broken=True, **options)
    assert [row["id"] for row in records(tmp_path / "made")] == ["r0", "r1", "r2", "r4", "r5"]
    assert made.made == 3  # what was made before, the good row of that batch among it, was kept
    assert (made.document()["broken"], made.document()["left_out"], made.images) == (1, 1, 5)
    (listed,) = [json.loads(line) for line in made.job.folder.left_out.read_text().splitlines()]
    assert (listed["id"], listed["kind"], listed["prompt"]) == ("r3", "broken", rows[3]["prompt"])
    assert "1 row failed twice: left out" in made.notes
    assert make("made", source, skip_broken=True, **options).made == 0


def test_rows_that_all_break_end_the_work_whatever_is_asked(make: Make, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [{"prompt": f"{i} {BROKEN_WORD}"} for i in range(30)])
    with pytest.raises(HarnessError, match="20 rows one after the other failed twice"):
        make("made", source, skip_broken=True, batch_size=10, shard_rows=5)


def test_what_a_pipeline_raises_over_one_row_is_that_rows_alone() -> None:
    class Picky:
        def __call__(self, requests: list[Request]) -> list[Picture]:
            if any(request.prompt == "bad" for request in requests):
                raise ValueError("no such prompt")
            return [Picture(np.zeros((1, 1, 3), np.uint8)) for _ in requests]

    made = Batches(Picky(), 4, fixed=False)([Request(str(i), "bad" if i == 2 else "good", i) for i in range(6)])
    assert [picture.problem for picture in made] == ["", "", "ValueError: no such prompt", "", "", ""]


def test_what_a_safety_checker_blackens_is_listed_and_never_mixed_in(make: Make, tmp_path: Path) -> None:
    checked = save_pipeline(tmp_path / "checked")
    save_checker(checked, threshold=-2.0)  # flags all
    made = make("all", model=str(checked))
    assert (made.images, made.document()["flagged"], made.document()["shards"]) == (0, 6, 0)
    assert not contents(tmp_path / "all")
    assert [json.loads(line)["kind"] for line in made.job.folder.left_out.read_text().splitlines()] == ["flagged"] * 6
    assert make("all", model=str(checked)).made == 0
    kept = make("kept", model=str(checked), keep_flagged=True)
    assert [row["flagged"] for row in records(tmp_path / "kept")] == [True] * 6
    assert max(picture.max() for picture in images(tmp_path / "kept")) == 0
    assert (kept.images, kept.left_out) == (6, 0)
    assert any("6 images blackened by the model's safety checker: kept" in note for note in kept.notes)
    save_checker(checked, threshold=2.0)  # flags none
    clean = make("clean", model=str(checked))
    assert (clean.images, clean.document()["flagged"]) == (6, 0)


def test_prompts_whose_end_the_model_does_not_see_are_told(make: Make, tmp_path: Path) -> None:
    rows = [{"prompt": "the red fox"}, {"prompt": " ".join(["the"] * 75)}, {"prompt": " ".join(["the"] * 76)}]
    made = make("made", write_rows(tmp_path / "rows.jsonl", rows))
    assert [row["truncated"] for row in records(tmp_path / "made")] == [False, False, True]
    assert any(note.startswith("1 prompt longer than the 77 tokens") for note in made.notes)


def test_a_scheduler_of_ones_own(make: Make, tmp_path: Path) -> None:
    make("ddim")
    for size in (1, 3):  # one that draws noise at every step, from the row's own seed, too
        make(f"euler-{size}", scheduler="EulerAncestralDiscreteScheduler", batch_size=size)
    assert records(tmp_path / "euler-1")[0]["scheduler"] == "EulerAncestralDiscreteScheduler"
    ddim, one, three = (images(tmp_path / name) for name in ("ddim", "euler-1", "euler-3"))
    assert np.abs(ddim[0] - one[0]).mean() > 0.1
    assert max(np.abs(a - b).max() for a, b in zip(one, three, strict=True)) <= 1
    with pytest.raises(InputError, match=r"--scheduler Fast: it does not go with .* choose one of .*EulerDiscrete"):
        make("other", scheduler="Fast")


def test_another_set_of_options_is_refused_in_the_same_folder(make: Make, tmp_path: Path) -> None:
    make("made")
    before = contents(tmp_path / "made")
    other: dict[str, Any]
    for other, told in (
        ({"steps": 3}, "--steps 2, and now 3"),
        ({"guidance": 1.0}, "--guidance not given, and now 1.0"),
        ({"seed": 1}, "--seed 0, and now 1"),
        ({"precision": "bfloat16"}, "--precision float32, and now bfloat16"),
        ({"jpeg": 90}, "--jpeg not given, and now 90"),
        ({"limit": 2}, "rows 6, and now 2"),
        ({"keep_flagged": True}, "--keep-flagged false, and now true"),
    ):
        with pytest.raises(InputError) as caught:
            make("made", **other)
        assert f"--out {tmp_path / 'made'}: it was begun with other options: " in str(caught.value)
        assert told in str(caught.value)
        assert "PROMPTS" not in str(caught.value)  # the rows differ because the option does
    changed = write_rows(tmp_path / "rows.jsonl", [{"prompt": prompt} for prompt in reversed(PROMPTS[:6])])
    with pytest.raises(InputError, match=r"with other options: PROMPTS, whose texts, .* are no longer the same\. Give"):
        make("made", changed)
    assert contents(tmp_path / "made") == before


def test_folders_that_are_something_else(make: Make, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "photo.png").touch()
    with pytest.raises(InputError, match="it is not empty, and was not begun by this command"):
        make("made")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--out .*file: it is a file; name a new folder"):
        make("file")
    make("newer", limit=1)
    state = json.loads((tmp_path / "newer" / STATE).read_text())
    (tmp_path / "newer" / STATE).write_text(json.dumps({**state, "schema": 99}))
    with pytest.raises(InputError, match="a later version of harness"):
        make("newer", limit=1)


def test_another_process_in_the_folder(make: Make, tmp_path: Path) -> None:
    made = make("made", limit=1)
    with made.job.folder.locked(), pytest.raises(InputError, match="another process is generating into this folder"):
        make("made", limit=1)


def test_ids_become_keys_that_differ() -> None:
    ids = ["a", "A", "a.b", "a%2Eb", "a/b", "é", "e\u0301", ".", "..", "x" * 300, "x" * 301, "a b"]
    keys = [key_of(row_id) for row_id in ids]
    assert len(set(keys)) == len(ids)
    assert all("." not in key and "/" not in key and len(key) < 200 for key in keys)
