import numpy as np
import pytest

from xcoreg.core.models import Degenerate, adjust, model_from_dict

KINDS = ("similarity", "affine", "homography")
NOISE = 0.5


def true_move(kind, x, y):
    u, v = (x - 4e5) / 5e3, (y - 6e6) / 5e3
    below = 1 + (0.02 * u - 0.01 * v if kind == "homography" else 0)
    shear = 0.0 if kind == "similarity" else 40.0
    ahead = 5e3 * u + 120 - 700 * u + 900 * v + shear * v, 5e3 * v - 60 - 900 * u - 700 * v
    return ahead[0] / below - 5e3 * u, ahead[1] / below - 5e3 * v


def points(kind, seed=0, n=60):
    rng = np.random.default_rng(seed)
    x, y = 4e5 + rng.uniform(-5e3, 5e3, n), 6e6 + rng.uniform(-5e3, 5e3, n)
    dx, dy = (one + NOISE * rng.standard_normal(n) for one in true_move(kind, x, y))
    return x, y, dx, dy, np.tile(NOISE**2 * np.eye(2), (n, 1, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_as_large_as_the_covariance_says(kind):
    at = np.array([4e5 - 4e3, 4e5, 4e5 + 4e3]), np.array([6e6, 6e6 + 4e3, 6e6 - 3e3])
    square = []
    for seed in range(40):
        model, _, _ = adjust(kind, *points(kind, seed))
        off = np.stack(model.predict(*at), -1) - np.stack(true_move(kind, *at), -1)
        square.append(np.einsum("ni,nij,nj->n", off, np.linalg.inv(model.predict_cov(*at)), off).mean() / 2)
    assert 0.7 < np.mean(square) < 1.4


@pytest.mark.parametrize("kind", KINDS)
def test_outliers_get_no_weight(kind):
    x, y, dx, dy, cov = points(kind)
    dx[:9] += 200.0
    model, residual, weight = adjust(kind, x, y, dx, dy, cov)
    assert (weight[:9] == 0).all()
    assert (weight[9:] > 0).all()
    assert np.sqrt((residual[9:] ** 2).mean()) < 1.3 * NOISE
    assert np.hypot(*(np.array(model.predict(4e5, 6e6)) - true_move(kind, 4e5, 6e6))) < 4 * NOISE


def test_a_similarity_does_not_shear():
    a, b, _, d, e, _ = adjust("similarity", *points("similarity"))[0].matrix
    assert (a, b) == pytest.approx((e, -d), abs=1e-12)


def test_the_matrix_predicts_what_the_model_does():
    model = adjust("affine", *points("affine"))[0]
    a, b, c, d, e, f = model.matrix
    x, y = 401234.0, 5998765.0
    dx, dy = model.predict(x, y)
    assert (a * x + b * y + c, d * x + e * y + f) == pytest.approx((x + dx, y + dy), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_models_survive_a_file(kind):
    model = adjust(kind, *points(kind))[0]
    assert model_from_dict(model.to_dict()) == model


def test_too_few_points_are_refused():
    x, y, dx, dy, cov = points("homography", n=4)
    with pytest.raises(Degenerate, match="4 tie points are too few for homography"):
        adjust("homography", x, y, dx, dy, cov)
