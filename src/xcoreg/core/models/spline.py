"""Smoothing splines: fitted to tie points by restricted maximum likelihood, linear beyond them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from xcoreg.core import Floats, Ints
from xcoreg.core.matches import symmetric
from xcoreg.core.models.base import Degenerate, FitResult, FittedModel, broadcast, to_tuples
from xcoreg.core.models.leastsq import FitPoints, ResidualCov, calibrate, half_planes, inverse_matrices, leave_one_out
from xcoreg.core.models.polynomial import detrend
from xcoreg.core.models.smoothing import Basis, SplineSolution, State, fit_multilevel, neighbour_scatter, solve_together

_CHUNK = 1 << 13  # positions at a time: temporary arrays stay in the processor's cache


@dataclass(frozen=True, eq=False, repr=False)
class Spline(FittedModel):
    """Cubic B-splines on a square lattice, linear beyond it; make one with :func:`xcoreg.core.models.fit_model`.

    origin, step : Map position (x, y) of the lower left corner of the first cell, and side of a cell, CRS units.
    coef : (k, rows, cols) float64; coefficients of dx, dy (...), CRS units; rows along y, three more than cells.
    length : Side of a square that has one effective parameter, CRS units: smaller details are smoothed.
    nodes : (4,) float64; map position (x, y) of the first node of `spread`, and the spacing of nodes along x and y.
    spread : (3, rows, cols) float64; covariance (xx, xy, yy) of the correction at nodes.
    growth : (2,) float64; growth of the variances of dx and dy beyond the nodes, per squared distance.

    Examples
    --------
    >>> from xcoreg.core.models.fit import fit_model
    >>> x, y = (p.ravel() for p in np.meshgrid(np.arange(0.0, 900.0, 50.0), np.arange(0.0, 900.0, 50.0)))
    >>> model = fit_model("spline", x, y, np.sin(x / 200), 0.001 * x)
    >>> dx, dy = model.predict([310.0, 2000.0], 425.0)
    >>> bool(abs(dx[0] - np.sin(310 / 200)) < 1e-3), dy.round(3).tolist()
    (True, [0.31, 2.0])
    """

    kind = "spline"
    arrays: ClassVar[dict[str, type]] = dict.fromkeys(
        ("hull", "origin", "coef", "nodes", "spread", "growth"), np.float64
    )

    origin: Floats
    step: float
    coef: Floats
    length: float
    nodes: Floats
    spread: Floats
    growth: Floats

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction at map positions, CRS units; NaN where a position is not finite."""
        x, y = broadcast(x, y)
        out = np.empty((2, x.size))
        flat_x, flat_y = x.ravel(), y.ravel()
        for start in range(0, x.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            out[:, part] = self._values(flat_x[part], flat_y[part])
        return out[0].reshape(x.shape), out[1].reshape(x.shape)

    def _own_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of the correction at map positions; linear between nodes, growing beyond."""
        x, y = broadcast(x, y)
        rows, cols = self.spread.shape[1:]
        j, right, beyond_x = _cell((x - self.nodes[0]) / self.nodes[2], cols - 1)
        i, up, beyond_y = _cell((y - self.nodes[1]) / self.nodes[3], rows - 1)
        far = (beyond_x * self.nodes[2]) ** 2 + (beyond_y * self.nodes[3]) ** 2
        parts = []
        for values, growth in zip(self.spread, (self.growth[0], 0.0, self.growth[1]), strict=True):
            low = values[i, j] * (1 - right) + values[i, j + 1] * right
            high = values[i + 1, j] * (1 - right) + values[i + 1, j + 1] * right
            parts.append((low * (1 - up) + high * up) * (1 + 4 * far / self.length**2) + growth * far)
        xx, xy, yy = (np.where(np.isfinite(x) & np.isfinite(y), part, np.nan) for part in parts)
        return symmetric(xx, xy, yy)

    def _values(self, x: Floats, y: Floats) -> Floats:
        """Corrections (2, n) at positions (n,)."""
        known = np.isfinite(x) & np.isfinite(y)
        rows, cols = self.coef.shape[1:]
        j, s, far_x = _cell((x - self.origin[0]) / self.step, cols - 3)
        i, r, far_y = _cell((y - self.origin[1]) / self.step, rows - 3)
        along, across = _weights(s, far_x), _weights(r, far_y)
        first = i * cols + j
        out = np.stack([_sum(plane.ravel(), first, cols, across, along) for plane in self.coef[:2]])
        # Beyond a corner the product of two linear functions is not linear: subtract the product term.
        corner = np.flatnonzero((far_x != 0) & (far_y != 0))
        if corner.size:
            bend = [far * _slopes(at) for far, at in ((far_y[corner], r[corner]), (far_x[corner], s[corner]))]
            for plane, values in zip(self.coef[:2], out, strict=True):
                values[corner] -= _sum(plane.ravel(), first[corner], cols, *bend)
        out[:, ~known] = np.nan
        return out

    def _summary(self) -> dict[str, Any]:
        return {**super()._summary(), "length": f"{self.length:.4g}", "lattice": self.coef.shape[1:]}


def _cell(t: Floats, cells: int) -> tuple[Ints, Floats, Floats]:
    """Cell, position within it, and distance beyond the lattice, all in cells."""
    t = np.where(np.isfinite(t), t, 0.0)
    inside = np.clip(t, 0, cells)
    first = np.minimum(np.floor(inside), cells - 1)
    return first.astype(np.intp), inside - first, t - inside


def _weights(s: Floats, far: Floats) -> Floats:
    """Values of the four splines at a position, continued linearly beyond the lattice."""
    r = 1 - s
    values = np.stack([r * r * r, 3 * s * s * (s - 2) + 4, 3 * r * r * (r - 2) + 4, s * s * s]) / 6
    return np.asarray(values + far * _slopes(s)) if far.any() else values


def _slopes(s: Floats) -> Floats:
    r = 1 - s
    return np.stack([-r * r, s * (3 * s - 4), r * (4 - 3 * r), s * s]) / 2


def _sum(plane: Floats, first: Ints, cols: int, across: Floats, along: Floats) -> Floats:
    out = np.zeros(first.shape)
    for i in range(4):
        line = plane[first + i * cols] * along[0]
        for j in range(1, 4):
            line += plane[first + (i * cols + j)] * along[j]
        out += line * across[i]
    return out


_FEWEST = 10
_LEAST = 1e-5  # smallest noise as a share of the variance between neighbours: an exact spline has no error estimate
_PLANE = 3  # parameters of the plane
_TILTED = 0.01  # mean squared correlation of the errors of components from which on they are solved together
_NODES = 100  # largest number along the longer side
_NODE_SPACING = 0.6  # in typical distances of tie points
_LOG_GROWTH = 1 / (4 * np.pi)  # growth of the variance of a thin plate beyond its supports


def fit_spline(points: FitPoints) -> FitResult:
    """Fit a smoothing spline: a robust plane, and splines to the deviations from it."""
    positions = len(np.unique(np.column_stack([points.u, points.v]), axis=0))
    if positions < _FEWEST:
        raise Degenerate(f"{positions} positions are too few for spline: it needs {_FEWEST}", _FEWEST)
    plane, detrended = detrend(points)
    floor = _LEAST * np.trace(neighbour_scatter(detrended)[0]) / detrended.values.shape[1]
    detrended = replace(detrended, covs=points.covs + floor * np.eye(detrended.values.shape[1]))
    basis, state, smooth = fit_multilevel(detrended)
    if _errors_correlate(detrended, state):
        smooth = solve_together(basis, detrended, state)
    residual, spread = leave_one_out(smooth.residual, smooth.spread, smooth.precision)
    freedom = float(smooth.freedom.mean())
    expected = ResidualCov(spread, points.covs, state.scatter)
    factor, scatter = calibrate(residual, expected, state.weights, _PLANE)
    model = _model(points, plane, basis, replace(state, scatter=scatter), smooth, factor)
    return FitResult(model, residual, factor * spread + points.covs + scatter, freedom)


def _errors_correlate(points: FitPoints, state: State) -> bool:
    """Whether the errors of components are correlated: texture along one direction, parallax."""
    precision = inverse_matrices(points.covs + state.scatter)
    sizes = np.diagonal(precision, axis1=1, axis2=2)
    squares = precision**2 / (sizes[:, :, None] * sizes[:, None, :])
    return bool((squares.mean(0) - np.eye(len(state.scatter))).max() > _TILTED)


def _model(
    points: FitPoints, plane: Floats, basis: Basis, state: State, smooth: SplineSolution, factor: float
) -> Spline:
    lattice, square = basis.lattice, points.unit**2
    grids = smooth.coef.reshape(-1, *lattice.shape)
    lows = lattice.origin
    if lattice.swapped:
        grids, lows = grids.transpose(0, 2, 1), lows[::-1]
    # Spline coefficients of a plane are its values at the spline centres; the first lies one cell before the lattice.
    v, u = ((np.arange(size) - 1) * lattice.step + low for size, low in zip(grids.shape[1:], lows, strict=True))
    grids = grids + plane[0][:, None, None] + plane[1][:, None, None] * u + plane[2][:, None, None] * v[:, None]
    pair = [0, min(len(grids) - 1, 1)]  # a single quantity is used for both components
    freedom = float(smooth.freedom.mean())
    nodes, spread = _nodes(points, basis, smooth)
    area = max(float(np.ptp(points.u) * np.ptp(points.v)), points.spacing**2)
    return Spline(
        n=len(points),
        scatter=to_tuples(state.scatter[:2, :2] * square),
        spacing=points.spacing * points.scale,
        hull=half_planes(points.x, points.y),
        origin=np.array(lows[::-1]) * points.scale + points.centre,
        step=lattice.step * points.scale,
        coef=grids[pair] * points.unit,
        length=float(np.sqrt(area / freedom)) * points.scale,
        nodes=nodes * points.scale + np.array([*points.centre, 0, 0]),
        spread=_round_digits(spread * (factor * square)),
        growth=factor * square * _LOG_GROWTH / state.stiffness[pair] / points.scale**2,
    )


def _nodes(points: FitPoints, basis: Basis, smooth: SplineSolution) -> tuple[Floats, Floats]:
    """Nodes over the tie points and a margin, and the covariance of the model there."""
    low = np.array([points.u.min(), points.v.min()]) - points.spacing
    spans = np.array([points.u.max(), points.v.max()]) + points.spacing - low
    finest = max(_NODE_SPACING * points.spacing, spans.max() / _NODES, basis.lattice.step / 2)
    cells = np.ceil(spans / finest).astype(int)
    u, v = (low[a] + spans[a] / cells[a] * np.arange(cells[a] + 1) for a in (0, 1))
    cov = basis.variances(smooth.covariance, np.tile(u, len(v)), np.repeat(v, len(u)))
    second = min(cov.shape[1] - 1, 1)
    grids = np.stack([cov[:, 0, 0], cov[:, 0, second], cov[:, second, second]]).reshape(3, len(v), len(u))
    return np.array([*low, *(spans / cells)]), grids


def _round_digits(values: Floats) -> Floats:
    """Round to four digits: files stay small."""
    return np.array([float(f"{value:.3e}") for value in values.ravel().tolist()]).reshape(values.shape)
