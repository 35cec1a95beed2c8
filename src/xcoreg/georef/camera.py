"""A frame camera from control points with heights: the direct linear transformation, a homography for every height."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.core import Floats
from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.georef.crs import as_crs, transform_points
from xcoreg.georef.ground import centred_plane

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pyproj import CRS

    from xcoreg.georef.gcps import GCPs

_NEEDED = 6
_COPLANAR = 1e-4  # second smallest singular value over the largest, from which on the camera is determined
_ROUNDS = 10


@dataclass(frozen=True, eq=False)
class CameraGround:
    """An image of a frame camera: ``(col, row, 1) ~ matrix (x, y, z, 1)``; make one with :func:`fit_camera`.

    Parameters
    ----------
    matrix : (3, 4) float64
        Of places minus `centre`, over `scale`, both in the CRS and metres of height.
    centre : (3,) float64
    scale : float
    crs : CRS
        Projected.
    height : float
        Of the ground where no height is given: that of the control points on average.
    residuals : (n, 2) float64
        Observed minus predicted columns and rows of the control points, px.
    """

    matrix: Floats
    centre: Floats
    scale: float
    crs: CRS
    height: float
    residuals: Floats

    model = "camera"

    @property
    def rmse_px(self) -> float:
        """Radial root mean square of the residuals, px."""
        return float(np.sqrt((self.residuals**2).sum(axis=1).mean()))

    def __dask_tokenize__(self) -> Any:
        return ("xcoreg.CameraGround", self.matrix.tolist(), self.centre.tolist(), self.scale, self.crs.to_wkt())

    def project(self, x: ArrayLike, y: ArrayLike, z: ArrayLike) -> tuple[Floats, Floats]:
        """Pixel positions of places and heights; NaN behind the camera."""
        at = np.broadcast_arrays(*(np.asarray(one, np.float64) for one in (x, y, z)))
        u, v, w = ((one - middle) / self.scale for one, middle in zip(at, self.centre, strict=True))
        a, b, c = ((row[0] * u + row[1] * v) + (row[2] * w + row[3]) for row in self.matrix.tolist())
        with np.errstate(divide="ignore", invalid="ignore"):
            ahead = c > 0
            return np.where(ahead, a / c, np.nan), np.where(ahead, b / c, np.nan)

    def unproject(self, col: ArrayLike, row: ArrayLike, z: ArrayLike) -> tuple[Floats, Floats]:
        """Places of pixel positions at heights, exact."""
        cols, rows, heights = np.broadcast_arrays(*(np.asarray(one, np.float64) for one in (col, row, z)))
        w = (heights - self.centre[2]) / self.scale
        p, q, r = self.matrix.tolist()
        a, b, e = p[0] - cols * r[0], p[1] - cols * r[1], cols * (r[2] * w + r[3]) - (p[2] * w + p[3])
        c, d, f = q[0] - rows * r[0], q[1] - rows * r[1], rows * (r[2] * w + r[3]) - (q[2] * w + q[3])
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = a * d - b * c
            u, v = (d * e - b * f) / scale, (a * f - c * e) / scale
        return u * self.scale + self.centre[0], v * self.scale + self.centre[1]

    def to_map(self, col: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats]:
        """Places of pixel positions at the usual height."""
        return self.unproject(col, row, self.height)

    def to_pixel(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Pixel positions of places at the usual height."""
        return self.project(x, y, self.height)


def fit_camera(gcps: GCPs) -> CameraGround:
    """Fit a frame camera to control points with heights, to rectify its image over terrain.

    Parameters
    ----------
    gcps : GCPs
        Six or more that are not in one plane, with heights `z` in metres from where the DEM counts them.

    Returns
    -------
    CameraGround
        In the CRS of the points, or in a plane centred on them where that is longitude and latitude.

    Raises
    ------
    OptionError
        When the points are too few, or in one plane, so that they do not determine the camera.
    NotGeoreferenced
        When the points have no CRS.

    Notes
    -----
    Abdel-Aziz & Karara (1971, repr. doi:10.14358/PERS.81.2.103): eleven parameters by linear least squares, weighted
    anew by the distance from the camera, so that residuals are pixels. Lens distortion is not modelled.

    Examples
    --------
    >>> import numpy as np
    >>> from xcoreg.georef import GCPs
    >>> x, y, z = np.random.default_rng(0).uniform(0, 100, (3, 12))
    >>> depth = 1000 - z  # a camera that looks down from 1000 m
    >>> camera = fit_camera(GCPs(500 * x / depth, -500 * y / depth, x, y, z=z, crs="EPSG:32633"))
    >>> camera.rmse_px < 1e-6
    True
    """
    if gcps.crs is None:
        raise NotGeoreferenced("the control points have no CRS: give it, gcps.with_crs('EPSG:...')")
    crs = as_crs(gcps.crs)
    goal = centred_plane(gcps.x, gcps.y) if crs.is_geographic else crs
    places = np.column_stack([*transform_points(crs, goal, gcps.x, gcps.y), gcps.z])
    n = len(places)
    if n < _NEEDED:
        raise OptionError(f"{n} control points do not determine a camera: give {_NEEDED} or more, with heights")
    centre = places.mean(axis=0)
    scale = float(np.abs(places - centre).max()) or 1.0
    middle, wide = np.array([gcps.col.mean(), gcps.row.mean()]), float(max(np.ptp(gcps.col), np.ptp(gcps.row))) or 1.0
    at = np.column_stack([(places - centre) / scale, np.ones(n)])
    matrix = _solve(at, (np.column_stack([gcps.col, gcps.row]) - middle) / wide)
    back = np.array([[wide, 0, middle[0]], [0, wide, middle[1]], [0, 0, 1]])
    made = CameraGround(back @ matrix, centre, scale, goal, float(centre[2]), np.zeros((n, 2)))
    found = np.column_stack(made.project(*places.T))
    residuals = np.column_stack([gcps.col, gcps.row]) - found
    return CameraGround(made.matrix, centre, scale, goal, made.height, residuals)


def _solve(at: Floats, pixels: Floats) -> Floats:
    """Matrix (3, 4) that maps homogeneous places (n, 4) to pixels (n, 2); points are ahead of the camera."""
    weights: Floats = np.ones(len(at))
    matrix: Floats = np.zeros((3, 4))
    for _ in range(_ROUNDS):
        zero = np.zeros_like(at)
        across = np.concatenate([at, zero, -pixels[:, :1] * at], axis=1)
        down = np.concatenate([zero, at, -pixels[:, 1:] * at], axis=1)
        design = np.concatenate([across, down]) * np.tile(weights, 2)[:, None]
        _, sizes, right = np.linalg.svd(design, full_matrices=False)
        if sizes[-2] < _COPLANAR * sizes[0]:
            raise OptionError(
                "the control points are in one plane, or nearly: their heights do not determine a camera; fit a map of "
                "the ground instead, xcoreg.fit_gcps, or add points at other heights"
            )
        matrix = right[-1].reshape(3, 4)
        depth = at @ matrix[2]
        matrix = matrix * (np.sign(np.median(depth)) or 1.0) / np.abs(np.median(depth))
        weights = 1 / np.maximum(np.abs(at @ matrix[2]), 1e-3)
    return matrix
