"""The documents of a run's folder: typed, told of in README.md, readable in every version, refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.store import schema
from harness.store.document import Document, Part
from harness.store.run import RunFolder
from harness.store.schema import RunDocument, TaskFailure, TaskRecord, TaskRows

README = Path(schema.__file__).with_name("README.md")
MODELS = [
    model
    for model in vars(schema).values()
    if isinstance(model, type) and issubclass(model, Part) and model not in (Part, Document)
]

RUN_OF_SCHEMA_1 = {
    "schema": 1,
    "created": "2026-11-23T18:54:05+00:00",
    "dataset": {"name": "d", "layout": "kaggle", "location": "d", "rows": 4, "synthetic": False},
    "folds": {
        **{"data_fingerprint": "f", "encoder": "e", "n_folds": 2, "threshold": 0.7, "seed": 0},
        **{"fold_hash": "h", "groups": 4, "held_out": [2, 2], "purged": [0, 0], "purged_share": 0.0, "recall": 1.0},
    },
    "members": {
        "m": {
            **{"plugin": "mean", "version": "1", "distribution": "harness 0.1.0", "trainable": True, "config": {}},
            **{"keys": {"0": "a", "1": "b"}, "out_of_domain": False},
        }
    },
    "config": {"data": "d", "executor": "loky"},
    "request": "r",
    "test": None,
    "versions": {"python": "3.11"},
    "git_commit": None,
    "machine": {"system": "Linux", "processor": "x", "cores": 2, "memory_bytes": 1},
    "command": ["harness", "run"],
}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_described_in_the_readme(model: type[Part]) -> None:
    text = README.read_text(encoding="utf-8")
    for name, field in model.model_fields.items():
        if name != "schema_":
            assert field.description, f"{model.__name__}.{name}"
            assert f"| `{field.alias or name}` | {field.description} |" in text, f"{model.__name__}.{name}"


def test_the_readme_describes_no_field_that_is_not_there() -> None:
    known = {field.alias or name for model in MODELS for name, field in model.model_fields.items()}
    from harness.workbench.exchange import ExportDocument

    known |= set(ExportDocument.model_fields)
    told = [line.split("`")[1] for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert [name for name in told if name not in known and "." not in name and "/" not in name] == []


def test_a_run_of_the_first_schema_is_read(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(RUN_OF_SCHEMA_1))
    document = RunFolder(tmp_path).document
    member = document.members["m"]
    assert (member.name, member.predictor, member.keys) == ("m", "mean", {0: "a", 1: "b"})
    assert (document.folds.split, document.folds.crossed, document.config.executor) == ("group", False, "parallel")
    document.write(tmp_path / "run.json")
    assert RunFolder(tmp_path).document == document.model_copy(update={"schema_": 2})


def test_ids_and_records_of_the_first_schema_are_read(tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text('["a", "b"]')
    assert TaskRows.read(tmp_path / "ids.json").ids == ["a", "b"]
    (tmp_path / "record.json").write_text('{"plugin": "mean", "member": "m", "predict_seconds_cold": 1.5, "n": 3}')
    record = TaskRecord.read(tmp_path / "record.json")
    assert (record.predictor, record.n, record.predict_seconds_cold, record.fit_seconds) == ("mean", 3, 1.5, None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is not JSON"),
        ("[]", "'the whole'"),
        ('{"reason": 3}', "'reason': Input should be a valid string, and is 3"),
        ("{}", "'reason': Field required"),
        ('{"schema": 99, "reason": "x"}', "written by a later version of harness (schema 99, this one knows 1)"),
        ('{"reason": NaN}', "'reason': Input should be a valid string, and is NaN"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_field_and_mend(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "failed-0.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        TaskFailure.read(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert "update harness" in str(caught.value) or TaskFailure.MEND in str(caught.value)


def test_what_is_written_says_its_schema(tmp_path: Path) -> None:
    TaskFailure(reason="x").write(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["schema"] == TaskFailure.SCHEMA
    assert RunDocument.SCHEMA == 2
