"""Robust least squares between windows of two elevation models whose correction is known."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg.core.dem import DemWindow, SearchArea, parse_terms, solve
from xcoreg.core.matches import Status
from xcoreg.simulate import DemNoise, dem_pair

GSD = 20.0
CALM = DemNoise(0.3, 0.0, 5.0, 0.0)


def patch_of(both, mask=None, **columns):
    valid = np.ones(both.ref.shape, bool)
    level = float(both.ref.mean())
    return DemWindow(
        both.tgt.values - level, both.ref.values - level, valid if mask is None else mask, valid, **columns
    )


def off(found, truth=(9.2, 2.7, -2.0)):
    """Errors in m."""
    return np.array([found.move[0] * GSD, -found.move[1] * GSD, found.height[0]]) - truth


@pytest.fixture(scope="module")
def both():
    return dem_pair((150, 180), noise=CALM, seed=4)


@pytest.mark.parametrize(("matcher", "limit"), [("nuth_kaab", 0.03), ("nuth_kaab:classic", 0.12)])
def test_both_solutions_find_the_shift(both, matcher, limit):
    found = solve([patch_of(both)], parse_terms(matcher), to_metres=np.diag([GSD, -GSD]))
    assert found.status is Status.OK
    assert np.abs(off(found)).max() < limit
    assert found.nmad_after < 0.3 * found.nmad_before
    assert abs(found.median_after) < 0.02


def test_no_noise_leaves_no_bias():
    found = solve([patch_of(dem_pair((150, 180), noise=DemNoise(0, 0, 5, 0), seed=1))], parse_terms("nuth_kaab"))
    assert np.abs(off(found)).max() < 0.005


@pytest.mark.parametrize("shift", [(400.0, -250.0, 3.0), (0.0, 0.0, 0.0)])
def test_far_shifts_and_none_are_found(shift):
    both = dem_pair((250, 300), shift=shift, noise=CALM, seed=2)
    assert np.abs(off(solve([patch_of(both)], parse_terms("nuth_kaab")), shift)).max() < 0.05


def test_windows_share_one_answer(both):
    whole = patch_of(both)
    halves = [
        DemWindow(
            *(part[:, cut] for part in (whole.tgt, whole.ref, whole.tgt_valid, whole.ref_valid)), centre=(at, 0.0)
        )
        for cut, at in ((slice(0, 90), -45.0), (slice(90, 180), 45.0))
    ]
    apart, together = (solve(some, parse_terms("nuth_kaab")) for some in (halves, [whole]))
    assert apart.move == pytest.approx(together.move, abs=2e-3)


def test_a_base_is_a_part_of_the_correction(both):
    whole = patch_of(both)
    cut = DemWindow(
        whole.tgt[:, :-3], whole.ref[:, 3:], whole.tgt_valid[:, 3:], whole.ref_valid[:, 3:], base=(3.0, 0.0)
    )
    assert np.abs(off(solve([cut], parse_terms("nuth_kaab")))).max() < 0.05


def test_a_tilt_is_estimated_along_with_the_shift(both):
    tilted = patch_of(both)
    tilt = 0.02 * (np.arange(180.0) - 89.5)[None, :]
    tilted = DemWindow((tilted.tgt - tilt).astype(np.float32), tilted.ref, tilted.tgt_valid, tilted.ref_valid)
    found = solve([tilted], parse_terms(["nuth_kaab", "deramp"]))
    assert np.abs(off(found)).max() < 0.04
    assert found.height[1] / found.basis.scale == pytest.approx(0.02, abs=2e-4)


@pytest.mark.parametrize("how", ["median", "mean", "weighted"])
def test_an_offset_alone(how):
    both = dem_pair((100, 120), shift=(0.0, 0.0, 4.0), noise=CALM, seed=3)
    found = solve([patch_of(both)], parse_terms(f"vertical:{how}"))
    assert found.height[0] == pytest.approx(4.0, abs=0.02)
    assert found.move.tolist() == [0.0, 0.0]


def windows(ref, tgt=None, valid=None):
    tgt, ok = ref if tgt is None else tgt, np.ones(ref.shape, bool)
    return [DemWindow(tgt.astype(np.float32), ref.astype(np.float32), ok if valid is None else valid, ok)]


ROWS, COLS = np.mgrid[:100, :100].astype(float)
RIDGES = 30 * np.sin(COLS / 8)
NOISE = np.random.default_rng(5).normal(0, 0.5, (2, 100, 100))
NOWHERE = np.zeros((100, 100), bool)


@pytest.mark.parametrize(
    ("ref", "tgt", "valid", "status"),
    [
        (np.full((100, 100), 7.0), None, None, Status.FLAT),
        (NOISE[0], NOISE[1], None, Status.UNCONSTRAINED),
        (0.1 * COLS + NOISE[0], 0.1 * COLS + NOISE[1], None, Status.UNCONSTRAINED),
        (RIDGES + NOISE[0], RIDGES + NOISE[1], None, Status.UNCONSTRAINED),
        (RIDGES, RIDGES, NOWHERE, Status.NO_DATA),
        (RIDGES, np.full((100, 100), 7.0), None, Status.FLAT),
    ],
    ids=["constant", "noise", "plane", "ridges", "void", "one is constant"],
)
def test_terrain_without_relief_gives_a_reason_and_no_zero(ref, tgt, valid, status):
    found = solve(windows(ref, tgt, valid), parse_terms("nuth_kaab"))
    assert found.status is status
    assert np.isinf(found.cov[1, 1])
    assert np.isnan(found.move[1])


def test_ridges_determine_the_shift_across_them():
    moved = 30 * np.sin((COLS - 0.4) / 8)
    found = solve(windows(moved + NOISE[0], RIDGES + NOISE[1]), parse_terms("nuth_kaab"))
    assert found.move[0] == pytest.approx(0.4, abs=0.02)
    assert np.isfinite(found.cov[0, 0])


def test_the_largest_shift_is_respected(both):
    assert solve([patch_of(both)], parse_terms("nuth_kaab"), SearchArea(0.3)).status is Status.TOO_FAR


@pytest.mark.slow
def test_covariances_are_honest_in_correlated_noise():
    errors = []
    for seed in range(24):
        found = solve([patch_of(dem_pair((200, 260), seed=seed))], parse_terms("nuth_kaab"))
        errors.append(off(found) / np.sqrt(np.diag(found.cov)) / [GSD, GSD, 1.0])
    # 72 normalised errors of three axes: sampling alone spreads their size by a tenth.
    assert 0.7 < np.sqrt(np.mean(np.square(errors))) < 1.35


def test_scattered_voids_leave_enough(both):
    whole = patch_of(both)
    valid = np.random.default_rng(6).random(both.ref.shape) > 0.12
    found = solve(
        [DemWindow(np.where(valid, whole.tgt, 0), whole.ref, valid, whole.ref_valid)], parse_terms("nuth_kaab")
    )
    assert found.status is Status.OK
    assert found.count > 1500
    assert np.abs(off(found)).max() < 0.2


@pytest.mark.parametrize("how", ["median", "mean"])
def test_an_offset_in_a_chain_is_taken_once_the_shift_is_known(both, how):
    found = solve([patch_of(both)], parse_terms(["nuth_kaab", f"vertical:{how}"]))
    assert np.abs(off(found)).max() < 0.05
    if how == "median":
        assert found.median_after == pytest.approx(0.0, abs=1e-3)


def test_a_shift_nobody_asked_for_has_no_variance(both):
    found = solve([patch_of(both)], parse_terms("vertical"))
    assert np.isnan(found.cov[:2, :2].diagonal()).all()
    assert found.cov[2, 2] > 0
