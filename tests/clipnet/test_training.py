"""What training does: it learns, repeats itself, averages, keeps groups apart, and touches what its stage names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_baselines.mean import MeanPredictor
from harness_clipnet.augment import augment
from harness_clipnet.network import ClipNet, Mixup, MovingAverage, build_head
from harness_clipnet.tower import core, load_tower

from harness.errors import HarnessError, InputError
from harness.plugin import Context, TrainingData
from harness.training import inner_split
from tests.baselines.test_predictors import score
from tests.clipnet.towers import build, rows


class Listener:
    """Remembers what progress was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, int]] = []

    def __call__(self, label: str, done: int, total: int) -> None:
        self.heard.append((label, done, total))

    def losses(self, stage: str) -> list[float]:
        return [float(label.split("loss ")[1].split(",")[0]) for label, _, _ in self.heard if label.startswith(stage)]


def test_it_learns_and_beats_the_mean(tower: Path, tmp_path: Path) -> None:
    train, held, heard = rows(160, 0), rows(60, 1), Listener()
    predictor = build(tower, tmp_path, {"on_progress": heard}, epochs=12, inner_share=0.2, ema_decay=0.9)
    predictor.fit(train)
    mean = MeanPredictor(MeanPredictor.Config(), Context(scratch=tmp_path))
    mean.fit(train)
    assert score(predictor, held) > score(mean, held) + 0.3
    losses = heard.losses("train")
    assert losses[-1] < 0.6 * losses[0]
    # The same stands in the history that the task's record keeps, with the inner score after each pass.
    told = [values for stage, _, values in predictor.context.history if stage == "train"]
    assert [values["loss"] for values in told if "loss" in values][-1] == pytest.approx(losses[-1], abs=1e-4)
    assert [
        step for stage, step, values in predictor.context.history if stage == "train" and "inner_score" in values
    ] == [8 * epoch for epoch in range(1, 13)]
    assert "inner score 0." in heard.heard[-1][0]
    assert heard.heard[-1][1:] == (12 * 8, 12 * 8)
    predicted = predictor.predict(held.images)
    assert predicted.dtype == np.float32
    assert np.linalg.norm(predicted, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert predictor.predict(held.images.take([])).shape == (0, 384)


EVERYTHING: dict[str, Any] = {
    "head_epochs": 2,
    "ema_decay": 0.9,
    "inner_share": 0.25,
    "crop_min": 0.7,
    "flip": True,
    "lora_dropout": 0.1,
    "mixup": 0.5,
}


def test_the_same_seed_predicts_the_same_with_any_number_of_loader_workers(tower: Path, tmp_path: Path) -> None:
    found = []
    for workers, cache in ((1, 512), (4, 0)):  # kept pixels and decoded anew must not differ either
        predictor = build(tower, tmp_path, {"seed": 3, "workers": workers}, cache_images_mb=cache, **EVERYTHING)
        predictor.fit(rows(64, 0, workers))
        found.append(predictor.predict(rows(10, 1, workers).images))
    assert np.array_equal(found[0], found[1])
    other = build(tower, tmp_path, {"seed": 4}, **EVERYTHING)
    other.fit(rows(64, 0))
    assert not np.allclose(other.predict(rows(10, 1).images), found[0], atol=1e-3)


def test_training_neither_heeds_nor_moves_the_global_generator(tower: Path, tmp_path: Path) -> None:
    found = []
    for start in (1, 2):
        torch.manual_seed(start)
        before = torch.get_rng_state()
        predictor = build(tower, tmp_path, **EVERYTHING)
        predictor.fit(rows(64, 0))
        assert torch.equal(torch.get_rng_state(), before)
        found.append(predictor.predict(rows(4, 1).images))
    assert np.array_equal(found[0], found[1])


def test_fitting_twice_equals_fitting_once(tower: Path, tmp_path: Path) -> None:
    once, twice = build(tower, tmp_path), build(tower, tmp_path)
    once.fit(rows(48, 0))
    twice.fit(rows(40, 5))
    twice.fit(rows(48, 0))
    assert np.array_equal(once.predict(rows(6, 1).images), twice.predict(rows(6, 1).images))


def test_a_row_depends_on_its_image_alone(tower: Path, tmp_path: Path) -> None:
    predictor, held = build(tower, tmp_path), rows(20, 1)
    predictor.fit(rows(48, 0))
    whole = predictor.predict(held.images)
    order = np.random.default_rng(0).permutation(20)
    assert np.allclose(predictor.predict(held.images.take(order.tolist())), whole[order], atol=1e-5)
    assert np.allclose(predictor.predict(held.images.take([7])), whole[[7]], atol=1e-5)


def test_the_head_phase_leaves_the_tower_alone(tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness_clipnet import training

    states: list[tuple[str, dict[str, torch.Tensor], dict[str, torch.Tensor]]] = []

    def watched(stage: Any, *others: Any) -> None:
        network = watched.network  # type: ignore[attr-defined]
        before = {name: value.clone() for name, value in network.state_dict().items()}
        original(stage, *others)
        states.append((stage.label, before, {n: v.clone() for n, v in network.state_dict().items()}))

    original, start = training.train_stage, training.start_network

    def started(*arguments: Any) -> Any:
        answer = start(*arguments)
        watched.network = answer[0]  # type: ignore[attr-defined]
        return answer

    monkeypatch.setattr(training, "train_stage", watched)
    monkeypatch.setattr(training, "start_network", started)
    predictor = build(tower, tmp_path, head_epochs=3, epochs=1)
    predictor.fit(rows(48, 0))
    assert [label for label, _, _ in states] == ["head", "train"]
    changed = [{name for name in before if not torch.equal(before[name], after[name])} for _, before, after in states]
    assert changed[0]
    assert all(name.startswith("head.") for name in changed[0])
    assert any(name.startswith("tower.encoder.layers.4.") for name in changed[1])
    assert any(".lora_B." in name for name in changed[1])
    assert not any("embeddings" in name or "base_layer" in name for name in changed[1])


def test_the_head_alone_on_cached_features_predicts_from_pixels(tower: Path, tmp_path: Path) -> None:
    """The features that trained the head are those the whole network computes."""
    train, held = rows(160, 0), rows(60, 1)
    predictor = build(tower, tmp_path, epochs=0, head_epochs=40, lr_head=1e-2)
    predictor.fit(train)
    mean = MeanPredictor(MeanPredictor.Config(), Context(scratch=tmp_path))
    mean.fit(train)
    assert score(predictor, held) > score(mean, held) + 0.2
    assert predictor._fitted is not None
    plain = load_tower(tower, "t").state_dict()
    after = predictor._fitted.network.tower.state_dict()
    assert all(torch.equal(after[name], plain[name]) for name in plain)


def test_features_are_computed_once_an_image(tower: Path, tmp_path: Path) -> None:
    from harness.data import DiskCache

    cache = DiskCache(tmp_path / "cache")
    asked: list[int] = []

    class Counting:
        def value(self, key: Any, compute: Callable[[], Any]) -> Any:
            return cache.value(key, compute)

        def rows(self, key: Any, images: Any, compute: Callable[[Any], Any], progress: Any) -> Any:
            def counted(part: Any) -> Any:
                asked.append(len(part))
                return compute(part)

            return cache.rows(key, images, counted, progress)

    for seed in (0, 1):
        predictor = build(tower, tmp_path, {"cache": Counting(), "seed": seed}, epochs=0, head_epochs=1)
        predictor.fit(rows(32, 0))
    assert sum(asked) == 32


def test_averages_include_batchnorm_and_are_what_predicts() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    network[0].bias.requires_grad_(False)
    average = MovingAverage(network, decay=0.5)
    expected = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    for step in range(6):
        with torch.no_grad():
            network[0].weight.add_(torch.rand(4, 3, generator=generator))
        network(torch.rand(8, 3, generator=generator))  # moves the running mean and variance
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        for name in ("0.weight", "1.running_mean", "1.running_var"):
            expected[name] = decay * expected[name] + (1 - decay) * network.state_dict()[name]
    own = {name: value.clone() for name, value in network.state_dict().items()}
    with average.applied():
        for name in ("0.weight", "1.running_mean", "1.running_var"):
            assert torch.allclose(network.state_dict()[name], expected[name], atol=1e-6)
            assert not torch.allclose(network.state_dict()[name], own[name], atol=1e-4)
        assert network[1].num_batches_tracked == 6
    assert all(torch.equal(network.state_dict()[name], own[name]) for name in own)
    average.copy_to_network()
    assert torch.allclose(network[1].running_mean, expected["1.running_mean"], atol=1e-6)


def test_the_inner_score_sees_other_groups_only_and_the_best_epoch_is_kept(tower: Path, tmp_path: Path) -> None:
    """Rows of a group are alike and groups are noise: within groups it would look as if training went on helping."""
    rng = np.random.default_rng(0)
    train = rows(120, 0)
    noise = rng.normal(size=(12, 384)).repeat(10, axis=0) + 0.6
    targets = (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)
    train = dataclasses.replace(train, targets=targets, groups=np.arange(120) // 10)
    heard = Listener()
    predictor = build(
        tower, tmp_path, {"on_progress": heard}, epochs=40, inner_share=0.25, patience=2, lr_tower=3e-3, lr_head=3e-2
    )
    predictor.fit(train)
    assert heard.heard[-1][1] < heard.heard[-1][2]  # it stopped early
    scores: list[float] = []
    for label, _, _ in heard.heard:
        if "inner score" in label:
            value = float(label.rsplit(" ", 1)[1])
            scores += [value] if not scores or value != scores[-1] else []
    _, outside = inner_split(train, 0.25)
    held = TrainingData([], train.images.take(outside.tolist()), [], [], train.targets[outside], train.groups[outside])
    assert score(predictor, held) == pytest.approx(max(scores), abs=1e-4)


def test_crops_and_mirrors_are_of_the_image() -> None:
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 1, 32).view(1, 1, 1, 32).expand(64, 3, 32, 32)
    assert torch.equal(augment(ramp, 1.0, False, generator), ramp)
    cropped = augment(ramp, 0.5, False, generator)
    assert cropped.shape == ramp.shape
    widths = cropped[:, 0, 0, -1] - cropped[:, 0, 0, 0]
    assert widths.min() > 0.45
    assert widths.max() < 1.0
    mirrored = augment(ramp, 1.0, True, generator)[:, 0, 0, 0] > 0.5
    assert 16 < int(mirrored.sum()) < 48


def test_mixup_mixes_each_row_with_one_other_by_the_batchs_share() -> None:
    assert Mixup.draw(8, 0.0, np.random.default_rng(0)) is None
    rng = np.random.default_rng(0)
    mixups = [mixup for _ in range(300) if (mixup := Mixup.draw(8, 2.0, rng)) is not None]
    shares = np.array([mixup.share for mixup in mixups])
    assert shares.mean() == pytest.approx(0.5, abs=0.05)
    assert shares.var() == pytest.approx(1 / 20, rel=0.25)  # Beta(2, 2)
    mixup, rows_ = mixups[0], torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    assert sorted(mixup.other.tolist()) == list(range(8))
    assert torch.allclose(mixup(rows_), mixup.share * rows_ + (1 - mixup.share) * rows_[mixup.other], atol=1e-6)


def test_features_and_targets_are_mixuped_alike_and_only_in_training(
    tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is mixed with itself is the row: with such partners, training is as without mixup."""
    train, held = rows(48, 0), rows(6, 1)
    options: dict[str, Any] = {"head_epochs": 2, "inner_share": 0.25}
    found = {}
    for name, mixup in (("without", 0.0), ("itself", 1.0), ("others", 1.0)):
        real = Mixup.draw

        def alone(n: int, alpha: float, rng: np.random.Generator, _real: Any = real) -> Mixup | None:
            drawn = _real(n, alpha, rng)
            return drawn and Mixup(drawn.share, torch.arange(n))

        predictor = build(tower, tmp_path, mixup=mixup, **options)
        with monkeypatch.context() as patch:
            if name == "itself":
                patch.setattr(Mixup, "draw", alone)
            predictor.fit(train)
        found[name] = predictor.predict(held.images)
    assert np.allclose(found["itself"], found["without"], atol=1e-3)
    assert not np.allclose(found["others"], found["without"], atol=1e-2)


def test_the_tower_phase_mixups_the_pooled_output(tower: Path) -> None:
    from harness_clipnet.tower import pooled

    network = ClipNet(load_tower(tower, "t"), build_head(32, 16)).eval()
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mixup = Mixup(0.3, torch.tensor([1, 2, 3, 0]))
    with torch.inference_mode():
        features = pooled(network.tower, pixels)
        expected = network.head(0.3 * features + 0.7 * features[[1, 2, 3, 0]])
        assert torch.allclose(network(pixels, mixup), expected, atol=1e-5)
        assert torch.equal(network(pixels), network.head(features))


@pytest.mark.parametrize("options", [{"precision": "bfloat16"}, {"precision": "float16"}])
def test_autocast_learns_too(tower: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    train, heard = rows(64, 0), Listener()
    predictor = build(tower, tmp_path, {"on_progress": heard}, epochs=6, **options)
    predictor.fit(train)
    losses = heard.losses("train")
    assert losses[-1] < 0.8 * losses[0]
    assert predictor._fitted is not None
    assert {p.dtype for p in predictor._fitted.network.parameters()} == {torch.float32}


def test_checkpointing_gives_the_same_network(tower: Path, tmp_path: Path) -> None:
    found = []
    for checkpointing in (False, True):
        predictor = build(tower, tmp_path, gradient_checkpointing=checkpointing)
        predictor.fit(rows(48, 0))
        found.append(predictor.predict(rows(6, 1).images))
    assert np.allclose(found[0], found[1], atol=1e-5)


def test_checkpointing_recomputes_the_layers(tower: Path, tmp_path: Path) -> None:
    calls = {False: 0, True: 0}
    for checkpointing in calls:
        predictor = build(tower, tmp_path, gradient_checkpointing=checkpointing, epochs=1, batch_size=32)
        from harness_clipnet import training

        def counted(*arguments: Any, _real: Any = training.start_network, _on: bool = checkpointing) -> Any:
            answer = _real(*arguments)

            def count(*_: Any) -> None:
                calls[_on] += 1

            core(answer[0].tower).encoder.layers[2].mlp.register_forward_pre_hook(count)
            return answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "start_network", counted)
            predictor.fit(rows(32, 0))
    assert calls == {False: 1, True: 2}


def test_a_training_that_diverges_says_what_to_lower(tower: Path, tmp_path: Path) -> None:
    train = rows(32, 0)
    predictor = build(tower, tmp_path)
    broken = dataclasses.replace(train, targets=np.full_like(train.targets, np.nan))
    with pytest.raises(HarnessError, match=r"the loss became nan .* lower clipnet\.lr_head"):
        predictor.fit(broken)


def test_what_cannot_be_trained_is_said(tower: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 2 training rows"):
        build(tower, tmp_path).fit(rows(1, 0))
    with pytest.raises(InputError, match=r"clipnet\.lora_rate=0\.6"):
        build(tower, tmp_path, nfz_rate=0.8).fit(rows(8, 0))
    predictor = build(tower, tmp_path, epochs=1)  # fewer rows than a batch are one batch
    predictor.fit(rows(5, 0))


def test_the_head_starts_as_the_mean_predictor(tower: Path) -> None:
    from harness_clipnet.training import _start_at_the_mean

    targets = rows(50, 0).targets
    network = ClipNet(load_tower(tower, "t"), build_head(32, 16)).eval()
    _start_at_the_mean(network.head, targets)
    with torch.inference_mode():
        predicted = network(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))).numpy()
    assert np.allclose(predicted, targets.mean(axis=0), atol=1e-6)
