"""Sampling by slices: bit for bit what looking every tap up gives, whatever the positions."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg.core import tiles
from xcoreg.core.sampling import sample
from xcoreg.core.tiles import sample_list, sample_tile

SMOOTH = ("bilinear", "cubic", "lanczos")
ROWS, COLS = np.mgrid[:256, :250].astype(float)

FIELDS = {
    "half a pixel": (ROWS + 20.5, COLS + 30.5),
    "one more tap": (ROWS + 20.3 + 0.4 * np.sin(COLS / 90), COLS + 30.9 + 0.4 * np.cos(ROWS / 80)),
    "steep": (ROWS + 20 + 9 * np.sin(COLS / 50), COLS + 30 + 9 * np.cos(ROWS / 40)),
    "turned": (0.99 * ROWS + 0.1 * COLS + 20, 0.99 * COLS - 0.1 * ROWS + 30),
    "across the edge": (ROWS - 20.3 + 0.01 * COLS, COLS - 3.9 + 0.02 * ROWS),
    "whole steps": (ROWS + np.where(COLS > 100, 21.0, 20.0), COLS + np.where(ROWS > 50, 5.0, 4.0)),
    "noise": (ROWS + np.random.default_rng(2).normal(0, 3, ROWS.shape) + 15, COLS + 15.0),
}


def holey(dtype):
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 310)).astype(dtype), rng.random((300, 310)) > 0.02


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("kernel", ["nearest", *SMOOTH])
@pytest.mark.parametrize("gaps", [False, True])
def test_slices_and_look_ups_give_the_same_bits(name, kernel, gaps):
    values, mask = holey("float32")
    at = FIELDS[name]
    out, valid = np.zeros(ROWS.shape, "f4"), np.zeros(ROWS.shape, bool)
    assert sample_tile((values, mask if gaps else None), at, (0, 0), kernel, out, valid)
    flat, flat_valid = np.zeros(ROWS.size, "f4"), np.zeros(ROWS.size, bool)
    listed = (at[0].ravel(), at[1].ravel())
    sample_list((values, mask if gaps else None), listed, (kernel, (1.0, 1.0)), flat, flat_valid)
    assert out.tobytes() == flat.tobytes()
    assert valid.tobytes() == flat_valid.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_size_of_the_tiles_does_not_matter(dtype, monkeypatch):
    values, mask = holey(dtype)
    whole = sample(values, mask, *FIELDS["one more tap"], "cubic")
    monkeypatch.setattr(tiles, "_TILE", 37)
    cut = sample(values, mask, *FIELDS["one more tap"], "cubic")
    assert whole[0].tobytes() == cut[0].tobytes()
    assert whole[1].tobytes() == cut[1].tobytes()


def test_a_smooth_tile_is_never_looked_up(monkeypatch):
    monkeypatch.setattr(tiles, "sample_list", None)
    values, _ = holey("float32")
    out, valid = sample(values, None, *FIELDS["one more tap"], "cubic")
    assert valid.mean() > 0.9
    assert out.any()


@pytest.mark.parametrize("missing", [np.nan, np.inf, 1e12])
def test_a_tile_without_all_positions_is_left_to_the_look_up(missing):
    values, _ = holey("float32")
    rows, cols = (position.copy() for position in FIELDS["half a pixel"])
    whole = sample(values, None, rows, cols, "cubic")[0]
    rows[3, 5] = missing
    out, valid = sample(values, None, rows, cols, "cubic")
    assert not valid[3, 5]
    whole[3, 5] = 0
    assert np.array_equal(out, whole)


@pytest.mark.parametrize("kernel", ["nearest", *SMOOTH])
def test_positions_may_be_counted_from_elsewhere(kernel):
    values, mask = holey("float32")
    rows, cols = FIELDS["steep"]
    here = sample(values, mask, rows, cols, kernel)
    there = sample(values[5:, 7:], mask[5:, 7:], rows[40:80, 40:80], cols[40:80, 40:80], kernel, origin=(5, 7))
    assert np.array_equal(here[0][40:80, 40:80], there[0])
    assert np.array_equal(here[1][40:80, 40:80], there[1])


def test_minus_zero_is_not_made():
    out, _ = sample(np.zeros((300, 310), "f4"), None, *FIELDS["half a pixel"], "cubic")
    assert not np.signbit(out).any()
