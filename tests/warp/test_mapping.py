"""The composed map: exact where it must be, close everywhere, and the same whatever block is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg.core.models import Translation
from xcoreg.warp.apply import apply
from xcoreg.warp.mapping import TOLERANCE, Mapping, compose, outline
from xcoreg.warp.plan import Displacement


def make_grid(transform, shape, crs):
    return GeoBox(shape, Affine(*transform), crs)


UTM33, UTM32, DEGREES = "EPSG:32633", "EPSG:32632", "EPSG:4326"
SOURCE = make_grid((10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0), (1000, 1200), UTM33)


@dataclass(frozen=True)
class Wave:
    """A smooth field: up to 25 m, wave length about 4 km."""

    kind: ClassVar[str] = "wave"
    size: float = 25.0

    def predict(self, x, y):
        x, y = np.asarray(x), np.asarray(y)
        return self.size * np.sin(y / 700), self.size * np.cos(x / 600) + 3


def no_displacement(source=SOURCE):
    return Displacement.of(Translation(0.0, 0.0), source.crs, source)


def block_of(mapping, rows, cols):
    return np.stack(mapping.positions(slice(*rows), slice(*cols)))


@pytest.mark.parametrize(
    "out",
    [
        make_grid((10.0, 0.0, 700700.0, 0.0, -10.0, 5900000.0), (900, 1100), UTM32),
        make_grid((0.0001, 0.0, 12.01, 0.0, -0.0001, 53.2), (900, 1700), DEGREES),
        make_grid((300.0, 0.0, 4400000.0, 0.0, -300.0, 3400000.0), (400, 500), "EPSG:3035"),
    ],
    ids=["zone", "degrees", "laea"],
)
def test_another_crs_is_followed_within_tolerance(out):
    mapping = compose(out, SOURCE, no_displacement())
    full = block_of(mapping, (0, out.shape[0]), (0, out.shape[1]))
    exact = np.stack(mapping.exact(np.arange(out.shape[0])[:, None], np.arange(out.shape[1])))
    near = (exact[0] > 0) & (exact[0] < 1000) & (exact[1] > 0) & (exact[1] < 1200)
    assert near.any()
    assert np.abs(full - exact)[:, near].max() < 1.5 * TOLERANCE * min(mapping.scale)


def test_a_block_does_not_depend_on_its_neighbours():
    out = make_grid((10.0, 0.0, 700700.0, 0.0, -10.0, 5900000.0), (300, 300), UTM32)
    mapping = compose(out, SOURCE, Displacement.of(Wave(), UTM33, SOURCE))
    full = block_of(mapping, (0, 300), (0, 300))
    for rows, cols in (((0, 64), (0, 64)), ((63, 129), (1, 2)), ((100, 300), (37, 211))):
        assert np.array_equal(block_of(mapping, rows, cols), full[:, slice(*rows), slice(*cols)])


def test_a_field_is_undone_exactly():
    move = Displacement.of(Wave(), UTM33, SOURCE)
    x, y = np.meshgrid(np.linspace(300000, 312000, 50), np.linspace(5890000, 5900000, 50))
    dx, dy = Wave().predict(x, y)
    back_x, back_y = move.invert(x + dx, y + dy)
    np.testing.assert_allclose(back_x, x, atol=1e-6)
    np.testing.assert_allclose(back_y, y, atol=1e-6)


def test_a_field_of_the_fit_is_seen_from_another_crs():
    image = make_grid((0.0001, 0.0, 12.01, 0.0, -0.0001, 53.2), (300, 300), DEGREES)
    move = Displacement.of(Wave(), UTM33, image)
    dlon, dlat = move.at(np.array([12.02]), np.array([53.19]))
    assert move.constant is None
    assert 0 < abs(dlon[0]) < 25 / 60000
    assert 0 < abs(dlat[0]) < 28 / 110000


def test_a_field_gets_a_lattice_fine_enough():
    mapping = compose(SOURCE, SOURCE, Displacement.of(Wave(), UTM33, SOURCE))
    rows, cols = np.arange(400.0, 500)[:, None], np.arange(300.0, 420)
    exact = np.stack(mapping.exact(rows, cols))
    assert np.abs(block_of(mapping, (400, 500), (300, 420)) - exact).max() < 1.5 * TOLERANCE


@pytest.mark.parametrize("size", [0.0, 25.0])
def test_applying_a_field_interpolates_once_onto_the_own_grid(make_image, make_fit, size):
    row, col = np.mgrid[:150, :160].astype(float)
    image = make_image(np.sin(row / 9) + np.cos(col / 11))
    out = apply(image, make_fit(model=Wave(size=size)))
    x, y = np.meshgrid(image.x, image.y)
    move = Displacement.of(Wave(size=size), UTM33, _grid_of(image))
    back_x, back_y = move.invert(x, y)
    row, col = (image.y.values[0] - back_y) / 10, (back_x - image.x.values[0]) / 10
    inside = (row > 2) & (row < 147) & (col > 2) & (col < 157)
    np.testing.assert_allclose(out.values[inside], (np.sin(row / 9) + np.cos(col / 11))[inside], atol=2e-3)


@pytest.mark.parametrize("chunks", [150, 64, 37])
def test_a_field_is_applied_lazily_with_the_same_bits(make_image, make_fit, chunks):
    values = np.random.default_rng(0).normal(size=(150, 160))
    fit = make_fit(model=Wave())
    expected = apply(make_image(values), fit)
    lazy = apply(make_image(values).chunk(chunks), fit)
    assert lazy.chunks is not None
    assert np.array_equal(lazy.values, expected.values, equal_nan=True)


def test_parallel_grids_are_separable_and_steps_are_clean():
    out = make_grid((20.0, 0.0, 300010.0, 0.0, 20.0, 5895000.0), (200, 300), UTM33)
    mapping = compose(out, SOURCE, no_displacement())
    assert mapping.is_parallel
    assert not mapping.copies_pixels
    assert mapping.matrix == (2.0, 0.0, 1.5, 0.0, -2.0, pytest.approx(502.5))
    assert mapping.scale == (2.0, 2.0)


def test_round_off_of_the_transforms_hides_no_whole_pixels():
    third = 1 / 3
    source = make_grid((third, 0.0, 12.0, 0.0, -third, 53.0), (1000, 1000), UTM33)
    out = make_grid((third, 0.0, 12.0 + 7 * third, 0.0, -0.33333333333, 53.0 - 11 * third), (900, 900), UTM33)
    mapping = compose(out, source, no_displacement(source))
    assert mapping.copies_pixels
    rows, cols = mapping.axes(slice(0, 3), slice(0, 3))
    assert (rows.tolist(), cols.tolist()) == ([11.0, 12.0, 13.0], [7.0, 8.0, 9.0])


def test_a_small_change_of_scale_is_no_reason_to_blur():
    out = make_grid((10.5, 0.0, 300000.0, 0.0, -12.0, 5900040.0), (100, 100), UTM33)
    assert compose(out, SOURCE, no_displacement()).scale == (pytest.approx(1.2), 1.0)


@pytest.mark.parametrize(
    "out",
    [
        make_grid((10.0, 0.0, 299000.0, 0.0, -10.0, 5901000.0), (1300, 1500), UTM33),
        make_grid((9.0, 2.0, 299000.0, 2.0, -9.0, 5899000.0), (1300, 1500), UTM33),
        make_grid((10.0, 0.0, 700000.0, 0.0, -10.0, 5901000.0), (1300, 1500), UTM32),
    ],
    ids=["axes", "affine", "lattice"],
)
def test_the_window_of_a_block_holds_its_positions_and_little_more(out):
    mapping = compose(out, SOURCE, no_displacement())
    for rows, cols in ((slice(0, 256), slice(0, 256)), (slice(512, 768), slice(512, 700)), (slice(1200, 1300),) * 2):
        row0, row1, col0, col1 = mapping.window(rows, cols, 3)
        row, col = mapping.positions(rows, cols)
        inside = (row > -0.5) & (row < 999.5) & (col > -0.5) & (col < 1199.5)
        if not inside.any():
            continue
        assert row0 <= max(row[inside].min() - 3, 0) + 1
        assert row1 >= min(row[inside].max() + 3, 1000)
        assert col0 <= max(col[inside].min() - 3, 0) + 1
        assert col1 >= min(col[inside].max() + 3, 1200)
        assert (row1 - row0) * (col1 - col0) < 2.5 * 270 * 270


def test_a_window_beside_the_image_is_empty():
    out = make_grid((10.0, 0.0, 290000.0, 0.0, -10.0, 5910000.0), (3000, 3000), UTM33)
    assert compose(out, SOURCE, no_displacement()).window(slice(0, 100), slice(0, 100), 3) == (0, 0, 0, 0)


def test_places_without_an_image_in_the_other_crs_are_missing():
    # A grid of the whole world around a small image: poles have no place in a transverse Mercator map.
    world = make_grid((1.0, 0.0, -180.0, 0.0, -1.0, 90.0), (180, 360), DEGREES)
    mapping = compose(world, SOURCE, no_displacement())
    row, col = mapping.positions(slice(0, 180), slice(0, 360))
    inside = (row > -0.5) & (row < 999.5) & (col > -0.5) & (col < 1199.5)
    assert not inside[:30].any()
    assert inside.sum() <= 1


def test_covered_means_every_pixel_falls_on_the_image():
    assert compose(SOURCE, SOURCE, no_displacement()).is_covered
    assert not compose(SOURCE, SOURCE, Displacement.of(Translation(6.0, 0.0), UTM33, SOURCE)).is_covered
    assert compose(SOURCE, SOURCE, Displacement.of(Translation(5.0, 0.0), UTM33, SOURCE)).is_covered


def test_nothing_in_common_is_no_map():
    assert compose(make_grid((10.0, 0.0, 0.0, 0.0, -10.0, 0.0), (9, 9), UTM33), SOURCE, no_displacement()) is None


def test_a_lattice_has_no_axes():
    with pytest.raises(ValueError, match="no matrix"):
        Mapping(SOURCE, SOURCE, no_displacement()).axes(slice(0, 1), slice(0, 1))


def test_outline_reaches_the_edges():
    row, col = outline((10, 20))
    assert (row.min(), row.max(), col.min(), col.max()) == (-0.5, 9.5, -0.5, 19.5)


def _grid_of(image):
    from xcoreg.raster.grid import grid_of

    return grid_of(image)
