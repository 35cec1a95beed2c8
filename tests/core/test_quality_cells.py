import numpy as np
import pytest

from xcoreg.core.quality import Cells


def drawn(seed, shape=(2, 24, 32)):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def blocks(image, side):
    n, rows, cols = image.shape
    return image.reshape(n, rows // side, side, cols // side, side).sum((2, 4))


@pytest.mark.parametrize("side", [1, 2, 4])
def test_cells_are_sums_over_blocks_of_what_counts(side):
    a, b, valid = drawn(0), drawn(1), drawn(2) > -1
    cells = Cells.of(a, b, valid, side)
    for name, product in {"w": valid * 1.0, "a": a, "b": b, "aa": a * a, "bb": b * b, "ab": a * b}.items():
        assert getattr(cells, name) == pytest.approx(blocks(product * valid, side), abs=1e-4)


def test_nothing_lies_beyond_the_border():
    a, ok = drawn(3, (1, 10, 13)), np.ones((1, 10, 13), bool)
    cells = Cells.of(a, a, ok)
    assert cells.w[0].tolist() == [[16, 16, 16, 4], [16, 16, 16, 4], [8, 8, 8, 2]]
    assert cells.aa.sum() == pytest.approx((a * a).sum(), rel=1e-5)


def test_apart_is_the_mean_square_difference():
    a, b, ok = drawn(4), drawn(5), np.ones((1, 24, 32), bool)
    assert Cells.of(a, b, ok).mean_difference() == pytest.approx(blocks((a - b) ** 2, 4) / 16, abs=1e-5)


def test_equal_windows_are_not_apart_whatever_the_rounding():
    a, ok = 1e3 * drawn(6), np.ones((1, 24, 32), bool)
    assert Cells.of(a, a, ok).mean_difference().min() == 0


def test_rough_is_the_variance_within_cells():
    a, b, ok = drawn(7), drawn(8), np.ones((1, 24, 32), bool)
    both = (a + b).reshape(2, 6, 4, 8, 4)
    assert Cells.of(a, b, ok).roughness() == pytest.approx(both.var((2, 4)), abs=1e-4)


def test_cells_with_few_valid_pixels_are_ignored():
    a, b, valid = drawn(9), drawn(10), np.ones((2, 24, 32), bool)
    valid[:, :4, :3] = False
    cells = Cells.of(a, b, valid)
    assert not cells.mean_difference()[:, 0, 0].any()
    assert not cells.roughness()[:, 0, 0].any()
    assert cells.mean_difference()[:, 0, 1].all()


def test_some_windows_can_be_put_in_the_place_of_others():
    a, b, ok = drawn(11), drawn(12), np.ones((1, 24, 32), bool)
    cells = Cells.of(a, b, ok)
    cells.put(np.array([1]), Cells.of(b[:1], a[:1], ok))
    assert cells.a[1] == pytest.approx(cells.b[0])
    assert cells.w.shape == (1, 6, 8)
