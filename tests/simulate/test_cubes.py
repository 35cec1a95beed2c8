"""Simulated cubes: truth, seasons, clouds, strangers."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg import OptionError
from xcoreg.simulate import cube


def correlation(one, two):
    return float(np.corrcoef(np.ravel(one), np.ravel(two))[0, 1])


def test_a_shift_by_whole_pixels_moves_the_content():
    made = cube(2, (96, 96), shifts=[(0, 0), (3, -2)], clouds=0, season=0, snr_db=np.inf, seed=1)
    first, second = made.cube.values.astype(float)
    assert correlation(first[10:80, 13:83], second[12:82, 10:80]) > 0.9999


def test_summer_and_winter_differ_as_asked():
    times = ["2020-01-15", "2020-07-15", "2021-01-15"]
    made = cube(3, (200, 200), times=times, shifts=0.0, clouds=0, season=0.3, snr_db=np.inf, seed=2)
    winter, summer, later = made.cube.values.astype(float)
    assert correlation(winter, summer) == pytest.approx(0.4, abs=0.1)
    assert correlation(winter, later) > 0.999


def test_clouds_cover_their_fraction_and_differ():
    made = cube(3, (64, 64), clouds=[0.0, 0.2, 0.4], seed=3)
    assert made.clouds.mean(("y", "x")).values == pytest.approx([0, 0.2, 0.4], abs=0.01)
    assert made.clouds.dtype == bool


def test_a_stranger_sees_another_ground():
    made = cube(3, (96, 96), shifts=0.0, clouds=0, season=0, strangers=(1,), seed=4)
    assert abs(correlation(made.cube[0], made.cube[1])) < 0.2
    assert correlation(made.cube[0], made.cube[2]) > 0.9


def test_equal_seeds_give_equal_cubes_and_the_grid_is_that_of_pairs():
    one, two = cube(2, (40, 60), seed=5), cube(2, (40, 60), seed=5)
    assert (one.cube.values == two.cube.values).all()
    assert one.cube.coreg.grid.shape == (40, 60)
    assert one.cube.rio.nodata == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [({"n": 0}, "n=0"), ({"season": 1.0}, "season"), ({"clouds": 2.0}, "clouds"), ({"shifts": [1, 2]}, "shifts")],
)
def test_impossible_cubes_are_refused(options, words):
    with pytest.raises(OptionError, match=words):
        cube(**{"n": 3, "shape": (32, 32), **options})
