import pickle

import numpy as np
import pytest

from xcoreg.core.matches import Matches, Status


def three():
    return Matches(
        [1.0, 2.0, 3.0],
        [4.0, 5.0, 6.0],
        cov=np.arange(12.0).reshape(3, 2, 2),
        score=[0.9, 0.8, 0.7],
        status=[Status.OK, Status.FLAT, Status.OK],
    )


def test_defaults_say_unknown_and_not_zero():
    m = Matches([0.5], [-0.5])
    assert np.isnan(m.cov).all()
    assert np.isnan([m.score, m.reliability, m.ssim_before, m.ssim_after]).all()
    assert (m.dz[0], m.status[0]) == (0.0, Status.OK)


def test_dtypes():
    m = three()
    assert m.status.dtype == np.int8
    assert m.dcol.dtype == m.cov.dtype == np.float64


@pytest.mark.parametrize(
    "columns",
    [
        {"drow": [1.0]},
        {"score": [1.0, 2.0, 3.0]},
        {"cov": np.zeros((2, 3))},
        {"status": [0]},
        {"dcol": np.zeros((1, 2))},
    ],
)
def test_columns_of_another_length_are_refused(columns):
    with pytest.raises(ValueError, match="column"):
        Matches(**{"dcol": [1.0, 2.0], "drow": [1.0, 2.0]} | columns)


def test_columns_cannot_be_written():
    m = three()
    with pytest.raises(ValueError, match="read-only"):
        m.dcol[0] = 9.0


def test_the_callers_arrays_are_not_shared():
    dcol = np.zeros(1)
    m = Matches(dcol, [0.0])
    dcol[0] = 7.0
    assert m.dcol[0] == 0.0


def test_a_shift_that_is_not_finite_is_never_ok():
    m = Matches([np.nan, 0.0, np.inf], [0.0, 0.0, 0.0], status=[0, 0, Status.FLAT])
    assert m.status.tolist() == [Status.NO_PEAK, Status.OK, Status.FLAT]


def test_take_by_mask_index_slice_and_number():
    m = three()
    assert m.take(m.ok).drow.tolist() == [4.0, 6.0]
    assert m.take([2, 0]).cov[0].tolist() == [[8.0, 9.0], [10.0, 11.0]]
    assert len(m.take(slice(1, None))) == 2
    assert m.take(1).status.tolist() == [Status.FLAT]


def test_concatenate_keeps_order_and_covariances():
    m = three()
    both = Matches.concatenate([m.take([1]), m.take([0, 2])])
    assert both.dcol.tolist() == [2.0, 1.0, 3.0]
    assert np.array_equal(both.cov, m.cov[[1, 0, 2]])


def test_concatenate_of_nothing_is_empty():
    assert len(Matches.concatenate([])) == 0


def test_coerce_takes_tuples_with_and_without_covariance():
    assert Matches.coerce(([1.0], [2.0]), 1).drow[0] == 2.0
    assert Matches.coerce(([1.0], [2.0], [np.eye(2)]), 1).cov[0, 1, 1] == 1.0


def test_coerce_passes_matches_through():
    m = three()
    assert Matches.coerce(m, 3) is m


@pytest.mark.parametrize("answer", [None, [1.0, 2.0], ([1.0],), ([1.0, 2.0], [1.0, 2.0])])
def test_coerce_refuses_anything_else(answer):
    with pytest.raises(ValueError, match="matcher"):
        Matches.coerce(answer, 1)


def test_pickle_round_trip():
    m = pickle.loads(pickle.dumps(three()))
    assert np.array_equal(m.cov, three().cov)
    assert repr(m) == "Matches(3 windows: 2 OK, 1 FLAT)"
