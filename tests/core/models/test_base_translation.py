import json
import pickle

import numpy as np
import pytest

from xcoreg.core.models import Translation, model_from_dict

UNIT = np.eye(2)


def fit(dx, dy, cov=None):
    zero = np.zeros(len(dx))
    return Translation.fit(zero, zero, dx, dy, cov)


def test_predict_broadcasts_positions():
    dx, dy = Translation(3.0, -4.0).predict(np.zeros((2, 1)), np.zeros(3))
    assert dx.shape == dy.shape == (2, 3)
    assert (dx == 3.0).all()
    assert (dy == -4.0).all()


def test_predict_cov_leaves_the_vertical_out():
    cov = np.diag([1.0, 2.0, 9.0])
    assert np.array_equal(Translation(0, 0, 0, cov).predict_cov(5.0, 5.0), np.diag([1.0, 2.0]))


def test_a_covariance_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="2 x 2 or 3 x 3"):
        Translation(0, 0, cov=((1.0,),))


def test_one_window_is_taken_as_it_is():
    model = fit([1.25], [-2.5], [0.04 * UNIT])
    assert (model.dx, model.dy) == pytest.approx((1.25, -2.5), rel=1e-14)
    assert np.allclose(model.cov, 0.04 * UNIT, rtol=1e-12)


def test_n_equal_windows_divide_the_covariance_by_n():
    model = fit(np.full(9, 2.0), np.full(9, 3.0), np.tile(0.09 * UNIT, (9, 1, 1)))
    assert np.allclose(model.cov, 0.01 * UNIT)


def test_correlated_covariances_weigh_directions():
    # The first window knows x + y, the second x - y: together they know both.
    a, b = np.array([[1.0, -0.99], [-0.99, 1.0]]), np.array([[1.0, 0.99], [0.99, 1.0]])
    model = fit([1.0 + 0.7, 1.0 + 0.7], [2.0 - 0.7, 2.0 + 0.7], [a, b])
    assert (model.dx, model.dy) == pytest.approx((1.0, 2.0), abs=0.01)


def test_windows_that_contradict_widen_the_covariance():
    model = fit([0.0, 1.0, 2.0], [0.0, 0.0, 0.0], np.tile(1e-4 * UNIT, (3, 1, 1)))
    assert model.cov[0][0] == pytest.approx((2.0 / 1e-4 / 4) * 1e-4 / 3)


def test_windows_that_agree_leave_the_covariance():
    model = fit([0.0, 0.01, 0.02], [0.0, 0.0, 0.0], np.tile(1e-4 * UNIT, (3, 1, 1)))
    assert np.allclose(model.cov, 1e-4 / 3 * UNIT)


def test_covariance_is_calibrated_over_many_draws():
    rng = np.random.default_rng(7)
    cov = np.array([[0.04, 0.01], [0.01, 0.02]])
    errors = rng.multivariate_normal([0, 0], cov, size=(2000, 6))
    chi2 = []
    for one in errors:
        model = fit(one[:, 0], one[:, 1], np.tile(cov, (6, 1, 1)))
        v = np.array([model.dx, model.dy])
        chi2.append(v @ np.linalg.solve(np.array(model.cov), v))
    assert np.mean(chi2) == pytest.approx(2.0, abs=5 * 2 / np.sqrt(2000))


def test_windows_without_covariance_count_like_the_others():
    model = fit([0.0, 1.0], [0.0, 0.0], [0.01 * UNIT, np.full((2, 2), np.nan)])
    assert model.dx == pytest.approx(0.5)


def test_without_covariances_the_scatter_is_used():
    rng = np.random.default_rng(3)
    dx, dy = rng.normal(size=(2, 50))
    model = fit(dx, dy)
    assert model.dx == pytest.approx(dx.mean())
    assert model.cov[1][1] == pytest.approx(dy.var(ddof=1) / 50)


def test_one_window_without_covariance_has_an_unknown_one():
    assert np.isnan(fit([1.0], [1.0]).cov).all()


def test_rows_that_are_not_finite_are_left_out():
    assert fit([1.0, np.nan], [1.0, 0.0], np.tile(UNIT, (2, 1, 1))).dx == 1.0


def test_no_finite_row_is_an_error():
    with pytest.raises(ValueError, match="finite"):
        fit([np.nan], [1.0])


def test_json_round_trip_is_exact():
    model = Translation(0.1 + 0.2, -1e-17, 3.3, ((1 / 3, 1e-9), (1e-9, 0.7)))
    assert model_from_dict(json.loads(json.dumps(model.to_dict()))) == model


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match="'spiral' is unknown"):
        model_from_dict({"kind": "spiral"})


def test_pickle_round_trip():
    model = Translation(1.0, 2.0, cov=((1.0, 0.0), (0.0, 1.0)))
    assert pickle.loads(pickle.dumps(model)) == model
