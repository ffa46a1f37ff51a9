"""What a plugin does wrong loses its own task, with its reason; the others finish."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Harness

FAULTY = """
import numpy as np
from pydantic import Field
from harness.plugin import Predictor, PredictorConfig, hookimpl

class FaultyConfig(PredictorConfig):
    fault: str = "none"

class Faulty(Predictor):
    name = "faulty"
    version = "1"
    Config = FaultyConfig
    def fit(self, train):
        if self.config.fault == "raise in fit":
            raise RuntimeError("the optimiser diverged")
        self.mean = train.targets.mean(axis=0)
    def predict(self, images):
        rows = np.tile(self.mean, (len(images), 1))
        if self.config.fault == "nan":
            rows[1, 5] = np.nan
        if self.config.fault == "zero":
            rows[0] = 0
        if self.config.fault == "shape":
            rows = rows[:, :10]
        if self.config.fault == "integers":
            rows = (rows * 100).astype(int)
        return rows

@hookimpl
def harness_register_predictors(register):
    register(Faulty)
"""


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise in fit", "RuntimeError: the optimiser diverged"),
        ("nan", "holds NaN"),
        ("zero", "is all zeros"),
        ("shape", "expected ("),
        ("integers", "dtype int64, expected float32"),
    ],
)
def test_a_faulty_plugin_loses_its_tasks_and_no_other(
    fault: str, reason: str, kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    plugin, run_dir = tmp_path / "faulty.py", tmp_path / "run"
    plugin.write_text(FAULTY)
    command = ("run", "--data", kaggle, "--plugin-file", plugin, "--plugins", "faulty,mean", "--run-dir", run_dir)
    failed = harness(*command, "--set", f"faulty.fault={fault}", "--json")
    assert failed.code == 1
    assert failed.json["failed"] == 5
    assert failed.json["computed"] == 5
    assert reason in failed.err
    assert "faulty" in failed.err
    assert [row["plugin"] for row in failed.json["rows"]] == ["mean"]
    assert "5 of 5 folds are missing" in failed.json["incomplete"]["faulty"]
    trace = json.loads((run_dir / "members" / "faulty" / "failed-0.json").read_text())
    assert reason in trace["reason"]
    assert "Traceback" in trace["traceback"]
    without = harness("ensemble", "--optimize", "--run-dir", run_dir, "--json")
    assert without.code == 0, without.err
    assert (without.json["weights"], without.json["excluded"]) == ({"mean": 1.0}, [])
    assert "the blend goes without 'faulty': 5 of its 5 tasks are not done" in without.err
    refused = harness("ensemble", "--optimize", "--include", "faulty,mean", "--run-dir", run_dir)
    assert refused.code == 2
    assert "'faulty' has no prediction" in refused.err
    mended = harness(*command, "--json")
    assert (mended.code, mended.json["computed"], mended.json["reused"]) == (0, 5, 5)
    assert not (run_dir / "members" / "faulty" / "failed-0.json").exists()


def test_an_untrained_predictor_is_run_once_for_all_rows(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    plugin = tmp_path / "frozen.py"
    plugin.write_text(
        "import numpy as np\nfrom harness.plugin import Predictor, hookimpl\n"
        "class Frozen(Predictor):\n    name = 'frozen'\n    version = '1'\n    trainable = False\n"
        "    def fit(self, train):\n        raise AssertionError('never fitted')\n"
        "    def predict(self, images):\n"
        "        return np.stack([np.full(384, 1.0 + i, dtype=np.float32) for i in range(len(images))])\n"
        "@hookimpl\ndef harness_register_predictors(register):\n    register(Frozen)\n"
    )
    command = ("--data", kaggle, "--plugin-file", plugin, "--plugins", "frozen,mean", "--run-dir", tmp_path / "run")
    answer = harness("run", *command, "--test", kaggle / "images", "--json")
    assert (answer.code, answer.json["computed"]) == (0, 6), answer.err
    assert {row["plugin"]: row["n"] for row in answer.json["rows"]} == {"frozen": 16, "mean": 16}
    blended = harness("ensemble", "--optimize", "--run-dir", tmp_path / "run", "--json")
    assert blended.code == 0, blended.err
    assert Path(blended.json["submission"]).is_file()
