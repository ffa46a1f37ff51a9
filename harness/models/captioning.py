"""How well a captioner knows the prompts of unseen scenes; the model card's figures come from here.

``python -m harness.models.captioning FOLDER`` measures a captioner's folder.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from harness.models.captioner import read_captioner
from harness.models.drawings import EVALUATION_SEED, Drawings
from harness.models.retrieval import normalise

LONGEST = 48
"""Tokens of a training prompt that are kept, the end included; of 131 072 prompts the longest has 42."""
IGNORED = -100
"""Label of padding: torch's cross-entropy leaves it out."""


def token_labels(tokenizer: Any, prompts: Sequence[str]) -> torch.Tensor:
    """Return the tokens of each prompt and one `END`, then `IGNORED`; int64, shape (n, `LONGEST`)."""
    labels = torch.full((len(prompts), LONGEST), IGNORED)
    for row, tokens in enumerate(tokenizer(list(prompts))["input_ids"]):
        kept = [*tokens[: LONGEST - 1], tokenizer.eos_token_id]
        labels[row, : len(kept)] = torch.tensor(kept)
    return labels


def teacher_forcing(model: Any, pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of a batch's tokens, in nats: a scalar.

    Parameters
    ----------
    model
        A ``VisionEncoderDecoderModel``.
    pictures
        float32, shape (n, 3, size, size).
    labels
        As `token_labels` gives them. Cut after the longest, rounded up to a multiple of 8: few shapes to compile.
    """
    length = 8 * -(-int((labels != IGNORED).sum(dim=1).max()) // 8)
    labels = labels[:, :length]
    start = torch.full_like(labels[:, :1], model.config.decoder_start_token_id)
    given = torch.cat([start, labels[:, :-1].where(labels[:, :-1] != IGNORED, start)], dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(pixel_values=pictures, decoder_input_ids=given, use_cache=False).logits
    return functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


@torch.no_grad()  # type: ignore[untyped-decorator]
def unseen_loss(model: Any, labels: torch.Tensor, drawings: Drawings, wrong: bool = False, batch: int = 100) -> float:
    """Return the loss on scenes the model was not trained on, in nats a token, each token counting the same.

    Parameters
    ----------
    model
        A ``VisionEncoderDecoderModel``.
    labels
        Of the scenes' prompts, as `token_labels` gives them.
    drawings
        The scenes.
    wrong
        Whether each prompt stands beside its neighbour's picture: what the pictures tell is the difference.
    batch
        Scenes at a time.
    """
    drawings.wait(drawings.count)
    training = model.training
    model.eval()
    total = tokens = 0.0
    for start in range(0, drawings.count, batch):
        rows = np.arange(start, min(start + batch, drawings.count))
        count = float((labels[rows] != IGNORED).sum())
        pictures = normalise(drawings.images((rows + 1) % drawings.count if wrong else rows))
        total += count * teacher_forcing(model, pictures, labels[rows]).item()
        tokens += count
    model.train(training)
    return total / tokens


def main() -> None:
    """Measure the folder named on the command line on 1000 scenes."""
    captioner = read_captioner(Path(sys.argv[1]), sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        drawings = Drawings(Path(folder), EVALUATION_SEED, 1000, captioner.model.config.encoder.image_size)
        drawings.start(2)
        labels = token_labels(captioner.tokenizer, drawings.prompts())
        right, wrong = (unseen_loss(captioner.model, labels, drawings, wrong) for wrong in (False, True))
    sys.stdout.write(f"nats a token: {right:.4f} with the scene's picture, {wrong:.4f} with another's\n")


if __name__ == "__main__":
    main()
