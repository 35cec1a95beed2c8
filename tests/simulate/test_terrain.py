"""Simulated elevation models whose correction is exact."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg.simulate.terrain import DemNoise, Mosaic, dem_pair, elevations

NONE = DemNoise(0, 0, 5, 0)


def test_fractions_of_a_pixel_are_exact():
    terrain = elevations((40, 50), seed=2)
    there = terrain(0.3, -0.8)
    again = terrain(0.3 + 1, -0.8)
    assert np.abs(again[:-1] - there[1:]).max() < 1e-8


def test_a_correction_is_added_to_the_target():
    both = dem_pair((60, 70), shift=(40.0, -20.0, -3.0), noise=NONE, seed=1)
    # dx = 40 m is two columns to the right, dy = -20 m one row down.
    moved = both.tgt.values[:-1, :-2] - 3.0
    assert np.abs(both.ref.values[1:, 2:] - moved).max() < 1e-3


def test_glaciers_are_lost_where_the_mask_is_zero():
    both = dem_pair((120, 130), shift=(0, 0, 0), noise=NONE, glaciers=0.2, seed=3)
    lost = both.clean.values - both.ref.values
    ice = both.stable.values == 0
    assert 0.1 < ice.mean() < 0.3
    assert lost[~ice].max() == 0
    assert lost[ice].min() + 1e-3 >= 5
    assert lost[ice].max() <= 40.001


def test_noise_has_the_size_that_was_asked_for():
    still = dem_pair((200, 220), shift=(0, 0, 0), noise=DemNoise(0.5, 1.0, 5.0, 0.0), seed=4)
    assert (still.tgt - still.ref).values.std() == pytest.approx(np.hypot(0.5, 1.0), rel=0.15)


def test_a_mosaic_has_a_truth_at_every_pixel():
    both = dem_pair((200, 250), noise=NONE, mosaic=Mosaic(), seed=5)
    assert both.field.shape == (3, 200, 250)
    assert 1.0 < both.field[0].std() < 6.0
    assert both.shift == pytest.approx(tuple(both.field.mean((1, 2))))
