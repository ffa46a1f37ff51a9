"""A Ray cluster that the tests of a process share."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.running.ray_nodes import RayNodes


@pytest.fixture(scope="session")
def shared_nodes() -> Iterator[RayNodes]:
    """One node of two CPUs."""
    if find_spec("ray") is None:
        pytest.skip("needs the extra ray")
    with RayNodes() as nodes:
        nodes.start("head", cpus=2)
        yield nodes


@pytest.fixture
def ray_nodes(shared_nodes: RayNodes, monkeypatch: pytest.MonkeyPatch) -> RayNodes:
    """The same, as the cluster that ``--executor ray`` finds."""
    for name, value in shared_nodes.environment.items():
        monkeypatch.setenv(name, value)
    return shared_nodes


@pytest.fixture
def executor(request: pytest.FixtureRequest) -> str:
    """The name of an executor, and its cluster if it needs one."""
    if request.param == "ray":
        request.getfixturevalue("ray_nodes")
    return str(request.param)
