import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg.core.matches import Status
from xcoreg.errors import OptionError
from xcoreg.results.tiepoints import TiePoints, thin

GRID = GeoBox((1000, 1100), Affine(10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0), "EPSG:32633")


def test_gcps_count_from_the_corner_and_lie_at_the_reference(points):
    gcps = points.on_grid(GRID).gcps
    good = points.take(points.ok)
    assert list(gcps.id) == [str(window) for window in good.window]
    assert (gcps.pixel[0], gcps.line[0]) == pytest.approx((200.0, 200.0))
    assert (gcps.x[0], gcps.y[0]) == pytest.approx((302000 + good.dx[0], 5898040 + good.dy[0]))
    assert gcps.crs.to_epsg() == 32633
    assert gcps.info[0].startswith(f"sigma_x={np.sqrt(good.cov[0, 0, 0]):.6g}")


def test_no_trusted_point_gives_no_gcps(points):
    with pytest.raises(OptionError, match="no tie point is trusted"):
        _ = points.with_status(points.ok, Status.MASKED).on_grid(GRID).gcps
    with pytest.raises(OptionError, match="max_points=0"):
        points.thin(0)


def test_gcps_need_the_grid_of_the_target(points):
    with pytest.raises(OptionError, match="do not know the grid"):
        _ = points.gcps


@pytest.mark.parametrize("wanted", [1, 7, 100, 500])
def test_thinned_points_are_spread_evenly(wanted):
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 1000, (2, 3000))
    points = TiePoints(np.arange(3000), y, x, x, y, *[np.ones(3000)] * 4)
    kept = thin(points, wanted)
    assert wanted / 2 < kept.size <= wanted
    quarters = np.histogram2d(x[kept], y[kept], 2)[0]
    assert wanted < 50 or quarters.min() > kept.size / 5


def test_clustered_points_are_thinned_too():
    x = np.r_[np.linspace(0, 1, 500), 1e5]
    points = TiePoints(np.arange(501), x, x, x, x, *[np.ones(501)] * 4)
    assert 10 <= thin(points, 50).size <= 50


def test_the_best_measured_points_are_chosen():
    x = [0.0, 1.0, 100.0, 101.0]
    cov = np.eye(2) * np.array([2.0, 1.0, 1.0, 2.0])[:, None, None]
    points = TiePoints(np.arange(4), x, x, x, [0.0] * 4, *[np.ones(4)] * 4, cov=cov)
    assert thin(points, 2).tolist() == [1, 2]
