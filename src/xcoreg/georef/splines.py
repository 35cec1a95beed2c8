"""Thin-plate splines through control points, in one piece or, for thousands of points, in patches that blend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = "NDArray[np.float64]"
    Ints: TypeAlias = "NDArray[np.intp]"

__all__ = ["Patches", "Spline", "fit_patches", "fit_spline"]

#: Up to so many points a spline is solved in one piece: its cost grows with their third power.
WHOLE = 1500
_LEAF = 160  # points in a patch, at most
_TINY = 1e-300  # in the place of 0 under a logarithm: what it is multiplied by is 0
_OVERLAP = 0.1  # of the width of two neighbours, on either side of their border
_AT_ONCE = 1 << 16  # kernel values held at once: they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Spline:
    """The surface of least bending through points (Duchon 1977, doi:10.1007/BFb0086566): kernel r² log r, plus a plane.

    Parameters
    ----------
    u, v : (n,) float
        The points.
    coefs : (n + 3, 2) float
        Weights of the kernels, then constant, u, v; for x and y.

    Examples
    --------
    >>> u, v = np.array([-1.0, 1.0, -1.0, 1.0, 0.0]), np.array([-1.0, -1.0, 1.0, 1.0, 0.0])
    >>> spline, left_out = fit_spline(u, v, np.stack([u * u, v], axis=-1))
    >>> abs(spline.at(u, v)[0]).round(9)
    array([1., 1., 1., 1., 0.])
    """

    u: Floats
    v: Floats
    coefs: Floats

    def at(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Ground coordinates (x, y) of image coordinates."""
        values = self._blocks(u, v, slopes=False)
        return values[0], values[1]

    def slopes(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Tell the derivatives (dx/du, dx/dv, dy/du, dy/dv)."""
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
    """Lay a spline through points.

    Parameters
    ----------
    u, v : (n,) float
        Where; no two the same, not all on one line.
    ground : (n, 2) float
        What.

    Returns
    -------
    spline : Spline
    left_out : (n, 2) float
        Residual of every point against the spline through the others, in closed form (Rippa 1999,
        doi:10.1023/A:1018975909870).

    Raises
    ------
    numpy.linalg.LinAlgError
        When the points do not determine a spline.
    """
    n = u.size
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _kernel(_squares(u, u, v, v))
    plane = np.stack([np.ones(n), u, v], axis=-1)
    system[:n, n:], system[n:, :n] = plane, plane.T
    inverse = linalg.inv(system, check_finite=False)
    wanted = np.concatenate([ground, np.zeros((3, 2))])
    coefs = inverse @ wanted
    coefs += inverse @ (wanted - system @ coefs)  # once refined, the points are met to round-off
    return Spline(u, v, coefs), coefs[:n] / np.diag(inverse)[:n, None]


@dataclass(frozen=True, eq=False)
class Patches:
    """Splines over a tree of overlapping halves, blended: continuous with its slopes, exact at every point.

    Each is the spline through the points of its patch alone, so that far points do not act on it, other than in one
    spline through all; what they would add is far below the accuracy of the points.

    Parameters
    ----------
    axis : int
        Along which the border cuts: 0 is u, 1 is v; -1 for a patch that is not cut.
    border, reach : float
        Where, and how far either half reaches over it.
    halves : tuple of Patches
        Below and above the border; empty for a patch that is not cut.
    spline : Spline or None
        Of a patch that is not cut.
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
        """Tell the derivatives, but for the small ones of the blending: good enough for Newton's steps."""
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
    """Lay blended splines through thousands of points.

    Parameters
    ----------
    u, v : (n,) float
        Where; no two the same, not all on one line.
    ground : (n, 2) float
        What.

    Returns
    -------
    patches : Patches
    left_out : (n, 2) float
        Residual of every point against the others of the patch that it counts most in.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> u, v = rng.uniform(-1, 1, (2, 500))
    >>> patches, left_out = fit_patches(u, v, np.stack([u + 0.1 * u * v, v], axis=-1))
    >>> float(np.abs(patches.at(u, v)[0] - u - 0.1 * u * v).max()) < 1e-12
    True
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
    spread = linalg.svdvals(np.stack([u - u.mean(), v - v.mean()], axis=-1))
    return float(spread[-1] / spread[0]) if spread[0] > 0 else 0.0
