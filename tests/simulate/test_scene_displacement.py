"""True corrections as functions of the target pixel."""

import numpy as np
import pytest

from xcoreg.simulate import Constant, similarity, smooth_field
from xcoreg.simulate.scene import Similarity


def test_constant_broadcasts():
    dcol, drow = Constant(1.5, -2.0)(np.zeros((3, 1)), np.zeros(4))
    assert (dcol.shape, drow.shape) == ((3, 4), (3, 4))
    assert (dcol[0, 0], drow[0, 0]) == (1.5, -2.0)


@pytest.mark.parametrize("amplitude", [0.5, 2.5])
def test_smooth_field_stays_below_its_amplitude_and_uses_it(amplitude):
    dcol, drow = smooth_field((300, 400), amplitude, seed=2)(np.arange(300)[:, None], np.arange(400))
    largest = max(np.abs(dcol).max(), np.abs(drow).max())
    assert 0.3 * amplitude < largest <= amplitude


def test_smooth_field_is_smooth():
    dcol, _ = smooth_field((500, 500), 2.5, seed=3)(np.arange(500)[:, None], np.arange(500))
    assert np.abs(np.diff(dcol, axis=1)).max() < 2 * np.pi * 2.5 / 500


def test_seeds_make_fields():
    first, again, other = (smooth_field((9, 9), 1.0, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_rotation_goes_clockwise_on_the_screen():
    # the content right of the target's centre lies below the centre of the reference
    dcol, drow = Similarity(center=(10.0, 10.0), degrees=90.0)(10.0, 15.0)
    assert (15 + dcol, 10 + drow) == pytest.approx((10, 15))


def test_scale_moves_away_from_the_centre():
    dcol, drow = similarity((21, 21), scale=1.1)(10.0, 20.0)
    assert (float(dcol), float(drow)) == pytest.approx((1.0, 0.0))


def test_similarity_shifts_its_centre():
    assert similarity((21, 31), degrees=5.0, scale=0.9, shift=(1.5, -2.5))(10.0, 15.0) == pytest.approx((1.5, -2.5))
