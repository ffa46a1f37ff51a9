"""A predictor whose module sets, at once, what all of the process shares."""

from __future__ import annotations

import numpy as np

from tests.testing.neat import Neat

np.set_printoptions(precision=7)  # harmless to the tests that go on in this process


class SetsAtTheTop(Neat):
    pass
