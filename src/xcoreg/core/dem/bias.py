"""Biases of elevation models beside a shift: curves of the place along a track, and of the terrain.

Curves are cubic B-splines, fitted together with the shift; their number of knots is chosen by check blocks, and a curve
that does not improve these is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy  # its parts are loaded when they are used: interpolate takes a fifth of a first call
from scipy.ndimage import gaussian_filter

from xcoreg.core import Bools, Floats
from xcoreg.core.dem.blunders import fill_rows
from xcoreg.core.dem.covariance import Cells, at_long_range, correlated_covariance
from xcoreg.core.dem.equations import Basis, Terms, spread_of
from xcoreg.core.dem.observations import DemWindow, Observation, shift_window
from xcoreg.core.robust import TUKEY, biweight

#: Names of biases: along and across the track, of the terrain, and lines that shake.
BIASES = ("along_track", "across_track", "elevation", "slope", "curvature", "jitter")
TERRAIN = ("elevation", "slope", "curvature")
_SMOOTHING = 0.8  # px, standard deviation; slopes and curvatures of raw pixels are noise
_PIECES = (4, 8, 12)  # pieces of curves of the terrain; of curves along a track, px per piece
_STEPS = (64.0, 32.0, 16.0, 8.0, 4.0)
_SAMPLE, _ROUNDS, _FOLDS, _BLOCK = 120_000, 5, 4, 24
_WORTH, _RIDGE, _SMALL = 0.997, 1e-4, 1e-3
_TAILS = 0.5  # percent of a variable beyond the first and last knot


def terrain_variable(name: str, heights: Floats, valid: Bools, to_metres: Floats) -> Floats:
    """Elevation, slope (degrees) or curvature (per 100 units) of heights (rows, cols), slightly smoothed."""
    full = heights if valid.all() else fill_rows(heights, valid)
    if name == "elevation":
        return np.asarray(full, np.float64)
    soft = gaussian_filter(np.asarray(full, np.float64), _SMOOTHING, mode="nearest")
    inverse = np.linalg.inv(to_metres)
    down, across = np.gradient(soft)
    if name == "slope":
        east, north = across * inverse[0, 0] + down * inverse[1, 0], across * inverse[0, 1] + down * inverse[1, 1]
        return np.asarray(np.degrees(np.arctan(np.hypot(east, north))))
    sides = np.hypot(*to_metres)
    return np.asarray(100 * (np.gradient(across, axis=1) / sides[0] ** 2 + np.gradient(down, axis=0) / sides[1] ** 2))


@dataclass(frozen=True, eq=False)
class Curve:
    """A cubic spline of one variable: uniform knots from `start` in steps; constant beyond.

    name : Of the variable; direction : (2,) of a track, px; None of other variables.
    middle, spread : Of a variable of the terrain, whose rare values get less room; 0 for none.
    coef : (n, k) float64; k = 1 of heights, k = 3 of (dcol, drow, dz).
    """

    name: str
    start: float
    step: float
    coef: Floats
    direction: tuple[float, float] | None = None
    middle: float = 0.0
    spread: float = 0.0

    def stretched(self, values: Floats) -> Floats:
        """Give rare values less room: the inverse hyperbolic sine of a variable of the terrain."""
        return np.arcsinh((values - self.middle) / self.spread) if self.spread else np.asarray(values, np.float64)

    def design(self, values: Floats) -> scipy.sparse.csr_array:
        """Values (n,) of the basis functions at a variable: -> (n, number of coefficients)."""
        n = len(self.coef)
        knots = self.start + self.step * (np.arange(n + 4) - 3)
        inside = np.clip(self.stretched(values), self.start, self.start + self.step * (n - 3) * (1 - 1e-9))
        return scipy.sparse.csr_array(scipy.interpolate.BSpline.design_matrix(inside, knots, 3))

    def at(self, values: Floats) -> Floats:
        """Corrections (n, k) at values of the variable."""
        return np.asarray(self.design(np.ravel(values)) @ self.coef)


def empty_curve(name: str, values: Floats, pieces: float, direction: Any = None, parts: int = 1) -> Curve:
    """Make a curve over the range of values, of so many pieces, or of pieces of so many px along a track."""
    if direction is not None:
        low, high = float(values.min()), float(values.max())
        count = max(int(np.ceil((high - low) / pieces)), 1)
        return Curve(name, low, (high - low) / count or 1.0, np.zeros((count + 3, parts)), direction)
    usual = spread_of([values])
    curve = Curve(name, 0.0, 1.0, np.zeros((int(pieces) + 3, parts)), None, usual.median, usual.nmad or 1.0)
    low, high = np.percentile(curve.stretched(values), (_TAILS, 100 - _TAILS)).tolist()
    return replace(curve, start=low, step=(high - low) / pieces or 1.0)


def _thin(obs: Observation, step: slice) -> Observation:
    """Select every so many samples."""
    flat: dict[str, Any] = {name: getattr(obs, name)[step] for name in ("dh", "col", "row", "at")}
    flat |= {name: tuple(part[step] for part in getattr(obs, name)) for name in ("cross", "own")}
    return Observation(**flat)


@dataclass(eq=False)
class BiasProblem:
    """Windows with the variables (rows, cols) on the pixels of their targets, and what is estimated beside biases."""

    windows: Sequence[DemWindow]
    variables: dict[str, list[Floats]]
    terms: Terms
    to_metres: Floats
    basis: Basis = field(init=False)

    def __post_init__(self) -> None:
        self.basis = Basis.over(self.windows, self.terms)

    def observe(self, move: Floats) -> tuple[Observation, dict[str, Floats], list[Floats]]:
        """Compare all windows, thinned: observation, values of the variables and columns of the ramp."""
        seen, places, values, ramps = [], [], [], []
        for k, one in enumerate(self.windows):
            obs = one.observe(move)
            step = slice(None, None, max(1, len(obs.dh) * len(self.windows) // _SAMPLE) | 1)
            obs = _thin(obs, step)
            seen.append(obs)
            places.append(np.stack(one.positions(obs.at)))
            parts = {}
            for name, arrays in self.variables.items():
                moved = shift_window(arrays[k].astype(np.float32), one.tgt_valid, move - one.base)[0]
                parts[name] = moved.ravel()[obs.at].astype(np.float64)
            values.append(parts)
            ramps.append(self.basis.at(one, obs.at))
        names = ("dh", "col", "row", "at")
        flat = {name: np.concatenate([getattr(one, name) for one in seen]) for name in names}
        pairs = {name: tuple(np.concatenate(p) for p in zip(*(getattr(one, name) for one in seen), strict=True))
                 for name in ("cross", "own")}  # fmt: skip
        both = {name: np.concatenate([part[name] for part in values]) for name in self.variables}
        position = np.concatenate(places, axis=1)
        both |= {"col": position[0], "row": position[1]}
        ramp = [np.concatenate(part) for part in zip(*ramps, strict=True)]
        return Observation(**flat, **pairs), both, ramp  # type: ignore[arg-type]


def values_of(curve: Curve, values: dict[str, Floats], move: Floats) -> Floats:
    """Variable of a curve at samples; of a track, from their positions in the target."""
    if curve.direction is None:
        return values[curve.name]
    along, down = curve.direction
    return np.asarray(along * (values["col"] - move[0]) + down * (values["row"] - move[1]))


@dataclass(frozen=True, eq=False)
class BiasFit:
    """Mean shift (2,), px, mean offset and ramp, curves of mean 0, covariance of the means, and what is left."""

    move: Floats
    height: Floats
    curves: tuple[Curve, ...]
    cov: Floats
    nmad: float
    median: float
    count: int


def _columns(obs: Observation, ramp: list[Floats], curves: Sequence[Curve], variables: list[Floats], first: int) -> Any:
    """Sparse design: shift, constant, ramp, curves."""
    dense = np.stack([-obs.col, -obs.row, np.ones_like(obs.dh), *ramp][first:], 1).astype(np.float64)
    parts: list[Any] = [scipy.sparse.csr_array(dense)]
    for curve, values in zip(curves, variables, strict=True):
        basis = curve.design(values)
        if curve.coef.shape[1] == 3:
            parts += [scipy.sparse.diags_array(-part.astype(np.float64)) @ basis for part in (obs.col, obs.row)]
        parts.append(basis)
    return scipy.sparse.hstack(parts, format="csr")


def fit_biases(
    problem: BiasProblem, move: Floats, curves: Sequence[Curve], use: Any = None, rounds: int = _ROUNDS
) -> tuple[BiasFit, Floats, Floats]:
    """Fit curves together with shift and ramp: -> fit, residuals (n,), blocks (n,) of the samples.

    use : Function of blocks (n,) to a mask of the samples that are fitted; default all.
    """
    first = 0 if problem.terms.shift else 2
    for _ in range(rounds):
        obs, values, ramp = problem.observe(move)
        variables = [values_of(curve, values, move) for curve in curves]
        design = _columns(obs, ramp, curves, variables, first)
        block = _blocks(values)
        chosen = np.ones(len(obs.dh), bool) if use is None else use(block)
        coef, weights = _solve(design, obs.dh.astype(np.float64), chosen, len(ramp) + 3 - first)
        residuals = obs.dh - design @ coef
        step = coef[:2] if first == 0 else np.zeros(2)
        move = move + np.clip(step, -2, 2)
        if np.abs(step).max() < _SMALL:
            break
    plain = len(ramp) + 3 - first
    spread = spread_of([residuals])
    functional = _mean_rows(design, curves, plain, first)
    cov = _covariance(design, weights, residuals, (values["col"], values["row"]), functional)
    mean, done = functional @ coef, []
    ends = np.cumsum([plain, *(one.coef.size for one in curves)])
    for k, curve in enumerate(curves):
        parts = coef[ends[k] : ends[k + 1]].reshape(curve.coef.shape[1], -1).T
        basis_mean = np.asarray(curve.design(values_of(curve, values, move)).mean(0)).ravel()
        done.append(replace(curve, coef=parts - basis_mean @ parts))
    moved = move + (mean[:2] - coef[:2] if first == 0 else 0.0)
    height = np.concatenate([[mean[-1]], coef[3 - first : plain]])
    return BiasFit(moved, height, tuple(done), cov, spread.nmad, spread.median, len(obs.dh)), residuals, block


def _mean_rows(design: Any, curves: Sequence[Curve], plain: int, first: int) -> Floats:
    """Rows that give the mean correction along each axis: shifts and offset with the means of their curves."""
    count = 3 - first
    rows, at = np.eye(count, design.shape[1]), plain
    means = np.asarray(design[:, plain:].mean(0)).ravel()
    for curve in curves:
        size, parts = len(curve.coef), curve.coef.shape[1]
        own = means[at - plain + size * (parts - 1) : at - plain + size * parts]
        for axis in range(parts):
            rows[count - parts + axis, at + size * axis : at + size * (axis + 1)] = own
        at += size * parts
    return rows


def _covariance(design: Any, weights: Floats, residuals: Floats, places: Any, functional: Floats) -> Floats:
    """Covariance of linear functions of the coefficients, with correlated noise."""
    normal = (design.T @ scipy.sparse.diags_array(weights) @ design).toarray()
    normal[np.diag_indices_from(normal)] += _RIDGE * np.diag(normal).mean() * 1e-2
    rows = functional @ np.linalg.inv(normal)
    influence = (design @ rows.T).T * (weights * residuals)
    cells = Cells.over_positions([places])
    slope = float((5 * weights - 4 * np.sqrt(weights)).sum() / max(weights.sum(), 1.0))
    cov = correlated_covariance(np.stack([cells.sums([part]) for part in influence])) / max(slope, 0.2) ** 2
    # The last row is the offset.
    return at_long_range(cov, cells.sums([weights * residuals]), cells.sums([weights]), len(functional) - 1)


def _solve(design: Any, dh: Floats, chosen: Bools, plain: int) -> tuple[Floats, Floats]:
    """Robust least squares with a slight ridge on the curves, which share the constant."""
    coef, residuals = np.zeros(design.shape[1]), dh
    for _ in range(4):
        spread = spread_of([residuals[chosen]])
        weights = biweight((residuals - spread.median) / max(TUKEY * spread.nmad, 1e-6)) * chosen
        normal = (design.T @ scipy.sparse.diags_array(weights) @ design).toarray()
        ridge = np.full(len(normal), _RIDGE * np.diag(normal)[plain:].mean() if len(normal) > plain else 0.0)
        ridge[:plain] = 0.0
        normal[np.diag_indices_from(normal)] += ridge
        coef = np.linalg.solve(normal, design.T @ (weights * dh))
        residuals = dh - design @ coef
    return coef, weights


def _blocks(values: dict[str, Floats]) -> Floats:
    """Assign the square blocks of samples to the folds."""
    number = (values["col"] // _BLOCK) * 7919 + (values["row"] // _BLOCK) * 104729
    return np.asarray(np.mod(number, _FOLDS))


def check_error(problem: BiasProblem, move: Floats, curves: Sequence[Curve]) -> float:
    """NMAD of height differences on blocks that were not fitted."""
    rest = []
    for fold in range(_FOLDS):
        _, residuals, block = fit_biases(problem, move, curves, lambda b, f=fold: b != f, rounds=1)
        rest.append(residuals[block == fold])
    return spread_of(rest).nmad


def choose_curves(
    problem: BiasProblem, move: Floats, names: Sequence[str]
) -> tuple[list[Curve], list[tuple[str, float, float]]]:
    """Choose directions and numbers of pieces of curves by check blocks; -> curves, and (name, before, after).

    A curve that does not improve the check blocks is left out.
    """
    curves: list[Curve] = []
    error, report = check_error(problem, move, curves), []
    for name in names:
        found, best = None, error
        for curve in _candidates(problem, move, name, curves):
            now = check_error(problem, move, [*curves, curve])
            if now < _WORTH * best:
                found, best = curve, now
        report.append((name, error, best))
        if found is not None:
            curves.append(found)
            error = best
    return curves, report


def _candidates(problem: BiasProblem, move: Floats, name: str, curves: Sequence[Curve]) -> list[Curve]:
    residuals = fit_biases(problem, move, curves, rounds=1)[1]
    obs, values, _ = problem.observe(move)
    if name in ("along_track", "across_track", "jitter"):
        parts = 3 if name == "jitter" else 1
        given = next((one.direction for one in curves if one.direction is not None), None)
        if given is not None:
            direction = (-given[1], given[0])
        else:
            direction = _direction_of_lines(obs, values, residuals) if parts == 3 else _direction(values, residuals)
        along = values_of(Curve(name, 0.0, 1.0, np.zeros((4, 1)), direction), values, move)
        return [empty_curve(name, along, step, direction, parts) for step in _STEPS]
    return [empty_curve(name, values[name], pieces) for pieces in _PIECES]


def _direction(values: dict[str, Floats], residuals: Floats) -> tuple[float, float]:
    """Direction (col, row) along which residuals change most: the variance of their means over narrow strips."""
    spread = spread_of([residuals])
    rest = np.clip(residuals - spread.median, -3 * spread.nmad, 3 * spread.nmad)
    return _best_direction(lambda angle: _between(angle, values, rest))


def _direction_of_lines(obs: Observation, values: dict[str, Floats], residuals: Floats) -> tuple[float, float]:
    """Direction across lines that shake: strips differ in their heights and in their products with the slopes."""
    spread = spread_of([residuals])
    rest = np.clip(residuals - spread.median, -3 * spread.nmad, 3 * spread.nmad)
    products = [
        rest,
        rest * obs.col / max(float(obs.col.std()), 1e-9),
        rest * obs.row / max(float(obs.row.std()), 1e-9),
    ]
    return _best_direction(lambda angle: sum(_between(angle, values, part) for part in products))


def _best_direction(score: Any) -> tuple[float, float]:
    angles = np.arange(0.0, 180.0, 1.0)
    for step in (0.5, 0.1):
        best = float(angles[int(np.argmax([score(float(angle)) for angle in angles]))])
        angles = best + np.arange(-4, 5) * step / 2
    best = float(angles[int(np.argmax([score(float(angle)) for angle in angles]))])
    return float(np.sin(np.radians(best))), float(np.cos(np.radians(best)))


def _between(angle: float, values: dict[str, Floats], rest: Floats) -> float:
    """Sum of squares between strips across a direction (degrees from the rows), beyond that of chance."""
    along = np.sin(np.radians(angle)) * values["col"] + np.cos(np.radians(angle)) * values["row"]
    strip = ((along - along.min()) // 2).astype(np.intp)
    count = np.bincount(strip)
    total = np.bincount(strip, rest)
    known = count > 0
    return float((total[known] ** 2 / count[known]).sum() - rest.var() * known.sum())
