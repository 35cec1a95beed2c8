import dataclasses

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from xcoreg import georef
from xcoreg.core.matches import Status
from xcoreg.errors import MatchError
from xcoreg.plot import plot_fit, plot_model, plot_points, save_figure
from xcoreg.plot.fields import evaluate_model
from xcoreg.plot.maps import nice
from xcoreg.plot.style import residuals_of

LONLAT = (1e-4, 0.0, 12.0, 0.0, -1e-4, 53.0)
TURNED = (9.2, 3.8, 500000.0, 3.8, -9.2, 5900000.0)


def quiver(axes):
    return next(one for one in axes.collections if hasattr(one, "U"))


def test_arrows_are_coloured_by_their_length_in_pixels(fit):
    arrows = quiver(plot_fit(fit).axes[0])
    good = fit.points.take(fit.points.ok)
    assert np.array_equal(arrows.U, good.dx)
    assert np.array_equal(arrows.get_array(), np.hypot(good.dcol, good.drow))


def test_refused_windows_are_marked_by_status(fit):
    axes = plot_fit(fit).axes[0]
    marks = {one.get_label(): len(one.get_offsets()) for one in axes.collections if "(" in str(one.get_label())}
    assert {label.split()[0]: n for label, n in marks.items()} == {"NO_PEAK": 19, "OUTLIER": 13}


def test_the_key_of_the_arrows_is_a_round_length(fit):
    from matplotlib.quiver import QuiverKey

    axes = plot_fit(fit).axes[0]
    key = next(one for one in axes.artists + axes.get_children() if isinstance(one, QuiverKey))
    assert key.text.get_text() == "2 target px"
    assert float(key.U) == 20.0


def test_many_arrows_are_thinned_and_the_rest_are_dots(field):
    axes = plot_fit(field(side=60)).axes[0]
    assert 250 < len(quiver(axes).U) <= 500
    assert "arrows drawn" in axes.get_xlabel()


def test_residuals_are_those_of_check_points(fit):
    residuals = residuals_of(fit)
    assert residuals.at_check_points
    assert np.array_equal(residuals.dx, fit.details.assessment.check.dx)
    assert np.array_equal(residuals.window, fit.points.window[fit.points.ok])


def test_residuals_are_those_of_the_fit_without_check_points(field):
    fit = field(withheld=False)
    residuals, good = residuals_of(fit), fit.points.take(fit.points.ok)
    assert not residuals.at_check_points
    assert np.allclose(residuals.dx, good.dx - fit.model.predict(good.x, good.y)[0])
    assert np.allclose(residuals.drow, -residuals.dy / 10)


def test_a_window_flagged_later_has_no_residual(fit):
    points = fit.points.with_status(fit.points.window == 0, Status.MASKED)
    assert len(residuals_of(dataclasses.replace(fit, points=points))) == 111


def test_grid_hold_the_model_at_the_centres(fit):
    grid = evaluate_model(fit)
    x, y = grid.centres
    assert np.allclose(grid.values[0], fit.model.predict(x, y)[0])
    assert grid.outside[0, 0] == fit.model.extrapolates(x[0, 0], y[0, 0])
    assert grid.unit == " m"


def test_degrees_are_shown_as_seconds_of_arc(field):
    fit = field(grid=LONLAT, crs="EPSG:4326")
    grid = evaluate_model(fit)
    assert grid.unit == "″"
    assert grid.values[0].mean() == pytest.approx(3600e-4, rel=0.3)


def test_a_map_in_degrees_has_one_scale_on_the_ground(field):
    axes = plot_points(field(grid=LONLAT, crs="EPSG:4326").points).axes[0]
    assert axes.get_aspect() == pytest.approx(1 / np.cos(np.radians(52.95)), rel=1e-3)


def test_directions_in_degrees_are_those_on_the_ground(field):
    fit = field(grid=LONLAT, crs="EPSG:4326")
    rose = next(axes for axes in plot_fit(fit).axes if axes.name == "polar")
    azimuth = rose.collections[0].get_offsets()[:, 0]
    good = fit.points.take(fit.points.ok)
    x, y = georef.transform_points("EPSG:4326", "EPSG:32633", good.x, good.y)
    dx, dy = georef.local_displacement(x, y, good.dx, good.dy, "EPSG:4326", "EPSG:32633")
    turn = np.angle(np.exp(1j * (azimuth - np.arctan2(dx, dy))))
    assert np.abs(np.degrees(turn)).max() < 3  # grid north is not north


@pytest.mark.parametrize(
    ("side", "grid", "crs"),
    [(2, TURNED, "EPSG:32633"), (4, LONLAT, "EPSG:4326"), (60, TURNED, "EPSG:32633")],
    ids=["few", "degrees", "many"],
)
def test_fields_of_every_size_and_grid_are_drawn(field, tmp_path, side, grid, crs):
    fit = field(side=side, kind="affine" if side > 2 else "translation", grid=grid, crs=crs)
    save_figure(plot_fit(fit), tmp_path / "a.png", dpi=40)
    save_figure(plot_model(fit), tmp_path / "b.png", dpi=40)
    assert min((tmp_path / name).stat().st_size for name in ("a.png", "b.png")) > 8_000


def test_a_failed_field_is_drawn_but_has_no_model(fit, tmp_path):
    failed = dataclasses.replace(fit, model=None, shift_or_none=None, status=Status.NO_PEAK)
    figure = plot_fit(failed)
    save_figure(figure, tmp_path / "a.png", dpi=40)
    assert figure.get_suptitle() == "NO_PEAK: no shift makes the images correlate above chance"
    with pytest.raises(MatchError, match="no model to draw"):
        plot_model(failed)


@pytest.mark.parametrize(("value", "wanted"), [(0.37, 0.5), (17.0, 20.0), (3.0, 2.0), (0.0, 1.0), (np.nan, 1.0)])
def test_keys_are_round(value, wanted):
    assert nice(value) == wanted


def test_uncertainty_is_known_within_the_hull_of_the_tie_points(fit):
    grid, good = evaluate_model(fit), fit.points.take(fit.points.ok)
    x, y = grid.centres
    outside = (x < good.x.min()) | (x > good.x.max()) | (y < good.y.min()) | (y > good.y.max())
    assert outside.any()
    assert grid.beyond[outside].all()
    assert not grid.beyond.all()
