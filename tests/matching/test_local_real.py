"""Fields of shifts on real pairs: accepted windows, residuals after the warp, and that the sea is refused."""

import numpy as np
import pytest
from scipy import ndimage

from xcoreg.core.quality import ce90
from xcoreg.coregister import tie_points
from xcoreg.io.read import open_raster

SPACING, WINDOW = 100, 128
CLOUD = 2500  # digital numbers


def share_of(mask, points, window):
    """Share of each window that a mask covers."""
    total = np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    top, left = (np.clip(np.rint(at).astype(int) - window // 2, 0, None) for at in (points.row, points.col))
    low, right = (np.minimum(first + window, size) for first, size in zip((top, left), mask.shape, strict=True))
    return (total[low, right] - total[top, right] - total[low, left] + total[top, left]) / window**2


@pytest.fixture(scope="module")
def germany(data_dir):
    return [open_raster(path) for path in sorted((data_dir / "s2_s2_germany").glob("*.tif"))]


@pytest.fixture(scope="module")
def fit(germany):
    ref, tgt = germany
    return tgt.coreg.match_local(ref, spacing=SPACING, window=WINDOW)


def test_windows_without_clouds_are_accepted(germany, fit):
    values = germany[1].values.squeeze()
    cloud = ndimage.binary_dilation(ndimage.binary_opening(values > CLOUD, iterations=2), iterations=10)
    clear = share_of(cloud | (values == 0), fit.points, WINDOW) == 0
    assert clear.sum() > 200
    assert fit.points.ok[clear].mean() > 0.9


@pytest.mark.filterwarnings("ignore::xcoreg.Extrapolation")  # where a corner has no data
def test_what_the_warp_leaves_between_the_windows(germany, fit):
    ref, tgt = germany
    fixed = tgt.coreg.apply(fit).load()
    half = SPACING / 2 * 10
    between = np.stack([fit.points.x + half, fit.points.y - half], -1)
    points = tie_points(fixed, ref, points=between, window=WINDOW)
    left = np.hypot(points.dcol, points.drow)[points.ok]
    assert len(left) > 250
    assert np.median(left) < 0.1
    assert ce90(points.dcol[points.ok], points.drow[points.ok]) < 0.25


def test_the_report_shows_what_is_left(fit, tmp_path):
    text = fit.report(tmp_path / "report.html").read_text(encoding="utf-8")
    for value in (fit.quality.median_before, fit.quality.median_after, fit.quality.ce90_before, fit.quality.ce90_after):
        assert f"{value:.2g}"[:4] in text
    assert fit.quality.median_after < 0.1
    assert fit.quality.ce90_after < 0.25


def test_the_sea_is_refused(data_dir):
    tgt, ref = (open_raster(path) for path in sorted((data_dir / "l9_s2_cross_zone").glob("*.tif")))
    points = tie_points(tgt, ref, window=64, spacing=20, band=4, ref_band=4)
    infrared = tgt.sel(band=4).values.astype(float)
    # Water is black in the near infrared; what is no data is no land either.
    land = np.where(np.isfinite(infrared), infrared, 0) > 0.15 * np.nanmax(infrared[np.isfinite(infrared)])
    share = share_of(land, points, 64)
    assert (share < 0.01).sum() > 30
    assert not points.ok[share < 0.01].any()
    assert points.ok[share > 0.3].sum() > 20
