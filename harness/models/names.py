"""Which library a tower's name is of; nothing heavy is imported for it."""

from __future__ import annotations

import re
from pathlib import Path

from harness.models.hub import cached_commit, fetch_file, note_commit, read_json, split_revision
from harness.plugin import current_context

FAMILIES = ("timm", "open_clip", "transformers")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def has_tower(name: str) -> bool:
    """Whether a name begins with a library's."""
    family, colon, rest = name.partition(":")
    return family in FAMILIES and bool(colon and rest)


def library_name(name: str) -> str:
    """Return the name of a folder or a hub repository with its library's before it; any other as it is.

    A ``config.json`` with a ``model_type`` is of transformers, one with an ``architecture`` of timm, and where there is
    neither, ``open_clip_config.json`` is of open_clip. Of a repository these two files are fetched, no weights.
    """
    folder = Path(name)
    if has_tower(name) or not (folder.is_dir() or _REPOSITORY.fullmatch(name)):
        return name
    here = folder.is_dir()
    hub = "" if here else "hf-hub:"
    config = read_json(folder / "config.json" if here else fetch_file(name, "config.json"))
    if config.get("model_type"):
        return f"transformers:{name}"
    if config.get("architecture"):
        return f"timm:{hub}{name}"
    own = folder / "open_clip_config.json" if here else fetch_file(name, "open_clip_config.json")
    return f"open_clip:{hub}{name}" if own is not None and own.is_file() else name


def hub_repository(name: str) -> str | None:
    """Return the repository on the hub that a name's weights come from; None for folders, files and other addresses."""
    name = library_name(name)
    family, _, rest = name.partition(":")
    if Path(rest).exists():
        return None
    if rest.startswith(("hf-hub:", "hf_hub:")):
        return rest[len("hf-hub:") :]
    if family == "transformers":
        return rest
    if family == "timm":
        from timm.models import get_pretrained_cfg

        try:
            found = get_pretrained_cfg(rest)
        except RuntimeError:  # there is no such model, and who loads it says so
            return None
        return found.hf_hub_id if found else None
    if family == "open_clip":
        import open_clip  # type: ignore[import-untyped]

        model, _, tag = rest.partition("/")
        return (open_clip.get_pretrained_cfg(model, tag) or {}).get("hf_hub", "").rstrip("/") or None
    return None


def note_weights(name: str) -> None:
    """Let the present task record the commit of the weights that it uses under a name, where they come from the hub."""
    if current_context() is not None and (repository := hub_repository(name)):
        note_commit(split_revision(repository)[0], cached_commit(repository))
