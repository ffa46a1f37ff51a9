"""The command ``harness report``, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import InputError
from harness.workbench.reporting import find_run, write_report
from tests.report.pages import (
    Made,
)

pytestmark = pytest.mark.xdist_group("page")


def test_the_command_writes_a_page_and_says_so(made: Made, tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    answer = CliRunner().invoke(app, ["report", "first", "--out", str(page), "--rows", "10", "--json"])
    told = json.loads(answer.stdout)
    assert told["rows"] == 10
    assert told["of_rows"] == 44
    assert told["bytes"] == page.stat().st_size
    answer = CliRunner().invoke(app, ["report", "first", "second", "near", "--out", str(page)])
    assert isinstance(answer.exception, InputError)
    answer = CliRunner().invoke(app, ["report", "first", "second", "--watch", "--out", str(page)])
    assert isinstance(answer.exception, InputError)


def test_what_is_wrong_is_said(made: Made, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run here"):
        find_run(tmp_path)
    with pytest.raises(InputError, match="--rows 0"):
        write_report(made.run, made.manager, tmp_path / "a.html", rows=0)
    with pytest.raises(InputError, match="--out"):
        write_report(made.run, made.manager, tmp_path)
    assert find_run("first").path == Path("runs/first")
    assert find_run(None).exists
