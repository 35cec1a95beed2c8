"""Cases that break other tools, each with its exact truth: a small part of benchmarks/breaks.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rasterio.warp
import xarray as xr
from affine import Affine

from xcoreg.coregister import match
from xcoreg.errors import CoregError
from xcoreg.georef import map_to_pixel, pixel_to_map, transform_points
from xcoreg.results.coregistration import Coregistration
from xcoreg.simulate import Acquisition, Product, SimulatedPair, pair, similarity
from xcoreg.warp.apply import apply

SHIFT = (0.357, -1.566)
SIZE = 240
NORTH_UP = Affine(10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0)
UTM = "EPSG:32633"


def simulated(size: int | tuple[int, int] = SIZE, **how: Any) -> SimulatedPair:
    shape = (size, size) if isinstance(size, int) else size
    return pair(shape, **{"shift": SHIFT, "seed": 11, **how})


def placed(values: np.ndarray, transform: Affine, crs: str = UTM, nodata: float | None = 0) -> xr.DataArray:
    array = xr.DataArray(values, dims=("y", "x")).rio.write_crs(crs).rio.write_transform(transform)
    return array if nodata is None else array.rio.write_nodata(nodata)


def error(fit: Coregistration, truth: tuple[float, float] = SHIFT) -> float:
    """Error in target pixels."""
    assert fit.ok
    return float(np.hypot(fit.shift.dcol - truth[0], fit.shift.drow - truth[1]))


@pytest.fixture(scope="module")
def plain() -> SimulatedPair:
    return simulated()


# --- resampled and blurred products ----------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [2, 3])
def test_a_target_resampled_from_coarser_pixels(by: int) -> None:
    both = simulated(tgt=Acquisition(resampled_from=by))
    assert error(match(both.tgt, both.ref)) < 0.1


@pytest.mark.parametrize("by", [2, 3])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
def test_a_target_brought_to_10_m_by_gdal(by: int, method: str) -> None:
    both = simulated(tgt=Acquisition(coarser=by))
    fine = np.zeros((SIZE, SIZE), np.uint16)
    coarse = Affine(10.0 * by, 0.0, 300000.0, 0.0, -10.0 * by, 5900040.0)
    where = {"src_transform": coarse, "dst_transform": NORTH_UP, "src_crs": UTM, "dst_crs": UTM}
    rasterio.warp.reproject(both.tgt.values, fine, resampling=rasterio.warp.Resampling[method], **where)
    assert error(match(placed(fine, NORTH_UP), both.ref)) < 0.1


@pytest.mark.parametrize("window", [None, 64])
def test_both_images_blurred(window: int | None) -> None:
    blur = Acquisition(blur=1.0)
    both = simulated(ref=blur, tgt=blur)
    assert error(match(both.tgt, both.ref, window=window)) < 0.02


def test_windows_of_64_pixels(plain: SimulatedPair) -> None:
    fit = match(plain.tgt, plain.ref, window=64)
    assert np.abs(fit.points.dcol[fit.points.ok] - SHIFT[0]).max() < 0.05
    assert fit.points.ok.mean() > 0.9


# --- no single shift is right ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0.5, 1.0, 2.0])
def test_rotation_is_refused(degrees: float) -> None:
    both = simulated(400, shift=similarity((400, 400), degrees=degrees, shift=SHIFT))
    with pytest.raises(CoregError, match="no trustworthy match"):
        match(both.tgt, both.ref)


@pytest.mark.parametrize("scale", [1.01, 1.02])
def test_scale_is_refused(scale: float) -> None:
    both = simulated(400, shift=similarity((400, 400), scale=scale, shift=SHIFT))
    with pytest.raises(CoregError, match="no trustworthy match"):
        match(both.tgt, both.ref)


# --- missing data ----------------------------------------------------------------------------------------------------


def test_a_small_hole_of_nan() -> None:
    both = simulated(product=Product(dtype="float32", nodata=None))
    both.tgt.values[118:123, 125:130] = np.nan
    assert error(match(both.tgt, both.ref)) < 0.02


def test_a_large_hole_of_nodata(plain: SimulatedPair) -> None:
    holed = plain.tgt.copy()
    holed.values[60:180, 50:170] = 0
    assert error(match(holed, plain.ref)) < 0.02


@pytest.mark.parametrize("stored", [True, False])
def test_minus_infinity_as_nodata(stored: bool) -> None:
    both = simulated(product=Product(dtype="float32", nodata=-np.inf if stored else None))
    out = np.add.outer(0.2 * np.arange(SIZE), np.arange(SIZE)) < 70
    both.tgt.values[out] = -np.inf
    both.ref.values[out[:, ::-1]] = -np.inf
    assert error(match(both.tgt, both.ref)) < 0.02


def test_masks_act_inside_a_window() -> None:
    cloudy = Acquisition(clouds=0.4)
    both = simulated(ref=cloudy, tgt=cloudy)
    assert error(match(both.tgt, both.ref, where=~both.tgt_cloud, ref_where=~both.ref_cloud)) < 0.02


# --- grids -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["target", "reference", "both"])
def test_south_up(plain: SimulatedPair, which: str) -> None:
    up = Affine(10.0, 0.0, 300000.0, 0.0, 10.0, 5900040.0 - 10 * SIZE)
    ref, tgt = (
        placed(image.values[::-1], up) if which in (name, "both") else image
        for name, image in (("reference", plain.ref), ("target", plain.tgt))
    )
    shift = match(tgt, ref).shift
    assert (shift.dx, shift.dy) == pytest.approx((3.57, 15.66), abs=0.2)


@pytest.mark.parametrize(
    ("crs", "gsd"), [("EPSG:32632", (10, 10)), ("EPSG:3857", (16.6, 16.6)), ("EPSG:4326", (1.5e-4, 9e-5))]
)
def test_another_crs(crs: str, gsd: tuple[float, float]) -> None:
    x, y = transform_points(UTM, crs, 300000.0 + 5 * SIZE, 5900040.0 - 5 * SIZE)
    grid = Affine(gsd[0], 0.0, float(x) - gsd[0] * SIZE / 2, 0.0, -gsd[1], float(y) + gsd[1] * SIZE / 2)

    def truth(rows: Any, cols: Any, /) -> tuple[np.ndarray, np.ndarray]:
        rows, cols = np.broadcast_arrays(np.asarray(rows, float), np.asarray(cols, float))
        x, y = pixel_to_map(grid, cols + SHIFT[0], rows + SHIFT[1])
        col, row = map_to_pixel(NORTH_UP, *transform_points(crs, UTM, x.ravel(), y.ravel()))
        return col.reshape(rows.shape) - cols, row.reshape(rows.shape) - rows

    both = simulated(shift=truth)
    assert error(match(placed(both.tgt.values, grid, crs), both.ref)) < 0.05


@pytest.mark.parametrize(("tgt", "ref"), [(2, 1), (1, 2), (3, 1), (1, 3), (3, 2), (2, 3)])
def test_another_gsd(tgt: int, ref: int) -> None:
    both = simulated(480, tgt=Acquisition(coarser=tgt), ref=Acquisition(coarser=ref))
    assert error(match(both.tgt, both.ref), both.shift) * tgt / max(tgt, ref) < 0.05


def test_a_fit_applied_to_another_gsd(plain: SimulatedPair) -> None:
    fit = match(plain.tgt, plain.ref)
    coarse = simulated(tgt=Acquisition(coarser=2)).tgt
    moved = apply(coarse, fit).rio.transform(recalc=False)
    assert (moved.c - 300000.0, moved.f - 5900040.0) == pytest.approx((fit.shift.dx, fit.shift.dy))
    assert (fit.shift.dx, fit.shift.dy) == pytest.approx((3.57, 15.66), abs=0.2)


def test_grids_turned_and_stretched() -> None:
    cos, sin = np.cos(0.3), np.sin(0.3)
    turned = Affine(10 * cos, -15 * sin, 300000.0, -10 * sin, -15 * cos, 5900040.0)
    both = simulated(product=Product(transform=turned))
    assert error(match(both.tgt, both.ref)) < 0.02


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("far", [5, 20, 50])
def test_large_shifts(far: int) -> None:
    truth = (far + 0.357, -0.566 * far)
    both = simulated(shift=truth)
    assert error(match(both.tgt, both.ref), truth) < 0.02


@pytest.mark.parametrize("shape", [(32, 32), (48, 48), (40, 600), (600, 40)])
def test_small_and_narrow_images(shape: tuple[int, int]) -> None:
    both = simulated(shape)
    assert error(match(both.tgt, both.ref)) < 0.05


# --- a filter's flags land on the points they belong to ---------------------------------------------------------------


def test_flags_belong_to_their_windows() -> None:
    both = simulated(400)
    ruined = both.tgt.copy()
    ruined.values[:130, :130] = np.roll(ruined.values[:130, :130], (9, 7), (0, 1))
    points = match(ruined, both.ref, window=96, windows=12).points
    inside = (points.row < 80) & (points.col < 80)
    wrong = np.hypot(points.dcol - SHIFT[0], points.drow - SHIFT[1]) > 1
    assert inside.any()
    assert (points.ok == ~wrong)[inside].all()
    assert points.ok[~inside & (np.maximum(points.row, points.col) > 190)].all()
