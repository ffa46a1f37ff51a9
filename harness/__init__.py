"""A workbench for reading prompts back out of generated images: predictors, honest folds, blending.

Three lines do the work::

    run = harness.run("photos", predictors=["mean", "knn"], test="new")
    run.leaderboard()
    run.blend().submit("submission.csv")

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.version import __version__

if TYPE_CHECKING:
    from harness.errors import HarnessError, InputError
    from harness.plugin import Predictor, PredictorConfig, hookimpl
    from harness.workbench.curating import Curation, convert, dedup, mix
    from harness.workbench.face import import_run, open_run, run, runs
    from harness.workbench.run import Blend, Run

__all__ = [
    "Blend",
    "Curation",
    "HarnessError",
    "InputError",
    "Predictor",
    "PredictorConfig",
    "Run",
    "__version__",
    "convert",
    "dedup",
    "hookimpl",
    "import_run",
    "mix",
    "open_run",
    "run",
    "runs",
]
_HOME = {
    "Blend": "harness.workbench.run",
    "Curation": "harness.workbench.curating",
    "HarnessError": "harness.errors",
    "InputError": "harness.errors",
    "Predictor": "harness.plugin",
    "PredictorConfig": "harness.plugin",
    "Run": "harness.workbench.run",
    "convert": "harness.workbench.curating",
    "dedup": "harness.workbench.curating",
    "hookimpl": "harness.plugin",
    "import_run": "harness.workbench.face",
    "mix": "harness.workbench.curating",
    "open_run": "harness.workbench.face",
    "run": "harness.workbench.face",
    "runs": "harness.workbench.face",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used (PEP 562)."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'harness' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
