import numpy as np
import pytest

import xcoreg
from xcoreg.core.matches import Matches, Status
from xcoreg.errors import MatchError
from xcoreg.matching.acceptance import Acceptance
from xcoreg.matching.options import check_options
from xcoreg.matching.result import build_fit, failure
from xcoreg.matching.scene import prepare
from xcoreg.matching.windows import WindowMatches

SEED_000 = (0.357885632465, 0.433837319984 - 2)


@pytest.fixture(scope="module")
def scene(plain):
    return prepare(plain.tgt, plain.ref, check_options({}))


def windows(moves, status=None, **columns):
    moves = np.asarray(moves, float).reshape(-1, 2)
    n = len(moves)
    x, y = np.full(n, 301000.0), np.full(n, 5899000.0)
    cov = np.tile(np.diag([4e-6, 9e-6]), (n, 1, 1))
    matches = Matches(moves[:, 0], moves[:, 1], cov=cov, status=status, **columns)
    return [WindowMatches(x, y, 96, 10 * moves[:, 0], -10 * moves[:, 1], matches)]


def build(scene, moves, found=Status.OK, inliers=None, status=None, options=None, **columns):
    rounds = windows(moves, status, **columns)
    inliers = np.ones(len(rounds[0].x), bool) if inliers is None else np.asarray(inliers)
    move = np.asarray(moves, float).reshape(-1, 2)[0]
    answer = Acceptance(found, inliers, move, np.diag([4e-6, 9e-6]))
    return build_fit(scene, check_options(options or {}), rounds, answer)


# --- the answer ------------------------------------------------------------------------------------------------------


def test_map_shift_of_seed_000(scene):
    shift = build(scene, SEED_000).shift
    assert (shift.dx, shift.dy) == pytest.approx((3.578856324660592, 15.661626799963415), abs=2e-9)


def test_length_and_angle_of_seed_000(scene):
    shift = build(scene, SEED_000).shift
    assert shift.length == pytest.approx(16.065328089207995, abs=2e-9)
    assert shift.angle == pytest.approx(192.871719197, abs=1e-8)


def test_corner_of_seed_000(scene):
    moved = build(scene, SEED_000).moved_transform
    assert (moved.c, moved.f) == pytest.approx((300003.57885632466, 5900055.6616268), abs=2e-8)


def test_the_interim_results_of_seed_000(scene):
    interim = build(scene, SEED_000).details.interim
    assert interim.integer == (0, -2)
    assert interim.subpixel == pytest.approx([0.357885632465, 0.433837319984])


def test_covariance_is_carried_to_the_map(scene):
    shift = build(scene, SEED_000).shift
    assert shift.sigma == pytest.approx((0.02, 0.03))
    assert shift.sigma_px == pytest.approx((0.002, 0.003))


def test_the_model_predicts_the_shift_everywhere(scene):
    dx, dy = build(scene, SEED_000).model.predict([0.0, 1e6], [5.0, 6.0])
    assert dx == pytest.approx([3.578856324660592] * 2)
    assert dy == pytest.approx([15.661626799963415] * 2)


def test_the_target_is_described(scene, plain):
    fit = build(scene, SEED_000)
    assert fit.shape == plain.tgt.shape
    assert fit.transform == (10, 0, 300000, 0, -10, 5900040)
    assert fit.details.ref_grid.shape == (240, 260)
    assert fit.shift.unit == "metre"


def test_a_fit_survives_its_file(scene, tmp_path):
    fit = build(scene, SEED_000, options={"nodata": float("nan"), "ref_nodata": float("-inf"), "at": (301000, 5899000)})
    fit.save(tmp_path / "fit.json")
    back = xcoreg.load_fit(tmp_path / "fit.json")
    assert back.shift == fit.shift
    assert back.details.interim.subpixel == pytest.approx(fit.details.interim.subpixel)
    assert back.points.counts() == fit.points.counts()


# --- windows ---------------------------------------------------------------------------------------------------------


def test_windows_of_another_shift_are_outliers(scene):
    fit = build(scene, [[1, 2], [1, 2], [9, 9]], inliers=[True, True, False])
    assert fit.points.counts() == {"OK": 2, "OUTLIER": 1}
    assert len(fit.quality.warnings) == 1
    assert "dcol +1.00 to +9.00 px, drow +2.00 to +9.00 px" in fit.quality.warnings[0]


def test_an_answer_of_one_window_of_many_is_reported(scene):
    fit = build(scene, [[1, 2], [1, 2], [9, 9]], inliers=[True, False, False], status=[0, 3, 3])
    assert any("rests on one of 3 windows" in line for line in fit.quality.warnings)


def test_windows_beyond_max_shift_are_too_far(scene):
    fit = build(
        scene, [[7, 1], [7, 1], [2, 9]], Status.TOO_FAR, inliers=[False, False, False], options={"max_shift": 5.0}
    )
    assert fit.points.counts() == {"TOO_FAR": 3}


def test_quality_is_the_median_of_the_windows_that_agree(scene):
    fit = build(
        scene,
        [[1.0, 2.0], [1.1, 2.0], [1.2, 2.0], [9.0, 9.0]],
        inliers=[True, True, True, False],
        score=[0.9, 0.8, 0.7, 0.1],
        reliability=[90, 80, 70, 10],
        ssim_before=[0.3, 0.2, 0.1, 0.9],
        ssim_after=[0.9, 0.8, np.nan, 0.0],
        phase_dcol=[0.01, 0.02, 0.03, 5.0],
    )
    quality = fit.quality
    assert (quality.score, quality.reliability, quality.ssim_before) == pytest.approx((0.8, 80, 0.2))
    assert quality.ssim_after == pytest.approx(0.85)
    assert quality.phase_dcol == pytest.approx(0.02)
    assert (quality.n_windows, quality.n_ok) == (4, 3)
    assert quality.spread_px == pytest.approx(1.4826 * 0.1 / np.sqrt(2))


# --- failure ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [one for one in Status if one is not Status.OK])
def test_every_failure_has_reason_counts_and_cure(scene, status):
    fit = build(scene, [[1, 2], [3, 4]], status, inliers=[False, False], status=[status, Status.NO_PEAK])
    error = failure(fit, check_options({}))
    assert isinstance(error, MatchError)
    assert error.reason.startswith("no trustworthy match: ")
    assert "2 windows tried" in error.reason
    assert len(error.reason.split("; ")[-1]) > 10
    assert error.points is fit.points


def test_a_failed_fit_has_no_shift(scene):
    fit = build(scene, [[1, 2]], Status.NO_PEAK, inliers=[False], status=[Status.NO_PEAK])
    assert not fit
    assert fit.shift_or_none is None
    assert fit.model is None


def test_contradicting_windows_are_reported_with_their_range(scene):
    fit = build(scene, [[1, 2], [3, -4.5]], Status.OUTLIER, inliers=[False, False])
    assert "dcol +1.00 to +3.00 px, drow -4.50 to +2.00 px" in failure(fit, check_options({})).reason


def test_too_far_is_reported_with_the_limit(scene):
    options = {"max_shift": 5.0}
    fit = build(scene, [[7, 1]], Status.TOO_FAR, inliers=[False], options=options)
    assert "beyond max_shift (5 px)" in failure(fit, check_options(options)).reason
