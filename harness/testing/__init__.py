"""The conformance kit: what a predictor's author runs to see that it keeps the contract.

In a test file: ``@parametrize_with_checks(MyPredictor)`` above ``def test_conformance(check): check()``. In a script:
``check_predictor(MyPredictor)``. In a terminal: ``harness plugins check NAME``.
"""

from harness.testing.records import CheckRecord
from harness.testing.runner import check_names, check_predictor
from harness.testing.with_pytest import parametrize_with_checks

__all__ = ["CheckRecord", "check_names", "check_predictor", "parametrize_with_checks"]
