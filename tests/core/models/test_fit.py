"""What all kinds of models have in common."""

import json
import pickle

import numpy as np
import pytest
from dask.base import tokenize

from xcoreg.core.models import KINDS, Degenerate, Model, assess_model, fit_model, model_from_dict

every_kind = pytest.mark.parametrize("kind", KINDS)
bending = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "translation"])


def places(n, seed=1):
    rng = np.random.default_rng(seed)
    return 4e5 + rng.uniform(-800, 2500, n), 5e6 + rng.uniform(-800, 2500, n)


@every_kind
def test_a_constant_is_found(kind, case):
    model: Model = fit_model(kind, *case("constant").args)
    dx, dy = model.predict(4e5 + 850.0, [5e6, 5e6 + 850.0])
    assert model.kind == kind
    assert dx == pytest.approx(3.0, abs=0.1)
    assert dy == pytest.approx(-1.0, abs=0.1)


@bending
def test_a_plane_is_exact_even_far_outside(kind, case, truth):
    points = case("plane", sigma=0.0)
    model = fit_model(kind, points.x, points.y, points.dx, points.dy)
    x, y = places(300)
    x[:5] += 1e5
    y[3:8] -= 1e5
    assert np.allclose(model.predict(x, y), truth["plane"](x, y), rtol=0, atol=1e-7)


@every_kind
def test_a_value_does_not_hang_on_the_others_asked_for(kind, case):
    model = fit_model(kind, *case().args)
    x, y = places(20001)
    whole, cov = np.array(model.predict(x, y)), model.predict_cov(x, y)
    some = np.random.default_rng(2).permutation(len(x))[:777]
    assert np.array_equal(np.array(model.predict(x[some], y[some])), whole[:, some])
    assert np.array_equal(model.predict_cov(x[some], y[some]), cov[some])
    alone = np.array([model.predict(x[i], y[i]) for i in some[:25]])
    assert np.array_equal(alone.T, whole[:, some[:25]])


@every_kind
def test_positions_broadcast_and_nan_goes_through(kind, case):
    model = fit_model(kind, *case().args)
    dx, dy = model.predict(np.array([[4e5], [np.nan]]), 5e6 + np.arange(3.0))
    assert dx.shape == dy.shape == (2, 3)
    assert np.isfinite(dx[0]).all()
    assert np.isnan(dx[1]).all()
    assert np.isnan(dy[1]).all()
    assert model.predict_cov(np.full((2, 1), 4e5), np.full(3, 5e6)).shape == (2, 3, 2, 2)
    assert model.predict(4e5, 5e6)[0].shape == ()


@every_kind
def test_covariances_are_symmetric_and_positive(kind, case):
    cov = fit_model(kind, *case().args).predict_cov(*places(500))
    assert np.array_equal(cov, cov.transpose(0, 2, 1))
    assert (np.linalg.eigvalsh(cov) > 0).all()


@bending
def test_uncertainty_grows_outside_and_extrapolation_is_reported(kind, case):
    model = fit_model(kind, *case().args)
    inside, near, far = 4e5 + 850.0, 4e5 + 1740.0, 4e5 + 4000.0
    assert model.extrapolates([inside, near, far, np.nan], 5e6 + 850.0).tolist() == [False, False, True, True]
    assert model.predict_cov(far, 5e6 + 850)[0, 0] > 2 * model.predict_cov(inside, 5e6 + 850)[0, 0]


@every_kind
def test_json_pickle_and_token_keep_a_model(kind, case):
    model = fit_model(kind, *case().args)
    again = model_from_dict(json.loads(json.dumps(model.to_dict(), allow_nan=False)))
    carried = pickle.loads(pickle.dumps(model))
    assert again == model == carried
    assert hash(again) == hash(model)
    assert tokenize(again) == tokenize(model) == tokenize(carried)
    x, y = places(50)
    assert np.array_equal(again.predict(x, y), model.predict(x, y))
    assert np.array_equal(again.predict_cov(x, y), model.predict_cov(x, y))
    assert len(repr(model)) < 250


def test_models_differ_when_their_points_do(case):
    one, other = (fit_model("spline", *case(seed=seed).args) for seed in (0, 1))
    assert one != other
    assert tokenize(one) != tokenize(other)


@every_kind
def test_the_order_of_the_points_does_not_matter(kind, case):
    points = case(n=120)
    turned = points[::-1]
    assert fit_model(kind, *points.args) == fit_model(kind, *turned.args)


@every_kind
def test_points_that_are_not_finite_are_left_out(kind, case):
    points = case(n=120)
    points.dx[7] = points.y[9] = np.nan
    choice = assess_model(kind, *points.args)
    kept = np.isfinite(points.dx) & np.isfinite(points.y)
    assert choice.model == fit_model(kind, *points[kept].args)
    assert np.flatnonzero(np.isnan(choice.residual_dx)).tolist() == [7, 9]


@every_kind
def test_a_few_wrong_points_bend_nothing(kind, case):
    points = case("constant" if kind == "translation" else "plane", n=400)
    wrong = np.random.default_rng(3).random(len(points.x)) < 0.04
    x, y = places(400)
    inside = (np.abs(x - 4e5 - 1000) < 800) & (np.abs(y - 5e6 - 1000) < 800)
    clean = np.array(fit_model(kind, *points[~wrong].args).predict(x[inside], y[inside]))
    points.dx[wrong] += 3.0
    dirty = np.array(fit_model(kind, *points.args).predict(x[inside], y[inside]))
    assert np.abs(dirty - clean).max() < 0.08


@every_kind
@pytest.mark.parametrize("unit", [1e-5, 1.0, 1e3])
def test_units_do_not_matter(kind, unit, case):
    points = case(n=100)
    model = fit_model(kind, *points.args)
    scaled = fit_model(kind, *(unit * part for part in points.args[:4]), unit**2 * points.cov)
    x, y = 4e5 + 450.0, 5e6 + np.arange(100.0, 900.0, 100.0)
    assert np.allclose(
        scaled.predict(unit * x, unit * y), unit * np.array(model.predict(x, y)), rtol=1e-5, atol=1e-6 * unit
    )
    assert np.allclose(scaled.predict_cov(unit * x, unit * y), unit**2 * model.predict_cov(x, y), rtol=1e-2)


def test_texture_in_one_direction_is_weighed_by_direction():
    # Every second point knows x + y alone, the others x - y: each component by itself knows nothing.
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1000, (2, 400))
    turn = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    good = np.arange(400) % 2
    sizes = np.where(np.arange(2) == good[:, None], 0.01, 3.0)
    error = (rng.normal(size=(400, 2)) * sizes) @ turn.T
    cov = np.einsum("ia,na,ja->nij", turn, sizes**2, turn)
    for kind in ("translation", "affine", "spline"):
        model = fit_model(kind, x, y, 1 + error[:, 0], 2 + error[:, 1], cov)
        assert np.hypot(*(np.array(model.predict(500.0, 500.0)) - (1, 2))) < 0.02


def test_scatter_is_found_along_its_direction(case):
    points = case("wave", n=600, sigma=0.01)
    along = np.random.default_rng(5).normal(0, 0.3, len(points.x))
    points.dx, points.dy = points.dx + 0.8 * along, points.dy + 0.6 * along
    scatter = np.array(fit_model("spline", *points.args).scatter)
    assert np.allclose(scatter, 0.09 * np.outer([0.8, 0.6], [0.8, 0.6]), atol=0.02)


@pytest.mark.parametrize(("kind", "needed"), [("affine", 4), ("polynomial2", 7), ("polynomial3", 11), ("spline", 10)])
def test_too_few_points_are_refused_with_the_number_needed(kind, needed, case):
    with pytest.raises(Degenerate, match="too few") as error:
        fit_model(kind, *case(n=3).args)
    assert error.value.needed == needed
    assert pickle.loads(pickle.dumps(error.value)).needed == needed


@bending
def test_points_on_a_line_are_refused(kind):
    t = np.arange(30.0)
    with pytest.raises(Degenerate, match="line"):
        fit_model(kind, 1e5 + 3 * t, 2e6 + 4 * t, t, t)


@pytest.mark.parametrize("kind", ["polynomial2", "polynomial3"])
def test_two_lines_of_points_carry_a_plane_but_no_curve(kind):
    t = np.arange(40.0)
    fit_model("affine", t, t % 2, t, t)
    with pytest.raises(Degenerate, match="clustered"):
        fit_model(kind, t, t % 2, t, t)


def test_one_point_far_from_a_cluster_carries_no_plane():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, (2, 20))
    x[:19] = np.linspace(0, 1, 19)
    y[:19] = 0.0
    y[19] = 1.0
    with pytest.raises(Degenerate, match="clustered"):
        fit_model("affine", x, y, x, y)


def test_repeated_positions_count_once(case):
    points = case(n=3)
    with pytest.raises(Degenerate, match="3 positions"):
        fit_model("affine", *(np.repeat(part, 5, axis=0) for part in points.args))


def test_no_finite_point_and_unknown_kinds_are_errors():
    with pytest.raises(Degenerate, match="finite"):
        fit_model("affine", [0.0], [0.0], [np.nan], [0.0])
    with pytest.raises(ValueError, match="'spiral' is unknown"):
        fit_model("spiral", [0.0], [0.0], [1.0], [0.0])


def test_polynomial_means_order_two(case):
    assert fit_model("polynomial", *case().args).kind == "polynomial2"


def test_one_point_without_covariance_has_no_uncertainty():
    assert np.isnan(fit_model("translation", [0.0], [0.0], [1.0], [2.0]).predict_cov(0.0, 0.0)).all()
