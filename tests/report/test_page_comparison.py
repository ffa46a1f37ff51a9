"""Pages of two runs, or two members, side by side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.comparing import compare
from harness.report.page import fold_charts
from harness.report.page.comparison import comparison_contents
from harness.report.page.telling import bins_of
from harness.running.nearest import nearest_prompts
from harness.scoring.tables import shown
from harness.store.run import RunFolder
from harness.workbench.leaderboard import judge
from harness.workbench.reporting import write_comparison
from tests.report.pages import (
    Made,
    Tab,
    carried_out,
    opened,
)

pytestmark = pytest.mark.xdist_group("page")


def test_of_two_runs_the_rows_that_moved_most(made: Made, browser: Any) -> None:
    found = compare("runs/first", "runs/second", None, made.manager.blender)
    pair = next(one for one in found.comparisons if one.a == "near")
    text = made.comparison.read_text()
    main = comparison_told(made, "runs/first", "runs/second").comparisons[0]
    assert shown(pair.difference.mean, True).replace("-", "−") in text
    header = text[: text.index("<nav")]
    assert re.search(r"near\.neighbours</th><td>3</td><td>9</td>", header)
    with Tab(browser, made.comparison) as page:
        changes = [abs(float(one.replace("−", "-"))) for one in page.locator("#cards .change").all_text_contents()]
        assert changes == sorted(changes, reverse=True)
        assert changes[0] > 0
        page.locator("#cards a").first.click()
        opened(page)
        names = page.locator("#row-voices .voice h4 span").all_text_contents()
        assert sorted(names) == sorted(
            {f"A · {main.a}", f"B · {main.b}", "A · near", "B · near", "A · mean", "B · mean"}
        )


def comparison_told(made: Made, a: str | Path, b: str | Path) -> Any:
    found = compare(str(a), str(b), None, made.manager.blender)
    return comparison_contents(found, None, nearest_prompts, rows=100)[0]


def test_the_best_of_each_side_lead_however_little_they_differ(made: Made, tmp_path: Path) -> None:
    asked = {"data": "pictures", "folds": 3, "executor": "inline"}
    first = {"set": {"near": {"neighbours": 24}, "far": {"neighbours": 1}}, "plugins": "near,far=near"}
    second = {"set": {"near": {"neighbours": 25}, "far": {"neighbours": 9}}, "plugins": "near,far=near"}
    third = {"set": {"other": {"neighbours": 25}, "far": {"neighbours": 9}}, "plugins": "other=near,far=near"}
    for k, own in enumerate((first, second, third)):
        carried_out({**asked, **own, "run_dir": str(tmp_path / f"side{k}")}, made.manager)
    told = comparison_told(made, tmp_path / "side0", tmp_path / "side1")
    main, far = told.comparisons
    assert (main.a, main.b, far.a, far.b) == ("near", "near", "far", "far")
    assert abs(main.difference.mean) < abs(far.difference.mean)
    # The best of each side have no name in common: they are compared all the same.
    told = comparison_told(made, tmp_path / "side0", tmp_path / "side2")
    assert [(one.a, one.b) for one in told.comparisons] == [("near", "other"), ("far", "far")]
    assert told.comparisons[0].difference == main.difference
    assert told.gallery.voices == ["A · near", "B · other", "A · far", "B · far"]
    # `mean` leads in both of these and is the same on every row, which leaves nothing to see.
    assert judge(RunFolder(Path("runs/second"))).rows[0].plugin == "mean"
    assert comparison_told(made, "runs/first", "runs/second").comparisons[0].tied < 1.0


def test_tied_rows_are_on_neither_side(made: Made) -> None:
    drawn = fold_charts.differences(bins_of(np.array([-0.02, 0.01]), -0.02, 0.02, 0.01), 3)
    assert "3 rows with the same score on both sides are not drawn" in drawn.says
    assert drawn.rows[-1] == ["the same", "3"]


def test_of_two_members(made: Made, tmp_path: Path) -> None:
    report = write_comparison("blend", "blend:uniform", made.manager, tmp_path / "two.html", run_dir=made.run.path)
    assert "blend against blend:uniform" in report.path.read_text()
