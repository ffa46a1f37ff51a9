"""What kind of file something is, by its name and first bytes: which are images, and which images are not read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class _Kind(NamedTuple):
    """Suffixes that files of a kind have, how their content begins, and why they are not read; nothing if they are."""

    suffixes: str
    magic: tuple[bytes, ...] = ()
    unread: str = ""


_LAYERS = "a file of layers is not read; export it as PNG"
_DRAWING = "a drawing or document is not read; export it as PNG"
_VIDEO = "a video is not read; save frames of it as PNG"
_RARE = "this format is not read; convert it to PNG"
_KINDS = {
    "PNG": _Kind(".png .apng", (b"\x89PNG\r\n\x1a\n",)),
    "JPEG": _Kind(".jpg .jpeg .jpe .jfif .jfi .jif .pjpeg", (b"\xff\xd8\xff",)),
    "MPO": _Kind(".mpo"),
    "WEBP": _Kind(".webp"),
    "GIF": _Kind(".gif", (b"GIF87a", b"GIF89a")),
    "BMP": _Kind(".bmp", (b"BM",)),
    "DIB": _Kind(".dib"),
    "TIFF": _Kind(".tif .tiff", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    "AVIF": _Kind(".avif .avifs"),
    "HEIF": _Kind(
        ".heic .heif .hif .heics .heifs",
        unread="HEIC needs the package pillow-heif (pip install pillow-heif), or convert it to PNG",
    ),
    "JPEG2000": _Kind(".jp2 .j2k .jpx .j2c .jpc .jpf", (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    "PPM": _Kind(".ppm .pgm .pbm .pnm .pfm"),
    "QOI": _Kind(".qoi", (b"qoif",)),
    "TGA": _Kind(".tga .icb .vda .vst"),
    "ICO": _Kind(".ico", (b"\0\0\1\0",)),
    "ICNS": _Kind(".icns", (b"icns",)),
    "PCX": _Kind(".pcx"),
    "DDS": _Kind(".dds", (b"DDS ",)),
    "PSD": _Kind(".psd", (b"8BPS\0\1",)),
    "SGI": _Kind(
        ".sgi .rgb .rgba .bw", tuple(b"\x01\xda" + bytes([packed, depth]) for packed in (0, 1) for depth in (1, 2))
    ),
    "XBM": _Kind(".xbm"),
    "XPM": _Kind(".xpm", (b"/* XPM */",)),
    "JPEG XL": _Kind(".jxl", (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), "JPEG XL is not read; convert it to PNG"),
    "raw": _Kind(
        ".dng .cr2 .cr3 .crw .nef .nrw .arw .orf .rw2 .raf .srw .pef .raw .3fr .iiq .x3f .kdc .dcr .erf .mrw",
        (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb"),
        "a camera's raw data are not read; develop it to PNG or JPEG",
    ),
    "high dynamic range": _Kind(
        ".exr .hdr .jxr .wdp .hdp .dpx .cin",
        (b"\x76\x2f\x31\x01", b"#?RADIANCE", b"#?RGBE", b"II\xbc\x01", b"SDPX", b"XPDS"),
        "a picture of high dynamic range is not read; convert it to PNG, with the exposure that is meant",
    ),
    "drawing": _Kind(".svg .svgz .eps .ps .ai .pdf .wmf .emf", (b"%PDF", b"%!PS", b"<svg"), _DRAWING),
    "video": _Kind(".mp4 .webm .mov .avi .mkv .m4v .mpg .mpeg .fli .flc", unread=_VIDEO),
    "layers": _Kind(".psb .xcf .kra .clip .ora", (b"gimp xcf", b"8BPS\0\2"), _LAYERS),
    "rare": _Kind(
        ".im .cur .pcd .pxr .ras .sun .gbr .blp .dcx .ftc .ftu .msp .palm .fit .fits .fts .grib .bufr .pict .pct .ktx "
        ".ktx2 .flif .bpg",
        (b"SIMPLE  =", b"\x59\xa6\x6a\x95", b"FLIF", b"BPG\xfb", b"BLP1", b"BLP2", b"\xabKTX "),
        _RARE,
    ),
}
"""All that is known of images, by Pillow's name of the format where it is read (HEIF: where pillow-heif is installed).

What `PIL.Image.registered_extensions` lists stands here or among the suffixes of other files, so that none vanishes
without a note. Formats that Pillow reads and are no pictures, or would have it draw, are not read.
"""
FORMATS = [name for name, kind in _KINDS.items() if not kind.unread or name == "HEIF"]
"""Pillow's names of the formats that are read."""
IMAGE_SUFFIXES = frozenset(suffix for kind in _KINDS.values() if not kind.unread for suffix in kind.suffixes.split())
"""Names of images; what has one and is none is refused by name when it is read."""
_UNREAD_SUFFIXES = {suffix: name for name, kind in _KINDS.items() if kind.unread for suffix in kind.suffixes.split()}
_MAGIC = tuple(magic for kind in _KINDS.values() if not kind.unread for magic in kind.magic)
# fmt: off
_OTHER_SUFFIXES = frozenset({
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather", ".md", ".rst",
    ".html", ".htm", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".log", ".py", ".ipynb", ".sh", ".bat",
    ".js", ".css", ".npy", ".npz", ".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".h5", ".hdf5", ".pkl",
    ".pickle", ".db", ".sqlite", ".lock", ".tmp", ".part", ".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".7z",
    ".rar", ".xlsx", ".xls", ".ods", ".docx", ".caption", ".token", ".url", ".lnk", ".mp3", ".wav", ".flac",
    ".sha256", ".md5", ".hdf", ".iim",
})
# fmt: on
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


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
        return _KINDS["HEIF"].unread
    if found := next((k for k in _KINDS.values() if k.unread and k.magic and head.startswith(k.magic)), None):
        return found.unread
    return _DRAWING if b"<svg" in head[:512] else ""


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
    if name := _UNREAD_SUFFIXES.get(suffix):
        return (name == "HEIF" and heif_is_read()) or _KINDS[name].unread
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


def suffix_of(head: bytes) -> str:
    """Return the suffix that a file which begins like this should have; nothing where its beginning does not tell."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return ".webp"
    if head[4:8] == b"ftyp":
        return ".avif" if head[8:12] in (b"avif", b"avis") else ".heic" if head[8:12] in _HEIC_BRANDS else ""
    if head[:1] == b"P" and looks_like_image(head):
        return ".ppm"
    found = next((k for k in _KINDS.values() if not k.unread and k.magic and head.startswith(k.magic)), None)
    return found.suffixes.split()[0] if found is not None and looks_like_image(head) else ""


def heif_is_read() -> bool:
    """Whether the package is installed that reads HEIC."""
    from importlib.util import find_spec

    return find_spec("pillow_heif") is not None
