import numpy as np
import pytest
from scipy.interpolate import LinearNDInterpolator

from xcoreg.core.models.fit import fit_model
from xcoreg.core.models.triangulation import make_mesh, triangulate


def test_positions_are_located_like_scipy_does():
    rng = np.random.default_rng(0)
    x, y, values = rng.uniform(0, 100, (3, 400))
    mesh = make_mesh(x, y, triangulate(x, y))
    at = rng.uniform(0, 100, (2, 5000))
    place = mesh.locate(*at)
    found = (values[place.corners] * place.shares).sum(1)
    expected = LinearNDInterpolator(np.column_stack([x, y]), values)(*at)
    inside = np.isfinite(expected)
    assert np.allclose(found[inside], expected[inside])
    assert (place.beyond[~inside] > 0).all()
    assert (place.beyond[inside] < 1e-9).all()


def test_corners_and_edges_of_a_regular_grid_are_hit():
    x, y = (p.ravel() for p in np.meshgrid(np.arange(7.0), np.arange(5.0)))
    mesh = make_mesh(x, y, triangulate(x, y))
    for shift in (0.0, 0.5):
        at = np.minimum(x + shift, 6), y
        place = mesh.locate(*at)
        assert np.allclose((x[place.corners] * place.shares).sum(1), at[0])
        assert np.allclose((y[place.corners] * place.shares).sum(1), at[1])


def test_outside_counts_for_the_nearest_point_of_the_outline():
    x, y = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0, 1.0])
    place = make_mesh(x, y, triangulate(x, y)).locate(np.array([0.5, 3.0]), np.array([-2.0, 3.0]))
    assert np.allclose((x[place.corners] * place.shares).sum(1), [0.5, 1.0])
    assert np.allclose(place.beyond, [2.0, np.sqrt(8)])


def points_of_a_fault(seed=0):
    """Places in rows that are not quite straight, and a step of 4 across a slanting line."""
    rng = np.random.default_rng(seed)
    x, y = (p.ravel() + rng.normal(0, 0.5, p.size) for p in np.meshgrid(*2 * [np.arange(0.0, 800, 48)]))
    return x, y, np.where(x + y > 750, 4.0, 0.0)


def test_a_fault_is_felt_neither_along_the_outline_nor_beyond():
    x, y, dx = points_of_a_fault()
    model = fit_model("piecewise", x, y, dx, 0 * dx)
    across, along = (
        p.ravel() for p in np.meshgrid([-40.0, -10.0, 0.0, 2.0, 766.0, 780.0, 800.0], np.arange(-40.0, 800, 7))
    )
    for u, v in ((across, along), (along, across)):
        far = np.abs(u + v - 750) > 180
        found, _ = model.predict(u[far], v[far])
        assert found == pytest.approx(np.where(u + v > 750, 4.0, 0.0)[far], abs=1e-6)


def test_a_trend_goes_on_beyond_the_outline():
    x, y, _ = points_of_a_fault()
    model = fit_model("piecewise", x, y, 0.01 * x - 0.02 * y, 0.03 * x)
    dx, dy = model.predict([-40.0, 810.0], [400.0, 820.0])
    assert dx == pytest.approx([-8.4, -8.3])
    assert dy == pytest.approx([-1.2, 24.3])
