"""From a fit and an image to the corrected image: plan every band, resample once, wrap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

import numpy as np
from odc.geo.geobox import GeoBox
from xarray import DataArray, Dataset

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.errors import CoregWarning, Extrapolation, MatchError, NoOverlap, OptionError, warn_user
from xcoreg.georef.transform import middle_of
from xcoreg.raster.bands import spatial_dims
from xcoreg.raster.grid import grid_of
from xcoreg.results.coregistration import Coregistration, version_of
from xcoreg.warp.mapping import Mapping, aligned_grid, as_geobox, compose, outline, reference_grid
from xcoreg.warp.metadata import (
    Frame,
    add_history,
    frame_for,
    frame_like,
    move_georeference,
    spatial_bands,
    wrap_on_grid,
)
from xcoreg.warp.plan import ApplyKeywords, ApplyOptions, BandPlan, Displacement, WarpPlan, plan_band, plan_image
from xcoreg.warp.resample import Resampler, resample
from xcoreg.warp.vertical import VerticalCorrection, identity_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from xcoreg.warp.metadata import Dims


_SAMPLES = 65  # places along each axis of the output
_LARGE_SHARE = 0.01  # of the output on the image
_NOT_INVERTED = 0.01  # px
# Standard deviation, px, below which a model is trusted beyond its tie points: every image has a rim of half a window.
_WELL_KNOWN = 0.1


def field_warnings(mapping: Mapping) -> Iterator[tuple[str, type[CoregWarning]]]:
    """Warnings where a field is used beyond its tie points, or has no inverse."""
    move, source = mapping.move, mapping.source
    if move.constant is not None:
        return
    # Centres of 65 x 65 parts of equal size.
    parts = [(np.arange(_SAMPLES) + 0.5) * (size / _SAMPLES) - 0.5 for size in mapping.out.shape]
    out_row, out_col = np.repeat(parts[0], _SAMPLES), np.tile(parts[1], _SAMPLES)
    row, col = mapping.exact(out_row, out_col)
    with np.errstate(invalid="ignore"):
        inside = (np.abs(row - source.shape[0] / 2 + 0.5) <= source.shape[0] / 2) & (
            np.abs(col - source.shape[1] / 2 + 0.5) <= source.shape[1] / 2
        )
    if not inside.any():
        return
    x, y = georef.pixel_to_map(source.affine, col[inside], row[inside])
    at = georef.transform_points(move.crs, move.fit_crs, x, y)
    extrapolated = _extrapolates(move.model, *at, move.pixel)
    share = float(np.mean(extrapolated))
    if share > _LARGE_SHARE:
        yield (
            f"{share:.0%} of the output lies where the model ({move.model.kind}) extrapolates, far from its "
            "tie points, and may be off by a good part of a pixel: match with more windows there, choose a simpler "
            "model, or leave these pixels out",
            Extrapolation,
        )
    (a, b), (c, d) = move.slope(x, y)
    wanted = np.stack(georef.pixel_to_map(mapping.out.affine, out_col[inside], out_row[inside]))
    wanted = np.stack(
        georef.transform_points(mapping.out.crs, source.crs, wanted[0], wanted[1], near=middle_of(source))
    )
    missed = np.hypot(*(np.stack([x, y]) + np.stack(move.at(x, y)) - wanted))
    folded = float(np.mean(((1 + a) * (1 + d) <= b * c) | (missed > _NOT_INVERTED * move.pixel)))
    if folded > 0:
        yield (
            f"the correction folds over itself or is torn on about {folded:.1%} of the output: neighbours would change "
            "places or separate, so these pixels cannot be trusted; remove contradicting tie points, or "
            "choose a smoother model",
            CoregWarning,
        )


def _extrapolates(model: Any, x: Floats, y: Floats, pixel: float) -> NDArray[np.bool_]:
    """Where a model extrapolates and its uncertainty is large."""
    beyond_points, spread = getattr(model, "extrapolates", None), getattr(model, "predict_cov", None)
    if beyond_points is None:
        return np.zeros(np.shape(x), bool)
    beyond = np.asarray(beyond_points(x, y), bool)
    if spread is not None and beyond.any():
        cov = spread(np.asarray(x)[beyond], np.asarray(y)[beyond])
        beyond[beyond] = ~(np.sqrt(np.trace(cov, axis1=-2, axis2=-1) / 2) < _WELL_KNOWN * pixel)
    return beyond


_Image = TypeVar("_Image", bound=DataArray | Dataset)


def apply(image: _Image, fit: Coregistration, **options: Unpack[ApplyKeywords]) -> _Image:
    """Correct an image that has a transform by a fit; see :func:`xcoreg.apply`."""
    checked = ApplyOptions.checked(dict(options))
    if not isinstance(image, DataArray | Dataset):
        raise OptionError(f"cannot correct a {type(image).__name__}: give a DataArray or Dataset (xcoreg.open_raster)")
    check_fit(fit)
    dims = spatial_dims(image, "the image")
    source = grid_of(image, "the image", dims)
    move = Displacement.of(fit.model, fit.crs_wkt or source.crs, source)
    record = _record(fit, move)
    if move.constant is not None and not checked.is_regrid:
        if checked.vertical or (checked.vertical is None and fit.has_dz):
            plan = plan_image(identity_mapping(source, move), Frame(source, dims, ""), fit, checked)
            image = _correct_heights(image, plan)
        record = {"did": "moved the transform", **record}
        return cast("_Image", move_georeference(image, dims, source, move.constant, record))
    frame = _output_frame(image, dims, source, move, checked, fit.details.ref_grid)
    mapping = compose(frame.grid, source, move)
    if mapping is None:
        raise NoOverlap(
            f"no pixel of the output falls on the corrected image: {_bounds_text(frame.grid)}, {_bounds_text(source)}"
        )
    for message, category in field_warnings(mapping):
        warn_user(message, category)
    plan = plan_image(mapping, frame, fit, checked)
    record = {"did": f"resampled ({checked.resampling})", **record}
    return cast("_Image", resample_image(image, dims, plan, record))


def _output_frame(
    image: DataArray | Dataset, dims: Dims, source: GeoBox, move: Displacement, options: ApplyOptions, ref_grid: Any
) -> Frame:
    """Choose the output grid: as given, on the lattice of the reference, or that of the image itself."""
    if isinstance(options.like, DataArray | Dataset):
        return frame_like(options.like)
    if options.like is not None:
        return frame_for(image, dims, source, as_geobox(options.like, "like"))
    if options.is_aligned:
        lattice = reference_grid(ref_grid, options.ref_grid)
        return frame_for(image, dims, source, aligned_grid(source, move, lattice, options.resolution))
    return frame_for(image, dims, source, source)


def check_fit(fit: Coregistration) -> None:
    """Refuse a fit that is not trusted."""
    if not fit.ok or fit.model is None:
        raise MatchError(f"the fit is not trusted and cannot be applied: {fit.status.reason}", fit.points)


def resample_image(image: Any, dims: Dims, plan: WarpPlan, record: dict[str, Any]) -> Any:
    """Plan all bands, interpolate each once, and wrap the result."""
    bands = spatial_bands(image, dims)
    plans = {name: plan_band(band, plan) for name, band in bands.items()}
    pixels = {name: _resample_band(band, plan, plans[name]) for name, band in bands.items()}
    return wrap_on_grid(image, dims, plan.frame, pixels, record)


def _resample_band(band: DataArray, plan: WarpPlan, decided: BandPlan) -> DataArray:
    """Interpolate one band (..., y, x) onto the output grid, as its plan says, and describe the result."""
    data = resample(band, Resampler.of(plan.mapping, plan.frame.grid.shape.yx, decided))
    out = DataArray(data, dims=(*band.dims[:-2], *plan.frame.dims), attrs=dict(band.attrs))
    if decided.limits is not None:
        out = out.clip(*decided.limits, keep_attrs=True)
    out.encoding = dict(band.encoding)
    if decided.correction is not None:
        _describe_heights(band, out, decided.correction)
    if decided.records_fill:
        out.attrs["_FillValue"] = decided.dtype.type(decided.fill)
        if "nodata" in out.attrs:
            out.attrs["nodata"] = decided.fill
    return out


def _describe_heights(band: DataArray, out: DataArray, correction: VerticalCorrection) -> None:
    """Add the correction to the history, and drop the encoding that would round heights in a file."""
    decoded = ("scale_factor", "add_offset") if band.dtype.kind == "f" else ()
    for key in ("dtype", "rasterio_dtype", *decoded):
        out.encoding.pop(key, None)
    for where in (out.attrs, out.encoding):
        if isinstance(where.get("_FillValue"), np.integer):
            where["_FillValue"] = out.dtype.type(where["_FillValue"])
    dz = "varies" if correction.constant is None else correction.constant
    add_history(out, {"did": "added the vertical correction", "dz": dz})


def _correct_heights(image: Any, plan: WarpPlan) -> Any:
    """Correct heights in place; an image without any is returned unchanged."""
    is_array, new = isinstance(image, DataArray), {}
    for name, band in spatial_bands(image, plan.frame.dims).items():
        if plan.corrects(band):
            old = image if is_array else image[name]
            made = _resample_band(band, plan, plan_band(band, plan))
            new[name] = old.copy(data=made.transpose(*old.dims).data)
            new[name].attrs, new[name].encoding = made.attrs, made.encoding
    if is_array:
        return new.get(image.name, image)
    return image.assign(new) if new else image


def _record(fit: Coregistration, move: Displacement) -> dict[str, Any]:
    """Entry in the history of an image."""
    record: dict[str, Any] = {"by": f"xcoreg {version_of('xcoreg')}", "model": fit.model.kind if fit.model else None}
    if move.constant is not None:
        record["dx"], record["dy"] = move.constant
    return record


def _bounds_text(grid: GeoBox) -> str:
    """Bounds in degrees, for messages."""
    row, col = outline(grid.shape.yx, 2)
    lon, lat = georef.transform_points(grid.crs, "EPSG:4326", *georef.pixel_to_map(grid.affine, col, row))
    return f"lon {lon.min():.4f} to {lon.max():.4f} and lat {lat.min():.4f} to {lat.max():.4f}"
