import numpy as np
import pytest

from xcoreg.core.area import STATISTICS, summarise


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(4)
    return rng.integers(0, 6, (40, 16)).astype(np.float32), rng.random((40, 16)) < 0.8


@pytest.mark.parametrize("statistic", STATISTICS)
def test_only_valid_values_count(samples, statistic):
    values, good = samples
    found, valid = summarise(values, good, statistic)
    assert np.array_equal(valid, good.sum(1) >= 8)
    for one, chosen, result in zip(values[valid], good[valid], found[valid], strict=True):
        some = np.sort(one[chosen])
        numbers, counts = np.unique(some, return_counts=True)
        part = STATISTICS[statistic]
        expected = some[round((len(some) - 1) * part)] if part is not None else None
        expected = {"average": some.mean(), "mode": numbers[counts.argmax()]}.get(statistic, expected)
        assert result == pytest.approx(expected, rel=1e-6)


def test_nothing_valid_is_missing():
    found, valid = summarise(np.ones((2, 4), np.float32), np.zeros((2, 4), bool), "med")
    assert not valid.any()
    assert found.tolist() == [0.0, 0.0]
