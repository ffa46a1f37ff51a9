"""A predictor whose module imports at once what takes long to import."""

from __future__ import annotations

import scipy

from tests.testing.neat import Neat


class ImportsAtTheTop(Neat):
    def parameter_count(self):
        assert scipy.__version__
        return super().parameter_count()
