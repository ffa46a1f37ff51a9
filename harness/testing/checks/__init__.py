"""The checks, by subject. Importing this package registers them, in the order of the imports."""

from harness.testing.checks import declared, predicting, images, fitting, leakage, files, conduct  # noqa: I001, F401
