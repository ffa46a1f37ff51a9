"""What the benchmark ``gpu`` does on a card runs through on a processor, on stubs; nothing here is timed."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import transformers

from harness.models import TINY_FOLDER
from tests.benchmarks import gpu
from tests.benchmarks.__main__ import parse
from tests.benchmarks.gpu_bench import Bench, smooth_picture
from tests.benchmarks.gpu_search import THRESHOLD, clustered
from tests.benchmarks.gpu_setting import CARD, PARTS, PROCESSOR, SMALL, Clock, Options
from tests.benchmarks.gpu_training import Passes
from tests.benchmarks.result import Result

pytestmark = pytest.mark.long

NOT_RUN = re.compile("not run|stopped|failed|not measured")


@pytest.fixture(scope="module")
def rows() -> list[Result]:
    return [*gpu.measure(Options(small=True))]


def bench(tmp_path: Path, setting: object = SMALL, **options: object) -> Bench:
    return Bench(setting, Options(small=True, **options), Clock(60.0), tmp_path)  # type: ignore[arg-type]


def test_every_part_that_a_card_is_asked_has_rows_and_finite_figures(rows: list[Result]) -> None:
    told = {row.what: row for row in rows}
    assert told["card"].ours.startswith("no CUDA card")
    assert [row.what for row in rows if NOT_RUN.search(row.ours + row.other)] == ["copy from pinned memory to the card"]
    for row in rows[1:]:
        for figure in re.findall(r"[-+.\w]+(?= images/s| rows/s| TFLOP/s| s\b| x\b)", f"{row.ours} {row.ratio}"):
            assert 0 <= float(figure) < float("inf"), row
    for begins in (
        "20 products",
        "decode jpg of 512 x 512",
        "decode png of 512 x 512",
        "bare inference, autocast",
        "bare inference, bf16 weights, batch",
        "bare inference, bf16 weights, compiled",
        "`predict` of pictures already decoded",
        "`predict` from jpg files",
        "`predict` from png files",
        "bare training, batch 64, fused AdamW,",
        "`fit`, jpg, pixels kept",
        "`fit`, jpg, decoded each pass",
        "`fit`, png, decoded each pass",
        "`fit`, head alone",
        "`predict` from jpg files, LoRA",
        "all pairs >= 0.7",
        "interrogator `fast`",
        "seconds of the whole",
    ):
        assert any(what.startswith(begins) for what in told), begins


def test_the_goals_are_named_beside_what_they_are_for(rows: list[Result]) -> None:
    goals = {row.what: row.goal.removeprefix("on a card: ") for row in rows if row.goal}
    for begins, goal in (
        ("decode jpg", ">= 1500 images/s on 16 cores"),
        ("`predict` of pictures already decoded", ">= 1200 images/s"),
        ("`predict` from jpg", ">= .90 x"),
        ("`predict` from png", ">= .90 x"),
        ("`fit`, jpg, pixels kept", ">= .95 x"),
        ("`fit`, jpg, decoded", ">= .95 x"),
        ("seconds of the whole", "<= 480 s"),
    ):
        assert goal in {told for what, told in goals.items() if what.startswith(begins)}


def test_a_part_alone_says_what_it_has_nothing_to_stand_beside() -> None:
    card, decoded, jpg, png, whole = gpu.measure(Options(small=True, parts=("predict",)))
    assert {decoded.other, jpg.other, png.other} == {"not measured"}
    assert card.what == "card"
    assert whole.what == "seconds of the whole"


def test_a_spent_budget_says_so_of_each_part() -> None:
    told = [row.ours for row in gpu.measure(Options(small=True, budget=0.0))][1:-1]
    assert len(told) == len(PARTS)
    assert all(ours.startswith("not run: ") for ours in told)


def test_a_part_that_takes_too_long_is_stopped_and_the_next_one_runs(tmp_path: Path) -> None:
    def sleeps(bench: Bench) -> Iterator[Result]:
        yield Result("first", "1", "", "", "")
        try:
            time.sleep(30)
        except Exception:  # as what compiles may
            pytest.fail("it was stopped by what others catch")

    before = signal.getsignal(signal.SIGALRM)
    first, stopped = gpu._rows(gpu.Part("slow", sleeps, 0.0, 0.2), bench(tmp_path))
    assert first.what == "first"
    assert stopped.ours.startswith("stopped: it may take 0 s")
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def test_what_fails_is_a_row_and_an_error_only_after_the_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(bench: Bench) -> Iterator[Result]:
        yield Result("first", "1", "", "", "")
        raise ValueError("boom")

    def works(bench: Bench) -> Iterator[Result]:
        yield Result("second", "2", "", "", "")

    monkeypatch.setattr(gpu, "parts", lambda: (gpu.Part("a", breaks, 0, 9), gpu.Part("b", works, 0, 9)))
    seen = []
    with pytest.raises(RuntimeError, match="gpu: a failed"):
        for row in gpu.measure(Options(small=True)):
            seen.append((row.what, row.ours))
    assert seen[1:4] == [("first", "1"), ("part a", "failed: ValueError, see stderr"), ("second", "2")]
    assert seen[4][0] == "seconds of the whole"
    assert "boom" in capsys.readouterr().err


def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    def lacks(bench: Bench) -> Iterator[Result]:
        import harness_that_nobody_has  # type: ignore[import-not-found]

        yield harness_that_nobody_has

    (row,) = gpu._rows(gpu.Part("b", lacks, 0, 9), bench(tmp_path))
    assert row.ours == "not run: harness_that_nobody_has is not installed"


def test_the_card_has_the_published_shapes(tmp_path: Path) -> None:
    large = bench(tmp_path, CARD)
    assert large.flop == pytest.approx(382e9, rel=1e-3)
    published = transformers.CLIPVisionConfig(**large.shape.to_dict())
    assert (published.num_hidden_layers, published.image_size, published.patch_size) == (24, 336, 14)
    assert CARD.head_width == 16 * 1024
    assert CARD.predicted % CARD.batch == 0


def test_a_processor_has_the_shape_of_the_bundled_tower(tmp_path: Path) -> None:
    bundled = transformers.CLIPVisionModel.from_pretrained(TINY_FOLDER / "clip", local_files_only=True)
    made = bench(tmp_path, PROCESSOR).tower()
    assert {name: value.shape for name, value in made.state_dict().items()} == {
        name: value.shape for name, value in bundled.state_dict().items()
    }
    assert made.config.image_size == bundled.config.image_size


def test_passes_are_timed_from_the_end_of_the_first(tmp_path: Path) -> None:
    told = Passes(bench(tmp_path), steps=2, passes=3)
    for label, done, total in (("other", 9, 9), ("train", 1, 6), ("train", 2, 6)):
        told(label, done, total)
    with pytest.raises(ValueError, match="a fit of 6 steps told of its progress 1 times"):
        told.rate()
    time.sleep(0.05)
    told("train", 6, 6)
    assert 0 < told.rate() <= 4 * 64 / 0.05


def test_pictures_are_as_large_as_those_of_stable_diffusion(tmp_path: Path) -> None:
    picture = smooth_picture(0)
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "a.jpg", quality=92)
    assert 350_000 < (tmp_path / "a.png").stat().st_size < 550_000
    assert 60_000 < (tmp_path / "a.jpg").stat().st_size < 120_000
    assert np.array_equal(picture, smooth_picture(0))


def test_rows_of_a_cluster_are_near_and_no_others() -> None:
    vectors = clustered(2000)
    cosine = (vectors @ vectors.T)[np.triu_indices(2000, 1)]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    near = cosine[cosine >= THRESHOLD]
    assert 2000 < len(near) < 8000
    assert not ((cosine > 0.4) & (cosine < 0.6)).any()


def test_the_command_line_takes_parts_and_options_of_clipnet() -> None:
    names, options = parse(["gpu", "--parts", "train,fit", "--set", "predict_batch=256", "--set", "precision=float32"])
    assert names == ["gpu"]
    assert options.gpu == Options(parts=("train", "fit"), clipnet={"predict_batch": 256, "precision": "float32"})
    with pytest.raises(SystemExit):
        parse(["gpu", "--parts", "trian"])
    assert tuple(part.name for part in gpu.parts()) == PARTS
