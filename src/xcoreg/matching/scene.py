"""Two images made ready for matching: rasters, coarse looks, footprints, overlap, cutters."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from xcoreg.core.arrays import Floats
from xcoreg.errors import OptionError
from xcoreg.georef import same_crs, transform_points
from xcoreg.matching.cutter import Cutter, make_cutters
from xcoreg.matching.masks import as_mask
from xcoreg.raster.footprint import footprint, overlap
from xcoreg.raster.overview import Overview, overview_of
from xcoreg.raster.raster import Raster, make_raster, with_marker

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

    from xcoreg.matching.masks import Mask
    from xcoreg.matching.options import Options


logger = logging.getLogger("xcoreg")

# Pixels read around the windows of the reference: most of those cut again at the answer lie within.
_RECUT_ROOM = 8


@dataclass(frozen=True, eq=False)
class Scene:
    """What is known of two images before any window is matched.

    looks : Coarse looks at target and reference.
    footprints : Valid data of target and reference, each in its own CRS.
    overlap : Of the footprints, in the CRS of the target.
    extent : Overlap of the whole grids, valid or not, in the CRS of the target.
    linear : Linear part of the matching lattice, CRS units of the target per px.
    mask : Where both images may be used, positions in the CRS of the target.
    """

    target: Raster
    reference: Raster
    looks: tuple[Overview, Overview]
    footprints: tuple[Any, Any]
    overlap: Any
    extent: Any
    target_cutter: Cutter
    reference_cutter: Cutter
    linear: tuple[float, float, float, float]
    mask: Mask | None

    def ahead(self, places: Floats, guess: Floats, size: int) -> list[Any]:
        """Tell what matching some windows takes, for images that dask computes."""
        both = np.concatenate([places, places + guess])
        return [
            *self.target_cutter.ahead(places[:, 0], places[:, 1], size),
            *self.reference_cutter.ahead(both[:, 0], both[:, 1], size + 2 * _RECUT_ROOM),
        ]

    def hold(self, places: Floats, guess: Floats, size: int) -> Scene:
        """Read the neighbourhood of some windows once; cutting them, and cutting them again, then costs no reading.

        places, guess (n, 2) float.
        """
        both = np.concatenate([places, places + guess])
        return replace(
            self,
            target_cutter=self.target_cutter.hold(places[:, 0], places[:, 1], size),
            reference_cutter=self.reference_cutter.hold(both[:, 0], both[:, 1], size + 2 * _RECUT_ROOM),
        )


def prepare(target_image: DataArray | Dataset, reference_image: DataArray | Dataset, options: Options) -> Scene:
    """Look at two images and find where they overlap."""
    # All images are known before the first pixel is asked for: what they share is computed once.
    bare = (
        make_raster(target_image, band=options.band, nodata=options.nodata, name="target", search=False),
        make_raster(reference_image, band=options.ref_band, nodata=options.ref_nodata, name="reference", search=False),
    )
    crs = bare[0].grid.crs
    masks = as_mask(options.where, crs), as_mask(options.ref_where, bare[1].grid.crs, "ref_where")
    target, reference = (with_marker(raster) for raster in bare)
    looks = overview_of(target), overview_of(reference)
    outlines = (
        _outline(target, looks[0], options.footprint, "footprint"),
        _outline(reference, looks[1], options.ref_footprint, "ref_footprint"),
    )
    shared = overlap(outlines[0], target.grid.crs, outlines[1], reference.grid.crs)
    cutters = make_cutters(target, reference)
    # A mask of the reference is asked about positions in the CRS of the target, where its windows are told.
    moved = _in_target_crs(masks[1], crs, reference.grid.crs)
    logger.info("overlap: %s, matching pixels %s", tuple(round(edge, 3) for edge in shared.bounds), cutters[2])
    return Scene(
        target,
        reference,
        looks,
        outlines,
        shared,
        overlap(target.grid.extent.geom, crs, reference.grid.extent.geom, reference.grid.crs),
        replace(cutters[0], mask=masks[0]),
        replace(cutters[1], mask=moved),
        cutters[2],
        _both(masks[0], moved),
    )


def _outline(raster: Raster, coarse: Overview, given: Any, option: str) -> Any:
    """Take the footprint that is known, or find it."""
    if given is None:
        return footprint(raster, coarse)
    outline = shapely.from_wkt(given, on_invalid="ignore") if isinstance(given, str) else given
    if hasattr(outline, "geometry") and hasattr(outline, "to_crs"):
        outline = outline.to_crs(raster.grid.crs) if outline.crs is not None else outline
        outline = outline.geometry.union_all()
    if not isinstance(outline, shapely.Geometry) or outline.area == 0:
        raise OptionError(f"{option} must be a polygon (shapely geometry, WKT or GeoDataFrame) in the CRS of its image")
    return outline


def _in_target_crs(mask: Mask | None, target_crs: Any, own_crs: Any) -> Mask | None:
    """Let a mask that knows the reference's CRS be asked in that of the target."""
    if mask is None or same_crs(target_crs, own_crs):
        return mask

    def moved(x: Any, y: Any) -> Any:
        own = transform_points(target_crs, own_crs, x.ravel(), y.ravel())
        return mask(*(part.reshape(x.shape) for part in own))

    return moved


def _both(first: Mask | None, second: Mask | None) -> Mask | None:
    if first is None or second is None:
        return first or second
    return lambda x, y: first(x, y) & second(x, y)
