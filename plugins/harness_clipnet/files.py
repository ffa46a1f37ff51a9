"""A trained network on disk: adapters, trained layers and head; the tower stays where it came from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.plugin import InputError
from harness_clipnet.ema import restore
from harness_clipnet.fitting import Fitted, seeded, start_network
from harness_clipnet.network import trained_state
from harness_clipnet.preprocessing import Preprocessing
from harness_clipnet.prompts import PromptTable

if TYPE_CHECKING:
    from harness.plugin import Context
    from harness_clipnet.config import ClipNetConfig

_ARCHITECTURE = ("lora_rate", "nfz_rate", "rank", "lora_scale", "head_width", "epochs")


def save_fitted(fitted: Fitted, config: ClipNetConfig, folder: Path) -> None:
    """Write ``clipnet.json``, ``clipnet.safetensors`` and the prompts."""
    from safetensors.torch import save_file

    about = {
        "tower": config.tower,
        "tower_hash": fitted.tower_hash,
        "architecture": {key: getattr(config, key) for key in _ARCHITECTURE},
        "preprocessing": asdict(fitted.preprocessing),
    }
    (folder / "clipnet.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
    state = {name: value.cpu().contiguous() for name, value in trained_state(fitted.network).items()}
    save_file(state, str(folder / "clipnet.safetensors"))
    fitted.prompts.save(folder)


def load_fitted(folder: Path, config: ClipNetConfig, context: Context) -> Fitted:
    """Read what ``save_fitted`` wrote, onto the tower that ``config`` names.

    Raises
    ------
    InputError
        If that tower is not the one the saved weights belong to, or the files do not belong together.
    """
    from safetensors.torch import load_file

    about = json.loads((folder / "clipnet.json").read_text(encoding="utf-8"))
    stored = about["preprocessing"]
    preprocessing = Preprocessing(**{**stored, "mean": tuple(stored["mean"]), "std": tuple(stored["std"])})
    with seeded(context):  # what is drawn here is overwritten below; only the caller's random numbers matter
        network, _, digest = start_network(config.model_copy(update=about["architecture"]), preprocessing)
    if digest != about["tower_hash"]:
        raise InputError(
            f"{folder}: trained on the tower {about['tower']} with weights {about['tower_hash']}, but "
            f"clipnet.tower={config.tower} has weights {digest}; name the checkpoint it was trained on, or train again"
        )
    state, expected = load_file(str(folder / "clipnet.safetensors")), trained_state(network)
    odd = sorted(
        {key for key in state.keys() & expected.keys() if state[key].shape != expected[key].shape}
        | (state.keys() ^ expected.keys())
    )
    if odd:
        raise InputError(
            f"{folder}: clipnet.safetensors and clipnet.json do not belong together ({len(odd)} weights are missing, "
            f"unknown or of another shape, {odd[0]} first); copy the folder again, or train again"
        )
    restore(network, state)
    return Fitted(network.to(context.device).eval(), preprocessing, digest, PromptTable.load(folder))
