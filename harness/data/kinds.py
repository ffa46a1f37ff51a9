"""What kind of file something is, by its name and first bytes: which are images, and which images are not read."""

from __future__ import annotations

from pathlib import Path

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".webp", ".bmp", ".dib",
    ".gif", ".tif", ".tiff", ".avif", ".avifs", ".jp2", ".j2k", ".jpx", ".j2c", ".jpf", ".ppm", ".pgm", ".pbm",
    ".pnm", ".pfm", ".qoi", ".tga", ".ico", ".pcx",
})
# fmt: on
"""Names of images; what has one and is none is refused by name when it is read."""

UNREAD = {
    "HEIC": "HEIC needs the package pillow-heif (pip install pillow-heif), or convert it to PNG",
    "JPEG XL": "JPEG XL is not read; convert it to PNG",
    "raw": "a camera's raw data are not read; develop it to PNG or JPEG",
    "drawing": "a drawing or document is not read; export it as PNG",
    "video": "a video is not read; save frames of it as PNG",
    "layers": "a file of layers is not read; export it as PNG",
}
_UNREAD_SUFFIXES = {
    **dict.fromkeys([".heic", ".heif", ".hif", ".heics", ".heifs"], "HEIC"),
    ".jxl": "JPEG XL",
    **dict.fromkeys(
        [
            ".dng",
            ".cr2",
            ".cr3",
            ".nef",
            ".arw",
            ".orf",
            ".rw2",
            ".raf",
            ".srw",
            ".pef",
            ".raw",
            ".3fr",
            ".iiq",
            ".x3f",
        ],
        "raw",
    ),
    **dict.fromkeys([".svg", ".svgz", ".eps", ".ps", ".ai", ".pdf", ".wmf", ".emf"], "drawing"),
    **dict.fromkeys([".mp4", ".webm", ".mov", ".avi", ".mkv", ".m4v"], "video"),
    **dict.fromkeys([".psb", ".xcf", ".kra", ".clip"], "layers"),
}
# fmt: off
_OTHER_SUFFIXES = frozenset({
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather", ".md", ".rst",
    ".html", ".htm", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".log", ".py", ".ipynb", ".sh", ".bat",
    ".js", ".css", ".npy", ".npz", ".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".h5", ".hdf5", ".pkl",
    ".pickle", ".db", ".sqlite", ".lock", ".tmp", ".part", ".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".7z",
    ".rar", ".xlsx", ".xls", ".ods", ".docx", ".caption", ".token", ".url", ".lnk", ".mp3", ".wav", ".flac",
    ".sha256", ".md5",
})
# fmt: on
_MAGIC = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"\0\0\0\x0cjP  \r\n\x87\n",
    b"\xff\x4f\xff\x51",
    b"qoif",
    b"\0\0\1\0",
    b"DDS ",
    b"8BPS",
)
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")


def is_file(path: Path) -> bool:
    """Whether there is a file that can be looked at; not where the name is longer than any, or its folder is closed."""
    try:
        return path.is_file()
    except OSError:
        return False


def exists(path: Path) -> bool:
    """Whether there is anything that can be looked at, as `is_file` tells it of files."""
    try:
        return path.exists()
    except OSError:
        return False


def unread_kind(head: bytes) -> str:
    """Say what an image is, by its first bytes, that Pillow could not identify, and what to do; nothing if unknown."""
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        return UNREAD["HEIC"]
    if head.startswith(_JPEG_XL):
        return UNREAD["JPEG XL"]
    if head.startswith((b"%PDF", b"%!PS", b"<svg")) or b"<svg" in head[:512]:
        return UNREAD["drawing"]
    return ""


def is_image(path: Path) -> bool | str:
    """Tell whether a file is an image that is read, by name or else by content; a text says why one is not.

    Raises
    ------
    OSError
        If its first bytes are needed and cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    if suffix in _OTHER_SUFFIXES:
        return False
    if _UNREAD_SUFFIXES.get(suffix) == "HEIC":
        return heif_is_read() or UNREAD["HEIC"]
    if kind := _UNREAD_SUFFIXES.get(suffix):
        return UNREAD[kind]
    if not path.is_file():  # a pipe would never end
        return False
    with path.open("rb") as stream:
        head = stream.read(512)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS and heif_is_read():
        return True
    return looks_like_image(head) or unread_kind(head) or False


def looks_like_image(head: bytes) -> bool:
    """Whether a file begins as images do that are read."""
    if head.startswith(b"RIFF"):
        return head[8:12] == b"WEBP"
    if head[4:8] == b"ftyp":
        return head[8:12] in (b"avif", b"avis")
    if head[:1] == b"P" and head[1:2] in b"123456fF" and len(head) > 10:
        return head[2:3].isspace()
    return head.startswith(_MAGIC) and (head[:2] != b"BM" or head[6:10] == b"\0\0\0\0")


def heif_is_read() -> bool:
    """Whether the package is installed that reads HEIC."""
    from importlib.util import find_spec

    return find_spec("pillow_heif") is not None
