"""From a fit and an image to the corrected image.

What a user may ask of `apply`.

What is to be said of a displacement field before an image is warped by it, from a few thousand places.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, cast

import numpy as np
from xarray import DataArray, Dataset

from xcoreg import georef
from xcoreg.core.arrays import Floats
from xcoreg.core.kernels import KERNELS
from xcoreg.errors import CoregWarning, Extrapolation, MatchError, NoOverlap, OptionError, warn_user
from xcoreg.raster.bands import spatial_dims
from xcoreg.raster.grid import grid_of
from xcoreg.raster.nodata import band_nodata, stored_nodata
from xcoreg.warp.mapping import Displacement, Grid, Mapping, aligned_grid, compose, outline, reference_grid
from xcoreg.warp.metadata import Frame, frame_like, frame_near, moved, note, regridded
from xcoreg.warp.resample import Resampler, resample
from xcoreg.warp.vertical import Rise, in_place, is_raised, raised_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from xcoreg.results.coregistration import Coregistration


class ApplyOptions(TypedDict, total=False):
    """Keyword options of :func:`xcoreg.apply`, which tells what they mean."""

    align_grid: bool
    like: Any
    resolution: float | tuple[float, float] | None
    resampling: str
    nodata: float | None
    ref_grid: Any
    vertical: bool | None


#: Names of the options of :func:`xcoreg.apply`.
APPLY_OPTIONS = tuple(ApplyOptions.__annotations__)


@dataclass(frozen=True, eq=False)
class How:
    """The options of :func:`xcoreg.apply`, checked."""

    align_grid: bool = False
    like: Any = None
    resolution: float | tuple[float, float] | None = None
    resampling: str = "cubic"
    nodata: float | None = None
    ref_grid: Any = None
    vertical: bool | None = None

    def __post_init__(self) -> None:
        if self.resampling not in KERNELS:
            raise OptionError(f"resampling={self.resampling!r} is unknown: choose one of {', '.join(KERNELS)}")
        if self.is_aligned and self.like is not None:
            raise OptionError(
                "like= and align_grid=, resolution=, ref_grid= each choose the output grid: give one of them"
            )

    @property
    def is_aligned(self) -> bool:
        """Whether the lattice of the reference is asked for."""
        return self.align_grid or self.resolution is not None or self.ref_grid is not None

    @property
    def is_regrid(self) -> bool:
        """Whether an output grid is asked for at all."""
        return self.is_aligned or self.like is not None


_PLACES = 65  # along each axis of the output
_CONSIDERABLE = 0.01  # of the output on the image
_UNSOLVED = 0.01  # px
# Beyond its tie points a model that is known this well (standard deviation, px) is as good as between them: every image
# has a rim of half a window.
_KNOWN = 0.1


def doubts(mapping: Mapping) -> Iterator[tuple[str, type[CoregWarning]]]:
    """Tell where a field is used beyond its tie points, and where it has no inverse."""
    move, source = mapping.move, mapping.source
    if move.constant is not None:
        return
    # Middles of 65 x 65 parts of equal size: each place stands for its part, none for the rim.
    parts = [(np.arange(_PLACES) + 0.5) * (size / _PLACES) - 0.5 for size in mapping.out.shape]
    out_row, out_col = np.repeat(parts[0], _PLACES), np.tile(parts[1], _PLACES)
    row, col = mapping.exact(out_row, out_col)
    with np.errstate(invalid="ignore"):
        inside = (np.abs(row - source.shape[0] / 2 + 0.5) <= source.shape[0] / 2) & (
            np.abs(col - source.shape[1] / 2 + 0.5) <= source.shape[1] / 2
        )
    if not inside.any():
        return
    x, y = georef.pixel_to_map(source.transform, col[inside], row[inside])
    at = georef.transform_points(move.crs, move.fit_crs, x, y)
    guessed = _guessed(move.model, *at, move.pixel)
    share = float(np.mean(guessed))
    if share > _CONSIDERABLE:
        yield (
            f"{share:.0%} of the output lies where the model ({move.model.kind}) extrapolates, far from its "
            "tie points, and may be off by a good part of a pixel: match with more windows there, choose a simpler "
            "model, or leave these pixels out",
            Extrapolation,
        )
    (a, b), (c, d) = move.slope(x, y)
    wanted = np.stack(georef.pixel_to_map(mapping.out.transform, out_col[inside], out_row[inside]))
    wanted = np.stack(georef.transform_points(mapping.out.crs, source.crs, wanted[0], wanted[1], near=source.centre[0]))
    missed = np.hypot(*(np.stack([x, y]) + np.stack(move.at(x, y)) - wanted))
    folded = float(np.mean(((1 + a) * (1 + d) <= b * c) | (missed > _UNSOLVED * move.pixel)))
    if folded > 0:
        yield (
            f"the correction folds over itself or is torn on about {folded:.1%} of the output: neighbours would change "
            "places or part, so these pixels cannot be trusted; remove tie points that contradict each other, or "
            "choose a smoother model",
            CoregWarning,
        )


def _guessed(model: Any, x: Floats, y: Floats, pixel: float) -> NDArray[np.bool_]:
    """Tell where a model extrapolates without knowing well."""
    tells, spread = getattr(model, "extrapolates", None), getattr(model, "predict_cov", None)
    if tells is None:
        return np.zeros(np.shape(x), bool)
    beyond = np.asarray(tells(x, y), bool)
    if spread is not None and beyond.any():
        cov = spread(np.asarray(x)[beyond], np.asarray(y)[beyond])
        beyond[beyond] = ~(np.sqrt(np.trace(cov, axis1=-2, axis2=-1) / 2) < _KNOWN * pixel)
    return beyond


_Image = TypeVar("_Image", DataArray, Dataset)


def apply(image: _Image, fit: Coregistration, **options: Unpack[ApplyOptions]) -> _Image:
    """Correct an image that has a transform by a fit; see :func:`xcoreg.apply`."""
    how = How(**options)
    _check(image, fit)
    dims = spatial_dims(image, "the image")
    source = Grid.of(grid_of(image, "the image", dims))
    move = Displacement.of(fit.model, fit.crs_wkt or source.crs, source)
    record = _record(fit, move)
    if move.constant is not None and not how.is_regrid:
        job = _job(in_place(source, move), Frame(source, dims, ""), fit, how)
        record = {"did": "moved the transform", **record}
        return cast("_Image", moved(_lifted(image, job), dims, source, move.constant, record))
    if isinstance(how.like, DataArray | Dataset):
        frame = frame_like(how.like)
    elif how.like is not None:
        frame = frame_near(image, dims, source, _grid_of_box(how.like))
    elif how.is_aligned:
        ref = reference_grid(fit.details.ref_grid, how.ref_grid)
        frame = frame_near(image, dims, source, aligned_grid(source, move, ref, how.resolution))
    else:
        frame = frame_near(image, dims, source, source)
    mapping = compose(frame.grid, source, move)
    if mapping is None:
        raise NoOverlap(f"no pixel of the output falls on the corrected image: {_where(frame.grid)}, {_where(source)}")
    for message, category in doubts(mapping):
        warn_user(message, category)
    job = _job(mapping, frame, fit, how)
    record = {"did": f"resampled ({how.resampling})", **record}
    return cast("_Image", regridded(image, dims, frame, partial(resampled, job=job), record))


def _check(image: Any, fit: Coregistration) -> None:
    if not isinstance(image, DataArray | Dataset):
        raise OptionError(f"cannot correct a {type(image).__name__}: give a DataArray or Dataset (xcoreg.open_raster)")
    if not fit.ok or fit.model is None:
        raise MatchError(f"the fit is not to be trusted and will not be applied: {fit.status.reason}", fit.points)


def _job(mapping: Mapping, frame: Frame, fit: Coregistration, how: How) -> Job:
    found = _found_nodata(fit, mapping.source, how.resampling)
    lifts = partial(is_raised, fit=fit, vertical=how.vertical, resampling=how.resampling)
    return Job(mapping, frame, how.resampling, how.nodata, found, Rise.of(mapping), lifts)


def _found_nodata(fit: Coregistration, image: Grid, resampling: str) -> Any:
    """Nodata that the fit knows of the target, for an image on the very grid of the target that is no mask."""
    same = fit.shape == image.shape and np.allclose(fit.transform, image.transform, rtol=1e-12, atol=0.0)
    return fit.details.tgt_nodata if same and resampling != "nearest" else None


@dataclass(frozen=True)
class Job:
    """What is the same for all variables of an image.

    mapping : From output pixels to source pixels.
    frame : The output grid, its dimensions and coordinates.
    nodata : Marks missing pixels; default: the stored marker of each variable.
    found : Marker found in the pixels, where none is stored.
    rise : Correction of heights.
    lifts : Which variables get it.
    """

    mapping: Mapping
    frame: Frame
    resampling: str
    nodata: float | None = None
    found: Any = None
    rise: Rise | None = None
    lifts: Callable[[DataArray], bool] = lambda _: False


def resampled(band: DataArray, job: Job) -> DataArray:
    """Interpolate one array.

    band (..., y, x) DataArray -> (..., y, x) DataArray.
    """
    kind = band.dtype.kind
    if kind not in "biuf":
        cure = "resample da.real and da.imag" if kind == "c" else "leave it out"
        raise OptionError(f"{_called(band)} holds {band.dtype}, which cannot be interpolated: {cure}")
    kernel = "nearest" if kind == "b" else job.resampling
    rise = job.rise if job.lifts(band) else None
    dtype = band.dtype if rise is None else raised_dtype(band.dtype)
    marker = _marker(band, job, kernel)
    fill, record = _fill(band, marker, (kernel, dtype), job.mapping)
    resampler = Resampler(job.mapping, job.frame.grid.shape, kernel, marker, fill, str(dtype), rise)
    out = DataArray(resample(band, resampler), dims=(*band.dims[:-2], *job.frame.dims), attrs=dict(band.attrs))
    limits = _limits(band) if rise is None else None
    if limits is not None and kernel != "nearest":
        out = out.clip(*limits, keep_attrs=True)
    out.encoding = dict(band.encoding)
    if rise is not None:
        _tell_heights(band, out, rise)
    if record:
        out.attrs["_FillValue"] = dtype.type(fill)
        if "nodata" in out.attrs:
            out.attrs["nodata"] = fill
    return out


def _tell_heights(band: DataArray, out: DataArray, rise: Rise) -> None:
    """Note that heights were corrected, and forget how a file would round them."""
    decoded = ("scale_factor", "add_offset") if band.dtype.kind == "f" else ()
    for key in ("dtype", "rasterio_dtype", *decoded):
        out.encoding.pop(key, None)
    for where in (out.attrs, out.encoding):
        if isinstance(where.get("_FillValue"), np.integer):
            where["_FillValue"] = out.dtype.type(where["_FillValue"])
    dz = "varies" if rise.constant is None else rise.constant
    note(out, {"did": "added the vertical correction", "dz": dz})


def _lifted(image: Any, job: Job) -> Any:
    """Correct heights where they are; an image without any is returned as it is."""
    dims = job.frame.dims
    if isinstance(image, Dataset):
        bands = {name: each for name, each in image.data_vars.items() if set(dims) <= set(each.dims)}
        new = {name: _lifted(each, job) for name, each in bands.items() if job.lifts(each)}
        return image.assign(new) if new else image
    if not job.lifts(image):
        return image
    made = resampled(image.transpose(*(dim for dim in image.dims if dim not in dims), *dims), job)
    out = image.copy(data=made.transpose(*image.dims).data)
    out.attrs, out.encoding = made.attrs, made.encoding
    return out


def _limits(band: DataArray) -> tuple[np.floating[Any], np.floating[Any]] | None:
    """Range that a decoded image (masked, scaled) can take in its file: beyond it integers would wrap around."""
    stored = band.encoding.get("dtype", band.encoding.get("rasterio_dtype"))
    if band.dtype.kind != "f" or stored is None or np.dtype(stored).kind not in "iu":
        return None
    info, marker = np.iinfo(stored), band.encoding.get("_FillValue")
    ends = [info.min + int(marker == info.min), info.max - int(marker == info.max)]
    scale, offset = (band.encoding.get(key, neutral) for key, neutral in (("scale_factor", 1.0), ("add_offset", 0.0)))
    low, high = sorted(end * float(scale) + float(offset) for end in ends)
    kind = band.dtype.type
    low_kept, high_kept = kind(low), kind(high)  # rounding to the image's own precision must not leave the range
    return (
        low_kept if low_kept >= low else np.nextafter(low_kept, kind(np.inf)),
        high_kept if high_kept <= high else np.nextafter(high_kept, kind(-np.inf)),
    )


def _marker(band: DataArray, job: Job, kernel: str) -> float | int | None:
    """Nodata of an array, without looking at its pixels."""
    return band_nodata(band, job.nodata, job.found if kernel != "nearest" else None)


def _fill(
    band: DataArray, marker: float | int | None, how: tuple[str, np.dtype[Any]], mapping: Mapping
) -> tuple[float | int | bool, bool]:
    """Value of missing output pixels, and whether it has to be recorded as nodata."""
    kernel, dtype = how
    if dtype.kind == "b":
        return False, False
    if band.dtype.kind == "f" and band.encoding.get("_FillValue") is not None:
        return np.nan, False  # decoded: missing is NaN, whatever stands in the file
    if marker is not None:
        stored = stored_nodata(band)
        return marker, stored is None or not np.array_equal(stored, marker, equal_nan=True)
    if dtype.kind == "f":
        return np.nan, not mapping.covered
    if mapping.covered:
        return 0, False
    info = np.iinfo(dtype)
    fill = info.min if dtype.kind == "i" else (info.max if kernel == "nearest" else 0)
    warn_user(
        f"{_called(band)} ({dtype}) has no nodata value, but pixels without data appear: they are set to "
        f"{fill}, which is recorded as nodata; pass nodata= to choose another"
    )
    return fill, True


def _called(band: DataArray) -> str:
    return "the image" if band.name is None else str(band.name)


def _grid_of_box(like: Any) -> Grid:
    if not all(hasattr(like, name) for name in ("affine", "shape", "crs")):
        raise OptionError(f"like= is a {type(like).__name__}: give a DataArray, a Dataset or a GeoBox")
    if like.crs is None:
        raise OptionError("like= has no CRS: make the GeoBox with one")
    return Grid.of(like)


def _record(fit: Coregistration, move: Displacement) -> dict[str, Any]:
    """Note, in short, what an image was corrected by."""
    try:
        by = f"xcoreg {version('xcoreg')}"
    except PackageNotFoundError:
        by = "xcoreg"
    record: dict[str, Any] = {"by": by, "model": fit.model.kind if fit.model is not None else None}
    if move.constant is not None:
        record["dx"], record["dy"] = move.constant
    return record


def _where(grid: Grid) -> str:
    """Tell bounds in degrees, for messages."""
    row, col = outline(grid.shape, 2)
    lon, lat = georef.transform_points(grid.crs, "EPSG:4326", *georef.pixel_to_map(grid.transform, col, row))
    return f"lon {lon.min():.4f} to {lon.max():.4f} and lat {lat.min():.4f} to {lat.max():.4f}"
