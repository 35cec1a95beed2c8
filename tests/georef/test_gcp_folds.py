"""Control points through which a map folds or is singular are refused by name; honest ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg.errors import OptionError
from xcoreg.georef import GCPs, fit_gcps

SQUARE = np.array([(0, 0), (100, 0), (100, 100), (0, 100)], float)
GROUND = {
    "rectangle": np.array([(0, 0), (1000, 0), (1000, -1000), (0, -1000)], float),
    "quadrilateral": np.array([(0, 0), (1000, 80), (1100, -900), (-50, -1000)], float),
}
EXCHANGED = {"lower": [0, 1, 3, 2], "upper": [1, 0, 2, 3], "left": [3, 1, 2, 0], "right": [0, 2, 1, 3]}
HONEST = {"as it is": [0, 1, 2, 3], "mirrored": [1, 0, 3, 2], "south-up": [3, 2, 1, 0], "transposed": [2, 1, 0, 3],
          "turned": [3, 0, 1, 2]}  # fmt: skip
MODELS = ["auto", "affine", "homography", "tps"]


def corners(shape, order):
    return GCPs(*SQUARE.T, *GROUND[shape][order].T, crs=32633)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("which", EXCHANGED)
@pytest.mark.parametrize("shape", GROUND)
def test_exchanged_corners(shape, which, model):
    with pytest.raises(OptionError, match=r"(folds|is singular).* at 1, 2, 3, 4: .*exchanged"):
        fit_gcps(corners(shape, EXCHANGED[which]), model)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("which", HONEST)
@pytest.mark.parametrize("shape", GROUND)
def test_corners_in_any_one_sense(shape, which, model):
    fit = fit_gcps(corners(shape, HONEST[which]), model)
    x, y = fit.to_map(50, 50)
    np.testing.assert_allclose(fit.to_pixel(x, y), 50, atol=1e-5)


def scattered(n, bend=1e-3, noise=0.0, seed=0):
    """Image and ground positions (n, 2) of a bent map, 10 m per pixel."""
    rng = np.random.default_rng(seed)
    col, row = rng.uniform(0, 1000, (2, n))
    ground = np.column_stack([10 * col + bend * col**2, -10 * row + bend * col * row])
    return np.column_stack([col, row]), ground + rng.normal(0, noise, (n, 2))


@pytest.mark.parametrize("n", [9, 20, 100, 1700])
@pytest.mark.parametrize("noise", [0.0, 5.0])
def test_two_exchanged_among_many_are_named(n, noise):
    at, ground = scattered(n, noise=noise)
    far = int(np.argmax(np.hypot(*(at - at[1]).T)))
    ground[[1, far]] = ground[[far, 1]]
    with pytest.raises(OptionError, match=rf"folds over itself, at {', '.join(map(str, sorted((2, far + 1))))}: "):
        fit_gcps(GCPs(*at.T, *ground.T, crs=32633), "tps")


@pytest.mark.parametrize("order", [2, 3])
def test_a_polynomial_that_turns_back(order):
    at = np.stack(np.meshgrid(np.linspace(0, 1000, 6), np.linspace(0, 1000, 6)), -1).reshape(-1, 2)
    ground = np.column_stack([10 * at[:, 0] - 8e-3 * at[:, 0] ** 2, -10 * at[:, 1]])
    with pytest.raises(OptionError, match=r"folds over itself"):
        fit_gcps(GCPs(*at.T, *ground.T, crs=32633), "polynomial", order=order)


@pytest.mark.parametrize("n", [6, 20, 400])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("sense", [1, -1])
def test_bends_and_noise_do_not_matter(n, model, sense):
    at, ground = scattered(n, noise=5.0)
    assert fit_gcps(GCPs(*at.T, sense * ground[:, 0], ground[:, 1], crs=32633), model).left_out.rmse_px < 50


def test_a_camera_that_looks_to_the_horizon():
    u, v = np.random.default_rng(3).uniform(0, 1, (2, 12))
    gcps = GCPs(1000 * u, 1000 * v, 100 * (u - 0.5) / (v + 0.05), 100 / (v + 0.05), crs=32633)
    assert fit_gcps(gcps).model == "homography"


def test_a_spline_that_folds_is_no_candidate():
    at, ground = scattered(60, bend=0.0)
    ground[7] += 3000.0
    assert fit_gcps(GCPs(*at.T, *ground.T, crs=32633)).model == "affine"
