"""Fixtures shared by all tests: where the real images are, a quiet drawing backend, a fit of a field."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from xcoreg import georef
from xcoreg.core.matches import Status
from xcoreg.core.models import assess_model
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.details import Assessment, CheckPoints, Details, TriedModel
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_dir() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real images, $XCOREG_DATA or ../shared/data beside the checkout; skips where it is absent."""
    folder = Path(os.environ.get("XCOREG_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"the real test images are not at {folder}: set XCOREG_DATA to their folder")
    return folder


GRID = (10.0, 0.0, 300000.0, 0.0, -10.0, 5900000.0)


def make_field(side=12, kind="polynomial2", grid=GRID, crs="EPSG:32633", withheld=True):
    """Make a fit by hand: about one pixel over 1000 x 1000 px, smooth, noisy, with windows of every verdict."""
    rng = np.random.default_rng(3)
    row, col = (axis.ravel().astype(float) for axis in np.mgrid[50 : 950 : side * 1j, 50 : 950 : side * 1j])
    u, v, n = col / 500 - 1, row / 500 - 1, row.size
    dcol, drow = 1 + 0.5 * u + 0.3 * v * v + rng.normal(0, 0.02, n), -0.5 + 0.4 * u * v + rng.normal(0, 0.02, n)
    status = np.zeros(n, int)
    status[1::7], status[3::11] = Status.NO_PEAK, Status.OUTLIER
    dcol[status == Status.NO_PEAK] = drow[status == Status.NO_PEAK] = np.nan
    linear = georef.linear_of(grid)
    x, y = georef.pixel_to_map(grid, col, row)
    dx, dy = georef.vector_to_map(linear, dcol, drow)
    cov = georef.cov_to_map(linear, np.tile(np.eye(2) * 4e-4, (n, 1, 1)))
    points = TiePoints(
        np.arange(n), row, col, x, y, dx, dy, dcol, drow, cov, status=status, size=np.full(n, 64), crs_wkt=crs
    )
    good = points.take(points.ok)
    choice = assess_model(kind, good.x, good.y, good.dx, good.dy, good.cov)
    check = CheckPoints(good.window, choice.residual_dx, choice.residual_dy)
    left = np.hypot(*georef.vector_to_pixel(linear, choice.residual_dx, choice.residual_dy))
    before = np.hypot(good.dcol, good.drow)
    errors = {}
    for name, values in (("before", before), ("after", left)):
        errors[f"median_{name}"], errors[f"ce90_{name}"] = np.percentile(values, [50, 90])
        errors[f"rmse_{name}"] = np.sqrt(np.mean(values**2))
    quality = Quality(reliability=92.0, n_windows=n, n_ok=len(good), n_check=len(good), **errors)
    shift = Shift(good.dx.mean(), good.dy.mean(), np.eye(2) * 0.01, linear)
    models = tuple(TriedModel(**row) for row in choice.table)
    details = Details(options={"spacing": 80}, assessment=Assessment(models, check)) if withheld else Details()
    return Coregistration(choice.model, points, quality, Status.OK, shift, crs, grid, (1000, 1000), details)


@pytest.fixture
def field():
    """Make fits of fields."""
    return make_field


@pytest.fixture
def fit():
    """Give one fit of a field."""
    return make_field()
