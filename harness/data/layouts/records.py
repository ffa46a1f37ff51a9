"""Rows of tables that hold the images themselves, as those of ``datasets``: columns found by name and type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.layouts.tables import FILE_COLUMNS, TEXT_COLUMNS, broken, plain, seed_of, texts_of
from harness.errors import InputError
from harness.plugin import BrokenRow, ImageSource, Row

PICTURE_COLUMNS = (*FILE_COLUMNS, "images", "jpg", "jpeg", "png", "webp", "image_bytes", "img_bytes", "image_data")
_TEXT_COLUMNS = (*TEXT_COLUMNS, "txt", "text.txt", "caption.txt", "prompt.txt")  # members of shards, as columns
_MEMBER = "json"
"""The column into which ``datasets`` puts the JSON members of WebDataset shards."""

ColumnPath = tuple[str, ...]
"""A column, or a field of one that holds structs."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are read, each None where there is none.

    Parameters
    ----------
    image
        Encoded bytes.
    file
        What the image's file was called; where bytes are null, the file itself.
    key
        What a row is called in its shard.
    text, id, group, source, seed
        As fields of a `Row`.
    """

    image: ColumnPath
    file: ColumnPath | None = None
    key: ColumnPath | None = None
    text: ColumnPath | None = None
    id: ColumnPath | None = None
    group: ColumnPath | None = None
    source: ColumnPath | None = None
    seed: ColumnPath | None = None

    @property
    def described(self) -> list[ColumnPath]:
        """All that is read of a row but the image."""
        chosen = (self.file, self.key, self.text, self.id, self.group, self.source, self.seed)
        return [path for path in chosen if path is not None]


def dotted(path: ColumnPath) -> str:
    """Return a column as Arrow and messages call it."""
    return ".".join(path)


def choose(schema: Any, where: str, image: str | None = None, prompt: str | None = None) -> Columns | None:
    """Find the columns of a table by their names and types.

    Parameters
    ----------
    schema
        ``pyarrow.Schema``, with what ``datasets`` notes of its features if it wrote the table.
    where
        The table, for messages.
    image, prompt
        Columns that were named, which are taken as they are.

    Returns
    -------
    Columns or None
        None where no column holds images.

    Raises
    ------
    InputError
        If a column that was named is not there or holds something else, or more than one may be meant.
    """
    pictures = _pictures(schema)
    if image is not None:
        picture = _named(schema, image, where, "image")
        if picture not in pictures:
            raise InputError(f"{where}: its column '{image}' holds no images{_offer('image', pictures)}")
    elif not pictures:
        return None
    else:
        known = _first(pictures, PICTURE_COLUMNS)
        if known is None and len(pictures) > 1:
            raise InputError(
                f"{where}: it has {len(pictures)} columns of images ({', '.join(pictures)}); name one: "
                f"hf:{_folder(where)}?image={pictures[0]}"
            )
        picture = known or pictures[0]
    field = schema.field(picture)
    fields = _fields(field.type)
    text = None
    if prompt is not None:
        text = (_named(schema, prompt, where, "prompt"),)
        if not _is_text(schema.field(prompt).type):
            raise InputError(f"{where}: its column '{prompt}' holds no texts{_offer('prompt', _texts(schema))}")
    return Columns(
        image=(picture, "bytes") if fields else (picture,),
        file=(picture, "path") if "path" in fields else None,
        text=text or _found(schema, _TEXT_COLUMNS, _is_text),
        key=_found(schema, ("key",), _is_label),  # __key__
        id=_found(schema, ("id",), _is_label),
        group=_found(schema, ("group",), _is_label),
        source=_found(schema, ("source",), _is_label),
        seed=_found(schema, ("seed",), _is_number),
    )


def _folder(where: str) -> str:
    path = Path(where)
    return str(path.parent if path.suffix else path)


def _offer(kind: str, names: list[str]) -> str:
    return f"; those that may be meant: {', '.join(names)}" if names else f"; it has no column of a {kind} at all"


def _named(schema: Any, name: str, where: str, what: str) -> str:
    if name not in schema.names:
        raise InputError(f"{where}: it has no column '{name}' for the {what} (it has: {', '.join(schema.names)})")
    return name


def _first(names: Iterable[str], known: Iterable[str]) -> str | None:
    by_plain = {plain(name): name for name in reversed(list(names))}
    return next((by_plain[name] for name in known if name in by_plain), None)


def _fields(kind: Any) -> list[str]:
    import pyarrow as pa

    return [field.name for field in kind] if pa.types.is_struct(kind) else []


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(is_kind(kind) for is_kind in kinds)


def _pictures(schema: Any) -> list[str]:
    """Return the columns that hold images: by what ``datasets`` noted of them, else by type and name."""
    features = features_of(schema)
    found = []
    for field in schema:
        noted = features.get(field.name, {})
        is_image = noted.get("_type") == "Image" if isinstance(noted, dict) else False
        other = isinstance(noted, dict) and noted.get("_type") in ("Audio", "Video", "Pdf", "Mesh", "Nifti")
        if _fields(field.type):
            inside = {inner.name: inner.type for inner in field.type}
            holds = "bytes" in inside and _is_binary(inside["bytes"])
        else:
            holds = _is_binary(field.type) and (is_image or plain(field.name) in PICTURE_COLUMNS)
        if holds and not other:
            found.append((not is_image, field.name))
    noted_only = [name for unnoted, name in found if not unnoted]
    return noted_only or [name for _, name in found]


def features_of(schema: Any) -> Mapping[str, Any]:
    """Return what ``datasets`` noted of each column, as it writes it to JSON; nothing where it did not."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = noted["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if any(is_list(kind) for is_list in lists):
        kind = kind.value_type
    return any(is_kind(kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _texts(schema: Any) -> list[str]:
    return [field.name for field in schema if _is_text(field.type)]


def _is_label(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or (_is_text(kind) and not pa.types.is_nested(kind))


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_floating(kind) or pa.types.is_decimal(kind) or _is_label(kind)


def _found(schema: Any, known: Iterable[str], fits: Callable[[Any], bool]) -> ColumnPath | None:
    """Return the first column of a known name whose type fits, or such a field of the JSON that goes with images."""
    known = list(known)
    outer = _first((field.name for field in schema if fits(field.type)), known)
    if outer is not None:
        return (outer,)
    if _MEMBER in schema.names and _fields(kind := schema.field(_MEMBER).type):
        inner = _first((field.name for field in kind if fits(field.type)), known)
        return None if inner is None else (_MEMBER, inner)
    return None


def value_of(values: Mapping[str, Any], path: ColumnPath | None) -> Any:
    """Return what stands in a column, or None."""
    found: Any = None if path is None else values
    for name in path or ():
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def record(columns: Columns, values: Mapping[str, Any], image: Path | ImageSource, row_id: str, where: str) -> Any:
    """Return the `Row` that values make, or the `BrokenRow` that says what is wrong with them.

    Parameters
    ----------
    columns
        Which columns are what.
    values
        By column; structs as mappings.
    image, where
        As a row has them.
    row_id
        Its id, where no column says it.
    """
    texts: tuple[str, ...] = ()
    if columns.text is not None:
        text = value_of(values, columns.text)
        if text is None or text == []:
            return BrokenRow(where, f"its '{dotted(columns.text)}' is null; fill it in or remove the row")
        try:
            texts = texts_of(text, columns.text[-1], where)
        except InputError as error:
            return broken(error, where)
    told = value_of(values, columns.id)
    return Row(
        id=row_id if told is None or told == "" else str(told),
        image=image,
        texts=texts,
        group=_label(value_of(values, columns.group)),
        source=_label(value_of(values, columns.source)),
        where=where,
        seed=seed_of(value_of(values, columns.seed)),
    )


def _label(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def short_names(columns: Columns, rows: Callable[[ColumnPath], Iterable[Any]]) -> ColumnPath | None:
    """Return the column that tells the rows of a shard apart by name, where no column gives ids: of keys or of files.

    Parameters
    ----------
    columns
        Those of the shard.
    rows
        Walks the values of a column.
    """
    if columns.id is not None:
        return None
    return next((path for path in (columns.key, columns.file) if path is not None and _all_differ(rows(path))), None)


def _all_differ(names: Iterable[Any]) -> bool:
    seen: set[str] = set()
    for name in names:
        if name is None or not (stem := stem_of(name)) or stem in seen:
            return False
        seen.add(stem)
    return True


def stem_of(name: Any) -> str:
    """Return the name of a file without folder and suffix."""
    return Path(str(name).replace("\\", "/")).stem
