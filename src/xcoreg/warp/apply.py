"""From a fit and an image to the corrected image: plan every band, resample once, wrap."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import DataArray, Dataset, Variable, full_like

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.core.area import STATISTICS
from xcoreg.errors import CoregWarning, Extrapolation, MatchError, NoOverlap, OptionError, warn_user
from xcoreg.georef.transform import map_to_grid, middle_of
from xcoreg.io.tags import without_statistics
from xcoreg.raster.bands import check_chunks, is_chunked, shape_of, spatial_bands, spatial_dims, to_band
from xcoreg.raster.file_mask import MASK, mask_of
from xcoreg.raster.grid import check_size, grid_of
from xcoreg.raster.nodata import band_markers, stored_nodata
from xcoreg.results.coregistration import Coregistration, version_of
from xcoreg.warp.areas import resampler_of
from xcoreg.warp.bias import without_bias
from xcoreg.warp.heights import bound_to_heights
from xcoreg.warp.mapping import Mapping, aligned_grid, as_geobox, compose, outline, reference_grid
from xcoreg.warp.metadata import (
    Frame,
    add_history,
    frame_for,
    frame_like,
    move_georeference,
    with_file_tags,
    wrap_on_grid,
)
from xcoreg.warp.plan import ApplyKeywords, ApplyOptions, BandPlan, Displacement, WarpPlan, plan_image, plan_layers
from xcoreg.warp.resample import Resampler, resample
from xcoreg.warp.vertical import heights_in, identity_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from xcoreg.georef import Ground
    from xcoreg.warp.metadata import Dims


_EDGE = 9  # places along each axis of an image whose place is compared with that of a fit
_TOUCHES = 1e-6  # of the area of an image: less is no overlap
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
    middle, (x_out, y_out) = middle_of(source), wanted
    wanted = np.stack(georef.transform_points(mapping.out.crs, source.crs, x_out, y_out, near=middle))
    missed = np.hypot(*(np.stack([x, y]) + np.stack(move.at(x, y)) - wanted))
    folded = float(np.mean(((1 + a) * (1 + d) <= b * c) | (missed > _NOT_INVERTED * move.pixel)))
    if folded > 0:
        why = "folds over itself or is torn on about {:.1%} of the output: neighbours would change places or separate, "
        why += "so these pixels cannot be trusted; remove contradicting tie points, or choose a smoother model"
        if move.model.kind == "regions":
            why = "jumps at the seams of a mosaic: about {:.1%} of the output lies beside, where pixels repeat or miss"
        yield "the correction " + why.format(folded), CoregWarning


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
    contradiction = fit.contradiction(image)
    dims = spatial_dims(image, "the image")
    source = grid_of(image, "the image", dims)
    image = with_file_tags(image)
    if getattr(fit.model, "kind", "") == "rigid":
        fit = bound_to_heights(image, fit, checked.vertical)
    if fit.details.biases:
        image = without_bias(image, fit, checked.vertical)
    move = Displacement.of(fit.model, fit.crs_wkt or source.crs, source)
    if not checked.force:
        check_use(image, fit, source, contradiction)
    record = describe_correction(fit, move)
    turned = _turned_grid(source, fit)
    if turned is not None and not checked.is_regrid:
        record = {"did": "moved the transform", **record}
        bands = spatial_bands(image, dims)
        return cast("_Image", wrap_on_grid(image, dims, frame_for(image, dims, source, turned), bands, record))
    if turned is not None:
        # Its pixels lie on the turned grid: nothing but that grid is left to be corrected.
        source, move = turned, replace(move, constant=(0.0, 0.0))
    if move.constant is not None and not checked.is_regrid:
        if checked.vertical not in (None, False) or (checked.vertical is None and fit.has_dz):
            plan = plan_image(identity_mapping(source, move), Frame(source, dims, ""), fit, checked)
            image = _correct_heights(image, plan)
        record = {"did": "moved the transform", **record}
        return cast("_Image", move_georeference(image, dims, source, move.constant, record))
    for band in spatial_bands(image, dims).values():
        check_chunks(band, dims, "the image")
    frame = output_frame(image, dims, source, move, checked, fit.details.ref_grid, turned is not None)
    mapping = compose(frame.grid, source, move)
    if mapping is None:
        raise NoOverlap(
            f"no pixel of the output falls on the corrected image: {_bounds_text(frame.grid)}, {_bounds_text(source)}"
        )
    for message, category in field_warnings(mapping):
        warn_user(message, category)
    plan = plan_image(mapping, frame, fit, checked)
    record = {"did": "resampled", **record}
    return cast("_Image", resample_image(image, dims, plan, record))


def _turned_grid(source: GeoBox, fit: Coregistration) -> GeoBox | None:
    """Grid of the corrected image where its transform can take up rotation and scale; None for any other fit."""
    if not (fit.is_field and fit.moves_transform) or not georef.same_crs(source.crs, fit.crs_wkt or source.crs):
        return None
    model: Any = fit.model
    return GeoBox(source.shape, Affine(*model.matrix) @ source.affine, source.crs)


def output_frame(
    image: DataArray | Dataset,
    dims: Dims,
    source: GeoBox,
    move: Displacement,
    options: ApplyOptions,
    ref_grid: Any,
    turned: bool = False,
) -> Frame:
    """Choose the output grid: as given, on the lattice of the reference, or that of the image itself."""
    grid = source
    if options.like is not None:
        grid = as_geobox(options.like, "like")
    elif options.is_aligned:
        lattice = reference_grid(ref_grid, options.ref_grid)
        grid = aligned_grid(source, move, lattice, options.resolution, turned=turned)
    check_size(grid.shape.yx, source.shape.yx, asked=True, lazy=is_chunked(image))
    if isinstance(options.like, DataArray | Dataset):
        return frame_like(options.like)
    return frame_for(image, dims, source, grid)


def check_fit(fit: Coregistration) -> None:
    """Refuse what is no fit, and a fit that is not trusted."""
    if not isinstance(fit, Coregistration):
        raise OptionError(f"fit is a {type(fit).__name__}: give the result of match or match_local, or xcoreg.load_fit")
    if not fit.ok or fit.model is None:
        raise MatchError(f"the fit is not trusted and cannot be applied: {fit.status.reason}", fit.points)


def check_use(image: Any, fit: Coregistration, place: GeoBox | Ground, contradiction: str) -> None:
    """Refuse an image beyond what a fit covers, and warn of one whose history contradicts it."""
    same = isinstance(place, GeoBox) and place.shape.yx == fit.shape and tuple(place.affine)[:6] == fit.transform
    if not (same and place.crs and place.crs.to_wkt() == fit.crs_wkt) and not _touches(image, fit, place):
        rows, cols = fit.shape
        raise NoOverlap(
            f"the image lies wholly outside of the {cols} x {rows} px that the fit{_of(fit)} covers: measure one for "
            "it, or pass force=True to correct it all the same"
        )
    if contradiction:
        warn_user(f"the image {contradiction}{_of(fit)}: measure a fit for it, or pass force=True")


def _touches(image: Any, fit: Coregistration, place: GeoBox | Ground) -> bool:
    """Whether an image lies in part on the target of a fit."""
    if fit.crs_wkt is None:
        return True
    row, col = outline(shape_of(image), _EDGE)
    on_map = georef.pixel_to_map(place.affine, col, row) if isinstance(place, GeoBox) else place.to_map(col, row)
    with np.errstate(invalid="ignore"):
        at = np.column_stack(map_to_grid(place.crs, fit.grid, *on_map))
    hull = shapely.MultiPoint(at[np.isfinite(at).all(axis=1)]).convex_hull
    rows, cols = fit.shape
    return bool(hull.intersection(shapely.box(-0.5, -0.5, cols - 0.5, rows - 0.5)).area > _TOUCHES * hull.area)


def _of(fit: Coregistration) -> str:
    """Name the target of a fit, where it has a name."""
    return f" (of {fit.details.origin.target})" if fit.details.origin.target else ""


def resample_image(image: Any, dims: Dims, plan: WarpPlan, record: dict[str, Any]) -> Any:
    """Plan all bands, interpolate each once, and wrap the result."""
    image = _with_found_mask(image, dims, plan)
    bands = spatial_bands(image, dims)
    heights = heights_in(bands, plan.fit, plan.vertical, plan.resampling)
    plans = {name: plan_layers(band, plan, heights[name]) for name, band in bands.items()}
    pixels = {name: _resample_layers(band, plan, plans[name]) for name, band in bands.items()}
    decided = [each for several in plans.values() for _, each in several]
    kernels = list(dict.fromkeys(each.kernel for each in decided))
    record = record | {"did": f"{record['did']} ({', '.join(kernels)})"}
    mask = _mask_to_resample(bands, dims, any(each.needs_mask for each in decided))
    if mask is not None:
        record |= {"mask": MASK}
        mask = _resample_mask(mask.transpose(..., *dims), plan, kernels[0])
        plan = replace(plan, frame=replace(plan.frame, coords=plan.frame.coords | {MASK: mask}))
    return wrap_on_grid(image, dims, plan.frame, pixels, record)


def _with_found_mask(image: Any, dims: Dims, plan: WarpPlan) -> Any:
    """Mask all bands where the matched one has the nodata value that was found in it: in others it may be data."""
    bands = spatial_bands(image, dims).values()
    if plan.found_nodata is None or plan.nodata is not None or MASK in image.coords:
        return image
    single = len(bands) == 1 and all(band.sizes[dim] == 1 for band in bands for dim in band.dims[:-2])
    if single or any(stored_nodata(band) is not None for band in bands):
        return image
    try:
        matched = to_band(image, None if plan.fit is None else plan.fit.details.options.get("band"), "the image")
    except OptionError:  # another product, without that band
        return image
    return image.assign_coords({MASK: (dims, (matched != plan.found_nodata).variable.data)})


def _mask_to_resample(bands: dict[Any, DataArray], dims: Dims, needed: bool) -> Variable | None:
    """Mask that the bands carry; where one is needed and there is none, one that is true everywhere."""
    mask = next((mask for band in bands.values() if (mask := mask_of(band)) is not None), None)
    if mask is not None or not needed:
        return mask
    first = next(iter(bands.values()))
    flat = first.isel(dict.fromkeys(first.dims[:-2], 0))
    if flat.chunks:
        return full_like(flat, True, dtype=bool).variable
    return Variable(dims, np.broadcast_to(True, flat.shape))


def _resample_mask(mask: Variable, plan: WarpPlan, kernel: str) -> Variable:
    """Mask of the output: where the kernel finds data, as for the pixels themselves."""
    kernel = "bilinear" if kernel in STATISTICS else kernel  # half of the weight there, half of the area here
    resampler = Resampler(plan.mapping, plan.frame.grid.shape.yx, kernel, 0, 0, "uint8")
    data = resample(DataArray(mask.astype(bool) if mask.chunks else mask), resampler)
    return Variable((*mask.dims[:-2], *plan.frame.dims), data.astype(bool), mask.attrs)


def _resample_layers(band: DataArray, plan: WarpPlan, layers: list[tuple[DataArray, BandPlan]]) -> DataArray:
    """Interpolate a band, or its layers where each has rules of its own."""
    made = [_resample_band(layer, plan, decided) for layer, decided in layers]
    if len(made) == 1:
        return made[0]
    axis = next(dim for dim in band.dims if dim not in layers[0][0].dims)
    stacked = Variable.concat([one.variable for one in made], axis)  # type: ignore[no-untyped-call]
    lead = [dim for dim in band.dims[:-2] if dim != axis]
    stacked = stacked.transpose(*band.dims[:-2], *stacked.dims[-2:]) if lead else stacked
    out = DataArray(stacked, attrs=without_statistics(band.attrs))
    out.encoding = dict(band.encoding)
    raised = [at for at, (_, decided) in enumerate(layers) if decided.correction is not None]
    if raised:
        _describe_heights(band, out, layers[raised[0]][1].correction, raised)
    if band_markers(band):
        out.attrs["nodatavals"] = tuple(stored_nodata(one) for one in made)
    elif "_FillValue" in made[0].attrs:
        out.attrs["_FillValue"] = made[0].attrs["_FillValue"]
    return out


def _resample_band(band: DataArray, plan: WarpPlan, decided: BandPlan) -> DataArray:
    """Interpolate one band (..., y, x) onto the output grid, as its plan says, and describe the result."""
    mask = mask_of(band)
    mask = None if mask is None else mask.transpose(*band.dims[-2:])
    data = resample(band, resampler_of(plan.mapping, plan.frame.grid.shape.yx, decided), mask)
    return describe_band(band, data, plan.frame, decided)


def describe_band(band: DataArray, data: Any, frame: Frame, decided: BandPlan) -> DataArray:
    """Give new pixels of a band its attributes, encoding and limits, and its marker of missing pixels."""
    out = DataArray(data, dims=(*band.dims[:-2], *frame.dims), attrs=without_statistics(band.attrs))
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


def _describe_heights(band: DataArray, out: DataArray, correction: Any, bands: Sequence[int] = ()) -> None:
    """Add the correction, and the bands of several that it is for, to the history; drop what would round heights."""
    decoded = ("scale_factor", "add_offset") if band.dtype.kind == "f" else ()
    for key in ("dtype", "rasterio_dtype", *decoded):
        out.encoding.pop(key, None)
    for where in (out.attrs, out.encoding):
        if isinstance(where.get("_FillValue"), np.integer):
            where["_FillValue"] = out.dtype.type(where["_FillValue"])
    dz = "varies" if correction.constant is None else correction.constant * correction.gain
    record = {"did": "added the vertical correction", "dz": dz}
    add_history(out, record | ({"bands": [at + 1 for at in bands]} if 0 < len(bands) < len(band) else {}))


def _correct_heights(image: Any, plan: WarpPlan) -> Any:
    """Correct heights in place; an image without any is returned unchanged."""
    is_array, new = isinstance(image, DataArray), {}
    bands = spatial_bands(image, plan.frame.dims)
    for name, heights in heights_in(bands, plan.fit, plan.vertical, plan.resampling).items():
        if heights:
            old, band = image if is_array else image[name], bands[name]
            made = _resample_layers(band, plan, plan_layers(band, plan, heights))
            new[name] = old.copy(data=made.transpose(*old.dims).data)
            new[name].attrs, new[name].encoding = made.attrs, made.encoding
    if is_array:
        return new.get(image.name, image)
    return image.assign(new) if new else image


def describe_correction(fit: Coregistration, move: Displacement) -> dict[str, Any]:
    """Entry in the history of an image: the program, the fit and its numbers, the images it was made of, and when."""
    record: dict[str, Any] = {"by": f"xcoreg {version_of('xcoreg')}", "model": fit.model.kind if fit.model else None}
    if move.constant is not None:
        record["dx"], record["dy"] = move.constant
    origin = fit.details.origin
    known = {"fit": fit.id, "target": origin.target, "reference": origin.reference, "date": origin.date}
    return record | {name: text for name, text in known.items() if text}


def _bounds_text(grid: GeoBox) -> str:
    """Bounds in degrees, or in the CRS that has none, for messages."""
    row, col = outline(grid.shape.yx, 2)
    x, y = georef.pixel_to_map(grid.affine, col, row)
    if not georef.has_lonlat(grid.crs):
        return f"x {x.min():.10g} to {x.max():.10g} and y {y.min():.10g} to {y.max():.10g}"
    lon, lat = georef.transform_points(grid.crs, "EPSG:4326", x, y)
    return f"lon {lon.min():.4f} to {lon.max():.4f} and lat {lat.min():.4f} to {lat.max():.4f}"
