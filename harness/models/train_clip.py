"""Pretrain the bundled tiny CLIP on drawn scenes: ``python -m harness.models.train_clip --out DIR --minutes 30``.

The recipe is CLIP's (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision"):
a symmetric InfoNCE loss with a learned temperature, AdamW, warm-up and cosine. Two additions pay on two cores: half of
the patches are dropped for most of the training (Li et al. 2023, "Scaling Language-Image Pre-training via Masking"),
and the image tower also names its prompt's tokens (Huang et al. 2024, "Classification Done Right for Vision-Language
Pre-Training"); the linear layer that names them is thrown away at the end.

Where other work shares the cores, ``OMP_WAIT_POLICY=PASSIVE`` keeps threads from spinning while they wait.
"""

from __future__ import annotations

import argparse
import logging
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip  # type: ignore[import-untyped]
import torch
from open_clip.model import CLIP  # type: ignore[import-untyped]
from torch import nn
from torch.nn import functional

from harness.errors import InputError
from harness.models.convert import TINY_CLIP, write_bundle
from harness.models.drawings import EVALUATION_SEED, Drawings, shift
from harness.models.retrieval import normalise, retrieval_among
from harness.training import warmup_cosine

LOG = logging.getLogger("harness.models.train_clip")
MASKED = 0.5
"""Share of patches dropped while any are."""


@dataclass(frozen=True)
class Settings:
    """What a training run depends on.

    Attributes
    ----------
    minutes, steps
        Length: wall time, or, if `steps` is not 0, a number of updates (then a repeat gives the same weights).
    rows, seed
        Training takes the first `rows` rows of `seed` of the data set to start with; `seed` also starts the generators.
    masked
        Share of the training, from its start, during which half of the patches are dropped.
    naming
        Weight of the loss for naming the prompt's tokens, beside 1 for the contrastive loss.
    """

    minutes: float = 30.0
    steps: int = 0
    rows: int = 131_072
    seed: int = 1_000_000
    batch: int = 128
    rate: float = 1e-3
    decay: float = 0.1
    warmup: float = 0.04
    masked: float = 0.85
    naming: float = 1.0
    workers: int = 2
    compile: bool = True
    evaluate: int = 1000
    checkpoint_minutes: float = 3.0


def training_batches(drawings: Drawings, settings: Settings) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yield row indices and shifted pictures for ever, an epoch over what is drawn so far after another.

    Yields
    ------
    tuple
        Rows, shape (batch,), and normalised pictures, float32, shape (batch, 3, size, size).
    """
    generator = np.random.default_rng(settings.seed)
    # By steps, training repeats itself, so its order may not depend on how fast scenes are drawn.
    drawings.wait(drawings.count if settings.steps else 8 * settings.batch)
    while True:
        order = generator.permutation(drawings.ready())
        for start in range(0, len(order) - settings.batch + 1, settings.batch):
            # Neighbours in a file are read together; the order inside a batch means nothing.
            rows = np.sort(order[start : start + settings.batch])
            yield rows, normalise(shift(drawings.images(rows), generator))


class Prompts(nn.Module):  # type: ignore[misc]
    """The text tower on token ids without their padding.

    The mask is causal and the end token comes last, so padding after it changes nothing; without it the tower works
    on half as many positions.
    """

    def __init__(self, model: CLIP) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Map ids, shape (n, length), to embeddings, shape (n, embed_dim)."""
        model, length = self.model, ids.shape[1]
        states = model.token_embedding(ids) + model.positional_embedding[:length]
        states = model.ln_final(model.transformer(states, attn_mask=model.attn_mask[:length, :length]))
        return states[torch.arange(len(ids)), ids.argmax(dim=1)] @ model.text_projection


class Trainee(nn.Module):  # type: ignore[misc]
    """The model in training: both towers and the layer that names tokens.

    Parameters
    ----------
    model
        An open_clip model.
    ids
        Token ids of all training prompts, shape (rows, context), of which the vocabulary to name is taken.
    naming
        Weight of the naming loss.
    compiled
        Whether to compile the towers' blocks: about twice as fast on a CPU, after a minute or so.
    """

    def __init__(self, model: CLIP, ids: torch.Tensor, naming: float, compiled: bool) -> None:
        super().__init__()
        self.model, self.naming = model, naming
        prompts = Prompts(model)
        # In a tuple, since it holds the model itself: a module registered twice would be trained twice.
        self._prompts = (prompts,)
        if compiled:
            # Blocks share one compilation a shape; whole towers take six times as long to compile and run no faster.
            for block in [*model.visual.transformer.resblocks, *model.transformer.resblocks]:
                block.compile(dynamic=False)
        special = ids.max()
        self.vocabulary, share = _vocabulary(ids, special)
        self.register_buffer("rarity", -share.log(), persistent=False)
        self.namer = nn.Linear(model.visual.ln_post.normalized_shape[0], len(self.vocabulary))
        self._pooled: torch.Tensor | None = None
        model.visual.ln_post.register_forward_hook(self._keep)
        self.place = torch.full((int(special) + 1,), -1)
        self.place[self.vocabulary] = torch.arange(len(self.vocabulary))

    def _keep(self, module: nn.Module, given: tuple[torch.Tensor, ...], states: torch.Tensor) -> None:
        self._pooled = states[:, 0]

    def losses(self, pictures: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the contrastive loss and the naming loss of a batch, both scalars.

        Parameters
        ----------
        pictures
            float32, shape (n, 3, size, size).
        ids
            int64, shape (n, length): cut after the longest prompt, rounded up to a multiple of 8.
        """
        with torch.autocast("cpu", torch.bfloat16):
            images, texts = self.model.visual(pictures), self._prompts[0](ids)
            assert self._pooled is not None
            names = self.namer(self._pooled)
        images, texts = functional.normalize(images.float(), dim=1), functional.normalize(texts.float(), dim=1)
        logits = self.model.logit_scale.exp() * images @ texts.T
        truth = torch.arange(len(ids))
        contrastive = (functional.cross_entropy(logits, truth) + functional.cross_entropy(logits.T, truth)) / 2
        return contrastive, functional.cross_entropy(names.float(), self._named(ids))

    def _named(self, ids: torch.Tensor) -> torch.Tensor:
        # Rare tokens say most about a picture: inverse document frequency, then shares that sum to 1, as in the paper.
        places = self.place[ids]
        bags = torch.zeros(len(ids), len(self.vocabulary) + 1)
        bags.scatter_(1, torch.where(places < 0, len(self.vocabulary), places), 1.0)
        weighted = bags[:, :-1] * self.rarity
        return weighted / weighted.sum(dim=1, keepdim=True)


def _vocabulary(ids: torch.Tensor, end: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # A token counts once a prompt: number (row, token) pairs, keep each once, and count tokens.
    pairs = torch.unique(torch.arange(len(ids)).unsqueeze(1) * (end + 1) + ids)
    tokens, counts = torch.unique(pairs % (end + 1), return_counts=True)
    words = (tokens != 0) & (tokens < end - 1)  # neither padding nor start nor end
    return tokens[words], counts[words].double().div(len(ids)).float()


def build_optimizer(trainee: Trainee, settings: Settings) -> torch.optim.AdamW:
    """AdamW with decay on matrices alone: embeddings of tokens that scenes never use would decay to nothing."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in trainee.named_parameters():
        (others if parameter.ndim < 2 or "embedding" in name else matrices).append(parameter)
    groups = [{"params": matrices, "weight_decay": settings.decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


def cut(ids: torch.Tensor) -> torch.Tensor:
    """Drop padding that all rows share, to one of few lengths, so that few shapes are compiled."""
    longest = int((ids != 0).sum(dim=1).max())
    return ids[:, : min(ids.shape[1], 8 * math.ceil(longest / 8))]


def train(settings: Settings, images: Path, out: Path) -> dict[str, float]:
    """Train, and write the bundle to `out` now and then and at the end.

    Returns
    -------
    dict
        Final figures: steps, samples, both losses, seconds, and retrieval accuracy among 100 unless not evaluated.

    Raises
    ------
    InputError
        If there are fewer rows than a batch takes.
    """
    if settings.rows < settings.batch:
        raise InputError(f"--rows {settings.rows} do not fill a batch of {settings.batch}; draw more, or lower --batch")
    torch.manual_seed(settings.seed)
    if settings.compile:
        # Two towers, masked or not, and a few lengths of prompts are more shapes than compilation allows by default.
        torch._dynamo.config.recompile_limit = 32
    unseen = Drawings(images, EVALUATION_SEED, settings.evaluate, TINY_CLIP["vision_cfg"]["image_size"])
    drawings = Drawings(images, settings.seed, settings.rows, TINY_CLIP["vision_cfg"]["image_size"])
    unseen.start(1)
    drawings.start(settings.workers)
    try:
        return _train(settings, drawings, unseen, out)
    finally:
        drawings.stop()
        unseen.stop()


def _train(settings: Settings, drawings: Drawings, unseen: Drawings, out: Path) -> dict[str, float]:
    model = CLIP(**{**TINY_CLIP, "vision_cfg": {**TINY_CLIP["vision_cfg"], "patch_dropout": MASKED}})
    ids = open_clip.SimpleTokenizer(context_length=model.context_length)(drawings.prompts())
    trainee = Trainee(model, ids, settings.naming, settings.compile)
    optimizer = build_optimizer(trainee, settings)
    batches = training_batches(drawings, settings)
    began = saved = logged = time.monotonic()
    step = 0
    figures: dict[str, float] = {}
    recent: list[tuple[float, float]] = []
    while True:
        now = time.monotonic()
        progress = step / settings.steps if settings.steps else (now - began) / (60 * settings.minutes)
        if now - saved > 60 * settings.checkpoint_minutes or progress >= 1:
            saved = now
            figures = {"step": step, "seconds": now - began, "samples": step * settings.batch, **_means(recent)}
            if settings.evaluate:
                with torch.compiler.set_stance("force_eager"):  # too few pictures to compile for
                    figures |= retrieval_among(model, unseen)
            write_bundle(model, out)
            LOG.info("checkpoint %s", {name: round(value, 4) for name, value in figures.items()})
        if progress >= 1:
            return figures
        model.visual.patch_dropout.prob = MASKED if progress < settings.masked else 0.0
        rows, pictures = next(batches)
        rate = settings.rate * warmup_cosine(progress, 1.0, settings.warmup, least=1e-3)
        recent = [*recent[-49:], _update(trainee, optimizer, pictures, cut(ids[rows]), rate)]
        step += 1
        if step % 25 == 0:
            pace = 25 * settings.batch / (time.monotonic() - logged)
            logged = time.monotonic()
            scale = model.logit_scale.exp().item()
            LOG.info("step %d at %.0f s, %.3f of all: %s, %.0f images/s, scale %.1f, %d drawn", step, logged - began,
                     progress, _means(recent), pace, scale, drawings.ready())  # fmt: skip


def _update(
    trainee: Trainee, optimizer: torch.optim.Optimizer, pictures: torch.Tensor, ids: torch.Tensor, rate: float
) -> tuple[float, float]:
    for group in optimizer.param_groups:
        group["lr"] = rate
    contrastive, naming = trainee.losses(pictures, ids)
    optimizer.zero_grad()
    (contrastive + trainee.naming * naming).backward()
    nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
    optimizer.step()
    with torch.no_grad():
        trainee.model.logit_scale.clamp_(0, math.log(100))  # CLIP's bound
    return contrastive.item(), naming.item()


def _means(recent: list[tuple[float, float]]) -> dict[str, float]:
    if not recent:
        return {}
    contrastive, naming = np.mean(recent, axis=0).round(4).tolist()
    return {"contrastive": contrastive, "naming": naming}


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Pretrain the bundled tiny CLIP on drawn scenes.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--images", type=Path, help="folder that keeps drawn pictures (temporary unless given)")
    for name in ("minutes", "steps", "rows", "seed", "batch", "rate", "workers", "evaluate"):
        default = getattr(Settings, name)
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    given = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    out, images = given.pop("out"), given.pop("images")
    # Softmax and Adam leave denormals behind, which make processors several times slower. The setting holds for the
    # whole process, so it belongs to the script and not to `train`.
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as folder:
        train(Settings(**given), images or Path(folder), out)


if __name__ == "__main__":
    main()
