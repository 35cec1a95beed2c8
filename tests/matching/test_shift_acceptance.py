import numpy as np
import pytest

from xcoreg.core.matches import Status
from xcoreg.matching.acceptance import accept_windows

SURE = 95.0


def run(moves, status=None, reliability=SURE, sigma=0.01):
    moves = np.asarray(moves, float).reshape(-1, 2)
    n = len(moves)
    status = np.zeros(n, np.int8) if status is None else np.asarray(status, np.int8)
    covs = np.full((n, 2, 2), sigma**2 * np.eye(2))
    return accept_windows(moves, covs, status, np.broadcast_to(np.asarray(reliability, float), n))


def test_windows_that_agree_are_averaged():
    answer = run([[1.0, 2.0], [1.1, 2.0], [1.0, 2.1], [0.9, 1.9]])
    assert answer.status is Status.OK
    assert answer.inliers.all()
    assert answer.move == pytest.approx([1.0, 2.0])


def test_the_minority_is_left_out():
    answer = run([[1, 2], [1, 2], [1.02, 2], [9, 9]])
    assert answer.status is Status.OK
    assert answer.inliers.tolist() == [True, True, True, False]


@pytest.mark.parametrize("moves", [[[1, 2], [9, 9]], [[1, 2], [1, 2], [9, 9], [9, 9]], [[1, 2], [5, 5], [9, 9]]])
def test_windows_that_contradict_each_other_give_no_answer(moves):
    assert run(moves).status is Status.OUTLIER


def test_only_windows_that_are_ok_count():
    answer = run([[1, 2], [1, 2], [9, 9], [9, 9], [9, 9]], [0, 0, 3, 3, 3])
    assert answer.status is Status.OK
    assert answer.inliers.tolist() == [True, True, False, False, False]
    assert answer.move == pytest.approx([1, 2])


def test_one_sure_window_may_stand_alone():
    answer = run([[1, 2]])
    assert answer.status is Status.OK
    assert answer.move == pytest.approx([1, 2])


def test_one_window_of_low_reliability_is_not_accepted():
    assert run([[1, 2]], reliability=30.0).status is Status.NO_PEAK


def test_windows_of_low_reliability_are_accepted_together():
    assert run([[1, 2], [1, 2], [1, 2]], reliability=35.0).status is Status.OK


def test_a_matcher_without_reliability_is_trusted():
    assert run([[1, 2]], reliability=np.nan).status is Status.OK


@pytest.mark.parametrize(
    ("statuses", "reason"),
    [
        ([Status.FLAT, Status.FLAT, Status.NO_PEAK], Status.FLAT),
        ([Status.NO_DATA, Status.NO_DATA, Status.NO_PEAK], Status.NO_PEAK),
        ([Status.NO_DATA, Status.NO_DATA], Status.NO_DATA),
        ([Status.TOO_FAR], Status.TOO_FAR),
        ([], Status.OUTSIDE),
    ],
)
def test_without_a_match_the_commonest_status_is_reported(statuses, reason):
    answer = run(np.ones((len(statuses), 2)), statuses)
    assert answer.status is reason
    assert not answer.inliers.any()
    assert np.isnan(answer.move).all()


def test_vague_windows_agree_within_their_uncertainty():
    moves = [[0.0, 0.0], [1.6, 0.0], [0.0, 1.5]]
    assert run(moves, sigma=1.0).inliers.all()
    assert not run(moves, sigma=0.01).inliers.all()


def test_agreement_narrows_the_covariance():
    one, many = run([[1, 2]], sigma=0.1), run(np.tile([1.0, 2.0], (25, 1)), sigma=0.1)
    assert np.sqrt(many.cov[0, 0]) == pytest.approx(np.sqrt(one.cov[0, 0]) / 5, rel=0.1)


def test_windows_without_covariance_agree_all_the_same():
    moves = np.array([[1.0, 2.0], [1.1, 2.0], [1.0, 2.2]])
    answer = accept_windows(moves, np.full((3, 2, 2), np.nan), np.zeros(3, np.int8), np.full(3, np.nan))
    assert answer.status is Status.OK
    assert answer.move == pytest.approx(moves.mean(0))
