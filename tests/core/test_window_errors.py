"""Errors of the places of dates, by what their windows are off."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from xcoreg.core import network as nw, window_errors as we

COLUMN, ROW = (part.ravel() for part in np.meshgrid(np.arange(5), np.arange(5)))


def layout(n, seen=None):
    share = np.ones((n, 25)) if seen is None else seen.astype(float)
    return we.Layout(COLUMN, ROW, share / share.sum(1, keepdims=True))


def test_places_are_solved_for_each_window():
    rng = np.random.default_rng(1)
    ends, places = np.array(list(combinations(range(6), 2))), rng.normal(0, 0.1, (6, 25, 2))
    net = nw.Network(6, ends[:, 1], ends[:, 0], np.zeros(15, int), np.zeros((6, 0)))
    weight = rng.uniform(0.5, 2, (15, 25))
    weight[(ends == 0).any(1), 3] = 0
    found = we.places_by_window(net, places[ends[:, 1]] - places[ends[:, 0]], weight)
    assert np.isnan(found[0, 3]).all()
    assert np.isfinite(found[1:, 3]).all()
    off = (found - places)[:, np.arange(25) != 3]
    assert np.ptp(off, axis=0).max() < 1e-6  # each window in a datum of its own


def test_independent_errors_average_out():
    places = np.random.default_rng(2).normal(0, 0.1, (60, 25, 2))
    found = we.variance_by_windows(places, layout(60))
    assert found.mean(0) == pytest.approx(0.1**2 / 25, rel=0.25)


def test_columns_that_err_alike_count_as_one():
    strips = np.random.default_rng(3).normal(0, 0.1, (60, 5, 2))
    found = we.variance_by_windows(strips[:, COLUMN], layout(60))
    assert found.mean(0) == pytest.approx(0.1**2 / 5, rel=0.25)


def test_a_date_that_shows_one_column_is_as_vague_as_that():
    rng = np.random.default_rng(4)
    seen = np.ones((60, 25), bool)
    seen[0] = COLUMN == 4
    places = np.where(seen[..., None], rng.normal(0, 0.1, (60, 5, 2))[:, COLUMN], np.nan)
    found = we.variance_by_windows(places, layout(60, seen))
    assert found[0] / found[1:].mean(0) == pytest.approx(5, rel=0.6)


def test_nothing_is_said_of_single_windows():
    seen = np.zeros((4, 25), bool)
    seen[:, 7] = True
    assert np.isnan(we.variance_by_windows(np.zeros((4, 25, 2)), layout(4, seen))).all()


def test_windows_count_twice_in_the_mean_of_both_estimates():
    ends = np.array(list(combinations(range(5), 2)))
    net = nw.Network(5, ends[:, 1], ends[:, 0], np.zeros(10, int), np.zeros((5, 0)))
    found = nw.adjust(net, np.zeros((10, 2)), np.broadcast_to(1e-4 * np.eye(2), (10, 2, 2)), np.ones(10, bool))
    unknown = np.full((5, 2), np.nan)
    assert we.with_window_errors(found, unknown) is found
    known = replace(found, images=np.eye(5)[..., None] * np.full(2, 3e-4))
    variance = unknown.copy()
    own = float(known.network[0, 0, 0, 0])
    variance[0], variance[1] = 24e-4 + own, 0.0  # windows show errors of pairs, which the network counts, too
    images = we.with_window_errors(known, variance).images
    assert np.diagonal(images)[0] == pytest.approx([12e-4, 0.75e-4, 3e-4, 3e-4, 3e-4])
