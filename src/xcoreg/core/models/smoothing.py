"""Penalised B-splines on lattices of increasing resolution; smoothing and scatter by restricted maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy  # its parts are loaded when they are used: a first call needs few

from xcoreg.core import Floats, Ints
from xcoreg.core.models import bspline
from xcoreg.core.models.leastsq import (
    FitPoints,
    excess_scatter,
    inverse_matrices,
    leave_one_out,
    rejection_limit,
    robust_weights,
    squared_distance,
)
from xcoreg.core.robust import biweight_loss

_CELLS = 57  # largest number along the longer side: products of 60 x 60 splines are small enough for one thread
_COARSE = (4.0, 2.0, 1.0)  # sides of the cells of each lattice, in typical distances of tie points
_FEWEST = 4  # smallest number of cells of a coarse lattice along the longer side
_MARGIN = 1.0  # around the tie points, in typical distances
_NEIGHBOURS = 8
_AGREE = 3.0  # correlation of neighbouring residuals, in standard errors, from which on the lattice is refined
_USED = 0.3  # effective parameters over splines from which on a lattice is too coarse,
_LEFT = 0.25  # if the scatter exceeds this share of the variance of points
_NORMAL_MAD = 1.4826022185056018


def neighbour_scatter(points: FitPoints) -> tuple[Floats, Floats]:
    """Scatter (k, k) and weights (n,), 0 or 1, from the difference of each point to the median of its neighbours."""
    residual = points.values - np.median(points.values[_neighbours(points, _NEIGHBOURS)], axis=1)
    variances = (_NORMAL_MAD * np.median(np.abs(residual), axis=0)) ** 2
    variances = variances + 1e-6 * variances.sum() + 1e-18
    k = points.values.shape[1]
    squared = squared_distance(residual, np.broadcast_to(np.diag(variances), (len(points), k, k)))
    weights = robust_weights(squared, k)
    enough = weights.sum() > 0.5 * len(points)
    return np.diag(variances), np.where(weights > 0, 1.0, 0.0) if enough else np.ones(len(points))


def fit_multilevel(points: FitPoints) -> tuple[Basis, State, SplineSolution]:
    """Fit a smoothing spline to detrended tie points; the lattice with the smallest cross-validated error is used."""
    scatter, weights = neighbour_scatter(points)
    k = points.values.shape[1]
    state = State(np.full(k, np.inf), scatter, weights)
    extent = max(float(np.ptp(points.u)), float(np.ptp(points.v)))
    near, own = _neighbours(points, 4), np.median(np.trace(points.covs, axis1=1, axis2=2))
    steps = [max(factor * points.spacing, extent / _CELLS) for factor in _COARSE]
    steps = [step for step in steps[:-1] if extent / step >= _FEWEST] + steps[-1:]
    solutions: list[tuple[Basis, State, SplineSolution]] = []
    for i, step in enumerate(steps):
        basis = Basis.on(bspline.make_lattice(points.u, points.v, step, _MARGIN * points.spacing), points)
        state, smooth, _ = iterate(basis, points, soften(basis, points, state))
        solutions.append((basis, state, smooth))
        finest = i + 1 == len(steps) or steps[i + 1] == step
        # A lattice is exhausted when most splines are in use while points scatter by more than their covariances.
        exhausted = smooth.freedom.max() > _USED * basis.size and np.trace(state.scatter) > _LEFT * own
        if finest or not (exhausted or _neighbours_agree(points, state, smooth, near)):
            break
    return solutions[int(np.argmin(_losses(points, solutions)))]


def _losses(points: FitPoints, solutions: list[tuple[Basis, State, SplineSolution]]) -> list[float]:
    """Robust cross-validated error of each lattice."""
    offs = [leave_one_out(smooth.residual, smooth.spread, smooth.precision)[0] for _, _, smooth in solutions]
    scatter = min((state.scatter for _, state, _ in solutions), key=np.trace)
    typical = min(float(np.median((residual**2).sum(1))) for residual in offs)
    wide = points.covs + scatter + typical / points.values.shape[1] * np.eye(len(scatter))
    most = rejection_limit(len(scatter))
    return [float(biweight_loss(squared_distance(residual, wide), most).mean()) for residual in offs]


def _neighbours(points: FitPoints, count: int) -> Ints:
    places = np.column_stack([points.u, points.v])
    return np.asarray(scipy.spatial.cKDTree(places).query(places, min(count, len(points) - 1) + 1)[1][:, 1:])


def _neighbours_agree(points: FitPoints, state: State, smooth: SplineSolution, near: Ints) -> bool:
    """Whether residuals of neighbours are correlated: then the lattice is too coarse."""
    variances = np.diagonal(points.covs + state.scatter, axis1=1, axis2=2)
    unit = smooth.residual / np.sqrt(variances) * np.sqrt(state.weights)[:, None]
    unit = unit / np.sqrt((unit**2).mean(0) + 1e-300)
    alike = (unit[:, None, :] * unit[near]).mean((0, 1))
    return bool((alike * np.sqrt(near.size / 2) > _AGREE).any())


_PLANE = 3  # parameters that are not penalised
_ROUNDS = 40
_SETTLED = 0.02  # largest change of the logarithms of smoothing and scatter at convergence
_STIFF = 1e-3  # effective parameters beyond a plane below which a component is a plane
_LOOSE = 1.0  # largest initial stiffness, in units of that at which bending and data have equal weight
_RIGID, _FREE = 1e9, 1e-10  # limits of the stiffness in these units
_THIN, _FLOOR = 1e-4, 1e-14  # isotropic part of the scatter: relative and absolute variance


@dataclass(frozen=True)
class Basis:
    """Splines (n, 16) of a lattice at the tie points, their values (n, 16) and products, and their bending energy.

    penalty : Lower triangle of the bending energy of a component; rows, cols : The same as Kronecker products.
    """

    lattice: bspline.Lattice
    splines: Ints
    values: Floats
    products: bspline.Products
    penalty: Floats
    rows: list[Floats]
    cols: list[Floats]

    @classmethod
    def on(cls, lattice: bspline.Lattice, points: FitPoints) -> Basis:
        """Evaluate the splines of a lattice at tie points."""
        rows, cols = bspline.bending(lattice)
        splines, values = lattice.support(points.u, points.v)
        products = bspline.multiply(splines, values, lattice.shape[1])
        return cls(lattice, splines, values, products, _penalty(lattice, rows, cols), rows, cols)

    @property
    def size(self) -> int:
        """Number of splines."""
        return self.lattice.shape[0] * self.lattice.shape[1]

    def at_points(self, coef: Floats) -> Floats:
        """Sum the splines up at the tie points."""
        return np.asarray((coef[self.splines] * self.values).sum(1))

    def gather(self, pulls: Floats) -> Floats:
        """Transpose of :meth:`at_points`."""
        weights = (self.values * pulls[:, None]).ravel()
        return np.asarray(np.bincount(self.splines.ravel(), weights, self.size), np.float64)

    def variances(self, covariance: list[Floats], u: Floats, v: Floats) -> Floats:
        """Covariance (n, k, k) of the sum of the splines at positions."""
        splines, values = self.lattice.support(u, v)
        if len(covariance) == 1:
            return self.joint(covariance[0], splines, values)
        products = bspline.multiply(splines, values, self.lattice.shape[1])
        own = np.stack([bspline.covariance_at(one, products) for one in covariance], 1)
        return np.asarray(own[:, :, None] * np.eye(len(covariance)))

    def joint(self, covariance: Floats, splines: Ints, values: Floats) -> Floats:
        """Covariance (n, k, k) of the sums of splines (n, 16), from that of all components together."""
        rows, b = self.lattice.shape
        k = len(covariance) // rows
        out = np.empty((len(splines), k, k))
        for c, d in bspline.pairs_of(k):
            products = bspline.multiply(splines, values, b, k, (c, d))
            out[:, c, d] = out[:, d, c] = bspline.covariance_at(covariance, products)
        return out

    def energy(self, coef: Floats) -> float:
        """Bending energy of coefficients."""
        grid = coef.reshape(self.lattice.shape)
        return float(sum((grid * (r @ grid @ c)).sum() for r, c in zip(self.rows, self.cols, strict=True)))


@dataclass(frozen=True)
class State:
    """Estimated with the coefficients: stiffness (k,), scatter (k, k) beyond the covariances, robust weights (n,)."""

    stiffness: Floats
    scatter: Floats
    weights: Floats


@dataclass(frozen=True)
class SplineSolution:
    """Coefficients (k, m) and residuals (n, k) for one set of parameters.

    spread, precision : (n, k, k) float64; covariance of the fit at the points, and weights of the points.
    covariance : Of the coefficients, for each component or for all of them together.
    freedom, energy : (k,) float64; effective parameters and bending energies.
    """

    coef: Floats
    residual: Floats
    spread: Floats
    precision: Floats
    covariance: list[Floats]
    freedom: Floats
    energy: Floats


def _penalty(lattice: bspline.Lattice, rows: list[Floats], cols: list[Floats]) -> Floats:
    """Bending energy in the block form of :mod:`xcoreg.core.models.bspline`."""
    n_rows, n_cols = lattice.shape
    out = np.zeros((n_rows, 4, n_cols, n_cols))
    for row in range(n_rows):
        for below in range(min(4, n_rows - row)):
            square = sum(r[row + below, row] * c for r, c in zip(rows, cols, strict=True))
            out[row, below] = square if below else np.tril(square)
    return out


def solve(basis: Basis, points: FitPoints, state: State) -> SplineSolution:
    """Solve for each component separately, weighted by its variances."""
    k = points.values.shape[1]
    parts = []
    for c in range(k):
        precision = state.weights / (points.covs[:, c, c] + state.scatter[c, c])
        parts.append(_component(basis, points.values[:, c], precision, float(state.stiffness[c])))
    coef, spread, precisions, covariance, freedom = (list(column) for column in zip(*parts, strict=True))
    residual = points.values - np.stack([basis.at_points(one) for one in coef], 1)
    energy = np.array([basis.energy(one) for one in coef])
    own, heavy = (np.stack(part, 1)[:, :, None] * np.eye(k) for part in (spread, precisions))
    return SplineSolution(np.array(coef), residual, own, heavy, covariance, np.array(freedom), energy)


def _component(
    basis: Basis, values: Floats, precision: Floats, stiffness: float
) -> tuple[Floats, Floats, Floats, Floats, float]:
    data = bspline.assemble(*basis.lattice.shape, 1, basis.products, precision)
    factor = bspline.factorise(data + stiffness * basis.penalty)
    right = basis.gather(precision * values)
    covariance = factor.covariance()
    spread = bspline.covariance_at(covariance, basis.products)
    freedom = basis.size - stiffness * bspline.trace_product(covariance, basis.penalty)
    return factor.solve(right), spread, precision, covariance, freedom


def solve_together(basis: Basis, points: FitPoints, state: State) -> SplineSolution:
    """Solve for all components together, weighted by their joint covariances."""
    k = points.values.shape[1]
    precision = state.weights[:, None, None] * inverse_matrices(points.covs + state.scatter)
    rows, b = basis.lattice.shape
    matrix = np.zeros((rows * k, 4 * k, b, b))
    for c, d in bspline.pairs_of(k):
        products = bspline.multiply(basis.splines, basis.values, b, k, (c, d))
        matrix += bspline.assemble(rows, b, k, products, precision[:, c, d])
    for c in range(k):
        matrix[c::k, ::k] += state.stiffness[c] * basis.penalty
    factor = bspline.factorise(matrix)
    pulls = np.einsum("nab,nb->na", precision, points.values)
    right = np.stack([basis.gather(pull).reshape(rows, b) for pull in pulls.T], 1)
    coef = factor.solve(right.ravel()).reshape(rows, k, b).transpose(1, 0, 2).reshape(k, -1)
    covariance = factor.covariance()
    spread = basis.joint(covariance, basis.splines, basis.values)
    residual = points.values - np.stack([basis.at_points(one) for one in coef], 1)
    freedom = np.full(k, np.einsum("nij,nji->", spread, precision) / k)
    energy = np.array([basis.energy(one) for one in coef])
    return SplineSolution(coef, residual, spread, precision, [covariance], freedom, energy)


def soften(basis: Basis, points: FitPoints, state: State) -> State:
    """Limit the initial stiffness on another lattice, so that more than a plane is possible."""
    return replace(state, stiffness=np.minimum(state.stiffness, _LOOSE * _balance(basis, points, state)))


def _clip_stiffness(basis: Basis, points: FitPoints, state: State) -> State:
    """Limit the stiffness to the numerically stable range; the largest one makes a plane."""
    balance = _balance(basis, points, state)
    return replace(state, stiffness=np.clip(state.stiffness, _FREE * balance, _RIGID * balance))


def _balance(basis: Basis, points: FitPoints, state: State) -> Floats:
    """Stiffness of each component at which bending and data have equal weight."""
    variances = np.diagonal(points.covs + state.scatter, axis1=1, axis2=2)
    heavy = (state.weights[:, None] / variances).sum(0) * float((basis.values**2).sum(1).mean())
    b = np.arange(basis.penalty.shape[2])
    return np.asarray(heavy / float(basis.penalty[:, 0, b, b].sum()))


def iterate(basis: Basis, points: FitPoints, state: State) -> tuple[State, SplineSolution, int]:
    """Iterate smoothing (generalised Fellner-Schall update), scatter (Paule & Mandel) and weights until they converge.

    The update increases the restricted likelihood (Wood & Fasiolo 2017, doi:10.1111/biom.12666).
    """
    step = np.zeros(points.values.shape[1])
    for i in range(_ROUNDS):
        smooth = solve(basis, points, state)
        new = _clip_stiffness(basis, points, _update(points, state, smooth))
        last, step = step, np.log(new.stiffness / state.stiffness)
        # Steps that shrink by a constant factor are a geometric series: extrapolate its sum.
        steady = np.divide(step, last, out=np.zeros_like(step), where=np.abs(last) > 1e-9)
        ahead = np.where((steady > 0) & (i > 0), np.clip(1 / (1 - np.clip(steady, 0, 0.8)), 1, 4), 1.0)
        wider = np.abs(np.log(np.trace(new.scatter) / np.trace(state.scatter)))
        stiff = smooth.freedom - _PLANE < _STIFF
        if (np.abs(np.where(stiff, 0, step)).max() < _SETTLED) and wider < _SETTLED:
            return state, smooth, i + 1
        stiffness = state.stiffness * np.exp(np.clip(ahead * step, -3, 3))
        state = _clip_stiffness(basis, points, replace(new, stiffness=stiffness))
    return state, smooth, _ROUNDS


def _update(points: FitPoints, state: State, smooth: SplineSolution) -> State:
    k = points.values.shape[1]
    left = np.clip(1 - np.einsum("nij,nji->n", smooth.spread, smooth.precision) / k, 0.02, 1)
    scatter = excess_scatter(smooth.residual, points.covs, left, state.weights)
    scatter = scatter + (_FLOOR + _THIN * np.trace(scatter)) * np.eye(k)
    weights = robust_weights(squared_distance(smooth.residual, points.covs + scatter) / left, k)
    stiffness = np.maximum(smooth.freedom - _PLANE, 1e-4) / np.maximum(smooth.energy, 1e-300)
    return State(stiffness, scatter, weights)
