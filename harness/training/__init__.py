"""What authors of trained predictors share: seeding, precision, splits, schedules and unit-length rows.

Nothing heavy is imported before it is used, so a plugin may import from here at the top of its module.
"""

from harness.training.checkpoints import Checkpoints
from harness.training.compiling import (
    compiled,
    compiling_pays,
    forward_operations,
)
from harness.training.inner import inner_folds, inner_split, kept_apart
from harness.training.masters import MasterWeights
from harness.training.optimizer import ScheduledAdamW, parameter_groups, warmup_cosine
from harness.training.precision import Precision, precision_name
from harness.training.rows import best_shrinkage, l2_normalised, mean_direction, shrunk
from harness.training.sampling import at_most, epoch_batches, one_of_each, random_crops
from harness.training.seeding import seeded, torch_generator
from harness.training.stopping import BestEpoch, check_loss
from harness.training.thin import bounded, without_ends

__all__ = [
    "BestEpoch",
    "Checkpoints",
    "MasterWeights",
    "Precision",
    "ScheduledAdamW",
    "at_most",
    "best_shrinkage",
    "bounded",
    "check_loss",
    "compiled",
    "compiling_pays",
    "epoch_batches",
    "forward_operations",
    "inner_folds",
    "inner_split",
    "kept_apart",
    "l2_normalised",
    "mean_direction",
    "one_of_each",
    "parameter_groups",
    "precision_name",
    "random_crops",
    "seeded",
    "shrunk",
    "torch_generator",
    "warmup_cosine",
    "without_ends",
]
