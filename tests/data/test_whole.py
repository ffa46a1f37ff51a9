"""What is refused and what is not: closed early, too large, malformed in what is not pixels; numbers as pixels."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import ImageCms, PngImagePlugin

from harness.data import containers, whole
from harness.data.dataset import image_digests
from harness.data.images import ImageFile, check_whole, decode
from harness.data.layouts.contained import ArchivedImage
from harness.data.modes import grey_of_numbers
from harness.errors import InputError
from tests.campaigns.headers import campaign

quick = settings(max_examples=60)
NOISE = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
PICTURE = PIL.Image.fromarray(NOISE)


def encoded(kind: str, image: PIL.Image.Image = PICTURE, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        check_whole(data, "photos/a.img")
    assert str(caught.value).startswith("photos/a.img: ")
    return str(caught.value)


def shown(data: bytes) -> NDArray[np.uint8]:
    check_whole(data, "a")
    return np.asarray(decode(data, "a"))


# -- closed early ----------------------------------------------------------------------------------

JPEGS = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "restarts": {"restart_marker_blocks": 3},
    "progressive": {"progressive": True},
    "grey": {"image": PICTURE.convert("L")},
    "CMYK": {"image": PICTURE.convert("CMYK")},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_that_was_closed_early_is_refused_and_a_whole_one_is_not(options: dict[str, Any]) -> None:
    whole = encoded("JPEG", **options)
    check_whole(whole, "a")
    for share in (0.5, 0.7, 0.9):
        cut = whole[: int(len(whole) * share)].rstrip(b"\xff")
        assert "it is damaged" in refusal(cut + b"\xff\xd9")
        assert "it is damaged" in refusal(cut)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_picture_that_ends_in_grey_is_whole(progressive: bool) -> None:
    """Grey is what a decoder fills up with, and what is tried before anything is refused."""
    grey = PICTURE.copy()
    grey.paste((128, 128, 128), (0, 16, 64, 48))
    check_whole(encoded("JPEG", grey, quality=95, progressive=progressive), "a")
    check_whole(encoded("JPEG", PIL.Image.new("RGB", (9, 9), (128, 128, 128)), progressive=progressive), "a")


def png(rows: int, height: int = 48) -> bytes:
    """A PNG of whole chunks and a whole stream, with as many rows."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 64, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + NOISE[row].tobytes() for row in range(rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_png_with_fewer_rows_than_its_header_says_is_refused() -> None:
    assert (shown(png(48)) == NOISE).all()
    for rows in (1, 24, 47):
        missing = (48 - rows) * (64 * 3 + 1)
        assert f"{missing} of its {48 * 193} bytes of pixels are missing" in refusal(png(rows))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (17, 9)])
def test_bytes_of_pixels_are_counted_right_for_every_kind_of_png(mode: str, size: tuple[int, int]) -> None:
    check_whole(encoded("PNG", PICTURE.resize(size).convert(mode)), "a")


def test_an_interlaced_png_is_counted_right() -> None:
    """Pillow writes none: the seven passes of a 5 x 3 image, by hand."""
    passes = [(1, 1), (1, 1), (2, 0), (1, 1), (3, 1), (2, 2), (5, 1)]
    rows = b"".join((b"\0" + b"\x80" * width) * height for width, height in passes if width)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 5, 3, 8, 0, 0, 0, 1)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in parts]
    assert (shown(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)) == 128).all()


CUT = {
    "GIF": encoded("GIF", PICTURE.quantize(64)),
    "BMP": encoded("BMP"),
    "WEBP": encoded("WEBP"),
    "AVIF": encoded("AVIF"),
    "TIFF": encoded("TIFF"),
    "TIFF by LZW": encoded("TIFF", compression="tiff_lzw"),
    "JPEG 2000": encoded("JPEG2000"),
    "PPM": encoded("PPM"),
    "QOI": encoded("QOI"),
}


@pytest.mark.parametrize("kind", CUT)
def test_other_formats_that_are_cut_off_are_refused(kind: str) -> None:
    shown(CUT[kind])
    for share in (0.4, 0.8, 0.95):
        assert "it is damaged" in refusal(CUT[kind][: int(len(CUT[kind]) * share)])


def test_a_truncated_file_is_refused_whatever_others_have_set_in_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    shown(encoded("JPEG"))
    assert "it is damaged" in refusal(encoded("JPEG")[:1000])


def test_what_others_have_set_in_pillow_is_as_it_was_whoever_decodes_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    good, bad = encoded("PNG"), encoded("JPEG")[:1000]

    def look(number: int) -> bool:
        with suppress(InputError):
            check_whole(bad if number % 3 else good, "a")
        return number % 3 == 0 or "it is damaged" in refusal(bad)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(look, range(60)))
        assert list(warnings.filters) == before
    assert (PIL.ImageFile.LOAD_TRUNCATED_IMAGES, PIL.Image.MAX_IMAGE_PIXELS) == (True, 10)


# -- what is remembered ----------------------------------------------------------------------------


def test_only_whole_files_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    file = ImageFile(tmp_path / "a.jpg")
    file.path.write_bytes(encoded("JPEG")[:1500] + b"\xff\xd9")
    for _ in range(2):
        with pytest.raises(InputError, match=r"a\.jpg: .*damaged"):
            image_digests([file])


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of images whose bytes were read, with a memory for which what was written a moment ago has settled."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.data.file_memory.time.time_ns", lambda: int((time.time() + 10) * 1e9))
    names: list[str] = []

    def counted(name: str, real: Any) -> Any:
        return lambda image: names.append(Path(name.format(image)).name) or real(image)

    monkeypatch.setattr(ImageFile, "_read", counted("{0.path}", ImageFile._read))
    monkeypatch.setattr(ArchivedImage, "_read", counted("{0.member}", ArchivedImage._read))
    return names


def test_a_whole_file_is_remembered_under_the_limit_and_the_decoders_it_was_checked_with(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ImageFile(tmp_path / "a.jpg")
    file.path.write_bytes(encoded("JPEG"))
    first = image_digests([file, file])
    assert image_digests([file]) == first[:1]
    assert reads == ["a.jpg"]
    monkeypatch.setattr(PIL, "__version__", "99.0")
    image_digests([file])
    assert reads == ["a.jpg"] * 2
    monkeypatch.setenv("HARNESS_MAX_PIXELS", "3071")
    with pytest.raises(InputError, match="HARNESS_MAX_PIXELS=3072"):
        image_digests([file])
    monkeypatch.setenv("HARNESS_MAX_PIXELS", "many")
    with pytest.raises(InputError, match="HARNESS_MAX_PIXELS=many"):
        image_digests([file])


def test_images_in_a_shard_are_remembered_until_it_is_written(tmp_path: Path, reads: list[str]) -> None:
    one, two = encoded("PNG"), encoded("JPEG")

    def shard(*contents: bytes) -> list[ArchivedImage]:
        with tarfile.open(tmp_path / "0.tar", "w") as archive:
            for name, content in zip(("a.img", "b.img"), contents, strict=True):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        with tarfile.open(tmp_path / "0.tar") as archive:
            return [ArchivedImage(tmp_path / "0.tar", m.name, m.offset_data, m.size) for m in archive]

    images = shard(one, two)
    expected = [hashlib.blake2b(content, digest_size=16).hexdigest() for content in (one, two)]
    assert [image_digests(images), image_digests(images)] == [expected] * 2
    assert sorted(reads) == ["a.img", "b.img"]
    assert image_digests(shard(two, one)) == expected[::-1]
    assert sorted(reads) == ["a.img", "a.img", "b.img", "b.img"]


def test_an_image_that_is_gone_is_named(tmp_path: Path, reads: list[str]) -> None:
    with pytest.raises(InputError, match=r"gone\.png: cannot be read"):
        image_digests([ImageFile(tmp_path / "gone.png")])


# -- numbers as pixels -----------------------------------------------------------------------------


def floats(values: list[float]) -> bytes:
    return encoded("TIFF", PIL.Image.fromarray(np.array([values], dtype=np.float32)))


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.1, 0.2, 0.25], [26, 51, 64]),  # a dark image stays dark
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([0.0, 257.0, 65535.0], [0, 1, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 0.75, 1.5], [0, 128, 255]),
        ([float("nan"), 0.0, 1.0], [0, 0, 255]),
        ([float("inf"), 0.0, 1.0], [0, 0, 255]),
    ],
)
def test_float_images_are_scaled_by_their_range(values: list[float], levels: list[int]) -> None:
    assert shown(floats(values))[0].tolist() == [[level] * 3 for level in levels]


def test_a_float_image_without_a_number_is_refused_by_name() -> None:
    assert "none of its numbers is finite" in refusal(floats([float("nan")] * 3))


@pytest.mark.parametrize(
    ("values", "levels"),
    [([0, 100, 255], [0, 100, 255]), ([0, 257, 65535], [0, 1, 255]), ([0, 2**30, 2**31 - 1], [0, 128, 255])],
)
def test_integers_of_32_bits_are_scaled_by_their_range(values: list[int], levels: list[int]) -> None:
    data = encoded("TIFF", PIL.Image.fromarray(np.array([values], dtype=np.int32)))
    assert np.abs(shown(data)[0, :, 0].astype(int) - levels).max() <= 1


@settings(max_examples=40)
@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(width=32, allow_subnormal=False)))
def test_greater_numbers_are_never_darker(values: NDArray[np.float32]) -> None:
    finite = np.isfinite(values)
    if not finite.any():
        return
    order = np.argsort(values[finite])
    assert (np.diff(grey_of_numbers(values)[finite][order].astype(int)) >= 0).all()


def test_cielab_is_what_a_colour_engine_makes_of_it() -> None:
    lab = ImageCms.profileToProfile(
        PICTURE, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    assert np.abs(shown(encoded("TIFF", lab)).astype(int) - NOISE).mean() < 6  # 8 bits of CIELAB are coarse


# -- limits ----------------------------------------------------------------------------------------


SIZED = ("PNG", "JPEG", "WEBP")


@pytest.mark.parametrize("kind", [*SIZED, "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "AVIF"])
def test_what_has_too_many_pixels_is_called_that_with_the_option_that_allows_it(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(kind)
    monkeypatch.setenv("HARNESS_MAX_PIXELS", "3071")
    message = refusal(data)
    assert "HARNESS_MAX_PIXELS" in message
    assert "pixels" in message
    assert ("64 x 48 = 3072 pixels" in message and "HARNESS_MAX_PIXELS=3072" in message) or kind not in SIZED
    assert "damaged" not in message
    monkeypatch.setenv("HARNESS_MAX_PIXELS", "3_072")
    shown(data)


def test_a_frame_or_an_icon_with_too_many_pixels_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gif = bytearray(encoded("GIF", PICTURE.quantize(64)))
    gif[6:10] = struct.pack("<HH", 8, 8)  # the screen; its first frame has 64 x 48
    icon = bytearray(encoded("ICO", PICTURE.resize((64, 64)), sizes=[(64, 64)]))
    icon[6:8] = bytes([8, 8])  # its directory; the picture in it has 64 x 64
    monkeypatch.setenv("HARNESS_MAX_PIXELS", "1500")
    for data in (gif, icon):
        assert "HARNESS_MAX_PIXELS" in refusal(bytes(data))


def test_headers_of_bombs_are_refused_without_a_warning_or_their_memory() -> None:
    wide = bytearray(encoded("PNG"))
    wide[16:24] = struct.pack(">II", 40_000, 40_000)
    wide[29:33] = struct.pack(">I", zlib.crc32(wide[12:29]))
    exif = PIL.Image.Exif()
    exif[0x010F] = "a maker"
    webp = bytearray(encoded("WEBP", PICTURE.convert("RGBA"), exif=exif))
    assert webp[12:16] == b"VP8X"
    webp[24:30] = (13_000 - 1).to_bytes(3, "little") * 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "40000 x 40000 = 1600000000 pixels" in refusal(bytes(wide))
        assert "13000 x 13000 = 169000000 pixels" in refusal(bytes(webp))


def test_a_limit_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_MAX_PIXELS", "many")
    with pytest.raises(InputError, match="HARNESS_MAX_PIXELS=many"):
        decode(encoded("PNG"), "a")


def test_profiles_and_texts_that_unpack_to_much_are_not_unpacked() -> None:
    info = PngImagePlugin.PngInfo()
    info.add(b"iCCP", b"icc\0\0" + zlib.compress(b"\0" * 20_000_000, 9))
    info.add_text("workflow", "x" * 3_000_000, zip=True)
    assert (shown(encoded("PNG", pnginfo=info)) == NOISE).all()


# -- metadata --------------------------------------------------------------------------------------


def test_malformed_headers_refuse_no_sound_image() -> None:
    """All 6 000: ``python -m tests.campaigns headers``."""
    table, wrong = campaign(280, seed=7)
    assert wrong == []
    assert sum(table.values()) == 280
    assert {what for _, _, what in table} >= {"read", "refused"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_as_pillow_applies_it(kind: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = encoded(kind, exif=exif)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(PIL.ImageOps.exif_transpose(opened))
    assert (shown(data) == expected).all()


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_makes_no_sense_turns_nothing(value: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = value
    assert shown(encoded("PNG", exif=exif)).shape == NOISE.shape


def leads_on(data: bytes, at: int) -> bool:
    """Whether segments lead from a place to a scan, by asking each anew."""
    if at + 4 > len(data) or data[at] != 0xFF or not 0xC0 <= data[at + 1] <= 0xFE:
        return False
    return data[at + 1] == 0xDA or leads_on(data, at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big")))


@quick
@given(st.lists(st.sampled_from([b"\xff", b"\xe0", b"\xda", b"\xc4", b"\0", b"\2", b"\5"]), max_size=60))
def test_what_is_kept_of_a_jpegs_segments_is_what_asking_anew_gives(parts: list[bytes]) -> None:
    data, leads = b"".join(parts), {}  # type: ignore[var-annotated]
    assert [containers._leads_on(data, at, leads) for at in range(len(data))] == [
        leads_on(data, at) for at in range(len(data))
    ]


class Counted(bytes):
    """Bytes that count how often one of them, or some, are looked at."""

    looks = 0

    def __getitem__(self, key: Any) -> Any:
        self.looks += 1
        return super().__getitem__(key)


@pytest.mark.parametrize(
    "crafted",
    [
        b"\xff\xe0\0\2" * 2000,
        b"\xff\xe0\0\2" * 2000 + b"\xff\xda\0\2",
        (b"\xff\xda\0\2\xff\xe0\0\5" + b"\xff\xc4\0\2" * 3) * 400,
    ],
)
def test_no_jpeg_takes_more_than_linear_time(crafted: bytes) -> None:
    data = Counted(b"\xff\xd8\xff" + crafted)
    containers.bare(data)
    list(whole._scans(data))
    assert 0 < data.looks < 30 * len(data)


@pytest.mark.parametrize("head", [b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0", b"II*\0", b"MM\0*"])
def test_a_tiff_that_points_beyond_every_file_is_left_as_it_is(head: bytes) -> None:
    data = head + b"\xff" * 64
    assert containers.bare(data) == (data, 1)


def test_a_wrong_length_of_a_jpegs_metadata_does_not_hide_the_picture() -> None:
    data = bytearray(encoded("JPEG", comment=b"a comment", exif=b"Exif\0\0II*\0" + b"\1" * 90))
    expected = shown(bytes(data))
    at = data.index(b"\xff\xe1")
    for length in (2, 3, 40, 60_000):
        data[at + 2 : at + 4] = struct.pack(">H", length)
        assert (shown(bytes(data)) == expected).all(), length
