"""Tie points over known fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest


@dataclass
class Case:
    """Tie points with the covariances that are stated for them."""

    x: np.ndarray
    y: np.ndarray
    dx: np.ndarray
    dy: np.ndarray
    cov: np.ndarray

    @property
    def args(self):
        return self.x, self.y, self.dx, self.dy, self.cov

    def __getitem__(self, chosen):
        return Case(*(part[chosen] for part in self.args))


FIELDS = {
    "constant": lambda x, y: (3.0 + 0 * x, -1.0 + 0 * y),
    "plane": lambda x, y: (3.0 + 1e-3 * (x - 4e5), -1.0 + 2e-4 * (y - 5e6)),
    "wave": lambda x, y: (2 * np.sin((x - 4e5) / 400), 2 * np.cos((x - 4e5) / 500 + (y - 5e6) / 700)),
    "short": lambda x, y: (2 * np.sin((x - 4e5) / 80), 2 * np.cos((x - 4e5) / 120 + (y - 5e6) / 120)),
    "step": lambda x, y: (np.where(x > 4e5 + 850, 1.0, 0.0), 0 * y),
}


def make_case(field="wave", n=300, sigma=0.02, seed=0, layout="random", understate=1.0):
    """Scatter about n points at a spacing of about 100; covariances differ by a factor of 9."""
    rng = np.random.default_rng(seed)
    side = int(np.sqrt(n))
    if layout == "grid":
        x, y = (100.0 * p.ravel() for p in np.meshgrid(np.arange(side), np.arange(side)))
    else:
        x, y = rng.uniform(0, 100.0 * side, (2, n))
    x, y = x + 4e5, y + 5e6
    size = sigma * rng.uniform(0.5, 1.5, len(x))
    dx, dy = FIELDS[field](x, y)
    noise = rng.normal(size=(2, len(x))) * size
    return Case(x, y, dx + noise[0], dy + noise[1], (size / understate)[:, None, None] ** 2 * np.eye(2))


@pytest.fixture
def case():
    return make_case


@pytest.fixture
def truth():
    return FIELDS
