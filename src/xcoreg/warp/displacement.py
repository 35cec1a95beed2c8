"""A grid in plain numbers, and a fitted correction as an image on such a grid sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.errors import GridError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Displacement", "Grid"]

_STEPS, _NEWTON_STEPS = 5, 20
_STILL = 1e-6  # px: positions that move by less have arrived
_ROUND_OFF = 8.0  # or so many units in the last place of the coordinates
_APART = 0.5  # px, over which the slope of a displacement is taken


@dataclass(frozen=True)
class Grid:
    """A raster grid in plain numbers: cheap to pickle and to tokenize.

    Parameters
    ----------
    transform : six floats (a, b, c, d, e, f)
        Pixel corner to map.
    shape : (int, int)
        Rows and columns.
    crs : str
        WKT.

    Examples
    --------
    >>> grid = Grid((10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0), (100, 200), "EPSG:32633")
    >>> grid.centre
    (301000.0, 5899540.0)
    """

    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]
    crs: str

    @classmethod
    def of(cls, geobox: Any) -> Grid:
        """Read an odc.geo GeoBox.

        Examples
        --------
        >>> from odc.geo.geobox import GeoBox
        >>> from affine import Affine
        >>> Grid.of(GeoBox((2, 4), Affine(10, 0, 0, 0, -10, 20), "EPSG:32633")).shape
        (2, 4)
        """
        transform = tuple(float(value) for value in tuple(geobox.affine)[:6])
        return cls(transform, (int(geobox.shape[0]), int(geobox.shape[1])), georef.as_crs(geobox.crs).to_wkt())  # type: ignore[arg-type]

    @property
    def centre(self) -> tuple[float, float]:
        """Map position (x, y) of the middle of the grid."""
        x, y = georef.pixel_to_map(self.transform, self.shape[1] / 2 - 0.5, self.shape[0] / 2 - 0.5)
        return float(x), float(y)


@dataclass(frozen=True)
class Displacement:
    """A fitted model, as seen by an image in any CRS.

    Parameters
    ----------
    model : Model
        Correction at places of the CRS of the fit, in its units.
    fit_crs, crs : str
        CRS of the fit and of the image, WKT.
    constant : (float, float) or None
        The one correction for every place, in units of `crs`, when the model is a translation.
    pixel : float
        Size of the image's pixels, units of `crs`: its inverse is found to a small part of it.

    Examples
    --------
    >>> from xcoreg.core.models import Translation
    >>> move = Displacement.of(Translation(3.0, 15.0), "EPSG:32633", Grid((1, 0, 0, 0, -1, 0), (9, 9), "EPSG:32633"))
    >>> move.constant
    (3.0, 15.0)
    """

    model: Any
    fit_crs: str
    crs: str
    constant: tuple[float, float] | None
    pixel: float = 1.0

    @classmethod
    def of(cls, model: Any, fit_crs: str, image: Grid) -> Displacement:
        """Look at a model from an image; a translation is carried over at the middle of the image.

        Raises
        ------
        GridError
            When the middle of the image has no place in the CRS of the fit.
        """
        moving = cls(model, fit_crs, image.crs, None, min(georef.gsd(image.transform)))
        if model.kind != "translation":
            return moving
        dx, dy = moving.at(*(np.float64(value) for value in image.centre))
        if not (np.isfinite(dx) and np.isfinite(dy)):
            raise GridError(
                "the correction cannot be carried into the CRS of the image: it lies where the fit's has no place"
            )
        return cls(model, fit_crs, image.crs, (float(dx), float(dy)), moving.pixel)

    def at(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Correction of target positions, all in the CRS of the image."""
        if self.constant is not None:
            return self.constant
        with np.errstate(invalid="ignore"):  # places that the CRS of the fit does not know are infinite there
            dx, dy = self.model.predict(*georef.transform_points(self.crs, self.fit_crs, x, y))
            return georef.local_displacement(x, y, dx, dy, self.fit_crs, self.crs)

    def undo(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Target positions that the correction carries to these positions: q with q + d(q) = p.

        By fixed point, which takes a few steps where the correction changes by less than about a tenth of a pixel per
        pixel, then by Newton's method for positions that have not arrived. Where a field folds there may be several
        answers, or none: then the closest one that was met is given.
        """
        if self.constant is not None:
            return x - self.constant[0], y - self.constant[1]
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        wanted = np.stack([x.ravel(), y.ravel()])
        near = np.maximum(_STILL * self.pixel, _ROUND_OFF * np.spacing(np.abs(wanted).max(axis=0)))
        found = wanted.copy()
        moving = np.flatnonzero(np.isfinite(wanted).all(axis=0))
        # Each position stops by itself: the outcome must not hang on its neighbours.
        for _ in range(_STEPS):
            if not moving.size:
                break
            step = self._missed(wanted[:, moving], found[:, moving])
            found[:, moving] += step
            moving = moving[np.abs(step).max(axis=0) > near[moving]]  # not true of NaN: those are given up
        if moving.size:
            found[:, moving] = self._newton(wanted[:, moving], found[:, moving], near[moving])
        return found[0].reshape(x.shape), found[1].reshape(x.shape)

    def _missed(self, wanted: Floats, at: Floats) -> Floats:
        """How far the correction carries positions beside the wanted ones."""
        missed: Floats = wanted - at - np.stack(self.at(*at))
        return missed

    def _newton(self, wanted: Floats, start: Floats, near: Floats) -> Floats:
        """Solve for positions that a fixed point does not reach; a step that misses by more is shortened."""
        best = start.copy()
        missed = self._missed(wanted, best)
        share = np.ones(best.shape[1])
        moving = np.arange(best.shape[1])
        for _ in range(_NEWTON_STEPS):
            moving = moving[(np.hypot(*missed[:, moving]) > near[moving]) & (share[moving] > _STILL)]
            if not moving.size:
                break
            step = self._solved(best[:, moving], missed[:, moving])
            tried = best[:, moving] + share[moving] * step
            left = self._missed(wanted[:, moving], tried)
            better = np.hypot(*left) < np.hypot(*missed[:, moving])
            best[:, moving[better]], missed[:, moving[better]] = tried[:, better], left[:, better]
            share[moving] = np.where(better, 1.0, share[moving] / 4)
        return best

    def _solved(self, at: Floats, missed: Floats) -> Floats:
        """Make up for what was missed, by the slope of the field; by just as much where it has none."""
        (a, b), (c, d) = self.slope(*at)
        scale = (1 + a) * (1 + d) - b * c
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.stack([(1 + d) * missed[0] - b * missed[1], (1 + a) * missed[1] - c * missed[0]]) / scale
        return np.where(np.isfinite(step).all(axis=0), step, missed)

    def slope(self, x: Any, y: Any) -> Floats:
        """Change of the correction per unit of x and of y, ((ddx/dx, ddx/dy), (ddy/dx, ddy/dy)), over half a pixel."""
        apart = _APART * self.pixel
        here, right, up = (np.stack(self.at(x + dx, y + dy)) for dx, dy in ((0.0, 0.0), (apart, 0.0), (0.0, apart)))
        return np.stack([right - here, up - here], axis=1) / apart
