"""Every figure of a published leaderboard, computed from a run's stored predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.ensemble.blend import evaluate, run_problem
from harness.scoring.distance import Distances
from harness.scoring.leaderboard import LeaderboardRow, leaderboard
from harness.store.published import (
    PublishedBlend,
    PublishedDataset,
    PublishedFolds,
    PublishedRow,
    ScoredMember,
    task_keys,
)
from harness.store.run import RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Blender, BlendProblem
    from harness.store.schema import RunDocument

_DIGEST_ROWS = 4096


class RunPart(RunFolder):
    """A run as if it had only some of its members: others would change who leads.

    Parameters
    ----------
    run
        The run.
    names
        The members, in the order that they shall have.
    """

    def __init__(self, run: RunFolder, names: Sequence[str]) -> None:
        super().__init__(run.path)
        self._run = run
        self._names = names

    @property
    def repeats(self) -> list[RunFolder]:
        """None: what is published is of one set of folds."""
        return []

    @property
    def document(self) -> RunDocument:
        """The content of ``run.json``, without the other members."""
        document = self._run.document
        return document.model_copy(update={"members": {name: document.members[name] for name in self._names}})


@dataclass(frozen=True)
class Figures:
    """All that a published document says of a run's results.

    Parameters
    ----------
    dataset, folds
        What was predicted, and what was held out together.
    rows, blends
        One a member, best first, and one a blending method.
    problem
        What the blends were learned from.
    """

    dataset: PublishedDataset
    folds: PublishedFolds
    rows: list[PublishedRow]
    blends: list[PublishedBlend]
    problem: BlendProblem


def score_again(run: RunFolder, blenders: Iterable[Blender]) -> Figures:
    """Compute every figure of a published document from the stored predictions of a run's members.

    Raises
    ------
    InputError
        If a member of the run has rows without a prediction.
    """
    document = run.document
    problem = run_problem(run, list(document.members))
    results = [evaluate(problem, blender, run.folds) for blender in blenders]
    distances = Distances(run.nearest, run.folds.group)
    return Figures(
        dataset=_dataset(document),
        folds=_folds(document),
        rows=[_published(run, document, row) for row in leaderboard(run).rows],
        blends=[
            PublishedBlend.model_validate(
                result.facts().model_dump(include=set(PublishedBlend.model_fields))
                | distances.scores(result.nested_rows).model_dump()
            )
            for result in results
        ],
        problem=problem,
    )


def _dataset(document: RunDocument) -> PublishedDataset:
    data = document.dataset
    return PublishedDataset(
        name=data.name,
        layout=data.layout,
        fingerprint=document.folds.data_fingerprint,
        rows=data.rows,
        groups=document.folds.groups,
        synthetic=data.synthetic,
        texts=document.folds.texts,
    )


def _folds(document: RunDocument) -> PublishedFolds:
    folds = document.folds
    return PublishedFolds(
        number=len(folds.held_out),
        threshold=folds.threshold,
        seed=folds.seed,
        split=folds.split,
        hash=folds.fold_hash,
        encoder=folds.encoder,
        held_out=folds.held_out,
        purged=folds.purged,
        recall=folds.recall,
    )


def _published(run: RunFolder, document: RunDocument, row: LeaderboardRow) -> PublishedRow:
    member = document.members[row.plugin]
    return PublishedRow(
        **row.model_dump(include=set(ScoredMember.model_fields)),
        predictor=member.predictor,
        distribution=member.distribution,
        trainable=member.trainable,
        config=member.config,
        keys=task_keys(document, row.plugin),
        predictions_sha256=predictions_digest(run.predictions(member), run.rows.ids),
    )


def predictions_digest(predictions: NDArray[np.float32], ids: Sequence[str]) -> str:
    """Return the SHA-256 of predictions in the order of their sorted row ids, as little-endian float32.

    Parameters
    ----------
    predictions
        Shape (n, 384); may be memory-mapped.
    ids
        The n row ids.
    """
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    total = hashlib.sha256()
    for start in range(0, len(order), _DIGEST_ROWS):
        block = np.asarray(predictions[order[start : start + _DIGEST_ROWS]], dtype="<f4")
        total.update(np.ascontiguousarray(block).tobytes())
    return total.hexdigest()
