import pytest

from xcoreg.core.matches import Status


def test_numbers_are_fixed_because_files_store_them():
    assert {s.name: int(s) for s in Status} == {
        "OK": 0,
        "NO_DATA": 1,
        "FLAT": 2,
        "NO_PEAK": 3,
        "AMBIGUOUS": 4,
        "TOO_FAR": 5,
        "UNCONSTRAINED": 6,
        "NOT_CONVERGED": 7,
        "DISAGREES": 8,
        "NOT_IMPROVED": 9,
        "OUTLIER": 10,
        "MASKED": 11,
        "OUTSIDE": 12,
        "DISCONNECTED": 13,
    }


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_its_own_reason(status):
    assert len(status.reason) > 10
    assert [s for s in Status if s.reason == status.reason] == [status]


def test_only_ok_is_ok():
    assert [s for s in Status if s.ok] == [Status.OK]


def test_it_prints_as_its_name():
    assert str(Status.NO_PEAK) == f"{Status.NO_PEAK}" == "NO_PEAK"
