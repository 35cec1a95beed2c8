"""Parts of the solution: moving windows, terms, bins of azimuth, correlated noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from xcoreg.core.dem import cov3_to_map, parse_terms
from xcoreg.core.dem.classic import azimuth_bins, fit_cosine, slope_azimuth
from xcoreg.core.dem.covariance import Cells, correlated_covariance, correlation_length
from xcoreg.core.dem.observations import shift_window


@pytest.mark.parametrize("move", [(0.3, -0.7), (2.0, 1.0), (-3.4, 5.25)])
def test_a_polynomial_is_moved_exactly(move):
    rows, cols = np.mgrid[:20, :24].astype(float)
    surface = lambda c, r: 1 + c - 2 * r + 0.1 * c * r + 1e-3 * c**3  # noqa: E731
    out, known = shift_window(surface(cols, rows), np.ones(rows.shape, bool), np.array(move))
    assert known.sum() >= 100
    assert np.abs(out - surface(cols - move[0], rows - move[1]))[known].max() < 1e-9


def test_a_whole_pixel_needs_one_neighbour_and_a_fraction_six():
    valid = np.ones((15, 15), bool)
    valid[7, 7] = False
    image = np.zeros((15, 15))
    assert (~shift_window(image, valid, np.array([1.0, 0.0]))[1]).sum() == 15 + 1
    assert (~shift_window(image, valid, np.array([0.5, 0.0]))[1]).sum() == 5 * 15 + 6


def test_a_move_out_of_the_window_leaves_nothing():
    assert not shift_window(np.zeros((5, 5)), np.ones((5, 5), bool), np.array([9.5, 0.0]))[1].any()


@pytest.mark.parametrize(
    ("matcher", "shift", "ramp"),
    [("nuth_kaab", True, 0), ("deramp", False, 1), ("deramp:2", False, 2), (["nuth_kaab", "deramp:2"], True, 2)],
)
def test_names_select_the_parameters(matcher, shift, ramp):
    terms = parse_terms(matcher)
    assert (terms.shift, terms.ramp) == (shift, ramp)


@pytest.mark.parametrize("matcher", ["nuth_kaab:fast", ["nuth_kaab", "phase"], "deramp:5"])
def test_unknown_variants_and_links_are_refused(matcher):
    with pytest.raises(ValueError, match="choose from"):
        parse_terms(matcher)


def test_slopes_and_azimuths_are_those_of_the_ground():
    # Rising to the South on a south-up lattice of 30 m: downslope is North.
    tangent, azimuth = slope_azimuth(np.array([0.0]), np.array([-15.0]), np.diag([30.0, 30.0]))
    assert tangent[0] == pytest.approx(0.5)
    assert np.cos(azimuth[0]) == pytest.approx(1.0)


def test_bins_with_few_samples_say_nothing():
    _, median, count = azimuth_bins(np.zeros(3), np.ones(3))
    assert np.isnan(median).all()
    assert count[0] == 3
    assert np.isnan(fit_cosine(*azimuth_bins(np.zeros(3), np.ones(3)))).all()


def test_noise_that_goes_together_is_seen_and_counted():
    rng = np.random.default_rng(7)
    at, spread = np.arange(160 * 160), []
    cells = Cells.over_positions([(at % 160.0, at // 160.0)])
    for _ in range(40):
        noise = gaussian_filter(rng.standard_normal((160, 160)), 2.0, mode="wrap").ravel()
        length = correlation_length([((160, 160), at, noise)])
        spread.append([noise.sum() ** 2, correlated_covariance(cells.sums([noise])[None])[0, 0]])
    assert length > 2
    true, predicted = np.mean(spread, axis=0)
    assert 0.6 < predicted / true < 1.6


TURNED = (3.0, 4.0, 4.0, -3.0)  # 5 m pixels, turned


@pytest.mark.parametrize(("lost", "check"), [(np.inf, np.isinf), (np.nan, np.isnan)])
def test_what_is_lost_along_a_pixel_axis_is_lost_on_the_map_where_it_has_a_part(lost, check):
    cov = np.diag([lost, 1.0, 4.0])[None]
    turned, upright = cov3_to_map(TURNED, cov)[0], cov3_to_map((5.0, 0.0, 0.0, -5.0), cov)[0]
    assert check(turned.diagonal()).tolist() == [True, True, False]
    assert check(upright.diagonal()).tolist() == [True, False, False]
    assert upright[1, 1] == 25.0
    assert turned[2].tolist() == [0.0, 0.0, 4.0]


def test_covariances_are_turned_with_the_axes():
    cov = np.array([[[0.04, 0.01, 0.1], [0.01, 0.09, -0.2], [0.1, -0.2, 4.0]]])
    turn = np.array([[3.0, 4.0, 0.0], [4.0, -3.0, 0.0], [0.0, 0.0, 1.0]])
    assert cov3_to_map(TURNED, cov)[0] == pytest.approx(turn @ cov[0] @ turn.T)
