"""`match` finds a known shift wherever and however an image lies: the matrix of grids and CRSs."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import DataArray

from xcoreg.coregister import match
from xcoreg.raster.grid import grid_of
from xcoreg.simulate import pair
from xcoreg.warp.rectify import rectify

SHIFT = (2.37, -1.62)  # dcol, drow, target px
SIZE = 320

# Where both images lie, on one and the same grid.
GRIDS = {
    "lon/lat": ("EPSG:4326", Affine(1e-4, 0, 12.9, 0, -1e-4, 52.4)),
    "lon/lat, far north": ("EPSG:4326", Affine(5e-4, 0, 12.9, 0, -1e-4, 80.0)),
    "lon/lat, south up": ("EPSG:4326", Affine(1e-4, 0, 12.9, 0, 1e-4, -33.4)),
    "across the antimeridian": ("EPSG:4326", Affine(1e-4, 0, 179.984, 0, -1e-4, -16.4)),
    "across the antimeridian, from the west": ("EPSG:4326", Affine(1e-4, 0, -180.016, 0, -1e-4, -16.4)),
    "0 to 360 degrees": ("EPSG:4326", Affine(1e-4, 0, 300.0, 0, -1e-4, 10.0)),
    "on the north pole": ("EPSG:3413", Affine(100, 0, -16000, 0, -100, 16000)),
    "on the south pole": ("EPSG:3031", Affine(100, 0, -16000, 0, -100, 16000)),
    "mercator across the antimeridian": ("EPSG:3832", Affine(30, 0, 3334000, 0, -30, 0)),
    "south up": ("EPSG:32633", Affine(10, 0, 300000, 0, 10, 5800000)),
    "columns to the west": ("EPSG:32633", Affine(-10, 0, 303200, 0, -10, 5803200)),
    "not square": ("EPSG:32633", Affine(10, 0, 300000, 0, -20, 5806400)),
    "rotated": ("EPSG:32633", Affine(9.8, 1.7, 500000, 1.7, -9.8, 5000000)),
    "rotated by 45 degrees": ("EPSG:32633", Affine(7.071, 7.071, 500000, 7.071, -7.071, 5000000)),
    "rotated by 90 degrees": ("EPSG:32633", Affine(0, 10, 500000, 10, 0, 5000000)),
    "feet": ("EPSG:32058", Affine(30, 0, 500000, 0, -30, 900000)),
    "no code": ("+proj=aea +lat_1=25 +lat_2=47 +lon_0=105 +ellps=krass", Affine(10, 0, 1e5, 0, -10, 4e6)),
}

# Target on another grid than the reference: in another CRS, another turn of longitudes, turned. Target, then reference.
CROSSED = {
    "UTM to lon/lat": (
        "EPSG:4326",
        Affine(1.4e-4, 0, 15.0, 0, -9e-5, 52.35),
        "EPSG:32633",
        Affine(10, 0, 499900, 0, -10, 5801000),
    ),
    "lon/lat to UTM": (
        "EPSG:32633",
        Affine(10, 0, 500100, 0, -10, 5800900),
        "EPSG:4326",
        Affine(1.4e-4, 0, 15.0, 0, -9e-5, 52.359),
    ),
    "zones across the antimeridian": (
        "EPSG:32601",
        Affine(10, 0, 169500, 0, -10, 1108500),
        "EPSG:32660",
        Affine(10, 0, 827200, 0, -10, 1108600),
    ),
    "turns of longitude": (
        "EPSG:4326",
        Affine(1e-4, 0, 179.984, 0, -1e-4, -16.4),
        "EPSG:4326",
        Affine(1e-4, 0, -180.018, 0, -1e-4, -16.398),
    ),
    "a turn less": (
        "EPSG:4326",
        Affine(1e-4, 0, -60.0, 0, -1e-4, 10.0),
        "EPSG:4326",
        Affine(1e-4, 0, 300.002, 0, -1e-4, 10.001),
    ),
    "UTM to lon/lat across the antimeridian": (
        "EPSG:4326",
        Affine(1e-4, 0, 179.984, 0, -1e-4, -16.4),
        "EPSG:32701",
        Affine(10, 0, 177900, 0, -10, 8184200),
    ),
    "lon/lat from the west to UTM": (
        "EPSG:32701",
        Affine(10, 0, 177900, 0, -10, 8184200),
        "EPSG:4326",
        Affine(1e-4, 0, -180.018, 0, -1e-4, -16.4),
    ),
    "polar to lon/lat": (
        "EPSG:4326",
        Affine(8e-4, 0, -45.1, 0, -1e-4, 83.0),
        "EPSG:3413",
        Affine(11, 0, -1500, 0, -11, -761000),
    ),
    "two polar systems": (
        "EPSG:3031",
        Affine(100, 0, -16000, 0, -100, 16000),
        "EPSG:3976",
        Affine(100, 0, -16500, 0, -100, 16500),
    ),
    "rotated to north up": (
        "EPSG:32633",
        Affine(10, 0, 500200, 0, -10, 5000300),
        "EPSG:32633",
        Affine(9.8, 1.7, 5e5, 1.7, -9.8, 5000200),
    ),
    "south up to north up": (
        "EPSG:32633",
        Affine(10, 0, 500000, 0, 10, 5000000),
        "EPSG:32633",
        Affine(10, 0, 500000, 0, -10, 5003200),
    ),
}


@cache
def scene():
    return pair((SIZE, SIZE), shift=SHIFT, snr_db=30.0, seed=11)


def laid(values, crs, transform):
    image = DataArray(values, dims=("y", "x"))
    if not (transform.b or transform.d):
        y = transform.f + transform.e * (np.arange(values.shape[0]) + 0.5)
        x = transform.c + transform.a * (np.arange(values.shape[1]) + 0.5)
        image = image.assign_coords(y=y, x=x)
    return image.rio.write_crs(crs).rio.write_transform(transform)


@pytest.mark.parametrize(("crs", "transform"), GRIDS.values(), ids=GRIDS)
def test_the_same_pixels_anywhere(crs, transform):
    ref, tgt = (laid(each.values, crs, transform) for each in (scene().ref, scene().tgt))
    fit = match(tgt, ref)
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx(SHIFT, abs=0.05)
    moved = np.array([[transform.a, transform.b], [transform.d, transform.e]]) @ SHIFT
    size = max(np.hypot(transform.a, transform.d), np.hypot(transform.b, transform.e))
    np.testing.assert_allclose((fit.shift.dx, fit.shift.dy), moved, atol=0.06 * size)


@pytest.mark.parametrize(("crs", "transform", "ref_crs", "ref_transform"), CROSSED.values(), ids=CROSSED)
def test_another_grid_anywhere(crs, transform, ref_crs, ref_transform):
    tgt = laid(scene().ref.values.astype(np.float32), crs, transform)
    ref = rectify(tgt, like=GeoBox((SIZE, SIZE), ref_transform, ref_crs))
    assert np.isfinite(ref.values).mean() > 0.3
    dcol, drow = SHIFT
    moved = laid(tgt.values, crs, transform @ Affine.translation(-dcol, -drow))
    fit = match(moved, ref)
    assert grid_of(moved).crs == grid_of(tgt).crs
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx(SHIFT, abs=0.1)
