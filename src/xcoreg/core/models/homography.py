"""Models of the geometry of a whole image: similarity, affine and homography, adjusted to tie points.

Robust least squares in centred, scaled coordinates (Gauss-Newton; Tukey's biweight on residuals over their standard
deviations), with the scatter of the tie points beyond their own covariances as in :mod:`xcoreg.core.models.leastsq`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from xcoreg.core import Floats
from xcoreg.core.models.base import Degenerate, FittedModel, broadcast, to_tuples
from xcoreg.core.models.leastsq import fill_covariances, half_planes, inverse_matrices, typical_spacing
from xcoreg.core.models.polynomial import Affine
from xcoreg.core.robust import MEDIAN_RADIUS, TUKEY, biweight

# Parameters of each kind; correction and first derivatives are linear in them but for the last two of a homography.
PARAMETERS = {"similarity": 4, "affine": 6, "homography": 8}
_ROUNDS, _SETTLED = 30, 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class Homography(FittedModel):
    """Perspective of a plane; make one with :func:`adjust`.

    centre, scale : Map position (2,) of the origin, and CRS units of one unit of the coordinates.
    coef, cov : (8,), (8, 8) float64; corrected coordinates are ``(u + c0 + c1 u + c2 v, v + c3 + c4 u + c5 v)`` over
        ``1 + c6 u + c7 v``.
    """

    kind = "homography"
    arrays: ClassVar[dict[str, type]] = dict.fromkeys(("hull", "centre", "coef", "cov"), np.float64)

    centre: Floats
    scale: float
    coef: Floats
    cov: Floats

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction at map positions."""
        move = self.scale * _moves(self.coef, *self._local(x, y))
        return np.asarray(move[..., 0]), np.asarray(move[..., 1])

    def _own_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of the correction at map positions."""
        slope = self.scale * _derivatives("homography", self.coef, *self._local(x, y))
        return np.asarray(slope @ self.cov @ np.swapaxes(slope, -1, -2))

    def _local(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        x, y = broadcast(x, y)
        return (x - self.centre[0]) / self.scale, (y - self.centre[1]) / self.scale


def _moves(coef: Floats, u: Floats, v: Floats) -> Floats:
    """Corrections (..., 2) by coefficients (8,)."""
    below = 1 + coef[6] * u + coef[7] * v
    ahead = u + coef[0] + coef[1] * u + coef[2] * v, v + coef[3] + coef[4] * u + coef[5] * v
    return np.stack([ahead[0] / below - u, ahead[1] / below - v], -1)


def _derivatives(kind: str, coef: Floats, u: Floats, v: Floats) -> Floats:
    """Differentiate: (..., 2, parameters) of the corrections by the parameters of a kind."""
    one, nil = np.ones_like(u), np.zeros_like(u)
    if kind == "similarity":
        return np.stack([np.stack([one, nil, u, -v], -1), np.stack([nil, one, v, u], -1)], -2)
    below = 1 + coef[6] * u + coef[7] * v
    at = _moves(coef, u, v) + np.stack([u, v], -1)
    plane = [one / below, u / below, v / below]
    rows = []
    for axis, lead in enumerate((plane + [nil] * 3, [nil] * 3 + plane)):
        tail = [] if kind == "affine" else [-at[..., axis] * u / below, -at[..., axis] * v / below]
        rows.append(np.stack(lead + tail, -1))
    return np.stack(rows, -2)


def _as_eight(kind: str, values: Floats) -> Floats:
    """Coefficients (8,) of a homography from the parameters of a kind."""
    if kind == "similarity":
        across, down, grow, turn = values
        return np.array([across, grow, -turn, down, turn, grow, 0.0, 0.0])
    return np.concatenate([values, np.zeros(8 - len(values))])


def adjust(
    kind: str, x: ArrayLike, y: ArrayLike, dx: ArrayLike, dy: ArrayLike, cov: ArrayLike
) -> tuple[Affine | Homography, Floats, Floats]:
    """Adjust a geometry to tie points: x, y, dx, dy (n,), cov (n, 2, 2), CRS units.

    Returns the model, the residuals (n, 2) and the robust weights (n,). A similarity is an affine model, too.
    """
    place, move = (np.stack([np.asarray(p, np.float64) for p in pair], -1) for pair in ((x, y), (dx, dy)))
    if len(place) < PARAMETERS[kind] // 2 + 1:
        raise Degenerate(f"{len(place)} tie points are too few for {kind}", PARAMETERS[kind] // 2 + 1)
    centre = (place.min(0) + place.max(0)) / 2
    scale = float(np.ptp(place, axis=0).max()) / 2 or 1.0
    u, v = ((place - centre) / scale).T
    values: Floats = move / scale
    covs: Floats = np.asarray(cov, np.float64) / scale**2
    if not np.isfinite(covs).all():  # of a matcher that states none
        covs, _ = fill_covariances(covs)
    coef, inverse, scatter, weight = _solve(kind, u, v, values, covs)
    residual = (values - _moves(_as_eight(kind, coef), u, v)) * scale
    facts: dict[str, Any] = {"n": len(place), "scatter": to_tuples(scatter * scale**2), "hull": half_planes(*place.T)}
    facts |= {"spacing": typical_spacing(u, v) * scale, "centre": centre, "scale": scale}
    if kind == "homography":
        return Homography(**facts, coef=coef, cov=inverse), residual, weight
    mix = np.stack([_as_eight(kind, one)[:6] for one in np.eye(len(coef))], -1)
    both = (mix @ coef).reshape(2, 3) * scale, (mix @ inverse @ mix.T).reshape(2, 3, 2, 3) * scale**2
    return Affine(**facts, coef=both[0].T, cov=both[1].transpose(1, 0, 3, 2)), residual, weight


def _solve(kind: str, u: Floats, v: Floats, values: Floats, covs: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Parameters, their covariance, scatter (2, 2) beyond the covariances, and weights (n,)."""
    n, coef, between = len(u), np.zeros(PARAMETERS[kind]), 0.0
    weight: Floats = np.ones(n)
    for _ in range(_ROUNDS):
        eight = _as_eight(kind, coef)
        slope, off = _derivatives(kind, eight, u, v), values - _moves(eight, u, v)
        weighted = (weight[:, None, None] * inverse_matrices(covs + between * np.eye(2))) @ slope
        flat, weighted = slope.reshape(2 * n, -1), weighted.reshape(2 * n, -1)
        normal = flat.T @ weighted
        step = np.linalg.solve(normal, weighted.T @ off.ravel())
        coef = coef + step
        off = values - _moves(_as_eight(kind, coef), u, v)
        between = _between(off, covs, n / max(n - len(coef) / 2, 1.0))
        length = np.sqrt(_squares(off, covs, between))
        # Never sharper than the covariances claim: with few points the median length is uncertain.
        weight = biweight(length / (TUKEY * np.maximum(np.median(length) / MEDIAN_RADIUS, 1.0)))
        if np.abs(step).max() < _SETTLED:
            break
    efficient = max(float(weight.mean()), 0.1)
    return coef, np.linalg.inv(normal) / efficient**0.5, between * np.eye(2), weight


def _squares(off: Floats, covs: Floats, more: float) -> Floats:
    """Squared Mahalanobis distances (n,) of residuals (n, 2), with a variance added to their covariances."""
    x, y = off.T
    a, b, d = covs[:, 0, 0] + more, covs[:, 0, 1], covs[:, 1, 1] + more
    return np.asarray((d * x * x - 2 * b * x * y + a * y * y) / (a * d - b * b))


def _between(off: Floats, covs: Floats, freedom: float) -> float:
    """Variance between tie points beyond their covariances, from the median of the normalised residuals."""
    low, high = 0.0, float(np.median((off**2).sum(1))) * freedom + 1e-30
    for _ in range(40):
        middle = (low + high) / 2
        square = _squares(off, covs, middle) * freedom
        low, high = (middle, high) if np.median(square) > MEDIAN_RADIUS**2 else (low, middle)
    return low
