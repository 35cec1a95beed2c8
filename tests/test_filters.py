"""Filters flag and never remove; each can be replaced."""

import numpy as np
import pytest

from xcoreg import filters
from xcoreg.core.matches import Status
from xcoreg.errors import OptionError
from xcoreg.filters import run_filters
from xcoreg.results.tiepoints import TiePoints

N = 15


def table(wrong=(), by=2.0, **columns):
    """Tie points 200 px apart on a slanted field (10 m px) with 0.02 px noise; some wrong by so many px."""
    col, row = (part.ravel() * 200.0 for part in np.meshgrid(np.arange(N), np.arange(N)))
    rng = np.random.default_rng(0)
    dcol = 1e-4 * col + rng.normal(0, 0.02, N * N)
    drow = 5e-5 * row + rng.normal(0, 0.02, N * N)
    dcol[list(wrong)] += by
    cov = np.tile(np.eye(2) * (10 * 0.02) ** 2, (N * N, 1, 1))
    return TiePoints(
        np.arange(N * N), row, col, 10 * col, -10 * row, 10 * dcol, -10 * drow, dcol, drow, cov=cov, **columns
    )


@pytest.mark.parametrize("name", ["neighbours", "model"])
@pytest.mark.parametrize("wrong", [(112,), (0, 14, 210, 224), tuple(range(0, 225, 9)), (96, 97, 111, 112)])
def test_wrong_points_are_flagged_and_good_ones_kept(name, wrong):
    points = run_filters(table(wrong), [name])
    assert len(points) == N * N
    assert (points.status[list(wrong)] == Status.OUTLIER).all()
    good = np.setdiff1d(np.arange(N * N), wrong)
    assert points.ok[good].mean() > 0.98


@pytest.mark.parametrize("name", ["neighbours", "model"])
def test_small_contradictions_are_left_alone(name):
    assert run_filters(table((112,), by=0.08), [name]).ok.all()


def test_an_uncertain_window_may_be_off_where_it_is_uncertain():
    points = table((112,))
    cov = points.cov.copy()
    cov[112, 0, 0] = (10 * 1.5) ** 2
    vague = TiePoints.from_dict({**points.to_dict(), "cov": cov.tolist()})
    assert run_filters(vague, ["neighbours"]).ok[112]


def test_reliability_and_ssim_have_thresholds():
    reliability, before = np.full(N * N, 90.0), np.full(N * N, 0.5)
    after = np.full(N * N, 0.8)
    reliability[3], after[4] = 40, 0.45
    points = table(reliability=reliability, ssim_before=before, ssim_after=after)
    assert run_filters(points, ["reliability"]).ok.all()
    assert run_filters(points, [filters.reliability(60)]).status[3] == Status.AMBIGUOUS
    assert run_filters(points, ["ssim"]).counts() == {"OK": N * N - 1, "NOT_IMPROVED": 1}
    assert not run_filters(points, [filters.ssim(0.4)]).ok.any()


def test_unknown_quality_is_no_reason():
    assert run_filters(table(), ["reliability", "ssim"]).ok.all()


def test_the_first_reason_stays():
    points = table((112,)).with_status(np.arange(N * N) == 112, Status.FLAT)
    assert run_filters(points, ["neighbours", "model"]).status[112] == Status.FLAT


def test_few_points_are_left_alone():
    few = table((1,)).take([0, 1, 2])
    assert run_filters(few, ["model"]).ok.all()


def test_a_filter_of_ones_own_may_return_points():
    flag = lambda p: p.with_status(p.col < 1, Status.MASKED)  # noqa: E731
    assert run_filters(table(), [flag]).counts()["MASKED"] == N


@pytest.mark.parametrize(
    ("one", "message"),
    [
        ("nearest", "choose from"),
        (3, "name or a function"),
        (lambda _: np.zeros(3, bool), "shape"),
        (lambda p: p.dx, "bool mask"),
        (lambda p: p.take([0]), "returned 1"),
    ],
)
def test_what_is_no_filter_is_refused(one, message):
    with pytest.raises(OptionError, match=message):
        run_filters(table(), [one])
