"""The command tree: quick to answer, one JSON document, tables that survive a pipe."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Harness, make_kaggle

HEAVY = {"torch", "transformers", "sentence_transformers", "sklearn", "scipy", "pyarrow", "pandas", "open_clip", "timm"}


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["plugins", "list"], ["plugins", "info", "knn"]])
def test_nothing_heavy_is_imported_to_answer(arguments: list[str]) -> None:
    script = (
        "import sys, io, contextlib, json\n"
        f"sys.argv = ['harness', *{arguments!r}]\n"
        "from harness.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    main()\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(json.loads(done.stdout))


def test_a_run_with_nothing_to_do_imports_nothing_heavy(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    command = ["run", "--data", str(kaggle), "--plugins", "mean", "--run-dir", str(tmp_path / "run")]
    assert harness(*command).code == 0
    script = (
        f"import sys, json\nsys.argv = ['harness', *{command!r}]\nfrom harness.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "sys.stderr.write(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(json.loads(done.stderr.splitlines()[-1]))


def test_plugins_list_as_a_document(harness: Harness) -> None:
    rows = {row["name"]: row for row in harness("plugins", "list", "--json").json}
    assert {"mean", "knn", "ridge", "blenders"} <= rows.keys()
    for row in rows.values():
        assert row["status"] == "ok"
        assert row["reason"] == ""
        assert row["distribution"] == "prompt-harness"
        assert row["version"]
        hook = {
            "blenders": "harness_register_blenders",
            "layouts": "harness_register_datasets",
            "mlflow": "harness_run_event",
            "scenes": "harness_register_datasets",
            "trackio": "harness_run_event",
        }.get(row["name"])
        assert row["hooks"] == [hook or "harness_register_predictors"]


def test_plugins_info_shows_options_bounds_and_presets(harness: Harness) -> None:
    shown = harness("plugins", "info", "knn")
    for word in ("neighbours", "integer >= 1", "power", "--preset reference", "Averages the targets"):
        assert word in shown.out
    document = harness("plugins", "info", "ridge", "--json").json
    assert document["config"]["properties"]["alpha"]["description"]
    assert document["presets"]["tiny"] == {"backbone": "pixels"}


def test_describe_shows_the_threshold_table(kaggle: Path, harness: Harness) -> None:
    shown = harness("data", "describe", kaggle)
    assert shown.code == 0, shown.err
    for word in ("kaggle at", "rows             16", "fingerprint", "threshold  groups  largest  purged"):
        assert word in shown.out
    document = harness("data", "describe", kaggle, "--json").json
    assert document["rows"] == 16
    assert document["threshold"] == 0.7
    assert [row["threshold"] for row in document["thresholds"]] == [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.999]
    test_set = harness("data", "describe", kaggle / "images", "--json").json
    assert (test_set["layout"], test_set["captions"], test_set["thresholds"]) == ("images", 0, [])


@pytest.mark.long
def test_the_whole_way_on_the_embedded_scenes(harness: Harness, cold: None) -> None:
    run = harness("run", "--data", "scenes:24", "--folds", 2, "--json")
    assert run.code == 0, run.err
    plugins = {row["plugin"] for row in run.json["rows"]}
    assert plugins == {"mean", "knn", "ridge", "clipnet", "vitgpt2", "interrogator"}
    blend = harness("ensemble", "--optimize", "--json")
    assert blend.code == 0, blend.err
    assert Path(blend.json["submission"]).name == "submission.csv"
    uniform = harness("ensemble", "--json").json
    assert set(uniform["weights"].values()) == {1 / 6}
    best = harness("ensemble", "--optimize", "--method", "best", "--json").json
    assert sorted(best["weights"].values()) == [0.0] * 5 + [1.0]
    assert blend.json["score"] >= max(best["score"], uniform["score"])


def test_tables_in_a_pipe_are_whole_and_notes_go_to_stderr(kaggle: Path, harness: Harness) -> None:
    run = harness("run", "--data", kaggle, "--plugins", "mean,ridge")
    assert run.code == 0, run.err
    assert "95 % interval" in run.out
    assert "…" not in run.out.replace(" … ", ""), "nothing is cut"
    assert "[10/10]" in run.err
    assert "\x1b" not in run.out + run.err, "no terminal codes in a pipe"
    shown = harness("ensemble", "--optimize")
    assert "nested score" in shown.out
    assert "--test IMAGES" in shown.err
    asked = harness("ensemble", "--optimize", "--out", "x.csv")
    assert (asked.code, "has no test set" in asked.err) == (2, True)


def test_debug_shows_the_traceback_of_an_error(harness: Harness) -> None:
    plain = harness("run", "--data", "nowhere")
    assert (plain.code, "Traceback" in plain.err) == (2, False)
    assert "Traceback" in harness("--debug", "run", "--data", "nowhere").err


def test_a_threshold_too_low_for_the_data_is_refused_with_the_table(tmp_path: Path, harness: Harness) -> None:
    prompts = [f"a photo of a {c} {a}" for c in ("red", "blue", "green", "grey") for a in ("cat", "dog", "cow", "pig")]
    data = make_kaggle(tmp_path / "formula", prompts)
    refused = harness("run", "--data", data, "--plugins", "mean", "--group-threshold", 0.3)
    assert refused.code == 2
    assert "threshold  groups  largest  purged" in refused.err
    assert "choose --group-threshold" in refused.err
    assert not (tmp_path / "cwd" / "runs").exists()


def test_doctor_says_what_works_and_what_does_not(harness: Harness, tmp_path: Path) -> None:
    well = harness("doctor", "--json")
    assert well.code == 0, well.err
    checks = {check["name"]: check for check in well.json}
    assert {"versions", "device", "prompt encoder", "cache", "plugin ridge"} <= checks.keys()
    assert all(check["ok"] for check in checks.values())
    blocked = tmp_path / "a-file"
    blocked.write_text("in the way")
    ill = harness("doctor", "--json", env={"HARNESS_CACHE": str(blocked)})
    assert ill.code == 1
    assert not {check["name"]: check["ok"] for check in ill.json}["cache"]
    assert "checks failed" in ill.err


def test_scenes_are_written_in_the_kaggle_layout_and_read_back(harness: Harness, tmp_path: Path) -> None:
    import numpy as np

    from harness.data.opening import open_dataset
    from harness.plugin import PluginManager

    assert harness("data", "make", "scenes", "--n", 6, "--seed", 3, "--out", tmp_path / "made").code == 0
    readers = PluginManager().readers
    made, drawn = open_dataset(str(tmp_path / "made"), readers), open_dataset("scenes:6:3", readers)
    assert (made.layout, list(made.ids)) == ("kaggle", list(drawn.ids))
    assert list(made.texts) == list(drawn.texts)
    assert made.sources == drawn.sources
    assert all(
        np.array_equal(np.asarray(a.open()), np.asarray(b.open()))
        for a, b in zip(made.images, drawn.images, strict=True)
    )
    again = harness("data", "make", "scenes", "--n", 6, "--out", tmp_path / "made")
    assert (again.code, "not empty" in again.err) == (2, True)
    assert harness("data", "make", "pictures", "--out", tmp_path / "x").code == 2
