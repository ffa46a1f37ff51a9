"""A timm backbone, its principal components, and a random forest on them."""

from pathlib import Path

import numpy as np
from pydantic import Field

from harness.plugin import EMBEDDING_DIM, InputError, NotFittedError, Predictor, PredictorConfig, hookimpl


class ForestConfig(PredictorConfig):
    model: str = Field("test_vit", description="A timm architecture with random weights, or a folder with its weights.")
    weights_seed: int = Field(7, ge=0, le=2**31, description="Seed of the random weights.")
    components: int = Field(12, ge=1, le=512, description="Principal components that the trees see.")
    trees: int = Field(20, ge=1, le=2000, description="Trees in the forest.")
    leaf: int = Field(3, ge=1, le=1000, description="Least number of training rows in a leaf.")


class ForestPredictor(Predictor):
    """Principal components of timm features, and a random forest on them."""

    name = "forest"
    version = "3"
    Config = ForestConfig

    _state = None

    def fit(self, train):
        from sklearn.decomposition import PCA
        from sklearn.ensemble import RandomForestRegressor

        from prompt_forest.trees import as_arrays

        features = self._features(train.images)
        components = min(self.config.components, *features.shape)
        pca = PCA(components, svd_solver="full", random_state=self.context.seed).fit(features)
        forest = RandomForestRegressor(
            self.config.trees, min_samples_leaf=self.config.leaf, random_state=self.context.seed, n_jobs=1
        )
        middle, axes = pca.mean_.astype(np.float32), np.ascontiguousarray(pca.components_.T, dtype=np.float32)
        forest.fit((features - middle) @ axes, train.targets)
        self._state = {"middle": middle, "axes": axes, **as_arrays(forest)}

    def predict(self, images):
        from prompt_forest.trees import predict

        if self._state is None:
            raise NotFittedError("forest: call fit or load before predict")
        if len(images) == 0:
            return np.zeros((0, EMBEDDING_DIM), dtype=np.float32)
        return predict(self._state, (self._features(images) - self._state["middle"]) @ self._state["axes"])

    def save(self, folder: Path):
        from safetensors.numpy import save_file

        if self._state is None:
            raise NotFittedError("forest: call fit before save")
        save_file(self._state, folder / "forest.safetensors")

    def load(self, folder: Path):
        from safetensors.numpy import load_file

        self._state = load_file(folder / "forest.safetensors")

    def _features(self, images):
        def compute(part):
            import torch
            from timm.data import create_transform, resolve_data_config

            model = self._backbone()
            transform = create_transform(**resolve_data_config({}, model=model), is_training=False)
            with torch.inference_mode():  # one by one: no image's rounding depends on its company
                rows = [model(image[None])[0].numpy() for batch in part.batches(transform, 16) for image in batch]
            return np.stack(rows).astype(np.float32)

        return self.context.cached_rows(["forest", self.config.model, self.config.weights_seed], images, compute)

    def _backbone(self):
        import timm
        import torch

        folder = Path(self.config.model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.weights_seed)
            if folder.is_dir():
                model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
            elif self.config.model in timm.list_models():
                model = timm.create_model(self.config.model, pretrained=False, num_classes=0)
            else:
                raise InputError(f"forest.model: timm knows no architecture '{folder}', and there is no such folder")
        return model.eval()


@hookimpl
def harness_register_predictors(register):
    register(ForestPredictor)
