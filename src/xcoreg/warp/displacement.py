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

_ITERATIONS = 12


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

    @classmethod
    def of(cls, model: Any, fit_crs: str, image: Grid) -> Displacement:
        """Look at a model from an image; a translation is carried over at the middle of the image.

        Raises
        ------
        GridError
            When the middle of the image has no place in the CRS of the fit.
        """
        moving = cls(model, fit_crs, image.crs, None)
        if model.kind != "translation":
            return moving
        dx, dy = moving.at(*(np.float64(value) for value in image.centre))
        if not (np.isfinite(dx) and np.isfinite(dy)):
            raise GridError(
                "the correction cannot be carried into the CRS of the image: it lies where the fit's has no place"
            )
        return cls(model, fit_crs, image.crs, (float(dx), float(dy)))

    def at(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Correction of target positions, all in the CRS of the image."""
        if self.constant is not None:
            return self.constant
        with np.errstate(invalid="ignore"):  # places that the CRS of the fit does not know are infinite there
            dx, dy = self.model.predict(*georef.transform_points(self.crs, self.fit_crs, x, y))
            return georef.local_displacement(x, y, dx, dy, self.fit_crs, self.crs)

    def undo(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Target positions that the correction carries to these positions: q with q + d(q) = p, by fixed point."""
        to_x, to_y = x, y
        for _ in range(1 if self.constant is not None else _ITERATIONS):
            dx, dy = self.at(to_x, to_y)
            next_x, next_y = x - dx, y - dy
            # Only an exact standstill may end the loop early: the outcome must not hang on a point's neighbours.
            still = np.array_equal(next_x, to_x, equal_nan=True) and np.array_equal(next_y, to_y, equal_nan=True)
            to_x, to_y = next_x, next_y
            if still:
                break
        return to_x, to_y
