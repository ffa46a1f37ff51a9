"""Reads postcard archives (a zip file with images and ``cards.jsonl``), and blends with the median over bootstraps."""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.plugin import InputError, Row, hookimpl

TABLE = "cards.jsonl"


@dataclass(frozen=True)
class ArchivedImage:
    """An image inside of a zip file."""

    archive: Path
    member: str

    @property
    def name(self):
        return f"{self.archive}!{self.member}"

    def digest(self):
        return hashlib.blake2b(self._bytes(), digest_size=16).hexdigest()

    def open(self):
        from PIL import Image, UnidentifiedImageError

        try:
            return Image.open(io.BytesIO(self._bytes())).convert("RGB")
        except (OSError, UnidentifiedImageError) as error:
            raise InputError(f"{self.name}: cannot be read as an image ({error})") from error

    def _bytes(self):
        with zipfile.ZipFile(self.archive) as archive:
            return archive.read(self.member)


class PostcardReader:
    name = "postcards"
    looks_for = f"a zip file with images and {TABLE} (postcards)"
    recommended_threshold = 0.75

    def matches(self, location):
        try:
            with zipfile.ZipFile(location) as archive:
                return TABLE in archive.namelist()
        except (OSError, zipfile.BadZipFile):
            return False

    def read(self, location):
        with zipfile.ZipFile(location) as archive:
            members = set(archive.namelist())
            lines = archive.read(TABLE).decode().splitlines()
        for number, line in enumerate(lines, 1):
            where = f"{location}!{TABLE} line {number}"
            card = json.loads(line)
            if card["picture"] not in members:
                raise InputError(f"{where}: there is no picture {card['picture']} in the archive; add it")
            texts = (card["greeting"],) if "greeting" in card else ()
            image = ArchivedImage(location, card["picture"])
            yield Row(card["number"], image, texts, source=card.get("series"), where=where)


class BootstrapMedian:
    """The median of the least-squares weights over bootstraps of the groups (Breiman 1996, Bagging Predictors)."""

    name = "bootstrap-median"
    summary = "the median of NNLS weights over 50 bootstraps of the groups"

    def weights(self, problem):
        groups = np.arange(len(problem.agreement)) if problem.groups is None else problem.groups
        labels, rng = np.unique(groups), np.random.default_rng(0)
        rows_of = [np.flatnonzero(groups == label) for label in labels]
        drawn = [rng.integers(0, len(labels), len(labels)) for _ in range(50)]
        found = [self._least_squares(problem.take(np.concatenate([rows_of[g] for g in draw]))) for draw in drawn]
        median = np.median(found, axis=0)
        return median / median.sum() if median.sum() > 0 else np.full(len(median), 1 / len(median))

    def _least_squares(self, problem):
        from scipy.optimize import nnls

        values, vectors = np.linalg.eigh(problem.mean_gram)
        root = np.sqrt(values.clip(1e-10 * values[-1]))
        return nnls(root[:, None] * vectors.T, (vectors.T @ problem.agreement.mean(axis=0)) / root)[0]


@hookimpl
def harness_register_datasets(register):
    register(PostcardReader())


@hookimpl
def harness_register_blenders(register):
    register(BootstrapMedian())
