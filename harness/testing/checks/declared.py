"""What a class says of itself: name, options, presets; and a constructor that only keeps what it is given."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from harness.plugin import Predictor
from harness.testing.check import check
from harness.testing.observing import ObservedCall
from harness.testing.records import ContractError
from harness.testing.subject import Subject

HEAVY = frozenset(
    {
        *("torch", "torchvision", "tensorflow", "jax", "keras", "onnxruntime", "transformers", "sentence_transformers"),
        *("diffusers", "datasets", "peft", "timm", "open_clip", "sklearn", "scipy", "pandas", "pyarrow", "xgboost"),
        *("lightgbm", "catboost", "cv2", "skimage", "matplotlib", "numba", "faiss", "spacy", "nltk"),
    }
)
"""Packages that take long to import."""
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_BOUNDS = ("gt", "ge", "lt", "le")
_IMPORTED = (".py", ".pyc", ".so", ".pyd", ".dll", ".dylib")
_UNKNOWN = "an_option_that_no_predictor_has"
declared = partial(check, untouched=True)
"""These leave the process as it was: they ask the class, and the constructor is to do nothing."""
CONFIGURED = ("config-usable",)


@declared(
    "identity",
    expected="class attributes: `name` of lower-case letters, digits, '-' and '_'; `version`, a text that says "
    "something; `trainable`, True or False, and if True a `fit`",
    mend="set them in the class: they are part of every cache key and record",
)
def identity(subject: Subject) -> None:
    """Cache keys, records and messages are made of these."""
    name, version = getattr(subject.cls, "name", None), getattr(subject.cls, "version", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ContractError(f"name = {name!r}")
    if not isinstance(version, str) or not version.strip():
        raise ContractError(f"version = {version!r}", 'set `version = "1"`, and raise it when the predictions change')
    if not isinstance(subject.cls.trainable, bool):
        raise ContractError(f"trainable = {subject.cls.trainable!r}")
    if subject.cls.trainable and subject.cls.fit is Predictor.fit:
        raise ContractError(
            "trainable is True, and there is no `fit`",
            "write `fit`, or set `trainable = False`: it then runs only once",
        )


@declared(
    "light-import",
    expected="importing the class's module imports no package that takes long to import",
    mend="import it inside the methods that use it; below `if TYPE_CHECKING:` it can stand at the top",
)
def light_import(subject: Subject) -> None:
    """Every `harness` command imports every plugin, and `harness plugins list` is to answer at once."""
    heavy = sorted({name.partition(".")[0] for name in subject.imported} & HEAVY)
    if heavy:
        raise ContractError(f"importing {subject.cls.__module__} imports {', '.join(heavy)}")


@declared(
    "config-fields",
    expected="each option in `Config` has a type, a description, and if it is a number at least one bound",
    mend='write `neighbours: int = Field(5, ge=1, le=1000, description="Images that are averaged.")`',
)
def config_fields(subject: Subject) -> None:
    """`harness plugins info` prints them, and `--set` is checked against them."""
    for key, field in subject.cls.Config.model_fields.items():
        if field.annotation is None or any(part in (Any, object) for part in _parts(field.annotation)):
            raise ContractError(f"{key} may be anything", f"give {key} a type")
        if not (field.description or "").strip():
            raise ContractError(f"{key} has no description")
        if {int, float} & set(_parts(field.annotation)) and not _bounded(field):
            raise ContractError(f"{key} is a number without bounds")


@declared(
    "config-defaults",
    expected="each option's default is a value that the option accepts",
    mend="change the default or its bounds; `PredictorConfig` as the base of `Config` checks defaults by itself",
)
def config_defaults(subject: Subject) -> None:
    """A wrong default shows only when somebody writes the same value down."""
    config = subject.cls.Config
    given = {key: field.get_default(call_default_factory=True) for key, field in config.model_fields.items()}
    given = {key: value for key, value in given.items() if not config.model_fields[key].is_required()}
    try:
        config.model_validate(given)
    except ValidationError as error:
        for problem in error.errors():
            key = str(problem["loc"][0]) if problem["loc"] else ""
            if problem["type"] != "missing":  # an option without a default is none of this check's business
                raise ContractError(f"{key} = {given.get(key)!r}: {problem['msg']}") from error


@declared(
    "config-presets",
    expected="each of `presets` has a name and options that `Config` accepts",
    mend="correct the option, or take it out of the preset",
)
def config_presets(subject: Subject) -> None:
    """`--preset` takes them as they are; `tiny` is what a run takes by default."""
    for name, options in subject.cls.presets.items():
        try:
            subject.cls.Config.model_validate(dict(options))
        except ValidationError as error:
            first = error.errors()[0]
            raise ContractError(f"preset {name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@declared(
    "config-usable",
    expected="`Config` accepts the options under test: those that were given, or those of a run without any",
    mend="give the option a default, or a value in the preset `tiny`; a predictor that cannot have one is checked with "
    "`config=...` or `--set`",
)
def config_usable(subject: Subject) -> None:
    """`harness run --plugins NAME` should do something."""
    try:
        _ = subject.config
    except ValidationError as error:
        first = error.errors()[0]
        raise ContractError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@declared(
    "config-json",
    expected="a configuration written as JSON and read again is the same",
    mend="keep to numbers, texts, truth values, None, and lists or models of these; JSON has no infinity",
    needs=CONFIGURED,
)
def config_json(subject: Subject) -> None:
    """Run folders keep configurations as JSON, and worker processes are handed them so."""
    for name, config in _configurations(subject):
        try:
            again = type(config).model_validate_json(config.model_dump_json())
        except ValidationError as error:
            raise ContractError(f"{name}: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from error
        if again != config:
            odd = [key for key, value in config.model_dump().items() if again.model_dump().get(key) != value]
            raise ContractError(f"{name}: {', '.join(odd) or 'the whole'} is another after reading")


@declared(
    "config-unknown-key",
    expected="an option that does not exist is refused",
    mend='derive `Config` from `PredictorConfig`, or set `extra="forbid"` in its `model_config`',
    needs=CONFIGURED,
)
def config_unknown_key(subject: Subject) -> None:
    """A misspelt option that is ignored costs somebody a night of computing."""
    try:
        subject.cls.Config.model_validate({**subject.config.model_dump(), _UNKNOWN: 1})
    except ValidationError:
        return
    raise ContractError(f"{_UNKNOWN}=1 was taken")


@declared(
    "inert-constructor",
    expected="the constructor keeps its arguments: it imports nothing heavy, opens no file, starts no thread",
    mend="do it in `fit`, `load` or `predict`; `super().__init__(config, context)` is enough of a constructor",
    needs=CONFIGURED,
)
def inert_constructor(subject: Subject) -> None:
    """Listing plugins and planning a run construct predictors that may never run."""
    import sys

    before = set(sys.modules)
    calls: dict[str, ObservedCall] = {}
    with subject.observer.observe(calls, "constructor") as call:
        subject.build()
    if call.error is not None:
        raise call.error
    heavy = sorted({name.partition(".")[0] for name in set(sys.modules) - before} & HEAVY)
    if heavy:
        raise ContractError(
            f"it imports {', '.join(heavy)}",
            "import it in the methods that use it; `context.device` looks for a GPU, so do not ask for it here",
        )
    scratch = str(subject.work)
    for action in call.actions:
        if action.kind == "read" and action.what.endswith(_IMPORTED):
            continue  # a light import
        if action.kind in ("read", "write") and action.what.startswith(scratch) and action.what.endswith("scratch1"):
            continue  # the kit's own folder for it
        raise ContractError(f"{action.kind}: {action.what}")


def _configurations(subject: Subject) -> Iterator[tuple[str, BaseModel]]:
    yield "the configuration under test", subject.config
    for name, options in subject.cls.presets.items():
        with suppress(ValidationError):  # which `config-presets` reports
            yield f"preset {name}", subject.cls.Config.model_validate(dict(options))


def _parts(annotation: Any) -> list[Any]:
    """Return the types that a union is made of, or the one type."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return [part for member in typing.get_args(annotation) for part in _parts(member)]
    if origin is typing.Annotated:
        return _parts(typing.get_args(annotation)[0])
    return [annotation]


def _bounded(field: FieldInfo) -> bool:
    kept = [*field.metadata]
    for part in typing.get_args(field.annotation):
        kept += getattr(part, "__metadata__", ())  # int | Annotated[float, Field(ge=0)]
    marks = [mark for item in kept for mark in (item, *getattr(item, "metadata", ()))]
    return any(getattr(mark, bound, None) is not None for mark in marks for bound in _BOUNDS)
