"""What is looked up once while a data set is opened: readers are asked one after the other, and ask for the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")
_kept: ContextVar[dict[Any, Any] | None] = ContextVar("what was looked up", default=None)


@contextmanager
def looked_up_once() -> Iterator[None]:
    """Keep the answers of functions that are decorated with `once`, until this is left."""
    before = _kept.set({}) if _kept.get() is None else None
    try:
        yield
    finally:
        if before is not None:
            _kept.reset(before)


def once(function: Callable[_Asked, _Answer]) -> Callable[_Asked, _Answer]:
    """Answer the same question from memory within `looked_up_once`, and anew outside of it.

    For functions whose arguments can be hashed and whose answers nobody changes; an exception is not kept.
    """

    @wraps(function)
    def asked(*args: _Asked.args, **kwargs: _Asked.kwargs) -> _Answer:
        kept = _kept.get()
        if kept is None:
            return function(*args, **kwargs)
        question = (function, args, tuple(sorted(kwargs.items())))
        if question not in kept:
            kept[question] = function(*args, **kwargs)
        answer: _Answer = kept[question]
        return answer

    return asked
