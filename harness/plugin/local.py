"""Which local files and folders the text of an option names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

BY_NAME = "harness: by name"
"""Marks an option that may name a file or folder that predictions do not depend on, such as where a log goes:
``log: Annotated[str, BY_NAME] = "log.txt"``. What the file or folder of any other option holds is part of a
task's key."""


def named_paths(text: str) -> Iterator[str]:
    """Yield what of an option's text names an existing file or folder; one may come twice.

    That is the text itself (``weights/vit``), what follows its first colon (``timm:weights/vit``), or a file behind the
    first slash of either (``open_clip:ViT-B-32/clip.pt``); and likewise each of the parts that ``+`` or ``@`` joins
    (``timm:weights/vit@last+3/4``).
    """
    for whole in dict.fromkeys([text, *text.split("+"), *text.split("@"), *re.split("[+@]", text)]):
        rest = whole.partition(":")[2]
        if (named := next((part for part in (whole, rest) if _exists(part)), None)) is not None:
            yield named
            if whole == text:
                return
        else:
            behind = (part.partition("/")[2] for part in (whole, rest))
            yield from dict.fromkeys(part for part in behind if _exists(part) and Path(part).is_file())


def _exists(text: str) -> bool:
    try:
        return bool(text.strip()) and Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or with a character that none can have
        return False
