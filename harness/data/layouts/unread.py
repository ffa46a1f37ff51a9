"""What is recognised and not read: named, with what to do, instead of taken for something else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.data.kinds import is_file
from harness.data.layouts.files import is_named_image, passed_over
from harness.data.layouts.row_groups import first_line
from harness.data.once import once
from harness.errors import InputError
from harness.plugin import DatasetReader, Row

_SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"})
_MOST = 200


class SplitsReader:
    """Folders that are data sets of their own, as ``train/`` and ``test/``: they are not merged, one must be named.

    Parameters
    ----------
    readers
        Readers of data sets with prompts, which are asked of each subfolder.
    """

    name = "splits"
    order = 145
    looks_for = "folders such as train/ and test/, of which one must be named"
    recommended_threshold: float | None = None

    def __init__(self, readers: list[DatasetReader]) -> None:
        self._readers = readers

    def matches(self, location: Path) -> bool:
        """Whether subfolders have prompts of their own, or are named as splits, and no image lies beside them."""
        return bool(self._splits(location))

    @once
    def _splits(self, location: Path) -> dict[Path, str]:
        if not location.is_dir():
            return {}
        entries = [path for path in sorted(location.iterdir()) if not path.name.startswith((".", "__"))]
        if any(is_named_image(path.name) for path in entries):
            return {}
        folders = [path for path in entries if path.is_dir()][:_MOST]
        found = {f: r.name for f in folders if (r := next((r for r in self._readers if _matches(r, f)), None))}
        named = [folder for folder in folders if folder.name.lower() in _SPLITS]
        if len(named) > 1 and len(named) == len(folders):
            found = {folder: found.get(folder, "images") for folder in folders}
        return found

    def read(self, location: Path) -> Iterator[Row]:
        """Name the folders, and refuse to guess among them."""
        splits = self._splits(location)
        names = ", ".join(f"{folder.name}/ ({layout})" for folder, layout in list(splits.items())[:5])
        more = ", …" if len(splits) > 5 else ""
        first = next((f for f in splits if f.name.lower().startswith("train")), next(iter(splits)))
        test = next((f for f in splits if f.name.lower().startswith("test") and f != first), None)
        raise InputError(
            f"{location}: its images and prompts lie in {names}{more}, which are not merged; name one of them: "
            f"--data {first}" + (f" --test {test}" if test else "")
        )
        yield  # a reader gives rows


def _matches(reader: DatasetReader, folder: Path) -> bool:
    try:
        return reader.matches(folder)
    except OSError:  # a closed folder beside others; whoever reads these says that it is left out
        return False


class UnreadReader:
    """Downloads that must be unpacked or written out first."""

    name = "unread"
    order = 950
    looks_for = "a folder that is unpacked: archives are only named"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether there is anything of the kind."""
        return bool(_unread(location))

    def read(self, location: Path) -> Iterator[Row]:
        """Say what lies there and what to do."""
        raise InputError(f"{location}: {_unread(location)}")
        yield  # a reader gives rows


def _unread(location: Path) -> str:
    paths = [location]
    if location.is_dir():
        paths = [path for pattern in ("*", "*/*") for path in sorted(location.glob(pattern))[:_MOST] if is_file(path)]
        paths = [path for path in paths if not passed_over(path.name)]
    by_suffix: dict[str, Path] = {}
    for path in paths:
        by_suffix.setdefault(
            "".join(path.suffixes[-2:] if path.suffix in (".gz", ".xz") else path.suffix).lower(), path
        )
    if table := by_suffix.get(".arrow"):
        return (
            f"{table.name} is a table of Hugging Face datasets, and its images are not read from there; write them "
            "out as files, with a metadata.csv of file_name and prompt "
            "(for i, row in enumerate(data): row['image'].save(f'{i}.png'))"
        )
    if table := by_suffix.get(".parquet"):
        return f"{table.name} {_why_no_parquet(table)}"
    archive = next((by_suffix[suffix] for suffix in _ARCHIVES if suffix in by_suffix), None)
    return f"{archive.name} is an archive; unpack it, and name its folder" if archive else ""


def _why_no_parquet(table: Path) -> str:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        names = parquet.read_schema(table).names
    except (pa.ArrowException, OSError) as error:
        return f"cannot be read as parquet ({first_line(error)}); fetch it again"
    return (
        f"has no column of images that is known (its columns: {', '.join(names[:8]) or 'none'}); call it image, "
        "and that of the prompts prompt"
    )


_ARCHIVES = (".zip", ".tar.gz", ".tgz", ".7z", ".rar", ".tar.xz", ".tar")
