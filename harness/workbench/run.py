"""A run as Python sees it: arrays, leaderboard, blend, comparison, prediction, and what goes in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.plugin import PluginManager
from harness.store.run import RunFolder
from harness.wording import number_of
from harness.workbench.plugin_files import recorded_files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.comparing import PairedComparisons
    from harness.data.folds import Folds
    from harness.ensemble.blend import BlendResult
    from harness.running.predicting import Predictions
    from harness.scoring.leaderboard import Leaderboard
    from harness.store.schema import Member
    from harness.workbench.imported import Vectors


class Run:
    """One run: its rows, its members' predictions, and all that can be done with them.

    ``harness.run`` and ``harness.open_run`` give one.

    Parameters
    ----------
    folder
        The run's folder.
    manager
        Plugins. Default: the installed ones, and the single files that the run was made with.
    """

    def __init__(self, folder: RunFolder, manager: PluginManager | None = None) -> None:
        self._folder = folder
        self._given = manager

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._folder.path

    @property
    def folder(self) -> RunFolder:
        """The folder's content, file by file."""
        return self._folder

    @cached_property
    def manager(self) -> PluginManager:
        """The plugins that this run uses."""
        if self._given is not None:
            return self._given
        return PluginManager(recorded_files(self._folder))

    def __repr__(self) -> str:
        document = self._folder.document
        return (
            f"<Run {self.path}: {number_of(document.dataset.rows, 'row')} of {document.dataset.name}, "
            f"{number_of(document.folds.n_folds, 'fold')}, members {', '.join(document.members) or 'none'}>"
        )

    # -- rows ----------------------------------------------------------------------------------

    @property
    def ids(self) -> list[str]:
        """Ids of the n rows; all arrays below have their order."""
        return list(self._folder.rows.ids)

    @property
    def prompts(self) -> list[str]:
        """Prompt of each row: of several captions, the first. Empty texts in a run that was imported without."""
        return list(self._folder.rows.prompts)

    @property
    def sources(self) -> list[str] | None:
        """Source of each row, or None where the data set names none."""
        sources = self._folder.rows.sources
        return None if sources is None else list(sources)

    @property
    def targets(self) -> NDArray[np.float32]:
        """Embedding of each row's prompt, shape (n, 384), float32, unit rows, read-only."""
        return self._folder.targets

    @property
    def folds(self) -> Folds:
        """The folds: ``folds.fold``, ``folds.group``, ``folds.training_rows(f)``, ``folds.held_rows(f)``."""
        return self._folder.folds

    @property
    def repeats(self) -> list[Run]:
        """The same rows on the folds of other seeds (``repeats=``), by seed; empty without."""
        return [Run(folder, self.manager) for folder in self._folder.repeats]

    @property
    def test_ids(self) -> list[str]:
        """Ids of the test images, in order; empty without a test set."""
        return self._folder.test_ids

    # -- members -------------------------------------------------------------------------------

    @property
    def members(self) -> dict[str, Member]:
        """The members by name: predictor, version, options."""
        return self._folder.members

    def predictions(self, name: str) -> NDArray[np.float32]:
        """Return a member's out-of-fold unit predictions in the order of ``ids``, shape (n, 384), float32.

        Rows of folds that are not finished are NaN.

        Raises
        ------
        InputError
            If there is no such member.
        """
        return self._folder.predictions(self._member(name))

    def test_predictions(self, name: str) -> NDArray[np.float32]:
        """Return a member's predictions of the test images, shape (m, 384), float32: the mean over its fold models.

        Those of repeats are among them.

        Raises
        ------
        InputError
            If there is no such member, no test set, or no prediction of it.
        """
        from harness.errors import InputError

        test = self._folder.document.test
        if test is None:
            raise InputError(f"{self.path}: the run has no test set")
        return self._folder.test_predictions(self._member(name), test.fingerprint)

    def _member(self, name: str) -> Member:
        from harness.errors import InputError
        from harness.plugin.manager import unknown_name

        members = self.members
        if name not in members:
            hint = f"the run {self.path} has: {', '.join(members) or 'none'}"
            raise InputError(unknown_name("member", name, members, hint))
        return members[name]

    def leaderboard(self, *, by_distance: bool = True, overlap: float | Sequence[float] | None = None) -> Leaderboard:
        """Score every member: out-of-fold mean cosine with 95 % interval, best first. A table in a notebook.

        Parameters
        ----------
        by_distance
            Whether to tell the scores by the cosine with the nearest training prompt, too, those of the blend last
            learned among them. The first time, that compares each prompt with all that its fold is trained on.
        overlap
            A test set to tell the expected score of: the share of its prompts with a training prompt of cosine 0.8 or
            more; or five shares, below 0.5, from there to 0.6, 0.7, 0.8, and above.

        Raises
        ------
        InputError
            If ``overlap`` is no such thing, or the blend's file is damaged.
        """
        from harness.workbench.leaderboard import judge

        return judge(self._folder, by_distance=by_distance, overlap=overlap)

    # -- blending, comparing, predicting ---------------------------------------------------------

    def blend(
        self,
        method: str = "simplex",
        *,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
    ) -> Blend:
        """Learn the weights of a blend, and what to expect of it. They are kept as the run's ``blend``.

        Parameters
        ----------
        method
            ``simplex``, ``signed``, ``nnls``, ``greedy``, ``uniform``, ``best``, or a plugin's.
        include, exclude
            Only these members; not these.

        Raises
        ------
        InputError
            If there is no such method or member, or a member has rows without a prediction.
        """
        from harness.workbench.blending import blend_run

        result = blend_run(self._folder, self.manager, method=method, include=include, exclude=exclude)
        return Blend(self, result.chosen, result.notes)

    def compare(self, a: str, b: str) -> PairedComparisons:
        """Compare two members or blends, paired by row.

        Parameters
        ----------
        a, b
            A member, ``blend`` (the weights last learned), ``blend:METHOD`` (learned now), the folder of another run,
            or ``FOLDER:NAME``.
        """
        from harness.comparing import compare

        return compare(a, b, self.path, self.manager.blender)

    def predict(self, images: Sequence[str | Path] | str | Path, *, device: str = "auto", top: int = 5) -> Predictions:
        """Predict images with all fold models of all members, and with their blend; repeats take no part.

        Parameters
        ----------
        images
            Image files, or folders of them.
        device
            Torch device.
        top
            Most statements in words of each member, and of the blend.

        Returns
        -------
        Predictions
            ``names`` of the m images; ``embeddings[NAME]``, shape (m, 384), float32, unit rows, of each member and of
            ``blend``; ``explanations[NAME]``, in words.

        Raises
        ------
        InputError
            For a file that is no image, or if no member can be asked.
        """
        from harness.workbench.predicting import predict

        paths = [images] if isinstance(images, str | Path) else images
        return predict(self._folder, self.manager, [Path(path) for path in paths], device=device, top=top)

    def report(
        self, path: str | Path = "report.html", *, rows: int = 1000, assets: bool = False, explain: bool = False
    ) -> Path:
        """Write one HTML file that shows the run: scores, blend, comparisons, rows with images, folds, provenance.

        Parameters
        ----------
        path
            The file.
        rows
            Most rows to show with their images.
        assets
            Whether the images go to a folder beside it.
        explain
            Whether the members are asked what they see in each row that is shown, in words of their own: captions,
            phrases, prompts. Their saved models are loaded for it, each row's by the fold that held it out.

        Raises
        ------
        InputError
            If the file cannot be written, or members are to be asked and no image is at hand.
        """
        from harness.workbench.reporting import write_report

        return write_report(self._folder, self.manager, Path(path), rows=rows, assets=assets, explain=explain).path

    # -- in and out ----------------------------------------------------------------------------

    def add_predictions(
        self,
        name: str,
        oof: Vectors,
        test: Vectors | None = None,
        *,
        ids: Sequence[str] | None = None,
        test_ids: Sequence[str] | None = None,
    ) -> Member:
        """Take in predictions that were made elsewhere, to be judged and blended like all others.

        They must be out-of-fold predictions on the folds of this run (``folds``): whether that is so cannot be checked,
        and every table says so.

        Parameters
        ----------
        name
            What the member shall be called.
        oof
            Predictions of the n rows: an array of shape (n, 384), a mapping from row id to vector, a data frame with
            the ids as its index or its column ``id``, or a ``.npy``, ``.parquet`` or ``.csv`` file.
        test
            Likewise, of the test images.
        ids, test_ids
            Row ids of an array, where it is not in the order of ``ids`` or ``test_ids``.

        Raises
        ------
        InputError
            Naming the row: missing, unknown, twice, not finite, all zeros.
        """
        from harness.workbench.imported import add_predictions

        return add_predictions(self._folder, name, oof, test, ids=ids, test_ids=test_ids)

    def export(self, path: str | Path, *, prompts: bool = False, models: bool = False) -> Path:
        """Write the run as one file, which another machine can import and blend without the data.

        Parameters
        ----------
        path
            The file to write, a zip archive.
        prompts
            Whether to write the prompts, too.
        models
            Whether to write the fitted models, too. Those of some predictors hold the prompts they learned from,
            whatever ``prompts`` says.
        """
        from harness.workbench.exchange import export_run

        return export_run(self._folder, Path(path), prompts=prompts, models=models)


@dataclass(frozen=True)
class Blend:
    """Learned weights of a run's members.

    Parameters
    ----------
    run
        The run.
    result
        Weights, nested score, gain, certificate.
    notes
        What a user should know, in sentences.
    """

    run: Run
    result: BlendResult
    notes: Sequence[str] = ()

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each member, learned on all rows."""
        return self.result.weights

    @property
    def nested_score(self) -> float:
        """Mean cosine of rows whose fold took no part in learning their weights: the estimate."""
        return self.result.nested.mean

    def predictions(self) -> NDArray[np.float32]:
        """Return the blended test predictions, shape (m, 384), float32, unit rows.

        Raises
        ------
        InputError
            If the run has no test set, or a member no prediction of it.
        """
        from harness.ensemble.blend import blend_test
        from harness.errors import InputError

        blended = blend_test(self.run.folder, self.result.weights)
        if blended is None:
            raise InputError(
                f"{self.run.path}: the run has no test set to blend; repeat it with a test set (test=, --test)"
            )
        return blended

    def submit(self, path: str | Path = "submission.csv") -> Path:
        """Write the submission of the test set, ``imgId_eId,val``. Raises as ``predictions`` does."""
        from harness.submission.write import write_submission

        target = Path(path)
        write_submission(target, self.run.test_ids, self.predictions())
        return target

    def document(self) -> dict[str, Any]:
        """Return the JSON document of ``harness ensemble``."""
        from harness.ensemble.learned import task_keys

        return {**self.result.document(None), "tasks": task_keys(self.run.folder, list(self.weights))}

    def __repr__(self) -> str:
        weights = ", ".join(f"{name} {weight:z.3f}" for name, weight in self.weights.items())
        return f"<Blend {self.result.method}: nested {self.nested_score:z.4f}, {weights}>"

    def _repr_html_(self) -> str:
        from harness.workbench.tables import blend_table

        return blend_table(self.result).html()

    def __str__(self) -> str:
        from harness.workbench.tables import blend_table

        return blend_table(self.result).text()
