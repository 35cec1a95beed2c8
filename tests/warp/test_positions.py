"""Positions of a field: right everywhere, cheap where it is smooth, the same whatever is asked for."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from xcoreg.warp.positions import Patches, make_patch

SIZE = (2000, 2000)
PATCH = 1024  # of these tests
WHOLE = (slice(0, PATCH), slice(0, PATCH))
ALLOWED = 0.002


def wave(length, height=2.5):
    def exact(rows, cols):
        rows, cols = np.broadcast_arrays(rows, cols)
        return rows + height * np.sin(cols / length), cols + height * np.cos(rows / length)

    return exact


class Asked:
    """Counts the positions asked for."""

    def __init__(self, exact):
        self.exact, self.n = exact, 0

    def __call__(self, rows, cols):
        self.n += np.broadcast(rows, cols).size
        return self.exact(rows, cols)


def errors(patch, exact, block=WHOLE):
    rows, cols = (np.arange(span.start, span.stop, dtype=float) for span in block)
    return np.abs(patch.positions(*block) - np.stack(exact(rows[:, None], cols)))


@pytest.mark.parametrize(("length", "height", "most"), [(1700, 2.5, 1100), (500, 2.5, 5000), (80, 20, 70000)])
def test_a_smooth_field_is_right_everywhere_at_a_small_cost(length, height, most):
    asked = Asked(wave(length, height))
    patch = make_patch(asked, WHOLE, SIZE, ALLOWED)
    assert errors(patch, asked.exact).max() < 1.1 * ALLOWED
    assert asked.n < 1.3 * most
    assert patch.single_pixels[0].size == 0


def test_a_kink_costs_where_it_is():
    def kinked(rows, cols):
        rows, cols = np.broadcast_arrays(rows, cols)
        return rows + 0.02 * np.abs(cols - 333.3), cols + 0.0

    asked = Asked(kinked)
    patch = make_patch(asked, WHOLE, SIZE, ALLOWED)
    assert errors(patch, kinked).max() < 1.1 * ALLOWED
    assert asked.n < 0.05 * PATCH * PATCH


def test_whole_steps_stay_whole():
    def stepped(rows, cols):
        rows, cols = np.broadcast_arrays(rows, cols)
        return rows + np.where(cols > 500.5, 3.0, 0.0), cols + np.where(rows > 300.5, -2.0, 0.0)

    patch = make_patch(stepped, WHOLE, SIZE, ALLOWED)
    assert errors(patch, stepped).max() < 1e-9


def test_where_there_is_no_position_none_is_made_up():
    def torn(rows, cols):
        rows, cols = np.broadcast_arrays(rows + 0.0, cols + 0.0)
        lost = np.hypot(rows - 400, cols - 500) < 150.5
        return np.where(lost, np.nan, rows), np.where(lost, np.nan, cols)

    patch = make_patch(torn, WHOLE, SIZE, ALLOWED)
    found = patch.positions(*WHOLE)
    wanted = np.stack(torn(np.arange(1024.0)[:, None], np.arange(1024.0)))
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    assert np.nanmax(np.abs(found - wanted)) < 1e-9


def test_far_from_the_image_nothing_is_refined():
    asked = Asked(wave(3, 40))
    patch = make_patch(lambda rows, cols: asked(rows + 9e5, cols), WHOLE, SIZE, ALLOWED)
    assert patch.single_pixels[0].size == 0
    assert asked.n < 1500


@pytest.mark.parametrize("length", [400, 60, 5])
def test_blocks_of_a_patch_are_parts_of_it_and_within_its_extremes(length):
    patch = make_patch(wave(length, 3.0), (slice(0, 300), slice(1024, 1500)), SIZE, ALLOWED)
    whole = patch.positions(slice(0, 300), slice(1024, 1500))
    parts = ((0, 1, 1024, 1025), (63, 130, 1100, 1499), (299, 300, 1499, 1500))
    for rows, cols in ((slice(*part[:2]), slice(*part[2:])) for part in parts):
        block = patch.positions(rows, cols)
        assert np.array_equal(block, whole[:, rows, cols.start - 1024 : cols.stop - 1024])
        extremes = patch.extremes(rows, cols)
        assert (extremes.min(axis=1) <= block.min(axis=(1, 2))).all()
        assert (extremes.max(axis=1) >= block.max(axis=(1, 2))).all()
        assert np.abs(extremes.min(axis=1) - block.min(axis=(1, 2))).max() < 1e-9


def test_an_output_of_one_pixel_has_a_position():
    patch = make_patch(wave(100), (slice(0, 1), slice(0, 1)), SIZE, ALLOWED)
    assert errors(patch, wave(100), (slice(0, 1), slice(0, 1))).max() < 1e-9


def test_patches_are_made_once_and_forgotten_in_the_end(monkeypatch):
    patches, made = Patches(), []

    def get(key):
        return patches.get(key, lambda: made.append(key) or make_patch(wave(100), WHOLE, SIZE, ALLOWED))

    get((0, 0))
    get((0, 0))
    assert made == [(0, 0)]
    monkeypatch.setattr("xcoreg.warp.positions._CACHE_BYTES", 1)
    get((0, 1))
    get((0, 0))
    assert made == [(0, 0), (0, 1), (0, 0)]


def test_patches_stay_behind_when_pickled():
    patches = Patches()
    patches.get((0, 0), lambda: make_patch(wave(100), WHOLE, SIZE, ALLOWED))
    assert len(pickle.dumps(patches)) < 200
