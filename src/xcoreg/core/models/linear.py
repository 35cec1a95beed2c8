"""Robust least squares with few coefficients, a covariance per point, and scatter beyond it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.core.models.calibrate import Stated, calibrate
from xcoreg.core.models.scatter import excess, first_scatter, inverses, normalised, trust, withheld

if TYPE_CHECKING:
    from xcoreg.core.models.base import Floats

__all__ = ["LinearFit", "fit_linear"]

_FIRST_ROUNDS = 8
_ROUNDS = 25
_TOLERANCE = 1e-4
_MAJORITY = 0.6  # of the points count in the end
_THIN = 1e-4  # of the variance of scatter that is in all directions
_FLOOR = 1e-14  # variance below which scatter is round-off of values of about 1


@dataclass(frozen=True)
class LinearFit:
    """What a fit to tie points gives, in the units of the values.

    Parameters
    ----------
    coef : (m, k) float64
    cov : (m, k, m, k) float64
        Covariance of the coefficients.
    scatter : (k, k) float64
        Of the points beyond their own covariances; both are calibrated by the withheld residuals.
    off : (n, k) float64
        Residual of each point from the fit without it.
    spread : (n, k, k) float64
        Covariance of that prediction.
    """

    coef: Floats
    cov: Floats
    scatter: Floats
    off: Floats
    spread: Floats


def fit_linear(design: Floats, values: Floats, covs: Floats) -> LinearFit:
    """Fit coefficients, scatter and robust weights together.

    Parameters
    ----------
    design : (n, m) float64
        The value of each basis function at each point, of order 1.
    values : (n, k) float64
        Of order 1.
    covs : (n, k, k) float64
        Positive definite.

    Returns
    -------
    LinearFit
        Weights are the inverse of covariance plus scatter, times a robust one by the normalised residual (from a
        start by least absolute deviations). The scatter is that of :func:`xcoreg.core.models.scatter.excess`.

    Examples
    --------
    >>> u = np.linspace(-1, 1, 9)
    >>> design = np.column_stack([np.ones(9), u])
    >>> fit = fit_linear(design, np.column_stack([1 + u, 2 - u]), np.tile(np.eye(2) * 1e-4, (9, 1, 1)))
    >>> fit.coef.round(6).tolist()
    [[1.0, 2.0], [1.0, -1.0]]
    """
    k = values.shape[1]
    scatter, weights = _start(design, values, covs)
    for _ in range(_ROUNDS):
        precision = weights[:, None, None] * inverses(covs + scatter)
        coef, cov = _solve(design, values, precision)
        off = values - design @ coef
        spread = _spread(design, cov)
        left = 1 - np.einsum("nij,nji->n", spread, precision) / k
        last, scatter = scatter, _rounded(excess(off, covs, np.clip(left, 0, 1), weights))
        weights, scatter = _majority(off, covs, scatter, np.clip(left, 0.1, 1), design.shape[1] + 2)
        if np.abs(scatter - last).max() <= _TOLERANCE * np.abs(scatter).max():
            break
    precision = weights[:, None, None] * inverses(covs + scatter)
    coef, cov = _solve(design, values, precision)
    spread = _spread(design, cov)
    held, held_spread = withheld(values - design @ coef, spread, precision)
    factor, scatter = calibrate(held, Stated(held_spread, covs, scatter), weights, design.shape[1])
    return LinearFit(coef, factor * cov, scatter, held, factor * held_spread)


def _start(design: Floats, values: Floats, covs: Floats) -> tuple[Floats, Floats]:
    """Find scatter and weights that some wrong points cannot spoil: least absolute deviations by reweighting."""
    n, m = design.shape
    coef = np.linalg.lstsq(design, values, rcond=None)[0]
    for _ in range(_FIRST_ROUNDS if n > m else 0):
        length = np.sqrt(((values - design @ coef) ** 2).sum(1))
        root = 1 / np.sqrt(np.maximum(length, 1e-3 * np.median(length) + 1e-9))[:, None]
        coef = np.linalg.lstsq(design * root, values * root, rcond=None)[0]
    off = values - design @ coef
    scatter = _rounded(first_scatter(off, covs) * n / max(n - m, 1))
    weights, scatter = _majority(off, covs, scatter, np.ones(n), m + 2)
    return scatter, weights


def _majority(off: Floats, covs: Floats, scatter: Floats, left: Floats, needed: int) -> tuple[Floats, Floats]:
    """Weigh points by their residuals; scatter in which most of them count for nothing cannot be right."""
    while True:
        weights = trust(normalised(off, covs + scatter) / left, off.shape[1])
        if weights.sum() >= max(_MAJORITY * len(off), min(needed, len(off)) - 1e-9):
            return weights, scatter
        scatter = _rounded(2 * scatter)


def _rounded(scatter: Floats) -> Floats:
    """Keep an ellipse from collapsing: where it has no width at all, its inverse is noise."""
    k = len(scatter)
    return np.asarray(scatter + (_FLOOR + _THIN * np.trace(scatter)) * np.eye(k))


def _solve(design: Floats, values: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Weighted least squares for all components together: coefficients (m, k) and covariance (m, k, m, k)."""
    m, k = design.shape[1], values.shape[1]
    heavy = design[:, :, None, None] * precision[:, None]
    normal = np.tensordot(design, heavy, (0, 0)).transpose(0, 2, 1, 3).reshape(m * k, m * k)
    right = np.einsum("njab,nb->ja", heavy, values).ravel()
    cov = np.linalg.inv((normal + normal.T) / 2)
    return np.asarray((cov @ right).reshape(m, k)), np.asarray(cov.reshape(m, k, m, k))


def _spread(design: Floats, cov: Floats) -> Floats:
    """Covariance of the fit at the points, (n, k, k)."""
    half = np.tensordot(design, cov, (1, 0))
    return np.asarray(np.einsum("najb,nj->nab", half, design))
