import numpy as np
import pytest
from scipy.interpolate import BSpline

from xcoreg.core.models.bspline import bending, cubic, make_lattice


def test_splines_are_those_of_scipy():
    t = np.linspace(0, 6.999, 50)
    first, values = cubic(t, 7)
    knots = np.arange(-3, 11.0)
    matrix = BSpline.design_matrix(t, knots, 3).toarray()
    ours = np.zeros_like(matrix)
    for i in range(4):
        ours[np.arange(50), first + i] = values[i]
    assert np.allclose(ours, matrix)


def test_bending_energy_is_the_integral_of_squared_curvature():
    rng = np.random.default_rng(0)
    lattice = make_lattice(np.array([0.0, 1.2]), np.array([0.0, 0.8]), 0.2, 0.0)
    rows, cols = bending(lattice)
    coef = rng.normal(size=lattice.shape)
    spans = [(np.arange(-3, size + 1) * 0.2, size) for size in lattice.shape]
    fine = [(np.arange((size - 3) * 40) + 0.5) / 200 for _, size in spans]
    one, two, three = (
        [BSpline(knots, np.eye(size), 3)(at, nu=nu) for (knots, size), at in zip(spans, fine, strict=True)]
        for nu in (0, 1, 2)
    )
    square = (three[0] @ coef @ one[1].T) ** 2 + 2 * (two[0] @ coef @ two[1].T) ** 2 + (one[0] @ coef @ three[1].T) ** 2
    energy = sum((coef * (r @ coef @ c)).sum() for r, c in zip(rows, cols, strict=True))
    assert energy == pytest.approx(square.sum() / 200**2, rel=1e-3)


@pytest.mark.parametrize("wide", [0.3, 1.0, 5.0])
def test_a_lattice_covers_its_points_and_margin(wide):
    u, v = np.array([-wide, wide]), np.array([-1.0, 1.0])
    lattice = make_lattice(u, v, 0.3, 0.2)
    assert lattice.shape[0] % 3 == 0
    assert lattice.swapped == (wide > 1)
    for low, size, along in zip(lattice.origin, lattice.shape, (max(wide, 1), min(wide, 1)), strict=True):
        assert low <= -along - 0.2 + 1e-9
        assert low + (size - 3) * 0.3 >= along + 0.2 - 1e-9
