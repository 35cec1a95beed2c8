"""Seams between elevation models: lines across which the correction jumps, and the regions between them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from xcoreg.core.dem import DemWindow, Terms
from xcoreg.core.dem.regions import Tree, _sharpness, find_mosaic
from xcoreg.core.dem.seams import Pixels, find_line

SHAPE = 160, 200
COL, ROW = np.meshgrid(np.arange(200) - 99.5, np.arange(160) - 79.5)


def window(step, noise=0.3, seed=0):
    """Terrain, and the same raised by a step (rows, cols), with errors that are partly smooth."""
    rng = np.random.default_rng(seed)
    ground = 400 * gaussian_filter(rng.standard_normal(SHAPE), 5)
    soft = gaussian_filter(rng.standard_normal(SHAPE), 3)
    errors = noise * (rng.standard_normal(SHAPE) + soft / soft.std())
    full = np.ones(SHAPE, bool)
    tgt, ref = ((ground + part).astype(np.float32) for part in (errors - step, np.zeros(SHAPE)))
    return DemWindow(tgt, ref, full, full)


@pytest.mark.parametrize(
    ("normal", "offset"), [((1.0, 0.0), 20.0), ((0.0, 1.0), -31.0), ((0.6, 0.8), 12.0)], ids=["col", "row", "oblique"]
)
def test_a_seam_is_found_to_half_a_pixel(normal, offset):
    beyond = normal[0] * COL + normal[1] * ROW > offset
    line = find_line(Pixels.of([window(np.where(beyond, 2.0, 0.0))], np.zeros(2)).clipped())
    a, b, c = line.plane
    u = np.linspace(-60, 60, 5)
    place = offset * np.array(normal)[:, None] + np.array([-normal[1], normal[0]])[:, None] * u
    assert np.abs(a * place[0] + b * place[1] + c).max() < 0.6


def test_smooth_errors_over_a_constant_truth_make_no_seam():
    for seed in range(4):
        assert find_mosaic([window(0.0, seed=seed)], np.zeros(2), Terms(shift=True)) is None


def test_a_patch_is_one_region_and_its_surroundings_another():
    patch = (np.abs(COL - 20) < 40) & (np.abs(ROW) < 35)
    found = find_mosaic([window(np.where(patch, 2.0, -1.0), seed=1)], np.zeros(2), Terms(shift=True))
    label = found.tree.regions(COL, ROW)
    assert (found.values[label][..., 2][patch] > 1.8).mean() > 0.93
    assert (found.values[label][..., 2][~patch] < -0.8).mean() > 0.97
    assert np.abs(found.values[:, :2]).max() < 0.1


def test_heights_alone_have_regions_too():
    found = find_mosaic([window(np.where(COL > 10, 5.0, 0.0))], np.zeros(2), Terms())
    assert found.values[:, 2] == pytest.approx([0.0, 5.0], abs=0.2)
    assert (found.values[:, :2] == 0).all()


def test_smooth_noise_has_no_sharp_seams():
    """Lines that smooth errors of a large part of the scene are split by are no seams."""
    rows, cols = np.mgrid[:200, :240].astype(float)
    smooth, sharp = 2 * np.tanh((cols - 120) / 15), np.where(cols < 120, -2.0, 2.0)
    tree = Tree(np.array([[1.0, 0.0, -120.0]]), np.array([[-1, -2]]))
    none = np.zeros(rows.size, np.float32)
    found = [
        _sharpness(Pixels(cols.ravel() + 0.5, rows.ravel(), heights.ravel(), (none, none)), tree)
        for heights in (smooth, sharp)
    ]
    assert found == [pytest.approx(0.31, abs=0.06), pytest.approx(1.0)]
