"""A small table of tie points on a 10 m grid in UTM 33."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import CRS

from xcoreg.core.matches import Status
from xcoreg.results.tiepoints import TiePoints

GRID = (10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0)


def make_points(n=12, crs="EPSG:32633", **columns):
    rng = np.random.default_rng(11)
    row, col = 200.0 * (1 + np.arange(n) // 4) - 0.5, 200.0 * (1 + np.arange(n) % 4) - 0.5
    dcol, drow = rng.normal(size=(2, n))
    factors = rng.normal(size=(n, 2, 2))
    status = np.where(np.arange(n) % 4 == 3, Status.OUTLIER, Status.OK)
    status[n // 2] = Status.FLAT
    dcol[n // 2] = drow[n // 2] = np.nan
    values = {
        "window": np.arange(n) + 100,
        "row": row,
        "col": col,
        "x": GRID[2] + 10 * (col + 0.5),
        "y": GRID[5] - 10 * (row + 0.5),
        "dx": 10 * dcol,
        "dy": -10 * drow,
        "dcol": dcol,
        "drow": drow,
        "cov": factors @ np.swapaxes(factors, 1, 2),
        "score": rng.uniform(size=n),
        "reliability": np.where(np.arange(n) == 1, np.nan, rng.uniform(50, 100, n)),
        "status": status,
        "size": np.full(n, 64),
        "crs_wkt": CRS.from_user_input(crs).to_wkt(),
    }
    return TiePoints(**(values | columns))


@pytest.fixture
def points():
    return make_points()
