"""Positions between nodes are those of the exact map."""

import numpy as np
import pytest

from xcoreg.georef import transform_points, vector_to_map
from xcoreg.matching.cutter import scale_of, window_nodes, window_positions

LINEAR = (10.0, 0.0, 0.0, -10.0)
CENTRES = np.array([300000.0, 420000.0]), np.array([5900000.0, 5800000.0])


def into(crs, step):
    def own(x, y):
        to_x, to_y = transform_points("EPSG:32633", crs, np.ravel(x), np.ravel(y))
        return (to_y / -step).reshape(np.shape(x)), (to_x / step).reshape(np.shape(x))

    return own


@pytest.mark.parametrize(("crs", "step"), [("EPSG:32632", 10.0), ("EPSG:4326", 1e-4), ("EPSG:3035", 30.0)])
@pytest.mark.parametrize("size", [16, 65, 512])
def test_positions_are_exact_to_a_thousandth_of_a_pixel(crs, step, size):
    own = into(crs, step)
    rows, cols = window_positions(CENTRES, LINEAR, size, own)
    pixel = np.arange(size) - (size - 1) / 2
    dx, dy = vector_to_map(LINEAR, pixel[None, :], pixel[:, None])
    for i in range(2):
        row, col = own(CENTRES[0][i] + dx, CENTRES[1][i] + dy)
        assert np.abs(rows[i] - row).max() < 1e-3
        assert np.abs(cols[i] - col).max() < 1e-3


def test_where_a_crs_ends_every_pixel_is_asked_for():
    def own(x, y):
        return np.where(x > 300040, np.nan, y), x

    rows, _ = window_positions((CENTRES[0][:1], CENTRES[1][:1]), LINEAR, 16, own)
    assert np.isnan(rows[0, :, 12:]).all()
    assert np.isfinite(rows[0, :, :11]).all()


def test_scale_comes_from_nodes():
    rows, cols = window_nodes(CENTRES, LINEAR, 129, lambda x, y: (y / -5, x / 2.5))
    np.testing.assert_allclose(scale_of(rows[0], cols[0], 129), (2.0, 4.0))
