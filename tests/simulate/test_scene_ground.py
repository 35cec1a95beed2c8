"""The ground: torus or mosaic, one function everywhere, by ramp or by spline."""

import numpy as np
import pytest

from xcoreg.simulate import Constant, Texture, smooth_field
from xcoreg.simulate.scene import Ground


def a_ground(side=200, **texture):
    return Ground.draw((side, side), Texture(**texture), np.random.default_rng(0))


def at_places(scene, rows, cols):
    """Sum the modes at places, without any transform."""
    top = scene.modes.shape[1] - 1
    turn = 2j * np.pi / scene.size
    modes = scene.modes.astype(np.complex128)
    down, across = (
        np.exp(turn * np.outer(rows, np.arange(-top, top + 1))),
        np.exp(turn * np.outer(cols, np.arange(top + 1))),
    )
    return np.einsum("nr,rc,nc->n", down, modes, across, optimize=True).real


def test_field_shows_the_ground_at_the_displaced_place():
    ground, field = a_ground(), smooth_field((200, 200), 2.5, seed=1)
    rows, cols = np.random.default_rng(1).integers(0, 200, (2, 100))
    dcol, drow = field(rows, cols)
    seen = ground.view(field)(0, 200, 0, 200)[rows, cols]
    slope = ground.scene.gradient()[0].image().std()
    error_px = (seen - at_places(ground.scene, rows + drow, cols + dcol)) / slope
    assert np.sqrt(np.mean(error_px**2)) < 3e-5


@pytest.mark.parametrize("side", [200, 1100])
def test_ramp_and_spline_agree(side):
    """The second side makes a mosaic, whose seams lie at 896..960."""
    ground = a_ground(side)
    box = (side - 210, side, side - 220, side)
    exact = ground.view(Constant(0.3, -1.7))(*box)
    spline = ground.view(Constant(0.3, -1.7).__call__)(*box)  # a mere function
    assert spline == pytest.approx(exact, abs=1e-4)


def test_whole_pixel_shift_moves_the_mosaic():
    ground = a_ground(1100)
    still = ground.view(Constant(0.0, 0.0))(850, 1000, 850, 1000)
    moved = ground.view(Constant(3.0, -2.0))(852, 1000, 850, 997)
    assert moved == pytest.approx(still[:-2, 3:], abs=1e-5)


def test_a_box_is_part_of_a_larger_one():
    read = a_ground(1100).view(Constant(0.5, 0.5))
    assert np.array_equal(read(-20, 30, 880, 990), read(-40, 60, 800, 1000)[20:70, 80:190])


def test_seams_keep_the_contrast():
    ground = a_ground(2000, exponent=0.0)
    read = ground.view(Constant(0.0, 0.0))
    assert read(900, 956, 0, 2000).std() == pytest.approx(read(300, 356, 0, 2000).std(), rel=0.03)


def test_mosaic_does_not_repeat():
    image = a_ground(1900, exponent=0.0).view(Constant(0.0, 0.0))(0, 256, 0, 1900)
    first = image[:, :256] - image[:, :256].mean()
    rows = np.fft.ifft2(np.fft.fft2(image) * np.conj(np.fft.fft2(first, s=image.shape))).real
    rows /= np.sum(first**2)
    assert rows[0, 0] == pytest.approx(1, abs=0.05)
    rows[:3, :3] = rows[:3, -3:] = rows[-3:, :3] = rows[-3:, -3:] = 0
    assert np.abs(rows).max() < 0.5


def test_period_repeats():
    image = a_ground(period=16).view(Constant(0.25, 0.0))(0, 64, 0, 64)
    assert np.array_equal(image[:48, :48], image[16:, 16:])
