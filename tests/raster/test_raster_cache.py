"""Windows of a cached raster are those of the raster itself."""

import numpy as np
import pytest

from xcoreg.raster.raster import cache_box, make_raster


@pytest.fixture
def raster(make_image):
    values = np.random.default_rng(0).integers(1, 200, (40, 50)).astype("uint8")
    values[:5] = 0
    return make_raster(make_image(values))


@pytest.mark.parametrize("box", [(2, 9, 3, 12), (-4, 6, -2, 5), (30, 60, 40, 70), (8, 8, 5, 9)])
def test_reads_the_same_windows_within_and_beyond_what_is_held(raster, box):
    cached = cache_box(raster, (0, 20, 0, 20))
    for one, other in zip(cached.read(*box), raster.read(*box), strict=True):
        np.testing.assert_array_equal(one, other)


def test_reads_what_is_held_from_memory_alone(raster, monkeypatch):
    cached = cache_box(raster, (0, 20, 10, 30))
    monkeypatch.setattr("xcoreg.raster.raster.read_boxes", lambda *_: pytest.fail("read again"))
    values, valid = cached.read(6, 16, 12, 30)
    assert values.shape == (10, 18)
    assert valid.all()


def test_cuts_the_box_to_the_image(raster):
    assert cache_box(raster, (-9, 99, 45, 99)).pixels.shape == (40, 5)


def test_takes_every_so_many_pixels(raster):
    box = (6, 20, 3, 17)
    np.testing.assert_array_equal(
        cache_box(raster, (0, 30, 0, 30)).read_raw([box], (3, 2))[0], raster.read_raw([box], (3, 2))[0]
    )
