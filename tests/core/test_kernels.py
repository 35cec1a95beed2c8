"""Kernels: weights that sum to one, keep whole pixels exact, and reproduce polynomials."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg.core.kernels import (
    KERNELS,
    nearest_index,
    reach,
    round_position,
    sum_along_axis,
    sum_taps,
    taps,
)
from xcoreg.core.sampling import work_dtype

SMOOTH = ("bilinear", "cubic", "lanczos")


@pytest.mark.parametrize("kernel", SMOOTH)
@pytest.mark.parametrize("scale", [1.0, 2.3, 6.0])
def test_weights_sum_to_one(kernel, scale):
    at = np.random.default_rng(0).uniform(-5, 5, 200)
    _, weights = taps(at, kernel, scale, "float64")
    np.testing.assert_allclose(sum(weights), 1.0, rtol=1e-12)


@pytest.mark.parametrize("kernel", SMOOTH)
def test_a_whole_position_weighs_one_pixel_alone(kernel):
    first, weights = taps(np.array([-3.0, 0.0, 7.0]), kernel, 1.0, "float32")
    centre = [float(w[0]) for w in weights].index(1.0)
    assert [float(w[0]) for w in weights].count(0.0) == len(weights) - 1
    assert (first + centre).tolist() == [-3, 0, 7]


@pytest.mark.parametrize(("kernel", "degree"), [("bilinear", 1), ("cubic", 2)])
def test_polynomials_are_reproduced(kernel, degree):
    at = np.linspace(4, 5, 21)
    first, weights = taps(at, kernel, 1.0, "float64")
    for power in range(degree + 1):
        found = sum(w * (first + k).astype(float) ** power for k, w in enumerate(weights))
        np.testing.assert_allclose(found, at**power, rtol=1e-12)


def test_cubic_is_keys_with_half():
    # Keys (1981), table of the kernel with a = -1/2 half way and at 3/2.
    weight = KERNELS["cubic"][1]
    np.testing.assert_allclose(weight(np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5])), [1, 0.5625, 0, -0.0625, 0, 0])


def test_lanczos_has_three_lobes():
    weight = KERNELS["lanczos"][1](np.array([0.0, 0.5, 1.5, 2.5, 3.0, 3.5]))
    np.testing.assert_allclose(weight, [1, 0.607927, -0.135095, 0.024317, 0, 0], atol=1e-6)


def test_reach_grows_with_scale():
    assert [reach(kernel) for kernel in KERNELS] == [1, 1, 2, 2, 3]
    assert reach("cubic", 2.5) == 5
    assert reach("cubic", 0.3) == 2


def test_half_way_belongs_to_the_higher_pixel():
    assert nearest_index(np.array([-0.5, 0.5, 1.5, 2.5])).tolist() == [0, 1, 2, 3]


def test_round_off_hides_no_whole_pixel():
    at = np.array([5.0 + 4e-7, 5.0 - 4e-7, 123456.0 + 1e-9])
    assert round_position(at).tolist() == [5.0, 5.0, 123456.0]


def test_ticked_positions_can_be_counted_from_any_pixel():
    at = np.random.default_rng(1).uniform(0, 1e5, 1000)
    assert np.array_equal(round_position(at) - 777, round_position(at - 777))


def test_gather_equals_weigh_on_a_mesh():
    values = np.random.default_rng(2).normal(size=(12, 13))
    row, col = taps(np.array([4.3, 5.3]), "cubic", 1.0, "float64"), taps(np.array([6.1, 7.1]), "cubic", 1.0, "float64")
    mesh = sum_along_axis(sum_along_axis(values, row, 0), col, 1)
    pair = sum_taps(values, row, col)
    np.testing.assert_allclose(np.diag(mesh), pair, rtol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "work"),
    [("bool", "f4"), ("uint8", "f4"), ("int16", "f4"), ("uint16", "f4"), ("float16", "f4"), ("float32", "f4"),
     ("int32", "f8"), ("uint32", "f8"), ("int64", "f8"), ("float64", "f8")],
)  # fmt: skip
def test_work_dtype_holds_every_value(dtype, work):
    assert work_dtype(dtype) == np.dtype(work)
