import numpy as np
from scipy.interpolate import LinearNDInterpolator

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
