"""Whatever a configuration holds, MLflow takes what is made of it."""

from __future__ import annotations

from harness_mlflow.content import params
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_param

from harness.plugin.tracking import mean_metrics

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=700),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=300), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=300), VALUES, max_size=5))
@example({"": {"": 1}, "..": 1, "../up": "x", "é": None})
def test_mlflow_takes_every_param(config: dict[str, object]) -> None:
    for key, value in params(config).items():
        _validate_param(key, value)
        assert len(value) <= 500


def test_nested_options_get_dotted_names() -> None:
    assert params({"a": {"b": 1, "c": [1, "x"]}, "d": "text", "e": None, "f": {}, "g": True}) == {
        "a.b": "1", "a.c": '[1, "x"]', "d": "text", "e": "null", "f": "{}", "g": "true",
    }  # fmt: skip


def test_folds_count_by_their_rows_in_the_score_alone() -> None:
    def record(n: int, score: float, seconds: float) -> dict[str, float]:
        peaks = {"fit_peak_memory_bytes": 10 * n, "predict_peak_memory_bytes": 50}
        return {"n": n, "score": score, "fit_seconds": seconds, "predict_seconds": 0.5, **peaks}

    means = mean_metrics([record(1, 0.2, 1.0), record(9, 0.4, 3.0)])
    assert means == {
        "mean_score": (0.2 + 9 * 0.4) / 10,
        "mean_fit_seconds": 2.0,
        "mean_predict_seconds": 0.5,
        "mean_images_per_second": 10.0,
        "mean_peak_memory_bytes": 70.0,
    }
