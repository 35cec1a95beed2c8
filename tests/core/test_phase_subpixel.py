import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from xcoreg.core.phase import FourierShift, cut_at_offset, shift_pixels

ROWS, COLS = np.mgrid[:64, :80].astype(np.float64)
INNER = (slice(5, -5), slice(5, -5))


def waves(dcol=0.0, drow=0.0):
    """A smooth image read at positions moved by (dcol, drow)."""
    return np.cos(0.5 * (COLS + dcol) + 0.3) * np.sin(0.35 * (ROWS + drow)) + 0.01 * (COLS + dcol)


def mover():
    return FourierShift(np.stack([waves(), waves(3, 1)]).astype(np.float32))


@pytest.mark.parametrize("move", [(0.25, 0.0), (0.0, -0.5), (0.4, 0.3), (-0.49, 0.49)])
def test_reads_between_pixels(move):
    shift_pixels = mover().image(mover().spectrum(np.array([move, move])))
    assert np.abs(shift_pixels[0] - waves(*move))[INNER].max() < 3e-3
    assert np.abs(shift_pixels[1] - waves(3 + move[0], 1 + move[1]))[INNER].max() < 3e-3


def test_no_move_returns_the_pixels():
    still = mover().image(mover().spectrum(np.zeros((2, 2))))
    assert np.abs(still[0] - waves()).max() < 2e-6


def test_every_window_has_its_own_move():
    shift_pixels = mover().image(mover().spectrum(np.array([[0.3, 0.0], [-0.3, 0.2]])))
    assert np.abs(shift_pixels[1] - waves(2.7, 1.2))[INNER].max() < 3e-3


def test_stays_in_single_precision():
    spectra = mover().spectrum(np.full((2, 2), 0.1))
    assert (spectra.dtype, mover().image(spectra).dtype) == (np.complex64, np.float32)


def test_cutting_follows_the_offset_and_marks_what_was_inside():
    images = np.arange(24.0).reshape(2, 3, 4)
    out, inside = cut_at_offset(images, np.array([[1, 0], [0, -1]]))
    assert out[0].tolist() == [[1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]]
    assert inside[0].tolist() == [[True, True, True, False]] * 3
    assert out[1, 1:].tolist() == images[1, :2].tolist()
    assert inside[1].all(1).tolist() == [False, True, True]


def test_cutting_keeps_the_dtype():
    assert cut_at_offset(np.ones((1, 4, 4), bool), np.array([[1, 1]]))[0].dtype == bool


@settings(max_examples=40, derandomize=True)
@given(st.integers(-9, 9), st.integers(-9, 9))
def test_cutting_is_a_roll_where_inside(dcol, drow):
    images = np.random.default_rng(4).random((1, 10, 10))
    out, inside = cut_at_offset(images, np.array([[dcol, drow]]))
    rolled = np.roll(images, (-drow, -dcol), (1, 2))
    assert inside.sum() == (10 - abs(drow)) * (10 - abs(dcol))
    assert (out[inside] == rolled[inside]).all()


@settings(max_examples=40, derandomize=True)
@given(st.integers(-12, 12), st.integers(-12, 12))
def test_shifting_is_the_inverse_of_cutting_with_zeros(dcol, drow):
    images = np.random.default_rng(4).random((2, 10, 10))
    move = np.array([[dcol, drow], [0, 1]])
    cut, inside = cut_at_offset(images, -move)
    assert (shift_pixels(images, move) == np.where(inside, cut, 0)).all()
