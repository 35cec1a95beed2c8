import numpy as np
import pytest
from scipy import fft

from xcoreg.core.phase import HIGHEST, forward, inverse, modes_for, ramps, taper

SHAPES = [(16, 16), (17, 17), (63, 63), (64, 64), (64, 48), (115, 115), (125, 125), (250, 251), (256, 256)]


def test_taper_is_one_inside_and_zero_at_the_rim():
    window = taper(64, 32, 0.5)
    assert window[32, 16] == 1
    assert max(window[0].max(), window[:, -1].max()) < 1e-6


def test_taper_is_symmetric():
    window = taper(31, 20, 0.6)
    assert np.abs(window - window[::-1, ::-1]).max() < 1e-6


@pytest.mark.parametrize("shape", [(8, 9), (16, 16), (15, 11)])
def test_inverse_undoes_forward_in_single_precision(shape):
    images = np.random.default_rng(3).standard_normal((2, *shape)).astype(np.float32)
    spectra = forward(images)
    assert spectra.dtype == np.complex64
    assert np.abs(inverse(spectra, shape) - images).max() < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_modes_of_an_image_bring_it_back_within_their_radius(shape):
    modes = modes_for(*shape)
    image = np.random.default_rng(4).standard_normal((2, *shape)).astype(np.float32)
    back = inverse(modes.plane(modes.take(forward(image))), shape)
    plane = fft.fft2(image)
    down, across = (fft.fftfreq(size).astype(np.float32) for size in shape)
    radius = np.hypot(down[:, None], across[None])
    wanted = fft.ifft2(np.where((radius < HIGHEST) & (radius > 0), plane, 0)).real
    assert np.abs(back - wanted).max() < 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_rings_go_outwards_and_none_is_empty(shape):
    modes = modes_for(*shape)
    assert (np.diff(modes.centre) > 0).all()
    assert modes.sizes.min() >= 1


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_over_modes_are_those_of_the_whole_plane(shape):
    modes = modes_for(*shape)
    ones = modes.sums(np.ones((1, len(modes.index)), np.float32))
    assert ones[0] == pytest.approx(modes.count)
    assert (modes.spread(modes.centre[None])[0] - np.hypot(modes.fx, modes.fy)).max() < 0.1


def test_ramps_read_elsewhere():
    wave = np.cos(2 * np.pi * 5 * np.arange(64) / 64)[None, None, :] * np.ones((1, 48, 1))
    across, down = ramps((48, 64), np.array([[0.25, 0.4]]))
    moved = inverse(forward(wave.astype(np.float32)) * across[:, None] * down[:, :, None], (48, 64))
    assert np.abs(moved[0, 3] - np.cos(2 * np.pi * 5 * (np.arange(64) + 0.25) / 64)).max() < 1e-5
