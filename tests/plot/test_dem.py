"""Figures of elevation differences: what they show is what is there."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from xarray import DataArray

from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.errors import NoOverlap, OptionError
from xcoreg.matching.elevation import metres_per_pixel
from xcoreg.plot.dem import (
    HeightStats,
    differences,
    draw_aspect,
    draw_block,
    has_blocks,
    plot_blocks,
    plot_dem,
    scale_of,
)
from xcoreg.plot.style import new_figure
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.details import Details
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

pytest.importorskip("matplotlib")

NORTH_UP = Affine(20, 0, 5e5, 0, -20, 5.1e6)
TURNED = NORTH_UP @ Affine.rotation(30)
DEGREES = Affine(2e-4, 0, 15.0, 0, -2e-4, 46.0)
TRUTH = (12.0, -7.0, -2.5)


def hills(x, y):
    return 900 + 150 * np.sin((x - 5e5) / 240) * np.cos((y - 5.1e6) / 190) + 0.05 * (x - 5e5)


def dem(function, transform=NORTH_UP, shape=(120, 150), crs="EPSG:32633", seed=None):
    col, row = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    heights = function(*(transform @ (col, row)))
    if seed is not None:
        heights = heights + np.random.default_rng(seed).normal(0, 0.4, shape)
    image = DataArray(heights.astype(np.float32), dims=("y", "x"))
    return image.rio.write_crs(crs).rio.write_transform(transform)


def fit_of(target, shift=TRUTH, points=None, model=None, **details):
    grid = target.coreg.grid
    linear = (grid.affine.a, grid.affine.b, grid.affine.d, grid.affine.e)
    wkt, status = grid.crs.to_wkt(), Status.OK
    one = Shift(*shift[:2], dz=shift[2], linear=linear)
    points = TiePoints(*([[]] * 9)) if points is None else points
    where = tuple(grid.affine)[:6], grid.shape
    return Coregistration(model or Translation(*shift), points, Quality(), status, one, wkt, *where, Details(**details))


@pytest.fixture(scope="module")
def pair():
    """Reference and target with z_ref(p + d) = z_tgt(p) + dz, and a glacier that sank."""
    target = dem(lambda x, y: hills(x + TRUTH[0], y + TRUTH[1]) - TRUTH[2], seed=1)
    reference = dem(lambda x, y: hills(x, y) - 30.0 * ((x > 502000) & (y > 5098800)))
    return target, reference, fit_of(target)


def off_glacier(x, y):
    return (x <= 501980) | (y <= 5098780)


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_differences_are_those_of_the_definition(pair):
    target, reference, fit = pair
    found = differences(fit, target, reference, off_glacier)
    before, after = found.stats("before"), found.stats("after")
    assert before.nmad > 3
    assert 0.2 < after.nmad < 0.4  # the noise of 0.4 m, smoothed by the interpolation
    assert abs(after.median) < 0.01
    assert found.stats("after", used=False).median == pytest.approx(-30, abs=0.1)
    assert before.n == after.n


def test_both_are_known_on_the_same_pixels(pair):
    target, reference, fit = pair
    holed = target.copy(deep=True)
    holed.values[30:40, 60:70] = np.nan
    found = differences(fit, holed, reference)
    assert (np.isfinite(found.before) == np.isfinite(found.after)).all()
    assert not found.used[31:39, 61:69].any()


@pytest.mark.parametrize("transform", [NORTH_UP, TURNED], ids=["north-up", "turned"])
@pytest.mark.parametrize(("east", "north", "aspect"), [(0.2, 0.0, 270.0), (0.0, -0.3, 0.0), (-0.1, 0.1, 135.0)])
def test_slope_and_aspect_of_a_plane(transform, east, north, aspect):
    plane = dem(lambda x, y: east * (x - 5e5) + north * (y - 5.1e6), transform, (30, 40))
    found = differences(fit_of(plane, (0.0, 0.0, 0.0)), plane, plane)
    assert found.slope[5:-5, 5:-5] == pytest.approx(np.full((20, 30), np.hypot(east, north)), abs=1e-3)
    assert np.abs((found.aspect[5:-5, 5:-5] - aspect + 180) % 360 - 180).max() < 0.5


def test_slopes_of_degrees_are_on_the_ground():
    to_east = metres_per_pixel("EPSG:4326", (1.0, 0.0, 0.0, 1.0), 46.0)[0, 0]
    plane = dem(lambda lon, lat: 0.25 * (lon - 15) * to_east, DEGREES, (30, 40), "EPSG:4326")
    found = differences(fit_of(plane, (0.0, 0.0, 0.0)), plane, plane)
    assert np.median(found.slope) == pytest.approx(0.25, rel=2e-3)


def test_large_models_are_compared_on_a_coarser_grid(monkeypatch, pair):
    target, reference, fit = pair
    monkeypatch.setattr("xcoreg.plot.dem._DIFFERENCE_SIDE", 60)
    found = differences(fit, target, reference)
    assert found.coarser == 3
    assert tuple(found.grid.shape) == (40, 50)
    assert abs(found.stats("after").median) < 0.1


def test_models_that_do_not_overlap(pair):
    far = dem(hills, NORTH_UP @ Affine.translation(900, 0))
    with pytest.raises(NoOverlap, match="do not overlap"):
        differences(pair[2], pair[0], far)


def test_no_differences_have_no_numbers():
    found = HeightStats.of(np.full(3, np.nan))
    assert found.n == 0
    assert np.isnan(found.nmad)


# --- pictures --------------------------------------------------------------------------------------------------------


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_maps_share_a_scale_and_give_their_nmad(pair):
    target, reference, fit = pair
    figure = plot_dem(fit, target, reference)
    found = differences(fit, target, reference)
    before, after = titles(figure)[:2]
    assert f"NMAD {found.stats('before').nmad:.2f} m" in before
    assert f"NMAD {found.stats('after').nmad:.2f} m" in after
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert [bar.get_ylim() for bar in bars] == [(-scale_of(found), scale_of(found))] * 2


def test_ground_that_is_not_stable_is_pale(pair):
    target, reference, fit = pair
    figure = plot_dem(fit, target, reference, off_glacier)
    alpha = figure.axes[0].images[0].get_array()[..., 3]
    assert alpha[20, 130] == pytest.approx(0.35, abs=0.01)
    assert alpha[100, 20] == 1.0


def test_the_cosine_passes_through_the_medians(pair):
    target, reference, fit = pair
    axes = new_figure(5, 4).add_subplot()
    draw_aspect(axes, differences(fit, target, reference, lambda x, y: y <= 5098790), fit)
    dots, curve = axes.lines[0], axes.lines[2]
    assert f"{np.hypot(12, 7):.2f} m towards 120°" in curve.get_label()
    expected = np.interp(dots.get_xdata(), curve.get_xdata(), curve.get_ydata())
    off = (expected - dots.get_ydata())[np.isfinite(dots.get_ydata())]
    assert off.size > 20
    assert np.abs(off).max() < 2.5
    assert np.ptp(curve.get_ydata()) == pytest.approx(2 * np.hypot(12, 7), rel=0.01)


def test_flat_ground_has_no_aspect():
    flat = dem(lambda x, y: 0 * x + 5.0, shape=(40, 50))
    axes = new_figure(5, 4).add_subplot()
    fit = fit_of(flat, (0.0, 0.0, 1.0))
    draw_aspect(axes, differences(fit, flat, flat), fit)
    assert "no slopes" in axes.texts[0].get_text()


# --- blocks ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def blocked(pair):
    row, col = (axis.ravel().astype(float) for axis in np.mgrid[15:120:30, 15:150:30])
    n = row.size
    x, y = 5e5 + 20 * (col + 0.5), 5.1e6 - 20 * (row + 0.5)
    dx, dy, dz = 10 + col / 30, -5 - row / 30, -2 + 0 * col
    status = np.zeros(n, int)
    status[[3, 7]] = Status.FLAT
    columns = {"dz": dz, "status": status, "size": np.full(n, 60), "crs_wkt": "EPSG:32633"}
    points = TiePoints(np.arange(n), row, col, x, y, dx, dy, dx / 20, -dy / 20, **columns)
    return fit_of(pair[0], points=points, options={"spacing": 30})


def test_every_block_has_its_colour_and_refused_ones_are_crossed(blocked):
    axes = (figure := new_figure(5, 4)).add_subplot()
    draw_block(figure, axes, blocked, "dx")
    trusted, refused = axes.collections
    # All are about 12 m: the colours diverge about their median, which the label names.
    assert (trusted.get_array() + 12.5).tolist() == blocked.points.dx[blocked.points.ok].tolist()
    assert trusted.get_clim()[0] == -trusted.get_clim()[1]
    assert figure.axes[1].get_ylabel() == "dx - 12.5, m"
    assert (len(refused.get_paths()), refused.get_hatch()) == (2, "xx")
    assert np.ptp(trusted.get_paths()[0].vertices[:, 0]) == 600  # the distance of the blocks, not their overlap


def test_there_is_a_map_for_each_component(blocked):
    found = titles(plot_blocks(blocked))
    assert [text[:2] for text in found] == ["dx", "dy", "dz"]
    assert "median -2, NMAD 0 m" in found[2]


def test_without_blocks_there_is_nothing_to_draw(pair):
    assert not has_blocks(pair[2])
    with pytest.raises(OptionError, match="match_local"):
        plot_blocks(pair[2])
