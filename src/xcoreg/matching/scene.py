"""A pair of images prepared for matching: rasters, overviews, footprints, overlap, window cutters."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import DataArray, Dataset

from xcoreg.core import Floats
from xcoreg.errors import OptionError, warn_user
from xcoreg.georef import Linear, as_crs
from xcoreg.matching.cutter import Cutter, make_cutters
from xcoreg.matching.masks import Mask, as_mask, both_masks, mask_in_crs, read_footprint
from xcoreg.matching.options import Options
from xcoreg.raster.bands import UNKNOWN, Unit, common_unit, height_scaling, height_unit
from xcoreg.raster.footprint import footprint, overlap
from xcoreg.raster.overview import Overview, overview_of
from xcoreg.raster.raster import Raster, make_raster, uncertain_text, with_corner_nodata

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
    # Both rasters are made before the first pixel is read: dask computes what they share once.
    how: dict[str, Any] = {"band": options.ref_band, "nodata": options.ref_nodata, "search": False}
    target = make_raster(target_image, band=options.band, nodata=options.nodata, name="target", search=False)
    reference = make_raster(reference_image, name="reference", **how)
    crs, ref_crs = target.grid.crs, reference.grid.crs
    mask = None if options.where is None else as_mask(options.where, crs)
    ref_mask = None if options.ref_where is None else as_mask(options.ref_where, ref_crs, "ref_where")
    target, reference = with_corner_nodata(target), with_corner_nodata(reference)
    for raster, option in ((target, "nodata"), (reference, "ref_nodata")):
        if raster.nodata_source == "uncertain":
            warn_user(uncertain_text(raster, option))
    if corrected is not None:
        target = _moved(target, corrected)
        mask = None if mask is None else partial(_mask_before, mask, ~corrected)
    overviews = overview_of(target), overview_of(reference)
    valid, ref_valid = options.footprint, options.ref_footprint
    footprints = (
        footprint(target, overviews[0]) if valid is None else _moved_polygon(valid, crs, corrected),
        footprint(reference, overviews[1]) if ref_valid is None else _as_polygon(ref_valid, ref_crs, "ref_footprint"),
    )
    shared = overlap(footprints[0], crs, footprints[1], ref_crs)
    extent = overlap(target.grid.extent.geom, crs, reference.grid.extent.geom, ref_crs)
    target_cutter, reference_cutter, linear = make_cutters(target, reference)
    if ref_mask is not None:
        # Windows of the reference have positions in the CRS of the target, so its mask is asked in that CRS, too.
        ref_mask = mask_in_crs(ref_mask, ref_crs, crs)
    logger.info("overlap: %s, matching pixels %s", tuple(round(edge, 3) for edge in shared.bounds), linear)
    cutters = replace(target_cutter, mask=mask), replace(reference_cutter, mask=ref_mask)
    both = both_masks(mask, ref_mask) if mask and ref_mask else mask or ref_mask
    scene = Scene(target, reference, overviews, footprints, shared, extent, *cutters, linear, both)
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
