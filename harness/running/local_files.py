"""Local files that a predictor's options name: weights, phrase lists, whatever is read beside the images.

What they hold decides predictions as much as the options do, so it is part of a task's key, and of the keys under which
the predictor keeps what it computes once. An author has nothing to declare for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_origin

from pydantic import BaseModel

from harness.data.contents import content_hash
from harness.plugin import BY_NAME, named_paths

if TYPE_CHECKING:
    from harness.plugin import Predictor

_TINY = "tiny"
"""What the bundled weights are called, whatever else is called so."""


def local_files(cls: type[Predictor], config: BaseModel) -> dict[str, str]:
    """Return the files and folders that options name, and the hash of what each holds.

    Left out are options of fixed choices (``Literal``), those marked ``BY_NAME``, and a bare word that is the option's
    default or a preset's: it is a name of the predictor's own.

    Raises
    ------
    InputError
        Naming a file that is there and cannot be read.
    """
    found: dict[str, str] = {}
    for key, field in type(config).model_fields.items():
        if BY_NAME in field.metadata or get_origin(field.annotation) is Literal:
            continue
        named = (field.default, *(preset.get(key) for preset in cls.presets.values()))
        own = {_TINY, *(text for value in named for text in _texts(value))}
        for text in _texts(getattr(config, key)):
            if text in own and text == Path(text).name:
                continue
            found |= {path: content_hash(Path(path)) for path in named_paths(text) if path not in found}
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Path):
        yield str(value)
    elif type(value) is str:  # and no member of an enumeration
        yield value
    elif isinstance(value, BaseModel):
        for key in type(value).model_fields:
            yield from _texts(getattr(value, key))
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for each in sorted(value, key=str) if isinstance(value, set | frozenset) else value:
            yield from _texts(each)
