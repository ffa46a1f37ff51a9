"""What of the weights that a name means would have to be fetched, told by the hub without fetching it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.models.hub import HubFile, HubModel, hub_model
from harness.models.names import hub_repository


@dataclass(frozen=True)
class ToFetch:
    """What a repository holds that a model needs.

    Parameters
    ----------
    repository, revision
        On the hub, at the commit that would be taken.
    files
        Needed ones.
    missing
        Those of them that are not on this machine yet.
    """

    repository: str
    revision: str
    files: tuple[HubFile, ...]
    missing: tuple[HubFile, ...]

    @property
    def bytes(self) -> int:
        """How much is to be fetched."""
        return sum(file.size or 0 for file in self.missing)

    def document(self) -> dict[str, object]:
        """Return it as a JSON object."""
        missing = {file.path for file in self.missing}
        return {
            "repository": self.repository,
            "revision": self.revision,
            "bytes": self.bytes,
            "files": [{"path": file.path, "bytes": file.size, "to_fetch": file.path in missing} for file in self.files],
        }


def to_fetch(models: Sequence[str]) -> list[ToFetch] | None:
    """Return what is to be fetched for models, by the names that options give them.

    Names of folders, and of weights that come with packages, need nothing. None where the hub cannot be asked, and for
    weights that lie elsewhere.
    """
    found: list[ToFetch] = []
    for name in models:
        for part in [name] if Path(name).exists() else name.split("+"):
            repository = _repository(part)
            if repository is None:
                continue
            try:
                found.append(missing_of(hub_model(repository)))
            except Exception:  # of the hub's library, or of the one it speaks HTTP with, in any version
                return None
    return found


def _repository(name: str) -> str | None:
    model, slash, tag = name.partition("/")
    if slash and ":" not in model and not Path(name).exists():
        import open_clip  # type: ignore[import-untyped]

        if open_clip.get_pretrained_cfg(model, tag):  # the interrogator's way to name a CLIP
            return hub_repository(f"open_clip:{name}")
    found = hub_repository(name)
    return name if found is None and slash and not Path(name).exists() and ":" not in name else found


def missing_of(described: HubModel) -> ToFetch:
    """Return what of a repository's needed files is not on this machine yet."""
    from huggingface_hub import try_to_load_from_cache

    def here(file: HubFile) -> bool:
        return isinstance(try_to_load_from_cache(described.name, file.path, revision=described.revision), str)

    missing = tuple(file for file in described.files if not here(file))
    return ToFetch(described.name, described.revision, described.files, missing)
