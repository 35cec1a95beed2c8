"""What becomes of an image and of each of its bands, decided before a pixel is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core.area import STATISTICS
from xcoreg.core.kernels import KERNELS
from xcoreg.errors import GridError, OptionError, unknown_option, warn_user
from xcoreg.raster.bands import name_of
from xcoreg.raster.file_mask import MASK, layers_of
from xcoreg.raster.nodata import Validity, as_number, band_nodata, stored_nodata, unused_value, validity_of
from xcoreg.warp.vertical import VerticalCorrection, band_correction, heights_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xarray import DataArray

    from xcoreg.core import Floats
    from xcoreg.results.coregistration import Coregistration
    from xcoreg.warp.mapping import Mapping
    from xcoreg.warp.metadata import Frame

    Limits = tuple[np.floating[Any], np.floating[Any]]


_FIXED_POINT_STEPS, _NEWTON_STEPS = 5, 20
_CONVERGED = 1e-6  # px: smaller steps end the iteration
_ROUND_OFF = 8.0  # units in the last place of the coordinates: so do these
_SLOPE_STEP = 0.5  # px, for the slope of a displacement by differences


@dataclass(frozen=True)
class Displacement:
    """The correction of a fit in the CRS of an image.

    model : Correction at places of the CRS of the fit, in its units.
    fit_crs, crs : CRS of the fit and of the image, in any spelling.
    constant : The one correction for every place, in units of `crs`, when the model is a translation.
    pixel : Size of the image's pixels, units of `crs`, for the tolerance of the inverse.
    """

    model: Any
    fit_crs: Any
    crs: Any
    constant: tuple[float, float] | None
    pixel: float = 1.0

    @classmethod
    def of(cls, model: Any, fit_crs: Any, image: GeoBox) -> Displacement:
        """Bring a fitted model to the CRS of an image; a translation is transformed once, at its middle."""
        crs = georef.as_crs(image.crs)
        moving = cls(model, georef.as_crs(fit_crs), crs, None, min(georef.gsd(image.affine)))
        if model.kind != "translation":
            return moving
        rows, cols = image.shape
        dx, dy = moving.at(*georef.pixel_to_map(image.affine, cols / 2 - 0.5, rows / 2 - 0.5))
        if not (np.isfinite(dx) and np.isfinite(dy)):
            raise GridError(
                "the correction cannot be transformed to the CRS of the image, which lies outside of the CRS of the fit"
            )
        return cls(model, moving.fit_crs, crs, (float(dx), float(dy)), moving.pixel)

    def at(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Correction of target positions, all in the CRS of the image."""
        if self.constant is not None:
            return self.constant
        with np.errstate(invalid="ignore"):  # infinite outside of the CRS of the fit
            dx, dy = self.model.predict(*georef.transform_points(self.crs, self.fit_crs, x, y))
            return georef.local_displacement(x, y, dx, dy, self.fit_crs, self.crs)

    def invert(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Target positions q of corrected positions p: q + d(q) = p."""
        if self.constant is not None:
            return x - self.constant[0], y - self.constant[1]
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        wanted = np.stack([x.ravel(), y.ravel()])
        near = np.maximum(_CONVERGED * self.pixel, _ROUND_OFF * np.spacing(np.abs(wanted).max(axis=0)))
        found = wanted.copy()
        moving = np.flatnonzero(np.isfinite(wanted).all(axis=0))
        # Each position stops by itself: its result must not depend on its neighbours.
        for _ in range(_FIXED_POINT_STEPS):
            if not moving.size:
                break
            step = self._residual(wanted[:, moving], found[:, moving])
            found[:, moving] += step
            moving = moving[np.abs(step).max(axis=0) > near[moving]]  # false for NaN, which ends there
        if moving.size:
            found[:, moving] = self._newton(wanted[:, moving], found[:, moving], near[moving])
        return found[0].reshape(x.shape), found[1].reshape(x.shape)

    def _residual(self, wanted: Floats, at: Floats) -> Floats:
        """Distance from the corrected positions to the wanted ones."""
        missed: Floats = wanted - at - np.stack(self.at(*at))
        return missed

    def _newton(self, wanted: Floats, start: Floats, near: Floats) -> Floats:
        """Solve where the fixed point does not converge; steps that increase the residual are shortened."""
        best = start.copy()
        missed = self._residual(wanted, best)
        share = np.ones(best.shape[1])
        moving = np.arange(best.shape[1])
        for _ in range(_NEWTON_STEPS):
            moving = moving[(np.hypot(*missed[:, moving]) > near[moving]) & (share[moving] > _CONVERGED)]
            if not moving.size:
                break
            step = self._newton_step(best[:, moving], missed[:, moving])
            tried = best[:, moving] + share[moving] * step
            left = self._residual(wanted[:, moving], tried)
            better = np.hypot(*left) < np.hypot(*missed[:, moving])
            best[:, moving[better]], missed[:, moving[better]] = tried[:, better], left[:, better]
            share[moving] = np.where(better, 1.0, share[moving] / 4)
        return best

    def _newton_step(self, at: Floats, missed: Floats) -> Floats:
        """Newton step for a residual, by the slope of the field; the residual itself where the slope is singular."""
        (a, b), (c, d) = self.slope(*at)
        scale = (1 + a) * (1 + d) - b * c
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.stack([(1 + d) * missed[0] - b * missed[1], (1 + a) * missed[1] - c * missed[0]]) / scale
        return np.where(np.isfinite(step).all(axis=0), step, missed)

    def slope(self, x: Any, y: Any) -> Floats:
        """Slope of the correction, ((ddx/dx, ddx/dy), (ddy/dx, ddy/dy)), by differences over half a pixel."""
        apart = _SLOPE_STEP * self.pixel
        here, right, up = (np.stack(self.at(x + dx, y + dy)) for dx, dy in ((0.0, 0.0), (apart, 0.0), (0.0, apart)))
        return np.stack([right - here, up - here], axis=1) / apart


class ApplyKeywords(TypedDict, total=False):
    """Keyword options of :func:`xcoreg.apply`, which explains them."""

    align_grid: bool
    like: Any
    resolution: float | tuple[float, float] | None
    resampling: str
    nodata: float | None
    ref_grid: Any
    vertical: bool | int | str | Sequence[int | str] | None
    force: bool


#: Names of the options of :func:`xcoreg.apply`.
APPLY_OPTIONS = tuple(ApplyKeywords.__annotations__)
_FLAGS = {"flag_values", "flag_masks", "flag_meanings"}  # of classes, in the words of CF


def check_resampling(resampling: str, also: Iterable[str] = ()) -> None:
    """Refuse a kernel that does not exist."""
    known = ("auto", *KERNELS, *also)
    if str(resampling) not in known:
        raise OptionError(f"resampling={resampling!r} is unknown: choose one of {', '.join(known)}")


@dataclass(frozen=True, eq=False)
class ApplyOptions:
    """The options of :func:`xcoreg.apply`, checked."""

    align_grid: bool = False
    like: Any = None
    resolution: float | tuple[float, float] | None = None
    resampling: str = "auto"
    nodata: float | None = None
    ref_grid: Any = None
    vertical: bool | int | str | Sequence[int | str] | None = None
    force: bool = False

    @classmethod
    def checked(cls, given: dict[str, Any]) -> ApplyOptions:
        """Check options as a user gave them."""
        for name in given:
            if name not in APPLY_OPTIONS:
                raise unknown_option(name, APPLY_OPTIONS)
        return cls(**given)

    def __post_init__(self) -> None:
        check_resampling(self.resampling, STATISTICS)
        if self.nodata is not None:
            as_number(self.nodata, "the image")
        named = self.vertical if isinstance(self.vertical, list | tuple) else [self.vertical]
        if not all(one is None or isinstance(one, bool | int | str) for one in named):
            raise OptionError(f"vertical is {self.vertical!r:.80}: give True, False, or the bands that hold heights")
        for name in ("align_grid", "force"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise OptionError(f"{name} is {getattr(self, name)!r:.80}: give True or False")
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


@dataclass(frozen=True)
class WarpPlan:
    """What is the same for all bands of an image.

    mapping : From output pixels to source pixels.
    frame : The output grid, its dimensions and coordinates.
    nodata : Marks missing pixels; default: the stored marker of each band.
    found_nodata : Marker that the match has found in the pixels, used where none is stored.
    fit : Its vertical correction is added to bands that hold heights; None adds nothing.
    vertical : Whether to add it, or the bands to which; None decides by the band.
    """

    mapping: Mapping
    frame: Frame
    resampling: str
    nodata: float | None = None
    found_nodata: Any = None
    fit: Coregistration | None = None
    vertical: Any = None
    correction: VerticalCorrection | None = None


@dataclass(frozen=True)
class BandPlan:
    """What becomes of one band.

    kernel : One of ``core.kernels.KERNELS`` or ``core.area.STATISTICS``; see :func:`kernel_of`.
    dtype : Of the output; that of the band, unless heights are corrected.
    validity : Which values of the band are data.
    fill : Value of missing output pixels.
    records_fill : Whether `fill` has to be recorded as the nodata value of the output.
    needs_mask : Whether missing output pixels have no value of their own, so that a mask has to mark them.
    limits : Range that a decoded band (masked, scaled) can take in its file; None where any value can be stored.
    correction : Added to the heights of the band.
    """

    kernel: str
    dtype: np.dtype[Any]
    validity: Validity
    fill: float | int | bool
    records_fill: bool
    needs_mask: bool
    limits: Limits | None
    correction: VerticalCorrection | None

    @property
    def nodata(self) -> float | int | None:
        """Marks missing pixels of the band, besides NaN and infinity."""
        return self.validity.nodata


def plan_image(mapping: Mapping, frame: Frame, fit: Coregistration, options: ApplyOptions) -> WarpPlan:
    """Plan what all bands share."""
    found = _found_nodata(fit, mapping.source, options.resampling)
    correction = VerticalCorrection.of(mapping)
    return WarpPlan(mapping, frame, options.resampling, options.nodata, found, fit, options.vertical, correction)


def plan_layers(band: DataArray, plan: WarpPlan, heights: tuple[int, ...] = ()) -> list[tuple[DataArray, BandPlan]]:
    """Plan an array, or each of its bands where these differ in markers, masks or in what holds heights."""
    layers = layers_of(band, apart=0 < len(heights) < (len(band) if band.ndim > 2 else 1))
    dtype, planned = heights_dtype(band.dtype) if heights else band.dtype, []
    for at, layer in enumerate(layers):
        correction = None
        if heights and (len(layers) == 1 or at in heights) and plan.correction is not None and plan.fit is not None:
            position = heights[0] if len(layers) == 1 else at
            correction = band_correction(plan.correction, band, position, plan.fit)
        planned.append((layer, plan_band(layer, plan, correction, dtype)))
    return planned


def plan_band(band: DataArray, plan: WarpPlan, correction: VerticalCorrection | None, dtype: np.dtype[Any]) -> BandPlan:
    """Plan one band, without reading its pixels; dtype is that of the output."""
    kind = band.dtype.kind
    if kind not in "biuf":
        cure = "resample da.real and da.imag" if kind == "c" else "leave it out"
        raise OptionError(f"{name_of(band)} holds {band.dtype}, which cannot be interpolated: {cure}")
    kernel = kernel_of(band, plan.resampling)
    found = plan.found_nodata if kernel != "nearest" and MASK not in band.coords else None
    nodata = band_nodata(band, plan.nodata, found)
    validity = validity_of(band, nodata, given=plan.nodata is not None)
    fill, records_fill, needs_mask = _fill(band, validity, (kernel, dtype), plan.mapping)
    limits = _limits(band) if correction is None and dtype == band.dtype and kernel != "nearest" else None
    return BandPlan(kernel, dtype, validity, fill, records_fill, needs_mask, limits, correction)


def kernel_of(band: DataArray, resampling: str) -> str:
    """Kernel for a band: "auto" is cubic, and nearest for classes; booleans are always taken from the nearest pixel."""
    classes = holds_classes(band)
    if resampling == "auto" or band.dtype.kind == "b":
        return "nearest" if classes else "cubic"
    if classes and resampling not in ("nearest", "mode"):
        warn_user(
            f"{name_of(band)} holds classes (a colour table, flags or single bits), and resampling={resampling!r} "
            "mixes their numbers into others: leave it out, or give resampling='nearest' or 'mode'"
        )
    return resampling


def holds_classes(band: DataArray) -> bool:
    """Whether the numbers of a band are classes, by what its file or CF attributes say."""
    found = band.encoding.get("gdal") or {}
    tags = [band.attrs, *(each.get("", {}) for each in found.get("band_tags", []))]
    return bool(
        band.dtype.kind == "b"
        or found.get("classes")
        or any(_FLAGS & each.keys() or each.get("LAYER_TYPE") == "thematic" for each in tags)
    )


def _found_nodata(fit: Coregistration, image: GeoBox, resampling: str) -> Any:
    """Nodata value that the match found in the target, for images on the same grid that are not masks."""
    same = fit.shape == image.shape and np.allclose(fit.transform, image.affine[:6], rtol=1e-12, atol=0.0)
    usable = same and resampling != "nearest" and not fit.details.nodata_is_stored
    return fit.details.tgt_nodata if usable else None


def _fill(
    band: DataArray, validity: Validity, output: tuple[str, np.dtype[Any]], mapping: Mapping
) -> tuple[float | int | bool, bool, bool]:
    """Value of missing output pixels, whether it has to be recorded as nodata, and whether a mask is needed."""
    dtype, nodata, masked = output[1], validity.nodata, MASK in band.coords
    if dtype.kind == "b":
        return False, False, not (mapping.is_covered or masked)
    if band.dtype.kind == "f" and band.encoding.get("_FillValue") is not None:
        return np.nan, False, False  # decoded: missing is NaN, whatever stands in the file
    if nodata is not None:
        stored = stored_nodata(band)
        return nodata, stored is None or not np.array_equal(stored, nodata, equal_nan=True), False
    if dtype.kind == "f":
        return np.nan, masked or not mapping.is_covered, False
    if masked or (mapping.is_covered and validity == Validity()):
        return 0, False, False
    return _fill_integers(band, validity, output[0] == "nearest")


def _fill_integers(band: DataArray, validity: Validity, copies: bool) -> tuple[int, bool, bool]:
    """Value of missing pixels of an integer image without a nodata value: one that is no data, or else a mask."""
    info = np.iinfo(band.dtype)
    preferred = int(info.min if info.min else (info.max if copies else 0))
    outside = (
        value for value in (preferred, int(info.min), int(info.max)) if not validity.of(np.array(value, band.dtype))
    )
    fill, pixels = next(outside, None), band.variable._data
    why = "lies outside its valid range" if fill is not None else "does not occur in it"
    if fill is None and isinstance(pixels, np.ndarray):
        fill = unused_value(pixels, preferred, copies)
    name = f"{name_of(band)} ({band.dtype}) has no nodata value, but pixels without data appear"
    if fill is not None:
        warn_user(
            f"{name}: they are set to {fill}, which {why} and is recorded as nodata; pass nodata= to choose another"
        )
        return fill, True, False
    warn_user(
        f"{name}: they are set to 0 and marked by the coordinate {MASK!r}, written to files as their mask: "
        "any value may be data; pass nodata= to choose a value instead"
    )
    return 0, False, True


def _limits(band: DataArray) -> Limits | None:
    """Range that a decoded image (masked, scaled) can take in its file: beyond it integers would wrap around."""
    stored = band.encoding.get("dtype", band.encoding.get("rasterio_dtype"))
    if band.dtype.kind != "f" or stored is None or np.dtype(stored).kind not in "iu":
        return None
    info, marker = np.iinfo(stored), band.encoding.get("_FillValue")
    ends = [info.min + int(marker == info.min), info.max - int(marker == info.max)]
    scale, offset = (band.encoding.get(key, neutral) for key, neutral in (("scale_factor", 1.0), ("add_offset", 0.0)))
    low, high = sorted(end * float(scale) + float(offset) for end in ends)
    kind = band.dtype.type
    lowest, highest = kind(low), kind(high)  # rounding to the precision of the image must not leave the range
    return (
        lowest if lowest >= low else np.nextafter(lowest, kind(np.inf)),
        highest if highest <= high else np.nextafter(highest, kind(-np.inf)),
    )
