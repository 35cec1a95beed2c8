from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.ndimage import gaussian_filter

from xcoreg.core.matcher import phase_match, phase_peaks, phase_scout
from xcoreg.core.matches import Matches, Status
from xcoreg.simulate import WindowPairs, window_pairs

N, SIDE = 20, 64


def everywhere(images):
    return np.ones(images.shape, bool)


def run(pairs: WindowPairs, **options):
    ok = everywhere(pairs.ref)
    return phase_match(pairs.tgt, pairs.ref, ok, ok, **options)


def moves(matches):
    return np.stack([matches.dcol, matches.drow], -1)


def sigma(matches):
    return np.sqrt(np.diagonal(matches.cov, axis1=1, axis2=2))


def noise(rng, level, side=SIDE):
    return level * rng.standard_normal((1, side, side))


@pytest.fixture(scope="module")
def pairs():
    return window_pairs(N, SIDE, 20.0, max_shift=6.0, seed=21)


@pytest.fixture(scope="module")
def matches(pairs):
    return run(pairs)


# --- the numbers -----------------------------------------------------------------------------------------------------


def test_true_pairs_are_matched(pairs, matches):
    assert matches.ok.all()
    assert np.abs(moves(matches) - pairs.truth).max() < 0.05


def test_swapping_negates(pairs, matches):
    swapped = run(pairs._replace(ref=pairs.tgt, tgt=pairs.ref))
    assert (np.abs(moves(matches) + moves(swapped)) < sigma(matches)).all()


def test_gain_and_offset_change_nothing(pairs, matches):
    bright = run(pairs._replace(ref=3 * pairs.ref + 100, tgt=0.2 * pairs.tgt - 7))
    assert np.abs(moves(bright) - moves(matches)).max() < 1e-3
    assert (bright.status == matches.status).all()


@settings(max_examples=15, derandomize=True)
@given(st.integers(-15, 15), st.integers(-15, 15))
def test_a_roll_of_whole_pixels_is_exact(dcol, drow):
    scene = gaussian_filter(np.random.default_rng(1).standard_normal((1, SIDE, SIDE)), (0, 1.2, 1.2), mode="wrap")
    ref = scene.astype(np.float32)
    found = run_one(ref, np.roll(ref, (-drow, -dcol), (1, 2)))
    assert (found.dcol[0], found.drow[0]) == pytest.approx((dcol, drow), abs=1e-3)


def run_one(ref, tgt, **options):
    ref, tgt = np.asarray(ref, np.float32), np.asarray(tgt, np.float32)
    return phase_match(tgt, ref, everywhere(tgt), everywhere(ref), **options)


@pytest.mark.parametrize("side", [33, 64])
@pytest.mark.parametrize("masked", [False, True])
def test_windows_do_not_see_their_neighbours(side, masked):
    """Answers are the same bit for bit, however windows are batched."""
    pairs = window_pairs(9, side, 20.0, max_shift=4.0, seed=26)
    ok = everywhere(pairs.ref)
    if masked:
        ok[2:, 8:14, 3:20] = False
    together = phase_match(pairs.tgt, pairs.ref, ok, ok)
    cuts = [slice(0, 1), slice(1, 4), slice(4, 9)]
    parts = Matches.concatenate([phase_match(pairs.tgt[c], pairs.ref[c], ok[c], ok[c]) for c in cuts])
    for name in ("dcol", "drow", "cov", "score", "reliability", "ssim_before", "ssim_after", "status"):
        assert np.array_equal(getattr(together, name), getattr(parts, name)), name


def test_threads_change_nothing(pairs, matches):
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: run(pairs), range(8)):
            assert np.array_equal(moves(found), moves(matches))


def test_batches_change_nothing(pairs, matches, monkeypatch):
    monkeypatch.setattr("xcoreg.core.matcher._BATCH_PIXELS", 3 * SIDE * SIDE)
    assert np.array_equal(moves(run(pairs)), moves(matches))


def test_a_cloud_in_one_image_does_not_pull(pairs):
    clouded = pairs.tgt.copy()
    clouded[:, 10:30, 12:34] += 5 * pairs.tgt.std()
    found = run(pairs._replace(tgt=clouded))
    assert found.ok.mean() > 0.9
    assert np.abs(moves(found) - pairs.truth)[found.ok].max() < 0.1


def test_similarity_rises(matches):
    assert (matches.ssim_after > matches.ssim_before + 0.1).all()
    assert (matches.ssim_after > 0.85).all()


def test_reliability_is_a_percentage(matches):
    assert (matches.reliability > 70).all()
    assert (matches.reliability <= 100).all()


@pytest.mark.parametrize("side", [33, 48, 115, 127])
def test_any_side_will_do(side):
    pairs = window_pairs(6, side, 20.0, seed=22)
    found = run(pairs)
    assert found.ok.all()
    assert (np.abs(moves(found) - pairs.truth) < 5 * sigma(found)).all()


def test_windows_need_not_be_square():
    pairs = window_pairs(6, 96, 20.0, seed=23)
    found = run(pairs._replace(ref=pairs.ref[:, :50], tgt=pairs.tgt[:, :50]))
    assert found.ok.all()
    assert (np.abs(moves(found) - pairs.truth) < 5 * sigma(found)).all()


def test_masks_weigh_pixels(pairs):
    valid = everywhere(pairs.tgt)
    valid[:, 15:45, 20:50] = False
    spoiled = np.where(valid, pairs.tgt, 50).astype(np.float32)
    found = phase_match(spoiled, pairs.ref, valid, everywhere(pairs.ref))
    assert found.ok.all()
    assert (np.abs(moves(found) - pairs.truth) < 5 * sigma(found)).all()


def test_nothing_invalid_is_read(pairs):
    valid = everywhere(pairs.tgt)
    valid[:, 15:45, 20:50] = False
    answers = [
        phase_match(np.where(valid, pairs.tgt, fill).astype(np.float32), pairs.ref, valid, everywhere(pairs.ref))
        for fill in (0, 1e4)
    ]
    assert np.array_equal(moves(answers[0]), moves(answers[1]))


# --- the doubts ------------------------------------------------------------------------------------------------------


def test_unrelated_windows_are_refused():
    assert not run(window_pairs(30, SIDE, 20.0, seed=24, unrelated=True)).ok.any()


def test_noise_is_refused():
    assert not run(window_pairs(30, SIDE, -np.inf, seed=25)).ok.any()


def test_a_change_of_contrast_is_refused_unless_allowed(pairs):
    turned = pairs._replace(tgt=-pairs.tgt)
    assert not run(turned).ok.any()
    for contrast in ("reversed", "any"):
        found = run(turned, contrast=contrast)
        assert found.ok.all()
        assert np.abs(moves(found) - pairs.truth).max() < 0.05


@pytest.mark.parametrize("level", [0.0, 1.0, -3e4])
def test_constant_windows_are_flat(level):
    flat = np.full((1, SIDE, SIDE), level)
    assert run_one(flat, flat).status[0] == Status.FLAT


def test_a_single_bright_pixel_is_flat():
    dot = np.zeros((1, SIDE, SIDE))
    dot[0, 30, 30] = 1
    assert run_one(dot, dot).status[0] == Status.FLAT


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (5, 5)])
def test_windows_of_a_few_pixels_hold_no_data(shape):
    few = np.random.default_rng(2).random((2, *shape))
    assert (run_one(few, few).status == Status.NO_DATA).all()


def test_too_few_pixels_in_common_are_no_data(pairs):
    left, right = everywhere(pairs.ref), everywhere(pairs.ref)
    left[:, :, 33:], right[:, :, :31] = False, False
    assert (phase_match(pairs.tgt, pairs.ref, right, left).status == Status.NO_DATA).all()


def test_stripes_leave_one_direction_open():
    rng = np.random.default_rng(3)
    stripes = np.tile(gaussian_filter(rng.standard_normal(SIDE), 1), (1, SIDE, 1))
    found = run_one(stripes + noise(rng, 0.02), stripes + noise(rng, 0.02))
    assert found.status[0] in (Status.UNCONSTRAINED, Status.AMBIGUOUS)


def test_a_chequered_field_is_ambiguous():
    rng = np.random.default_rng(4)
    wave = np.cos(2 * np.pi * np.arange(128) / 6) + 0.5 * np.cos(4 * np.pi * np.arange(128) / 6 + 1)
    field = (wave[:, None] * wave)[None]
    found = run_one(field + noise(rng, 0.1, 128), np.roll(field, 7, 2) + noise(rng, 0.1, 128))
    assert found.status[0] == Status.AMBIGUOUS


def test_what_lies_beyond_max_shift_is_not_found(pairs):
    far = np.abs(pairs.truth).max(1) > 4
    found = run(pairs, max_shift=2.0)
    assert not found.ok[far].any()


def test_no_windows_give_no_matches():
    assert len(run_one(np.empty((0, SIDE, SIDE)), np.empty((0, SIDE, SIDE)))) == 0


def test_one_blob_that_fits_another_is_no_match():
    rng = np.random.default_rng(12)
    blob = np.zeros((128, 128))
    blob[60:72, 50:64] = 50
    blob = gaussian_filter(blob, 1)[None]
    found = run_one(blob + noise(rng, 1.0, 128), np.roll(blob, (5, 9), (1, 2)) + noise(rng, 1.0, 128))
    assert found.status[0] == Status.FLAT


def test_whole_pixels_are_scouted_in_the_centre_of_windows():
    rng = np.random.default_rng(4)
    scene = gaussian_filter(rng.standard_normal((220, 220)), 1.5).astype(np.float32)
    ref, tgt = scene[None, 10:202, 10:202].copy(), scene[None, 7:199, 15:207].copy()
    valid = np.ones(ref.shape, bool)
    inner = (slice(None), slice(32, 160), slice(32, 160))
    for image in (ref, tgt):
        border = np.ones(image.shape, bool)
        border[inner] = False
        image[border] = rng.standard_normal(border.sum())
    assert phase_scout(tgt, ref, valid, valid, max_shift=20, side=128).tolist() == [[5, -3]]
    unrelated = rng.standard_normal(ref.shape).astype(np.float32)
    assert phase_scout(unrelated, ref, valid, valid, max_shift=20, side=128).tolist() == [[0, 0]]


def test_peaks_alone_lie_near_the_truth_or_are_not_given():
    rng = np.random.default_rng(5)
    scene = gaussian_filter(rng.standard_normal((90, 90)), 1.5).astype(np.float32)
    noise = rng.standard_normal((2, 64, 64)).astype(np.float32)
    tgt, ref = np.stack([scene[7:71, 15:79], noise[0]]), np.stack([scene[10:74, 10:74], noise[1]])
    valid = everywhere(ref)
    found = phase_peaks(tgt, ref, valid, valid, max_shift=20)
    assert np.abs(found[0] - (5, -3)).max() < 0.2
    assert np.isnan(found[1]).all()


def test_large_windows_are_scouted_whole_where_their_centre_shows_nothing():
    rng = np.random.default_rng(6)
    scene = gaussian_filter(rng.standard_normal((240, 300)), 1.5).astype(np.float32)
    scene[60:180, 100:200] = 0
    tgt, ref = scene[None, 17:209, 55:247], scene[None, 20:212, 50:242]
    valid = everywhere(ref)
    assert np.isnan(phase_peaks(*(image[:, 48:144, 48:144] for image in (tgt, ref, valid, valid)))).all()
    assert phase_scout(tgt, ref, valid, valid).tolist() == [[5, -3]]
