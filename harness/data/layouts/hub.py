"""Data sets of the Hugging Face hub by name, through the library ``datasets`` and its cache."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from harness.data.kinds import exists, is_file
from harness.data.layouts.arrow import rows_of_arrow
from harness.data.layouts.row_groups import first_line
from harness.data.once import once
from harness.errors import InputError
from harness.plugin import BrokenRow, Row, Shard

_PREFIX = "hf:"
_OPTIONS = ("config", "image", "prompt", "revision")
_FORM = "hf:NAME[/CONFIG][@REVISION][:SPLIT][?image=COLUMN&prompt=COLUMN]"


@dataclass(frozen=True)
class Spec:
    """What follows ``--data`` where it names a data set of the hub.

    Parameters
    ----------
    name
        As ``datasets.load_dataset`` takes it: ``owner/name``, ``name``, or a local folder.
    config, revision, split
        Likewise; None where it is not said.
    image, prompt
        Names of columns; None: found by name and type.
    """

    name: str
    config: str | None = None
    revision: str | None = None
    split: str | None = None
    image: str | None = None
    prompt: str | None = None

    @classmethod
    def of(cls, text: str) -> Spec:
        """Take the text apart. Raises ``InputError`` with the form it must have."""
        rest, _, query = text.removeprefix(_PREFIX).partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        if unknown := [key for key in given if key not in _OPTIONS or not given[key]]:
            raise InputError(f"{text}: '{unknown[0]}' is no option of a data set's name, or is empty; write {_FORM}")
        split = config = revision = None
        if not exists(Path(rest)):  # a folder may have colons in its name
            name, colon, after = rest.rpartition(":")
            if colon and "/" not in after:
                rest, split = name, after
        if not _is_local(rest):
            rest, _, revision = rest.partition("@")
            if len(parts := rest.split("/", 2)) == 3:
                rest, config = "/".join(parts[:2]), parts[2]
        if not rest or split == "":
            raise InputError(f"{text}: it names no data set or no split; write {_FORM}")
        if split is not None and not re.fullmatch(r"\w+(\.\w+)*", split):
            raise InputError(f"{text}: '{split}' is no split; name a whole one, as train (slices are not read)")
        return cls(
            rest,
            given.get("config") or config,
            given.get("revision") or revision or None,
            split,
            given.get("image"),
            given.get("prompt"),
        )

    @property
    def local(self) -> bool:
        """Whether it is a folder of this machine."""
        return _is_local(self.name)


def _is_local(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~")) or name in (".", "..") or Path(name).is_dir()


class HubReader:
    """Any data set of the hub that ``datasets`` loads, by ``hf:NAME``, with its images in a column.

    It is fetched once into the cache of ``datasets``, as Arrow files from which each image is read by itself. A name
    may also be a local folder in any form that the library knows. Columns are found as in parquet files, or named.
    Where there are several splits, one must be.
    """

    name = "hub"
    order = 100
    looks_for = f"{_FORM}, a data set of the Hugging Face hub or a folder that datasets loads"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether it is such a name."""
        return str(location).startswith(_PREFIX)

    def shards(self, location: Path) -> Sequence[Shard]:
        """Return the files in the cache of ``datasets``, after it has fetched them where they are not there yet."""
        return [Shard(file.stem, (file,)) for file in _files(str(location))]

    def read(self, location: Path) -> Iterator[Row | BrokenRow]:
        """Yield one row a row, in their order."""
        for shard in self.shards(location):
            yield from self.read_shard(location, shard)

    def read_shard(self, location: Path, shard: Shard) -> Iterator[Row | BrokenRow]:
        """Yield the rows of a file in the cache."""
        spec, file = Spec.of(str(location)), shard.files[0]
        numbered = re.search(r"-([0-9]{5})-of-[0-9]{5}$", file.stem)
        prefix = f"{numbered[1]}/" if numbered else ""
        yield from rows_of_arrow(file, prefix, _Fetched(spec).path, spec.image, spec.prompt)


class _Fetched:
    """Finds the files that rows name: those that ``datasets`` fetched, or of the folder that was named."""

    def __init__(self, spec: Spec) -> None:
        import datasets
        from huggingface_hub import constants

        folders = [datasets.config.HF_DATASETS_CACHE, constants.HF_HUB_CACHE, *([spec.name] if spec.local else [])]
        self._folders = [Path(folder).expanduser().resolve() for folder in folders]

    def path(self, value: str, where: str) -> Path:
        """Return the file. Raises ``InputError`` if it lies elsewhere."""
        file = Path(value)
        if not any(file.resolve().is_relative_to(folder) for folder in self._folders):
            raise InputError(
                f"{where}: '{value}' is no file that datasets fetched; load the data set again, or name its own folder"
            )
        if not is_file(file):
            raise InputError(f"{where}: there is no image {value}; load the data set again")
        return file


@once
def _files(text: str) -> list[Path]:
    """Let ``datasets`` load a data set, and return the files in its cache."""
    import datasets
    import pyarrow as pa

    spec = Spec.of(text)
    try:
        builder = datasets.load_dataset_builder(
            str(Path(spec.name).expanduser()) if spec.local else spec.name, spec.config, revision=spec.revision
        )
        builder.download_and_prepare()
        split = _split(text, spec, builder)
        loaded = builder.as_dataset(split)
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise InputError(f"{text}: {first_line(error).rstrip('. ')}; {_mend(spec, error)}") from error
    return [Path(kept["filename"]) for kept in loaded.cache_files]


def _split(text: str, spec: Spec, builder: Any) -> str:
    splits = list(builder.info.splits or {})
    if spec.split in splits:
        return str(spec.split)
    if spec.split is None and len(splits) == 1:
        return str(splits[0])
    base, question, query = text.partition("?")
    base = base.removesuffix(f":{spec.split}")
    first = "train" if "train" in splits else splits[0] if splits else "SPLIT"
    test = f" --test {base}:test{question}{query}" if "test" in splits and first != "test" else ""
    problem = f"it has no split '{spec.split}'" if spec.split else "its splits are not merged"
    there = ", ".join(splits) or "none"
    raise InputError(f"{text}: {problem} (it has: {there}); name one: --data {base}:{first}{question}{query}{test}")


def _mend(spec: Spec, error: BaseException) -> str:
    """Say what may help."""
    from datasets.exceptions import DatasetNotFoundError

    if isinstance(error, DatasetNotFoundError):
        return "check the name; for one that is private or gated log in first (hf auth login)"
    if isinstance(error, ConnectionError):
        return (
            "without a network only what is in the cache of datasets can be read: load it once where there is one "
            f"(python -c \"import datasets; datasets.load_dataset('{spec.name}')\"), or name a local folder"
        )
    if isinstance(error, ValueError) and spec.local is False:
        return (
            f"name a configuration as {_PREFIX}{spec.name}/CONFIG, or another revision as {_PREFIX}{spec.name}@REVISION"
        )
    return "see whether datasets.load_dataset loads it, and mend its files, or name another"
