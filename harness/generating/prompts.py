"""From what follows ``harness data generate`` to the rows that are to be made, each with a seed of its own."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.data.layouts.tables import (
    TABLE_SUFFIXES,
    TEXT_COLUMNS,
    Table,
    optional,
    read_table,
    read_text,
    texts_of,
)
from harness.data.opening import open_dataset
from harness.errors import InputError
from harness.generating.options import GenerateOptions
from harness.plugin.reader import Readers

_IDS = ("id", "imgid", "img_id", "image_id", "key")
_NEGATIVES = ("negative_prompt", "negative")
_STEPS = ("steps", "step", "num_inference_steps")
_GUIDANCE = ("guidance", "guidance_scale", "cfg", "cfg_scale")
_LARGEST_SEED = 2**63 - 1
"""What a column of parquet and torch's generator both hold."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as it was read.

    Parameters
    ----------
    text
        The prompt.
    where
        Its place, for messages.
    id
        None: numbered by its place.
    seed, negative, steps, guidance
        None: what the options say.
    source
        Label of the row's images; None: the model's name.
    group
        The data set's own group.
    origin
        Where the prompt comes from, if that was told of images that it was read beside.
    """

    text: str
    where: str
    id: str | None = None
    seed: int | None = None
    negative: str | None = None
    steps: int | None = None
    guidance: float | None = None
    source: str | None = None
    group: str | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One image to be made; attributes as those of a ``Prompt``."""

    id: str
    prompt: str
    seed: int
    negative: str | None = None
    steps: int | None = None
    guidance: float | None = None
    source: str | None = None
    group: str | None = None
    origin: str | None = None


def read_prompts(spec: str, readers: Readers) -> list[Prompt]:
    """Read prompts from a text file (one a line), a table with a column ``prompt``, or any data set.

    Parameters
    ----------
    spec
        What the user typed.
    readers
        ``PluginManager().readers``, for data sets.

    Raises
    ------
    InputError
        Naming the file and row that is wrong, or if there is no prompt.
    """
    path = Path(spec)
    suffix = path.suffix.lower()
    if suffix in (".txt", *TABLE_SUFFIXES) and not path.exists():
        raise InputError(f"{spec}: there is no such file")
    if suffix in TABLE_SUFFIXES and path.is_file():
        prompts = list(_of_table(read_table(path)))
    elif suffix == ".txt" and path.is_file() and not any(reader.matches(path) for reader in readers.values()):
        prompts = _of_lines(path)
    else:
        prompts = _of_dataset(spec, readers)
    if not prompts:
        raise InputError(f"{spec}: it holds no prompts; write one a line, or a table with a column prompt")
    for prompt in prompts:
        if not prompt.text.strip():
            raise InputError(f"{prompt.where}: the prompt is empty; write it or remove the row")
        if not _encodable(prompt):
            raise InputError(f"{prompt.where}: it holds half a surrogate pair, which is no character; retype the text")
    return prompts


def _encodable(prompt: Prompt) -> bool:
    try:
        "".join(filter(None, (prompt.text, prompt.id, prompt.negative, prompt.source, prompt.group))).encode()
    except UnicodeEncodeError:
        return False
    return True


def _of_lines(path: Path) -> list[Prompt]:
    lines = (line.strip() for line in read_text(path).replace("\r\n", "\n").split("\n"))
    return [Prompt(line, f"{path} line {number}") for number, line in enumerate(lines, start=1) if line]


def _of_table(table: Table) -> Iterator[Prompt]:
    column = table.required(TEXT_COLUMNS)
    names = {what: table.column(known) for what, known in _KNOWN.items()}

    def value(what: str, row: dict[str, Any]) -> str | None:
        name = names[what]
        return None if name is None else optional(row, name)

    for where, row in table.rows:
        texts = texts_of(row.get(column), column, where)
        own = value("id", row)
        for number, text in enumerate(texts):
            yield Prompt(
                text,
                where,
                id=own if own is None or len(texts) == 1 else f"{own}#{number}",
                seed=_number(value("seed", row), names["seed"], where, _seed),
                negative=value("negative", row),
                steps=_number(value("steps", row), names["steps"], where, _steps),
                guidance=_number(value("guidance", row), names["guidance"], where, _guidance),
                source=value("source", row),
                group=value("group", row),
            )


_KNOWN = {
    "id": _IDS,
    "seed": ("seed",),
    "negative": _NEGATIVES,
    "steps": _STEPS,
    "guidance": _GUIDANCE,
    "source": ("source",),
    "group": ("group",),
}


def _number(text: str | None, column: str | None, where: str, parse: Callable[[str], Any]) -> Any:
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise InputError(f"{where}: '{column}' is {text!r}; {error}") from None


def _whole(text: str, least: int, most: int, mend: str) -> int:
    try:
        number = int(text) if text.strip().lstrip("-").isdecimal() else float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most or number != int(number):
        raise ValueError(mend)
    return int(number)


def _seed(text: str) -> int:
    return _whole(text, 0, _LARGEST_SEED, "write a whole number from 0 to 9223372036854775807, or leave it empty")


def _steps(text: str) -> int:
    return _whole(text, 1, 1000, "write a whole number from 1 to 1000, or leave it empty")


def _guidance(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1000:
        raise ValueError("write a number from 0 to 1000, or leave it empty")
    return number


def _of_dataset(spec: str, readers: Readers) -> list[Prompt]:
    dataset = open_dataset(spec, readers, "all")
    if not dataset.has_texts:
        raise InputError(f"{spec}: it is a test set, without prompts; name data with prompts")
    shared = dataset.parents is not None and len(set(dataset.parents)) < len(dataset)
    groups: Sequence[Any] | None = dataset.groups
    if groups is None and shared:  # captions of one picture say one thing, and belong together
        groups = dataset.parents
    return [
        Prompt(
            texts[0],
            dataset.wheres[i],
            id=dataset.ids[i],
            group=None if groups is None else str(groups[i]),
            origin=(dataset.sources[i] or None) if dataset.sources is not None else None,
        )
        for i, texts in enumerate(dataset.texts)
    ]


def derived_seed(seed: int, key: str, number: int) -> int:
    """Return the seed of a row that brings none, 32 bits: what web UIs and other tools take for one, too.

    The first four bytes, the highest first, of BLAKE2b (digest of four bytes) of the UTF-8 of the JSON list
    ``[seed,key,number]`` without spaces.

    Parameters
    ----------
    seed
        That of the command.
    key
        The row's id, or its prompt where it brings no id.
    number
        Which image of this key it is, from 0.
    """
    text = json.dumps([seed, key, number], ensure_ascii=False, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def requests_of(prompts: Sequence[Prompt], options: GenerateOptions) -> list[Request]:
    """Return one request an image: ids made unique by the image's number where a prompt has several.

    A seed that a row brings is that of its first image, and the next image has the next one, as web UIs count.

    Raises
    ------
    InputError
        If two rows have one id.
    """
    several = options.images_per_prompt > 1
    made: list[Request] = []
    seen: dict[str, str] = {}
    counts: dict[str, int] = {}
    for place, prompt in enumerate(prompts[: options.limit]):
        own = prompt.id if prompt.id is not None else f"{place:09d}"
        key = prompt.id if prompt.id is not None else prompt.text
        for number in range(options.images_per_prompt):
            row_id = f"{own}-{number}" if several else own
            if row_id in seen:
                raise InputError(
                    f"{prompt.where}: the id '{row_id}' is already taken by {seen[row_id]}; ids must be unique"
                )
            seen[row_id] = prompt.where
            count = counts.get(key, 0)
            counts[key] = count + 1
            seed = derived_seed(options.seed, key, count) if prompt.seed is None else (prompt.seed + number) % 2**63
            made.append(
                Request(
                    id=row_id,
                    prompt=prompt.text,
                    seed=seed,
                    negative=prompt.negative if prompt.negative is not None else options.negative,
                    steps=prompt.steps if prompt.steps is not None else options.steps,
                    guidance=prompt.guidance if prompt.guidance is not None else options.guidance,
                    source=prompt.source,
                    group=prompt.group,
                    origin=prompt.origin,
                )
            )
    return made


def requests_hash(requests: Sequence[Request]) -> str:
    """Hash all that is asked for, in its order: 16 hexadecimal digits."""
    total = hashlib.sha256()
    for request in requests:
        total.update(json.dumps(asdict(request), ensure_ascii=False, sort_keys=True).encode() + b"\n")
    return total.hexdigest()[:16]
