"""Finds the folder with a model's weights: bundled, local, or fetched from the hub."""

from __future__ import annotations

from pathlib import Path

from harness.errors import InputError

TINY_FOLDER = Path(__file__).parent / "tiny"
"""The bundled tiny weights, one folder a model."""


def fetch_model(name: str, tiny: str, option: str) -> Path:
    """Return the folder with the weights of a model.

    Parameters
    ----------
    name
        ``tiny`` (bundled), the path of a folder, or a hub id such as ``openai/clip-vit-large-patch14-336``.
    tiny
        Which bundled model ``tiny`` means here: a folder below ``TINY_FOLDER``.
    option
        The option that gave the name, for messages: ``clipnet.tower``.

    Raises
    ------
    InputError
        If it is neither, and the hub did not give it; says how to get the weights beforehand.
    """
    if name == "tiny":
        return TINY_FOLDER / tiny
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise InputError(
            f"{option}={name}: it is no folder here, and the hub did not give it ({type(error).__name__}); "
            f"check the name, or fetch it beforehand where there is a network: `hf download {name} --local-dir DIR`, "
            f"then {option}=DIR"
        ) from error
