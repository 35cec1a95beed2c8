import numpy as np
import pytest

from xcoreg.core.phase import modes_for
from xcoreg.core.weights import Products, correlation_and_phase, covariance, scene_products, take_steps

MODES = modes_for(64, 64)
TURN = 2j * np.pi


def drawn(seed, noise, move=(0.0, 0.0), n=40):
    """Mean and residual of windows `move` apart, as modes, and the slopes of the mean."""
    rng = np.random.default_rng(seed)
    shape = (2, n, len(MODES.index))
    scene, other = (rng.standard_normal(shape[1:]) + 1j * rng.standard_normal(shape[1:]) for _ in range(2))
    scene = 30 * scene / (1 + (np.hypot(MODES.fx, MODES.fy) / 0.05) ** 2)
    slope_x, slope_y = TURN * MODES.fx * scene, TURN * MODES.fy * scene
    residual = noise * other - move[0] * slope_x - move[1] * slope_y
    return tuple(part.astype(np.complex64) for part in (scene, residual, slope_x, slope_y))


def settled(parts):
    products = Products.of(*parts[1:], MODES, np.ones((1, len(MODES.sizes))))
    return take_steps(products, MODES), products


@pytest.mark.parametrize("move", [(0.05, -0.02), (-0.3, 0.2)])
def test_steps_lead_to_the_move(move):
    found, _ = settled(drawn(0, 0.03, move))
    assert np.abs(found.move - move).max() < 0.05
    assert np.abs(found.move.mean(0) - move).max() < 0.01
    assert found.last_step.max() < 1e-3


def test_nothing_is_left_to_step_after_all_steps():
    """Noise of the gradients is no slope of the scene: counted as one, a drift of noise remains and moves the shift."""
    found, products = settled(drawn(5, 3.0, (0.1, -0.2)))
    rx, ry, xx, _, yy = scene_products(products, found, MODES)
    left = [np.sum(found.weight * part, axis=1) for part in (rx, ry)]
    slopes = [np.sum(found.weight * part, axis=1) for part in (xx, yy)]
    assert np.median(np.hypot(*found.move.T)) > 0.05
    assert np.abs(np.divide(left, slopes)).max() < 1e-3


def test_no_step_is_longer_than_half_a_pixel():
    found, _ = settled(drawn(1, 0.03, (3.0, -3.0)))
    assert np.abs(found.move).max() <= 0.5


def test_a_step_changes_the_residual_as_predicted():
    parts = drawn(2, 0.1)
    move = np.array([[0.1, -0.2]])
    moved = parts[1] + 0.1 * parts[2] - 0.2 * parts[3]
    predicted = Products.of(*parts[1:], MODES, np.ones((1, len(MODES.sizes)))).residual_power(
        np.repeat(move, len(moved), axis=0)
    )
    assert predicted == pytest.approx(MODES.sums(np.abs(moved) ** 2), rel=1e-4)


def test_errors_agree_with_the_covariance():
    found, products = settled(drawn(3, 0.3, n=300))
    cov, support = covariance(found, products, np.ones(300), MODES)
    nees = np.einsum("ni,nij,nj->n", found.move, np.linalg.inv(cov), found.move)
    assert 0.75 < nees.mean() / 2 < 1.2
    assert (support > 10).all()


def test_nothing_has_no_finite_variance():
    nothing = np.zeros((1, len(MODES.index)), np.complex64)
    found, products = settled((nothing,) * 4)
    assert np.isinf(np.diag(covariance(found, products, np.ones(1), MODES)[0][0])).all()


def test_phases_give_the_remaining_shift():
    mean, residual, *slopes = drawn(4, 0.03)
    found, _ = settled((mean, residual, *slopes))
    left = residual - 0.1 * slopes[0] + 0.05 * slopes[1]
    score, phase = correlation_and_phase(mean, left, found, MODES)
    assert score.min() > 0.9
    assert np.abs(phase.mean(0) - (0.1, -0.05)).max() < 0.01
