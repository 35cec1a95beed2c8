"""Cut-outs of images on any grid, shown on one small display grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter

from xcoreg import georef
from xcoreg.core.sampling import sample
from xcoreg.plot.style import contrast, stretch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Shown = tuple[NDArray[Any], NDArray[np.bool_]]

__all__ = ["View", "outline", "render", "strongest_place"]

_SIDE = 480  # display pixels
_SMOOTH = 2.0  # px of the target
_LOOKS = 9  # places looked at along each axis to find strong structure


@dataclass(frozen=True)
class View:
    """A square of the map, North up.

    Parameters
    ----------
    crs : object
        Any spelling of a CRS.
    x, y : float
        Centre.
    width : float
        Side, CRS units.
    side : int
        Display pixels along each axis.

    Examples
    --------
    >>> View("EPSG:32633", 100.0, 200.0, 40.0).extent
    (80.0, 120.0, 180.0, 220.0)
    """

    crs: Any
    x: float
    y: float
    width: float
    side: int = _SIDE

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top: what matplotlib's imshow takes."""
        half = self.width / 2
        return self.x - half, self.x + half, self.y - half, self.y + half

    def mesh(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Map coordinates of the display pixels' centres, y falling with the rows."""
        steps = ((np.arange(self.side) + 0.5) / self.side - 0.5) * self.width
        x, y = np.meshgrid(self.x + steps, self.y - steps)
        return x, y


def render(raster: Any, views: Sequence[View], kernel: str = "cubic") -> list[Shown]:
    """Show parts of an image on display grids; reads only those parts, all of them at once.

    Parameters
    ----------
    raster : Raster
        From :func:`xcoreg.raster.raster.make_raster`, on any grid.
    views : sequence of View
        The parts to show, in any CRS.
    kernel : str
        As in :func:`xcoreg.core.sampling.sample`.

    Returns
    -------
    list of (values, valid)
        Each (side, side) float and bool.
    """
    places = [_place(raster.grid, view) for view in views]
    boxes = [_box(rows, cols, halo, raster.grid.shape) for rows, cols, halo in places]
    return [
        sample(read[0], read[1], rows - box[0], cols - box[2], kernel, scale=(halo / 4, halo / 4))
        for (rows, cols, halo), box, read in zip(places, boxes, raster.read_many(boxes), strict=True)
    ]


def _place(grid: Any, view: View) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Rows and columns of the display pixels in an image, and how far around them to read."""
    x, y = georef.transform_points(view.crs, grid.crs, *view.mesh())
    cols, rows = georef.map_to_pixel(grid.affine, x, y)
    known = np.isfinite(rows) & np.isfinite(cols)
    rows, cols = np.where(known, rows, -1e9), np.where(known, cols, -1e9)
    span = max((float(np.ptp(axis[known])) for axis in (rows, cols)), default=0.0) if known.any() else 0.0
    return rows, cols, 4 * max(1, math.ceil(span / view.side))


def _box(
    rows: NDArray[np.float64], cols: NDArray[np.float64], halo: int, shape: tuple[int, int]
) -> tuple[int, int, int, int]:
    row0, row1 = _reach(rows, halo, shape[0])
    col0, col1 = _reach(cols, halo, shape[1])
    # Where nothing lies inside, one pixel is read: an empty window cannot be interpolated.
    return (row0, row1, col0, col1) if row0 < row1 and col0 < col1 else (0, 1, 0, 1)


def _reach(positions: NDArray[np.float64], halo: int, length: int) -> tuple[int, int]:
    start, stop = math.floor(positions.min()) - halo, math.ceil(positions.max()) + halo + 1
    return max(start, 0), min(stop, length)


def outline(transform: Any, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Corners of a grid on its map, closed.

    Parameters
    ----------
    transform : Affine or six floats
    shape : (rows, cols)

    Returns
    -------
    (5, 2) float64
        x, y.

    Examples
    --------
    >>> outline((10, 0, 100, 0, -10, 200), (2, 3))[2].tolist()
    [130.0, 180.0]
    """
    rows, cols = shape
    col, row = np.array([0, cols, cols, 0, 0]) - 0.5, np.array([0, 0, rows, rows, 0]) - 0.5
    return np.stack(georef.pixel_to_map(transform, col, row), axis=-1)


def strongest_place(ref: Any, tgt: Any, width: float) -> tuple[float, float]:
    """Find a place where both images hold strong and common structure.

    Parameters
    ----------
    ref, tgt : Raster
        `tgt` as corrected: clouds and changes have structure of their own, but none that both images share.
    width : float
        Side of the cut-out, CRS units of the target.

    Returns
    -------
    x, y : float
        Centre of the best of a few dozen places of the overlap, CRS of the target; the middle of the overlap when
        nothing is shared.
    """
    left, right, bottom, top = _common_bounds(ref, tgt)
    xs, ys = _places(left, right, width), _places(bottom, top, width)
    side = int(np.clip(width / max(georef.gsd(tgt.grid.affine)), 16, 96))
    views = [View(tgt.grid.crs, x, y, width, side) for x in xs for y in ys]
    pairs = zip(render(ref, views, "bilinear"), render(tgt, views, "bilinear"), strict=True)
    scores = [_common_structure(*one, *other) for one, other in pairs]
    if max(scores) <= 0:
        return (left + right) / 2, (bottom + top) / 2
    best = views[int(np.argmax(scores))]
    return best.x, best.y


def _places(low: float, high: float, width: float) -> NDArray[np.float64]:
    return (
        np.linspace(low + width / 2, high - width / 2, _LOOKS) if high - low > width else np.array([(low + high) / 2])
    )


def _common_bounds(ref: Any, tgt: Any) -> tuple[float, float, float, float]:
    mine = outline(tgt.grid.affine, tgt.grid.shape)
    other = outline(ref.grid.affine, ref.grid.shape)
    x, y = georef.transform_points(ref.grid.crs, tgt.grid.crs, other[:, 0], other[:, 1])
    left, right = max(mine[:, 0].min(), x.min()), min(mine[:, 0].max(), x.max())
    bottom, top = max(mine[:, 1].min(), y.min()), min(mine[:, 1].max(), y.max())
    return left, right, bottom, top


def _common_structure(
    ref: NDArray[Any], ref_valid: NDArray[np.bool_], tgt: NDArray[Any], tgt_valid: NDArray[np.bool_]
) -> float:
    """Strength of the edges both images show, 0 to 1, each image in its own contrast."""
    if (ref_valid & tgt_valid).mean() < 0.98:
        return 0.0
    shown = [(image, valid) for image, valid in ((ref, ref_valid), (tgt, tgt_valid))]
    # As it will be displayed, for structure that the contrast hides tells a viewer nothing; smoothed, for lines and
    # outlines show a shift better than the texture of a forest.
    greys = [gaussian_filter(stretch(*one, *contrast([one])), _SMOOTH) for one in shown]
    edges = [np.asarray(np.gradient(grey)) for grey in greys]
    # Edges in common, as a geometric mean of strengths: what one image alone shows (clouds, crops) adds nothing.
    shared, own = float(np.sum(edges[0] * edges[1])), math.sqrt(float(np.prod([np.sum(edge**2) for edge in edges])))
    return max(shared, 0.0) ** 2 / own / ref.size if own > 0 else 0.0
