"""A smoothing spline by levels: the lattice is refined while neighbours still agree about what it misses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from xcoreg.core.models.bspline import make_lattice
from xcoreg.core.models.scatter import biweight_loss, normalised, trust, withheld
from xcoreg.core.models.smoothing import Basis, Smooth, State, iterate, loosened, make_basis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.core.models.base import Floats
    from xcoreg.core.models.ties import Ties

__all__ = ["first_look", "fit_levels"]

_CELLS = 57  # along the longer side at most
_COARSE = (4.0, 2.0, 1.0)  # sides of the cells, in typical distances of tie points
_FEWEST = 4  # cells of a coarse lattice along the longer side
_MARGIN = 1.0  # typical distances of tie points around them
_NEIGHBOURS = 8
_AGREE = 3.0  # standard errors of the correlation of neighbouring residuals
_USED = 0.3  # of the splines of a lattice as effective parameters
_LEFT = 0.25  # of the points' own variance as scatter
_NORMAL_MAD = 1.4826022185056018


def first_look(ties: Ties) -> tuple[Floats, Floats]:
    """Compare each point with the median of its neighbours.

    Parameters
    ----------
    ties : Ties
        Freed of their plane.

    Returns
    -------
    scatter : (k, k) float64
        Diagonal: how far points typically are from that median.
    weights : (n,) float64
        Zero for those that are far beyond.
    """
    near = _neighbours(ties, _NEIGHBOURS)
    off = ties.values - np.median(ties.values[near], axis=1)
    variances = (_NORMAL_MAD * np.median(np.abs(off), axis=0)) ** 2
    variances = variances + 1e-6 * variances.sum() + 1e-18
    k = ties.values.shape[1]
    squared = normalised(off, np.broadcast_to(np.diag(variances), (len(ties), k, k)))
    weights = trust(squared, k)
    return np.diag(variances), np.where(weights > 0, 1.0, 0.0) if weights.sum() > 0.5 * len(ties) else np.ones(
        len(ties)
    )


def fit_levels(ties: Ties) -> tuple[Basis, State, Smooth]:
    """Fit a smoothing spline to tie points freed of their plane.

    Parameters
    ----------
    ties : Ties

    Returns
    -------
    basis : Basis
        Of the coarsest lattice that leaves no agreement between residuals of neighbours, or of the finest.
    state : State
    smooth : Smooth
    """
    scatter, weights = first_look(ties)
    k = ties.values.shape[1]
    state = State(np.full(k, np.inf), scatter, weights)
    extent = max(float(np.ptp(ties.u)), float(np.ptp(ties.v)))
    near = _neighbours(ties, 4)
    steps = [max(factor * ties.spacing, extent / _CELLS) for factor in _COARSE]
    steps = [step for step in steps[:-1] if extent / step >= _FEWEST] + steps[-1:]
    found: list[tuple[Basis, State, Smooth]] = []
    for i, step in enumerate(steps):
        basis = make_basis(make_lattice(ties.u, ties.v, step, _MARGIN * ties.spacing), ties)
        state, smooth, _ = iterate(basis, ties, loosened(basis, ties, state))
        found.append((basis, state, smooth))
        finest = i + 1 == len(steps) or steps[i + 1] == step
        if finest or not (_agreeing(ties, state, smooth, near) or _bound(ties, basis, state, smooth)):
            break
    return found[int(np.argmin(_losses(ties, found)))]


def _bound(ties: Ties, basis: Basis, state: State, smooth: Smooth) -> bool:
    """Tell whether the lattice has been used up while points scatter by more than their covariances."""
    own = np.median(np.trace(ties.covs, axis1=1, axis2=2))
    return bool(smooth.freedom.max() > _USED * basis.size and np.trace(state.scatter) > _LEFT * own)


def _losses(ties: Ties, found: list[tuple[Basis, State, Smooth]]) -> list[float]:
    """Robust error of withheld points on each lattice, in units of the scatter of the best."""
    offs = [withheld(smooth.off, smooth.spread, smooth.precision)[0] for _, _, smooth in found]
    scatter = min((state.scatter for _, state, _ in found), key=np.trace)
    typical = min(float(np.median((off**2).sum(1))) for off in offs)
    wide = ties.covs + scatter + typical / ties.values.shape[1] * np.eye(len(scatter))
    return [float(biweight_loss(normalised(off, wide), len(scatter)).mean()) for off in offs]


def _neighbours(ties: Ties, count: int) -> NDArray[np.intp]:
    places = np.column_stack([ties.u, ties.v])
    return np.asarray(cKDTree(places).query(places, min(count, len(ties) - 1) + 1)[1][:, 1:])


def _agreeing(ties: Ties, state: State, smooth: Smooth, near: NDArray[np.intp]) -> bool:
    """Tell whether residuals of neighbours are alike: then the lattice is too coarse for what is there."""
    variances = np.diagonal(ties.covs + state.scatter, axis1=1, axis2=2)
    unit = smooth.off / np.sqrt(variances) * np.sqrt(state.weights)[:, None]
    unit = unit / np.sqrt((unit**2).mean(0) + 1e-300)
    alike = (unit[:, None, :] * unit[near]).mean((0, 1))
    return bool((alike * np.sqrt(near.size / 2) > _AGREE).any())
