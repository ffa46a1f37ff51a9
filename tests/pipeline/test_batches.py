"""Batches come in order, ahead of their use, on the device; nothing is left running."""

import threading
import time

import numpy as np
import pytest
import torch

from harness.pipeline import PixelStore, ahead, device_batches
from harness.plugin import Context
from tests.pipeline.pictures import as_array, drawn


def _running() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("harness-")}


@pytest.mark.parametrize("kind", [as_array, lambda image: torch.from_numpy(as_array(image)).float()])
def test_batches_are_the_images_in_order(kind):
    images = drawn(11)
    batches = list(device_batches(images, kind, 4, "cpu"))
    assert [len(batch) for batch in batches] == [4, 4, 3]
    assert np.array_equal(torch.cat(batches).numpy(), np.stack([np.asarray(kind(images[i])) for i in range(11)]))


def test_no_images_make_no_batch():
    assert list(device_batches(drawn(0), as_array, 4, "cpu")) == []


def test_the_next_is_prepared_while_the_first_is_in_use():
    second = threading.Event()

    def prepare(number: int) -> int:
        if number == 1:
            second.set()
        return number

    items = ahead(iter(range(4)), prepare)
    assert next(items) == 0
    assert second.wait(10)  # nobody has asked for it
    assert list(items) == [1, 2, 3]


def test_no_more_than_two_wait():
    made, third = [], threading.Event()

    def prepare(number: int) -> None:
        made.append(number)
        if number == 2:
            third.set()

    items = ahead(range(100), prepare)
    next(items)
    assert third.wait(10)
    time.sleep(0.05)
    assert made == [0, 1, 2]
    items.close()


def test_what_goes_wrong_is_raised_in_its_turn_and_leaves_no_thread():
    before = _running()

    def transform(image):
        pixels = as_array(image)
        if np.array_equal(pixels, bad):
            raise ValueError("the sixth")
        return pixels

    images = drawn(12)
    bad = as_array(images[5])
    batches = device_batches(images, transform, 2, "cpu")
    assert len(next(batches)) == 2
    assert len(next(batches)) == 2
    with pytest.raises(ValueError, match="the sixth"):
        next(batches)
    assert _running() == before


def test_a_caller_may_stop_early():
    before, closed = _running(), threading.Event()

    class Endless:
        def batches(self, transform, batch_size):
            try:
                while True:
                    yield [np.zeros(3, dtype=np.uint8)] * batch_size
            finally:
                closed.set()

    batches = device_batches(Endless(), as_array, 4, "cpu")
    next(batches)
    batches.close()
    assert closed.is_set()
    assert _running() == before


ORDER = np.array([[5, 0, 3], [1, 1, 6], [2, 4, 0]])


@pytest.mark.parametrize("limit", [0, 1])
def test_a_store_gives_rows_in_any_order_kept_or_not(tmp_path, limit):
    images = drawn(7)
    store = PixelStore(Context(tmp_path), images, as_array, 3 * 24 * 24, limit)
    all_pixels = np.stack([as_array(images[i]) for i in range(7)])
    assert len(store) == 7
    for row, batch in zip(ORDER, store.batches(ORDER), strict=True):
        assert np.array_equal(batch.numpy(), all_pixels[row])
    assert [len(batch) for batch in store.in_order(3)] == [3, 3, 1]
    assert np.array_equal(torch.cat(list(store.in_order(3))).numpy(), all_pixels)


def test_a_store_decodes_once_what_it_keeps_and_anew_what_it_does_not(tmp_path):
    decoded = []

    def counted(image):
        decoded.append(1)
        return as_array(image)

    for limit, expected in ((1, 7), (0, 18)):
        decoded.clear()
        store = PixelStore(Context(tmp_path), drawn(7), counted, 3 * 24 * 24, limit)
        for _ in range(2):
            list(store.batches(ORDER))
        assert len(decoded) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_given_the_same_bytes_however_slowly_it_takes_them(tmp_path):
    images = drawn(97)
    expected = np.stack([as_array(images[i]) for i in range(97)])
    busy = torch.ones(2048, 2048, device="cuda")
    found = []
    for batch in device_batches(images, as_array, 8, "cuda"):
        for _ in range(20):  # the card is behind: buffers must not be written before they were read
            busy = busy @ busy * 1e-4
        found.append(batch + (busy[0, 0] * 0).to(torch.uint8))
    assert np.array_equal(torch.cat(found).cpu().numpy(), expected)
    for limit in (0, 1):
        store = PixelStore(Context(tmp_path, requested_device="cuda"), images, as_array, 3 * 24 * 24, limit)
        for row, batch in zip(ORDER, store.batches(ORDER), strict=True):
            assert batch.device.type == "cuda"
            assert np.array_equal(batch.cpu().numpy(), expected[row])
