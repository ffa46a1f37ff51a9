"""The checks as tests of pytest, one each."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.testing.runner import Kit, Options, check_names, known_checks

if TYPE_CHECKING:
    from harness.plugin import Predictor


def parametrize_with_checks(
    cls: type[Predictor], *, config: Options = None, checks: Sequence[str] | None = None, device: str = "cpu"
) -> Callable[[Any], Any]:
    """Decorate a test function so that it runs once for each check of a predictor.

    The function has one argument, ``check``, and calls it::

        @parametrize_with_checks(MyPredictor)
        def test_conformance(check):
            check()

    A check that fails fails its test with what was expected, what came and how to mend it; one that does not apply is
    skipped with the reason. The test's id is the check's name. All tests of a class share one process.

    Parameters
    ----------
    cls, config, checks, device
        As for ``check_predictor``.
    """
    import pytest

    known_checks(checks)
    names = check_names() if checks is None else list(checks)
    shared = _SharedKit(lambda: Kit(cls, config, device), len(names))
    return pytest.mark.parametrize("check", [_CheckOfPytest(shared, name) for name in names], ids=names)


class _SharedKit:
    """One kit for all tests of a class; closed after the last of them, or when the session ends."""

    def __init__(self, make: Callable[[], Kit], tests: int) -> None:
        self._make = make
        self._kit: Kit | None = None
        self._open: set[str] = set()
        self._tests = tests

    def kit(self) -> Kit:
        if self._kit is None:
            self._kit = self._make()
            atexit.register(self.close)
        return self._kit

    def done(self, name: str) -> None:
        self._open.add(name)
        if len(self._open) == self._tests:
            self._open.clear()
            self.close()

    def close(self) -> None:
        if self._kit is not None:
            self._kit.close()
            self._kit = None
            atexit.unregister(self.close)


class _CheckOfPytest:
    """What a test calls."""

    def __init__(self, shared: _SharedKit, name: str) -> None:
        self._shared, self._name = shared, name

    def __call__(self) -> None:
        import pytest

        __tracebackhide__ = True
        record = self._shared.kit().record(self._name)
        self._shared.done(self._name)
        if record.status == "failed":
            pytest.fail(record.describe(), pytrace=False)
        if record.status == "skipped":
            pytest.skip(record.reason)

    def __repr__(self) -> str:
        return self._name
