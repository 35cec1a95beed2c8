"""Geolocation arrays against the map they were made of."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from xcoreg.errors import OptionError
from xcoreg.georef import GeolocationGround

SHAPE = (500, 300)


def swath(col, row):
    """A curved swath over the antimeridian."""
    u, v = (np.asarray(col) - 150) / 300, np.asarray(row) / 500
    lat = -20 + 6 * v + 0.7 * u - 0.4 * u * u
    lon = 178 + 2 * u / np.cos(np.radians(lat)) + v + 0.2 * u**3 + 0.1 * u * v
    return (lon + 180) % 360 - 180, lat


def polar(col, row):
    """A swath over the pole."""
    x, y = 9e3 * (np.asarray(col) - 150) + 4 * np.asarray(row), 8e3 * (np.asarray(row) - 250)
    return np.degrees(np.arctan2(x, -y)), 90 - np.degrees(np.hypot(x, y) / 6371e3)


def nodes(path, step=1, beyond=0):
    row, col = (np.arange(0, size + beyond, step, dtype=float) for size in SHAPE)
    return path(*np.meshgrid(col, row))


def places(seed=0, n=3000):
    return np.random.default_rng(seed).uniform(-0.5, [[SHAPE[1] - 0.5], [SHAPE[0] - 0.5]], (2, n))


@pytest.mark.parametrize("path", [swath, polar])
@pytest.mark.parametrize("rows", [1, -1])
@pytest.mark.parametrize("cols", [1, -1])
def test_both_ways_over_antimeridian_and_pole(path, rows, cols):
    ground = GeolocationGround(*(array[::rows, ::cols] for array in nodes(path)))
    col, row = places()
    x, y = path(col if cols > 0 else SHAPE[1] - 1 - col, row if rows > 0 else SHAPE[0] - 1 - row)
    assert np.hypot(*np.subtract(ground.to_pixel(x, y), (col, row))).max() < 0.01
    again = ground.to_pixel(*ground.to_map(col, row))
    np.testing.assert_allclose(again, (col, row), atol=1e-5)


@pytest.mark.parametrize(("step", "worst"), [(5, 0.02), (16, 0.05), (32, 0.1)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_subsampled_grids(step, worst, dtype):
    x, y = (array.astype(dtype) for array in nodes(swath, step))
    col, row = places()
    found = GeolocationGround(x, y, step=(step, step)).to_pixel(*swath(col, row))
    assert np.hypot(*np.subtract(found, (col, row))).max() < worst


def test_longitudes_do_not_jump_and_turns_do_not_matter():
    ground = GeolocationGround(*nodes(swath))
    lon, lat = ground.to_map(*places())
    assert np.ptp(lon) < 10
    np.testing.assert_allclose(ground.to_pixel(lon + 360, lat), ground.to_pixel(lon, lat), atol=1e-6)


def test_the_other_side_of_the_earth_has_no_pixel_here():
    col, row = GeolocationGround(*nodes(swath)).to_pixel([0.0, -2.0, np.nan], [20.0, 14.0, 0.0])
    inside = (np.abs(col - 150) < 151) & (np.abs(row - 250) < 251)
    assert not inside.any()


def test_masked_pixels_have_no_place_and_do_not_matter():
    x, y = nodes(swath)
    unknown = np.zeros(SHAPE, bool)
    unknown[:, :20], unknown[200:230, 100:140] = True, True
    unknown[np.random.default_rng(1).integers(0, 500, 200), np.random.default_rng(2).integers(0, 300, 200)] = True
    ground = GeolocationGround(np.where(unknown, np.nan, x), np.where(unknown, -9999.0, y))
    col, row = places()
    found = ground.to_pixel(*swath(col, row))
    lost = unknown[np.rint(row).astype(int).clip(0, 499), np.rint(col).astype(int).clip(0, 299)]
    edge = np.abs(np.stack([col, row]) % 1 - 0.5).min(axis=0) < 0.02
    np.testing.assert_array_equal(np.isnan(found[0])[~edge], lost[~edge])
    assert np.hypot(*np.subtract(found, (col, row)))[~lost & ~edge].max() < 0.02
    assert np.isnan(ground.to_map(5, 5)[0])


def bow_tie(x, y):
    """Scans of ten rows, each of which begins two rows before the end of the one before."""
    row = np.arange(SHAPE[0])
    back = row - 2 * (row // 10)
    return x[back], y[back]


REFUSED = {
    "bow tie": bow_tie,
    "repeated row": lambda x, y: (np.vstack([x, x[-1:]]), np.vstack([y, y[-1:]])),
    "fill values": lambda x, y: (np.where(np.arange(300) < 3, 150.0, x), np.where(np.arange(300) < 3, 0.0, y)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_arrays_that_fold(kind):
    with pytest.raises(OptionError, match=r"fold over themselves.*row \d+.*resample the swath"):
        GeolocationGround(*REFUSED[kind](*nodes(swath)))


def test_arrays_that_cannot_be_used():
    x, y = nodes(swath)
    with pytest.raises(OptionError, match="of one shape"):
        GeolocationGround(x, y[1:])
    with pytest.raises(OptionError, match=r"3% of the geolocation arrays"):
        GeolocationGround(np.where(np.arange(300) < 10, x, np.nan), y)
    with pytest.raises(OptionError, match="around the Earth"):
        GeolocationGround(*np.meshgrid(np.linspace(-179, 179, 90), np.linspace(80, -80, 40)))


def test_a_ground_travels():
    ground = GeolocationGround(*nodes(swath))
    again = pickle.loads(pickle.dumps(ground))
    np.testing.assert_array_equal(again.to_map(10, 20), ground.to_map(10, 20))
    assert again.__dask_tokenize__() == ground.__dask_tokenize__()
