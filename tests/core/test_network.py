"""Networks of pairs: adjustment, outliers, datum, variance components, closure, choice of pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from xcoreg.core import network as nw


def make_network(n=12, *, noise=0.01, images=0.0, seed=0, pairs=None, stated=None):
    """A network of all pairs whose errors are known: (network, places, moves, covariances)."""
    rng = np.random.default_rng(seed)
    ends = np.array(list(combinations(range(n), 2)) if pairs is None else pairs)
    net = nw.Network(n, ends[:, 1], ends[:, 0], np.zeros(len(ends), int), np.zeros((n, 0)))
    places, own = rng.normal(0, 1, (n, 2)), rng.normal(0, images or 1e-300, (n, 2))
    move = net.differences(places + own) + rng.normal(0, noise, (len(ends), 2))
    variance = noise**2 + 2 * images**2 if stated is None else stated
    return net, places, move, np.broadcast_to(variance * np.eye(2), (len(ends), 2, 2)).copy()


def solve(net, move, cov, accepted=None):
    return nw.adjust(net, move, cov, np.ones(len(move), bool) if accepted is None else accepted)


def share(n, only=None):
    out = np.zeros(n)
    out[range(n) if only is None else only] = 1
    return out / out.sum()


def test_places_are_found_within_their_covariance():
    net, places, move, cov = make_network()
    found, spread = nw.to_datum(solve(net, move, cov), share(12))
    off = (found - (places - places.mean(0))) / np.sqrt(np.diagonal(spread, axis1=1, axis2=2))
    assert np.abs(off).max() < 4
    assert found.mean(0) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_five_outliers_are_flagged_and_nothing_else(seed):
    net, places, move, cov = make_network(20, seed=seed)
    rng = np.random.default_rng(seed)
    bad = rng.choice(len(move), 5, replace=False)
    angle = rng.uniform(0, 2 * np.pi, 5)
    move[bad] += 2 * np.stack([np.cos(angle), np.sin(angle)], -1)
    found = solve(net, move, cov)
    assert set(np.flatnonzero(found.outlier)) == set(bad)
    assert np.abs(nw.to_datum(found, share(20))[0] - (places - places.mean(0))).max() < 0.02


@pytest.mark.parametrize("factor", [0.25, 1.0, 9.0])
def test_chi_squared_per_degree_of_freedom_is_one_whatever_is_stated(factor):
    net, _, move, cov = make_network(20, seed=3)
    found = solve(net, move, factor * cov)
    squares, degrees = found.chi_square()
    assert squares / degrees == pytest.approx(1, abs=0.15)
    assert np.diagonal(found.own, axis1=1, axis2=2).mean() == pytest.approx(0.01**2, rel=0.2)


def test_what_images_share_closes_and_yet_is_part_of_the_uncertainty():
    """Errors of images leave no residual: they are the rest of the variance that is stated."""
    ratios = []
    for seed in range(10):
        net, places, move, cov = make_network(10, noise=0.004, images=0.01, seed=seed)
        found, spread = nw.to_datum(solve(net, move, cov), share(10))
        off = found - (places - places.mean(0))
        ratios.append((off**2 / np.diagonal(spread, axis1=1, axis2=2)).mean())
    assert np.mean(ratios) == pytest.approx(1, abs=0.3)


def test_the_smallest_variances_stated_do_not_define_those_of_images():
    """Matchers state variances that scatter: all pairs of an image count, not those of which little is stated."""
    ratios = []
    for seed in range(6):
        net, places, move, cov = make_network(10, noise=0.004, images=0.01, seed=seed)
        factor = np.random.default_rng(seed).lognormal(-1.125, 1.5, len(cov))  # with the mean 1
        found, spread = nw.to_datum(solve(net, move, cov * factor[:, None, None]), share(10))
        off = found - (places - places.mean(0))
        ratios.append((off**2).mean() / np.diagonal(spread, axis1=1, axis2=2).mean())
    assert 0.5 < np.mean(ratios) < 1.6


def test_differences_do_not_depend_on_the_datum_nor_on_the_order():
    net, _, move, cov = make_network(10, seed=2)
    found = solve(net, move, cov)
    first, mean = nw.to_datum(found, share(10, [0]))[0], nw.to_datum(found, share(10))[0]
    assert np.ptp(first - mean, axis=0).max() < 1e-12
    assert first[0].tolist() == [0, 0]
    order = np.random.default_rng(1).permutation(10)
    rank = np.argsort(order)
    turned = nw.Network(10, rank[net.target], rank[net.reference], net.kind, net.drift)
    again = nw.to_datum(solve(turned, move, cov), share(10))[0]
    assert np.abs(again[rank] - mean).max() < 1e-9


def test_a_fixed_date_has_no_uncertainty_and_the_others_have_more():
    net, _, move, cov = make_network(10, images=0.01)
    found = solve(net, move, cov)
    fixed, mean = nw.to_datum(found, share(10, [4]))[1], nw.to_datum(found, share(10))[1]
    assert np.abs(fixed[4]).max() < 1e-15
    assert fixed[3, 0, 0] > mean[3, 0, 0]


def test_nodes_without_a_pair_have_no_place_and_groups_are_numbered_by_size():
    net, _, move, cov = make_network(7, pairs=[(0, 1), (1, 2), (0, 2), (3, 4)])
    found = solve(net, move, cov)
    assert np.isnan(found.places[[5, 6]]).all()
    assert np.isfinite(found.places[:5]).all()
    assert found.group[:5].tolist() == [0, 0, 0, 1, 1]


def test_several_networks_at_once_are_those_alone():
    net, _, move, cov = make_network(8, seed=1)
    other = move + np.random.default_rng(5).normal(0, 0.01, move.shape)
    ok = np.ones((2, len(move)), bool)
    ok[1, 3] = False
    both = nw.adjust(net, np.stack([move, other]), np.stack([cov, cov]), ok)
    assert both.places.shape == (2, 8, 2)
    alone = solve(net, other, cov, ok[1])
    moved = both.places[1] - both.places[1].mean(0) - (alone.places - alone.places.mean(0))
    assert np.abs(moved).max() < 1e-3  # variance components are common to both


def test_triangles_close_within_the_part_that_need_not():
    net, _, move, cov = make_network(12, noise=0.01, images=0.02)
    found = solve(net, move, cov)
    closed = nw.closure(net, found, move)
    assert closed.n == 12 * 11 * 10 // 6
    assert closed.rms == pytest.approx(0.01 * np.sqrt(6), rel=0.1)
    assert closed.ratio == pytest.approx((1, 1), abs=0.3)


def test_triangles_of_an_exact_network_close():
    net, _, move, cov = make_network(6, noise=1e-300, stated=1e-4)
    closed = nw.closure(net, solve(net, move, cov), move)
    assert closed.rms < 1e-12


def test_chosen_pairs_span_the_dates_and_grow_with_their_number():
    rng = np.random.default_rng(0)
    for n in (10, 40, 80):
        score = rng.uniform(0.2, 1, (n, n))
        score = (score + score.T) / 2
        tree = nw.spanning_pairs(score)
        assert len(tree) == n - 1
        net = nw.Network(n, tree[:, 1], tree[:, 0], np.zeros(n - 1, int), np.zeros((n, 0)))
        assert net.components(np.ones(n - 1, bool)).max() == 0
        chosen = nw.choose_pairs(score, np.zeros((n, n), bool), np.full(n, 6), 6)
        assert len(chosen) <= 6 * n
        assert len(np.unique(chosen, axis=0)) == len(chosen)


def test_pairs_without_common_data_or_matched_before_are_not_chosen():
    score = np.ones((6, 6))
    score[0] = score[:, 0] = np.nan
    done = np.zeros((6, 6), bool)
    done[1, 2] = done[2, 1] = True
    chosen = nw.choose_pairs(score, done, np.full(6, 5), 5)
    assert not (chosen == 0).any()
    assert [1, 2] not in chosen.tolist()
    assert len(chosen) == 9


def test_half_of_the_partners_are_far_in_the_order_of_dates():
    n = 60
    apart = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    chosen = nw.choose_pairs(1 / (1.0 + apart), np.zeros((n, n), bool), np.full(n, 8), 8)
    length = np.abs(chosen[:, 0] - chosen[:, 1])
    assert (length > 10).mean() > 0.3
    assert (length <= 2).sum() > n
