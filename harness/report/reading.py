"""Reading published leaderboards back, with a message for whatever is none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import InputError

SCHEMA = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Dataset(_Part):
    name: str
    fingerprint: str


class _Folds(_Part):
    number: int
    hash: str
    split: str


class _Config(_Part):
    data: str
    plugins: list[str] = Field(min_length=1)
    preset: str
    folds: int
    seed: int


class _Commands(_Part):
    run: str


class _Row(_Part):
    plugin: str
    predictor: str
    version: str
    score: float
    keys: dict[str, str] = Field(min_length=1)
    predictions_sha256: str


class _Gain(_Part):
    mean: float


class _Best(_Part):
    plugin: str
    score: float


class _Blend(_Part):
    method: str
    weights: dict[str, float] = Field(min_length=1)
    score: float
    nested_score: float
    best_single: _Best
    gain: _Gain
    fold_weights: list[dict[str, float]]


class _Schema(_Part):
    schema_: Literal[1] = Field(alias="schema")
    dataset: _Dataset
    folds: _Folds
    config: _Config
    commands: _Commands
    versions: dict[str, str | None]
    machine: dict[str, Any]
    rows: list[_Row] = Field(min_length=1)
    blends: list[_Blend]


@dataclass(frozen=True)
class Published:
    """A published document and where it lies."""

    path: Path
    data: dict[str, Any]

    @property
    def members(self) -> list[str]:
        """Names of its members, in the order that its blends take them."""
        names = [row["plugin"] for row in self.data["rows"]]
        first = next(iter(self.data["blends"]), None)
        return list(first["weights"]) if first and set(first["weights"]) == set(names) else names


def read_published(path: Path) -> Published:
    """Read a published document.

    Raises
    ------
    InputError
        If it is none, is damaged, or was written by a later version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise InputError(f"{path}: it cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: it is damaged: it is not JSON ({error}); restore it, or publish it anew") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, int) or "blends" not in document:
        raise InputError(f"{path}: it is no published leaderboard; `harness leaderboard --publish` writes one")
    if schema > SCHEMA:
        raise InputError(
            f"{path}: it was published by a later version of harness (schema {schema}, this one knows {SCHEMA}); "
            "update harness"
        )
    try:
        _Schema.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path}: it is damaged: {where}: {first['msg']}; restore it, or publish it anew with "
            "`harness leaderboard --publish`"
        ) from error
    names = [row["plugin"] for row in document["rows"]]
    asked = [item.partition("=")[0] for item in document["config"]["plugins"]]
    if sorted(names) != sorted(set(asked)):
        raise InputError(
            f"{path}: it is damaged: its rows are of {', '.join(names)}, and its config asks for {', '.join(asked)}; "
            "restore it, or publish it anew"
        )
    return Published(path, document)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def published_in(path: Path) -> list[Published]:
    """Read a published document, or all of a folder (every ``*.json``), by name.

    Raises
    ------
    InputError
        If there is none, or one cannot be read.
    """
    if path.is_file():
        return [read_published(path)]
    if not path.is_dir():
        raise InputError(f"{path}: there is no such file or folder of published leaderboards")
    found = [read_published(file) for file in sorted(path.glob("*.json"))]
    if not found:
        raise InputError(
            f"{path}: there is no published leaderboard here (no *.json); write one with "
            f"`harness leaderboard --publish {path}`"
        )
    return found
