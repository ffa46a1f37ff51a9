"""What a plugin author sees: the contract, the hooks, and the manager that loads plugins.

``from harness.plugin import Predictor, PredictorConfig, hookimpl`` is enough for most predictors.
"""

from harness.errors import HarnessError, InputError, NotFittedError
from harness.plugin.blender import Blender, BlendProblem, BlendSolution, SolvingBlender
from harness.plugin.context import Context, StoredRows, ValueCache, current_context, in_use
from harness.plugin.events import RunEvent
from harness.plugin.hooks import hookimpl
from harness.plugin.images import Images, ImageSource
from harness.plugin.local import BY_NAME, named_paths
from harness.plugin.manager import PluginManager, PluginStatus
from harness.plugin.predictor import (
    EMBEDDING_DIM,
    Explanation,
    ParameterCount,
    Predictor,
    PredictorConfig,
    Requirements,
)
from harness.plugin.reader import BrokenRow, DatasetReader, GeneratingReader, Row, Shard, ShardedReader
from harness.plugin.training import TrainingData

__all__ = [
    "BY_NAME",
    "EMBEDDING_DIM",
    "BlendProblem",
    "BlendSolution",
    "Blender",
    "BrokenRow",
    "Context",
    "DatasetReader",
    "Explanation",
    "GeneratingReader",
    "HarnessError",
    "ImageSource",
    "Images",
    "InputError",
    "NotFittedError",
    "ParameterCount",
    "PluginManager",
    "PluginStatus",
    "Predictor",
    "PredictorConfig",
    "Requirements",
    "Row",
    "RunEvent",
    "Shard",
    "ShardedReader",
    "SolvingBlender",
    "StoredRows",
    "TrainingData",
    "ValueCache",
    "current_context",
    "hookimpl",
    "in_use",
    "named_paths",
]
