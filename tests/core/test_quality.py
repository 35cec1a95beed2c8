import numpy as np
import pytest

from xcoreg.core.quality import ce90, crlb, nmad, ssim
from xcoreg.simulate import window_pairs


def draw(seed, shape=(2, 40, 40)):
    return np.random.default_rng(seed).standard_normal(shape)


def everywhere(image):
    return np.ones(image.shape, bool)


def test_ssim_of_equal_windows_is_one():
    image = draw(0)
    assert ssim(image, image, everywhere(image)) == pytest.approx([1, 1], abs=1e-5)


def test_ssim_does_not_see_gain_and_offset():
    image = draw(0)
    assert ssim(image, 40 * image - 7, everywhere(image)) == pytest.approx([1, 1], abs=1e-4)


def test_ssim_of_unrelated_windows_is_near_zero():
    assert np.abs(ssim(draw(0), draw(1), everywhere(draw(0)))).max() < 0.05


def test_ssim_is_symmetric():
    a, b = draw(0), draw(0) + 0.5 * draw(1)
    assert ssim(a, b, everywhere(a)) == pytest.approx(ssim(b, a, everywhere(a)))


def test_ssim_ignores_what_is_not_valid():
    image, valid = draw(0), everywhere(draw(0))
    valid[:, 10:20, 10:20] = False
    spoiled = np.where(valid, image, 1e3)
    assert ssim(image, spoiled, valid) == pytest.approx([1, 1], abs=1e-4)


def test_ssim_without_valid_pixels_is_nan():
    assert np.isnan(ssim(draw(0), draw(1), np.zeros(draw(0).shape, bool))).all()


def test_crlb_of_two_waves():
    wave = np.cos(2 * np.pi * 7 * (np.arange(64) + 0.5) / 64)  # even about both ends: its mirror has no seam
    omega = 2 * np.pi * 7 / 64
    bound = crlb(wave[None, :] + 2 * wave[:, None], 0.04)
    energy = 64 * 64 * omega**2 / 2
    assert np.diag(bound) == pytest.approx([2 * 0.04 / energy, 2 * 0.04 / (4 * energy)], rel=1e-6)
    assert abs(bound[0, 1]) < 1e-12


def test_crlb_grows_with_the_variance():
    scene = draw(3)[0]
    assert crlb(scene, 3.0) == pytest.approx(3 * crlb(scene, 1.0))


def test_crlb_agrees_with_the_exact_derivatives_of_a_simulated_scene():
    pairs = window_pairs(8, 128, 20.0, seed=1)
    bounds = np.array([crlb(scene, sigma**2) for scene, sigma in zip(pairs.clean, pairs.sigma, strict=True)])
    assert bounds[:, 0, 0] == pytest.approx(pairs.bound[:, 0, 0], rel=0.12)
    assert bounds[:, 1, 1] == pytest.approx(pairs.bound[:, 1, 1], rel=0.12)


def test_nmad_of_normal_draws_is_their_sigma():
    assert nmad(3.0 * np.random.default_rng(5).standard_normal(20000) + 8) == pytest.approx(3.0, rel=0.02)


def test_nmad_does_not_see_outliers_and_nan():
    assert nmad([0.0, 1.0, 2.0, 1e9, np.nan, np.inf]) == pytest.approx(1.4826)


def test_ce90_is_the_ninetieth_percentile_of_the_radius():
    radius = np.arange(11.0)
    assert ce90(0.6 * radius, 0.8 * radius) == pytest.approx(9.0)


def test_nothing_finite_has_no_spread():
    assert np.isnan(nmad([np.nan]))
    assert np.isnan(ce90([np.nan], [1.0]))
