import dataclasses

import numpy as np
import pytest
import rioxarray  # noqa: F401
from affine import Affine
from xarray import DataArray

pytest.importorskip("matplotlib")

from xcoreg import georef
from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.plot import plot_fit, plot_points, save_figure
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

GRID = (10.0, 0.0, 300000.0, 0.0, -10.0, 5900000.0)
LINEAR = georef.linear_of(GRID)


def make(side=3):
    rng = np.random.default_rng(2)
    row, col = (axis.ravel().astype(float) for axis in np.mgrid[100 : 900 : side * 1j, 100 : 900 : side * 1j])
    n = row.size
    dcol, drow = 0.4 + rng.normal(0, 0.03, n), -1.6 + rng.normal(0, 0.03, n)
    status = np.zeros(n, int)
    status[1], status[3] = Status.FLAT, Status.OUTLIER
    dcol[1] = drow[1] = np.nan
    x, y = georef.pixel_to_map(GRID, col, row)
    dx, dy = georef.vector_to_map(LINEAR, dcol, drow)
    cov = np.tile(np.array([[9e-4, 2e-4], [2e-4, 9e-4]]) * 100, (n, 1, 1))
    points = TiePoints(
        np.arange(n), row, col, x, y, dx, dy, dcol, drow, cov, status=status, size=np.full(n, 64), crs_wkt="EPSG:32633"
    )
    good = points.take(points.ok)
    model = Translation.fit(good.x, good.y, good.dx, good.dy, good.cov)
    shift = Shift(model.dx, model.dy, model.cov, LINEAR)
    quality = Quality(n_windows=n, n_ok=n - 2)
    return Coregistration(model, points, quality, Status.OK, shift, "EPSG:32633", GRID, (1000, 1000))


def failed():
    fit = make()
    points = fit.points.with_status(fit.points.ok, Status.NO_PEAK)
    return dataclasses.replace(fit, model=None, shift_or_none=None, status=Status.NO_PEAK, points=points)


def quiver(axes):
    return next(one for one in axes.collections if hasattr(one, "U"))


def test_arrows_are_the_corrections_of_the_trusted_windows():
    fit = make()
    arrows = quiver(plot_fit(fit).axes[0])
    good = fit.points.take(fit.points.ok)
    assert np.array_equal(arrows.U, good.dx)
    assert np.array_equal(arrows.V, good.dy)
    assert np.array_equal(arrows.get_offsets(), np.stack([good.x, good.y], axis=-1))


def test_distrusted_windows_are_marked_with_their_reason():
    _, labels = plot_fit(make()).axes[0].get_legend_handles_labels()
    assert "FLAT (1): no texture to match" in labels
    assert "OUTLIER (1): the shift contradicts that of the other windows" in labels


def test_the_title_gives_the_shift():
    fit = make()
    assert plot_fit(fit).get_suptitle() == f"OK: {fit.shift}"


def axes_titled(figure, start):
    return next(axes for axes in figure.axes if axes.get_title().startswith(start))


def test_shifts_are_drawn_in_pixels_with_rows_downwards():
    axes = axes_titled(plot_fit(make()), "shift of every window")
    bottom, top = axes.get_ylim()
    assert bottom > -1.6 > top
    left, right = axes.get_xlim()
    assert left < 0.4 < right
    assert right - left < 1


def test_ellipses_hold_95_percent():
    axes = axes_titled(plot_fit(make()), "shift of every window")
    window = next(patch for patch in axes.patches if patch.get_facecolor()[3] > 0)
    assert window.width / 2 == pytest.approx(2.4477 * np.sqrt(7e-4), rel=1e-4)
    assert window.height / 2 == pytest.approx(2.4477 * np.sqrt(11e-4), rel=1e-4)


def test_residuals_are_given_per_axis():
    _, labels = axes_titled(plot_fit(make(12)), "observed minus").get_legend_handles_labels()
    assert [label[:5] for label in labels] == ["dcol:", "drow:"]
    nmad = float(labels[0].split("NMAD ")[1].split()[0])
    assert 0.02 < nmad < 0.04


@pytest.mark.parametrize("fit", [make(), make(12), failed()], ids=["few", "many", "failed"])
def test_every_kind_of_fit_can_be_drawn(fit, tmp_path):
    save_figure(fit.plot(), tmp_path / "a.png", dpi=50)
    assert (tmp_path / "a.png").stat().st_size > 5_000


def test_a_failure_is_shown_with_its_reason():
    figure = plot_fit(failed())
    assert figure.get_suptitle() == "NO_PEAK: no shift makes the images correlate above chance"
    assert not any(hasattr(one, "U") for one in figure.axes[0].collections)


def test_no_windows_at_all(tmp_path):
    fit = dataclasses.replace(failed(), points=TiePoints(*[[]] * 9))
    figure = plot_fit(fit)
    save_figure(figure, tmp_path / "a.png", dpi=50)
    assert (tmp_path / "a.png").stat().st_size > 5_000
    assert figure.axes[0].get_title() == "0 windows: none"
    assert not any(hasattr(one, "U") for one in figure.axes[0].collections)


def test_points_without_fit(tmp_path):
    figure = make().points.plot()
    save_figure(figure, tmp_path / "a.png", dpi=50)
    assert figure.axes[0].get_title() == "9 windows: 7 OK, 1 FLAT, 1 OUTLIER"


def background(crs="EPSG:32633", transform=GRID):
    values = np.full((1000, 1000), 50.0)
    values[:, 500:] = 200.0
    values[:100] = -1
    image = DataArray(values, dims=("y", "x")).rio.write_crs(crs).rio.write_transform(Affine(*transform))
    return image.rio.write_nodata(-1)


def test_a_background_lies_where_it_belongs():
    axes = plot_points(make().points, background()).axes[0]
    left, right, bottom, top = axes.images[0].get_extent()
    assert (left, top) == pytest.approx((300000, 5900000), abs=20)
    assert (right, bottom) == pytest.approx((310000, 5890000), abs=20)
    rgba = np.asarray(axes.images[0].get_array())
    rows, cols = rgba.shape[:2]
    assert rgba[rows // 2, cols // 4, 0] < rgba[rows // 2, 3 * cols // 4, 0]
    assert rgba[rows // 20, cols // 2, 3] == 0  # what is missing is clear
    assert rgba[rows // 2, cols // 2, 3] == 1


def test_a_background_in_another_crs():
    grid = (1.5e-4, 0, 12.0, 0, -1e-4, 53.2)
    axes = plot_points(make().points, background("EPSG:4326", grid)).axes[0]
    left, right, _, top = axes.images[0].get_extent()
    x, y = georef.transform_points("EPSG:4326", "EPSG:32633", [12.0, 12.15, 12.0], [53.2, 53.2, 53.1])
    assert left == pytest.approx(min(x), abs=50)
    assert top == pytest.approx(max(y), abs=50)
    assert right > left
