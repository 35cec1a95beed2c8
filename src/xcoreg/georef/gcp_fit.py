"""A map between an image and the ground fitted to control points: both ways, with residuals and covariances."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its parts are loaded when they are used: a first call needs few
from affine import Affine

from xcoreg.core import Floats, Ints
from xcoreg.errors import OptionError
from xcoreg.georef.crs import wrap_longitude
from xcoreg.georef.surfaces import Homography, Polynomial, Scale, first_guess, homography_terms, solve
from xcoreg.georef.transform import vector_to_pixel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from pyproj import CRS

    from xcoreg.georef.gcps import GCPs
    from xcoreg.georef.surfaces import Surface


_TOLERANCE = 1e-7  # px, of the last step of the inverse


@dataclass(frozen=True, eq=False)
class Residuals:
    """Residuals of control points: observed minus predicted.

    Parameters
    ----------
    dx, dy : (n,) float
        On the ground, CRS units; NaN where unknown.
    dcol, drow : (n,) float
        The same in the image, px.
    used : (n,) bool
        Points that count in the root mean squares.

    Examples
    --------
    >>> two = np.array([3.0, -3.0])
    >>> Residuals(two, two * 0, two / 10, two * 0, np.array([True, True])).rmse_x
    3.0
    """

    dx: Floats
    dy: Floats
    dcol: Floats
    drow: Floats
    used: NDArray[np.bool_]

    @property
    def rmse_x(self) -> float:
        """Root mean square along x, CRS units."""
        return _rms(self.dx[self.used])

    @property
    def rmse_y(self) -> float:
        """Root mean square along y, CRS units."""
        return _rms(self.dy[self.used])

    @property
    def rmse_r(self) -> float:
        """Radial root mean square, CRS units."""
        return float(np.hypot(self.rmse_x, self.rmse_y))

    @property
    def rmse_px(self) -> float:
        """Radial root mean square in the image, px."""
        return float(np.hypot(_rms(self.dcol[self.used]), _rms(self.drow[self.used])))


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values * values))) if values.size else float("nan")


@dataclass(frozen=True, eq=False, repr=False)
class GCPFit:
    """A map between an image and the ground fitted to control points; made by :func:`xcoreg.georef.fit_gcps`.

    Parameters
    ----------
    model : str
        "affine", "polynomial", "homography" or "tps".
    order : int or None
        Of the polynomial.
    gcps : GCPs
        The points; their longitudes do not jump (:meth:`GCPs.continuous`).
    surface, scale
        The map in scaled coordinates.
    weights : (n,) float
        Of the points: as given, times the robust weights.
    residuals, left_out : Residuals
        Against the fit, and of every point against the fit to all others.
    normal : (p, p) float or None
        Inverse normal matrix of the parameters in scaled coordinates; None for a spline.

    Examples
    --------
    >>> from xcoreg.georef import fit_gcps
    >>> from xcoreg.georef.gcps import GCPs
    >>> gcps = GCPs([0, 100, 0, 100], [0, 0, 50, 50], [5, 1005, 5, 1005], [-5, -5, -505, -505], crs=32633)
    >>> fit = fit_gcps(gcps, "affine")
    >>> x, y = fit.to_map(10, 0)
    >>> round(float(x), 9), round(float(y), 9)
    (105.0, -5.0)
    """

    model: str
    order: int | None
    gcps: GCPs
    surface: Surface
    scale: Scale
    weights: Floats
    residuals: Residuals
    left_out: Residuals
    normal: Floats | None = None

    def __repr__(self) -> str:
        name = f"polynomial of order {self.order}" if self.model == "polynomial" else self.model
        return (
            f"GCPFit({name}, {len(self.gcps)} points, rmse {self.residuals.rmse_px:.3g} px, "
            f"left out {self.left_out.rmse_px:.3g} px)"
        )

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        crs = None if self.crs is None else self.crs.to_wkt()
        columns = (self.gcps.col, self.gcps.row, self.gcps.x, self.gcps.y, self.weights)
        return ("xcoreg.GCPFit", self.model, self.order, crs, *(column.tobytes() for column in columns))

    @property
    def crs(self) -> CRS | None:
        """Of the ground."""
        return self.gcps.crs

    @property
    def transform(self) -> Affine:
        """The affine from pixel corners to the ground, of an affine fit.

        Raises
        ------
        OptionError
            For any other model.
        """
        if not isinstance(self.surface, Polynomial) or self.surface.order != 1:
            raise OptionError(f"a fit of model {self.model!r} has no affine transform: fit_gcps(gcps, model='affine')")
        (_, by_u, by_v), scale = self.surface.coefs, self.scale
        a, d = by_u[0] * scale.x[1] / scale.col[1], by_u[1] * scale.y[1] / scale.col[1]
        b, e = by_v[0] * scale.x[1] / scale.row[1], by_v[1] * scale.y[1] / scale.row[1]
        x, y = self.to_map(-0.5, -0.5)
        return Affine(float(a), float(b), float(x), float(d), float(e), float(y))

    def to_map(self, col: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats]:
        """Ground coordinates of pixel positions.

        Parameters
        ----------
        col, row : float or array
            Position, px; an integer is the centre of a pixel.

        Returns
        -------
        x, y : float64, the shape of the input
            Units of the CRS; longitudes do not jump at the antimeridian but pass 180 degrees.
        """
        cols, rows = np.broadcast_arrays(np.asarray(col, np.float64), np.asarray(row, np.float64))
        with np.errstate(all="ignore"):  # far outside, powers may overflow
            return self.scale.to_ground(*self.surface.at(*self.scale.to_unit(cols, rows)))

    def to_pixel(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Pixel positions of ground coordinates; the inverse of :meth:`to_map`, to 1e-6 px.

        Parameters
        ----------
        x, y : float or array
            Units of the CRS; longitudes are wrapped.

        Returns
        -------
        col, row : float64, the shape of the input
            Position, px; an integer is the centre of a pixel. NaN where no position is found.
        """
        xs, ys = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        shape = xs.shape
        scaled_x, scaled_y = self.scale.from_ground(wrap_longitude(self.crs, xs, self.scale.x[0]).ravel(), ys.ravel())
        if isinstance(self.surface, Homography):
            u, v = self.surface.inverse().at(scaled_x, scaled_y)
        elif self.order == 1:
            u, v = _plane_back(self.surface, scaled_x, scaled_y)
        else:
            tolerance = _TOLERANCE / max(self.scale.col[1], self.scale.row[1])
            u, v = solve(self.surface, scaled_x, scaled_y, self._guesses, max(tolerance, 1e-13))
        col, row = self.scale.to_pixel(u, v)
        return col.reshape(shape), row.reshape(shape)

    @cached_property
    def _guesses(self) -> tuple[Polynomial, Polynomial]:
        return first_guess(self.surface)

    def linear_at(self, col: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
        """Linear part (a, b, d, e) of the map at pixel positions, CRS units per px.

        Parameters
        ----------
        col, row : float or array

        Returns
        -------
        four float64 arrays
            dx = a dcol + b drow and dy = d dcol + e drow.
        """
        return self.scale.linear(self.surface, *self.scale.to_unit(col, row))

    def cov_at(self, col: ArrayLike, row: ArrayLike) -> Floats:
        """Covariance of the predicted ground coordinates at pixel positions.

        Parameters
        ----------
        col, row : float or array

        Returns
        -------
        (..., 2, 2) float64
            Axes (x, y), CRS units², from the scatter of the residuals, if the model is right. NaN for a spline, and
            where there are no more points than parameters.
        """
        u, v = np.broadcast_arrays(*self.scale.to_unit(np.asarray(col, np.float64), np.asarray(row, np.float64)))
        if self.normal is None:
            return np.full((*u.shape, 2, 2), np.nan)
        scatter = self._scatter()
        if isinstance(self.surface, Polynomial):
            terms = self.surface.terms(u, v)
            spread = np.einsum("...i,ij,...j->...", terms, self.normal, terms)
            return np.asarray(spread[..., None, None] * scatter)
        slopes = _homography_slopes(self.surface, u, v)
        size = np.array([self.scale.x[1], self.scale.y[1]])
        cov = slopes @ self.normal @ np.swapaxes(slopes, -1, -2) * np.outer(size, size)
        return np.asarray(cov * np.trace(scatter) / 2 / size[0] ** 2)

    def _scatter(self) -> Floats:
        """Covariance (2, 2) of an observation of weight one, CRS units²."""
        parameters = 4 if self.normal is None or self.normal.shape[0] == 8 else self.normal.shape[0]
        free = int((self.weights > 0).sum()) - parameters
        if free < 1:
            return np.full((2, 2), np.nan)
        residuals = np.stack([self.residuals.dx, self.residuals.dy], axis=-1)
        return np.asarray(np.einsum("n,ni,nj->ij", self.weights, residuals, residuals) / free)

    def to_dict(self) -> dict[str, Any]:
        """Convert the fit to JSON types, without the points.

        Returns
        -------
        dict
            NaN is None.
        """
        found: dict[str, Any] = {"model": self.model, "order": self.order, "n": len(self.gcps)}
        for name, each in (("rmse", self.residuals), ("left_out_rmse", self.left_out)):
            values = {"x": each.rmse_x, "y": each.rmse_y, "r": each.rmse_r, "px": each.rmse_px}
            found[name] = {key: value if np.isfinite(value) else None for key, value in values.items()}
        found["left_out_by_fit"] = [self.gcps.id[i] for i in np.flatnonzero(self.weights <= 0)]
        return found


_SIDE = 33  # samples along each axis, among the points
_FOLDED = 0.02  # of the samples: less may be the noise of dense points
_FLIPPED, _UNEXPLAINED = 0.05, 0.3  # of the area between points, and of the variance that a plane leaves
_FEW = 12  # points: of more, residuals show which are wrong
_WILD = 10.0  # times the median distance of the points from an affine map
_SINGULAR = 1e-4  # smallest ratio of the scales of a map in two directions, both axes brought to one extent


def find_fold(fit: GCPFit) -> tuple[str, Ints] | None:
    """Find out whether a map folds or is singular among its control points: how, and the rows of points there."""
    used = np.flatnonzero(fit.weights > 0)
    places = np.stack(fit.scale.to_unit(fit.gcps.col[used], fit.gcps.row[used]), axis=-1)
    ground = np.stack(fit.scale.from_ground(fit.gcps.x[used], fit.gcps.y[used]), axis=-1)
    mesh = scipy.spatial.Delaunay((places - places.min(axis=0)) / np.ptp(places, axis=0))
    flipped, areas = _flipped_triangles(mesh.simplices, places, ground)
    folded, at, singular = _sample_slopes(fit, places, mesh, ground)
    contradict = used.size < _FEW and areas[flipped].sum() > _FLIPPED * areas.sum()
    contradict = contradict and _unexplained(places, ground) > _UNEXPLAINED
    near = np.unique(np.append(mesh.simplices[flipped], scipy.spatial.cKDTree(places).query(at[folded])[1]).astype(int))
    missed = _misfits(places, ground)
    wild = folded.any() and (missed[near] > _WILD * np.median(missed)).any()
    if not (singular or contradict or wild or folded.mean() > _FOLDED):
        return None
    if used.size > 5:  # of four or five, any may be wrong
        near = near[missed[near] >= np.max(missed[near], initial=0.0) / 2]
    return "is singular" if singular else "folds over itself", used[near]


def _flipped_triangles(triangles: Ints, places: Floats, ground: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Which triangles of points are turned over, unlike most of the area; areas in the image: (n,)."""
    areas, turned = (np.linalg.det(at[triangles][:, 1:] - at[triangles][:, :1]) for at in (places, ground))
    sense = areas * np.sign(turned) * np.sign(areas)
    areas = np.abs(areas)
    return sense * np.sign(sense @ np.ones(areas.size)) <= 0, areas


def _sample_slopes(fit: GCPFit, places: Floats, mesh: Any, ground: Floats) -> tuple[NDArray[np.bool_], Floats, bool]:
    """Sample slopes among points: where they have another sense or none, positions (n, 2), and if all are singular."""
    low, extent = places.min(axis=0), np.ptp(places, axis=0)
    square = np.stack(np.meshgrid(*2 * [np.linspace(0, 1, _SIDE)]), axis=-1).reshape(-1, 2)
    at = np.concatenate([places, low + extent * square[mesh.find_simplex(square) >= 0]])
    with np.errstate(all="ignore"):
        slopes = np.stack(fit.surface.slopes(*at.T), axis=-1).reshape(-1, 2, 2)
        slopes = slopes * extent / np.ptp(ground, axis=0)[:, None]
        sense = np.sign(np.linalg.det(slopes))
    known = np.isfinite(slopes).all(axis=(1, 2))
    large, small = np.median(np.linalg.svd(slopes[known], compute_uv=False), axis=0) if known.any() else (1.0, 0.0)
    return ~(sense * np.sign(sense[known].sum()) > 0), at, bool(small <= _SINGULAR * large)


def _misfits(places: Floats, ground: Floats) -> Floats:
    """Distances (n,) of points from the affine map of least absolute deviations, which a few wrong ones do not move."""
    terms, root = np.column_stack([np.ones(len(places)), places]), np.ones((len(places), 1))
    for _ in range(30):
        coefs = np.linalg.lstsq(root * terms, root * ground, rcond=None)[0]
        missed: Floats = np.hypot(*(ground - terms @ coefs).T)
        root = 1 / np.sqrt(np.maximum(missed, 1e-9))[:, None]
    return missed


def _unexplained(places: Floats, ground: Floats) -> float:
    """Largest part of the variance of image positions, of either axis, that the plane through the ground leaves."""
    about = places - places.mean(axis=0)
    terms = ground - ground.mean(axis=0)
    left = about - terms @ np.linalg.lstsq(terms, about, rcond=None)[0]
    return float(((left * left).sum(axis=0) / (about * about).sum(axis=0)).max())


def residuals_of(fit_linear: Any, difference: Floats, used: NDArray[np.bool_]) -> Residuals:
    """Complete residuals on the ground (n, 2) by those in the image: difference (n, 2) float; used (n,) bool."""
    with np.errstate(all="ignore"):
        dcol, drow = vector_to_pixel(fit_linear, difference[:, 0], difference[:, 1])
    return Residuals(difference[:, 0], difference[:, 1], dcol, drow, used)


def _plane_back(surface: Any, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    (x0, y0), (a, d), (b, e) = surface.coefs
    return vector_to_pixel((a, b, d, e), x - x0, y - y0)


def _homography_slopes(surface: Surface, u: Floats, v: Floats) -> Floats:
    """Slopes (..., 2, 8) of ground coordinates by the parameters of a homography."""
    x, y = surface.at(u, v)
    (_, _, _), (_, _, _), (g, h, _) = surface.matrix  # type: ignore[attr-defined]
    w: Floats = g * u + h * v + 1.0
    slopes: Floats = np.stack(homography_terms(u, v, x, y), axis=-2) / w[..., None, None]
    return slopes
