import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.ndimage import gaussian_filter

from xcoreg.core.peaks import correlate, surface
from xcoreg.simulate import window_pairs


def periodic(n=2, size=64, seed=0):
    noise = np.random.default_rng(seed).standard_normal((n, size, size))
    return gaussian_filter(noise, (0, 1.2, 1.2), mode="wrap").astype(np.float32)


def everywhere(images):
    return np.ones(images.shape, bool)


def blob(images, fraction=0.3):
    """A mask with a hole of about so large a part of the window."""
    valid, side = everywhere(images), round(images.shape[1] * fraction**0.5)
    valid[:, 5 : 5 + side, 9 : 9 + side] = False
    return valid


# --- surface ---------------------------------------------------------------------------------------------------------


@settings(max_examples=25, derandomize=True)
@given(st.integers(-20, 20), st.integers(-20, 20))
def test_a_roll_is_found_exactly(dcol, drow):
    ref = periodic()
    tgt, ok = np.roll(ref, (-drow, -dcol), (1, 2)), everywhere(ref)
    for heights in surface(tgt, ref, ok, ok):
        assert np.unravel_index(heights.argmax(), heights.shape) == (drow % 64, dcol % 64)


def test_images_swapped_turn_the_surface_about():
    pairs, ok = window_pairs(3, 64, 20.0, seed=1), np.ones((3, 64, 64), bool)
    there, back = surface(pairs.tgt, pairs.ref, ok, ok), surface(pairs.ref, pairs.tgt, ok, ok)
    assert there == pytest.approx(np.roll(back[:, ::-1, ::-1], (1, 1), (1, 2)), abs=1e-5)


def test_gain_and_offset_change_nothing():
    pairs, ok = window_pairs(3, 64, 20.0, seed=1), np.ones((3, 64, 64), bool)
    plain, bright = surface(pairs.tgt, pairs.ref, ok, ok), surface(0.1 * pairs.tgt - 2, 5 * pairs.ref + 300, ok, ok)
    assert bright == pytest.approx(plain, abs=1e-3)


def test_values_that_are_not_valid_change_nothing():
    pairs = window_pairs(3, 64, 20.0, seed=1)
    valid = blob(pairs.tgt)
    spoiled = np.where(valid, pairs.tgt, 1e4).astype(np.float32)
    plain = surface(pairs.tgt, pairs.ref, valid, everywhere(pairs.ref))
    assert np.array_equal(surface(spoiled, pairs.ref, valid, everywhere(pairs.ref)), plain)


# --- peaks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [20.0, 10.0])
def test_moves_are_right_to_half_a_pixel(snr_db):
    pairs, ok = window_pairs(30, 64, snr_db, max_shift=9.0, seed=2), np.ones((30, 64, 64), bool)
    peaks = correlate(pairs.tgt, pairs.ref, ok, ok, max_shift=12)
    assert np.abs(peaks.move - pairs.truth).max() < 0.7


def test_moves_are_right_with_a_third_masked():
    pairs = window_pairs(30, 64, 20.0, max_shift=5.0, seed=3)
    peaks = correlate(pairs.tgt, pairs.ref, blob(pairs.tgt), everywhere(pairs.ref), max_shift=12)
    assert np.abs(peaks.move - pairs.truth).max() < 0.8


def test_a_constant_hole_in_both_is_no_feature():
    pairs = window_pairs(20, 64, 20.0, max_shift=5.0, seed=4)
    valid = blob(pairs.ref)
    ref, tgt = (np.where(valid, image, 0).astype(np.float32) for image in (pairs.ref, pairs.tgt))
    peaks = correlate(tgt, ref, valid, valid, max_shift=12)
    assert np.abs(peaks.move - pairs.truth).max() < 0.8


def test_nothing_beyond_max_shift_is_found():
    ref, ok = periodic(), everywhere(periodic())
    peaks = correlate(np.roll(ref, (0, -9), (1, 2)), ref, ok, ok, max_shift=5)
    assert np.abs(peaks.move).max() <= 5.5


@pytest.mark.parametrize(("contrast", "sign"), [("reversed", -1), ("any", -1)])
def test_reversed_contrast_has_a_negative_height(contrast, sign):
    pairs, ok = window_pairs(5, 64, 20.0, seed=5), np.ones((5, 64, 64), bool)
    peaks = correlate(-pairs.tgt, pairs.ref, ok, ok, max_shift=12, contrast=contrast)
    assert (np.sign(peaks.height) == sign).all()
    assert np.abs(peaks.move - pairs.truth).max() < 0.7


def test_any_contrast_finds_the_usual_one_too():
    pairs, ok = window_pairs(5, 64, 20.0, seed=5), np.ones((5, 64, 64), bool)
    peaks = correlate(pairs.tgt, pairs.ref, ok, ok, max_shift=12, contrast="any")
    assert (peaks.height > 0).all()


def test_chance_separates_true_pairs_from_unrelated_ones():
    ok = np.ones((25, 64, 64), bool)
    true, false = (window_pairs(25, 64, 10.0, seed=6, unrelated=apart) for apart in (False, True))
    values = [correlate(pairs.tgt, pairs.ref, ok, ok, max_shift=25).log10_chance for pairs in (true, false)]
    assert values[0].max() < -10
    assert values[1].min() > -4


def test_rivals_stand_near_the_peak_of_unrelated_pairs_only():
    ok = np.ones((25, 64, 64), bool)
    true, false = (window_pairs(25, 64, 20.0, seed=7, unrelated=apart) for apart in (False, True))
    values = [np.median(correlate(pairs.tgt, pairs.ref, ok, ok, max_shift=25).rival) for pairs in (true, false)]
    assert values[0] < 0.3
    assert values[1] > 0.7
