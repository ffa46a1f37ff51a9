"""The plain predictors on more rows than they hold at once: the same answers from blocks and sums."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from harness_baselines import features, knn, nearest, normal, ridge, saved
from harness_baselines.backbones import backbone_features, backbone_rows
from harness_baselines.features import centre_and_scale
from harness_baselines.knn import KnnPredictor
from harness_baselines.ridge import RidgePath, RidgePredictor
from safetensors.numpy import load_file

from harness.data.cache import DiskCache
from harness.data.search import most_alike
from harness.errors import InputError
from harness.plugin import Context, Predictor, TrainingData
from harness.training import l2_normalised
from tests.baselines.test_predictors import problem


def build(cls: type[Predictor], tmp_path: Path, **options: object) -> Predictor:
    return cls(
        cls.Config(**options), Context(scratch=tmp_path, requested_device="cpu", cache=DiskCache(tmp_path / "c"))
    )


def predictions(cls: type[Predictor], tmp_path: Path, train: TrainingData, **options: object) -> np.ndarray:
    predictor = build(cls, tmp_path, **options)
    predictor.fit(train)
    found = predictor.predict(problem(40, 1).images)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of some twenty rows, as if a hundred were a million."""
    monkeypatch.setattr(features, "BLOCK_NUMBERS", 20 * 704)
    monkeypatch.setattr(nearest, "TABLE_BLOCK", 23)
    monkeypatch.setattr(most_alike, "ROWS", 6)
    monkeypatch.setattr(most_alike, "COLUMNS", 11)
    monkeypatch.setattr(knn, "TABLE_BLOCK", 23)
    monkeypatch.setattr(knn, "_CHUNK", 8)
    monkeypatch.setattr(knn, "_MANY", 17)
    monkeypatch.setattr(saved, "_MAPPED", 1000)
    monkeypatch.setattr(saved, "_ROWS", 13)
    monkeypatch.setattr(normal, "IN_MEMORY", 0)
    monkeypatch.setattr(ridge, "IN_MEMORY", 0)
    monkeypatch.setattr(ridge, "_BLOCK", 7)
    monkeypatch.setattr(normal, "_BLOCK", 9)


OPTIONS: list[tuple[type[Predictor], dict[str, object]]] = [
    (KnnPredictor, {}),
    (KnnPredictor, {"neighbours": 5, "power": 2.0}),
    (RidgePredictor, {}),
    (RidgePredictor, {"alpha": 50.0}),
    (RidgePredictor, {"kernel": "exponential"}),
    (RidgePredictor, {"kernel": "exponential", "landmarks": 60, "alpha": 0.01}),
]


@pytest.mark.parametrize(("cls", "options"), OPTIONS)
def test_blocks_and_sums_answer_as_whole_arrays_do(
    cls: type[Predictor], options: dict[str, object], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With groups that were cut into blocks, so that some training rows are purged from inner folds."""
    train = problem(150, 0)
    train = dataclasses.replace(train, groups=np.arange(150) // 10, blocks=np.arange(150) // 3, threshold=0.9)
    whole = predictions(cls, tmp_path, train, **options)
    request.getfixturevalue("in_blocks")
    assert np.allclose(predictions(cls, tmp_path, train, **options), whole, atol=2e-6)


def test_sums_of_rows_lose_nothing_to_cancellation(in_blocks: None) -> None:
    """Features far from zero for their spread, a constant one, and one that is constant without the rows held out."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, 12)) * np.logspace(-3, 3, 12) + 1000.0).astype(np.float32)
    x[:, 3] = 7.0
    x[100:, 4] = 2.0
    y = rng.normal(size=(300, 8)).astype(np.float32)
    folds = [(np.arange(100, 300), np.arange(100)), (np.arange(200), np.arange(200, 300))]
    weight, bias, alpha = normal.solve_linear(x, y, folds, [1.0, 10.0, 100.0, 1000.0], 0)
    expected, offset = RidgePath(x.astype(np.float64), y.astype(np.float64)).solution(alpha)
    assert np.allclose(x @ weight + bias, x @ expected + offset, atol=1e-7)
    held = np.zeros(4)
    for inside, outside in folds:
        held += ridge._path_scores(
            x[inside].astype(np.float64),
            y[inside].astype(np.float64),
            x[outside].astype(np.float64),
            y[outside].astype(np.float64),
            [1.0, 10.0, 100.0, 1000.0],
        )
    assert alpha == [1.0, 10.0, 100.0, 1000.0][int(held.argmax())]


@pytest.mark.parametrize("device", ["cpu", "the path of a GPU"])
def test_the_nearest_by_blocks_are_the_nearest_of_all(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    table, queries = (l2_normalised(rng.normal(size=(n, 6)).astype(np.float32)) for n in (400, 30))
    cosines = queries @ table.T
    barred = rng.random(cosines.shape) < 0.2
    cosines[barred] = -1.0
    monkeypatch.setattr(nearest, "TABLE_BLOCK", 64)
    apart = lambda columns: barred[:, columns]  # noqa: E731
    if device == "cpu":
        found, where = nearest.Nearest(table, "cpu")(queries, 17, apart)
    else:
        found, where = nearest.on_a_gpu(queries, table, 17, "cpu", apart)
    assert where is not None
    assert np.allclose(np.sort(found, axis=1), np.sort(cosines, axis=1)[:, -17:], atol=1e-5)
    assert np.allclose(np.take_along_axis(cosines, where, axis=1), found, atol=1e-5)
    assert len(nearest.Nearest(table[:65], "cpu")(queries, 1000)[0][0]) == 65


def test_moments_by_blocks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (np.random.default_rng(0).normal(size=(500, 7)) * 3 + 100).astype(np.float32)
    whole = centre_and_scale(rows)
    monkeypatch.setattr(features, "BLOCK_NUMBERS", 7 * 33)
    for found, expected in zip(centre_and_scale(rows), whole, strict=True):
        assert np.allclose(found, expected, rtol=1e-6)


def test_features_of_one_picture_under_many_rows_are_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness_baselines import backbones

    asked: list[int] = []
    forward = backbones._forward
    monkeypatch.setattr(
        backbones, "_forward", lambda context, part, *more: asked.append(len(part)) or forward(context, part, *more)
    )
    context = Context(scratch=tmp_path, requested_device="cpu", cache=DiskCache(tmp_path / "c"))
    few = problem(10, 0).images
    rows = backbone_rows(context, few.take([i % 10 for i in range(95)]), "pixels")
    assert sum(asked) == 10
    assert rows.shape == (95, 704)
    assert np.array_equal(rows[:], backbone_features(context, few, "pixels")[np.arange(95) % 10])


def test_float16_is_kept_in_half_the_space_and_read_as_float32(tmp_path: Path) -> None:
    context = Context(scratch=tmp_path, requested_device="cpu", cache=DiskCache(tmp_path / "c"))
    images = problem(30, 0).images
    whole, half = (backbone_rows(context, images, "pixels", dtype)[:] for dtype in ("float32", "float16"))
    assert whole.dtype == half.dtype == np.float32
    assert np.array_equal(half, whole.astype(np.float16))
    assert not np.array_equal(half, whole)
    sizes = sorted(path.stat().st_size for path in (tmp_path / "c" / "rows").glob("*.rows/rows.bin"))
    assert sizes == [30 * 704 * 2, 30 * 704 * 4]


def test_features_too_large_for_float16_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness_baselines import backbones

    monkeypatch.setattr(backbones, "_forward", lambda *_: [np.full((30, 4), 1e6, dtype=np.float32)])
    context = Context(scratch=tmp_path, requested_device="cpu", cache=DiskCache(tmp_path / "c"))
    with pytest.raises(InputError, match="too large for float16; leave feature_dtype=float32"):
        backbone_rows(context, problem(30, 0).images, "pixels", "float16")


def test_the_default_type_is_in_no_key_of_a_task() -> None:
    """So that what was computed before there was a choice is still found."""
    for cls in (KnnPredictor, RidgePredictor):
        assert "feature_dtype" not in cls.Config().model_dump(mode="json")
        assert cls.Config(feature_dtype="float16").model_dump(mode="json")["feature_dtype"] == "float16"


def test_a_large_model_is_mapped_and_predicts_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = build(KnnPredictor, tmp_path)
    predictor.fit(problem(60, 0))
    images = problem(9, 1).images
    expected = predictor.predict(images)
    (tmp_path / "model").mkdir()
    predictor.save(tmp_path / "model")
    monkeypatch.setattr(saved, "_MAPPED", 0)
    again = build(KnnPredictor, tmp_path)
    again.load(tmp_path / "model")
    assert isinstance(again._state["table"], np.memmap)
    assert np.array_equal(again.predict(images), expected)
    monkeypatch.setattr(saved, "_ROWS", 7)
    (tmp_path / "again").mkdir()
    again.save(tmp_path / "again")
    parted = load_file(tmp_path / "again" / "knn.safetensors")
    assert parted.keys() == again._state.keys()
    for name, values in load_file(tmp_path / "model" / "knn.safetensors").items():
        assert np.array_equal(parted[name], values), name
    path = tmp_path / "again" / "knn.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(Exception, match=r"(?i)safetensor|metadata|buffer"):
        build(KnnPredictor, tmp_path).load(tmp_path / "again")
