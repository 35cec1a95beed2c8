"""Least squares for control points: polynomials and the homography, weighted and robust, with left-out residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.core.arrays import Floats
from xcoreg.core.robust import MEDIAN_RADIUS, TUKEY, biweight
from xcoreg.georef.surfaces import Homography, Polynomial, homography_terms

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


_ROUNDS = 30
_SAMPLES = 500
_MOST_JUDGES = 2000  # points that rate a sample, at most


@dataclass(frozen=True, eq=False)
class Solution:
    """A fitted surface with its least-squares statistics.

    leverage : (n, 2, 2) float; Part of every point's own coordinates in what is predicted there, each point's weight
        included.
    normal : Inverse normal matrix of the parameters: of each axis for polynomials, of both together for the homography.
    """

    surface: Polynomial | Homography
    leverage: Floats
    normal: Floats

    def left_out(self, residuals: Floats) -> Floats:
        """Residuals (n, 2) of every point against the fit to the others; NaN where the others do not determine it."""
        rest: Floats = np.eye(2) - self.leverage
        lost = np.abs(np.linalg.det(rest)) < 1e-9
        rest[lost] = np.eye(2)
        out = np.asarray(np.linalg.solve(rest, residuals[..., None])[..., 0], np.float64)
        out[lost] = np.nan
        return out


def condition(u: Floats, v: Floats, order: int) -> float:
    """Condition number of a polynomial's terms at points: beyond 1e8 or so they do not determine it.

    u, v (n,) float.
    """
    terms = Polynomial(order, np.empty(0)).terms(u, v)
    if terms.shape[0] < terms.shape[1]:
        return np.inf
    singular = np.linalg.svd(terms / np.linalg.norm(terms, axis=0), compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0 else np.inf


def fit_polynomial(u: Floats, v: Floats, ground: Floats, weights: Floats, order: int) -> Solution:
    """Fit a polynomial by weighted least squares.

    u, v (n,) float; ground (n, 2) float; weights (n,) float.
    """
    terms = Polynomial(order, np.empty(0)).terms(u, v)
    root = np.sqrt(weights)[:, None]
    q, r = np.linalg.qr(root * terms)
    coefs = np.linalg.solve(r, q.T @ (root * ground))
    back = np.linalg.solve(r, np.eye(r.shape[0]))
    leverage: Floats = (q * q).sum(axis=1)[:, None, None] * np.eye(2)
    return Solution(Polynomial(order, coefs), leverage, np.asarray(back @ back.T))


def fit_homography(u: Floats, v: Floats, ground: Floats, weights: Floats) -> Solution:
    """Fit a homography: the direct linear solution, then Gauss and Newton's steps on the residuals on the ground."""
    x, y = ground.T
    root = np.sqrt(weights)
    rows = [terms * root[:, None] for terms in homography_terms(u, v, x, y)]
    found = np.linalg.lstsq(np.concatenate(rows), np.concatenate([root * x, root * y]), rcond=None)[0]
    for _ in range(_ROUNDS):
        slopes, residuals = _linearised(found, u, v, ground, root)
        step = np.linalg.lstsq(slopes, residuals, rcond=None)[0]
        found = found + step
        if np.abs(step).max() < 1e-14:
            break
    slopes, _ = _linearised(found, u, v, ground, root)
    normal = np.asarray(np.linalg.pinv(slopes.T @ slopes), np.float64)
    pair = np.stack(np.split(slopes, 2), axis=1)  # (n, 2 axes, 8)
    leverage = pair @ normal @ pair.transpose(0, 2, 1)
    return Solution(Homography(np.append(found, 1.0).reshape(3, 3)), leverage, normal)


def _linearised(found: Floats, u: Floats, v: Floats, ground: Floats, root: Floats) -> tuple[Floats, Floats]:
    """Weighted slopes (2 n, 8) and residuals (2 n,) at a set of parameters, x before y."""
    a, b, c, d, e, f, g, h = found
    w = g * u + h * v + 1.0
    x, y = (a * u + b * v + c) / w, (d * u + e * v + f) / w
    weight = root / w
    slopes = np.concatenate([terms * weight[:, None] for terms in homography_terms(u, v, x, y)])
    return slopes, np.concatenate([root * (ground[:, 0] - x), root * (ground[:, 1] - y)])


def robust_weights(
    fit: Callable[[NDArray[np.intp], Floats], Polynomial | Homography],
    misfit: Callable[[Polynomial | Homography, NDArray[np.intp]], Floats],
    weights: Floats,
    need: int,
) -> Floats:
    """Weigh down points that contradict the others: Tukey's biweight, started at the least median of small samples.

    weights (n,) float -> (n,) float64.
    """
    known = np.flatnonzero(weights > 0)
    rng = np.random.default_rng(0)
    judges = known if known.size <= _MOST_JUDGES else rng.choice(known, _MOST_JUDGES, replace=False)
    best, chosen = np.inf, None
    for _ in range(_SAMPLES):
        rows = rng.choice(known, min(need + 1, known.size), replace=False)
        try:
            surface = fit(rows, np.ones(rows.size))
        except np.linalg.LinAlgError:  # a sample on a line
            continue
        median = float(np.median(misfit(surface, judges)))
        if median < best:
            best, chosen = median, surface
    if chosen is None:
        return weights
    factor = np.ones_like(weights)
    everyone = np.arange(weights.size)
    lengths = misfit(chosen, everyone)
    for _ in range(_ROUNDS):
        before, factor = factor, _biweight(lengths, weights > 0, need)
        if np.abs(factor - before).max() < 1e-6:
            break
        lengths = misfit(fit(everyone, weights * factor), everyone)
    return weights * factor


def _biweight(lengths: Floats, known: NDArray[np.bool_], need: int) -> Floats:
    """Tukey's weights of residuals, whose scale comes from their median; corrected for the points the fit used up."""
    n = int(known.sum())
    spread = float(np.median(lengths[known])) / MEDIAN_RADIUS * (1.0 + 5.0 / max(n - need, 1))
    t = lengths / max(TUKEY * spread, 1e-12)
    return np.where((t < 1) & known, biweight(t), 0.0)
