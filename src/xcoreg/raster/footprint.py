"""Footprints: polygons of the valid data of an image, and the overlap of two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from rasterio.features import shapes
from scipy import ndimage

from xcoreg.errors import GridError, NoOverlap
from xcoreg.georef import has_lonlat, longitude_period, transform_points, wrap_longitude
from xcoreg.raster.overview import overview_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon

    from xcoreg.raster.overview import Overview
    from xcoreg.raster.raster import Raster


_SPECK = 0.01  # parts smaller than this share of the largest one are dropped
_STRAIGHT = (1.5, 3.0, 6.0)  # cells, distances of a straight edge from the border of the cells
_RECTANGLE = 4  # vertices of a rectangle, which has no stairs
_FEW = 24  # vertices; with more of them the next distance is tried
_DIFFER = 0.01  # share of the area that may change to save vertices
_EDGE_PARTS = 32  # parts of an edge that are transformed to another CRS


def footprint(raster: Raster, overview: Overview | None = None) -> Polygon | MultiPolygon:
    """Outline the valid data of an image."""
    overview = overview or overview_of(raster)
    if not overview.valid.any():
        raise GridError(_nothing(raster))
    if overview.valid.all():
        height, width = overview.valid.shape
        parts = [shapely.polygons([(0, 0), (0, height), (width, height), (width, 0)])]
    else:
        cells = _solid(overview.valid)
        parts = [_straighten(shapely.geometry.shape(part)) for part, _ in shapes(cells.astype(np.uint8), mask=cells)]
    outline = _to_map(shapely.union_all(parts), overview.grid.affine)
    rows, cols = raster.shape
    inside = shapely.intersection(outline, _to_map(shapely.box(0, 0, cols, rows), raster.grid.affine))
    return _polygons(inside)


def overlap(
    target: Polygon | MultiPolygon,
    target_crs: Any,
    reference: Polygon | MultiPolygon,
    reference_crs: Any,
    start: tuple[float, float] = (0.0, 0.0),
) -> Polygon | MultiPolygon:
    """Intersect two footprints, in the target's CRS; the target moved by `start`, and the result moved back."""
    if any(start):
        ahead = shapely.transform(target, lambda xy: xy + start)
        found = overlap(ahead, target_crs, reference, reference_crs)
        return shapely.transform(found, lambda xy: xy - start)
    moved = carry_to_crs(reference, reference_crs, target_crs)
    if longitude_period(target_crs) is not None and not moved.is_empty:
        moved = _wrapped(moved, target, target_crs)
    shared = _polygons(shapely.intersection(shapely.make_valid(target), moved))
    if shared.area == 0:
        raise NoOverlap(
            "the valid data of the two images do not overlap: "
            f"target {_lon_lat(target, target_crs)}, reference {_lon_lat(reference, reference_crs)}; "
            "check their CRS, transform and nodata, or pass footprint= and ref_footprint="
        )
    # Remove the points that were added to straight edges for the transformation.
    return _polygons(shapely.simplify(shared, 1e-4 * np.sqrt(shared.area)))


def _nothing(raster: Raster) -> str:
    why = {
        "none": "every sampled pixel is NaN or infinite" + ", or masked" * (raster.mask is not None),
        "file": f"every sampled pixel is the stored nodata ({raster.nodata}) or not finite; pass nodata= to overrule",
        "given": f"every sampled pixel is nodata ({raster.nodata}, as given) or not finite",
        "uncertain": f"every sampled pixel is {raster.nodata}, as in the image corners; pass nodata= if that is data",
        "voids": f"every sampled pixel is {raster.nodata}; pass nodata= if that is data",
        "corners": f"every sampled pixel is {raster.nodata}, as in the image corners; pass nodata= if that is data",
    }
    return f"{raster.name} has no valid pixel: {why[raster.nodata_source]}"


def _solid(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill holes and drop specks."""
    filled = np.asarray(ndimage.binary_fill_holes(valid), bool)
    labels, count = ndimage.label(filled)
    if count < 2:
        return filled
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= _SPECK * sizes.max())[labels])


def _straighten(part: Polygon) -> Polygon | MultiPolygon:
    """Replace the staircase of a cell border by straight edges."""
    ring = shapely.get_coordinates(shapely.get_exterior_ring(part))[:-1]
    if len(ring) <= _RECTANGLE:
        return part
    # Simplifying keeps the first point: begin at a corner, the point farthest from the middle.
    begin = int(np.argmax(((ring - ring.mean(axis=0)) ** 2).sum(axis=1)))
    ring = np.roll(ring, -begin, axis=0)
    exact = best = shapely.polygons(ring)
    for distance in _STRAIGHT:
        straight = shapely.simplify(exact, distance)
        changed = shapely.symmetric_difference(exact, straight).area if straight.is_valid else np.inf
        if best is not exact and (changed > _DIFFER * exact.area or shapely.get_num_coordinates(best) <= _FEW):
            break
        best = straight if straight.is_valid and straight.area > 0 else best
    return best


def _to_map(geometry: Any, affine: Any) -> Any:
    def carry(points: NDArray[np.float64]) -> NDArray[np.float64]:
        col, row = points[:, 0], points[:, 1]
        return np.column_stack(
            [affine.c + (affine.a * col + affine.b * row), affine.f + (affine.d * col + affine.e * row)]
        )

    return shapely.transform(geometry, carry)


def _polygons(geometry: Any) -> Polygon | MultiPolygon:
    """Polygons of a geometry, without the lines and points where two shapes touch."""
    parts = [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon" and part.area > 0]
    parts += [
        inner
        for part in shapely.get_parts(geometry)
        if part.geom_type in ("MultiPolygon", "GeometryCollection")
        for inner in shapely.get_parts(part)
        if inner.geom_type == "Polygon" and inner.area > 0
    ]
    whole = [shapely.polygons(shapely.get_exterior_ring(part)) for part in parts]
    if len(whole) == 1:
        return whole[0]
    return shapely.multipolygons(whole) if whole else shapely.Polygon()


def carry_to_crs(geometry: Any, source: Any, target: Any) -> Any:
    """Carry a geometry to another CRS, with points on its edges so that these may bend; empty where it has no place."""
    length = max(geometry.bounds[2] - geometry.bounds[0], geometry.bounds[3] - geometry.bounds[1])
    dense = shapely.segmentize(geometry, max(length, 1e-12) / _EDGE_PARTS)

    def carry(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(transform_points(source, target, points[:, 0], points[:, 1]))

    moved = shapely.transform(dense, carry)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        return shapely.Polygon()
    period = longitude_period(target)
    return shapely.make_valid(moved if period is None else _unwrapped(moved, period))


def _unwrapped(geometry: Any, full: float) -> Any:
    """Make longitudes continuous along polygons that cross the antimeridian; one around a pole is left unchanged."""

    def straight(part: Any) -> Any:
        if part.geom_type != "Polygon":
            return part
        ring = shapely.get_coordinates(shapely.get_exterior_ring(part))
        lon = np.unwrap(ring[:, 0], period=full)
        return shapely.polygons(np.column_stack([lon, ring[:, 1]])) if abs(lon[-1] - lon[0]) < full / 2 else part

    parts = [straight(part) for part in shapely.get_parts(geometry)]
    return parts[0] if len(parts) == 1 else shapely.geometrycollections(parts)


def _wrapped(geometry: Any, other: Any, crs: Any) -> Any:
    """Wrap the longitudes of polygons to those of another."""
    middle = (other.bounds[0] + other.bounds[2]) / 2

    def shifted(part: Any) -> Any:
        centre = (part.bounds[0] + part.bounds[2]) / 2
        by = float(wrap_longitude(crs, centre, middle)) - centre
        return shapely.transform(part, lambda points: points + np.array([by, 0.0])) if by else part

    return shapely.union_all([shifted(part) for part in shapely.get_parts(geometry)])


def _lon_lat(geometry: Any, crs: Any) -> str:
    moved = carry_to_crs(geometry, crs, "EPSG:4326") if has_lonlat(crs) else shapely.Polygon()
    if moved.is_empty:
        return f"bounds {tuple(round(float(edge), 3) for edge in geometry.bounds)} in its CRS"
    west, south, east, north = moved.bounds
    return f"lon {west:.3f} to {east:.3f}, lat {south:.3f} to {north:.3f}"
