"""The plain predictors: what they learn, that they survive saving, and that nothing leaks into them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness_baselines.kernel import KernelMap
from harness_baselines.knn import KnnPredictor
from harness_baselines.mean import MeanPredictor
from harness_baselines.ridge import RidgePath, RidgePredictor
from numpy.typing import NDArray
from PIL import Image

from harness.data.lazy_images import LazyImages
from harness.errors import NotFittedError
from harness.plugin import Context, Predictor, TrainingData

PREDICTORS: list[type[Predictor]] = [MeanPredictor, KnnPredictor, RidgePredictor]


class Swatch:
    """An image of one colour in memory."""

    def __init__(self, colour: tuple[int, int, int]) -> None:
        self.colour = colour

    @property
    def name(self) -> str:
        return f"swatch {self.colour}"

    def digest(self) -> str:
        return "".join(f"{c:02x}" for c in self.colour)

    def open(self) -> Image.Image:
        return Image.new("RGB", (16, 16), self.colour)


def swatches(colours: NDArray[np.int64]) -> LazyImages:
    sources = [Swatch((int(r), int(g), int(b))) for r, g, b in colours]
    return LazyImages(sources, [s.digest() for s in sources])


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def problem(n: int, seed: int) -> TrainingData:
    """Targets that depend linearly on the colour: something to learn."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, size=(n, 3))
    loadings = np.random.default_rng(99).normal(size=(3, 384))
    targets = unit((colours / 255 - 0.5) @ loadings + 0.05 * rng.normal(size=(n, 384)))
    return TrainingData(
        ids=[f"r{i}" for i in range(n)],
        images=swatches(colours),
        prompts=[f"p{i}" for i in range(n)],
        captions=[(f"p{i}",) for i in range(n)],
        targets=targets,
        groups=np.arange(n) // 2,
    )


def build(cls: type[Predictor], tmp_path: Path, **options: object) -> Predictor:
    return cls(cls.Config(**options), Context(scratch=tmp_path))


def score(predictor: Predictor, rows: TrainingData) -> float:
    predictions = predictor.predict(rows.images).astype(np.float64)
    return float((predictions * rows.targets).sum(axis=1).mean() / np.linalg.norm(predictions, axis=1).mean())


def test_knn_and_ridge_learn_what_colours_say_and_beat_the_mean(tmp_path: Path) -> None:
    train, held = problem(200, 0), problem(60, 1)
    scores = {}
    for cls in PREDICTORS:
        predictor = build(cls, tmp_path)
        predictor.fit(train)
        scores[cls.name] = score(predictor, held)
    assert scores["mean"] < 0.3
    assert scores["knn"] > scores["mean"] + 0.3
    assert scores["ridge"] > scores["mean"] + 0.5


def test_mean_is_the_normalised_mean_target(tmp_path: Path) -> None:
    train = problem(20, 0)
    predictor = build(MeanPredictor, tmp_path)
    predictor.fit(train)
    expected = train.targets.mean(axis=0) / np.linalg.norm(train.targets.mean(axis=0))
    assert np.allclose(predictor.predict(train.images.take([3, 5])), [expected, expected], atol=1e-6)


def test_the_ridge_path_is_scikit_learns_ridge() -> None:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    for n, d in ((50, 12), (30, 80)):  # taller and wider than it is
        x, y = rng.normal(2.0, 3.0, size=(n, d)), rng.normal(size=(n, 5))
        x[:, 0] = 4.0  # a constant feature
        scaled = StandardScaler().fit_transform(x)
        path, alphas = RidgePath(x, y), (0.5, 40.0)
        for alpha, rows in zip(alphas, path.predictions(x[:7], alphas), strict=True):
            weight, bias = path.solution(alpha)
            reference = Ridge(alpha=alpha).fit(scaled, y).predict(scaled)
            assert np.allclose(x @ weight + bias, reference, atol=1e-8)
            assert np.allclose(rows, reference[:7], atol=1e-8)


def test_knn_is_the_weighted_mean_of_the_nearest_targets(tmp_path: Path) -> None:
    from harness_baselines.backbones import backbone_features

    train, held = problem(40, 0), problem(5, 1)
    predictor = build(KnnPredictor, tmp_path, neighbours=3, power=2.0)
    predictor.fit(train)
    features = backbone_features(predictor.context, train.images, "pixels").astype(np.float64)
    asked = backbone_features(predictor.context, held.images, "pixels").astype(np.float64)
    centre, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    similarity = unit((asked - centre) / scale) @ unit((features - centre) / scale).T
    for row, predicted in zip(similarity, predictor.predict(held.images), strict=True):
        nearest = np.argsort(-row)[:3]
        expected = (row[nearest].clip(0) ** 2) @ train.targets[nearest]
        assert np.allclose(predicted, expected / np.linalg.norm(expected), atol=1e-4)


def test_an_image_like_no_other_gets_the_mean_from_knn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colours = np.column_stack([rng.integers(200, 256, 30), rng.integers(0, 30, 30), rng.integers(0, 256, 30)])
    train = problem(30, 0)
    train = TrainingData(train.ids, swatches(colours), train.prompts, train.captions, train.targets, train.groups)
    predictor = build(KnnPredictor, tmp_path, neighbours=30, power=8.0)
    predictor.fit(train)
    rows = predictor.predict(swatches(np.array([[0, 255, 0]])))
    assert np.isfinite(rows).all()
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("cls", PREDICTORS)
def test_an_unfitted_predictor_says_so(cls: type[Predictor], tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        build(cls, tmp_path).predict(problem(2, 0).images)
    with pytest.raises(NotFittedError):
        build(cls, tmp_path).save(tmp_path)


@pytest.mark.parametrize("cls", PREDICTORS)
def test_fitting_twice_equals_fitting_once(cls: type[Predictor], tmp_path: Path) -> None:
    train, held = problem(60, 0), problem(10, 1)
    once, twice = build(cls, tmp_path), build(cls, tmp_path)
    once.fit(train)
    twice.fit(problem(60, 5))
    twice.fit(train)
    assert np.array_equal(once.predict(held.images), twice.predict(held.images))


@pytest.mark.parametrize("cls", PREDICTORS)
def test_a_row_depends_on_its_image_alone(cls: type[Predictor], tmp_path: Path) -> None:
    predictor, held = build(cls, tmp_path), problem(40, 1)
    predictor.fit(problem(60, 0))
    whole = predictor.predict(held.images)
    order = np.random.default_rng(0).permutation(40)
    assert np.allclose(predictor.predict(held.images.take(order.tolist())), whole[order], atol=1e-5)
    assert np.allclose(predictor.predict(held.images.take([7])), whole[[7]], atol=1e-5)
    assert np.array_equal(predictor.predict(held.images), whole)


@pytest.mark.parametrize("cls", PREDICTORS)
def test_a_saved_predictor_predicts_the_same_in_a_new_process(cls: type[Predictor], tmp_path: Path) -> None:
    predictor, held = build(cls, tmp_path), problem(6, 1)
    predictor.fit(problem(60, 0))
    folder = tmp_path / "model"
    folder.mkdir()
    predictor.save(folder)
    assert {path.suffix for path in folder.iterdir()} <= {".safetensors", ".json", ".npy"}
    script = (
        "import sys, numpy as np\nfrom pathlib import Path\n"
        "from tests.baselines.test_predictors import PREDICTORS, build, problem\n"
        f"cls = next(c for c in PREDICTORS if c.name == {cls.name!r})\n"
        f"predictor = build(cls, Path({str(tmp_path)!r}))\npredictor.load(Path({str(folder)!r}))\n"
        f"np.save({str(tmp_path / 'again.npy')!r}, predictor.predict(problem(6, 1).images))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
    assert np.allclose(np.load(tmp_path / "again.npy"), predictor.predict(held.images), atol=1e-6)


def test_knn_chooses_on_other_groups_only(tmp_path: Path) -> None:
    """With near-copies in a group and noise across groups, a tiny neighbourhood only looks good within the group."""
    rng = np.random.default_rng(0)
    n = 240
    colours = rng.integers(0, 256, size=(n // 4, 3)).repeat(4, axis=0)
    targets = unit(rng.normal(size=(n // 4, 384)).repeat(4, axis=0) + 1.5)
    train = TrainingData(
        [str(i) for i in range(n)], swatches(colours), [""] * n, [("",)] * n, targets, np.arange(n) // 4
    )
    predictor = build(KnnPredictor, tmp_path, power=0.0)
    predictor.fit(train)
    assert predictor._state["options"][0] >= 100  # type: ignore[attr-defined]
    leaky = TrainingData(train.ids, train.images, train.prompts, train.captions, targets, np.arange(n))
    predictor.fit(leaky)
    assert predictor._state["options"][0] == 10  # type: ignore[attr-defined]


def test_the_exponential_kernel_is_scikit_learns_kernel_ridge(tmp_path: Path) -> None:
    from sklearn.kernel_ridge import KernelRidge

    rng = np.random.default_rng(0)
    x, y, new = (rng.normal(size=shape).astype(np.float32) for shape in ((80, 12), (80, 5), (20, 12)))

    def kernel(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
        a, b = ((rows - x.mean(0)) / (x.std(0) + 1e-6) for rows in (a, b))
        a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
        return np.exp(2.0 * (a.astype(np.float64) @ b.T.astype(np.float64) - 1.0))

    # With an intercept: kernel and targets centred, as scikit-learn's KernelCenterer does it.
    from sklearn.preprocessing import KernelCenterer

    centred = KernelCenterer().fit(kernel(x, x))
    reference = KernelRidge(alpha=0.3 * 80, kernel="precomputed")
    reference.fit(centred.transform(kernel(x, x)), y - y.mean(0))
    expected = reference.predict(centred.transform(kernel(new, x))) + y.mean(0)
    chart = KernelMap.fit(x, 2.0, 80, seed=0)
    weight, bias = RidgePath(chart(x), y.astype(np.float64), standardise=False).solution(0.3 * 80)
    assert np.allclose(chart(new) @ weight + bias, expected, atol=1e-4)
    few = KernelMap.fit(x, 2.0, 30, seed=0)
    assert few(new).shape == (20, 30)
    chosen = np.sort(np.random.default_rng(0).permutation(80)[:30])
    assert np.allclose(few(x[chosen]) @ few(x[chosen]).T, kernel(x, x)[np.ix_(chosen, chosen)], atol=1e-5)
    assert not np.allclose(few(x) @ few(x).T, kernel(x, x), atol=1e-3), "of the other rows it is an approximation"


def test_ridge_with_a_kernel_follows_what_bends(tmp_path: Path) -> None:
    def bent(rows: TrainingData, colours: NDArray[np.int64]) -> TrainingData:
        """Targets that turn with the distance of the colour from grey."""
        angle = 5.0 * np.linalg.norm(colours / 255 - 0.5, axis=1)
        two = np.random.default_rng(5).normal(size=(2, 384))
        return dataclasses.replace(rows, targets=unit(np.stack([np.cos(angle), np.sin(angle)], axis=1) @ two))

    train, held = (
        bent(problem(n, seed), np.random.default_rng(seed).integers(0, 256, size=(n, 3)))
        for n, seed in ((200, 0), (80, 1))
    )
    scores = {}
    for kernel in ("linear", "exponential"):
        predictor = build(RidgePredictor, tmp_path, kernel=kernel)
        predictor.fit(train)
        folder = tmp_path / kernel
        folder.mkdir()
        predictor.save(folder)
        again = build(RidgePredictor, tmp_path, kernel=kernel)
        again.load(folder)
        assert np.array_equal(again.predict(held.images), predictor.predict(held.images))
        guess = unit(predictor.predict(held.images))
        scores[kernel] = float(np.einsum("ij,ij->i", guess, held.targets).mean())
        alone = predictor.predict(held.images.take([3]))
        assert np.allclose(alone, predictor.predict(held.images)[[3]], atol=1e-5)
    assert scores["exponential"] > scores["linear"] + 0.02
    fixed = build(RidgePredictor, tmp_path, kernel="exponential", gamma=2.0, alpha=0.01, landmarks=50)
    fixed.fit(train)
    assert fixed._state["landmarks"].shape[0] == 50  # type: ignore[attr-defined]
    assert (fixed._state["gamma"][0], fixed._state["alpha"][0]) == (2.0, 0.01)  # type: ignore[attr-defined]
    assert fixed.requirements(1000).parameters is None or fixed.requirements(1000).parameters.trainable == 51 * 384
