"""Which files are images that are read, which are not read and said to be, and which are something else."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest

from harness.data.images import ImageFile
from harness.data.kinds import FORMATS, is_image
from tests.data.test_layouts import opened, says

PICTURE = PIL.Image.effect_noise((32, 32), 60).convert("RGB")
DATA = {".h5", ".hdf", ".iim"}  # arrays, and captions of news agencies: no pictures


def test_every_suffix_that_pillow_knows_is_read_or_left_out_with_a_reason() -> None:
    PIL.Image.init()
    there = {suffix: kind for suffix, kind in PIL.Image.registered_extensions().items() if kind != "HEIF"}
    told = {suffix: is_image(Path(f"nowhere/a{suffix.upper()}")) for suffix in there}
    assert [s for s, kind in there.items() if (told[s] is True) != (kind in FORMATS)] == []
    assert {suffix for suffix, answer in told.items() if answer is False} == DATA
    assert all("PNG" in answer for answer in told.values() if isinstance(answer, str))


SAVED = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "QOI", "ICO", "ICNS", "DDS", "SGI"]


def test_formats_are_known_by_content_and_by_name(tmp_path: Path) -> None:
    for kind in SAVED:
        PICTURE.save(tmp_path / f"{kind}.unknown", kind)
    for name, kind in (("a.sgi", "SGI"), ("b.icns", "ICNS"), ("c.tga", "TGA"), ("d.pcx", "PCX"), ("e.mpo", "MPO")):
        PICTURE.save(tmp_path / name, kind)
    PICTURE.convert("1").save(tmp_path / "f.xbm", "XBM")
    (tmp_path / "g.xpm").write_text(
        '/* XPM */\nstatic char *a[] = {\n"2 1 2 1",\n"a c #ff0000",\n"b c #00ff00",\n"ab"\n};\n'
    )
    data = opened(tmp_path)
    assert (len(data), data.notes) == (len(SAVED) + 7, ())
    assert len(set(data.digests)) >= len(SAVED)
    assert {image.open().mode for image in data.images if isinstance(image, ImageFile)} == {"RGB"}


@pytest.mark.parametrize(
    ("name", "head", "reason"),
    [
        ("a.exr", b"", "high dynamic range"),
        ("a", b"\x76\x2f\x31\x01\2\0\0\0", "high dynamic range"),
        ("a.hdr", b"", "high dynamic range"),
        ("a.im", b"", "not read"),
        ("a.unknown", b"\xff\x0a", "JPEG XL"),
        ("a", b"gimp xcf v011", "layers"),
        ("a", b"8BPS\0\2", "layers"),
        ("a", b"FUJIFILMCCD-RAW 0201", "raw"),
    ],
)
def test_what_is_an_image_and_not_read_is_noted(tmp_path: Path, name: str, head: bytes, reason: str) -> None:
    PICTURE.save(tmp_path / "z.png")
    (tmp_path / name).write_bytes(head)
    says(" ".join(opened(tmp_path).notes), f"1 entry ({name})", reason)
