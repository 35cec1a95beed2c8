"""Geolocation arrays: the place on the ground of every pixel of an image, or of every n-th."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy  # its parts are loaded when they are used: a first call needs few
from scipy import ndimage

from xcoreg.core import Floats, monomials
from xcoreg.errors import OptionError
from xcoreg.georef.crs import as_crs, longitude_period, transform_points
from xcoreg.georef.ground import centred_plane

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from pyproj import CRS


_PAD = 8  # nodes beyond the array, or the boundary of the spline would be felt inside
_LEAST_KNOWN = 0.1  # of the nodes
_STARTS = 40_000  # nodes among which the search of a position starts, about
_STEPS, _TOLERANCE = 30, 1e-7  # of the search, nodes
_FARTHEST = 1.1e7  # m from the middle of the image in its plane: 120 degrees


@dataclass(frozen=True, eq=False)
class GeolocationGround:
    """An image whose pixels, or every n-th of them, have coordinates of their own: lon(y, x) and lat(y, x).

    Between the nodes of the arrays a cubic spline is interpolated, in a plane without poles and antimeridian.

    Parameters
    ----------
    x, y : (n, m) float
        Ground coordinates of the nodes, rows first; NaN (or no latitude at all) where they are unknown.
    crs : CRS in any spelling
        Of x and y; default longitude and latitude.
    first : (float, float)
        Column and row of the first node; an integer is the centre of a pixel.
    step : (float, float)
        Columns and rows from node to node.

    Raises
    ------
    OptionError
        When the arrays do not fit each other, are mostly unknown, or fold over themselves, as scans of a whisk-broom
        scanner do that overlap (bow tie).

    Examples
    --------
    >>> lon, lat = np.meshgrid(179.0 + 0.5 * np.arange(5), 60.0 - 0.5 * np.arange(4))
    >>> ground = GeolocationGround((lon + 180) % 360 - 180, lat)
    >>> [round(float(value), 6) for value in ground.to_pixel(-179.25, 59.25)]
    [3.5, 1.5]
    """

    x: Floats
    y: Floats
    crs: CRS | None = None
    first: tuple[float, float] = (0.0, 0.0)
    step: tuple[float, float] = (1.0, 1.0)
    model: ClassVar[str] = "geolocation arrays"

    def __post_init__(self) -> None:
        """Check the arrays."""
        object.__setattr__(self, "crs", as_crs("EPSG:4326" if self.crs is None else self.crs))
        for name in ("x", "y"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        if self.x.ndim != 2 or self.x.shape != self.y.shape or min(self.x.shape) < 2:
            raise OptionError(
                f"geolocation arrays are two of one shape (rows, columns), not {self.x.shape}, {self.y.shape}"
            )
        share = float(self._known.mean())
        if share < _LEAST_KNOWN:
            raise OptionError(
                f"{share:.0%} of the geolocation arrays are known, too few: fill them, or use control points"
            )
        self._check_folds()

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        digest = hashlib.sha1(self.x.tobytes() + self.y.tobytes(), usedforsecurity=False).hexdigest()
        return ("xcoreg.GeolocationGround", digest, self.x.shape, as_crs(self.crs).to_wkt(), self.first, self.step)

    @cached_property
    def _known(self) -> NDArray[np.bool_]:
        known = np.isfinite(self.x) & np.isfinite(self.y)
        period = longitude_period(self.crs)
        if period is not None:  # markers such as -999 are no coordinates
            with np.errstate(invalid="ignore"):
                known &= (np.abs(self.y) <= period / 4) & (np.abs(self.x) <= 1.5 * period)
        return known

    @cached_property
    def _plane(self) -> CRS:
        """CRS in which positions are interpolated."""
        crs = as_crs(self.crs)
        if not crs.is_geographic:
            return crs
        some = np.flatnonzero(self._known)
        some = some[:: max(some.size // _STARTS, 1)]
        return centred_plane(*transform_points(crs, "EPSG:4326", self.x.ravel()[some], self.y.ravel()[some]))

    @cached_property
    def _planar(self) -> Floats:
        """Nodes in the plane, (2, n, m); unknown ones are extrapolated."""
        known = self._known
        planar = np.full((2, *known.shape), np.nan)
        planar[:, known] = transform_points(self.crs, self._plane, self.x[known], self.y[known])
        if as_crs(self.crs).is_geographic and not np.hypot(*planar[:, known]).max() <= _FARTHEST:
            raise OptionError("the geolocation arrays reach around the Earth: cut the image, or set fill values to NaN")
        return planar if known.all() else _extrapolated(planar, known)

    def _check_folds(self) -> None:
        """Refuse arrays in which neighbours have changed places."""
        (xr, yr), (xd, yd) = np.diff(self._planar, axis=2), np.diff(self._planar, axis=1)
        # both triangles of every cell of known nodes
        first, last = xr[:-1] * yd[:, :-1] - yr[:-1] * xd[:, :-1], xr[1:] * yd[:, 1:] - yr[1:] * xd[:, 1:]
        cells = np.logical_and.reduce(
            [self._known[i : i - 1 or None, j : j - 1 or None] for i in (0, 1) for j in (0, 1)]
        )
        sense = np.sign(np.sign(first[cells]).sum() + np.sign(last[cells]).sum())
        folded = cells & ((first * sense <= 0) | (last * sense <= 0))
        if not cells.any() or folded.any():
            row, col = np.argwhere(folded)[0] if cells.any() else (0, 0)
            share = np.mean(folded[cells]) if cells.any() else 1.0
            raise OptionError(
                f"the geolocation arrays fold over themselves in {share:.2%} of the cells, first at row {row}, column "
                f"{col}: scans overlap (bow tie), rows are repeated, or fill values are not marked; resample the swath "
                "first, or leave these rows out, da.isel(...)"
            )

    @cached_property
    def _coefs(self) -> list[Floats]:
        """Of the splines of both coordinates; beyond the array it is mirrored at its outer nodes."""
        grown = _grown(_grown(self._planar, 1), 2) if self._rim else self._planar
        wide = (np.pad(axis, _PAD, mode="reflect", reflect_type="odd") for axis in grown)
        return [ndimage.spline_filter(axis) for axis in wide]

    @property
    def _rim(self) -> int:
        """Nodes added around wide meshed arrays, beyond which the image may reach by a good part of a mesh."""
        return int(max(self.step) > 1 and min(self.x.shape) > 2)

    def _at(self, at: Floats) -> tuple[Floats, Floats]:
        """Place in the plane (2, k) of nodes (col, row) (2, k), and its slopes (2, 2, k); linear beyond the array."""
        last = np.array(self.x.shape[::-1], np.float64)[:, None] - 1
        inside = np.clip(at, -self._rim, last + self._rim)
        slopes = np.stack(
            [self._spline(inside + s) - self._spline(inside - s) for s in np.eye(2)[:, :, None] / 2], axis=1
        )
        return self._spline(inside) + np.einsum("ijk,jk->ik", slopes, at - inside), slopes

    def _spline(self, at: Floats) -> Floats:
        where = at[::-1] + (_PAD + self._rim)
        return np.stack([ndimage.map_coordinates(coefs, where, order=3, prefilter=False) for coefs in self._coefs])

    def _unknown(self, at: Floats) -> NDArray[np.bool_]:
        """Whether the nearest node is unknown."""
        col, row = (
            np.clip(np.rint(axis), 0, n - 1).astype(np.intp) for axis, n in zip(at, self.x.shape[::-1], strict=True)
        )
        unknown: NDArray[np.bool_] = ~self._known[row, col]
        return unknown

    def to_map(self, col: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats]:
        """Ground coordinates of pixel positions; an integer is the centre of a pixel. NaN where unknown."""
        cols, rows = np.broadcast_arrays(np.asarray(col, np.float64), np.asarray(row, np.float64))
        at = np.stack([(cols.ravel() - self.first[0]) / self.step[0], (rows.ravel() - self.first[1]) / self.step[1]])
        u, v = self._at(at)[0]
        x, y = transform_points(self._plane, self.crs, u, v, near=self._middle)
        lost = self._unknown(at)
        x[lost], y[lost] = np.nan, np.nan
        return x.reshape(cols.shape), y.reshape(cols.shape)

    @cached_property
    def _middle(self) -> float:
        """X of the middle of the plane: longitudes are wrapped to the turn around it."""
        return float(transform_points(self._plane, self.crs, 0.0, 0.0)[0])

    def to_pixel(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Pixel positions of ground coordinates; NaN where there is none, or the nearest node is unknown."""
        xs, ys = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        wanted = np.stack(transform_points(self.crs, self._plane, xs.ravel(), ys.ravel()))
        found = np.full(wanted.shape, np.nan)
        known = np.flatnonzero(np.isfinite(wanted).all(axis=0))
        if known.size:
            found[:, known] = self._search(wanted[:, known])
        col, row = found[0] * self.step[0] + self.first[0], found[1] * self.step[1] + self.first[1]
        return col.reshape(xs.shape), row.reshape(xs.shape)

    def _search(self, wanted: Floats) -> Floats:
        """Nodes (col, row) of positions in the plane, by Newton steps from the nearest node."""
        tree, starts = self._starts
        at = starts[:, tree.query(wanted.T)[1]].astype(np.float64)
        moving, done = np.arange(at.shape[1]), np.zeros(at.shape[1], bool)
        for _ in range(_STEPS):
            here, ((a, b), (c, d)) = self._at(at[:, moving])
            dx, dy = wanted[:, moving] - here
            with np.errstate(all="ignore"):
                step = np.stack([d * dx - b * dy, a * dy - c * dx]) / (a * d - b * c)
            at[:, moving] += step
            near = np.abs(step).max(axis=0) < _TOLERANCE
            done[moving[near]] = True
            moving = moving[~near & np.isfinite(step).all(axis=0)]
            if not moving.size:
                break
        at[:, ~done] = np.nan
        known = np.flatnonzero(done)
        at[:, known[self._unknown(at[:, known])]] = np.nan
        return at

    @cached_property
    def _starts(self) -> tuple[scipy.spatial.cKDTree, NDArray[np.intp]]:
        """Known nodes where searches start: a tree of their places, and their columns and rows (2, k)."""
        row, col = np.nonzero(self._known)
        apart = int(np.ceil(np.sqrt(row.size / _STARTS)))
        at = np.stack([col, row])[:, (row % apart == 0) & (col % apart == 0)]
        return scipy.spatial.cKDTree(self._planar[:, at[1], at[0]].T), at


def _grown(planar: Floats, axis: int) -> Floats:
    """Add a node at either end of an axis, by the parabola through the last three."""
    nodes = np.moveaxis(planar, axis, 0)
    before, after = 3 * nodes[0] - 3 * nodes[1] + nodes[2], 3 * nodes[-1] - 3 * nodes[-2] + nodes[-3]
    return np.moveaxis(np.concatenate([before[None], nodes, after[None]]), 0, axis)


def _extrapolated(planar: Floats, known: NDArray[np.bool_]) -> Floats:
    """Fill unknown nodes: a cubic through the known ones, plus what it misses at the nearest of them."""
    row, col = np.indices(known.shape)
    u, v = 2 * col / known.shape[1] - 1, 2 * row / known.shape[0] - 1
    some = np.flatnonzero(known)[:: max(int(known.sum()) // _STARTS, 1)]
    coefs = np.linalg.lstsq(
        monomials(u.ravel()[some], v.ravel()[some], 3), planar.reshape(2, -1)[:, some].T, rcond=None
    )[0]
    cubic = np.moveaxis(monomials(u, v, 3) @ coefs, -1, 0)
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    left = planar - cubic
    return np.where(known, planar, cubic + left[:, nearest[0], nearest[1]])
