import numpy as np
import pytest

from xcoreg.core.matches import Status, count_statuses, describe_counts, freeze


def test_freeze_copies_and_locks():
    mine = np.zeros(2)
    column = freeze("dx", mine, (2,), np.float64)
    mine[0] = 5.0
    assert column[0] == 0.0
    assert not column.flags.writeable


def test_freeze_takes_a_scalar_for_one_row_only():
    assert freeze("dx", 4, (1,), np.float64).tolist() == [4.0]
    with pytest.raises(ValueError, match="'dx' has shape"):
        freeze("dx", 4, (2,), np.float64)


def test_counts_follow_the_codes():
    status = np.array([Status.OUTSIDE, Status.OK, Status.OUTSIDE], np.int8)
    assert list(count_statuses(status).items()) == [("OK", 1), ("OUTSIDE", 2)]


def test_no_rows_are_described_as_none():
    assert describe_counts(np.empty(0, np.int8)) == "none"
