"""What a model on the Hugging Face hub is made of, and fetching no more of it than is needed.

A repository often holds the same weights several times (safetensors, pickle, Flax, ONNX, half precision): one file of
them is fetched, with the configuration, the processor and the tokenizer. Downloads go on where they were cut off, and
report to the task that asked for them. ``NAME@REVISION`` takes one commit, branch or tag.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.plugin import current_context

_SETTINGS = (
    *("config.json", "generation_config.json", "open_clip_config.json", "model_index.json"),
    *("preprocessor_config.json", "processor_config.json", "image_processor_config.json", "chat_template*"),
    *("video_preprocessor_config.json", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "*.model"),
)
"""Names, at the top of a repository, of what a model is built and fed by; all small."""
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""The weights, the best first: safetensors holds nothing but numbers."""
_SHARDS = {
    "model.safetensors.index.json": "model-*-of-*.safetensors",
    "pytorch_model.bin.index.json": "pytorch_model-*-of-*.bin",
}


@dataclass(frozen=True)
class HubFile:
    """One file of a repository: its path there, and its size in bytes where it is known."""

    path: str
    size: int | None


@dataclass(frozen=True)
class HubModel:
    """A repository as the hub describes it.

    Parameters
    ----------
    name
        Without a revision.
    revision
        The commit.
    files
        Those that are needed.
    """

    name: str
    revision: str
    files: tuple[HubFile, ...]


def needed_files(paths: Iterable[str]) -> list[str]:
    """Return which files of a repository are needed, of all its paths.

    Settings, and one form of the weights. Where there are none by their usual names, all safetensors at the top.
    """
    top = sorted(path for path in paths if "/" not in path)
    found = [path for path in top if any(fnmatch(path, pattern) for pattern in _SETTINGS)]
    weights = next((name for name in _WEIGHTS if name in top), None)
    if weights is None:
        return found + [path for path in top if path.endswith(".safetensors")]
    shards = _SHARDS.get(weights)
    return [*found, weights, *(path for path in top if shards and fnmatch(path, shards))]


def hub_model(name: str, needed: Callable[[Iterable[str]], list[str]] = needed_files) -> HubModel:
    """Ask the hub what a repository holds.

    Parameters
    ----------
    name
        The repository's, with ``@REVISION`` where one is meant.
    needed
        From all its paths to those that are needed.

    Raises
    ------
    Exception
        Of the hub's library or of the one it speaks HTTP with, in any version: there is no such repository, no access
        to it, or no network.
    """
    from huggingface_hub import HfApi

    plain, revision = split_revision(name)
    info = HfApi().model_info(plain, revision=revision, files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    return HubModel(plain, str(info.sha), tuple(HubFile(path, sizes[path]) for path in needed(sizes)))


def fetch_files(name: str, model: HubModel) -> Path:
    """Return the folder with the needed files of a repository, fetched where they are not here yet.

    Raises as ``hub_model`` does.
    """
    from huggingface_hub import snapshot_download

    plain, revision = split_revision(name)
    options: dict[str, Any] = {"allow_patterns": [file.path for file in model.files]}
    # By its branch, not the commit, so that the hub's library finds it again by that without a network.
    return Path(snapshot_download(plain, revision=revision, tqdm_class=_reporting(name), **options))


def fetch_repository(name: str) -> Path:
    """Return the folder with what is needed of a repository, fetched where it is not here yet.

    Without a network it is what was fetched before. Raises as ``hub_model`` does.
    """
    plain, revision = split_revision(name)
    try:
        model = hub_model(name)
    except Exception:
        folder = _fetched_before(plain, revision)
        if folder is None:
            raise
    else:
        folder = fetch_files(name, model)
    note_commit(plain, folder.name)
    return folder


def _fetched_before(plain: str, revision: str | None) -> Path | None:
    """Return the folder that holds a repository's configuration and weights, if it was fetched before."""
    from huggingface_hub import try_to_load_from_cache

    for path in ("config.json", "open_clip_config.json"):
        found = try_to_load_from_cache(plain, path, revision=revision)
        if isinstance(found, str):
            folder = Path(found).parent
            names = {file.name for file in folder.iterdir()}
            index = next((folder / name for name in needed_files(names) if name in _SHARDS), None)
            shards = set(read_json(index).get("weight_map", {}).values())
            if any(name.endswith((".safetensors", ".bin")) for name in names) and shards <= names:
                return folder
    return None


@lru_cache(maxsize=256)
def fetch_file(name: str, path: str) -> Path | None:
    """Return one small file of a repository, such as ``config.json``; None where it cannot be had.

    Each is asked for once a process: without a network each answer takes its time.
    """
    from huggingface_hub import hf_hub_download

    plain, revision = split_revision(name)
    try:
        return Path(hf_hub_download(plain, path, revision=revision))
    except Exception:  # as `hub_model`; without it less is known of the model, and who needs it whole says why
        return None


def split_revision(name: str) -> tuple[str, str | None]:
    """Return the name of a repository and the revision that is asked for, if one is."""
    plain, _, revision = name.partition("@")
    return plain, revision or None


def cached_commit(name: str) -> str | None:
    """Return the commit of a repository that was fetched, by the hub's library or by one that uses it."""
    from huggingface_hub import try_to_load_from_cache

    plain, revision = split_revision(name)
    files = ("model.safetensors", "config.json", "open_clip_config.json", "open_clip_model.safetensors")
    found = (try_to_load_from_cache(plain, path, revision=revision) for path in files)
    return next((Path(path).parent.name for path in found if isinstance(path, str)), None)


def note_commit(name: str, commit: str | None) -> None:
    """Let the task that uses weights record which commit they are of."""
    context = current_context()
    if context is not None and commit:
        context.weights[name] = commit


def read_json(path: Path | None) -> dict[str, Any]:
    """Return what a JSON file holds, nothing if it is none or holds no object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _reporting(name: str) -> type[Any]:
    """Return a class of progress bars that report to the present task, and draw nothing."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    context = current_context()

    class Reporting(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)  # of the hub's own class
            self._counts_bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **{**kwargs, "disable": False, "file": _Nowhere()})

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if context is not None and self._counts_bytes and self.total:
                context.progress(f"fetching {name} (MB)", int(self.n / 1e6), max(1, int(self.total / 1e6)))
            return shown

    return Reporting


class _Nowhere:
    """A stream that takes everything."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass
