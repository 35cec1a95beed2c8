"""Shifts of the lines and of the columns of a pushbroom sensor: a plane, plus splines along and across the track.

The attitude of the platform vibrates while an image is taken line by line (jitter), and the detectors are not quite in
one row (steps between CCDs). Both components are smooth functions of one coordinate each. A window measures their mean
over its side, so that the splines are fitted by their means: what is faster than a window is restored as far as it is
seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy  # its parts are loaded when they are used: a first call needs few
from numpy.typing import ArrayLike

from xcoreg.core import Bools, Floats
from xcoreg.core.models.base import Degenerate, FitResult, FittedModel, broadcast, to_tuples
from xcoreg.core.models.bspline import cubic
from xcoreg.core.models.leastsq import FitPoints, half_planes
from xcoreg.core.robust import biweight

_FEWEST_POINTS, _FEWEST_KNOTS, _MOST_KNOTS = 40, 6, 240
_PARTS = 8  # places at which a spline is averaged over a window
_STIFFNESS = 10.0 ** np.arange(-5.0, 5.0)  # of the penalty on second differences, tried along ...
_ACROSS = 10.0 ** np.arange(-2.0, 5.0, 2.0)  # ... and across the track
_RIDGE = 1e-4  # a spline could take over the plane
_ROUNDS, _FOLDS = 3, 5
_PART = 4096  # positions at once whose covariance is computed
_CHI2_MEDIAN = 1.3862943611198906  # two degrees of freedom


@dataclass(frozen=True)
class Axis:
    """Cubic B-splines along one coordinate: the first knot, the distance of knots, the number of splines."""

    first: float
    step: float
    count: int

    @classmethod
    def over(cls, at: Floats, side: float) -> Axis:
        """Splines over positions: as dense as these are, and half a window beyond them."""
        low, high = float(at.min()) - side / 2, float(at.max()) + side / 2
        apart = max((high - low) / 1e4, 1e-12)
        places = len(np.unique(np.round((at - low) / apart)))
        cells = int(np.clip(places, _FEWEST_KNOTS, _MOST_KNOTS))
        return cls(low, (high - low) / cells, cells + 3)

    def design(self, at: Floats, side: float = 0.0) -> Floats:
        """Values (n, count) of the splines at positions (n,), or their means over windows; constant beyond the ends."""
        out = np.zeros((len(at), self.count))
        parts = [0.0] if side == 0 else (((np.arange(_PARTS) + 0.5) / _PARTS - 0.5) * side).tolist()
        rows = np.arange(len(at))
        for part in parts:
            t = np.clip((at + part - self.first) / self.step, 0.0, self.count - 3 - 1e-9)
            first, values = cubic(t, self.count - 3)
            for k, value in enumerate(values):
                out[rows, first + k] += value / len(parts)
        return out

    def values(self, at: Floats, coef: Floats) -> Floats:
        """Values (k, n) of splines with coefficients (count, k) at positions (n,), by the four that are not zero."""
        t = np.clip((at - self.first) / self.step, 0.0, self.count - 3 - 1e-9)
        first, parts = cubic(t, self.count - 3)
        out = np.zeros((coef.shape[1], len(at)))
        for k, part in enumerate(parts):
            out += part * coef.T[:, first + k]
        return out

    @property
    def penalty(self) -> Floats:
        """Squared second differences of the coefficients (count, count)."""
        second = np.diff(np.eye(self.count), 2, axis=0)
        return np.asarray(second.T @ second)


@dataclass(frozen=True, eq=False, repr=False)
class Lines(FittedModel):
    """A plane, plus one spline of y (along the track, the lines of the image) and one of x (across it).

    centre, scale : Map position (2,) of the origin, and CRS units of one unit of the coordinates.
    coef, cov : (m, 2), (m, m) float64; coefficients, CRS units, and their covariance for unit variance.
    variance : (2,) float64; of both components, CRS units squared.
    along, across : (3,) float64; see :class:`Axis`.
    """

    kind = "lines"
    arrays: ClassVar[dict[str, type]] = dict.fromkeys(
        ("hull", "centre", "coef", "cov", "variance", "along", "across"), np.float64
    )

    centre: Floats
    scale: float
    coef: Floats
    cov: Floats
    variance: Floats
    along: Floats
    across: Floats

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction at map positions."""
        x, y = broadcast(x, y)
        at_x, at_y, (along, across) = np.nan_to_num(x.ravel()), np.nan_to_num(y.ravel()), self._axes
        u, v = (at_x - self.centre[0]) / self.scale, (at_y - self.centre[1]) / self.scale
        plane, lines, columns = np.split(self.coef, [3, 3 + along.count])
        found = plane[0][:, None] + plane[1][:, None] * u + plane[2][:, None] * v
        found = found + along.values(at_y, lines) + across.values(at_x, columns)
        missing = np.isnan(x) | np.isnan(y)
        dx, dy = (np.where(missing, np.nan, one.reshape(x.shape)) for one in found)
        return dx, dy

    def _own_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of the correction at map positions."""
        x, y = broadcast(x, y)
        square = np.empty(x.size)
        for start in range(0, x.size, _PART):
            part = slice(start, start + _PART)
            design = self._design(x.ravel()[part], y.ravel()[part])
            square[part] = ((design @ self.cov) * design).sum(axis=1)
        return np.asarray(square[:, None, None] * np.diag(self.variance)).reshape(*x.shape, 2, 2)

    @property
    def _axes(self) -> tuple[Axis, Axis]:
        along, across = (Axis(float(a), float(b), int(n)) for a, b, n in (self.along, self.across))
        return along, across

    def _design(self, x: Floats, y: Floats) -> Floats:
        along, across = self._axes
        x, y = np.nan_to_num(x), np.nan_to_num(y)
        plane = np.column_stack([np.ones(len(x)), (x - self.centre[0]) / self.scale, (y - self.centre[1]) / self.scale])
        return np.concatenate([plane, along.design(y), across.design(x)], axis=1)


@dataclass(frozen=True, eq=False)
class LinesMaker:
    """Fits :class:`Lines`: a kind of model beside those that have a name; side of the windows, CRS units."""

    side: float

    def __str__(self) -> str:
        return "lines"

    def fit_result(self, points: FitPoints) -> FitResult:
        """Fit, with the stiffness of both splines by cross-validation over blocks."""
        if len(points) < _FEWEST_POINTS:
            raise Degenerate(
                f"{len(points)} tie points are too few for lines: it needs {_FEWEST_POINTS}", _FEWEST_POINTS
            )
        along, across = Axis.over(points.y, self.side), Axis.over(points.x, self.side)
        plane = np.column_stack([np.ones(len(points)), points.u, points.v])
        design = np.concatenate([plane, along.design(points.y, self.side), across.design(points.x, self.side)], axis=1)
        weights: Floats = np.ones(len(points))
        penalty = np.zeros((2, design.shape[1], design.shape[1]))
        penalty[0, 3 : 3 + along.count, 3 : 3 + along.count] = along.penalty
        penalty[1, 3 + along.count :, 3 + along.count :] = across.penalty
        ridge = np.diag(np.r_[np.zeros(3), np.full(design.shape[1] - 3, _RIDGE)])
        folds = _blocks(points.x, points.y, self.side)
        for _ in range(_ROUNDS):  # all points at first: robust weights would take a jitter for outliers of the plane
            stiff, residual = _stiffness(design, points.values, weights, (penalty, ridge), folds)
            weights = _weights(residual, points)
        coef, inverse, hat = _solve(design, points.values, weights, stiff)
        variance = (weights[:, None] * residual**2).sum(0) / weights.sum() * weights.mean()
        scatter = np.diag(np.maximum((weights[:, None] * residual**2).sum(0) / weights.sum(), 1e-18))
        apart = points.spacing * points.scale
        repeats = max(self.side / apart, 1.0) ** 2 if apart else 1.0  # windows that overlap repeat their errors
        model = self._model(points, (along, across), coef, inverse, variance * repeats)
        spread = hat / np.maximum(weights, 1e-12) * variance.mean() * repeats
        check = scatter + np.clip(spread, 0, None)[:, None, None] * np.eye(2)
        return FitResult(model, residual, check, float(hat.sum()))

    def _model(
        self, points: FitPoints, axes: tuple[Axis, Axis], coef: Floats, inverse: Floats, variance: Floats
    ) -> Lines:
        along, across = (np.array([axis.first, axis.step, axis.count]) for axis in axes)
        shared: dict[str, Any] = {"n": len(points), "scatter": to_tuples(np.diag(variance) * points.unit**2)}
        shared |= {"spacing": points.spacing * points.scale, "hull": half_planes(points.x, points.y)}
        shared |= {"centre": np.array(points.centre), "scale": points.scale, "coef": coef * points.unit}
        shared |= {"cov": inverse, "variance": variance * points.unit**2, "along": along, "across": across}
        return Lines(**shared)


def _weights(residual: Floats, points: FitPoints) -> Floats:
    """Robust weights (n,), of mean about 1, by residuals (n, 2) and the covariances of the points."""
    own = np.trace(points.covs, axis1=1, axis2=2) / 2
    square = (residual**2).sum(1)
    typical = max(float(np.median(square)) / _CHI2_MEDIAN, 1e-18)
    variance = own + max(typical - float(np.median(own)), 0.1 * typical)
    weights = biweight(np.sqrt(square / variance / 2)) / variance
    return np.asarray(weights / max(weights.mean(), 1e-300))


def _blocks(x: Floats, y: Floats, side: float) -> list[tuple[Bools, Bools]]:
    """Points that are left out together, and those that share no pixel with them, which predict them.

    Blocks are chosen like the moves of a knight: in all rows and columns others remain, that see the same lines.
    """
    width = max(min(2 * side, *(float(np.ptp(p)) / _FOLDS for p in (x, y))), 1e-12)
    i, j = (np.floor((p - p.min()) / width).astype(np.intp) for p in (x, y))
    places, folds = np.column_stack([x, y]), []
    for fold in range(_FOLDS):
        left = (i + 2 * j) % _FOLDS == fold
        if left.any():
            near = scipy.spatial.cKDTree(places[left]).query(places, p=np.inf)[0]
            used = (near >= side * (1 - 1e-9)) & ~left
            folds.append((left, used))
    return folds


def _stiffness(
    design: Floats, values: Floats, weights: Floats, penalties: tuple[Floats, Floats], folds: list[tuple[Bools, Bools]]
) -> tuple[Floats, Floats]:
    """Sum of penalties with the smallest error at points that are left out, and these errors (n, 2)."""
    (penalty, ridge), n = penalties, len(values)
    heavy = design * weights[:, None]
    sums = [(design[used].T @ heavy[used], heavy[used].T @ values[used], used.mean()) for _, used in folds]
    best, out = np.inf, (penalty.sum(0) + ridge, values)
    for along in _STIFFNESS * n:
        for across in _ACROSS * n:
            stiff = along * penalty[0] + across * penalty[1] + ridge * n
            residual = np.empty_like(values)
            for (left, _), (normal, right, share) in zip(folds, sums, strict=True):
                coef = np.linalg.solve(normal + stiff * max(share, 1e-6), right)
                residual[left] = values[left] - design[left] @ coef
            score = float((weights[:, None] * residual**2).sum())
            if score < best:
                best, out = score, (stiff, residual)
    return out


def _solve(design: Floats, values: Floats, weights: Floats, stiff: Floats) -> tuple[Floats, Floats, Floats]:
    """Coefficients (m, 2), the inverse of the penalised normal matrix (m, m), and the leverage of each point (n,)."""
    heavy = design * weights[:, None]
    inverse = np.linalg.inv(design.T @ heavy + stiff)
    inverse = (inverse + inverse.T) / 2
    hat = np.einsum("nm,mk,nk->n", design, inverse, heavy, optimize=True)
    return inverse @ (heavy.T @ values), inverse, hat
