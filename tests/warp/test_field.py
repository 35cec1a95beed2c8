"""Warping by fields of displacements: what must come back bit by bit, and what must be right."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import dask
import dask.array as da
import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import binary_erosion

from xcoreg.core.kernels import KERNELS
from xcoreg.core.models import KINDS, fit_model
from xcoreg.errors import CoregWarning, Extrapolation
from xcoreg.warp.apply import apply
from xcoreg.warp.mapping import TOLERANCE, compose
from xcoreg.warp.plan import Displacement

INTERPOLATING = [name for name in KERNELS if name != "cubic_spline"]  # a B-spline smooths


def make_grid(transform, shape, crs):
    return GeoBox(shape, Affine(*transform), crs)


UTM32 = "EPSG:32632"
DTYPES = ("uint8", "uint16", "int16", "float32", "float64")
SHAPE = (130, 150)


@dataclass(frozen=True)
class Flat:
    """The same correction everywhere, from a model that does not say so."""

    dx: float = 0.0
    dy: float = 0.0
    kind: ClassVar[str] = "flat"

    def predict(self, x, y):
        shape = np.broadcast_shapes(np.shape(x), np.shape(y))
        return np.full(shape, self.dx), np.full(shape, self.dy)


@dataclass(frozen=True)
class Wave:
    """A smooth field of up to `size` metres."""

    size: float = 25.0
    length: float = 300.0
    sign: float = 1.0
    kind: ClassVar[str] = "wave"

    def predict(self, x, y):
        x, y = np.asarray(x) - 300000, np.asarray(y) - 5900000
        return self.size * np.sin(y / self.length + 1), self.size * np.cos(x / self.length)


@dataclass(frozen=True)
class Back:
    """Undoes a field: from where it has carried a place, back to the place."""

    field: Wave
    kind: ClassVar[str] = "back"

    def predict(self, x, y):
        to_x, to_y = np.asarray(x, float), np.asarray(y, float)
        for _ in range(60):
            dx, dy = self.field.predict(to_x, to_y)
            to_x, to_y = x - dx, y - dy
        return to_x - x, to_y - y


@dataclass(frozen=True)
class Pieces:
    """Whole-pixel steps."""

    kind: ClassVar[str] = "pieces"

    def predict(self, x, y):
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        return np.where(x > 300705, 30.0, -20.0), np.where(y > 5899400, 0.0, 50.0)


@dataclass(frozen=True)
class Known(Flat):
    """Knows a place West of a line, and beyond it to so many m."""

    line: float = 0.0
    sigma: float = 10.0

    def predict_cov(self, x, y):
        return np.broadcast_to(np.eye(2) * self.sigma**2, (*np.shape(x), 2, 2))

    def extrapolates(self, x, y):
        return np.broadcast_arrays(np.asarray(x) > self.line, y)[0]


def pixels(dtype, shape=SHAPE):
    """Noise over the whole range, NaN and infinities of all kinds among floats."""
    rng = np.random.default_rng(5)
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, endpoint=True).astype(dtype)
    values = rng.normal(size=shape).astype(dtype)
    odd = rng.random(shape)
    for share, value in ((0.01, np.nan), (0.02, np.inf), (0.03, -np.inf), (0.05, -9999.0), (0.07, -0.0)):
        values[(odd < share) & (odd > share - 0.01)] = value
    return values


def as_chunks(image, chunks):
    return image if chunks is None else image.chunk(dict(zip(image.dims[-2:], chunks, strict=True)))


@pytest.mark.parametrize("kernel", INTERPOLATING)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("marker", [None, 0, -9999.0])
@pytest.mark.parametrize("chunks", [None, (37, 53)])
def test_no_displacement_returns_the_input_bit_by_bit(make_image, make_fit, kernel, dtype, marker, chunks):
    if marker == -9999.0 and dtype[0] in "ui":
        marker = None
    values = pixels(dtype)
    attrs = {} if marker is None else {"_FillValue": np.dtype(dtype).type(marker)}
    out = apply(as_chunks(make_image(values, attrs=attrs), chunks), make_fit(model=Flat()), resampling=kernel)
    assert out.dtype == dtype
    assert out.values.tobytes() == values.tobytes()


@pytest.mark.parametrize("kernel", INTERPOLATING)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chunks", [None, (37, 53)])
def test_whole_pixels_are_shifted_bit_by_bit(make_image, make_fit, kernel, dtype, chunks):
    values = pixels(dtype)
    image = make_image(values, attrs={"_FillValue": np.dtype(dtype).type(0)})
    out = apply(as_chunks(image, chunks), make_fit(model=Flat(30.0, 20.0)), resampling=kernel).values
    assert out[:-2, 3:].tobytes() == values[2:, :-3].tobytes()
    assert not out[-2:].any()
    assert not out[:, :3].any()


@pytest.mark.parametrize("kernel", ["cubic", "lanczos"])
def test_integers_beyond_floats_are_kept_where_pixels_stay_whole(make_image, make_fit, kernel):
    values = np.random.default_rng(0).integers(2**60, 2**62, SHAPE)
    image = make_image(values, attrs={"_FillValue": np.int64(0)})
    assert np.array_equal(apply(image, make_fit(model=Flat()), resampling=kernel).values, values)


@pytest.mark.parametrize("chunks", [None, (37, 53)])
def test_steps_by_whole_pixels_are_bitwise_inside_of_the_pieces(make_image, make_fit, chunks):
    values = pixels("uint16")
    image = make_image(values, attrs={"_FillValue": np.uint16(0)})
    with pytest.warns(CoregWarning, match="is torn on about 3"):
        out = apply(as_chunks(image, chunks), make_fit(model=Pieces())).values
    # Pieces end at column 70 and below row 63; two rows or columns around the seams belong to neither.
    assert np.array_equal(out[8:60, 5:65], values[8:60, 7:67])
    assert np.array_equal(out[8:60, 80:], values[8:60, 77:-3])
    assert np.array_equal(out[70:120, 80:], values[75:125, 77:-3])


def test_there_and_back_again_costs_what_two_half_pixel_shifts_cost(make_image, make_fit):
    row, col = np.mgrid[:300, :320]
    scene = np.random.default_rng(1).normal(size=(300, 320))
    for axis in (0, 1):
        scene = sum(np.roll(scene, step, axis) * weight for step, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)))
    image = make_image(scene + np.sin(row / 9) + np.cos(col / 11))

    def error(there, back):
        again = apply(apply(image, make_fit(model=there)), make_fit(model=back), force=True)
        return float(np.sqrt(np.mean((again.values - image.values)[10:-10, 10:-10] ** 2)))

    field = Wave(25.0, 700.0)
    # A half pixel is the worst of all shifts: a field, which has all of them, must do better.
    assert error(field, Back(field)) < error(Flat(5.0, 5.0), Flat(-5.0, -5.0))


@pytest.mark.parametrize("to", ["own", "like", "resolution", "zone"])
@pytest.mark.parametrize("kernel", [pytest.param("nearest", marks=pytest.mark.slow), "cubic"])
def test_bytes_do_not_depend_on_chunks(make_image, make_fit, to, kernel):
    values = pixels("uint16", (1100, 1150))
    values[np.add.outer(np.arange(1100), 2 * np.arange(1150)) > 2600] = 0
    image = make_image(values, attrs={"_FillValue": np.uint16(0)})
    like = make_image(np.zeros((900, 1000), "u1"), Affine(10, 0, 300523, 0, -10, 5899011))
    zone = make_image(np.zeros((1000, 1000), "u1"), Affine(10, 0, 701000, 0, -10, 5903000), crs=UTM32)
    how = {"own": {}, "like": {"like": like}, "resolution": {"resolution": 13.0}, "zone": {"like": zone}}[to]
    fit = make_fit(model=Wave(25.0, 900.0))
    expected = apply(image, fit, resampling=kernel, **how).values
    assert (expected > 0).mean() > 0.3
    for chunks in ((256, 256), (500, 500), (1000, 1000), (2048, 2048), (333, 1150)):
        lazy = apply(as_chunks(image, chunks), fit, resampling=kernel, **how)
        assert lazy.values.tobytes() == expected.tobytes(), chunks


def test_bytes_do_not_depend_on_the_scheduler(make_image, make_fit):
    image = make_image(pixels("float32", (400, 600)))
    fit = make_fit(model=Wave())
    expected = apply(image, fit).values.tobytes()
    lazy = apply(image.chunk(256), fit)
    for how in ({"scheduler": "sync"}, {"scheduler": "threads"}, {"scheduler": "processes", "num_workers": 2}):
        with dask.config.set(**how):
            assert lazy.values.tobytes() == expected


def test_a_chunk_asks_for_the_block_it_needs_and_no_more(make_image, make_fit):
    boxes = []

    def watched(block, block_info=None):
        boxes.append(block_info[0]["array-location"])
        return block

    data = da.zeros((1024, 1024), chunks=32, dtype="u2")
    image = make_image(da.map_blocks(watched, data, dtype="u2", meta=np.empty((0, 0), "u2")))
    image.attrs["_FillValue"] = np.uint16(0)
    lazy = apply(image, make_fit(model=Flat(35.0, 15.0)))
    with dask.config.set(scheduler="sync"):
        lazy.data.blocks[1, 2].compute()
    wanted = lazy.chunks[0][0], sum(lazy.chunks[1][:2]), lazy.chunks[1][2]
    rows = [span for box in boxes for span in box[0]]
    cols = [span for box in boxes for span in box[1]]
    # Positions are 1.5 px below and 3.5 px to the left; cubic reaches two pixels, one more is spare.
    assert min(rows) >= (wanted[0] - 3) // 32 * 32
    assert max(rows) <= -(-(wanted[0] + lazy.chunks[0][1] + 6) // 32) * 32
    assert min(cols) >= (wanted[1] - 8) // 32 * 32
    assert max(cols) <= -(-(wanted[1] + wanted[2] + 1) // 32) * 32
    assert len(boxes) == len(set(map(str, boxes)))


@pytest.mark.parametrize("reader", ["numpy", "dask"])
def test_a_field_of_many_pixels_is_undone_at_the_output(make_image, make_fit, reader):
    row, col = np.mgrid[:600, :700].astype(float)
    image = make_image(np.hypot(row, col).astype("f8"))
    field = Wave(200.0, 800.0)  # 20 px over 500 px
    out = apply(image if reader == "numpy" else image.chunk(256), make_fit(model=field), resampling="cubic").values
    dx, dy = Back(field).predict(*np.meshgrid(image.x, image.y))
    wanted = np.hypot(row - dy / 10, col + dx / 10)
    inside = binary_erosion(np.isfinite(out), np.ones((9, 9)))  # at the rim cubic gives way to a mean
    inside[:60, :60] = False  # where the distance is not smooth
    assert inside.mean() > 0.85
    # A position wrong by 0.002 px along rows and columns is wrong by no more in distance.
    assert np.abs(out - wanted)[inside].max() < 0.003


def test_a_field_that_folds_warns(make_image, make_fit):
    image = make_image(pixels("uint16"), attrs={"_FillValue": np.uint16(0)})
    with pytest.warns(CoregWarning, match=r"folds over itself or is torn on about \d+\.\d% of the output"):
        out = apply(image, make_fit(model=Wave(100.0, 50.0)))
    assert out.values.any()


def test_a_field_that_does_not_fold_is_not_scolded(make_image, make_fit):
    image = make_image(pixels("uint16"), attrs={"_FillValue": np.uint16(0)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = apply(image, make_fit(model=Wave(100.0, 250.0)))
    assert out.values.any()


@pytest.mark.parametrize(("share", "sigma", "warns"), [(0.005, 10.0, False), (0.4, 10.0, True), (0.4, 0.5, False)])
def test_extrapolation_warns_without_computing(make_image, make_fit, computes, share, sigma, warns):
    image = make_image(pixels("uint16"), attrs={"_FillValue": np.uint16(0)}).chunk(64)
    fit = make_fit(model=Known(line=300000 + 1500 * (1 - share), sigma=sigma))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        apply(image, fit)
    assert [each.category for each in caught] == ([Extrapolation] if warns else [])
    assert not warns or "40% of the output lies where the model (flat) extrapolates" in str(caught[0].message)
    assert computes.n == 0


def test_a_field_moves_other_bands_and_masks_of_the_product(make_image, make_fit):
    row, col = np.mgrid[:200, :220].astype(float)
    field = Wave(40.0, 700.0)
    fine = make_image((1000 + 100 * np.sin(row / 15) + 100 * np.cos(col / 17)).astype("f8"))
    half = (row[:100, :110] * 2 + 0.5, col[:100, :110] * 2 + 0.5)
    band = make_image(
        1000 + 100 * np.sin(half[0] / 15) + 100 * np.cos(half[1] / 17), Affine(20, 0, 300000, 0, -20, 5900040)
    )
    fit = make_fit(model=field)
    out, other = apply(fine, fit).values, apply(band, fit).values
    mean = out.reshape(100, 2, 110, 2).mean(axis=(1, 3))
    assert np.nanmax(np.abs(mean - other)[5:-5, 5:-5]) < 0.5
    mask = make_image((fine.values > 1000).astype("u1"))
    there = apply(mask, fit, resampling="nearest", nodata=255).values
    firm = np.abs(out - 1000) > 10
    assert np.array_equal(there[firm & (there != 255)], (out > 1000)[firm & (there != 255)].astype("u1"))


def test_a_mask_in_another_crs_follows_the_field(make_image, make_fit):
    scene = make_image(np.add.outer(np.arange(300), np.arange(320)) > 310)
    zone = make_image(np.zeros((420, 420), "u1"), Affine(10, 0, 700300, 0, -10, 5901500), crs=UTM32)
    turned = apply(scene.astype("u1"), make_fit(0.0, 0.0), resampling="nearest", nodata=255, like=zone)
    fit = make_fit(model=Wave(60.0, 900.0))
    here = apply(scene.astype("u1"), fit, resampling="nearest", nodata=255).values
    there = apply(turned, fit, resampling="nearest", like=scene, force=True).values
    both = (here != 255) & (there != 255)
    assert both.mean() > 0.9
    assert np.mean(here[both] != there[both]) < 0.01  # pixels on the line


def fitted(kind):
    """A model of the house, fitted to a smooth field at 15 x 15 places."""
    x, y = (part.ravel() for part in np.meshgrid(np.linspace(300100, 303900, 15), np.linspace(5896100, 5899900, 15)))
    return fit_model(kind, x, y, *Wave(25.0, 1500.0).predict(x, y))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_models_of_the_house_are_undone_within_tolerance(kind):
    grid = make_grid((10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0), (400, 400), "EPSG:32633")
    move = Displacement.of(fitted(kind), grid.crs, grid)
    mapping = compose(grid, grid, move)
    rows, cols = (np.stack(mapping.positions(slice(0, 400), slice(0, 400)))).reshape(2, -1)
    x, y = 300005 + 10 * cols, 5900035 - 10 * rows
    dx, dy = move.at(x, y)
    row, col = np.mgrid[:400, :400].reshape(2, -1)
    missed = np.hypot((x + dx - 300005) / 10 - col, (5900035 - y - dy) / 10 - row)
    # The correction changes by up to a few percent over what the position is wrong by, more so at edges of triangles.
    assert missed.max() < (1.25 if kind == "piecewise" else 1.1) * TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_models_of_the_house_give_the_same_bytes_in_any_chunks(make_image, make_fit, kind):
    image = make_image(pixels("uint16", (400, 400)), attrs={"_FillValue": np.uint16(0)})
    fit = make_fit(model=fitted(kind))
    expected = apply(image, fit, align_grid=True).values
    for side in (100, 256, 333):
        assert apply(image.chunk(side), fit, align_grid=True).values.tobytes() == expected.tobytes()
