"""Interpolation: half pixels, gaps, edges, and independence from how the image is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from xcoreg.core.kernels import KERNELS
from xcoreg.core.sampling import sample, sample_axes, shrink

SMOOTH = ("bilinear", "cubic", "lanczos")
ALL = tuple(KERNELS)
INTERPOLATING = tuple(name for name in KERNELS if name != "cubic_spline")  # a B-spline smooths


def ramp(shape=(30, 40), dtype=np.float64):
    row, col = np.mgrid[: shape[0], : shape[1]]
    return (3.0 * row + 5.0 * col).astype(dtype)


def holey(seed=0, shape=(50, 60), share=0.03, dtype=np.float32):
    rng = np.random.default_rng(seed)
    values = rng.normal(100, 20, shape).astype(dtype)
    return values, rng.random(shape) > share


def band_limited(n=64, seed=3):
    """A periodic scene without frequencies above a third of the sampling rate, and its exact shift."""
    rng = np.random.default_rng(seed)
    freq = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n))
    spectrum = np.fft.rfft2(rng.normal(size=(n, n))) * (freq < 0.25)

    def at(drow, dcol):
        phase = np.fft.fftfreq(n)[:, None] * drow + np.fft.rfftfreq(n) * dcol
        return np.fft.irfft2(spectrum * np.exp(2j * np.pi * phase), s=(n, n))

    return at


@pytest.mark.parametrize(("kernel", "tolerance"), [("bilinear", 1e-12), ("cubic", 1e-12), ("lanczos", 0.15)])
def test_a_ramp_is_read_off_at_its_positions(kernel, tolerance):
    rows, cols = np.array([4.25, 10.5, 20.125]), np.array([7.75, 8.5, 30.0625])
    out, valid = sample(ramp(), None, rows, cols, kernel)
    assert valid.all()
    np.testing.assert_allclose(out, 3 * rows + 5 * cols, atol=tolerance)


@pytest.mark.parametrize(("kernel", "limit"), [("bilinear", 0.15), ("cubic", 0.06), ("lanczos", 0.025)])
def test_a_scene_is_shifted_to_where_fourier_shifts_it(kernel, limit):
    scene = band_limited()
    rows = np.arange(5, 55.0)
    out, _ = sample_axes(scene(0, 0), None, rows + 0.37, rows - 0.21, kernel)
    truth = scene(0.37, -0.21)[5:55, 5:55]
    assert np.sqrt(np.mean((out - truth) ** 2)) < limit * truth.std()


@pytest.mark.parametrize("kernel", ALL)
@pytest.mark.parametrize("scale", [(1.0, 1.0), (1.0, 2.5), (3.0, 1.5)])
def test_mesh_and_scattered_agree(kernel, scale):
    values, valid = holey()
    rows, cols = np.arange(60) * scale[0] - 4.3, np.arange(30) * scale[1] - 2.25
    mesh, mesh_valid = sample_axes(values, valid, rows, cols, kernel, scale=scale)
    out, out_valid = sample(values, valid, rows[:, None], cols, kernel, scale=scale)
    assert np.array_equal(mesh_valid, out_valid)
    np.testing.assert_allclose(mesh, out, rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize("kernel", INTERPOLATING)
@pytest.mark.parametrize("how", [sample, sample_axes])
def test_whole_pixels_come_back_bit_by_bit(kernel, how):
    values, valid = holey()
    at = np.mgrid[:50, :60].astype(float) if how is sample else (np.arange(50.0), np.arange(60.0))
    out, out_valid = how(values, valid, *at, kernel)
    assert np.array_equal(out_valid, valid)
    assert np.array_equal(out[valid], values[valid])


@pytest.mark.parametrize("kernel", SMOOTH)
def test_what_stands_in_missing_pixels_does_not_matter(kernel):
    values, valid = holey()
    rows, cols = np.arange(50) + 0.4, np.arange(60) - 0.3
    clean, _ = sample_axes(np.where(valid, values, 0), valid, rows, cols, kernel)
    for garbage in (np.nan, np.inf, -3e38):
        out, _ = sample_axes(np.where(valid, values, garbage), valid, rows, cols, kernel)
        assert np.array_equal(out, clean)
        scattered, _ = sample(np.where(valid, values, garbage), valid, rows[:, None], cols, kernel)
        assert np.isfinite(scattered).all()


@pytest.mark.parametrize("kernel", ALL)
def test_valid_where_the_nearest_pixel_is(kernel):
    values, valid = holey(share=0.2)
    rows, cols = np.arange(49) + 0.4, np.arange(1, 60) - 0.3
    _, out_valid = sample_axes(values, valid, rows, cols, kernel)
    assert np.array_equal(out_valid, valid[:49, 1:])


@pytest.mark.parametrize("kernel", SMOOTH)
def test_a_gap_amplifies_nothing(kernel):
    rng = np.random.default_rng(5)
    values = rng.choice([0.0, 1.0], (40, 40))
    valid = rng.random((40, 40)) > 0.5
    out, out_valid = sample_axes(values, valid, np.arange(39) + 0.5, np.arange(39) + 0.5, kernel)
    touched = np.lib.stride_tricks.sliding_window_view(~valid, (2, 2)).any(axis=(2, 3)) & out_valid
    assert out[touched].min() >= 0.0
    assert out[touched].max() <= 1.0


def test_next_to_a_gap_the_valid_neighbours_are_averaged():
    values = np.array([[10.0, 20.0], [30.0, 40.0]])
    valid = np.array([[True, True], [True, False]])
    out, _ = sample(values, valid, np.array([0.25]), np.array([0.25]), "cubic")
    weights = np.array([0.75 * 0.75, 0.75 * 0.25, 0.25 * 0.75])
    np.testing.assert_allclose(out, weights @ [10, 20, 30] / weights.sum())


@pytest.mark.parametrize("kernel", ALL)
def test_an_image_ends_at_the_edges_of_its_pixels(kernel):
    edge = np.array([-0.51, -0.5, 0.0, 9.49, 9.5])
    _, by_mesh = sample_axes(np.ones((10, 10)), None, edge, np.array([5.0]), kernel)
    _, scattered = sample(np.ones((10, 10)), None, edge, 5.0, kernel)
    assert by_mesh[:, 0].tolist() == scattered.tolist() == [False, True, True, True, False]


@pytest.mark.parametrize("kernel", ALL)
def test_far_and_undefined_positions_are_missing(kernel):
    at = np.array([np.nan, np.inf, -np.inf, 1e12, -1e12, 3.0])
    out, valid = sample(np.full((10, 10), 7.0), None, at, 3.0, kernel)
    assert valid.tolist() == [False] * 5 + [True]
    assert out.tolist() == pytest.approx([0.0] * 5 + [7.0], rel=1e-15)


def test_nothing_in_reach_gives_nothing():
    out, valid = sample_axes(np.ones((5, 5)), None, np.arange(20.0, 23.0), np.arange(2.0), "cubic")
    assert not out.any()
    assert not valid.any()


@pytest.mark.parametrize("how", [sample, sample_axes])
def test_leading_axes_are_sampled_alike(how):
    values = np.random.default_rng(6).normal(size=(2, 3, 12, 14))
    valid = np.random.default_rng(7).random(values.shape) > 0.1
    rows, cols = np.arange(10) + 0.3, np.arange(10) + 0.6
    out, out_valid = how(values, valid, rows, cols, "cubic")
    assert out.shape[:2] == (2, 3)
    alone, alone_valid = how(values[1, 2], valid[1, 2], rows, cols, "cubic")
    assert np.array_equal(out[1, 2], alone)
    assert np.array_equal(out_valid[1, 2], alone_valid)


@pytest.mark.parametrize("kernel", ALL)
@pytest.mark.parametrize("step", [1.0, 0.7, -1.0, 1.9])
def test_the_cut_does_not_matter(kernel, step):
    values, valid = holey(8, (200, 70))
    scale = (max(abs(step), 1.0), 1.0)
    rows, cols = 100 + step * np.arange(50), np.arange(60) + 0.123456
    whole, _ = sample_axes(values, valid, rows, cols, kernel, scale=scale)
    for first in (0, 13, 37):
        cut = slice(int(rows.min()) - 12, int(rows.max()) + 12)
        part, _ = sample_axes(values[cut], valid[cut], rows[first:] - cut.start, cols[5:], kernel, scale=scale)
        assert np.array_equal(part, whole[first:, 5:])


@pytest.mark.parametrize("kernel", ALL)
def test_nearest_keeps_the_dtype_others_work_in_floats(kernel):
    out, _ = sample_axes(np.ones((5, 5), np.int64), None, np.array([1.5]), np.array([2.5]), kernel)
    assert out.dtype == (np.int64 if kernel == "nearest" else np.float64)


def test_nearest_copies_integers_beyond_the_reach_of_floats():
    big = np.array([[2**62 + 1, 2**62 + 3]])
    assert sample_axes(big, None, np.array([0.0]), np.array([0.4, 1.2]), "nearest")[0].tolist() == big.tolist()


@pytest.mark.parametrize("kernel", SMOOTH)
def test_a_coarser_output_does_not_alias(kernel):
    board = np.indices((64, 64)).sum(axis=0) % 2.0  # the highest frequency: seen from afar it is grey
    out, _ = sample_axes(board, None, 8.3 + 4 * np.arange(10), 8.3 + 4 * np.arange(10), kernel, scale=(4.0, 4.0))
    np.testing.assert_allclose(out, 0.5, atol=0.02)


@pytest.mark.parametrize("kernel", SMOOTH)
def test_a_coarser_output_is_not_displaced(kernel):
    row, col = 10.5 + 2 * np.arange(8), 20.5 + 3 * np.arange(9)
    out, _ = sample_axes(ramp((60, 80)), None, row, col, kernel, scale=(2.0, 3.0))
    np.testing.assert_allclose(out, 3 * row[:, None] + 5 * col, atol=1e-9 if kernel != "lanczos" else 0.5)


def test_a_coarse_pixel_needs_half_of_its_weight():
    valid = np.ones((20, 20), dtype=bool)
    valid[:, 10:] = False
    _, out_valid = sample_axes(
        np.ones((20, 20)), valid, np.array([9.5]), 1.5 + 4 * np.arange(4), "cubic", scale=(4.0, 4.0)
    )
    assert out_valid.tolist() == [[True, True, True, False]]  # centred at 1.5, 5.5, 9.5 (half) and 13.5


@settings(max_examples=40)
@given(st.floats(-3, 3), st.floats(-3, 3), st.sampled_from(SMOOTH), st.floats(0, 0.6), st.integers(0, 99))
def test_a_constant_stays_constant(drow, dcol, kernel, share, seed):
    valid = np.random.default_rng(seed).random((20, 20)) >= share
    out, out_valid = sample_axes(np.full((20, 20), 1234.0), valid, np.arange(20) + drow, np.arange(20) + dcol, kernel)
    np.testing.assert_allclose(out[out_valid], 1234.0, rtol=1e-12)
    assert not out[~out_valid].any()


@pytest.mark.parametrize("factor", [1, 2, (3, 4)])
def test_shrink_averages_blocks(factor):
    values = np.random.default_rng(9).normal(size=(12, 24))
    rows, cols = (factor, factor) if isinstance(factor, int) else factor
    expected = values.reshape(12 // rows, rows, 24 // cols, cols).mean(axis=(1, 3))
    out, valid = shrink(values, None, factor)
    np.testing.assert_allclose(out, expected)
    assert valid.all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factor", [2, 3, 5, 7, 8, 9, (3, 2), (1, 4)])
def test_adding_planes_gives_the_bits_of_sums(factor, dtype):
    values = 1000 * np.random.default_rng(5).standard_normal((3, 61, 47)).astype(dtype)
    rows, cols = (factor, factor) if isinstance(factor, int) else factor
    full = np.pad(values, [(0, 0), (0, -61 % rows), (0, -47 % cols)])
    count = np.pad(np.ones_like(values), [(0, 0), (0, -61 % rows), (0, -47 % cols)])
    total, count = (
        one.reshape(3, -1, rows, one.shape[-1]).sum(2).reshape(3, -(-61 // rows), -1, cols).sum(3)
        for one in (full, count)
    )
    out, valid = shrink(values, None, factor)
    assert np.array_equal(valid, count * 2 >= rows * cols)
    assert np.array_equal(out[valid], (total / count)[valid])


def test_shrink_weighs_by_the_mask():
    values = np.array([[1.0, np.nan, 5.0, 7.0], [3.0, np.nan, np.nan, np.nan]])
    out, valid = shrink(values, np.isfinite(values), 2)
    assert out.tolist() == [[2.0, 6.0]]
    out, valid = shrink(values, np.isfinite(values), (2, 1))
    assert valid.tolist() == [[True, False, True, True]]
    assert out.tolist() == [[2.0, 0.0, 5.0, 7.0]]


def test_shrink_counts_what_is_cut_off_as_missing():
    out, valid = shrink(np.ones((2, 5)), None, (2, 4))
    assert valid.tolist() == [[True, False]]
    assert out.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("values", [np.ones((3, 3), complex), np.ones(3), np.array([["a"]])])
def test_what_is_no_image_is_refused(values):
    with pytest.raises(ValueError, match="real image"):
        sample(values, None, np.array([1.0]), np.array([1.0]))


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="choose one of nearest, bilinear, cubic, cubic_spline, lanczos"):
        sample_axes(np.ones((3, 3)), None, np.array([1.0]), np.array([1.0]), "sinc")


def test_a_factor_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        shrink(np.ones((3, 3)), None, 0)
