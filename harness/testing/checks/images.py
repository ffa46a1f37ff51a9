"""That any image which the harness can open can be predicted."""

from __future__ import annotations

import numpy as np

from harness.testing.check import check
from harness.testing.checks.predicting import ROWS
from harness.testing.data import images_of
from harness.testing.records import ContractError
from harness.testing.subject import Subject


@check(
    "odd-images",
    expected="grey, transparent, palette, CMYK, 1 x 1 and 4000 x 30 images give finite rows that are not zero",
    mend="images come as RGB of any size: resize before all else, and guard what divides by a deviation or a side",
    needs=ROWS,
)
def odd_images(subject: Subject) -> None:
    """Data sets hold them sooner or later, and one that fails costs its whole fold."""
    failed = []
    ordinary = next((subject.data.folder / "probe").iterdir())  # a batch of one is another check's business
    for kind, path in subject.data.odd().items():
        try:
            rows = subject.rows(subject.predictor, images_of([path, ordinary]))
        except ContractError as error:
            failed.append(f"{kind}: {error.came}")
        except Exception as error:  # whatever a predictor raises is what came
            failed.append(f"{kind}: {type(error).__name__}: {error}")
        else:
            if not np.isfinite(rows[0]).all() or not rows[0].any():
                failed.append(f"{kind}: a row that is not finite, or all zeros")
    if failed:
        raise ContractError("; ".join(failed))
