"""The mode ``prompts``: what it learns, from which rows, that it repeats itself and survives saving."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness_interrogator.bank import PromptBank
from harness_interrogator.neighbours import Bank
from harness_interrogator.towers import Clip

from harness.data.cache import DiskCache
from harness.data.lazy_images import LazyImages
from harness.errors import InputError, NotFittedError
from harness.plugin import TrainingData
from harness.training import l2_normalised
from tests.interrogator.towers import build, save_clip, scenes, some


@pytest.fixture(scope="module")
def fold() -> tuple[TrainingData, TrainingData]:
    """Rows to fit, and rows held out."""
    rows = scenes(120, 1)
    return some(rows, range(90)), some(rows, range(90, 120))


def test_it_beats_the_mean(tmp_path: Path) -> None:
    rows, gains = scenes(120, 1), []
    for f in range(3):
        train = some(rows, [i for i in range(120) if i % 3 != f])
        held = some(rows, range(f, 120, 3))
        predictor = build(tmp_path)
        predictor.fit(train)
        predicted = predictor.predict(held.images)
        assert predicted.dtype == np.float32
        assert np.linalg.norm(predicted, axis=1) == pytest.approx(1.0, abs=1e-5)
        mean = l2_normalised(train.targets.mean(axis=0))
        gains.append(np.einsum("nd,nd->n", predicted, held.targets).mean() - (held.targets @ mean).mean())
    assert np.mean(gains) > 0.003
    assert predictor.predict(held.images.take([])).shape == (0, 384)


def test_prompts_and_images_are_averaged_as_the_options_say(
    fold: tuple[TrainingData, TrainingData], tmp_path: Path
) -> None:
    train, held = fold
    for mix in (0.0, 0.3, 1.0):
        predictor = build(tmp_path, neighbours=7, sharpness=2.0, mix=mix)
        predictor.fit(train)
        clip, context = predictor._clip(), predictor.context
        images = clip.embed_images(context, train.images, 32)
        queries = l2_normalised(clip.embed_images(context, held.images, 32) - images.mean(axis=0))
        texts = clip.embed_texts(train.prompts, 64)
        expected = np.zeros((len(queries), 384))
        for share, rows in ((mix, texts), (1 - mix, images)):
            rows = l2_normalised(rows - rows.mean(axis=0))
            scale = (l2_normalised(images - images.mean(axis=0)) @ rows.T).std(axis=1).mean()
            similarities = queries @ rows.T
            for i, row in enumerate(similarities):
                near = np.argsort(-row)[:7]
                weights = np.exp(2.0 * row[near] / scale)
                expected[i] += share * l2_normalised(weights @ train.targets[near])
        # Banks are kept in float16.
        assert np.allclose(predictor.predict(held.images), l2_normalised(expected), atol=2e-3)


def test_held_out_rows_change_nothing(fold: tuple[TrainingData, TrainingData], tmp_path: Path) -> None:
    train, held = fold
    alone = build(tmp_path)
    alone.fit(train)
    expected = alone.predict(held.images)
    # A cache that has seen the held-out rows, with other prompts, in another fold.
    poisoned = some(held, range(len(held)))
    poisoned = TrainingData(
        poisoned.ids, poisoned.images, ["x"] * 30, [("x",)] * 30, -poisoned.targets, poisoned.groups
    )
    other = build(tmp_path)
    other.fit(poisoned)
    other.fit(train)  # and fitting twice equals fitting once
    assert np.allclose(other.predict(held.images), expected, atol=1e-5)
    assert other._bank is not None
    assert set(other._bank.prompts) == set(train.prompts)


def test_a_querys_own_group_does_not_choose_the_options(
    tmp_path: Path, fold: tuple[TrainingData, TrainingData]
) -> None:
    train = some(fold[0], range(60))
    doubled = some(train, [*range(60), *range(60)])  # each row once more, in its group
    predictor = build(tmp_path)
    predictor.fit(doubled)
    assert predictor._bank is not None
    assert len(predictor._bank.prompts) == 60  # distinct
    assert predictor._bank.setting.image_count > 1
    assert predictor._bank.setting.image_sharpness <= 3.0  # a twin left in would make the sharpest the best
    apart = TrainingData(
        doubled.ids, doubled.images, doubled.prompts, doubled.captions, doubled.targets, np.arange(120)
    )
    leaky = build(tmp_path)
    leaky.fit(apart)
    assert leaky._bank is not None
    assert leaky._bank.setting.image_sharpness > predictor._bank.setting.image_sharpness


def test_every_setting_of_a_grid_is_what_it_is_alone() -> None:
    rng = np.random.default_rng(0)
    queries = l2_normalised(rng.normal(size=(5, 8)).astype(np.float32))
    bank = Bank.of(
        l2_normalised(rng.normal(size=(50, 8)).astype(np.float32)),
        l2_normalised(rng.normal(size=(50, 384)).astype(np.float32)),
        queries,
    )
    similarities = bank.similarities(queries)
    similarities[:, ::3] = -np.inf
    together = bank.average(similarities, [4, 20, 50], [0.0, 2.0])
    alone = [bank.average(similarities, [count], [s])[:, 0] for count in (4, 20, 50) for s in (0.0, 2.0)]
    assert np.allclose(together, np.stack(alone, axis=1), atol=1e-5)
    assert np.isfinite(together).all()
    plain = l2_normalised(bank.targets.astype(np.float32)[np.arange(50) % 3 != 0].mean(axis=0))
    assert np.allclose(together[:, 4], plain, atol=1e-5)  # all rows, sharpness 0: the mean of those that take part


def test_order_batches_and_workers_do_not_matter(
    clip_folder: Path, fold: tuple[TrainingData, TrainingData], tmp_path: Path
) -> None:
    train, held = some(fold[0], range(40)), some(fold[1], range(9))
    images = held.images
    assert isinstance(images, LazyImages)

    def predicted(cache: str, shown: LazyImages, workers: int = 1, batch: int = 32) -> np.ndarray:
        context = {"workers": workers, "cache": DiskCache(tmp_path / cache)}  # nothing from before
        predictor = build(tmp_path, context, clip=str(clip_folder), image_batch=batch, text_batch=batch)
        predictor.fit(train)
        return predictor.predict(shown)

    expected = predicted("a", images)
    assert np.allclose(predicted("b", LazyImages(images._sources, images.digests, 3), 3, 7), expected, atol=1e-5)
    assert np.allclose(predicted("c", images.take(range(8, -1, -1)))[::-1], expected, atol=1e-5)
    assert np.allclose(predicted("d", images.take([4])), expected[4:5], atol=1e-5)


def test_a_saved_bank_predicts_the_same_in_a_new_process(
    clip_folder: Path, fold: tuple[TrainingData, TrainingData], tmp_path: Path
) -> None:
    train, held = fold
    predictor = build(tmp_path, clip=str(clip_folder))
    with pytest.raises(NotFittedError, match="interrogator: call fit or load before predict"):
        predictor.predict(held.images)
    predictor.fit(train)
    folder = tmp_path / "model"
    folder.mkdir()
    predictor.save(folder)
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
    script = (
        "import numpy as np\nfrom pathlib import Path\nfrom tests.interrogator.towers import build, scenes\n"
        f"predictor = build(Path({str(tmp_path / 'new')!r}), clip={str(clip_folder)!r})\n"
        f"predictor.load(Path({str(folder)!r}))\n"
        f"np.save({str(tmp_path / 'again.npy')!r}, predictor.predict(scenes(120, 1).images.take(range(90, 120))))\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=Path(__file__).parents[2])
    assert np.allclose(np.load(tmp_path / "again.npy"), predictor.predict(held.images), atol=1e-5)
    other = save_clip(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match=r"fitted with a CLIP with weights .* but interrogator\.clip=.*other has"):
        build(tmp_path, clip=str(other)).load(folder)


def test_explain_names_the_nearest_prompts(fold: tuple[TrainingData, TrainingData], tmp_path: Path) -> None:
    train, held = fold
    predictor = build(tmp_path, nearest=3)
    predictor.fit(train)
    for said in predictor.explain(held.images):
        assert [e.kind for e in said] == ["prompt"] * 3
        assert {e.text for e in said} <= set(train.prompts)
        scores = [e.score or 0.0 for e in said]
        assert scores == sorted(scores, reverse=True)
    own = [said[0].text for said in predictor.explain(train.images)]
    assert np.mean([a == b for a, b in zip(own, train.prompts, strict=True)]) > 0.5


def test_every_caption_is_a_prompt_and_each_is_embedded_once_for_all_folds(
    clip_folder: Path, fold: tuple[TrainingData, TrainingData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = some(fold[0], range(20))
    captions = [(prompt, f"second {i % 3}") for i, prompt in enumerate(rows.prompts)]
    many = TrainingData(rows.ids, rows.images, rows.prompts, captions, rows.targets, rows.groups)
    embedded: list[str] = []
    embed = Clip.embed_texts

    def listen(clip: Clip, texts: list[str], batch: int) -> object:
        embedded.extend(texts)
        return embed(clip, texts, batch)

    monkeypatch.setattr(Clip, "embed_texts", listen)
    for part in (some(many, range(15)), some(many, range(5, 20))):
        predictor = build(tmp_path, {"cache": DiskCache(tmp_path / "cache")}, clip=str(clip_folder))
        predictor.fit(part)
        assert isinstance(predictor._bank, PromptBank)
        assert len(predictor._bank.prompts) == 15 + 3
    assert len(embedded) == len(set(embedded)) == 20 + 3


def test_one_group_or_one_row_is_enough(clip_folder: Path, tmp_path: Path) -> None:
    rows = some(scenes(120, 1), range(6))
    one = TrainingData(rows.ids, rows.images, rows.prompts, rows.captions, rows.targets, np.zeros(6, dtype=np.int64))
    for part in (one, some(rows, [2])):
        predictor = build(tmp_path, clip=str(clip_folder))
        predictor.fit(part)
        assert np.isfinite(predictor.predict(rows.images)).all()
