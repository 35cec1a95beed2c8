import numpy as np
import pytest

from xcoreg.core.matcher import rival_fit
from xcoreg.simulate import window_pairs


def tiles(period, side, seed=0, noise=0.1):
    """A field that repeats itself every `period` pixels along both axes, with some noise of its own."""
    at = 2 * np.pi * np.arange(side) / period
    wave = np.cos(at) + 0.5 * np.cos(2 * at + 1)
    return (wave[:, None] * wave + noise * np.random.default_rng(seed).standard_normal((side, side)))[None]


def run(tgt, ref, move, limit):
    ref, tgt = ref.astype(np.float32), tgt.astype(np.float32)
    return rival_fit(tgt, ref, np.ones(ref.shape, bool), np.asarray(move, float).reshape(-1, 2), limit)


@pytest.mark.parametrize(("period", "side"), [(6, 64), (8, 64), (16, 64), (16, 128), (24, 128), (40, 256)])
def test_a_period_within_reach_is_found(period, side):
    assert run(tiles(period, side, 2), tiles(period, side, 1), (0, 0), 0.4 * side)[0] > 0.9


def test_a_period_out_of_reach_does_not_matter():
    assert run(tiles(24, 128, 2), tiles(24, 128, 1), (0, 0), 10)[0] < 0.5


@pytest.mark.parametrize("snr_db", [30.0, 10.0])
def test_natural_scenes_do_not_repeat_themselves(snr_db):
    pairs = window_pairs(40, 64, snr_db, seed=3)
    assert run(pairs.tgt, pairs.ref, pairs.truth, 25).max() < 0.75


def test_rows_are_judged_apart():
    ref = np.concatenate([tiles(8, 64, 1), window_pairs(1, 64, 20.0, seed=4).ref])
    ratio = run(ref, ref, np.zeros((2, 2)), 25)
    assert ratio[0] > 0.9
    assert ratio[1] < 0.75
