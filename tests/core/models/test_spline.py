import numpy as np
import pytest

from xcoreg.core.models import choose_model, fit_model
from xcoreg.core.models.fit import fit_points
from xcoreg.core.models.leastsq import prepare_points
from xcoreg.core.models.smoothing import fit_multilevel, solve, solve_together


def test_a_wave_is_followed_between_the_points(case, truth):
    model = fit_model("spline", *case("wave", n=900, sigma=0.05).args)
    x, y = np.random.default_rng(1).uniform(200, 2800, (2, 500)) + np.array([[4e5], [5e6]])
    off = np.array(model.predict(x, y)) - truth["wave"](x, y)
    assert np.sqrt((off**2).mean()) < 0.02


def test_without_noise_a_wave_of_five_spacings_is_followed_closely(case, truth):
    points = case("short", n=900, sigma=0.0, layout="grid")
    model = fit_model("spline", points.x, points.y, points.dx, points.dy)
    x, y = np.random.default_rng(1).uniform(300, 2600, (2, 500)) + np.array([[4e5], [5e6]])
    off = np.array(model.predict(x, y)) - truth["short"](x, y)
    assert np.sqrt((off**2).mean()) < 0.04


@pytest.mark.parametrize("towards", [(1, 0), (0, -1), (1, 1), (-1, 0.5)])
def test_beyond_the_points_it_goes_straight_on_without_a_kink(towards, case):
    model = fit_model("spline", *case("wave").args)
    t = np.arange(0.0, 4001.0, 1.0)
    dx, _ = model.predict(4e5 + 850 + towards[0] * t, 5e6 + 850 + towards[1] * t)
    slope = np.diff(dx)
    assert np.abs(slope).max() < 0.03
    if 0 in towards:  # beyond a corner two straight lines meet
        assert np.abs(np.diff(slope)).max() < 1e-4
    assert np.abs(np.diff(slope[2500:])).max() < 1e-9


def test_a_step_rings_little(case):
    model = fit_model("spline", *case("step", n=900, layout="grid").args)
    dx, dy = model.predict(np.linspace(4e5, 4e5 + 2900, 300), 5e6 + 1400)
    assert dx.min() > -0.2
    assert dx.max() < 1.2
    assert np.abs(dy).max() < 0.05


def test_uncertainty_is_larger_in_a_gap(case):
    points = case("wave", n=900)
    gap = np.hypot(points.x - 4e5 - 1500, points.y - 5e6 - 1500) < 600
    model = fit_model("spline", *points[~gap].args)
    inside, outside = model.predict_cov(4e5 + np.array([1500.0, 600.0]), 5e6 + np.array([1500.0, 600.0]))[:, 0, 0]
    assert inside > 4 * outside


def test_components_together_or_alone_agree_where_errors_are_round(case):
    points = case("wave", n=200)
    prepared = prepare_points(points.x, points.y, np.column_stack([points.dx, points.dy]), points.cov)
    basis, state, _ = fit_multilevel(prepared)
    round_ = type(state)(state.stiffness, np.eye(2) * 1e-6, state.weights)
    alone, together = solve(basis, prepared, round_), solve_together(basis, prepared, round_)
    assert np.allclose(alone.coef, together.coef, atol=1e-6)
    assert np.allclose(alone.spread, together.spread, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", ["translation", "affine", "polynomial3", "spline", "piecewise"])
def test_a_third_component_rides_along(kind, case):
    points = case("plane", n=150)
    dz = 5.0 + np.random.default_rng(9).normal(0, 0.02, 150)
    covs = np.zeros((150, 3, 3))
    covs[:, :2, :2], covs[:, 2, 2] = points.cov, 0.02**2
    result = fit_points(kind, prepare_points(points.x, points.y, np.column_stack([points.dx, points.dy, dz]), covs))
    assert result.residual.shape == (150, 3)
    assert np.median(np.abs(result.residual[:, 2])) < 0.03 / np.sqrt(np.mean(dz**2 + points.dx**2))


def test_three_thousand_points_take_little(case, effort):
    points = case("short", n=3000)
    assert effort(lambda: choose_model(*points.args)).calls < 200_000  # 95 000, nearly as many as for 1000 points


def test_a_million_places_take_little(case, effort):
    model = fit_model("spline", *case("short", n=900).args)
    x, y = np.random.default_rng(0).uniform(0, 3000, (2, 1_000_000))
    took = effort(lambda: model.predict(4e5 + x, 5e6 + y))
    assert took.calls < 30_000  # 11 000: none is done for one place alone
    assert took.megabytes < 60  # 33, of which the answer is 16
