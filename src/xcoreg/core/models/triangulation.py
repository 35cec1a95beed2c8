"""Piecewise linear models: a Delaunay triangulation through the tie points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import scipy  # its parts are loaded when they are used: a first call needs few
from numpy.typing import ArrayLike

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.models.base import Degenerate, FitResult, FittedModel, Pairs, broadcast, to_tuples
from xcoreg.core.models.leastsq import FitPoints, ResidualCov, calibrate, folds_of, half_planes, iterate_scatter
from xcoreg.core.models.polynomial import detrend
from xcoreg.core.models.smoothing import neighbour_scatter

_CHUNK = 1 << 14  # positions at a time: temporary arrays stay in the processor's cache


@dataclass(frozen=True)
class Location:
    """Positions in a triangulation: corners (n, 3) of the triangle around each, and barycentric coordinates (n, 3).

    beyond : (n,) float64; distance to the mesh; a position outside is replaced by the nearest one on the outline.
    """

    corners: Ints
    shares: Floats
    beyond: Floats


@dataclass(frozen=True)
class Mesh:
    """Triangles (m, 3) of positions (n,) with a list of triangles for each cell of a grid; see :func:`make_mesh`.

    outline : Convex hull, counterclockwise.
    edges : (m, 2, 2) float64; matrices from a position relative to the third corner to shares of the first two.
    low, size, cells : Lower corner of the grid, size and number of its cells, along x and y.
    first, near : Index in `near` at which the triangles of each cell start, and the triangles.
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

    def locate(self, x: Floats, y: Floats) -> Location:
        """Find the triangles around positions (n,), all finite."""
        parts = [self._locate(x[i : i + _CHUNK], y[i : i + _CHUNK]) for i in range(0, max(len(x), 1), _CHUNK)]
        return Location(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _locate(self, x: Floats, y: Floats) -> tuple[Ints, Floats, Floats]:
        x, y, beyond = self._nearest_inside(x, y)
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

    def _nearest_inside(self, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Replace positions outside by the nearest ones on the outline; distance to these."""
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
    """Delaunay triangulation."""
    triangles = scipy.spatial.Delaunay(np.column_stack([x - x.mean(), y - y.mean()])).simplices.astype(np.intp)
    return np.asarray(triangles[np.lexsort(np.sort(triangles, axis=1).T[::-1])])


def make_mesh(x: Floats, y: Floats, triangles: Ints) -> Mesh:
    """Index a triangulation: x, y (n,) float64; triangles (m, 3) int."""
    middle = np.array([x.mean(), y.mean()])
    hull = scipy.spatial.ConvexHull(np.column_stack([x, y]) - middle).vertices
    first, second, third = (np.stack([x[corner], y[corner]], 1) for corner in triangles.T)
    sides = np.stack([first - third, second - third], 2)
    flat = np.abs(np.linalg.det(sides)) <= 1e-12 * (sides**2).sum((1, 2))
    triangles, sides = triangles[~flat], sides[~flat]
    if not len(triangles):
        raise scipy.spatial.QhullError("the triangles have no area")
    low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()])
    along = max(int(np.sqrt(len(triangles))), 1)
    size = np.maximum(high - low, 1e-300) / along
    first_of, near = _table(x, y, triangles, low, size, along)
    outline = np.column_stack([x[hull], y[hull]])
    return Mesh(x, y, triangles, outline, np.linalg.inv(sides), low, size, (along, along), first_of, near)


def _table(x: Floats, y: Floats, triangles: Ints, low: Floats, size: Floats, along: int) -> tuple[Ints, Ints]:
    """Triangles whose bounding box touches each cell of a grid."""
    spans: list[Ints] = []
    for values, start, step in ((x, low[0], size[0]), (y, low[1], size[1])):
        ends = (values[triangles].min(1), values[triangles].max(1))
        # Slightly wider: round-off must not put a position outside the cells of its triangle.
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


@dataclass(frozen=True, eq=False, repr=False)
class Piecewise(FittedModel):
    """Delaunay triangles; make one with :func:`xcoreg.core.models.fit_model`.

    Outside the triangles the deviation from the trend is that of the nearest point of their outline.

    centre, corners : Map position (2,) of the origin, and tie points (m, 2) relative to it, CRS units.
    triangles : (t, 3) int; indices of corners.
    plane : (3, k) float64; trend: its value at the centre and its slopes along x and y.
    values, covs : (m, k), (m, 3) float64; corrections minus the trend, CRS units, and their covariances (xx, xy, yy).
    roughness : (3,) float64; covariance of the interpolation error, per squared distance to the corners.
    sharp : Exponent of the barycentric coordinates: 1 is linear, larger ones make transitions shorter, as at seams.

    Examples
    --------
    >>> from xcoreg.core.models.fit import fit_model
    >>> x, y = (p.ravel() for p in np.meshgrid(np.arange(0.0, 500.0, 100.0), np.arange(0.0, 500.0, 100.0)))
    >>> model = fit_model("piecewise", x, y, np.abs(x - 200), 0.01 * x)
    >>> dx, dy = model.predict([150.0, 350.0, np.nan], 25.0)
    >>> dx.round(6).tolist(), dy.round(6).tolist()
    ([50.0, 150.0, nan], [1.5, 3.5, nan])
    """

    kind = "piecewise"
    arrays: ClassVar[dict[str, type]] = {
        **dict.fromkeys(("hull", "centre", "corners", "plane", "values", "covs", "roughness"), np.float64),
        "triangles": np.intp,
    }

    centre: Floats
    corners: Floats
    triangles: Any
    plane: Floats
    values: Floats
    covs: Floats
    roughness: Floats
    sharp: float = 1.0

    _mesh: ClassVar[Mesh]  # made from the fields in __post_init__

    def __post_init__(self) -> None:
        super().__post_init__()
        x, y = self.corners.T.copy()
        object.__setattr__(self, "_mesh", make_mesh(x, y, self.triangles))

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction at map positions, CRS units; NaN where a position is not finite."""
        u, v, known = self._local(x, y)
        place = self._mesh.locate(u, v)
        shares = self._shares(place)
        out = np.full((2, known.size), np.nan)
        for c, (level, slope_x, slope_y) in enumerate(self.plane.T[:2]):
            above_trend = (self.values[place.corners[:, i], c] * shares[:, i] for i in range(3))
            out[c, known.ravel()] = level + slope_x * u + slope_y * v + sum(above_trend)
        return out[0].reshape(known.shape), out[1].reshape(known.shape)

    def _own_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of the correction at map positions: of the corners, and of the interpolation error."""
        u, v, known = self._local(x, y)
        place = self._mesh.locate(u, v)
        reach, shares = mean_squared_reach(self._mesh, place, u, v), self._shares(place)
        out = np.full((known.size, 2, 2), np.nan)
        for part, a, b in ((0, 0, 0), (1, 0, 1), (2, 1, 1)):
            own = sum(self.covs[place.corners[:, i], part] * shares[:, i] ** 2 for i in range(3))
            out[known.ravel(), a, b] = out[known.ravel(), b, a] = own + self.roughness[part] * reach
        return out.reshape(*known.shape, 2, 2)

    def _shares(self, place: Location) -> Floats:
        if self.sharp == 1.0:
            return place.shares
        power = np.maximum(place.shares, 0.0) ** self.sharp
        return np.asarray(power / (power[:, :1] + power[:, 1:2] + power[:, 2:]))

    def _local(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats, Bools]:
        x, y = broadcast(x, y)
        known = np.isfinite(x) & np.isfinite(y)
        return x[known] - self.centre[0], y[known] - self.centre[1], known

    def _summary(self) -> dict[str, Any]:
        return {**super()._summary(), "triangles": len(self.triangles)}


def mean_squared_reach(mesh: Mesh, place: Location, x: Floats, y: Floats) -> Floats:
    """Mean squared distance of positions to the corners of their triangle, weighted by shares."""
    out = np.zeros(x.shape)
    for i in range(3):
        corner = place.corners[:, i]
        out += place.shares[:, i] * ((mesh.x[corner] - x) ** 2 + (mesh.y[corner] - y) ** 2)
    return out


_FEWEST = 6


def fit_piecewise(points: FitPoints, folds: int = 10) -> FitResult:
    """Fit a triangulation through the tie points that agree with their neighbours."""
    plane, detrended = detrend(points)
    first = np.unique(np.column_stack([points.u, points.v]), axis=0, return_index=True)[1]
    used = np.asarray((neighbour_scatter(detrended)[1] > 0) & np.isin(np.arange(len(points)), first))
    if used.sum() < _FEWEST:
        raise Degenerate(f"{int(used.sum())} positions are too few for piecewise: it needs {_FEWEST}", _FEWEST)
    try:
        corners = detrended.subset(used)
        triangles = triangulate(corners.u, corners.v)
        slopes = _median_slopes(corners, triangles)
        plane = plane + np.vstack([np.zeros(plane.shape[1]), slopes])
        detrended = replace(detrended, values=detrended.values - np.column_stack([detrended.u, detrended.v]) @ slopes)
        corners, moved = _with_outline(detrended.subset(used))
        triangles = triangulate(corners.u, corners.v)
        residual, own, reach = _cross_validate(detrended, used, folds)
    except scipy.spatial.QhullError as error:
        raise Degenerate(f"the {len(points)} tie points are too clustered for piecewise", _FEWEST) from error
    rough, weights = _roughness(residual, points.covs + own, reach)
    spread = own + reach[:, None, None] * rough
    factor, scatter = calibrate(residual, ResidualCov(spread, points.covs, np.zeros_like(rough)), weights, 3)
    rough = factor * rough
    corners = replace(corners, covs=corners.covs + moved[:, None, None] * rough)
    model = _model(points, corners, triangles, plane, rough, to_tuples(scatter[:2, :2] * points.unit**2))
    return FitResult(model, residual, factor * spread + points.covs + scatter, float(used.sum()))


def _median_slopes(corners: FitPoints, triangles: Ints) -> Floats:
    """Slopes (2, k) of half of the triangles' area: a fault, which few triangles cross, does not tilt the trend."""
    third = triangles[:, 2]
    sides, rises = (
        np.stack([part[triangles[:, i]] - part[third] for i in (0, 1)], 1)
        for part in (np.column_stack([corners.u, corners.v]), corners.values)
    )
    area = np.abs(np.linalg.det(sides))
    solid = area > 1e-9 * area.max()
    slopes, area = np.linalg.solve(sides[solid], rises[solid]), area[solid]
    order = np.argsort(slopes, axis=0)
    passed = np.cumsum(area[order], axis=0) >= area.sum() / 2
    return np.asarray(np.take_along_axis(np.take_along_axis(slopes, order, 0), passed.argmax(0)[None], 0)[0])


_NEAR_OUTLINE = 0.5  # spacings


def _with_outline(points: FitPoints) -> tuple[FitPoints, Floats]:
    """Put points that are close to the convex hull on it, too: triangles along it are long and reach across faults.

    -> points, and the squared distance of each from where it was measured.
    """
    at = np.column_stack([points.u, points.v])
    hull = scipy.spatial.ConvexHull(at)
    normals, first, second = hull.equations[:, :2], at[hull.simplices[:, 0]], at[hull.simplices[:, 1]]
    depth = -(at @ normals.T + hull.equations[:, 2])
    edges = second - first
    along = ((at[:, None] - first) * edges).sum(2) / (edges**2).sum(1)
    near = (depth > 1e-6 * points.spacing) & (depth < _NEAR_OUTLINE * points.spacing) & (along > 0) & (along < 1)
    index, edge = np.nonzero(near)
    more, foot = points.subset(index), at[index] + depth[near][:, None] * normals[edge]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(points, name), getattr(more, name)]) for name in ("values", "covs", "rows")
    }
    moved = np.append(np.zeros(len(points)), depth[near] ** 2)
    columns |= {"u": np.append(points.u, foot[:, 0]), "v": np.append(points.v, foot[:, 1])}
    return replace(points, **columns), moved


def _cross_validate(points: FitPoints, used: Bools, folds: int) -> tuple[Floats, Floats, Floats]:
    """Residuals at check points, covariance of the prediction from the corners, and squared distance to them."""
    residual, own, reach = np.zeros_like(points.values), np.zeros_like(points.covs), np.zeros(len(points))
    fold_of = folds_of(points, folds)
    for fold in range(int(fold_of.max()) + 1):
        out, corners = fold_of == fold, points.subset(used & (fold_of != fold))
        corners, moved = _with_outline(corners)
        mesh = make_mesh(corners.u, corners.v, triangulate(corners.u, corners.v))
        residual[out], own[out], reach[out] = _at(mesh, corners, moved, points.subset(out))
    return residual, own, reach


def _at(mesh: Mesh, corners: FitPoints, moved: Floats, points: FitPoints) -> tuple[Floats, Floats, Floats]:
    place = mesh.locate(points.u, points.v)
    fit = np.einsum("nik,ni->nk", corners.values[place.corners], place.shares)
    own = np.einsum("niab,ni->nab", corners.covs[place.corners], place.shares**2)
    reach = mean_squared_reach(mesh, place, points.u, points.v) + (moved[place.corners] * place.shares).sum(1)
    return points.values - fit, own, reach


def _roughness(residual: Floats, covs: Floats, reach: Floats) -> tuple[Floats, Floats]:
    """Covariance per squared distance to the corners from cross-validated residuals, and robust weights."""
    reach = np.maximum(reach, 1e-6 * np.median(reach))
    unit, wide = residual / np.sqrt(reach)[:, None], covs / reach[:, None, None]
    return iterate_scatter(unit, wide, np.diag(np.median(unit**2, axis=0)))


def _model(
    points: FitPoints, corners: FitPoints, triangles: Ints, plane: Floats, rough: Floats, scatter: Pairs
) -> Piecewise:
    square, second = points.unit**2, min(plane.shape[1] - 1, 1)  # a single quantity is used for both components
    three = [0, 0, second], [0, second, second]
    return Piecewise(
        n=len(points),
        scatter=scatter,
        spacing=points.spacing * points.scale,
        hull=half_planes(points.x, points.y),
        centre=np.array(points.centre),
        corners=np.column_stack([corners.u, corners.v]) * points.scale,
        triangles=triangles,
        plane=plane[:, [0, second]] * points.unit / np.array([1, points.scale, points.scale])[:, None],
        values=corners.values[:, [0, second]] * points.unit,
        covs=corners.covs[:, *three] * square,
        roughness=rough[*three] * square / points.scale**2,
    )
