"""A triangulation, and where positions lie in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import ConvexHull, Delaunay, QhullError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.core.models.base import Floats

    Ints = NDArray[np.intp]

__all__ = ["Mesh", "Place", "make_mesh", "triangulate"]

_CHUNK = 1 << 14  # positions at a time: what is worked on stays in the cache


@dataclass(frozen=True)
class Place:
    """Where positions lie: a triangle's corners and their shares.

    Parameters
    ----------
    corners : (n, 3) int
    shares : (n, 3) float64
        Of the corners; they sum to 1 and none is negative.
    beyond : (n,) float64
        Distance to the mesh; a position outside counts for the nearest one inside.
    """

    corners: Ints
    shares: Floats
    beyond: Floats


@dataclass(frozen=True)
class Mesh:
    """A triangulation with a table of the triangles near each cell of a grid; make it with :func:`make_mesh`.

    Parameters
    ----------
    x, y : (n,) float64
    triangles : (m, 3) int
    outline : (corners, 2) float64
        Convex hull, counterclockwise.
    edges : (m, 2, 2) float64
        From a position relative to its third corner to the shares of the first two.
    low, size : (2,) float64
        Lower corner of the grid, size of its cells along x and y.
    cells : (int, int)
        Along x and y.
    first : (cells + 1,) int
        Where the triangles of each cell start in `near`.
    near : int array
    """

    x: Floats
    y: Floats
    triangles: Ints
    outline: Floats
    edges: Floats
    low: Floats
    size: Floats
    cells: tuple[int, int]
    first: Ints
    near: Ints

    def locate(self, x: Floats, y: Floats) -> Place:
        """Find positions (n,), all finite; the outcome for one does not depend on the others."""
        parts = [self._locate(x[i : i + _CHUNK], y[i : i + _CHUNK]) for i in range(0, max(len(x), 1), _CHUNK)]
        return Place(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _locate(self, x: Floats, y: Floats) -> tuple[Ints, Floats, Floats]:
        x, y, beyond = self._pull_in(x, y)
        cell = self._cell(x, 0) * self.cells[1] + self._cell(y, 1)
        start, count = self.first[cell], self.first[cell + 1] - self.first[cell]
        best, least = np.zeros(x.shape, np.intp), np.full(x.shape, -np.inf)
        shares = np.zeros((len(x), 3))
        for i in range(int(count.max(initial=0))):
            open_ = np.flatnonzero((least < 0) & (count > i))
            if not open_.size:
                break
            triangle = self.near[start[open_] + i]
            found = self._shares(triangle, x[open_], y[open_])
            worst = found.min(1)
            better = worst > least[open_]
            chosen = open_[better]
            best[chosen], least[chosen], shares[chosen] = triangle[better], worst[better], found[better]
        shares = np.maximum(shares, 0)
        return self.triangles[best], shares / (shares[:, :1] + shares[:, 1:2] + shares[:, 2:]), beyond

    def _cell(self, at: Floats, axis: int) -> Ints:
        cell = np.floor((at - self.low[axis]) / self.size[axis])
        return np.asarray(np.clip(cell, 0, self.cells[axis] - 1).astype(np.intp))

    def _shares(self, triangle: Ints, x: Floats, y: Floats) -> Floats:
        third, edges = self.triangles[triangle, 2], self.edges[triangle]
        dx, dy = x - self.x[third], y - self.y[third]
        a = edges[:, 0, 0] * dx + edges[:, 0, 1] * dy
        b = edges[:, 1, 0] * dx + edges[:, 1, 1] * dy
        return np.stack([a, b, 1 - a - b], 1)

    def _pull_in(self, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Replace positions outside by the nearest ones of the outline, and tell how far those are."""
        ends = np.roll(self.outline, -1, axis=0)
        outside = np.zeros(x.shape, bool)
        for (ax, ay), (bx, by) in zip(self.outline, ends, strict=True):
            outside |= (bx - ax) * (y - ay) - (by - ay) * (x - ax) < 0
        at = np.flatnonzero(outside)
        if not at.size:
            return x, y, np.zeros(x.shape)
        px, py = x[at], y[at]
        near_x, near_y, best = px, py, np.full(at.shape, np.inf)
        for (ax, ay), (bx, by) in zip(self.outline, ends, strict=True):
            ex, ey = bx - ax, by - ay
            along = np.clip(((px - ax) * ex + (py - ay) * ey) / (ex * ex + ey * ey), 0, 1)
            qx, qy = ax + along * ex, ay + along * ey
            far = (px - qx) ** 2 + (py - qy) ** 2
            near_x, near_y = np.where(far < best, qx, near_x), np.where(far < best, qy, near_y)
            best = np.minimum(far, best)
        x, y, beyond = x.copy(), y.copy(), np.zeros(x.shape)
        x[at], y[at], beyond[at] = near_x, near_y, np.sqrt(best)
        return x, y, beyond


def triangulate(x: Floats, y: Floats) -> Ints:
    """Delaunay triangulation.

    Raises
    ------
    scipy.spatial.QhullError
        When the points span no area.

    Examples
    --------
    >>> len(triangulate(np.array([0.0, 1.0, 0.0, 1.1]), np.array([0.0, 0.0, 1.0, 1.0])))
    2
    """
    places = np.column_stack([x - x.mean(), y - y.mean()])
    triangles = Delaunay(places).simplices.astype(np.intp)
    return np.asarray(triangles[np.lexsort(np.sort(triangles, axis=1).T[::-1])])


def make_mesh(x: Floats, y: Floats, triangles: Ints) -> Mesh:
    """Prepare a triangulation for finding positions in it.

    Parameters
    ----------
    x, y : (n,) float64
        Corners.
    triangles : (m, 3) int

    Returns
    -------
    Mesh

    Examples
    --------
    >>> x, y = np.array([0.0, 2.0, 0.0]), np.array([0.0, 0.0, 2.0])
    >>> place = make_mesh(x, y, np.array([[0, 1, 2]])).locate(np.array([1.0, 4.0]), np.array([0.0, 0.0]))
    >>> place.shares.tolist(), place.beyond.tolist()
    ([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]], [0.0, 2.0])
    """
    middle = np.array([x.mean(), y.mean()])
    hull = ConvexHull(np.column_stack([x, y]) - middle).vertices
    first, second, third = (np.stack([x[corner], y[corner]], 1) for corner in triangles.T)
    sides = np.stack([first - third, second - third], 2)
    flat = np.abs(np.linalg.det(sides)) <= 1e-12 * (sides**2).sum((1, 2))
    triangles, sides = triangles[~flat], sides[~flat]
    if not len(triangles):
        raise QhullError("the triangles have no area")
    low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()])
    along = max(int(np.sqrt(len(triangles))), 1)
    size = np.maximum(high - low, 1e-300) / along
    first_of, near = _table(x, y, triangles, low, size, along)
    outline = np.column_stack([x[hull], y[hull]])
    return Mesh(x, y, triangles, outline, np.linalg.inv(sides), low, size, (along, along), first_of, near)


def _table(x: Floats, y: Floats, triangles: Ints, low: Floats, size: Floats, along: int) -> tuple[Ints, Ints]:
    """List, for each cell of a grid, the triangles whose box touches it."""
    spans: list[Ints] = []
    for values, start, step in ((x, low[0], size[0]), (y, low[1], size[1])):
        ends = (values[triangles].min(1), values[triangles].max(1))
        # A hair wider: round-off must not put a position beside the cells of its triangle.
        for end, hair in zip(ends, (-1e-6, 1e-6), strict=True):
            spans.append(np.clip(np.floor((end - start) / step + hair), 0, along - 1).astype(np.intp))
    x0, x1, y0, y1 = spans
    tall = y1 - y0 + 1
    count = (x1 - x0 + 1) * tall
    which = np.repeat(np.arange(len(triangles)), count)
    inside = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    cell = (x0[which] + inside // tall[which]) * along + y0[which] + inside % tall[which]
    order = np.argsort(cell, kind="stable")
    first = np.searchsorted(cell[order], np.arange(along * along + 1))
    return np.asarray(first, np.intp), which[order]
