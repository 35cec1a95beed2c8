"""Rigid motions, biases and error maps of elevation models, through `match` and `apply`."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine

import xcoreg
from xcoreg.core.dem.rigid import rotation_of
from xcoreg.core.models import Rigid
from xcoreg.simulate import DemNoise, dem_pair
from xcoreg.simulate.pairs import georeferenced

CALM = DemNoise(0.3, 0.0, 5.0, 0.0)


@pytest.fixture(scope="module")
def both():
    return dem_pair((170, 210), shift=(9.0, 3.0, -2.0), noise=CALM, seed=21)


def rms(values):
    return float(np.sqrt(np.nanmean(np.square(values))))


@pytest.fixture(scope="module")
def turned(both):
    """The target moved by a known motion about the middle of the scene, by the package's own model."""
    box = both.tgt.coreg.grid.extent.boundingbox
    centre = [(box.left + box.right) / 2, (box.bottom + box.top) / 2, float(both.clean.mean())]
    motion = Rigid(rotation_of(np.radians([0.05, 0.1, 0.6])), [5.0, -8.0, 3.0], centre)
    x, y = np.meshgrid(both.ref.x, both.ref.y)
    z, back = both.clean.values.astype(float), motion.inverse()
    # Heights of the reference carried back: the target shows them at other places, where they are interpolated.
    dx, dy, dz = back.correction(x, y, z)
    from scipy.interpolate import griddata

    values = griddata((np.ravel(x + dx), np.ravel(y + dy)), np.ravel(z + dz), (x, y), method="cubic")
    return motion, both.clean.copy(data=values.astype(np.float32))


def test_a_rigid_fit_is_found_applied_and_stored(both, turned, tmp_path):
    motion, target = turned
    fit = target.coreg.match(both.ref, matcher="rigid")
    assert fit.model.kind == "rigid"
    assert fit.model.angles == pytest.approx(motion.angles, abs=2e-3)
    before, after = (both.clean - target).values, (both.clean - target.coreg.apply(fit, like=both.ref)).values
    inner = (slice(15, -15), slice(15, -15))
    assert rms(after[inner]) < 0.25
    assert rms(after[inner]) < 0.05 * rms(before[inner])
    fit.save(tmp_path / "fit.json")
    assert xcoreg.load_fit(tmp_path / "fit.json") == fit


def test_an_image_without_heights_is_moved_by_those_of_a_model(both, turned):
    _, target = turned
    fit = target.coreg.match(both.ref, matcher="rigid")
    # The heights themselves as an image of another quantity.
    photo = target.rename("reflectance").assign_attrs(units="1")
    with pytest.warns(xcoreg.CoregWarning, match="with_heights"):
        photo.coreg.apply(fit, like=both.ref)
    moved = photo.coreg.apply(fit.with_heights(target), like=both.ref)
    raised = target.coreg.apply(fit, like=both.ref)
    inner = (slice(15, -15), slice(15, -15))
    rise = (raised - moved).values[inner]
    x, y = np.meshgrid(both.ref.x, both.ref.y)
    assert np.abs(rise - fit.model.predict_dz(x, y)[inner]).max() < 0.1


def test_points_take_a_rigid_matcher(both, turned):
    gpd = pytest.importorskip("geopandas")
    motion, target = turned
    rng = np.random.default_rng(1)
    rows, cols = rng.integers(20, 150, 3000), rng.integers(20, 190, 3000)
    places = gpd.points_from_xy(both.ref.x.values[cols], both.ref.y.values[rows], crs="EPSG:32633")
    points = gpd.GeoDataFrame({"z": both.clean.values[rows, cols]}, geometry=places)
    fit = target.coreg.match(points, matcher="rigid")
    assert fit.model.angles == pytest.approx(motion.angles, abs=0.02)


def test_rigid_is_no_matcher_of_blocks(both):
    with pytest.raises(xcoreg.OptionError, match="use match"):
        both.tgt.coreg.match_local(both.ref, matcher="rigid")


def test_a_bias_by_elevation_is_fitted_and_removed(both, tmp_path):
    height = both.clean.values
    biased = both.tgt - (0.015 * (height - height.mean())).astype(np.float32)
    plain = biased.coreg.match(both.ref, matcher="nuth_kaab")
    fit = biased.coreg.match(both.ref, matcher="nuth_kaab", bias="elevation")
    assert fit.quality.dh_nmad_after < 0.5 * plain.quality.dh_nmad_after
    assert abs(fit.shift.dx - 9.0) < 0.2
    rest = (both.ref - biased.coreg.apply(fit, like=both.ref)).values[10:-10, 10:-10]
    assert 1.4826 * np.median(np.abs(rest - np.median(rest))) < 0.45
    assert abs(np.median(rest)) < 0.1
    fit.save(tmp_path / "fit.json")
    again = xcoreg.load_fit(tmp_path / "fit.json")
    assert again == fit
    once = xcoreg.correct_bias(biased, again)
    assert xcoreg.correct_bias(once, again).equals(once)


def test_an_undulation_along_a_track_is_found_with_its_direction(both):
    rows, cols = np.mgrid[:170, :210]
    wave = 2 * np.sin(2 * np.pi * (rows * np.cos(0.3) + cols * np.sin(0.3)) / 40)
    fit = (both.tgt - wave.astype(np.float32)).coreg.match(both.ref, matcher="nuth_kaab", bias="along_track")
    assert fit.model.kind == "track"
    x, y = np.meshgrid(both.tgt.x, both.tgt.y)
    assert rms((fit.model.predict_dz(x, y) - wave + 2.0)[8:-8, 8:-8]) < 0.15


def test_a_variable_of_ones_own_is_named_when_it_is_needed(both):
    rng = np.random.default_rng(2)
    angle = both.tgt.copy(data=np.cumsum(rng.normal(0, 1, both.tgt.shape), 1).astype(np.float32)).rename("angle")
    biased = both.tgt - np.tanh(angle / 5).astype(np.float32)
    fit = biased.coreg.match(both.ref, matcher="nuth_kaab", bias=[angle])
    with pytest.raises(xcoreg.OptionError, match="correct_bias"):
        biased.coreg.apply(fit)
    rest = xcoreg.correct_bias(biased, fit, {"angle": angle}) - both.tgt
    assert float(rest.std()) < 0.35 * float((biased - both.tgt).std())


def test_a_bias_that_is_not_there_is_left_out(both):
    fit = both.tgt.coreg.match(both.ref, matcher="nuth_kaab", bias=["elevation"])
    assert fit.details.biases == ()
    assert any("elevation" in text for text in fit.quality.warnings)


@pytest.mark.parametrize(("bias", "text"), [("tides", "choose from"), (3, "choose from")])
def test_an_unknown_bias_is_refused(both, bias, text):
    with pytest.raises(xcoreg.OptionError, match=text):
        both.tgt.coreg.match(both.ref, matcher="nuth_kaab", bias=bias)


def test_errors_grow_with_the_slope_and_means_are_better_than_pixels(both):
    north, east = np.gradient(both.clean.values, 20.0)
    steep = np.hypot(north, east)
    noisy = both.tgt + (np.random.default_rng(3).normal(0, 1, steep.shape) * 6 * steep).astype(np.float32)
    fit = noisy.coreg.match(both.ref, matcher="nuth_kaab")
    error = fit.dem_error(noisy).values
    wanted = np.hypot(0.3, 6 * steep)
    flat, steeper = steep < np.percentile(steep, 20), steep > np.percentile(steep, 80)
    for part in (flat, steeper):
        assert np.median(error[part]) == pytest.approx(np.median(wanted[part]), rel=0.35)
    area = np.zeros(steep.shape, bool)
    area[40:80, 40:80] = True
    assert fit.mean_error(noisy, area) < 0.2 * np.median(error[area])


def test_a_shift_over_a_turned_pair_says_so(both, turned):
    _, target = turned
    with pytest.raises(xcoreg.MatchError, match="rigid"):
        target.coreg.match(both.ref, matcher="nuth_kaab")


def test_nodata_that_nobody_recorded_is_named(both):
    values = both.tgt.values.copy()
    values[60:100, 70:120] = -9999.0
    tgt = georeferenced(values, Affine(20, 0, 5e5, 0, -20, 54e5), "EPSG:32633")
    fit = tgt.coreg.match(both.ref, matcher="nuth_kaab")
    assert abs(fit.shift.dx - 9.0) < 0.3
    assert any("-9999" in text for text in fit.quality.warnings)


def test_heights_above_two_surfaces_are_named(both):
    heights = both.tgt.rio.write_crs("EPSG:32633+5773"), both.ref.rio.write_crs("EPSG:32633+3855")
    fit = heights[0].coreg.match(heights[1], matcher="nuth_kaab")
    assert any("EGM96" in text and "EGM2008" in text for text in fit.quality.warnings)


def test_check_blocks_choose_between_a_shift_a_tilt_and_a_motion(both, turned):
    plain = both.tgt.coreg.match(both.ref, matcher="rigid:auto")
    assert plain.model.kind == "translation"
    assert plain.model.dz_constant is not None
    tilt = np.linspace(-4, 4, 210, dtype=np.float32)[None, :]
    tilted = (both.tgt + tilt).coreg.match(both.ref, matcher="rigid:auto")
    assert tilted.model.kind == "translation"
    assert tilted.model.dz_constant is None
    assert turned[1].coreg.match(both.ref, matcher="rigid:auto").model.kind == "rigid"
