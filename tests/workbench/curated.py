"""Small data sets for what is made of others: prompts that repeat, nearly repeat, and lie near evaluation data."""

from __future__ import annotations

import csv
import hashlib
import itertools
from pathlib import Path

from harness.data.dataset import Dataset
from harness.data.opening import open_dataset
from harness.plugin import PluginManager
from tests.conftest import save_image

SUBJECTS = [
    *("a red fox", "two old sailors", "a paper crane", "a glass of tea", "a steam locomotive", "a sleeping cat"),
    *("an astronaut", "a wooden chair", "a violin", "three green apples"),
]
PLACES = [
    *("on a mossy log", "in a harbour at night", "above a volcano", "inside a greenhouse", "in the rain"),
    *("on the moon", "beside a wheat field", "under the sea", "in a crowded market", "on a kitchen table"),
]
STYLES = ["", ", oil painting", ", pencil drawing", ", oil painting on canvas"]
PROMPTS = ["".join(parts) for parts in itertools.product([f"{s} " for s in SUBJECTS], PLACES, STYLES)]
"""400: every place and subject in four styles, two of which are nearly the same."""


def make_set(folder: Path, prompts: list[str], first_image: int = 0, sources: int = 0, groups: int = 0) -> Path:
    """Write a folder of images with metadata.csv; every seventh image is the one before it again."""
    folder.mkdir(parents=True)
    header = ["file_name", "id", "prompt", *(["source"] if sources else []), *(["group"] if groups else [])]
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for i, prompt in enumerate(prompts):
            path = folder / f"{i:04d}.png"
            save_image(path, first_image + (i - 1 if i % 7 == 6 else i), size=(16, 12))
            source, group = f"s{i % max(1, sources)}", f"g{i % max(1, groups)}"
            writer.writerow([path.name, f"row-{i}", prompt] + [source] * bool(sources) + [group] * bool(groups))
    return folder


def make_three(folder: Path) -> tuple[Path, Path, Path]:
    """Write two sets that overlap, of 320 and 280 rows, and evaluation data of 12."""
    alpha = make_set(folder / "alpha", PROMPTS[:320], 0, sources=2)
    beta = make_set(folder / "beta", PROMPTS[120:], 1000)
    held = make_set(folder / "held", [f"a painting of {prompt}" for prompt in PROMPTS[::36]], 2000)
    (held / "0001.png").write_bytes((alpha / "0050.png").read_bytes())
    return alpha, beta, held


def read(path: Path | str) -> Dataset:
    """Open a data set."""
    return open_dataset(str(path), PluginManager().readers)


def snapshot(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
