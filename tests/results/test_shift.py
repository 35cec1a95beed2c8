import math
import pickle

import numpy as np
import pytest

from xcoreg.results.shift import Shift

NORTH_UP = (10.0, 0.0, 0.0, -10.0)
SEED = Shift.from_pixels(0.357885632465, 0.433837319984 - 2, NORTH_UP, [[4e-6, 1e-6], [1e-6, 3e-6]])


def test_map_shift_of_seed_000():
    assert (SEED.dx, SEED.dy) == pytest.approx((3.578856324660592, 15.661626799963415), abs=2e-9)


def test_pixel_shift_of_seed_000():
    assert (SEED.dcol, SEED.drow) == pytest.approx((0.357885632465, -1.566162680016), abs=1e-12)


def test_length_and_angle_of_seed_000():
    shift = Shift(3.578856324660592, 15.661626799963415, linear=NORTH_UP)
    assert shift.length == pytest.approx(16.065328089207995, abs=1e-12)
    assert shift.angle == pytest.approx(192.8717191970359, abs=1e-9)


def test_sign_of_the_style_guide():
    shift = Shift.from_pixels(3, -2, NORTH_UP)
    assert (shift.dx, shift.dy) == (30.0, 20.0)


def test_covariance_turns_with_the_rows():
    assert np.allclose(SEED.cov, [[4e-4, -1e-4], [-1e-4, 3e-4]])
    assert np.allclose(SEED.cov_px, [[4e-6, 1e-6], [1e-6, 3e-6]])


def test_sigmas():
    assert SEED.sigma == pytest.approx((0.02, math.sqrt(3e-4)))
    assert SEED.sigma_px == pytest.approx((0.002, math.sqrt(3e-6)))


def test_a_rotated_grid():
    shift = Shift.from_pixels(1.0, 2.0, (9.8, 1.7, 1.7, -9.8), np.eye(2))
    assert (shift.dx, shift.dy) == pytest.approx((9.8 + 3.4, 1.7 - 19.6))
    assert (shift.dcol, shift.drow) == pytest.approx((1.0, 2.0))
    assert np.allclose(shift.cov, (9.8**2 + 1.7**2) * np.eye(2))


def test_unknown_covariance_is_nan():
    assert np.isnan(Shift(1.0, 2.0).sigma).all()


def test_a_covariance_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="2 x 2"):
        Shift(1.0, 2.0, ((1.0,),))


def test_str_shows_two_digits_of_the_uncertainty():
    assert str(SEED) == "dx=+3.579±0.020 m, dy=+15.662±0.017 m (dcol=+0.3579±0.0020, drow=-1.5662±0.0017 px)"
    assert repr(SEED) == f"Shift({SEED})"


@pytest.mark.parametrize(
    ("shift", "text"),
    [
        (Shift(30.0, 20.0, linear=NORTH_UP), "dx=+30.00 m, dy=+20.00 m"),
        (Shift(1e-5, 0.0, linear=(1 / 3600, 0, 0, -1 / 3600), unit="degree"), "dx=+0.0000100°, dy=+0.0000000°"),
        (Shift(120.0, 0.0, ((900.0, 0), (0, 400.0)), NORTH_UP), "dx=+120±30 m, dy=+0±20 m"),
        (Shift(1.0, 2.0, ((1.0, 0), (0, 1.0)), NORTH_UP, 2.5), "dx=+1.0±1.0 m, dy=+2.0±1.0 m, dz=+2.500"),
        (Shift(1.0, 2.0, linear=NORTH_UP, unit="chain"), "dx=+1.00 chain, dy=+2.00 chain"),
    ],
)
def test_str_in_other_units(shift, text):
    assert str(shift).startswith(text + " (")


def test_numbers_become_plain_floats():
    shift = Shift(np.float32(0.5), np.int16(2), np.eye(2), np.array(NORTH_UP))
    assert [type(v) for v in (shift.dx, shift.dy, shift.cov[0][0], shift.linear[0])] == [float] * 4


def test_pickle_round_trip():
    assert pickle.loads(pickle.dumps(SEED)) == SEED


def test_a_vertical_part_has_its_place_in_the_covariance():
    shift = Shift(1.0, 2.0, ((4.0, 0.0), (0.0, 9.0)), dz=-3.0, cov_z=(0.5, 0.25, 0.04))
    assert shift.sigma_z == pytest.approx(0.2)
    assert shift.cov3 == ((4.0, 0.0, 0.5), (0.0, 9.0, 0.25), (0.5, 0.25, 0.04))
