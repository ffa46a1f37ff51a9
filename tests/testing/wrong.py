"""Predictors that each break one thing, by the check that is to notice it. None breaks more than it must."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import random
import socket
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from harness.plugin import Explanation, ParameterCount, Predictor, PredictorConfig
from tests.testing.neat import Neat, NeatConfig, Untaught

WRONG: dict[str, type[Predictor]] = {}


def breaks(check: str):  # type: ignore[no-untyped-def]
    def note(cls: type[Predictor]) -> type[Predictor]:
        assert check not in WRONG
        WRONG[check] = cls
        return cls

    return note


# -- what is declared ------------------------------------------------------------------------------


@breaks("identity")
class NoVersion(Neat):
    version = ""


@breaks("inert-constructor")
class StartsAThread(Neat):
    def __init__(self, config, context):
        super().__init__(config, context)
        threading.Thread(target=str).start()


class UnboundedConfig(NeatConfig):
    cells: int = Field(4, description="Cells along a side.")


@breaks("config-fields")
class Unbounded(Neat):
    Config = UnboundedConfig


class UncheckedConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    cells: int = Field(0, ge=1, le=16, description="Cells along a side.")
    sharpness: None = Field(None, description="Always chosen.")


@breaks("config-defaults")
class WrongDefault(Neat):
    Config = UncheckedConfig


@breaks("config-presets")
class WrongPreset(Neat):
    presets = {"tiny": {"cells": 4}, "reference": {"cels": 8}}


class RequiredConfig(PredictorConfig):
    cells: int = Field(ge=1, le=16, description="Cells along a side.")


@breaks("config-usable")
class NoDefault(Neat):
    Config = RequiredConfig
    presets = {}


class InfiniteConfig(NeatConfig):
    limit: float = Field(math.inf, gt=0.0, description="Largest distance.")


@breaks("config-json")
class InfiniteDefault(Neat):
    Config = InfiniteConfig


class LenientConfig(NeatConfig):
    model_config = ConfigDict(extra="ignore")


@breaks("config-unknown-key")
class TakesAnyOption(Neat):
    Config = LenientConfig


# -- what is predicted -----------------------------------------------------------------------------


@breaks("fit-and-predict")
class WantsMoreRows(Neat):
    def fit(self, train):
        raise ValueError(f"{len(train)} rows are too few for a batch of 64")


@breaks("shape")
class Narrow(Neat):
    def predict(self, images):
        return super().predict(images)[:, :300]


@breaks("dtype")
class Double(Neat):
    def predict(self, images):
        return super().predict(images).astype(np.float64)


@breaks("finite")
class NotANumber(Neat):
    def predict(self, images):
        rows = super().predict(images)
        rows[:, 7] = np.nan
        return rows


@breaks("not-zero")
class SilentAboutSmallColouredImages(Neat):
    def predict(self, images):
        rows = super().predict(images)
        for i in range(len(images)):
            if images[i].size == (64, 64) and np.asarray(images[i]).std() > 0:
                rows[i] = 0
        return rows


@breaks("predict-twice")
class Drifts(Neat):
    asked = 0

    def predict(self, images):
        self.asked += 1
        return super().predict(images) + np.float32(0.01 * (self.asked - 1))


@breaks("order")
class RemembersSetsOfImages(Neat):
    def fit(self, train):
        super().fit(train)
        self._memo = {}

    def load(self, folder):
        super().load(folder)
        self._memo = {}

    def predict(self, images):
        if self._state is None:
            return super().predict(images)
        key = frozenset(images.digests)
        if key not in self._memo:
            self._memo[key] = super().predict(images)
        return self._memo[key]


@breaks("subset")
class TakesThreeImagesForChannels(Neat):
    def predict(self, images):
        rows = super().predict(images)
        return rows[::-1] if len(images) == 3 else rows


@breaks("one-image")
class Squeezes(Neat):
    def predict(self, images):
        return super().predict(images).squeeze()


@breaks("one-at-a-time")
class OtherKernelsForOne(Neat):
    def predict(self, images):
        rows = super().predict(images)
        return rows + np.float32(0.01) if len(images) == 1 else rows


@breaks("company")
class DazzledByWhite(Neat):
    def predict(self, images):
        white = any(np.asarray(images[i]).min() == 255 for i in range(len(images)))
        return super().predict(images) + np.float32(0.01 * white)


@breaks("no-images")
class NeedsOneImage(Neat):
    def predict(self, images):
        rows = super().predict(images)
        return np.stack(list(rows))


@breaks("odd-images")
class DividesByTheHeight(Neat):
    def look(self, image):
        assert image.height // 2 > 0, "an image without height"
        return super().look(image)


# -- what is learned -------------------------------------------------------------------------------


@breaks("not-fitted")
class FailsSomehow(Neat):
    def predict(self, images):
        assert self._state is not None
        return super().predict(images)


@breaks("repeatable")
class SeedsFromTheSystem(Neat):
    def __init__(self, config, context):
        super().__init__(config, context)
        self._seed = int.from_bytes(os.urandom(4), "little")

    def fit(self, train):
        super().fit(train)
        self._state["targets"] += np.random.default_rng(self._seed).normal(0, 0.05, train.targets.shape)


@breaks("global-random-unread")
class DrawsFromTheGlobalGenerator(Neat):
    def fit(self, train):
        super().fit(train)
        state = random.getstate()
        self._state["targets"] += np.float32(0.1 * random.random())
        random.setstate(state)


@breaks("global-random-kept")
class SeedsTheGlobalGenerator(Neat):
    def fit(self, train):
        np.random.seed(self.context.seed)
        super().fit(train)


@breaks("process-kept")
class TurnsErrorsOn(Neat):
    def fit(self, train):
        np.seterr(under="raise")
        super().fit(train)


@breaks("fit-twice")
class TrainsOn(Neat):
    _rows = ()

    def fit(self, train):
        goes_on = list(train.ids) == list(self._rows)
        super().fit(train)
        self._rows = train.ids
        if goes_on:
            self._state["sharpness"] += 10


@breaks("fit-again")
class KeepsARunningMean(Neat):
    _sum, _count = 0.0, 0

    def fit(self, train):
        super().fit(train)
        self._sum, self._count = self._sum + train.targets.sum(axis=0), self._count + len(train)
        self._state["targets"] += self._sum / self._count


@breaks("untrained")
class LearnsAfterAll(Untaught):
    _mean = 0.0

    def fit(self, train):
        self._mean = train.targets.mean(axis=0)

    def predict(self, images):
        return super().predict(images) + np.float32(self._mean)


@breaks("inputs-kept")
class CentresInPlace(Neat):
    def fit(self, train):
        train.targets[:] -= train.targets.mean(axis=0) / 2
        super().fit(train)


@breaks("held-out-unseen")
class ReadsTheTableBesideTheImages(Neat):
    def fit(self, train):
        super().fit(train)
        table = Path(train.images._sources[0].name).parents[1] / "prompts.csv"
        seed = int.from_bytes(hashlib.sha256(table.read_bytes()).digest()[:4], "little")
        self._state["targets"] += np.random.default_rng(seed).normal(0, 0.05, train.targets.shape)


@breaks("cache-key")
class CachesWhatDependsOnTheFold(Neat):
    def fit(self, train):
        super().fit(train)
        self._state["targets"] += self.context.cached(["mean target"], lambda: train.targets.mean(axis=0))


@breaks("prepare")
class PreparesSomethingElse(Neat):
    def prepare(self, images):
        self.context.cached_rows(["seen by wrong"], images, lambda part: np.zeros((len(part), 1), np.float32))

    def predict(self, images):
        rows = super().predict(images)
        share = self.context.cached_rows(
            ["seen by wrong"], images, lambda part: np.ones((len(part), 1), dtype=np.float32)
        )
        return rows * share + (1 - share) * rows[:, ::-1]


@breaks("folds-apart")
class RemembersEveryTarget(Neat):
    seen: dict = {}

    def fit(self, train):
        super().fit(train)
        self.seen.update(zip(train.images.digests, train.targets, strict=True))

    def predict(self, images):
        rows = super().predict(images)
        for row, digest in zip(rows, images.digests, strict=True):
            row[:] = self.seen.get(digest, row)
        return rows


# -- what is saved ---------------------------------------------------------------------------------


@breaks("save-load")
class ForgetsWhatItChose(Neat):
    def load(self, folder):
        super().load(folder)
        self._state["sharpness"] = np.float32(1.0)


@breaks("model-moves")
class PointsIntoScratch(Neat):
    def save(self, folder):
        super().save(self.context.scratch)
        (folder / "where.json").write_text(json.dumps(str(self.context.scratch)))

    def load(self, folder):
        super().load(Path(json.loads((folder / "where.json").read_text())))


@breaks("model-files")
class Pickles(Neat):
    def save(self, folder):
        (folder / "neat.model").write_bytes(pickle.dumps(self._state))

    def load(self, folder):
        self._state = pickle.loads((folder / "neat.model").read_bytes())


@breaks("model-kept")
class CountsWhatItIsAsked(Neat):
    _asked = 0

    def predict(self, images):
        rows = super().predict(images)
        self._asked += len(images)
        return rows

    def save(self, folder):
        super().save(folder)
        (folder / "asked.json").write_text(json.dumps(self._asked))


# -- conduct ---------------------------------------------------------------------------------------


@breaks("explain")
class SureOfNothing(Neat):
    def explain(self, images):
        return [[Explanation("caption", "something", math.nan)] for _ in range(len(images))]


@breaks("requirements")
class MustBeFittedToSay(Neat):
    def requirements(self, rows):
        return super().requirements(rows + len(self._state["targets"]))


@breaks("parameter-count")
class CountsBackwards(Neat):
    def parameter_count(self):
        return ParameterCount(2, 1)

    def requirements(self, rows):
        return Neat(self.config, self.context).requirements(rows)


@breaks("no-network")
class AsksTheNetwork(Neat):
    def requirements(self, rows):
        with suppress(OSError):
            socket.create_connection(("192.0.2.1", 80), timeout=1).close()
        return super().requirements(rows)


@breaks("no-writes")
class KeepsALog(Neat):
    def fit(self, train):
        super().fit(train)
        Path("neat.log").write_text(f"fitted on {len(train)} rows")


@breaks("no-output")
class Chatters(Neat):
    def predict(self, images):
        print(f"predicting {len(images)} images")  # noqa: T201
        return super().predict(images)
