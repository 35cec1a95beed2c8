"""A smoothing spline: bends as much as the tie points ask for, goes straight on beyond them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xcoreg.core.models.base import Fitted

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from xcoreg.core.models.base import Floats

__all__ = ["Spline"]

_CHUNK = 1 << 13  # positions at a time: what is worked on stays in the cache


@dataclass(frozen=True, eq=False, repr=False)
class Spline(Fitted):
    """Cubic B-splines on a square lattice; make one with :func:`xcoreg.core.models.fit_model`.

    Parameters
    ----------
    origin : (2,) float64
        Map position (x, y) of the lower left corner of the first cell.
    step : float
        Side of a cell, CRS units.
    coef : (k, rows, cols) float64
        Coefficients of dx, dy (...), CRS units; rows along y, three more than cells.
    length : float
        Distance over which the correction changes, CRS units: each such square has one effective parameter.
    nodes : (4,) float64
        Map position (x, y) of the first node of `spread`, and the distance of nodes along x and y.
    spread : (3, rows, cols) float64
        Covariance (xx, xy, yy) of the correction at nodes over the tie points.
    growth : (2,) float64
        What the variances of dx and dy gain beyond the nodes, per squared distance.

    Notes
    -----
    Beyond the lattice the correction continues in a straight line.

    Examples
    --------
    >>> from xcoreg.core.models import fit_model
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
        """Correction at map positions.

        Parameters
        ----------
        x, y : float or array
            Positions; shapes are broadcast.

        Returns
        -------
        dx, dy : float64 arrays
            The correction, CRS units; NaN where a position is not finite.
        """
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        out = np.empty((2, x.size))
        flat_x, flat_y = x.ravel(), y.ravel()
        for start in range(0, x.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            out[:, part] = self._values(flat_x[part], flat_y[part])
        return out[0].reshape(x.shape), out[1].reshape(x.shape)

    def predict_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance of the correction at map positions.

        Parameters
        ----------
        x, y : float or array
            Positions; shapes are broadcast.

        Returns
        -------
        (..., 2, 2) float64
            Axes (x, y), CRS units squared; linear between nodes, growing beyond.
        """
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
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
        return np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)

    def _values(self, x: Floats, y: Floats) -> Floats:
        """Corrections (2, n) at positions (n,), element by element: no value depends on its neighbours."""
        known = np.isfinite(x) & np.isfinite(y)
        rows, cols = self.coef.shape[1:]
        j, s, far_x = _cell((x - self.origin[0]) / self.step, cols - 3)
        i, r, far_y = _cell((y - self.origin[1]) / self.step, rows - 3)
        along, across = _weights(s, far_x), _weights(r, far_y)
        first = i * cols + j
        out = np.stack([_sum(plane.ravel(), first, cols, across, along) for plane in self.coef[:2]])
        # Beyond a corner the product of two straight lines would bend: that part is taken away again.
        corner = np.flatnonzero((far_x != 0) & (far_y != 0))
        if corner.size:
            bend = [far * _slopes(at) for far, at in ((far_y[corner], r[corner]), (far_x[corner], s[corner]))]
            for plane, values in zip(self.coef[:2], out, strict=True):
                values[corner] -= _sum(plane.ravel(), first[corner], cols, *bend)
        out[:, ~known] = np.nan
        return out

    def _summary(self) -> dict[str, Any]:
        return {**super()._summary(), "length": f"{self.length:.4g}", "lattice": self.coef.shape[1:]}


def _cell(t: Floats, cells: int) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Cell, position inside of it, and distance beyond the last cell, all in cells."""
    t = np.where(np.isfinite(t), t, 0.0)
    inside = np.clip(t, 0, cells)
    first = np.minimum(np.floor(inside), cells - 1)
    return first.astype(np.intp), inside - first, t - inside


def _weights(s: Floats, far: Floats) -> Floats:
    """Values of the four splines that see a position; beyond the lattice they go straight on."""
    r = 1 - s
    values = np.stack([r * r * r, 3 * s * s * (s - 2) + 4, 3 * r * r * (r - 2) + 4, s * s * s]) / 6
    return np.asarray(values + far * _slopes(s)) if far.any() else values


def _slopes(s: Floats) -> Floats:
    r = 1 - s
    return np.stack([-r * r, s * (3 * s - 4), r * (4 - 3 * r), s * s]) / 2


def _sum(plane: Floats, first: NDArray[np.intp], cols: int, across: Floats, along: Floats) -> Floats:
    out = np.zeros(first.shape)
    for i in range(4):
        line = plane[first + i * cols] * along[0]
        for j in range(1, 4):
            line += plane[first + (i * cols + j)] * along[j]
        out += line * across[i]
    return out
