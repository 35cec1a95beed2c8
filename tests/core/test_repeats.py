"""Whether a scene repeats itself, and an answer stands out among its periods."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from xcoreg.core.repeats import fits_elsewhere

_SIDE, _N = 96, 4


def _circles(rng: np.random.Generator, offset: tuple[float, float], *, levels: int | None = None) -> np.ndarray:
    """Windows (n, rows, cols) of circles in squares of 16 px, each of a brightness of its own."""
    y, x = np.mgrid[:_SIDE, :_SIDE]
    col, row = ((at + move) / 16 for at, move in zip((x, y), offset, strict=True))
    inside = np.hypot(col % 1 - 0.5, row % 1 - 0.5) < 0.45
    level = np.random.default_rng(levels) if levels is not None else rng
    cells = level.uniform(0.5, 2, (_N, 9, 9))[:, (row // 1).astype(int), (col // 1).astype(int)]
    return (inside * cells + 0.1 * rng.standard_normal((_N, _SIDE, _SIDE))).astype(np.float32)


@pytest.mark.parametrize("by_edges", [False, True])
def test_other_places_of_a_pattern_fit_as_well(by_edges):
    rng = np.random.default_rng(1)
    tgt, ref = _circles(rng, (3, 5)), _circles(rng, (3, 5))
    valid = np.ones(tgt.shape, bool)
    assert fits_elsewhere(tgt, ref, valid, valid, by_edges=by_edges)


def test_two_circles_along_each_side_are_a_pattern_already():
    rng = np.random.default_rng(6)
    y, x = (np.mgrid[:64, :64] + 5) / 34
    inside = np.hypot(x % 1 - 0.5, y % 1 - 0.5) < 0.46
    noise = 0.1 * rng.standard_normal((2, 1, 64, 64))
    tgt, ref = (
        np.float32(np.where(inside, rng.uniform(0.5, 2, (3, 3))[y.astype(int), x.astype(int)], 0) + noise[i])
        for i in range(2)
    )
    valid = np.ones(tgt.shape, bool)
    assert fits_elsewhere(tgt, ref, valid, valid, by_edges=False)


@pytest.mark.parametrize("by_edges", [False, True])
def test_few_circles_show_no_lattice_and_fit_each_other(by_edges):
    rng = np.random.default_rng(6)
    y, x = (np.mgrid[:64, :64] + 5) / 34
    inside = np.hypot(x / 2 % 1 - 0.5, y % 1 - 0.5) < 0.46
    level = rng.uniform(0.5, 2, (2, 3, 3))
    noise = 0.1 * rng.standard_normal((2, 1, 64, 64))
    one, other = (np.where(inside, part[y.astype(int), (x / 2).astype(int)], 0) for part in level)
    valid = np.ones((1, 64, 64), bool)
    assert fits_elsewhere(np.float32(one + noise[0]), np.float32(other + noise[1]), valid, valid, by_edges=by_edges)
    textured = one + 0.5 * gaussian_filter(rng.standard_normal((64, 64)), 1.5) / 0.19
    same = [np.float32(textured + part) for part in noise]
    assert not fits_elsewhere(*same, valid, valid, by_edges=by_edges)


@pytest.mark.parametrize("by_edges", [False, True])
def test_one_window_that_fits_better_elsewhere_has_no_answer(by_edges):
    scene = np.float32(gaussian_filter(np.random.default_rng(8).standard_normal((1, 90, 90)), (0, 1.5, 1.5)))
    valid = np.ones((1, 64, 64), bool)
    here, there = scene[:, :64, :64], scene[:, 9:73, 12:76]
    assert fits_elsewhere(here, there, valid, valid, by_edges=by_edges)
    assert not fits_elsewhere(here, here.copy(), valid, valid, by_edges=by_edges)


def test_the_same_place_of_a_pattern_stands_out():
    rng = np.random.default_rng(2)
    tgt, ref = _circles(rng, (3, 5), levels=7), _circles(rng, (3, 5), levels=7)
    valid = np.ones(tgt.shape, bool)
    assert not fits_elsewhere(tgt, ref, valid, valid, by_edges=False)


def test_a_limit_below_the_period_says_which_place_is_meant():
    rng = np.random.default_rng(3)
    tgt, ref = _circles(rng, (3, 5)), _circles(rng, (3, 5))
    valid = np.ones(tgt.shape, bool)
    limited = {"by_edges": False, "move": np.array([1.0, -2.0])}
    assert not fits_elsewhere(tgt, ref, valid, valid, limit=8.0, **limited)
    assert fits_elsewhere(tgt, ref, valid, valid, limit=20.0, **limited)


@pytest.mark.parametrize("kind", ["texture", "coast"])
def test_other_scenes_do_not_repeat_themselves(kind):
    rng = np.random.default_rng(4)
    scene = gaussian_filter(rng.standard_normal((_N, _SIDE, _SIDE)), (0, 1, 1))
    if kind == "coast":
        y, x = np.mgrid[:_SIDE, :_SIDE]
        scene = 0.2 * scene + 3 * (0.3 * x + y > 60)
    tgt, ref = (np.float32(scene + 0.3 * rng.standard_normal(scene.shape)) for _ in range(2))
    valid = np.ones(tgt.shape, bool)
    valid[:, :20] = False
    assert not fits_elsewhere(tgt, ref, valid, valid, by_edges=False)
