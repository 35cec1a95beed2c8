"""Blobs: as many pixels as asked for, in one piece rather than as salt."""

import numpy as np
import pytest

from xcoreg.simulate import blob_mask
from xcoreg.simulate.pairs import Clouds, veil


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 1.0])
def test_each_mask_of_a_batch_has_its_fraction(fraction):
    masks = blob_mask((4, 60, 50), fraction, seed=1)
    assert masks.mean(axis=(1, 2)) == pytest.approx(fraction, abs=1e-3)


def test_masks_of_a_batch_differ():
    first, second = blob_mask((2, 64, 64), 0.5, seed=1)
    assert 0.2 < np.mean(first != second) < 0.8


def test_blobs_hang_together():
    mask = blob_mask((128, 128), 0.5, scale=10.0, seed=2)
    assert np.mean(mask[:, 1:] != mask[:, :-1]) < 0.06


def test_clouds_cover_their_fraction():
    clouds = Clouds.draw((700, 900), 0.3, np.random.default_rng(1))
    assert np.mean(clouds.height(0, 700, 0, 900) > 0) == pytest.approx(0.3, abs=0.01)


def test_a_strip_of_clouds_is_part_of_the_whole():
    clouds = Clouds.draw((700, 900), 0.3, np.random.default_rng(1))
    assert np.array_equal(clouds.height(0, 700, 0, 900)[300:400], clouds.height(300, 400, 0, 900))


def test_veil_has_soft_edges_and_bright_hearts():
    land = np.zeros((1, 5), np.float32)
    covered = veil(land, np.array([[-1, 0, 0.1, 0.5, 1]], np.float32))
    assert covered[0] == pytest.approx([0, 0, 0.104 * 4.1, 4.5, 5.0], abs=1e-5)


def test_clear_sky_is_left_alone():
    land = np.random.default_rng(0).standard_normal((5, 5)).astype(np.float32)
    assert np.array_equal(veil(land, np.full((5, 5), -0.5, np.float32)), land)
