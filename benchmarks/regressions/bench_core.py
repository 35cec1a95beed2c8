"""The matcher and what follows it, on arrays: one thread, seeded."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg.core.matcher import phase_match, phase_scout
from xcoreg.core.models import choose_model
from xcoreg.core.refine import refine
from xcoreg.simulate import blob_mask, window_pairs

_PIXELS = 2**19  # of all windows of one batch


@pytest.fixture(params=[64, 256], ids=lambda size: f"window {size}")
def windows(request):
    """Pairs of windows within a pixel of each other at 20 dB, all of it valid."""
    size = request.param
    drawn = window_pairs(_PIXELS // size**2, size, 20, max_shift=1.0, seed=1)
    valid = np.ones(drawn.ref.shape, bool)
    return drawn.tgt, drawn.ref, valid, valid


def bench_matcher(benchmark, windows):
    found = benchmark(phase_match, *windows)
    assert found.ok.mean() > 0.9


def bench_matcher_half_masked(benchmark, windows):
    tgt, ref, valid, _ = windows
    seen = ~blob_mask(valid.shape, 0.5, seed=2)
    found = benchmark(phase_match, tgt, ref, seen, seen)
    assert found.ok.mean() > 0.5


def bench_scout(benchmark, windows):
    told = benchmark(phase_scout, *windows)
    assert np.abs(told).max() <= 2


def bench_refine(benchmark, windows):
    tgt, ref, *valid = windows
    done = benchmark(refine, tgt, ref, *valid, np.zeros((len(ref), 2)))
    assert np.median(done.last_step) < 0.1


def bench_robust_fit(benchmark):
    """Choose a model for 600 tie points of a smooth field, of which a twentieth is wrong."""
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 1e5, (2, 600))
    dx, dy = 20 * np.sin(x / 3e4) + rng.normal(0, 0.2, 600), 15 * np.cos(y / 4e4) + rng.normal(0, 0.2, 600)
    dx[:30] += rng.uniform(-30, 30, 30)
    choice = benchmark(choose_model, x, y, dx, dy)
    assert choice.model.kind != "translation"
