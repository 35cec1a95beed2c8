"""The scene: exact at any shift, aliased as pixels alias, of the spectrum that was asked for."""

import numpy as np
import pytest

from xcoreg.simulate import Texture
from xcoreg.simulate.scene import Scene


def draw(size=96, seed=0, **texture):
    return Scene.draw(size, Texture(**texture), np.random.default_rng(seed))


def by_hand(scene, row, col):
    """Sum the modes one by one at a place."""
    top = scene.modes.shape[1] - 1
    rows, cols = np.arange(-top, top + 1)[:, None], np.arange(top + 1)
    return np.sum(scene.modes * np.exp(2j * np.pi / scene.size * (rows * row + cols * col))).real


def test_whole_pixel_shift_is_a_roll():
    scene = draw()
    assert scene.image((2.0, -3.0)) == pytest.approx(np.roll(scene.image(), (3, -2), axis=(0, 1)), abs=1e-12)


@pytest.mark.parametrize(("dcol", "drow"), [(0.37, -1.21), (-0.5, 0.5), (40.25, 0.0)])
def test_image_shows_the_scene_at_the_shifted_place(dcol, drow):
    scene = draw()
    assert scene.image((dcol, drow))[5, 7] == pytest.approx(by_hand(scene, 5 + drow, 7 + dcol), abs=1e-12)


def test_finer_image_holds_the_coarse_one_and_what_lies_between():
    scene = draw(48)
    fine = scene.image(finer=4)
    assert fine[::4, ::4] == pytest.approx(scene.image(), abs=1e-12)
    assert fine[1::4, 2::4] == pytest.approx(scene.image((0.5, 0.25)), abs=1e-12)


def test_pixels_alias_what_optics_let_through():
    """Half of the samples cannot predict the others: interpolating a shifted image differs from the shifted scene."""
    scene = draw(128, exponent=1.0)
    spectrum = np.fft.fft2(scene.image())
    ramp = np.exp(2j * np.pi * 0.5 * np.fft.fftfreq(128))
    interpolated = np.fft.ifft2(spectrum * ramp).real
    assert 0.005 < np.std(interpolated - scene.image((0.5, 0.0))) / scene.image().std() < 0.2


def test_gradient_is_the_change_per_pixel():
    scene, step = draw(), 1e-4
    right, down = (part.image() for part in scene.gradient())
    assert right == pytest.approx((scene.image((step, 0)) - scene.image((-step, 0))) / (2 * step), abs=1e-6)
    assert down == pytest.approx((scene.image((0, step)) - scene.image((0, -step))) / (2 * step), abs=1e-6)


def test_amplitude_falls_with_the_exponent():
    power = np.mean([np.abs(draw(seed=seed, exponent=1.0, optics_sigma=0.0).modes) ** 2 for seed in range(60)], axis=0)
    top = power.shape[1] - 1
    low, high = power[top - 2 : top + 3, 4].mean(), power[top - 4 : top + 5, 16].mean()
    assert low / high == pytest.approx(16, rel=0.4)


def test_expected_variance_is_one():
    variances = [draw(64, seed=seed, exponent=0.0).image().var() for seed in range(10)]
    assert np.mean(variances) == pytest.approx(1, rel=0.05)


def test_blur_equals_a_wider_lens():
    once = draw(optics_sigma=0.5)
    wide = draw(optics_sigma=0.4)
    again = wide.blurred(0.3)
    top = once.modes.shape[1] - 1
    middle = wide.modes.shape[1] - 1
    ratio = again.modes[middle : middle + 20, 1:20] / wide.modes[middle : middle + 20, 1:20]
    rows, cols = np.arange(20)[:, None], np.arange(1, 20)
    assert ratio.real == pytest.approx(np.exp(-2 * (np.pi * 0.3 / 96) ** 2 * (rows**2 + cols**2)), rel=1e-9)
    assert top < middle  # what a wider lens dims is left out


def test_single_precision_keeps_seven_digits():
    rng = (np.random.default_rng(4), np.random.default_rng(4))
    scene = Scene.draw(64, Texture(), rng[0], dtype=np.complex64)
    assert scene.image((0.3, 0.7)) == pytest.approx(
        Scene(scene.modes.astype(np.complex128), 64).image((0.3, 0.7)), abs=3e-6
    )
