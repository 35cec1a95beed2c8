"""What becomes of an image and of each of its bands, decided before a pixel is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg.core.kernels import KERNELS
from xcoreg.errors import OptionError, unknown_option, warn_user
from xcoreg.raster.nodata import band_nodata, stored_nodata
from xcoreg.warp.vertical import VerticalCorrection, band_correction, heights_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xarray import DataArray

    from xcoreg.results.coregistration import Coregistration
    from xcoreg.warp.mapping import Mapping
    from xcoreg.warp.metadata import Frame

    Limits = tuple[np.floating[Any], np.floating[Any]]


class ApplyKeywords(TypedDict, total=False):
    """Keyword options of :func:`xcoreg.apply`, which explains them."""

    align_grid: bool
    like: Any
    resolution: float | tuple[float, float] | None
    resampling: str
    nodata: float | None
    ref_grid: Any
    vertical: bool | int | str | Sequence[int | str] | None


#: Names of the options of :func:`xcoreg.apply`.
APPLY_OPTIONS = tuple(ApplyKeywords.__annotations__)
_FLAGS = {"flag_values", "flag_masks", "flag_meanings"}  # of classes, in the words of CF


def check_resampling(resampling: str) -> None:
    """Refuse a kernel that does not exist."""
    if resampling not in ("auto", *KERNELS):
        raise OptionError(f"resampling={resampling!r} is unknown: choose one of auto, {', '.join(KERNELS)}")


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

    @classmethod
    def checked(cls, given: dict[str, Any]) -> ApplyOptions:
        """Check options as a user gave them."""
        for name in given:
            if name not in APPLY_OPTIONS:
                raise unknown_option(name, APPLY_OPTIONS)
        return cls(**given)

    def __post_init__(self) -> None:
        check_resampling(self.resampling)
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

    kernel : One of ``core.kernels.KERNELS``; see :func:`kernel_of`.
    dtype : Of the output; that of the band, unless heights are corrected.
    nodata : Marks missing pixels of the band, besides NaN and infinity.
    fill : Value of missing output pixels.
    records_fill : Whether `fill` has to be recorded as the nodata value of the output.
    limits : Range that a decoded band (masked, scaled) can take in its file; None where any value can be stored.
    correction : Added to the heights of the band.
    heights : Positions of the bands that hold them, in an array of several.
    """

    kernel: str
    dtype: np.dtype[Any]
    nodata: float | int | None
    fill: float | int | bool
    records_fill: bool
    limits: Limits | None
    correction: VerticalCorrection | None
    heights: tuple[int, ...] = ()


def plan_image(mapping: Mapping, frame: Frame, fit: Coregistration, options: ApplyOptions) -> WarpPlan:
    """Plan what all bands share."""
    found = _found_nodata(fit, mapping.source, options.resampling)
    correction = VerticalCorrection.of(mapping)
    return WarpPlan(mapping, frame, options.resampling, options.nodata, found, fit, options.vertical, correction)


def plan_band(band: DataArray, plan: WarpPlan, heights: tuple[int, ...] = ()) -> BandPlan:
    """Plan one band, without reading its pixels."""
    kind = band.dtype.kind
    if kind not in "biuf":
        cure = "resample da.real and da.imag" if kind == "c" else "leave it out"
        raise OptionError(f"{_name_of(band)} holds {band.dtype}, which cannot be interpolated: {cure}")
    kernel = kernel_of(band, plan.resampling)
    correction = None
    if heights and plan.correction is not None and plan.fit is not None:
        correction = band_correction(plan.correction, band, heights[0], plan.fit)
    dtype = band.dtype if correction is None else heights_dtype(band.dtype)
    nodata = band_nodata(band, plan.nodata, plan.found_nodata if kernel != "nearest" else None)
    fill, records_fill = _fill(band, nodata, (kernel, dtype), plan.mapping)
    limits = _limits(band) if correction is None and kernel != "nearest" else None
    return BandPlan(kernel, dtype, nodata, fill, records_fill, limits, correction, heights)


def kernel_of(band: DataArray, resampling: str) -> str:
    """Kernel for a band: "auto" is cubic, and nearest for classes; booleans are always taken from the nearest pixel."""
    classes = holds_classes(band)
    if resampling == "auto" or band.dtype.kind == "b":
        return "nearest" if classes else "cubic"
    if classes and resampling != "nearest":
        warn_user(
            f"{_name_of(band)} holds classes (a colour table, flags or single bits), and resampling={resampling!r} "
            "mixes their numbers into others: leave it out, or give resampling='nearest'"
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
    return fit.details.tgt_nodata if same and resampling != "nearest" else None


def _fill(
    band: DataArray, nodata: float | int | None, output: tuple[str, np.dtype[Any]], mapping: Mapping
) -> tuple[float | int | bool, bool]:
    """Value of missing output pixels, and whether it has to be recorded as nodata."""
    kernel, dtype = output
    if dtype.kind == "b":
        return False, False
    if band.dtype.kind == "f" and band.encoding.get("_FillValue") is not None:
        return np.nan, False  # decoded: missing is NaN, whatever stands in the file
    if nodata is not None:
        stored = stored_nodata(band)
        return nodata, stored is None or not np.array_equal(stored, nodata, equal_nan=True)
    if dtype.kind == "f":
        return np.nan, not mapping.is_covered
    if mapping.is_covered:
        return 0, False
    info = np.iinfo(dtype)
    fill = info.min if dtype.kind == "i" else (info.max if kernel == "nearest" else 0)
    warn_user(
        f"{_name_of(band)} ({dtype}) has no nodata value, but pixels without data appear: they are set to "
        f"{fill}, which is recorded as nodata; pass nodata= to choose another"
    )
    return fill, True


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


def _name_of(band: DataArray) -> str:
    return "the image" if band.name is None else str(band.name)
