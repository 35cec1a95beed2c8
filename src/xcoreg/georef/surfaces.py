"""Maps from the image to the ground in scaled coordinates, and their inverse: polynomials, homography, splines.

Image and ground are scaled to about [-1, 1]: the normal matrix of a cubic in pixels has a condition number of 1e15, in
scaled coordinates of 1e2. For thousands of control points the thin-plate spline is blended of overlapping patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy  # its parts are loaded when they are used: a first call needs few

from xcoreg.core import Floats, Ints, exponents, monomials

_STEPS = 25
_LONGEST = 0.5  # of a step, scaled units: a quarter of the image
_CHUNK = 1 << 14  # points computed at once: the temporaries fit into the processor's cache
_FAR = 3.0  # scaled units: beyond it the cubic guess is of no use


def first_guess(surface: Surface) -> tuple[Polynomial, Polynomial]:
    """Guess the inverse: by a plane, and by a cubic that is accurate inside."""
    u, v = (axis.ravel() for axis in np.meshgrid(*2 * [np.linspace(-1.1, 1.1, 12)]))
    x, y = surface.at(u, v)
    known = np.isfinite(x) & np.isfinite(y)
    goal = np.stack([u, v], axis=-1)[known]
    guesses = []
    for degree in (1, 3):
        terms = monomials(x[known], y[known], degree)
        guesses.append(Polynomial(degree, np.asarray(np.linalg.lstsq(terms, goal, rcond=None)[0], np.float64)))
    return guesses[0], guesses[1]


def solve(
    surface: Surface, x: Floats, y: Floats, guesses: tuple[Polynomial, Polynomial], tolerance: float
) -> tuple[Floats, Floats]:
    """Invert a map at ground coordinates by Newton steps: x, y (n,) float -> u, v (n,) float64."""
    u, v = np.empty(x.shape), np.empty(x.shape)
    for start in range(0, x.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        u[part], v[part] = _solve_part(surface, x[part], y[part], guesses, tolerance)
    return u, v


def _solve_part(
    surface: Surface, x: Floats, y: Floats, guesses: tuple[Polynomial, Polynomial], tolerance: float
) -> tuple[Floats, Floats]:
    with np.errstate(all="ignore"):  # diverging points end as not finite
        u, v = _start(x, y, guesses)
        out_u, out_v = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        at = np.flatnonzero(np.isfinite(u) & np.isfinite(v))
        u, v, x, y = u[at], v[at], x[at], y[at]
        for _ in range(_STEPS):
            du, dv = _step(surface, u, v, x, y)
            length = np.hypot(du, dv)
            # Far from the solution a full step may overshoot.
            short = np.minimum(1.0, _LONGEST / np.maximum(length, 1e-300))
            u, v = u + short * du, v + short * dv
            done = length < tolerance
            out_u[at[done]], out_v[at[done]] = u[done], v[done]
            left = ~done & np.isfinite(length)
            if not left.any():
                break
            if not left.all():
                at, u, v, x, y = at[left], u[left], v[left], x[left], y[left]
    return out_u, out_v


def _start(x: Floats, y: Floats, guesses: tuple[Polynomial, Polynomial]) -> tuple[Floats, Floats]:
    plane, fine = guesses
    u, v = fine.at(x, y)
    far = ~((np.abs(u) < _FAR) & (np.abs(v) < _FAR))
    if far.any():
        u[far], v[far] = plane.at(x[far], y[far])
    return u, v


def _step(surface: Surface, u: Floats, v: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    at_x, at_y = surface.at(u, v)
    xu, xv, yu, yv = surface.slopes(u, v)
    miss_x, miss_y = x - at_x, y - at_y
    det = xu * yv - xv * yu
    return (yv * miss_x - xv * miss_y) / det, (xu * miss_y - yu * miss_x) / det


#: Up to this number of points a spline is solved in one piece: the cost grows with the third power.
WHOLE = 1500
_LEAF = 160  # points in a patch, at most
_TINY = 1e-300  # replaces 0 in a logarithm that is multiplied by 0
_OVERLAP = 0.1  # of the width of two neighbours, on either side of their border
_AT_ONCE = 1 << 16  # kernel values in memory at once: they fit into the processor's cache


@dataclass(frozen=True, eq=False)
class Spline:
    """The surface of least bending through points (Duchon 1977, doi:10.1007/BFb0086566): kernel r² log r, plus a plane.

    u, v : (n,) float; The points.
    coefs : (n + 3, 2) float; Weights of the kernels, then constant, u, v; for x and y.
    """

    u: Floats
    v: Floats
    coefs: Floats

    def at(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Ground coordinates (x, y) of image coordinates."""
        values = self._blocks(u, v, slopes=False)
        return values[0], values[1]

    def slopes(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the derivatives (dx/du, dx/dv, dy/du, dy/dv)."""
        values = self._blocks(u, v, slopes=True)
        return values[0], values[1], values[2], values[3]

    def _blocks(self, u: Floats, v: Floats, *, slopes: bool) -> Floats:
        flat_u, flat_v = np.ravel(u), np.ravel(v)
        out = np.empty((4 if slopes else 2, flat_u.size))
        step = max(_AT_ONCE // self.u.size, 1)
        for start in range(0, flat_u.size, step):
            part = slice(start, start + step)
            out[:, part] = (self._slopes if slopes else self._values)(flat_u[part], flat_v[part])
        return out.reshape(-1, *np.shape(u))

    def _values(self, u: Floats, v: Floats) -> Floats:
        kernel = _kernel(_squares(u, self.u, v, self.v))
        plane = self.coefs[-3:]
        values: Floats = (
            (kernel @ self.coefs[:-3]).T + plane[0][:, None] + plane[1][:, None] * u + plane[2][:, None] * v
        )
        return values

    def _slopes(self, u: Floats, v: Floats) -> Floats:
        du, dv = u[:, None] - self.u, v[:, None] - self.v
        square = du * du + dv * dv
        factor = np.log(np.maximum(square, _TINY)) + 1.0
        by_u, by_v = (((factor * d) @ self.coefs[:-3]).T for d in (du, dv))
        by_u, by_v = by_u + self.coefs[-2][:, None], by_v + self.coefs[-1][:, None]
        return np.stack([by_u[0], by_v[0], by_u[1], by_v[1]])


def _squares(u: Floats, to_u: Floats, v: Floats, to_v: Floats) -> Floats:
    """Squared distances of places from points, (places, points)."""
    square = u[:, None] - to_u
    square *= square
    other = v[:, None] - to_v
    other *= other
    square += other
    return square


def _kernel(square: Floats) -> Floats:
    """Half of r² log r² of squared distances."""
    kernel = np.maximum(square, _TINY)
    np.log(kernel, out=kernel)
    kernel *= square
    kernel *= 0.5
    return kernel


def fit_spline(u: Floats, v: Floats, ground: Floats) -> tuple[Spline, Floats]:
    """Fit a spline through points: u, v (n,) float; ground (n, 2) float -> left_out (n, 2) float."""
    n = u.size
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _kernel(_squares(u, u, v, v))
    plane = np.stack([np.ones(n), u, v], axis=-1)
    system[:n, n:], system[n:, :n] = plane, plane.T
    inverse = scipy.linalg.inv(system, check_finite=False)
    wanted = np.concatenate([ground, np.zeros((3, 2))])
    coefs = inverse @ wanted
    coefs += inverse @ (wanted - system @ coefs)  # once refined, the points are met to round-off
    return Spline(u, v, coefs), coefs[:n] / np.diag(inverse)[:n, None]


@dataclass(frozen=True, eq=False)
class Patches:
    """Splines over a tree of overlapping halves, blended: continuous with its slopes, exact at every point.

    Each is the spline through the points of its patch alone; the effect of points farther away is far below the
    accuracy of the points.

    axis : Along which the border cuts: 0 is u, 1 is v; -1 for a patch that is not cut.
    border, reach : Where, and how far either half reaches over it.
    halves : Below and above the border; empty for a patch that is not cut.
    spline : Of a patch that is not cut.
    """

    axis: int
    border: float = 0.0
    reach: float = 0.0
    halves: tuple[Patches, ...] = ()
    spline: Spline | None = None

    def at(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Ground coordinates (x, y) of image coordinates."""
        values = self._blend(np.ravel(u), np.ravel(v), "at").reshape(2, *np.shape(u))
        return values[0], values[1]

    def slopes(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the derivatives without those of the blending, which are small: for Newton steps."""
        values = self._blend(np.ravel(u), np.ravel(v), "slopes").reshape(4, *np.shape(u))
        return values[0], values[1], values[2], values[3]

    def _blend(self, u: Floats, v: Floats, what: str) -> Floats:
        if self.spline is not None:
            return np.stack(getattr(self.spline, what)(u, v))
        out = np.zeros((2 if what == "at" else 4, u.size))
        below = _share((u, v)[self.axis], self.border, self.reach)
        for half, share in zip(self.halves, (below, 1.0 - below), strict=True):
            here = np.flatnonzero(share > 0)
            if here.size:
                out[:, here] += share[here] * half._blend(u[here], v[here], what)
        return out


def _share(position: Floats, border: float, reach: float) -> Floats:
    """Weight of the lower half: 1 to 0 across the overlap, with continuous first and second derivatives."""
    t = np.clip((border + reach - position) / (2 * reach), 0.0, 1.0)
    share: Floats = t * t * t * (10.0 + t * (6.0 * t - 15.0))
    return np.where(np.isnan(position), 1.0, share)


def fit_patches(u: Floats, v: Floats, ground: Floats) -> tuple[Patches, Floats]:
    """Fit blended splines through thousands of points.

    u, v (n,) float; ground (n, 2) float -> left_out (n, 2) float.
    """
    left_out = np.zeros((u.size, 2))
    most = np.zeros(u.size)
    points = (u, v, ground)
    return _grow(points, np.arange(u.size), np.ones(u.size), (left_out, most)), left_out


def _grow(points: tuple[Floats, Floats, Floats], at: Ints, share: Floats, best: tuple[Floats, Floats]) -> Patches:
    u, v, ground = points
    cut = _cut(u[at], v[at]) if at.size > _LEAF else None
    if cut is None:
        spline, left_out = fit_spline(u[at], v[at], ground[at])
        better = share > best[1][at]
        best[0][at[better]], best[1][at[better]] = left_out[better], share[better]
        return Patches(-1, spline=spline)
    axis, border, reach = cut
    below = _share((u, v)[axis][at], border, reach)
    halves = []
    for part in (below, 1.0 - below):
        here = part > 0
        halves.append(_grow(points, at[here], (share * part)[here], best))
    return Patches(axis, border, reach, tuple(halves))


def _cut(u: Floats, v: Floats) -> tuple[int, float, float] | None:
    """Cut across the longer side, with as many points on either side; None where a half would lie on a line."""
    axis = int(np.ptp(v) > np.ptp(u))
    position = (u, v)[axis]
    border, reach = float(np.median(position)), _OVERLAP * float(np.ptp(position))
    for half in (position < border + reach, position > border - reach):
        if half.all() or _flatness(u[half], v[half]) < 1e-3:
            return None
    return axis, border, reach


def _flatness(u: Any, v: Any) -> float:
    """Ratio of the smaller to the larger spread of points, in any direction: 0 on a line."""
    spread = scipy.linalg.svdvals(np.stack([u - u.mean(), v - v.mean()], axis=-1))
    return float(spread[-1] / spread[0]) if spread[0] > 0 else 0.0


class Surface(Protocol):
    """A map from scaled image coordinates (u, v) to scaled ground coordinates."""

    def at(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Ground coordinates (x, y) of image coordinates."""
        ...

    def slopes(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the derivatives (dx/du, dx/dv, dy/du, dy/dv)."""
        ...


@dataclass(frozen=True)
class Scale:
    """Centres and sizes of the image and of the ground.

    col, row, x, y : Centre and size: a scaled coordinate is (value - centre) / size.
    """

    col: tuple[float, float]
    row: tuple[float, float]
    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def of(cls, col: Floats, row: Floats, x: Floats, y: Floats, *, square: bool = False) -> Scale:
        """Scale so that points lie within [-1, 1]; with one size for columns and rows where `square`."""
        found = [((float(v.min()) + float(v.max())) / 2, max(float(np.ptp(v)) / 2, 1e-300)) for v in (col, row, x, y)]
        if square:
            side = max(found[0][1], found[1][1])
            found[:2] = [(centre, side) for centre, _ in found[:2]]
        return cls(*found)

    def to_unit(self, col: Any, row: Any) -> tuple[Floats, Floats]:
        """Scaled image coordinates of pixels."""
        return (np.asarray(col) - self.col[0]) / self.col[1], (np.asarray(row) - self.row[0]) / self.row[1]

    def to_pixel(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Undo :meth:`to_unit`."""
        return u * self.col[1] + self.col[0], v * self.row[1] + self.row[0]

    def to_ground(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Ground coordinates of scaled ones."""
        return x * self.x[1] + self.x[0], y * self.y[1] + self.y[0]

    def linear(self, surface: Surface, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Linear part (a, b, d, e) of a map at scaled image coordinates, ground units per px."""
        xu, xv, yu, yv = surface.slopes(u, v)
        by_x, by_y, by_col, by_row = self.x[1], self.y[1], self.col[1], self.row[1]
        return xu * by_x / by_col, xv * by_x / by_row, yu * by_y / by_col, yv * by_y / by_row

    def from_ground(self, x: Any, y: Any) -> tuple[Floats, Floats]:
        """Undo :meth:`to_ground`."""
        return (np.asarray(x) - self.x[0]) / self.x[1], (np.asarray(y) - self.y[0]) / self.y[1]


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A polynomial in both coordinates.

    order : 1 is an affine map.
    coefs : Of x and y, in the order of :func:`exponents`.
    """

    order: int
    coefs: Floats

    def terms(self, u: Floats, v: Floats) -> Floats:
        """Values of all terms, (..., terms)."""
        return monomials(u, v, self.order)

    def at(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Ground coordinates (x, y) of image coordinates."""
        x, y = self._sums(u, v, self._table())
        return x, y

    def slopes(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the derivatives (dx/du, dx/dv, dy/du, dy/dv)."""
        table = self._table()
        degree = np.arange(self.order + 1.0)
        by_u = np.roll(table * degree[:, None, None], -1, axis=0)
        by_v = np.roll(table * degree[None, :, None], -1, axis=1)
        (xu, yu), (xv, yv) = self._sums(u, v, by_u), self._sums(u, v, by_v)
        return xu, xv, yu, yv

    def _table(self) -> Floats:
        """Coefficients as (power of u, power of v, 2)."""
        table = np.zeros((self.order + 1, self.order + 1, 2))
        for (i, j), coef in zip(exponents(self.order), self.coefs, strict=True):
            table[i, j] = coef
        return table

    def _sums(self, u: Floats, v: Floats, table: Floats) -> list[Floats]:
        """Evaluate by Horner's rule, along v within along u."""
        sums = []
        for axis in range(2):
            total: Any = 0.0
            for i in range(self.order, -1, -1):
                inner: Any = 0.0
                for j in range(self.order - i, -1, -1):
                    inner = inner * v + table[i, j, axis]
                total = total * u + inner
            sums.append(np.asarray(total + 0.0 * u))
        return sums


@dataclass(frozen=True, eq=False)
class Homography:
    """A projective map: that of a frame camera over flat ground.

    matrix : (3, 3) float; Of homogeneous coordinates; the last element is 1.
    """

    matrix: Floats

    def at(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Ground coordinates (x, y) of image coordinates; NaN beyond the horizon."""
        x, y, w = (a * u + b * v + c for a, b, c in self.matrix)
        w = np.where(w > 0, w, np.nan)
        return x / w, y / w

    def slopes(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the derivatives (dx/du, dx/dv, dy/du, dy/dv)."""
        (a, b, _), (d, e, _), (g, h, _) = self.matrix
        x, y = self.at(u, v)
        w = g * u + h * v + self.matrix[2, 2]
        return (a - g * x) / w, (b - h * x) / w, (d - g * y) / w, (e - h * y) / w

    def inverse(self) -> Homography:
        """Map back from the ground to the image."""
        back = np.linalg.inv(self.matrix)
        return Homography(back / back[2, 2])


def homography_terms(u: Floats, v: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Coefficients (..., 8) of the parameters of a homography in x and in y times the denominator."""
    zero, one = np.zeros_like(u), np.ones_like(u)
    by_x = np.stack([u, v, one, zero, zero, zero, -u * x, -v * x], axis=-1)
    by_y = np.stack([zero, zero, zero, u, v, one, -u * y, -v * y], axis=-1)
    return by_x, by_y
