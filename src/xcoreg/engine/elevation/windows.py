"""Windows of two elevation models that together cover what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from xcoreg.core.dem import Patch
from xcoreg.georef import as_crs, vector_to_map, vector_to_pixel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.engine.scene import Scene

    Floats = NDArray[np.floating]

__all__ = ["cover", "metres_per_pixel", "to_metres"]

# Side of windows and pixels of all of them together: a part of a large scene tells as much as anyone can use.
_SIDE, _MOST = 448, 2_500_000
_ALONE = 256
_GOLDEN = 0.6180339887498949


def cover(scene: Scene, at: tuple[float, float] | None = None, window: int | None = None) -> list[Patch]:
    """Cut windows side by side over the overlap; of a large one an even selection.

    Parameters
    ----------
    scene : Scene
    at : (x, y), optional
        Cut one window there, CRS units of the target.
    window : int, optional
        Its side, px of the matching lattice; default 256.

    Returns
    -------
    list of Patch
        Their `centre` is counted from the middle of the overlap, px of the matching lattice.
    """
    corners = shapely.get_coordinates(scene.extent)
    cols, rows = vector_to_pixel(scene.linear, corners[:, 0], corners[:, 1])
    spans = float(np.ptp(cols)), float(np.ptp(rows))
    size = int(np.ceil(max(span / max(round(span / _SIDE), 1) for span in spans)))
    mesh = np.meshgrid(
        *(
            low + (np.arange(int(np.ceil(span / size - 1e-6))) + 0.5) * size
            for low, span in zip((cols.min(), rows.min()), spans, strict=True)
        )
    )
    x, y = vector_to_map(scene.linear, *(part.ravel() for part in mesh))
    use = _selection(x, y, size, scene)
    if at is not None:
        x, y, use, size = np.array([at[0]]), np.array([at[1]]), np.array([0]), window or _ALONE
    target = scene.target_cutter.cut(x[use], y[use], size)
    reference = scene.reference_cutter.cut(target.x, target.y, size)
    base = np.stack(vector_to_pixel(scene.linear, reference.x - target.x, reference.y - target.y), -1)
    middle = (cols.min() + cols.max()) / 2, (rows.min() + rows.max()) / 2
    centre = np.stack(vector_to_pixel(scene.linear, reference.x, reference.y), -1) - middle
    return [
        Patch(
            reference.values[at],
            target.values[at],
            reference.valid[at],
            target.valid[at],
            (float(centre[at, 0]), float(centre[at, 1])),
            (float(base[at, 0]), float(base[at, 1])),
            float(reference.level[at] - target.level[at]),
        )
        for at in range(len(target.x))
    ]


def _selection(x: Floats, y: Floats, size: int, scene: Scene) -> NDArray[np.intp]:
    """Windows that meet the overlap of the valid data, no more than can be used."""
    off_x, off_y = vector_to_map(scene.linear, np.array([-1, 1, 1, -1]) * size / 2, np.array([-1, -1, 1, 1]) * size / 2)
    squares = shapely.polygons(np.stack([x[:, None] + off_x, y[:, None] + off_y], -1))
    shapely.prepare(scene.overlap)
    use = np.flatnonzero(shapely.intersects(scene.overlap, squares))
    most = max(_MOST // size**2, 1)
    # In this order any first part of them is spread evenly.
    order = np.argsort((np.arange(len(use)) * _GOLDEN) % 1, kind="stable")
    return np.sort(use[order[:most]])


def to_metres(scene: Scene) -> Floats:
    """Metres to the East and North per matching pixel in the middle of the overlap, see :func:`metres_per_pixel`."""
    return metres_per_pixel(
        scene.target.grid.crs, scene.linear, (scene.overlap.bounds[1] + scene.overlap.bounds[3]) / 2
    )


def metres_per_pixel(crs: Any, linear: tuple[float, float, float, float], y: float) -> Floats:
    """Metres to the East and North (rows) per pixel to the right and down (columns).

    Parameters
    ----------
    crs : CRS
    linear : (a, b, d, e)
        CRS units per px.
    y : float
        Where degrees are turned into metres, CRS units: on the ellipsoid of WGS 84.

    Returns
    -------
    (2, 2) float64

    Examples
    --------
    >>> metres_per_pixel("EPSG:4326", (0.001, 0.0, 0.0, -0.001), 60.0).round(1).tolist()
    [[55.8, 0.0], [0.0, -111.4]]
    """
    known, (a, b, d, e) = as_crs(crs), linear
    unit = np.full(2, float(known.axis_info[0].unit_conversion_factor))
    if known.is_geographic:
        phi, degree = float(np.radians(y * np.degrees(unit[0]))), float(np.degrees(unit[0]))
        east = 111412.84 * np.cos(phi) - 93.5 * np.cos(3 * phi)
        north = 111132.954 - 559.822 * np.cos(2 * phi) + 1.175 * np.cos(4 * phi)
        unit = degree * np.array([east, north])
    return np.asarray(unit[:, None] * np.array([[a, b], [d, e]]))
