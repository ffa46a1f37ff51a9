"""Finds the folder with a model's weights: bundled, local, or fetched from the hub."""

from __future__ import annotations

from pathlib import Path

from harness.errors import InputError
from harness.models.loading import first_line

TINY_FOLDER = Path(__file__).parent / "tiny"
"""The bundled tiny weights, one folder a model."""


def fetch_model(name: str, tiny: str, option: str) -> Path:
    """Return the folder with the weights of a model.

    Parameters
    ----------
    name
        ``tiny`` (bundled), the path of a folder, or a hub id such as ``openai/clip-vit-large-patch14-336``, with
        ``@REVISION`` where a certain commit, branch or tag is meant.
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
    from harness.models.hub import fetch_repository

    try:
        return fetch_repository(name)
    except Exception as error:  # of the hub's library, or of the one it speaks HTTP with, in any version
        raise InputError(
            f"{option}={name}: it is no folder here, and the hub did not give it ({first_line(error)}); "
            "check the name and the network and give the command again: what was fetched is kept. Without a network, "
            f"fetch it beforehand where there is one, `hf download {name} --local-dir DIR`, then {option}=DIR"
        ) from error
