"""Rows come in order, each from its image alone, with as much on the device as it holds."""

import numpy as np
import pytest
import torch

from harness.pipeline import image_rows
from tests.pipeline.pictures import as_array, drawn


def _forward(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float().mean(dim=(2, 3))


def _rows(images, **options) -> np.ndarray:
    options = {"batch_size": 8, "device": "cpu", **options}
    (rows,) = image_rows(images, as_array, options.pop("forward", _forward), **options)
    return rows


def test_rows_are_the_images_in_order():
    images = drawn(21)
    expected = np.stack([as_array(images[i]).astype(np.float64).mean(axis=(1, 2)) for i in range(21)])
    rows = _rows(images)
    assert rows.dtype == np.float32
    assert np.allclose(rows, expected, atol=1e-3)


def test_several_outputs_stay_apart():
    found = image_rows(drawn(9), as_array, lambda p: (_forward(p), _forward(p)[:, :1]), batch_size=4, device="cpu")
    assert [rows.shape for rows in found] == [(9, 3), (9, 1)]
    assert np.array_equal(found[0][:, :1], found[1])


@pytest.mark.parametrize(("filled", "sizes"), [(False, [8, 8, 5]), (True, [8, 8, 8])])
def test_batches_are_filled_up_where_that_is_asked_for(filled, sizes):
    seen = []

    def forward(pixels):
        seen.append(len(pixels))
        return _forward(pixels)

    assert len(_rows(drawn(21), forward=forward, filled=filled)) == 21
    assert seen == sizes


def test_the_smallest_batches_are_filled_up_always():
    seen = []

    def forward(pixels):
        seen.append(len(pixels))
        return _forward(pixels)

    assert len(_rows(drawn(1), forward=forward)) == 1
    assert len(_rows(drawn(9), forward=forward)) == 9
    assert seen == [4, 8, 4]


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    tried = []

    def forward(pixels):
        tried.append(len(pixels))
        if len(pixels) > 5:
            raise torch.cuda.OutOfMemoryError("no room")
        return _forward(pixels)

    images = drawn(40)
    rows = _rows(images, forward=forward, batch_size=32)
    assert np.array_equal(rows, _rows(images))
    assert tried == [32, 16, 8, *[4] * 8, 4, 4]  # found once; the second batch begins with what fitted


def test_what_never_fits_is_an_error():
    def forward(pixels):
        raise torch.cuda.OutOfMemoryError("no room")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        _rows(drawn(9), forward=forward)


def test_no_gradients_are_recorded():
    weight = torch.ones(3, requires_grad=True)
    seen = []

    def forward(pixels):
        rows = _forward(pixels) * weight
        seen.append(rows.requires_grad)
        return rows

    _rows(drawn(9), forward=forward)
    assert seen == [False, False]
