"""Images as a viewer would show them, decoded lazily and ahead, and files that are no whole image."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from harness.data.images import ImageFile
from harness.data.lazy_images import LazyImages
from harness.errors import InputError
from tests.conftest import save_image

RED, WHITE = (255, 0, 0), (255, 255, 255)


def shown(image: Image.Image, path: Path, **options: object) -> NDArray[np.uint8]:
    """Save an image and return the pixels that the product sees, shape (height, width, 3)."""
    image.save(path, **options)
    return pixels(path)


def pixels(path: Path) -> NDArray[np.uint8]:
    decoded = ImageFile(path).open()
    assert decoded.mode == "RGB"
    return np.asarray(decoded)


def grey16(values: Sequence[int]) -> Image.Image:
    """A 16-bit grey image of one row."""
    return Image.fromarray(np.array([values], dtype=np.uint16))


# -- modes ---------------------------------------------------------------------------------------


def test_rgb_is_left_as_it_is(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", seed=3)
    assert (pixels(tmp_path / "a.png") == np.asarray(Image.open(tmp_path / "a.png"))).all()


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    rgba = np.array([[(255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 128)]], dtype=np.uint8)
    clear, half = shown(Image.fromarray(rgba), tmp_path / "a.png")[0, 1:]
    assert tuple(clear) == WHITE
    assert np.abs(half.astype(int) - 127).max() <= 1


def test_grey_with_transparency_is_laid_over_white(tmp_path: Path) -> None:
    grey = np.array([[(0, 255), (0, 0)]], dtype=np.uint8)
    row = shown(Image.merge("LA", _bands(grey)), tmp_path / "a.png")[0]
    assert [tuple(pixel) for pixel in row] == [(0, 0, 0), WHITE]


def _bands(array: NDArray[np.uint8]) -> list[Image.Image]:
    return [Image.fromarray(np.ascontiguousarray(array[..., i])) for i in range(array.shape[-1])]


@pytest.mark.parametrize("transparency", [1, bytes([255, 0])])
def test_a_transparent_palette_entry_is_white(tmp_path: Path, transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, 0, 0, 0])
    image.putdata([0, 1])
    row = shown(image, tmp_path / "a.png", transparency=transparency)[0]
    assert [tuple(pixel) for pixel in row] == [RED, WHITE]


def test_a_transparent_colour_of_an_rgb_png_is_white(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), (0, 0, 0))
    row = shown(image, tmp_path / "a.png", transparency=(0, 0, 0))[0]
    assert [tuple(pixel) for pixel in row] == [RED, WHITE]


def test_a_palette_without_transparency_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, 10, 20, 30])
    image.putdata([0, 1])
    row = shown(image, tmp_path / "a.gif")[0]
    assert [tuple(pixel) for pixel in row] == [RED, (10, 20, 30)]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = [0, 256, 16384, 32768, 65535]
    row = shown(grey16(values), tmp_path / f"a.{suffix}")[0]
    assert (row == np.round(np.array(values) / 257).astype(np.uint8)[:, None]).all()


def test_a_nearly_black_16_bit_image_stays_nearly_black(tmp_path: Path) -> None:
    assert shown(grey16([0, 100, 200]), tmp_path / "a.png").max() <= 1


def test_8_bit_and_1_bit_grey_become_equal_channels(tmp_path: Path) -> None:
    grey = shown(Image.fromarray(np.array([[0, 90, 255]], dtype=np.uint8)), tmp_path / "a.png")[0]
    assert [tuple(pixel) for pixel in grey] == [(0, 0, 0), (90, 90, 90), WHITE]
    black_and_white = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")
    assert [tuple(p) for p in shown(black_and_white, tmp_path / "b.png")[0]] == [(0, 0, 0), WHITE]


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(shown(image, tmp_path / "a.jpg", quality=95).astype(int) - RED).max() <= 8


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_photographs_are_turned_as_their_exif_says(tmp_path: Path, orientation: int, corner: tuple[int, int]) -> None:
    image = Image.new("RGB", (32, 16), "white")
    image.paste("red", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = shown(image, tmp_path / "a.jpg", exif=exif, quality=95)
    assert seen.shape[:2] == ((16, 32) if orientation in (1, 3) else (32, 16))
    assert np.abs(seen[corner].astype(int) - RED).max() <= 16
    assert seen.reshape(-1, 3).min(axis=1).max() >= 250


@pytest.mark.parametrize("size", [(1, 1), (4000, 30), (30, 4000)])
def test_extreme_shapes_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    seen = shown(Image.new("RGB", size, RED), tmp_path / "a.png")
    assert seen.shape == (size[1], size[0], 3)
    assert (seen == RED).all()


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    assert (shown(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:]) == RED).all()


def test_long_text_in_a_png_does_not_matter(tmp_path: Path) -> None:
    """Generators write their whole settings into the file."""
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a red square, " * 2000)
    assert (shown(Image.new("RGB", (4, 4), RED), tmp_path / "a.png", pnginfo=info) == RED).all()


# -- files that are no whole image ---------------------------------------------------------------


def encoded(kind: str, seed: int = 1) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, kind)
    return stream.getvalue()


BAD = {
    "truncated.png": encoded("PNG")[:4000],
    "headless.png": encoded("PNG")[:20],
    "truncated.jpg": encoded("JPEG")[:2000],
    "truncated.webp": encoded("WEBP")[:1000],
    "text.jpg": b"this is not an image\n",
    "empty.png": b"",
    "flipped.png": encoded("PNG")[:3000] + b"\0\0\0\0" + encoded("PNG")[3004:],
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_whole_image_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD[name])
    with pytest.raises(InputError, match="replace the file, or remove it") as caught:
        ImageFile(tmp_path / name).open()
    assert str(tmp_path / name) in str(caught.value)
    assert ("it is not an image" in str(caught.value)) == (name in ("text.jpg", "empty.png"))


@pytest.mark.parametrize("name", ["truncated.png", "headless.png", "text.jpg", "empty.png", "flipped.png"])
def test_most_of_these_are_refused_before_any_work_begins(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD[name])
    with pytest.raises(InputError, match=name):
        ImageFile(tmp_path / name).digest()


def test_a_vanished_file_is_named(tmp_path: Path) -> None:
    for act in (ImageFile(tmp_path / "gone.png").open, ImageFile(tmp_path / "gone.png").digest):
        with pytest.raises(InputError, match=r"gone\.png: cannot be read"):
            act()


def test_a_photograph_with_a_broken_exif_block_is_still_read(tmp_path: Path) -> None:
    """Viewers ignore what they cannot read there, and photographs from the web often have it."""
    image = Image.new("RGB", (16, 16), RED)
    seen = shown(image, tmp_path / "a.jpg", exif=b"Exif\0\0not a TIFF header at all", quality=95)
    assert np.abs(seen.astype(int) - RED).max() <= 8


def test_equal_bytes_have_equal_digests_and_others_have_not(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", 1)
    save_image(tmp_path / "b.png", 1)
    save_image(tmp_path / "c.png", 2)
    a, b, c = (ImageFile(tmp_path / name).digest() for name in ("a.png", "b.png", "c.png"))
    assert a == b != c


# -- a lazy sequence -----------------------------------------------------------------------------


@dataclass
class Tally:
    """What was opened so far, in any thread."""

    opened: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, number: int) -> None:
        with self.lock:
            self.opened.append(number)


@dataclass(frozen=True)
class Counted:
    """An image source whose one pixel is its number; it fails if it is told to."""

    number: int
    tally: Tally
    fails: bool = False
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"image {self.number}"

    def digest(self) -> str:
        return f"digest {self.number}"

    def open(self) -> Image.Image:
        self.tally.add(self.number)
        time.sleep(self.seconds)
        if self.fails:
            raise InputError(f"{self.name}: cannot be read as an image")
        return Image.new("RGB", (1, 1), (self.number, 0, 0))


def counted(n: int, workers: int = 1, bad: Sequence[int] = (), seconds: float = 0.0) -> tuple[LazyImages, Tally]:
    tally = Tally()
    sources = [Counted(i, tally, i in bad, seconds) for i in range(n)]
    return LazyImages(sources, [source.digest() for source in sources], workers), tally


def number(image: Image.Image) -> int:
    return int(np.asarray(image)[0, 0, 0])


def settle(tally: Tally) -> int:
    """Number of images opened once the threads have come to rest."""
    count = -1
    while count != len(tally.opened):
        count = len(tally.opened)
        time.sleep(0.05)
    return count


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(("n", "size"), [(0, 3), (1, 3), (9, 3), (10, 3), (10, 1), (5, 100)])
def test_batches_come_in_order_and_whole_whatever_the_workers(workers: int, n: int, size: int) -> None:
    images, tally = counted(n, workers)
    expected = [list(range(start, min(start + size, n))) for start in range(0, n, size)]
    assert list(images.batches(number, size)) == expected
    assert sorted(tally.opened) == list(range(n))


def test_slow_first_images_do_not_change_the_order() -> None:
    tally = Tally()
    sources = [Counted(i, tally, seconds=0.03 * (i % 4 == 0)) for i in range(12)]
    images = LazyImages(sources, [s.digest() for s in sources], workers=4)
    assert [n for batch in images.batches(number, 4) for n in batch] == list(range(12))


def test_real_files_give_the_same_pixels_with_any_number_of_workers(tmp_path: Path) -> None:
    files = [ImageFile(tmp_path / f"{i}.png") for i in range(7)]
    for i, file in enumerate(files):
        save_image(file.path, i)
    digests = [file.digest() for file in files]
    one, four = (list(LazyImages(files, digests, workers).batches(np.asarray, 3)) for workers in (1, 4))
    assert all((a == b).all() for x, y in zip(one, four, strict=True) for a, b in zip(x, y, strict=True))
    assert [len(batch) for batch in one] == [3, 3, 1]


def test_nothing_is_opened_until_it_is_asked_for() -> None:
    images, tally = counted(5)
    assert (len(images), list(images.digests)) == (5, [f"digest {i}" for i in range(5)])
    images.take([3, 1])
    batches = images.batches(number, 2)
    assert settle(tally) == 0
    assert (number(images[4]), tally.opened) == (4, [4])
    assert (next(batches), len(tally.opened) > 1) == ([0, 1], True)
    batches.close()


@pytest.mark.parametrize("workers", [1, 4])
def test_at_most_three_batches_are_opened_ahead(workers: int) -> None:
    images, tally = counted(40, workers)
    for used, _ in enumerate(images.batches(number, 4), start=1):
        assert settle(tally) <= 4 * (used + 3)
    assert used == 10


def test_at_most_two_batches_are_in_memory_beside_the_one_in_use() -> None:
    """As the method's own docstring promises."""
    images, tally = counted(40, workers=2)
    batches = images.batches(number, 4)
    next(batches)
    opened = settle(tally)
    batches.close()
    assert opened <= 3 * 4


@pytest.mark.parametrize("workers", [1, 4])
def test_an_image_that_cannot_be_read_raises_its_own_error_after_the_batches_before_it(workers: int) -> None:
    images, tally = counted(100, workers, bad=[5, 6])
    batches = images.batches(number, 2)
    assert [next(batches), next(batches)] == [[0, 1], [2, 3]]
    with pytest.raises(InputError, match=r"^image 5: cannot be read as an image$"):
        next(batches)
    assert settle(tally) < 20


def test_a_truncated_file_among_good_ones_is_named(tmp_path: Path) -> None:
    for i in range(4):
        save_image(tmp_path / f"{i}.png", i)
    (tmp_path / "2.png").write_bytes(BAD["truncated.png"])
    images = LazyImages([ImageFile(tmp_path / f"{i}.png") for i in range(4)], ["?"] * 4, workers=2)
    with pytest.raises(InputError, match=r"2\.png: cannot be read as an image"):
        list(images.batches(np.asarray, 4))


def test_an_error_of_the_transform_arrives_as_it_was_raised() -> None:
    images, _ = counted(4, workers=2)
    with pytest.raises(ZeroDivisionError):
        list(images.batches(lambda image: 1 // number(image), 2))


def test_closing_early_stops_the_loading() -> None:
    images, tally = counted(60, workers=2, seconds=0.01)
    before = set(threading.enumerate())
    batches: Iterator[list[int]] = images.batches(number, 5)
    assert next(batches) == [0, 1, 2, 3, 4]
    batches.close()  # type: ignore[attr-defined]
    at_close = len(tally.opened)
    assert at_close < 20
    assert settle(tally) == at_close
    assert set(threading.enumerate()) <= before


def test_take_gives_the_images_named_in_that_order_with_their_digests() -> None:
    images, tally = counted(6, workers=2)
    chosen = images.take([4, 0, 4])
    assert (len(chosen), list(chosen.digests)) == (3, ["digest 4", "digest 0", "digest 4"])
    assert tally.opened == []
    assert list(chosen.batches(number, 2)) == [[4, 0], [4]]
    assert [number(image) for image in chosen.take([1])] == [0]


def test_images_can_be_walked_more_than_once() -> None:
    images, _ = counted(3)
    assert list(images.batches(number, 2)) == list(images.batches(number, 2)) == [[0, 1], [2]]


def test_a_batch_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        next(counted(3)[0].batches(number, 0))
