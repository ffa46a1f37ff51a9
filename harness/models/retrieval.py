"""How well a CLIP finds the right prompt of an unseen scene; the model card's figure comes from here.

``python -m harness.models.retrieval FOLDER`` measures an open_clip folder.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import open_clip  # type: ignore[import-untyped]
import torch
from open_clip.model import CLIP  # type: ignore[import-untyped]
from torch.nn import functional

from harness.models.convert import MEAN, STD
from harness.models.drawings import EVALUATION_SEED, Drawings

GROUP = 100
"""Prompts to choose from."""


def normalise(pictures: np.ndarray) -> torch.Tensor:
    """Turn pictures, uint8 of shape (n, h, w, 3), into float32 of shape (n, 3, h, w) as CLIP's preprocessing does."""
    mean = torch.tensor(MEAN).view(3, 1, 1) * 255
    std = torch.tensor(STD).view(3, 1, 1) * 255
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().float().sub_(mean).div_(std)


@torch.no_grad()  # type: ignore[untyped-decorator]
def embed(model: CLIP, drawings: Drawings, batch: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unit embeddings of all pictures and of their prompts, float32, both of shape (count, embed_dim)."""
    training = model.training
    model.eval()
    tokenizer = open_clip.SimpleTokenizer(context_length=model.context_length)
    prompts = drawings.prompts()
    images, texts = [], []
    for start in range(0, drawings.count, batch):
        rows = np.arange(start, min(start + batch, drawings.count))
        images.append(model.encode_image(normalise(drawings.images(rows))))
        texts.append(model.encode_text(tokenizer([prompts[row] for row in rows])))
    model.train(training)
    return functional.normalize(torch.cat(images), dim=1), functional.normalize(torch.cat(texts), dim=1)


def retrieval_among(model: CLIP, drawings: Drawings, group: int = GROUP) -> dict[str, float]:
    """Measure retrieval of the right prompt among `group`, over whole groups of consecutive scenes.

    Parameters
    ----------
    model
        An open_clip model.
    drawings
        Scenes that it has not seen.
    group
        Size of a group; chance is 1 / group.

    Returns
    -------
    dict
        ``top1`` and ``top5``: shares of pictures whose own prompt is the nearest, or among the five nearest;
        ``top1_of_texts``: share of prompts whose own picture is the nearest.
    """
    drawings.wait(drawings.count)
    images, texts = embed(model, drawings)
    groups = len(images) // group
    top1, top5, back = [], [], []
    for rows in torch.arange(groups * group).view(groups, group):
        similarity = images[rows] @ texts[rows].T
        rank = (similarity > similarity.diagonal().unsqueeze(1)).sum(dim=1)
        top1.append((rank == 0).float().mean().item())
        top5.append((rank < 5).float().mean().item())
        back.append((similarity.argmax(dim=0) == torch.arange(group)).float().mean().item())
    return {"top1": float(np.mean(top1)), "top5": float(np.mean(top5)), "top1_of_texts": float(np.mean(back))}


def main() -> None:
    """Measure the open_clip folder named on the command line on 1000 scenes of seed 2 000 000."""
    model = open_clip.create_model(f"local-dir:{sys.argv[1]}")
    with tempfile.TemporaryDirectory() as folder:
        drawings = Drawings(Path(folder), EVALUATION_SEED, 1000, model.visual.image_size[0])
        drawings.start(2)
        sys.stdout.write(f"{retrieval_among(model, drawings)}\n")


if __name__ == "__main__":
    main()
