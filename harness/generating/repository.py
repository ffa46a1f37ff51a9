"""What a text-to-image pipeline of ``diffusers`` is made of, on the hub or in a folder, and fetching no more of it.

A repository often holds the same weights several times: as safetensors and pickles, in half precision, as one file
for other programs. Of each component of the pipeline its settings and one form of its safetensors are taken. Nothing
that would run code of the repository's own is loaded: neither pickles, nor Python files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.contents import content_hash
from harness.errors import InputError
from harness.models.fetching import ToFetch, missing_of
from harness.models.hub import HubFile, HubModel, fetch_file, fetch_files, hub_model, read_json, split_revision
from harness.models.loading import first_line

INDEX = "model_index.json"
"""Lists the components of a pipeline, each with its library and class."""
_SETTINGS = (".json", ".txt", ".model", ".jinja")
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack")
_WEIGHTS = re.compile(
    r"(?P<base>diffusion_pytorch_model|model)(?P<shard>-[0-9]+-of-[0-9]+)?"
    r"(?:\.(?P<variant>[A-Za-z0-9_]+))?(?P<last>-[0-9]+-of-[0-9]+)?\.safetensors"
)
_WEIGHT_INDEX = re.compile(
    r"(?:diffusion_pytorch_model|model)\.safetensors\.index(?:\.(?P<variant>[A-Za-z0-9_]+))?\.json"
)


@dataclass(frozen=True)
class Repository:
    """A pipeline that can be loaded, as far as its list of files tells.

    Parameters
    ----------
    name
        Without a revision; of a folder its own name, not its path.
    revision
        The commit; of a folder a hash of the needed files.
    files
        Needed ones.
    folder
        Where they are; None: to be fetched.
    model
        As the hub described it; None for a folder, or without a network.
    asked
        The name by which the hub was asked.
    """

    name: str
    revision: str
    files: tuple[HubFile, ...]
    folder: Path | None
    model: HubModel | None = None
    asked: str = ""

    @property
    def source(self) -> str:
        """Label of the images' source: the name and the first seven digits of the revision."""
        return f"{self.name}@{self.revision[:7]}"

    @property
    def to_fetch(self) -> ToFetch | None:
        """What is not on this machine yet; None where nothing is asked of the hub."""
        return None if self.model is None else missing_of(self.model)

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height of its images where nothing is asked for, as far as its configuration says them."""
        for part in ("unet", "transformer"):
            path = f"{part}/config.json"
            if any(file.path == path for file in self.files):
                cells = self._settings(path).get("sample_size")
                blocks = self._settings("vae/config.json").get("block_out_channels")
                if isinstance(cells, int) and isinstance(blocks, list):
                    side = cells * 2 ** (len(blocks) - 1)
                    return side, side
        return None

    def _settings(self, path: str) -> dict[str, Any]:
        return read_json(fetch_file(self.asked, path) if self.folder is None else self.folder / path)

    def fetched(self) -> Path:
        """Return the folder with the files, fetched where they are not here yet. Raises as `find_repository` does."""
        if self.folder is not None:
            return self.folder
        assert self.model is not None
        try:
            return fetch_files(self.asked, self.model)
        except Exception as error:  # of the hub's library, or of the one it speaks HTTP with, in any version
            raise _not_given(self.asked, error) from error


def find_repository(name: str, revision: str | None, variant: str | None) -> Repository:
    """Find a pipeline by the name that ``--model`` gives: a folder, or a repository on the hub.

    Raises
    ------
    InputError
        If it is neither, is no text-to-image pipeline, or cannot be loaded without running code of its own.
    """
    folder = Path(name).expanduser()
    if folder.is_file():
        raise InputError(
            f"--model {name}: it is a file, and a pipeline is a folder; if it is a checkpoint for other programs, "
            "diffusers makes a folder of it: StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)"
        )
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"--revision {revision}: --model {name} is a folder, which has no revisions; leave it out")
        paths = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
        chosen = _checked(paths, read_json(folder / INDEX), variant, f"--model {name}")
        _refuse_lacking_shards(folder, chosen, f"--model {name}")
        files = tuple(HubFile(path, (folder / path).stat().st_size) for path in chosen)
        return Repository(folder.resolve().name, _folder_revision(folder, chosen), files, folder)
    if name.startswith(("/", "~", ".")) or name.count("/") > 1:
        raise InputError(f"--model {name}: there is no such folder; name one that save_pretrained wrote, or a hub id")
    return _on_hub(f"{name}@{revision}" if revision else name, variant)


def _folder_revision(folder: Path, paths: Iterable[str]) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{path}\0{content_hash(folder / path)}\0".encode())
    return total.hexdigest()[:16]


def _on_hub(asked: str, variant: str | None) -> Repository:
    plain, revision = split_revision(asked)
    try:
        listed = hub_model(asked, sorted)
    except Exception as error:  # as above; without a network it is what was fetched before
        folder = _fetched_before(plain, revision, variant)
        if folder is None:
            raise _not_given(asked, error) from error
        paths = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
        chosen = _checked(paths, read_json(folder / INDEX), variant, f"--model {asked}")
        files = tuple(HubFile(path, (folder / path).stat().st_size) for path in chosen)
        return Repository(plain, folder.name, files, folder)
    sizes = {file.path: file.size for file in listed.files}
    index = read_json(fetch_file(asked, INDEX)) if INDEX in sizes else {}
    chosen = _checked(list(sizes), index, variant, f"--model {asked}")
    model = HubModel(plain, listed.revision, tuple(HubFile(path, sizes[path]) for path in chosen))
    return Repository(plain, listed.revision, model.files, None, model, asked)


def _fetched_before(plain: str, revision: str | None, variant: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(plain, INDEX, revision=revision)
    except HFValidationError:
        return None
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    try:
        _refuse_lacking_shards(folder, needed_of_pipeline(paths, read_json(Path(found)), variant, plain), plain)
    except InputError:  # not all of it
        return None
    return folder


def _not_given(asked: str, error: Exception) -> InputError:
    plain, revision = split_revision(asked)
    at = f" --revision {revision}" if revision else ""
    return InputError(
        f"--model {asked}: it is no folder here, and the hub did not give it ({first_line(error)}); check the name and "
        "the network and give the command again: what was fetched is kept. Without a network, fetch it beforehand "
        f"where there is one, `hf download {plain}{at} --local-dir DIR`, then --model DIR"
    )


def _checked(paths: Collection[str], index: Mapping[str, Any], variant: str | None, what: str) -> list[str]:
    if INDEX not in paths:
        raise InputError(
            f"{what}: it has no {INDEX}, so it is no pipeline of diffusers; name one that is "
            "(a whole pipeline, not a LoRA or a single component)"
        )
    _refuse_other_tasks(index, what)
    return needed_of_pipeline(paths, index, variant, what)


def _refuse_other_tasks(index: Mapping[str, Any], what: str) -> None:
    from diffusers.pipelines import auto_pipeline

    name = index.get("_class_name")
    if not isinstance(name, str):
        raise InputError(f"{what}: its pipeline is code of its own ({name}), which is not run; name another")
    images = auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING
    kinds = (images, auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING, auto_pipeline.AUTO_INPAINT_PIPELINES_MAPPING)
    family = next((key for kind in kinds for key, cls in kind.items() if cls.__name__ == name), None)
    if family not in images:
        raise InputError(f"{what}: it is a {name}, which makes no images of texts alone; name a text-to-image pipeline")
    if getattr(images[family], "_load_connected_pipes", False):
        raise InputError(
            f"{what}: its pipeline ({name}) is spread over two repositories, which is not read; name another"
        )


def needed_of_pipeline(paths: Collection[str], index: Mapping[str, Any], variant: str | None, what: str) -> list[str]:
    """Return which files of a repository a pipeline needs, of all its paths.

    Parameters
    ----------
    paths
        All files, below the repository's top, with slashes.
    index
        What ``model_index.json`` holds.
    variant
        The form of weights that is wanted: components that lack it come in the plain one, as in diffusers.
    what
        The model, for messages.

    Raises
    ------
    InputError
        If a component is code of the repository's own or has its weights as pickles only, or if none has the variant.
    """
    from diffusers import pipelines

    needed, variants, found = [INDEX], set[str](), variant is None
    for name, value in index.items():
        if not isinstance(value, list) or len(value) != 2 or value[0] is None:
            continue
        library, cls = value
        if library not in ("diffusers", "transformers") and not hasattr(pipelines, str(library)):
            raise InputError(
                f"{what}: its {name} is a {cls} of '{library}'; only components of diffusers and transformers are "
                "loaded, and no code of the repository's own is run"
            )
        own = sorted(path for path in paths if path.startswith(f"{name}/") and path.count("/") == 1)
        weights = _weights(own)
        variants |= weights.keys() - {""}
        if not weights and any(path.endswith(_PICKLES) for path in own):
            raise InputError(
                f"{what}: the weights of its {name} are there as pickles alone, which can run any code; name a "
                "repository or --revision with safetensors, or convert it: load it with diffusers where you trust it, "
                "and save_pretrained(FOLDER, safe_serialization=True)"
            )
        taken = variant if variant in weights else ""
        found |= variant in weights
        needed += [path for path in own if _is_setting(path)]
        needed += weights.get(taken or "", [])
        if not weights.get(taken or "") and weights:
            raise InputError(
                f"{what}: the weights of its {name} are there in these variants only: {', '.join(sorted(weights))}; "
                f"add --variant {min(weights)}"
            )
    if not found:
        there = f"those it has: {', '.join(sorted(variants))}" if variants else "it has none"
        raise InputError(f"--variant {variant}: {what} has no weights of this variant; {there}")
    return needed


def _is_setting(path: str) -> bool:
    return path.endswith(_SETTINGS) and not path.endswith(".index.json") and ".safetensors.index." not in path


def _weights(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the safetensors of a component and their indices by variant; the plain one is ""."""
    found: dict[str, list[str]] = {}
    indices: dict[str, list[str]] = {}
    for path in paths:
        name = path.rpartition("/")[2]
        if match := _WEIGHTS.fullmatch(name):
            found.setdefault(match["variant"] or "", []).append(path)
        elif match := _WEIGHT_INDEX.fullmatch(name):
            indices.setdefault(match["variant"] or "", []).append(path)
    return {variant: [*indices.get(variant, []), *files] for variant, files in found.items()}


def _refuse_lacking_shards(folder: Path, chosen: Iterable[str], what: str) -> None:
    """Refuse a folder that lacks files which an index of weights names."""
    for path in chosen:
        if ".safetensors.index." in path:
            parent = (folder / path).parent
            for file in sorted(set(read_json(folder / path).get("weight_map", {}).values())):
                if not (parent / file).is_file():
                    raise InputError(f"{what}: it lacks {parent.name}/{file}, which {path} names; fetch it again")
