"""Fitting a smoothing spline to tie points."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.core.models.base import Degenerate, nested
from xcoreg.core.models.calibrate import Stated, calibrate
from xcoreg.core.models.levels import first_look, fit_levels
from xcoreg.core.models.outcome import Outcome
from xcoreg.core.models.polynomial import Affine, fit_polynomial
from xcoreg.core.models.scatter import inverses, withheld
from xcoreg.core.models.smoothing import Basis, Smooth, State, solve_together
from xcoreg.core.models.spline import Spline
from xcoreg.core.models.ties import half_planes

if TYPE_CHECKING:
    from xcoreg.core.models.base import Floats
    from xcoreg.core.models.ties import Ties

__all__ = ["fit_spline"]

_FEWEST = 10
_LEAST = 1e-5  # of the variance between neighbours is noise: a spline through the points says nothing of its error
_PLANE = 3  # parameters that are always there
_TILTED = 0.01  # mean squared correlation of the components' errors from which on they are solved for together
_NODES = 100  # along the longer side at most
_NODE_SPACING = 0.6  # typical distances of tie points
_LOG_GROWTH = 1 / (4 * np.pi)  # of the variance of a plate beyond its supports


def fit_spline(ties: Ties) -> Outcome:
    """Fit a smoothing spline: a robust plane, then splines for what bends.

    Parameters
    ----------
    ties : Ties

    Returns
    -------
    Outcome

    Raises
    ------
    Degenerate
        Where the points are too few, on a line or clustered.
    """
    places = len(np.unique(np.column_stack([ties.u, ties.v]), axis=0))
    if places < _FEWEST:
        raise Degenerate(f"{places} places are too few for spline: it needs {_FEWEST}", _FEWEST)
    plane = fit_polynomial(Affine, ties)[1].coef
    bends = replace(ties, values=ties.values - plane[0] - np.outer(ties.u, plane[1]) - np.outer(ties.v, plane[2]))
    floor = _LEAST * np.trace(first_look(bends)[0]) / bends.values.shape[1]
    bends = replace(bends, covs=ties.covs + floor * np.eye(bends.values.shape[1]))
    basis, state, smooth = fit_levels(bends)
    if _tilted(bends, state):
        smooth = solve_together(basis, bends, state)
    off, spread = withheld(smooth.off, smooth.spread, smooth.precision)
    freedom = float(smooth.freedom.mean())
    stated = Stated(spread, ties.covs, state.scatter)
    factor, scatter = calibrate(off, stated, state.weights, _PLANE)
    model = _model(ties, plane, basis, replace(state, scatter=scatter), smooth, factor)
    return Outcome(model, off, factor * spread + ties.covs + scatter, freedom)


def _tilted(ties: Ties, state: State) -> bool:
    """Tell whether errors of the components go together: texture along one direction, parallax."""
    precision = inverses(ties.covs + state.scatter)
    sizes = np.diagonal(precision, axis1=1, axis2=2)
    squares = precision**2 / (sizes[:, :, None] * sizes[:, None, :])
    return bool((squares.mean(0) - np.eye(len(state.scatter))).max() > _TILTED)


def _model(ties: Ties, plane: Floats, basis: Basis, state: State, smooth: Smooth, factor: float) -> Spline:
    lattice, square = basis.lattice, ties.unit**2
    grids = smooth.coef.reshape(-1, *lattice.shape)
    low_row, low_col = lattice.origin
    if lattice.swapped:
        grids, low_row, low_col = grids.transpose(0, 2, 1), low_col, low_row
    # Coefficients of a plane are its values at the middles of the splines; the first is a cell before the lattice.
    v, u = (
        (np.arange(size) - 1) * lattice.step + low
        for size, low in zip(grids.shape[1:], (low_row, low_col), strict=True)
    )
    grids = grids + plane[0][:, None, None] + plane[1][:, None, None] * u + plane[2][:, None, None] * v[:, None]
    pair = [0, min(len(grids) - 1, 1)]  # one quantity alone stands for both
    freedom = float(smooth.freedom.mean())
    nodes, spread = _nodes(ties, basis, smooth)
    area = max(float(np.ptp(ties.u) * np.ptp(ties.v)), ties.spacing**2)
    return Spline(
        n=len(ties),
        scatter=nested(state.scatter[:2, :2] * square),
        spacing=ties.spacing * ties.scale,
        hull=half_planes(ties.x, ties.y),
        origin=np.array([low_col, low_row]) * ties.scale + ties.centre,
        step=lattice.step * ties.scale,
        coef=grids[pair] * ties.unit,
        length=float(np.sqrt(area / freedom)) * ties.scale,
        nodes=nodes * ties.scale + np.array([*ties.centre, 0, 0]),
        spread=_short(spread * (factor * square)),
        growth=factor * square * _LOG_GROWTH / state.stiffness[pair] / ties.scale**2,
    )


def _nodes(ties: Ties, basis: Basis, smooth: Smooth) -> tuple[Floats, Floats]:
    """Covariance of the model at nodes over the tie points and a margin around them, in few digits."""
    low = np.array([ties.u.min(), ties.v.min()]) - ties.spacing
    spans = np.array([ties.u.max(), ties.v.max()]) + ties.spacing - low
    finest = max(_NODE_SPACING * ties.spacing, spans.max() / _NODES, basis.lattice.step / 2)
    cells = np.ceil(spans / finest).astype(int)
    u, v = (low[a] + spans[a] / cells[a] * np.arange(cells[a] + 1) for a in (0, 1))
    cov = basis.variances(smooth.covariance, np.tile(u, len(v)), np.repeat(v, len(u)))
    second = min(cov.shape[1] - 1, 1)
    grids = np.stack([cov[:, 0, 0], cov[:, 0, second], cov[:, second, second]]).reshape(3, len(v), len(u))
    return np.array([*low, *(spans / cells)]), grids


def _short(values: Floats) -> Floats:
    """Round to few digits: files stay small."""
    return np.array([float(f"{value:.3e}") for value in values.ravel().tolist()]).reshape(values.shape)
