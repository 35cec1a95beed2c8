"""A pair of images prepared for matching (overviews, footprints, overlap, cutters), and the places of its windows."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage
from xarray import DataArray, Dataset

from xcoreg.core import Floats
from xcoreg.core.models.leastsq import spread_order
from xcoreg.core.sampling import box_means, box_shares
from xcoreg.errors import GridError, OptionError, warn_user
from xcoreg.georef import Linear, as_crs, linear_of, map_to_pixel, pixel_to_map, vector_to_map, vector_to_pixel
from xcoreg.georef.transform import map_to_grid
from xcoreg.matching.cutter import TIE, Cutter, make_cutters
from xcoreg.matching.masks import Mask, as_mask, both_masks, mask_in_crs, read_footprint
from xcoreg.matching.options import IMAGES_START, Options
from xcoreg.raster.bands import common_unit, height_scaling, height_unit
from xcoreg.raster.footprint import footprint, overlap
from xcoreg.raster.georeference import UNKNOWN, Unit
from xcoreg.raster.overview import Overview, overview_of
from xcoreg.raster.raster import Raster, make_raster, uncertain_text, with_corner_nodata, without_extremes

logger = logging.getLogger("xcoreg")

# Reference windows are read with a margin of this many pixels, enough to cut most of them again at the answer.
_MARGIN = 8


@dataclass(frozen=True, eq=False)
class Scene:
    """What is known of two images before any window is matched; pairs are of target and reference.

    footprints, overlap : Valid data, each in its own CRS, and their overlap, in the CRS of the target.
    extent : Overlap of the whole grids, valid or not, in the CRS of the target.
    linear : Linear part of the matching grid, CRS units of the target per px.
    mask : Where both images may be used, positions in the CRS of the target.
    unit : Of the heights of the target.
    start : Correction (dx, dy) where the search begins, CRS units: overlap and extent are those of the target there.
    """

    target: Raster
    reference: Raster
    overviews: tuple[Overview, Overview]
    footprints: tuple[Any, Any]
    overlap: Any
    extent: Any
    target_cutter: Cutter
    reference_cutter: Cutter
    linear: Linear
    mask: Mask | None
    unit: Unit = UNKNOWN
    start: tuple[float, float] = (0.0, 0.0)

    @property
    def target_pixel(self) -> float:
        """Side of a target pixel, in pixels of the matching grid."""
        own, (a, b, d, e) = self.target.grid.affine, self.linear
        return float(np.sqrt(abs(own.a * own.e - own.b * own.d) / abs(a * e - b * d)))

    @property
    def matching_pixel(self) -> float:
        """Side of a pixel of the matching grid, in target pixels."""
        own, (a, b, d, e) = self.target.grid.affine, self.linear
        return float(np.sqrt(abs(a * e - b * d)) / np.sqrt(abs(own.a * own.e - own.b * own.d)))

    def search_limit(self, max_shift: float | None) -> float | None:
        """`max_shift` in pixels of the matching grid, and one more, so that a shift at the limit itself is found."""
        return None if max_shift is None else max_shift * self.target_pixel + 1.0

    def windows_to_read(self, places: Floats, guess: Floats, size: int) -> list[Any]:
        """Boxes that matching some windows reads, for images that dask computes: places, guess (n, 2) float."""
        both = np.concatenate([places, places + guess])
        target = self.target_cutter.boxes_to_read(places[:, 0], places[:, 1], size)
        return target + self.reference_cutter.boxes_to_read(both[:, 0], both[:, 1], size + 2 * _MARGIN)

    def cached(self, places: Floats, guess: Floats, size: int) -> Scene:
        """Read the surroundings of some windows (n, 2) once, so that cutting them again reads nothing."""
        both = np.concatenate([places, places + guess])
        target = self.target_cutter.cached(places[:, 0], places[:, 1], size)
        reference = self.reference_cutter.cached(both[:, 0], both[:, 1], size + 2 * _MARGIN)
        return replace(self, target_cutter=target, reference_cutter=reference)


def prepare(
    target_image: DataArray | Dataset,
    reference_image: DataArray | Dataset,
    options: Options,
    corrected: Affine | None = None,
) -> Scene:
    """Read overviews of two images and find their overlap; of the target at its place after a first correction."""
    if options.initial_shift is not None and options.terms is None:
        raise OptionError(IMAGES_START)
    # Both rasters are made before the first pixel is read: dask computes what they share once.
    how: dict[str, Any] = {"band": options.ref_band, "nodata": options.ref_nodata, "search": False}
    target = make_raster(target_image, band=options.band, nodata=options.nodata, name="target", search=False)
    reference = make_raster(reference_image, name="reference", **how)
    crs, ref_crs = target.grid.crs, reference.grid.crs
    mask = None if options.where is None else as_mask(options.where, crs, grid=target.grid)
    ref_mask = None if options.ref_where is None else as_mask(options.ref_where, ref_crs, "ref_where", reference.grid)
    target, reference = with_corner_nodata(target), with_corner_nodata(reference)
    for raster, option in ((target, "nodata"), (reference, "ref_nodata")):
        if raster.nodata_source == "uncertain":
            warn_user(uncertain_text(raster, option))
    if corrected is not None:
        target = _moved(target, corrected)
        mask = None if mask is None else partial(_mask_before, mask, ~corrected)
    overviews = overview_of(target), overview_of(reference)
    if options.terms is None:
        target, reference = without_extremes(target, overviews[0]), without_extremes(reference, overviews[1])
        overviews = overviews if target.gain == reference.gain == 1.0 else (overview_of(target), overview_of(reference))
    valid, ref_valid = options.footprint, options.ref_footprint
    footprints = (
        footprint(target, overviews[0]) if valid is None else _moved_polygon(valid, crs, corrected),
        footprint(reference, overviews[1]) if ref_valid is None else _as_polygon(ref_valid, ref_crs, "ref_footprint"),
    )
    start = options.start
    shared = overlap(footprints[0], crs, footprints[1], ref_crs, start)
    extent = overlap(target.grid.extent.geom, crs, reference.grid.extent.geom, ref_crs, start)
    target_cutter, reference_cutter, linear = make_cutters(target, reference)
    if ref_mask is not None:
        # Windows of the reference have positions in the CRS of the target, so its mask is asked in that CRS, too.
        ref_mask = mask_in_crs(ref_mask, ref_crs, crs)
    logger.info("overlap: %s, matching pixels %s", tuple(round(edge, 3) for edge in shared.bounds), linear)
    cutters = replace(target_cutter, mask=mask, part=options.part), replace(reference_cutter, mask=ref_mask)
    both = both_masks(mask, ref_mask) if mask and ref_mask else mask or ref_mask
    scene = Scene(target, reference, overviews, footprints, shared, extent, *cutters, linear, both, start=start)
    return scene if options.terms is None else _in_one_unit(scene)


def _moved(raster: Raster, corrected: Affine) -> Raster:
    """Place a raster where a correction puts it: windows are then cut along that, and its pixels stay as they are."""
    grid = GeoBox(raster.shape, corrected @ raster.grid.affine, raster.grid.crs)
    return replace(raster, grid=grid, coarse=None)


def _mask_before(mask: Mask, back: Affine, x: Any, y: Any) -> Any:
    """Ask a mask of positions before the correction."""
    return mask(*(back @ (x, y)))


def _moved_polygon(given: Any, crs: Any, corrected: Affine | None) -> shapely.Geometry:
    """Put the valid area of the target, as a user gives it, where a correction puts the target."""
    polygon = _as_polygon(given, crs, "footprint")
    if corrected is None:
        return polygon
    return shapely.transform(polygon, lambda x, y: corrected @ (x, y), interleaved=False)


def _in_one_unit(scene: Scene) -> Scene:
    """Scale the heights of both elevation models to the unit of the target."""
    units = [height_unit(one.data, as_crs(one.grid.crs)) for one in (scene.target, scene.reference)]
    unit, factor = common_unit(units[0], units[1])
    gain, offset = height_scaling(scene.reference.data)
    target = replace(scene.target_cutter, scaling=height_scaling(scene.target.data))
    reference = replace(scene.reference_cutter, scaling=(gain * factor, offset * factor))
    return replace(scene, unit=unit, target_cutter=target, reference_cutter=reference)


def _as_polygon(given: Any, crs: Any, option: str) -> shapely.Geometry:
    """Make a polygon in the CRS of the image of what a user passes as `footprint`."""
    polygon = read_footprint(given, crs, option) if isinstance(given, str | os.PathLike) else given
    if hasattr(polygon, "geometry") and hasattr(polygon, "to_crs"):
        polygon = polygon.to_crs(crs) if polygon.crs is not None else polygon
        polygon = polygon.geometry.union_all()
    if not isinstance(polygon, shapely.Geometry) or polygon.area == 0:
        raise OptionError(f"{option} must be a polygon: a shapely geometry, WKT, a GeoDataFrame or a vector file")
    return polygon


# Sides of windows; windows that check each other; px that candidates lie apart at most, and unit of a side.
_USUAL_WINDOW, _SMALL_WINDOW, _LEAST_WINDOW, _SEVERAL, _UNIT = 256, 128, 16, 3, 8
_SHARES = 8  # of a small overlap, each of which a window may fill
_MULTIPLE = 16  # sides are multiples of this, which transform fast
_CANDIDATES = 40  # candidates along the longer side of the overlap
_APART = 0.9  # of their side: distance of windows, at least
_ALONG_BOX = 64  # cells along a window, at least, by which places are compared where there are as many
_CLASSES = 10  # scores of places are rounded to so many classes
# A window may be this many times as large as the overlap.
_OVERHANG = 1.25


def overlap_size(overlap: Any, linear: Linear) -> tuple[float, float]:
    """Columns and rows of a pixel grid that the overlap spans."""
    points = shapely.get_coordinates(overlap)
    cols, rows = vector_to_pixel(linear, points[:, 0], points[:, 1])
    return float(np.ptp(cols)), float(np.ptp(rows))


def window_size(wanted: Any, overlap: tuple[float, float], extent: tuple[float, float] | None = None) -> int:
    """Choose the side of windows: as wanted (one or both sides), or 256, or less in a small overlap (columns, rows)."""
    cols, rows = overlap
    side = round(min(cols, rows))
    shape = f"{round(cols)} x {round(rows)} px of the matching grid"
    if side < _LEAST_WINDOW:
        raise GridError(f"the overlap is only {shape}; matching needs at least {_LEAST_WINDOW} x {_LEAST_WINDOW}")
    if wanted is not None:
        return _check_size(wanted, overlap if extent is None else extent)
    # Only several windows can check each other. They lie where the texture is best, not side by side: windows of the
    # usual size need twice the area in which as many would fit.
    shared = int(np.sqrt(cols * rows / _SHARES)) // _MULTIPLE * _MULTIPLE
    fit = [1 + (room - _SMALL_WINDOW - _UNIT) // (_APART * _SMALL_WINDOW) for room in (cols, rows)]  # candidates apart
    if _SMALL_WINDOW <= side < _USUAL_WINDOW and fit[0] * fit[1] < _SEVERAL:
        return side // _UNIT * _UNIT  # one window sees all of the image; its quarters confirm it
    return min(_USUAL_WINDOW, side, max(_SMALL_WINDOW, shared))


def _check_size(wanted: Any, room: tuple[float, float]) -> int:
    if any(side > _OVERHANG * round(most) for side, most in zip(np.broadcast_to(wanted, 2), room, strict=True)):
        shape = f"{round(room[0])} x {round(room[1])} px of the matching grid"
        most = round(min(room)) if np.ndim(wanted) == 0 else (round(room[0]), round(room[1]))
        raise OptionError(f"window={wanted} is larger than the overlap of {shape}: give at most window={most}")
    return int(np.max(wanted))


def clamp_inside(at: Floats, extent: Any, linear: Linear, size: int) -> Floats:
    """Move centres (n, 2), px, so that windows lie inside the grids, as far as these are large enough."""
    edge = shapely.get_coordinates(extent)
    cols, rows = vector_to_pixel(linear, edge[:, 0], edge[:, 1])
    inside = []
    for values, ends in zip(at.T, (cols, rows), strict=True):
        low, high = ends.min() + size / 2, ends.max() - size / 2
        inside.append(np.clip(values, low, high) if low <= high else np.full(len(values), (low + high) / 2))
    return np.stack(vector_to_map(linear, *inside), -1)


def choose_centres(
    overlap: Any, linear: Linear, size: int, overviews: tuple[Overview, Overview], crs: Any, mask: Mask | None = None
) -> tuple[Floats, Floats]:
    """Rank places (n, 2), px of the matching grid, by texture and valid data in both images; and their scores (n,)."""
    places = _candidates(overlap, linear, size)
    # The last position is the opposite corner of the first window, which measures its side in cells of an overview.
    x = np.append(places[:, 0], places[0, 0] + (np.array([linear[0], linear[1]]) * size).sum())
    y = np.append(places[:, 1], places[0, 1] + (np.array([linear[2], linear[3]]) * size).sum())
    at = np.stack(vector_to_pixel(linear, places[:, 0], places[:, 1]), -1)
    cells = map_to_grid(crs, overviews[0].grid, x, y), map_to_grid(crs, overviews[1].grid, x, y)
    scores, rank = np.ones(len(places)), np.zeros(len(places))
    for overview, (col, row) in zip(overviews, cells, strict=True):
        texture, valid = _texture_at(overview, col, row)
        rank = np.argsort(np.argsort(texture, kind="stable"), kind="stable") / max(len(texture) - 1, 1)
        scores = np.minimum(scores, rank - 2 * (valid < 0.5) - (valid < 0.95) * 0.5)
    if mask is not None:
        scores = np.where(mask(places[:, 0], places[:, 1]), scores, scores - 2)
    # In coarse classes, and within them by the reference, which no correction moves.
    scores = np.round(scores * _CLASSES) / _CLASSES
    best = np.lexsort((-rank, -scores))
    return at[best], scores[best]


def spread_out(places: Floats, scores: Floats, n: int, size: int) -> NDArray[np.intp]:
    """Choose the best places (m, 2) at a distance from each other; return their indices."""
    cols, rows = places.T
    taken: list[int] = []
    free = np.ones(len(places), bool)
    least = _APART * size
    wide = 0.25 * max(np.ptp(cols), np.ptp(rows))
    for distance in (max(wide, least), max(wide / 2, least), least):
        free[:] = True
        for i in taken:
            free &= np.maximum(np.abs(cols - cols[i]), np.abs(rows - rows[i])) >= distance
        for floor in (0.0, -1.0):
            while len(taken) < n and (free & (scores >= floor)).any():
                i = int(np.flatnonzero(free & (scores >= floor))[0])
                taken.append(i)
                free &= np.maximum(np.abs(cols - cols[i]), np.abs(rows - rows[i])) >= distance
    return np.asarray(taken or [0], np.intp)


def spread_to_corners(places: Floats, scores: Floats, size: int) -> NDArray[np.intp]:
    """Places (m, 2) next to the corners of all that have data, where small images hold more windows than elsewhere."""
    good = np.flatnonzero(scores >= 0)
    if not len(good):
        return good
    low, high = places[good].min(0), places[good].max(0)
    taken: list[int] = []
    for corner in ((low[0], low[1]), (high[0], high[1]), (low[0], high[1]), (high[0], low[1])):
        i = int(good[np.abs(places[good] - corner).max(1).argmin()])
        if all(np.abs(places[i] - places[other]).max() >= _APART * size for other in taken):
            taken.append(i)
    return np.asarray(taken, np.intp)


def _candidates(overlap: Any, linear: Linear, size: int) -> Floats:
    """Centres on a regular grid whose windows lie inside the overlap, as far as possible."""
    a, b, d, e = linear
    reach = np.hypot(np.hypot(a, d), np.hypot(b, e)) / np.sqrt(2) * size / 2
    west, south, east, north = overlap.bounds
    pixel = np.sqrt(abs(a * e - b * d))
    # Multiples of a round step: a corrected image is matched at the same places as before its correction.
    step = pixel * 2.0 ** np.floor(np.log2(max(max(east - west, north - south) / (_CANDIDATES * pixel), 1)))
    middle = overlap.representative_point()
    x, y = (
        np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step for low, high in ((west, east), (south, north))
    )
    mesh = np.stack([part.ravel() for part in np.meshgrid(x, y)], -1)
    for share in (1.0, 0.75, 0.5):
        room = overlap.buffer(-share * reach, join_style="mitre")
        mesh_in = mesh[shapely.contains_xy(room, mesh[:, 0], mesh[:, 1])] if not room.is_empty else mesh[:0]
        if len(mesh_in):
            return np.asarray(mesh_in)
    centre = np.array([[(west + east) / 2, (south + north) / 2]])
    return centre if shapely.contains_xy(overlap, *centre[0]) else np.array([[middle.x, middle.y]])


def _texture_at(overview: Overview, col: Floats, row: Floats) -> tuple[Floats, Floats]:
    """Mean texture and valid share of windows at some cells; the last one is the corner of the first window."""
    spans = np.nan_to_num(np.abs((row[-1] - row[0], col[-1] - col[0])), nan=1.0)
    box = max(1, round(float(spans[0]))), max(1, round(float(spans[1])))
    # Some cells of each box are enough to compare places.
    every = max(1, min(box) // _ALONG_BOX)
    some = np.s_[every // 2 :: every, every // 2 :: every]
    box = max(1, round(box[0] / every)), max(1, round(box[1] / every))
    gx, gy = overview.gx[some], overview.gy[some]
    sampled, valid = overview.sampled[some], overview.valid[some]
    places = zip((row[:-1], col[:-1]), valid.shape, strict=True)
    r, c = (
        np.clip(np.nan_to_num(np.rint((at - every // 2) / every)), 0, size - 1).astype(np.intp) for at, size in places
    )
    known = np.isfinite(gx) & np.isfinite(gy) & sampled & valid
    # The root damps single bright edges (clouds, roofs): many moderate gradients match better than a few strong ones.
    energy = np.sqrt(np.where(known, gx**2 + gy**2, 0))
    texture = box_means(energy, box, r, c) / np.maximum(box_shares(known, box, r, c), 1e-9)
    if valid.all():
        return texture, np.ones(len(r))
    return texture, ndimage.uniform_filter(valid.astype(np.float64), box, mode="nearest")[r, c]


_USUAL_SPACING, _USUAL_LOCAL_WINDOW, _LEAST_LOCAL_WINDOW = 200.0, 256, 64
# A small image gets so many windows along its longer side; their side is one part of so many of its shorter one.
_ALONG, _SHARE = 12, 5


def default_spacing(overlap: Any, affine: Any) -> float:
    """Choose the distance of windows: 200 target px, less where the overlap is small."""
    return float(np.clip(np.floor(max(overlap_size(overlap, linear_of(affine))) / _ALONG), 8, _USUAL_SPACING))


def local_window(overlap: Any, linear: Linear) -> int:
    """Choose the side of local windows: 256 px of the matching grid, less where the overlap is small."""
    side = int(min(overlap_size(overlap, linear)))
    return int(np.clip(side // _SHARE // 2 * 2, min(_LEAST_LOCAL_WINDOW, side), _USUAL_LOCAL_WINDOW))


def window_grid(overlap: Any, extent: Any, affine: Any, linear: Linear, spacing: float, size: int) -> Floats:
    """Place windows (n, 2) on a regular grid along the axes of the target, centred in the overlap of both image grids.

    Only windows whose centre lies in the overlap of the valid data count; those at a swath edge are partly empty.
    """
    own = linear_of(affine)
    corners = shapely.get_coordinates(extent)
    cols, rows = map_to_pixel(affine, corners[:, 0], corners[:, 1])
    # Half a window in target pixels along both axes, whatever the angle between the grids.
    edge = vector_to_pixel(own, *vector_to_map(linear, np.array([1, 1]) * size / 2, np.array([-1, 1]) * size / 2))
    axes = [_axis(at.min(), at.max(), np.abs(half).max(), spacing) for at, half in zip((cols, rows), edge, strict=True)]
    mesh = [part.ravel() for part in np.meshgrid(*axes)]
    x, y = pixel_to_map(affine, *mesh)
    inside = shapely.contains_xy(overlap, x, y)
    if not inside.any():
        raise GridError(f"no window of a grid with spacing={spacing:g} has its centre in the overlap: give less")
    return np.stack([x[inside], y[inside]], -1)


def evenly(places: Floats, most: int) -> NDArray[np.intp]:
    """Choose at most so many places (n, 2), evenly spread: -> indices in their order."""
    n = len(places)
    if n <= most:
        return np.arange(n)
    scale = max(float(np.ptp(places, axis=0).max()), 1e-300) / 2
    middle = (places.max(0) + places.min(0)) / 2
    along = spread_order(*((places - middle) / scale).T)
    return np.sort(along[((np.arange(most) + 0.5) * n / most).astype(np.intp)])


def group_windows(places: Floats, linear: Linear, size: int, most: int) -> list[NDArray[np.intp]]:
    """Group neighbouring windows, so that each group is read at once: places (n, 2) float."""
    col, row = vector_to_pixel(linear, places[:, 0], places[:, 1])
    col, row = col - col.min(initial=np.inf), row - row.min(initial=np.inf)
    area = max(float(np.ptp(col)) * float(np.ptp(row)), 1.0) if len(places) else 1.0
    side = max(np.sqrt(area * most / max(len(places), 1)), size)
    order = np.lexsort((np.arange(len(places)), col // side, row // side))
    key = np.stack([row // side, col // side], -1)[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(key, axis=0) != 0).any(1)]) if len(places) else np.empty(0, int)
    groups = np.split(order, starts[1:])
    return [group[at : at + most] for group in groups for at in range(0, len(group), most)]


def _axis(low: float, high: float, half: float, spacing: float) -> Floats:
    """Positions of centres along one axis, whole px, so that windows coincide with pixels."""
    room = high - low - 2 * half
    if room <= 0:
        return np.array([(low + high) / 2])
    count = int((room + TIE) // spacing) + 1
    first = low + half + (room - (count - 1) * spacing) / 2
    return np.asarray(np.round(first - TIE) + np.arange(count) * spacing)
