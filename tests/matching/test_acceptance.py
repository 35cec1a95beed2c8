from math import comb

import numpy as np
import pytest

from xcoreg.core.matches import Status
from xcoreg.matching.acceptance import (
    Acceptance,
    accept_windows,
    chance_of_agreement,
    count_independent,
    settle_drift,
    shared_area,
)

PASSING = 0.05


@pytest.mark.parametrize(("agreeing", "tried", "reach"), [(2, 9, 50.0), (4, 81, 51.0), (3, 9, 2.0), (7, 30, 2.5)])
def test_the_chance_is_that_of_a_binomial_distribution(agreeing, tried, reach):
    hit = PASSING * min(1, np.pi / (2 * reach + 1) ** 2)
    n, others = tried - 1, range(agreeing - 1, tried)
    tail = sum(comb(n, k) * hit**k * (1 - hit) ** (n - k) for k in others)
    expected = min(1, tried * PASSING) * tail
    assert chance_of_agreement(agreeing, tried, reach) == pytest.approx(expected, rel=1e-9)


def test_few_of_many_are_an_accident_where_little_was_searched():
    assert chance_of_agreement(4, 81, 2.5) > 1e-3
    assert chance_of_agreement(40, 81, 2.5) < 1e-9
    assert chance_of_agreement(0, 9, 50.0) == 1.0


def test_windows_that_overlap_count_once():
    row = np.stack([np.arange(0.0, 640.0, 8.0), np.zeros(80)], -1)
    assert count_independent(row, 64.0) == 14
    assert count_independent(row[:0], 64.0) == 0


def test_shared_area_is_a_share_of_the_pixels():
    places, sizes = np.array([[0.0, 0.0], [32.0, 0.0], [500.0, 0.0]]), np.array([64.0, 64.0, 64.0])
    np.testing.assert_allclose(shared_area(places, sizes), [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])


def accepted(n, reach, shared=None, tried=9):
    moves = np.full((tried, 2), 3.0)
    status = np.full(tried, np.int8(Status.NO_PEAK))
    status[:n] = Status.OK
    return accept_windows(moves, np.tile(1e-4 * np.eye(2), (tried, 1, 1)), status, np.full(tried, 70.0), reach, shared)


def test_agreement_within_the_search_area_is_no_evidence():
    assert accepted(2, 50.0).status is Status.OK
    found = accepted(2, 1.0)
    assert found.status is Status.NO_PEAK
    assert found.chance > 1e-3


def test_windows_that_share_their_noise_tell_no_more_than_one():
    alone = accepted(4, 50.0).cov[0, 0]
    same = accepted(4, 50.0, np.ones((9, 9))).cov[0, 0]
    assert same - 1.6e-7 == pytest.approx(4 * (alone - 1.6e-7), rel=1e-6)


def test_one_place_of_many_seen_twice_is_one_window():
    shared = np.eye(9)
    shared[0, 1] = shared[1, 0] = 0.56
    assert accepted(2, 100.0).status is Status.OK
    assert accepted(2, 100.0, shared).status is Status.NO_PEAK
    assert accepted(3, 100.0, shared).status is Status.OK  # the third stands apart
    assert accepted(2, 100.0, np.ones((9, 9))).status is Status.OK  # a small image: there are no other places


def settled(move, *, of_pixels, ok=True, dragged=0.0):
    """Settle an answer at the origin, 0.01 px sure, against one at (move, 0)."""
    plain = Acceptance(Status.OK, np.ones(4, bool), np.zeros(2), 1e-4 * np.eye(2))
    corrected = Acceptance(
        Status.OK if ok else Status.NO_PEAK, np.ones(4, bool), np.array([move, 0.0]), 4e-4 * np.eye(2)
    )
    return settle_drift(plain, corrected, np.full(4, dragged), of_pixels)


def test_what_pixels_drag_is_corrected_unless_it_is_far():
    answer, corrected = settled(0.05, of_pixels=True)
    assert corrected
    assert answer.move[0] == 0.05
    answer, corrected = settled(0.3, of_pixels=True)
    assert not corrected
    assert answer.status is Status.DISAGREES
    assert not answer.inliers.any()


def test_what_the_scene_does_makes_the_answer_as_vague_as_it_would_change_it():
    answer, corrected = settled(0.1, of_pixels=False)
    assert not corrected
    assert answer.move[0] == 0
    assert np.trace(answer.cov) == pytest.approx(2e-4 + 0.1**2)


@pytest.mark.parametrize(("dragged", "status"), [(0.05, Status.OK), (0.3, Status.DISAGREES)])
def test_what_cannot_be_corrected_is_vague_or_refused(dragged, status):
    answer, corrected = settled(np.nan, of_pixels=True, ok=False, dragged=dragged)
    assert not corrected
    assert answer.status is status
    assert np.trace(answer.cov) > 2 * 0.09**2 or not answer.inliers.any()


@pytest.mark.parametrize(("others", "accepted"), [([], True), ([Status.NO_PEAK], False), ([Status.NO_DATA], True)])
def test_a_lone_window_with_a_witness_is_no_choice_among_several(others, accepted):
    """Unrelated pairs were accepted by one of two windows of edges whose halves agreed."""
    n = 1 + len(others)
    status = np.array([Status.OK, *others], np.int8)
    covs, reliability = np.tile(0.01 * np.eye(2), (n, 1, 1)), np.full(n, 63.0)
    found = accept_windows(np.zeros((n, 2)), covs, status, reliability, 30.0, confirmed=True)
    assert (found.status is Status.OK) == accepted
