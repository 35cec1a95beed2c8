"""Linear between tie points: a triangulation that passes through all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xcoreg.core.models.base import Fitted
from xcoreg.core.models.mesh import Mesh, Place, make_mesh

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from xcoreg.core.models.base import Floats

__all__ = ["Piecewise"]


@dataclass(frozen=True, eq=False, repr=False)
class Piecewise(Fitted):
    """Delaunay triangles; make one with :func:`xcoreg.core.models.fit_model`.

    Parameters
    ----------
    centre : (2,) float64
        Map position (x, y) of the origin of the corners.
    corners : (m, 2) float64
        Tie points, CRS units from the centre.
    triangles : (t, 3) int
        Numbers of corners.
    plane : (3, k) float64
        The trend: its value at the centre, its slopes along x and y.
    values : (m, k) float64
        Corrections less the trend, CRS units.
    covs : (m, 3) float64
        Their covariances (xx, xy, yy).
    roughness : (3,) float64
        Covariance of what triangles miss, per square of the distance to their corners.
    sharp : float
        Power to which the shares of the corners are taken: 1 is linear, more goes over from one to the next within a
        shorter distance, as where tiles of a mosaic meet.

    Notes
    -----
    Outside of the triangles what is left over the trend stays as it is at the nearest point of their outline.

    Examples
    --------
    >>> from xcoreg.core.models import fit_model
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

    _mesh: ClassVar[Mesh]  # made from the fields by each object for itself

    def __post_init__(self) -> None:
        super().__post_init__()
        x, y = self.corners.T.copy()
        object.__setattr__(self, "_mesh", make_mesh(x, y, self.triangles))

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction at map positions.

        Parameters
        ----------
        x, y : float or array
            Positions; shapes are broadcast.

        Returns
        -------
        dx, dy : float64 arrays
            The correction, CRS units; NaN where a position is not finite.
        """
        u, v, known = self._local(x, y)
        place = self._mesh.locate(u, v)
        shares = self._shares(place)
        out = np.full((2, known.size), np.nan)
        for c, (level, slope_x, slope_y) in enumerate(self.plane.T[:2]):
            rest = (self.values[place.corners[:, i], c] * shares[:, i] for i in range(3))
            out[c, known.ravel()] = level + slope_x * u + slope_y * v + sum(rest)
        return out[0].reshape(known.shape), out[1].reshape(known.shape)

    def predict_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance of the correction at map positions.

        Parameters
        ----------
        x, y : float or array
            Positions; shapes are broadcast.

        Returns
        -------
        (..., 2, 2) float64
            Axes (x, y), CRS units squared: that of the corners, and what a straight line between them may miss.
        """
        u, v, known = self._local(x, y)
        place = self._mesh.locate(u, v)
        reach, shares = reach_of(self._mesh, place, u, v), self._shares(place)
        out = np.full((known.size, 2, 2), np.nan)
        for part, a, b in ((0, 0, 0), (1, 0, 1), (2, 1, 1)):
            own = sum(self.covs[place.corners[:, i], part] * shares[:, i] ** 2 for i in range(3))
            out[known.ravel(), a, b] = out[known.ravel(), b, a] = own + self.roughness[part] * reach
        return out.reshape(*known.shape, 2, 2)

    def _shares(self, place: Place) -> Floats:
        if self.sharp == 1.0:
            return place.shares
        power = np.maximum(place.shares, 0.0) ** self.sharp
        return np.asarray(power / (power[:, :1] + power[:, 1:2] + power[:, 2:]))

    def _local(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        known = np.isfinite(x) & np.isfinite(y)
        return x[known] - self.centre[0], y[known] - self.centre[1], known

    def _summary(self) -> dict[str, Any]:
        return {**super()._summary(), "triangles": len(self.triangles)}


def reach_of(mesh: Mesh, place: Place, x: Floats, y: Floats) -> Floats:
    """Mean squared distance of positions to the corners that they are interpolated between, by their shares.

    Examples
    --------
    >>> mesh = make_mesh(np.array([0.0, 2.0, 0.0]), np.array([0.0, 0.0, 2.0]), np.array([[0, 1, 2]]))
    >>> at = np.array([1.0]), np.array([0.0])
    >>> reach_of(mesh, mesh.locate(*at), *at).tolist()
    [1.0]
    """
    out = np.zeros(x.shape)
    for i in range(3):
        corner = place.corners[:, i]
        out += place.shares[:, i] * ((mesh.x[corner] - x) ** 2 + (mesh.y[corner] - y) ** 2)
    return out
