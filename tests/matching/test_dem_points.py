"""Points of known height as targets and block by block; where the search begins; masks that are arrays."""

from __future__ import annotations

import numpy as np
import pytest

import xcoreg
from xcoreg.errors import MatchError, NoOverlap, OptionError
from xcoreg.simulate import DemNoise, dem_pair

gpd = pytest.importorskip("geopandas")
FAR = (9000.0, -7000.0)


@pytest.fixture(scope="module")
def both():
    return dem_pair((200, 240), shift=(9.0, 3.0, -2.0), noise=DemNoise(0.3, 0.0, 5.0, 0.0), seed=4)


@pytest.fixture(scope="module")
def points(both):
    """Heights of the reference at 1500 of its pixels, in a column; another one is called "name"."""
    rng = np.random.default_rng(3)
    row, col = rng.integers(8, 190, 1500), rng.integers(8, 230, 1500)
    places = gpd.points_from_xy(both.ref.x.values[col], both.ref.y.values[row], crs="EPSG:32633")
    return gpd.GeoDataFrame({"h": both.ref.values[row, col].astype(float), "name": "a"}, geometry=places)


@pytest.fixture(scope="module")
def far(both):
    moved = both.tgt.assign_coords(x=both.tgt.x + FAR[0], y=both.tgt.y + FAR[1])
    return moved.rio.write_transform()


@pytest.mark.parametrize("matcher", ["nuth_kaab", "rigid", ["nuth_kaab", "deramp"]])
def test_points_are_corrected_by_a_model(both, points, matcher):
    fit, other = xcoreg.match(points, both.tgt, matcher=matcher), both.tgt.coreg.match(points, matcher=matcher)
    assert (fit.shift.dx, fit.shift.dy, fit.shift.dz) == pytest.approx((-9.0, -3.0, 2.0), abs=0.3)
    assert (fit.shift.dx, fit.shift.dz) == pytest.approx((-other.shift.dx, -other.shift.dz), abs=0.02)
    moved = xcoreg.apply(points, fit)
    assert list(moved.columns) == list(points.columns)
    assert (moved.geometry.x - points.geometry.x).mean() == pytest.approx(-9.0, abs=0.3)
    assert (
        abs(xcoreg.compare_points(both.tgt, moved).median) < 0.05 < abs(xcoreg.compare_points(both.tgt, points).median)
    )


def test_points_in_degrees_with_heights_in_their_geometry_are_moved_alike(both, points):
    fit = xcoreg.match(points, both.tgt)
    tall = gpd.points_from_xy(points.geometry.x, points.geometry.y, points.h, crs=points.crs)
    lonlat = gpd.GeoDataFrame(geometry=tall).to_crs(4326)
    moved, known = xcoreg.apply(lonlat, fit).to_crs(32633), xcoreg.apply(points, fit)
    assert np.abs(moved.geometry.x - known.geometry.x).max() < 1e-6
    assert np.abs(moved.geometry.z.to_numpy() - known.h.to_numpy()).max() < 1e-9


def test_points_take_no_options_of_images_and_two_tables_are_refused(both, points):
    fit = xcoreg.match(points, both.tgt)
    with pytest.raises(OptionError, match="points are moved by the fit alone"):
        xcoreg.apply(points, fit, align_grid=True)
    with pytest.raises(OptionError, match="one of the two must be an elevation model"):
        xcoreg.match(points, points)


def test_a_tilt_is_followed_by_blocks_of_points_both_ways(both, points):
    tilt = (0.001 * (both.tgt.x - both.tgt.x.mean())).values.astype(np.float32)
    tilted = both.tgt.copy(data=both.tgt.values + tilt[None, :])
    fit = tilted.coreg.match_local(points, spacing=60)
    assert fit.quality.dh_nmad_after < 0.3 < fit.quality.dh_nmad_before
    assert xcoreg.compare_points(tilted.coreg.apply(fit), points).nmad < 0.4
    back = xcoreg.match_local(points, tilted, spacing=60)
    assert xcoreg.compare_points(tilted, xcoreg.apply(points, back)).nmad < 0.4


@pytest.mark.parametrize("matcher", ["vertical", "deramp", "nuth_kaab", "rigid"])
def test_points_of_other_terrain_units_and_signs_are_refused(both, points, matcher):
    other = dem_pair((200, 240), seed=77).tgt
    with pytest.raises(MatchError, match="different terrain"):
        other.coreg.match(points, matcher=matcher)
    with pytest.raises(MatchError, match="in feet"):
        both.tgt.coreg.match(points.assign(h=points.h * 3.2808), matcher=matcher)
    with pytest.raises(MatchError, match="opposite sign"):
        both.tgt.coreg.match(points.assign(h=-points.h), matcher=matcher)


@pytest.mark.parametrize("matcher", ["nuth_kaab", "rigid", "nuth_kaab:classic"])
def test_a_search_begins_where_it_is_told(both, far, matcher):
    with pytest.raises(NoOverlap):
        far.coreg.match(both.ref, matcher=matcher)
    fit = far.coreg.match(both.ref, matcher=matcher, initial_shift=(-FAR[0] + 40, -FAR[1] + 30), max_shift=5)
    near = both.tgt.coreg.match(both.ref, matcher=matcher)
    found, known = (np.array([one.shift.dx, one.shift.dy, one.shift.dz]) for one in (fit, near))
    assert np.allclose(found - [-FAR[0], -FAR[1], 0], known, atol=0.03)
    fixed = far.coreg.apply(fit, like=both.ref)
    assert float(np.nanmedian(np.abs(both.clean - fixed))) < 0.4
    with pytest.raises(MatchError, match="max_shift"):
        far.coreg.match(both.ref, matcher=matcher, initial_shift=(-FAR[0] + 120, -FAR[1]), max_shift=1)


def test_blocks_and_points_begin_there_too(both, points, far):
    start = (-FAR[0] + 20, -FAR[1] + 20)
    blocks = far.coreg.match_local(both.ref, matcher="nuth_kaab", initial_shift=start, spacing=100)
    assert (blocks.shift.dx, blocks.shift.dy) == pytest.approx((-FAR[0] + 9, -FAR[1] + 3), abs=0.3)
    fit = far.coreg.match(points, initial_shift=start)
    assert (fit.shift.dx, fit.shift.dy) == pytest.approx((-FAR[0] + 9, -FAR[1] + 3), abs=0.3)


@pytest.mark.parametrize("given", [(1, 2, 3), "far", (np.nan, 0)])
def test_an_initial_shift_is_checked(both, given):
    with pytest.raises(OptionError, match="initial_shift"):
        both.tgt.coreg.match(both.ref, matcher="nuth_kaab", initial_shift=given)


@pytest.mark.parametrize("matcher", ["auto", "phase", "vertical"])
def test_an_initial_shift_belongs_to_matchers_that_find_one(both, matcher):
    with pytest.raises(OptionError, match="belongs to elevation matchers"):
        both.tgt.coreg.match(both.ref, matcher=matcher, initial_shift=(1.0, 2.0))


def test_a_mask_may_be_an_array(both):
    mask = np.zeros(both.tgt.shape, bool)
    mask[:, :120] = True
    image = both.tgt.copy(data=mask.astype(np.uint8))
    fits = [both.tgt.coreg.match(both.ref, matcher="nuth_kaab", where=one) for one in (mask, image)]
    assert fits[0].shift == fits[1].shift != both.tgt.coreg.match(both.ref, matcher="nuth_kaab").shift
    outside = both.tgt.coreg.match(both.ref, matcher="nuth_kaab", where=xcoreg.outside(~mask))
    assert outside.shift == fits[0].shift
    with pytest.raises(OptionError, match="200 x 240 pixels"):
        both.tgt.coreg.match(both.ref, matcher="nuth_kaab", where=mask[:50])
