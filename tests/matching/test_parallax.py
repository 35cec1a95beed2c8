"""Shifts in proportion to the terrain's height: found with direction and size, applied, saved; or not found."""

from __future__ import annotations

import numpy as np
import pytest
from tests.warp.test_terrain import hills

import xcoreg
from xcoreg.core.models import fit_model
from xcoreg.core.models.base import Degenerate
from xcoreg.core.models.fit import model_from_dict, prepare_shifts
from xcoreg.core.models.parallax import Parallax, ParallaxMaker, Surface
from xcoreg.errors import OptionError
from xcoreg.georef import transform_points
from xcoreg.simulate import raw_scene


def surface(seed=0):
    rng = np.random.default_rng(seed)
    from scipy.ndimage import gaussian_filter

    heights = gaussian_filter(rng.normal(0, 1, (80, 100)), 4)
    return Surface(heights / heights.std() * 200, (1000.0, 9000.0), (50.0, -50.0))


def planted(per_height, noise=0.05, seed=0, n=120):
    """Tie points of a plane plus a parallax by the height where their content is in the reference."""
    rng, ground = np.random.default_rng(seed), surface()
    to_x, to_y = rng.uniform(1200, 5700, n), rng.uniform(5300, 8800, n)
    height = ground.at(to_x, to_y)
    dx = 3.0 + 1e-4 * to_x + per_height[0] * height + rng.normal(0, noise, n)
    dy = -2.0 + per_height[1] * height + rng.normal(0, noise, n)
    return ground, (to_x - dx, to_y - dy, dx, dy, np.broadcast_to(np.eye(2) * noise**2, (n, 2, 2)))


def test_direction_and_size_are_found_with_their_uncertainty():
    chi = []
    for seed in range(20):
        ground, points = planted((0.02, -0.013), seed=seed)
        model = ParallaxMaker(ground, ground, "affine").fit_result(prepare_shifts(*points)).model
        off = np.array(model.per_height) - [0.02, -0.013]
        chi.append(off @ np.linalg.solve(model.per_height_cov, off))
    assert np.hypot(*off) < 2e-4
    assert 0.8 < np.mean(chi) < 4.0  # two degrees of freedom


def test_none_is_found_where_there_is_none():
    found = 0
    for seed in range(60):
        ground, points = planted((0.0, 0.0), seed=seed)
        try:
            ParallaxMaker(ground, ground, "affine").fit_result(prepare_shifts(*points))
            found += 1
        except Degenerate:
            pass
    assert found <= 4  # 1 % is allowed


def test_the_model_predicts_saves_and_knows_what_it_does_not_know():
    ground, points = planted((0.02, -0.013))
    model = ParallaxMaker(ground, ground, "affine").fit_result(prepare_shifts(*points)).model
    dx, dy = model.predict(points[0], points[1])
    assert np.hypot(dx - points[2], dy - points[3]).max() < 0.3
    again = model_from_dict(model.to_dict())
    assert isinstance(again, Parallax)
    assert again == model
    np.testing.assert_array_equal(again.predict(*points[:2]), (dx, dy))
    assert model.extrapolates(points[0].mean(), points[1].mean()) == np.False_
    assert model.extrapolates(-1e5, points[1].mean())
    cov = model.predict_cov(points[0], points[1])
    assert (np.linalg.eigvalsh(cov) > 0).all()
    assert cov.shape == (120, 2, 2)


def test_it_may_change_across_the_image():
    """A wide swath is seen under other angles at its edges: 10 % more on one side, found as such."""
    ground, (x, y, dx, dy, cov) = planted((0.02, -0.013), noise=0.02)
    height = ground.at(x + dx, y + dy)
    change = 0.1 * (x - x.mean()) / np.ptp(x)
    more = 0.02 * height * change
    plain, varying = (
        ParallaxMaker(ground, ground, "affine", varies).fit_result(prepare_shifts(x - more, y, dx + more, dy, cov))
        for varies in (False, True)
    )
    assert varying.squared.mean() < 0.8 * plain.squared.mean()
    ends = varying.model.per_height_at(np.array([x.min(), x.max()]), np.array([y.mean(), y.mean()]))
    assert ends[0, 1] / ends[0, 0] == pytest.approx(1.05 / 0.95, abs=0.02)


def test_overlapping_windows_widen_its_uncertainty():
    ground, points = planted((0.02, -0.013))
    one, four = (
        ParallaxMaker(ground, ground, "affine", repeats=n).fit_result(prepare_shifts(*points)).model for n in (1, 4)
    )
    np.testing.assert_allclose(four.per_height_cov, 4 * one.per_height_cov)
    np.testing.assert_allclose(four.cov[0, :, 0, :], one.cov[0, :, 0, :])


def test_flat_terrain_explains_nothing():
    _, points = planted((0.0, 0.0))
    flat = Surface(np.full((80, 100), 5.0), (1000.0, 9000.0), (50.0, -50.0))
    with pytest.raises(Degenerate, match="flat"):
        ParallaxMaker(flat, flat, "affine").fit_result(prepare_shifts(*points))
    assert fit_model("affine", *points).kind == "affine"


@pytest.fixture(scope="module")
def flat_ortho():
    """A raw image that was rectified over one height, its reference, terrain, and the true parallax per metre."""
    scene = raw_scene(hills(relief=700.0), (260, 260), 15.0, off_nadir=8.0, correction=(0.0, 0.0), snr_db=25, seed=3)
    middle = scene.rpcs.height_off
    image = scene.raw.coreg.rectify(scene.rpcs, height=middle, crs=scene.ref.rio.crs, resolution=15.0)
    ends = [
        np.stack(transform_points("EPSG:4326", scene.ref.rio.crs, *scene.rpcs.unproject(130.0, 130.0, middle + up)))
        for up in (-200.0, 200.0)
    ]
    return scene, image, (ends[1] - ends[0]) / 400.0


@pytest.fixture(scope="module")
def fit(flat_ortho):
    scene, image, _ = flat_ortho
    return image.coreg.match_local(scene.ref, terrain=scene.terrain, spacing=28, window=48)


def test_an_image_rectified_over_a_poor_dem_is_corrected(flat_ortho, fit):
    scene, image, per_metre = flat_ortho
    found = fit.details.parallax
    assert found.direction == pytest.approx(np.degrees(np.arctan2(*per_metre)) % 360, abs=1.0)
    assert found.size == pytest.approx(np.hypot(*per_metre), rel=0.02)
    assert 0 < found.size_sigma < 0.02 * found.size
    assert fit.quality.rmse_after < 0.06
    assert found.height_nmad < 10
    fixed = image.coreg.apply(fit, like=scene.ref)
    noise = 150 / 10 ** (25 / 20) * np.sqrt(2)
    assert float((fixed - scene.ref).std()) < 3 * noise
    plain = image.coreg.match_local(scene.ref, spacing=28, window=48)
    assert plain.details.parallax is None
    assert fit.quality.rmse_after < plain.quality.rmse_after


def test_it_is_saved_with_the_fit(fit, tmp_path):
    fit.save(tmp_path / "fit.json")
    loaded = xcoreg.load_fit(tmp_path / "fit.json")
    assert loaded == fit
    assert loaded.details.parallax == fit.details.parallax
    assert "per m of height, towards" in fit.summary()


def test_options_that_do_not_go_with_terrain(flat_ortho):
    scene, image, _ = flat_ortho
    with pytest.raises(OptionError, match="terrain= goes with model="):
        image.coreg.match_local(scene.ref, terrain=scene.terrain, model="spline")
    with pytest.raises(OptionError, match="leave it out"):
        image.coreg.match_local(scene.ref, terrain=scene.terrain, matcher="nuth_kaab")
