"""The command ``harness report``, and what it refuses."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

from harness.comparing import compare
from harness.errors import InputError
from harness.scoring.tables import shown
from harness.store.finding import find_run
from harness.workbench.reporting import write_report
from tests.conftest import Command
from tests.report.pages import Made, in_page

pytestmark = pytest.mark.xdist_group("page")


def cells(html: str, label: str) -> list[list[str]]:
    """Return the texts of a table's rows without its head, found by the label of what holds it."""
    table = html[html.index(f'aria-label="{label}"') :]
    body = table[table.index("<tbody>") : table.index("</tbody>")]
    told = [re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL) for row in body.split("<tr")[1:]]
    return [[unescape(re.sub(r"<[^>]*>", "", cell)).strip() for cell in row] for row in told]


def test_the_command_writes_a_page_and_says_so(made: Made, tmp_path: Path, command: Command) -> None:
    page = tmp_path / "new" / "page.html"
    code, out, _ = command("report", "first", "--out", str(page), "--rows", "10", "--json")
    told = json.loads(out)
    assert (code, told["path"], told["bytes"]) == (0, str(page), page.stat().st_size)
    assert (told["rows"], told["of_rows"], told["finished"]) == (10, 44, True)
    assert len(in_page(page)["rows"]) == 10
    assert len(cells(page.read_text(), "Scores")) == 4  # three members and the blend


def test_the_command_sets_two_runs_side_by_side(made: Made, tmp_path: Path, command: Command) -> None:
    page = tmp_path / "page.html"
    code, out, err = command("report", "first", "second", "--out", str(page))
    assert (code, out) == (0, "")
    assert re.search(rf"^wrote {re.escape(str(page))} \(.*: open it in a browser$", err, re.MULTILINE)
    html = page.read_text(encoding="utf-8")
    assert "<h1>first against second</h1>" in html
    sides = re.findall(r"</i>([AB])</th><td>(.*?)</td>", html)
    assert sides == [("A", "runs/first"), ("B", "runs/second")]
    # The best members that both have lead, by what they differ; what only one has is named.
    known = {one.a: one for one in compare("runs/first", "runs/second", None, made.manager.blender).comparisons}
    differences = cells(html, "Differences")
    assert [row[0] for row in differences] == ["near", "mean"]
    for name, difference, _, _, _, a, b, _ in differences:
        assert difference == shown(known[name].difference.mean, True).replace("-", "−")
        assert (a, b) == (shown(known[name].score_a), shown(known[name].score_b))
    assert [row[-1] for row in differences] == ["B is better", "the same"]
    assert re.findall(r"<b>(\w+)</b> is left out: only runs/first has it", html) == ["far", "blend"]
    assert in_page(page)["voices"] == ["A · near", "B · near", "A · mean", "B · mean"]
    # The other way round, the difference is as well.
    code, *_ = command("report", "second", "first", "--out", str(page), "--rows", "5")
    turned = cells(page.read_text(encoding="utf-8"), "Differences")
    assert (code, turned[0][1]) == (0, differences[0][1].replace("−", "+"))
    assert (turned[0][-1], len(in_page(page)["rows"])) == ("A is better", 5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["first", "second", "near"], "Error: harness report first second near: a page is of one run, or of two\n"),
        (["first", "second", "--watch"], "Error: --watch follows one run: leave the other out\n"),
        (["first", "second", "--explain"], "--explain goes with the page of one run that is written once"),
        (["first", "--run-dir", "runs/second"], "the run is given twice: first, and --run-dir runs/second"),
        (["first", "nobody"], "Error: nobody is no run folder, and no member is called 'nobody'"),
        (["first", "second", "--rows", "0"], "Error: --rows 0"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_the_command_refuses_with_code_2_and_writes_nothing(
    made: Made, tmp_path: Path, command: Command, arguments: list[str], said: str
) -> None:
    code, out, err = command("report", *arguments, "--out", str(tmp_path / "page.html"))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_said(made: Made, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run here"):
        find_run(tmp_path)
    with pytest.raises(InputError, match="--rows 0"):
        write_report(made.run, made.manager, tmp_path / "a.html", rows=0)
    with pytest.raises(InputError, match="--out"):
        write_report(made.run, made.manager, tmp_path)
    assert find_run("first").path == Path("runs/first")
    assert find_run(None).path in {Path("runs/first"), Path("runs/second")}
