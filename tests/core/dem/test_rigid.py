"""Rigid motions between two elevation models, and the model that applies, inverts and composes them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from xcoreg.core.dem import DemWindow
from xcoreg.core.dem.rigid import rotation_of, solve_rigid
from xcoreg.core.matches import Status
from xcoreg.core.models import Rigid, model_from_dict
from xcoreg.simulate.terrain import elevations

GSD = 20.0
METRES = np.diag([GSD, -GSD])
ROOM = 40


def moved_pair(angles, offset, scale=1.0, seed=2, shape=(180, 220)):
    """Window whose target a motion brings onto the reference, and the motion's true correction."""
    terrain = elevations((shape[0] + 2 * ROOM, shape[1] + 2 * ROOM), seed=seed)(0.0, 0.0)
    rows, cols = np.mgrid[: shape[0], : shape[1]].astype(float)
    place = np.stack([(cols - cols.mean()) * GSD, -(rows - rows.mean()) * GSD])
    level, turn = terrain.mean(), rotation_of(np.radians(angles)) * scale

    def height(east, north):
        at = rows.mean() - north / GSD + ROOM, cols.mean() + east / GSD + ROOM
        return map_coordinates(terrain, at, order=5)

    z = height(*place)
    for _ in range(12):
        goal = np.einsum("ij,jrc->irc", turn, np.stack([*place, z - level])) + np.array(offset)[:, None, None]
        z = z + height(*goal[:2]) - (goal[2] + level)
    noise = np.random.default_rng(seed).normal(0, 0.4, shape)
    ok = np.ones(shape, bool)
    tgt, ref = (z + noise - level).astype(np.float32), (height(*place) - level).astype(np.float32)
    return DemWindow(tgt, ref, ok, ok, height=level).cleaned(), place, z - level, goal


@pytest.mark.parametrize(("angles", "scale"), [((0.2, -0.2, 0.2), 1.0), ((0, 0, 2.0), 1.0), ((0.05, 0, 0.1), 1.002)])
def test_a_motion_is_found(angles, scale):
    offset = (12.0, -7.0, 3.0)
    one, place, z, goal = moved_pair(angles, offset, scale)
    found = solve_rigid([one], np.zeros(3), METRES, scale=scale != 1.0)
    assert found.status is Status.OK
    cols, rows = place[0] / GSD, -place[1] / GSD
    local = found.motion.local(cols.ravel(), rows.ravel(), z.ravel() + one.height)
    made = found.motion.scale * found.motion.rotation @ local + found.motion.offset[:, None]
    centre = np.array([*(METRES @ found.motion.centre[:2]), found.motion.centre[2] - one.height])
    off = made + centre[:, None] - goal.reshape(3, -1)
    assert np.sqrt((off[:2] ** 2).sum(0).mean()) < 0.25
    assert np.sqrt((off[2] ** 2).mean()) < 0.05
    assert 0.25 < found.nmad_after < 0.5  # interpolation smooths noise of 0.4 m
    assert (np.abs(off.mean(1)) < 4 * np.sqrt(np.diag(found.cov)[:3])).all()


def test_flat_noise_has_no_motion():
    rng, ok = np.random.default_rng(1), np.ones((120, 140), bool)
    tgt, ref = rng.normal(0, 0.5, (2, 120, 140)).astype(np.float32)
    assert solve_rigid([DemWindow(tgt, ref, ok, ok)], np.zeros(3), METRES).status is not Status.OK


@pytest.fixture
def motion():
    turn = rotation_of(np.radians([0.3, -0.2, 1.5]))
    return Rigid(turn, [4.0, -3.0, 2.0], [5e5, 54e5, 700.0], scale=1.001, cov=np.eye(7) * 1e-4)


def test_a_motion_and_its_inverse_lead_back(motion):
    x, y, z = np.array([5.002e5, 4.99e5]), np.array([54.01e5, 53.97e5]), np.array([650.0, 900.0])
    dx, dy, dz = motion.correction(x, y, z)
    back = motion.inverse().correction(x + dx, y + dy, z + dz)
    assert np.abs(np.stack([dx, dy, dz]) + np.stack(back)).max() < 1e-6


def test_motions_compose_about_different_centroids(motion):
    other = Rigid(rotation_of(np.radians([0.0, 0.1, -0.4])), [1.0, 2.0, -5.0], [5.01e5, 54.02e5, 100.0])
    both, (x, y, z) = motion.then(other), (500321.0, 5401234.0, 812.0)
    first = motion.correction(x, y, z)
    second = other.correction(x + first[0], y + first[1], z + first[2])
    assert np.abs(np.array(both.correction(x, y, z)) - np.array(first) - np.array(second)).max() < 1e-6


def test_a_matrix_and_a_file_give_the_motion_back(motion):
    same = Rigid.from_matrix(motion.matrix, motion.centroid)
    assert np.allclose(same.angles, [0.3, -0.2, 1.5], atol=1e-9)
    assert same.scale == pytest.approx(1.001)
    assert model_from_dict(motion.to_dict()) == motion
    with pytest.raises(ValueError, match="rotation"):
        Rigid.from_matrix(np.diag([1.0, 2.0, 1.0, 1.0]), (0, 0, 0))
