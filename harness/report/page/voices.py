"""What is compared on a page: the members of a run and the blend last learned, with their scores and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from harness.comparing import IncompleteError, last_learned_scores
from harness.data.arrays import let_go
from harness.ensemble.blend import combine
from harness.ensemble.learned import learned_blend
from harness.errors import InputError
from harness.scoring.cosine import row_cosines
from harness.store.run import BLEND, RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.store.rows import PredictionRows
    from harness.store.schema import BlendDocument, RunDocument


class Speaking(Protocol):
    """What a gallery is made of."""

    @property
    def run(self) -> RunFolder:
        """The run whose rows are shown."""

    @property
    def names(self) -> Sequence[str]:
        """V names."""

    @property
    def scores(self) -> NDArray[np.float64]:
        """Cosine of each row, shape (n, V)."""

    @property
    def lead(self) -> str | None:
        """What rows are judged by first."""

    @property
    def against(self) -> str | None:
        """What that is compared with first."""

    def column(self, name: str) -> NDArray[np.float64]:
        """Return the scores of one voice, shape (n,)."""

    def colour(self, name: str) -> int:
        """Return the number of a voice's colour, which no score changes."""

    def predictions(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return unit predictions of some rows, shape (m, 384)."""


@dataclass(frozen=True)
class Voices:
    """Members and blend of a run.

    Parameters
    ----------
    run
        The run.
    names
        V of them: those that are ranked, best first, then those that are not finished.
    scores
        Cosine of each row, shape (n, V); NaN where there is no prediction. That of the blend is nested.
    blend
        The weights last learned; None where the blend is no voice.
    sources
        Predictions of each member among them: opened once, and then read as often as they are asked for.
    """

    run: RunFolder
    names: Sequence[str]
    scores: NDArray[np.float64]
    blend: BlendDocument | None
    sources: Mapping[str, PredictionRows]

    @classmethod
    def of(cls, run: RunFolder) -> Voices:
        """Score every member that has a prediction, and the blend if there is one."""
        columns: dict[str, NDArray[np.float64]] = {}
        sources: dict[str, PredictionRows] = {}
        for name, member in run.members.items():
            try:
                source = run.prediction_rows(member)
                found = row_cosines(source, run.targets)
            except InputError:  # damaged: the leaderboard says so
                continue
            if np.isfinite(found).any():
                columns[name], sources[name] = found, source
        blend = _blend(run)
        if blend is not None:
            columns[BLEND] = blend[1]
        order = sorted(
            columns, key=lambda name: (not np.isfinite(columns[name]).all(), -np.nanmean(columns[name]), name)
        )
        n = len(run.rows.ids)
        scores = np.stack([columns[name] for name in order], axis=1) if order else np.empty((n, 0))
        return cls(run, order, scores, None if blend is None else blend[0], sources)

    @classmethod
    def scored(cls, run: RunFolder, scores: Mapping[str, NDArray[np.float64]]) -> Voices:
        """Take members, and the blend last learned, of which each row has a score; what else has one is left out.

        Parameters
        ----------
        run
            The run.
        scores
            Cosine of each row, shape (n,), by name.
        """
        members = run.members
        names = [name for name in scores if name == BLEND or name in members]
        blend = learned_blend(run) if BLEND in names else None
        weights = [] if blend is None else blend.fold_weights
        asked = {*names, *(name for own in weights for name, weight in own.items() if weight)} - {BLEND}
        sources = {name: run.prediction_rows(members[name]) for name in asked}
        columns = [scores[name] for name in names]
        return cls(run, names, np.stack(columns, axis=1) if columns else np.empty((0, 0)), blend, sources)

    @property
    def complete(self) -> list[str]:
        """Those with a prediction for every row."""
        return [name for name in self.names if np.isfinite(self.column(name)).all()]

    def column(self, name: str) -> NDArray[np.float64]:
        """Return the scores of one voice, shape (n,)."""
        return self.scores[:, self.names.index(name)]

    def colour(self, name: str) -> int:
        """Return the number of a voice's colour, which no score changes."""
        return colour_order(self.run.document).index(name)

    @property
    def lead(self) -> str | None:
        """What rows are judged by first: the blend, else the best."""
        return BLEND if BLEND in self.names else next(iter(self.names), None)

    @property
    def against(self) -> str | None:
        """What that is compared with first: the best other one."""
        return next((name for name in self.names if name != self.lead), None)

    def predictions(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the unit predictions of some rows, shape (m, 384); NaN where there are none.

        The blend of a row has the weights that were learned without the row's fold.
        """
        if name != BLEND:
            return picked(self._source(name), rows)
        assert self.blend is not None, "the blend is a voice only where one was learned"
        found = np.full((len(rows), self.run.targets.shape[1]), np.nan, dtype=np.float32)
        fold = self.run.rows.fold[rows]
        for f, weights in enumerate(self.blend.fold_weights):
            here = np.flatnonzero(fold == f)
            parts = [(weight, member) for member, weight in weights.items() if weight]
            if len(here) and parts:
                found[here] = combine((w, picked(self._source(m), rows[here])) for w, m in parts)
        return found

    def _source(self, member: str) -> PredictionRows:
        """Return a member's predictions; of one that was damaged since its blend was learned, say so as it is read."""
        return self.sources[member] if member in self.sources else self.run.prediction_rows(self.run.members[member])


def colour_order(document: RunDocument) -> list[str]:
    """Return the names that a run's page may show in the order of their colours.

    First the blend, whether or not there is one, then the members as they stand in the run: each keeps its colour
    whatever it scores.
    """
    return [BLEND, *document.members]


def picked(source: PredictionRows, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return some rows of predictions that lie on disk, shape (m, 384), float32."""
    found = np.full((len(rows), source.shape[1]), np.nan, dtype=np.float32)
    file, place = source.file[rows], source.place[rows]
    for number, values in enumerate(source.files):
        here = np.flatnonzero(file == number)
        if len(here):
            found[here] = values[place[here]]
            let_go(values)
    return found


def _blend(run: RunFolder) -> tuple[BlendDocument, NDArray[np.float64]] | None:
    try:
        document = learned_blend(run)
        return None if document is None else (document, last_learned_scores(run, []))
    except (IncompleteError, InputError):  # the leaderboard says why
        return None
