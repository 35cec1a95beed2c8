"""Vertical corrections: which images they apply to, and what is added to the height of every output pixel.

The correction dz is a function of the position in the *target*: ``z_ref = z_tgt + dz``. An output pixel takes its
height from a source position; dz is that of the same position, so one interpolation corrects x, y and z. Where dz
varies it is exact on a lattice of output pixels and interpolated in between, within `TOLERANCE`, as positions are
(:mod:`xcoreg.warp.positions`): heights do not depend on the blocks requested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.errors import OptionError, warn_user
from xcoreg.raster.bands import (
    common_unit,
    entry_of,
    height_scaling,
    height_unit,
    name_of,
    pick_band,
    spatial_bands,
    spatial_dims,
)
from xcoreg.raster.georeference import parse_unit
from xcoreg.raster.grid import grid_of
from xcoreg.raster.nodata import valid_mask
from xcoreg.warp.mapping import Mapping
from xcoreg.warp.positions import Patch, Patches, make_patch, patch_block, patches_under

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping as Named

    from numpy.typing import NDArray
    from xarray import DataArray

    from xcoreg.results.coregistration import Coregistration
    from xcoreg.warp.mapping import Mapping
    from xcoreg.warp.plan import Displacement


#: Largest error of an interpolated dz where it is checked, in the unit of the heights.
TOLERANCE = 1e-3

_SAME_GRID = 1e-3  # px
_SMALLEST_HEIGHTS = 2  # bytes of an integer that holds elevations
# Words in the names of bands that hold heights, and of those that do not, although they may be lengths.
_HEIGHTS = re.compile(r"(^|[^a-z])(dem|dsm|dtm|dhm|hgt|z|elev|elevations?|heights?|altitudes?)([^a-z]|$)")
_OTHERS = re.compile(
    r"uncert|error|sigma|std|deviation|count|(^|[^a-z])(n|num|dh|dz)([^a-z]|$)|number|mask|quality|(^|_)qa|slope|aspect"
    r"|shade|weight|confidence|difference|change|rate|canopy|vegetation|building|snow|wave|roughness|distance"
)


@dataclass(frozen=True)
class VerticalCorrection:
    """The vertical correction of every output pixel; make it with :meth:`of`.

    mapping : From output to source pixels, whose `move` holds the model.
    constant : The one dz for every place, None when it varies.
    gain : Converts dz to the numbers it is added to.
    """

    mapping: Mapping
    constant: float | None
    gain: float = 1.0
    patches: Patches = field(default_factory=Patches, compare=False, repr=False)

    @classmethod
    def of(cls, mapping: Mapping) -> VerticalCorrection:
        """Take the vertical part of the model of a mapping."""
        return cls(mapping, _constant(mapping.move.model))

    def exact(self, rows: Any, cols: Any) -> tuple[Floats]:
        """Correction at output rows and columns, NaN where these have no source position."""
        return self._of_source(*self.mapping.source_of(rows, cols))

    def _of_source(self, row: Floats, col: Floats) -> tuple[Floats]:
        mapping, move = self.mapping, self.mapping.move
        x, y = georef.pixel_to_map(mapping.source.affine, col, row)
        with np.errstate(invalid="ignore"):
            x, y = georef.transform_points(move.crs, move.fit_crs, x, y)
        known = np.isfinite(x) & np.isfinite(y)
        dz = np.full(known.shape, np.nan)
        dz[known] = move.model.predict_dz(x[known], y[known])
        return (dz,)

    def at(self, rows: slice, cols: slice) -> Floats:
        """Correction of a block of the output, (n_rows, n_cols); of no dimension when it is constant."""
        if self.constant is not None:
            return np.array(self.constant)
        out = np.empty((rows.stop - rows.start, cols.stop - cols.start))
        for at, part in patches_under(rows, cols):
            patch = self.patches.get(at, partial(self._patch, at))
            row, col = (slice(p.start - s.start, p.stop - s.start) for p, s in zip(part, (rows, cols), strict=True))
            out[row, col] = patch.positions(*part)[0]
        return out

    def _patch(self, at: tuple[int, int]) -> Patch:
        block = patch_block(at, self.mapping.out.shape.yx)
        if self.mapping.matrix is not None:
            return make_patch(self.exact, block, None, TOLERANCE)
        # The positions of the mapping are accurate enough: the displacement is not inverted again.
        known = np.stack(self.mapping.positions(*block))

        def exact(rows: Any, cols: Any) -> tuple[Floats]:
            rows, cols = np.broadcast_arrays(np.asarray(rows), np.asarray(cols))
            inside = (rows < block[0].stop) & (cols < block[1].stop)
            here = rows[inside].astype(np.intp) - block[0].start, cols[inside].astype(np.intp) - block[1].start
            source = np.empty((2, *rows.shape))
            source[:, inside] = known[:, here[0], here[1]]
            source[:, ~inside] = self.mapping.exact(rows[~inside], cols[~inside])
            return self._of_source(*source)

        return make_patch(exact, block, None, TOLERANCE)

    def add_to(self, heights: NDArray[Any], rows: slice, cols: slice, nodata: float | None) -> None:
        """Add the correction to a block of heights, in place: heights (..., n_rows, n_cols) floating."""
        dz, valid = self.at(rows, cols) * self.gain, valid_mask(heights, nodata)
        np.add(heights, dz, out=heights, where=valid, casting="same_kind")
        if nodata is not None and np.isfinite(nodata):
            marker = heights.dtype.type(nodata)
            heights[valid & (heights == marker)] = np.nextafter(marker, heights.dtype.type(np.inf))
        if np.isnan(dz).any():
            heights[valid & np.isnan(heights)] = np.nan if nodata is None else nodata


def _constant(model: Any) -> float | None:
    """Constant dz of a model, 0 where it has none, None where it varies."""
    found = getattr(model, "dz_constant", 0.0)
    # NaN: unknown; heights stay unchanged.
    return None if found is None else float(np.nan_to_num(found))


def identity_mapping(grid: GeoBox, move: Displacement) -> Mapping:
    """Map every pixel to itself: values change, positions do not."""
    return Mapping(grid, grid, move, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))


def heights_in(
    bands: Named[Hashable, DataArray], fit: Coregistration | None, vertical: Any = None, resampling: str = "auto"
) -> dict[Hashable, tuple[int, ...]]:
    """Which bands (..., y, x) of an image the vertical correction of a fit is for: their positions, by array."""
    if vertical is False or fit is None or (vertical is None and _constant(fit.model) == 0.0):
        return dict.fromkeys(bands, ())
    if vertical is None:
        found = {
            name: tuple(at for at in range(_count(band)) if _holds_heights(band, at, fit, resampling))
            for name, band in bands.items()
        }
        _warn_of_none(bands, found, fit)
        return found
    if _constant(fit.model) == 0.0:
        raise OptionError(
            f"vertical={vertical!r}, but the fit has no vertical correction: use an elevation matcher such as "
            "matcher='nuth_kaab'"
        )
    found = _named(bands, vertical)
    for name, band in bands.items():
        if found[name] and band.dtype.kind not in "iuf":
            raise OptionError(
                f"vertical=True, but {name_of(band)} holds {band.dtype}, which are no elevations: leave it out"
            )
    return found


def _named(bands: Named[Hashable, DataArray], vertical: Any) -> dict[Hashable, tuple[int, ...]]:
    """Positions of the bands that a user names, by name or number from 1; True is all of them."""
    every = {name: tuple(range(_count(band))) for name, band in bands.items()}
    if vertical is True:
        return every
    chosen, names = vertical if isinstance(vertical, list | tuple) else [vertical], list(bands)
    found: dict[Hashable, tuple[int, ...]] = dict.fromkeys(bands, ())
    for one in chosen:
        if len(names) == 1:
            band = bands[names[0]]
            at = next(iter(pick_band(band, band.dims[-2:], one, "the image").values()), 0)  # type: ignore[arg-type]
            found[names[0]] += (at,)
        elif one in names or (isinstance(one, int) and 1 <= one <= len(names)):
            name = one if one in names else names[one - 1]
            found[name] = every[name]
        else:
            raise OptionError(f"vertical={one!r} is no variable of the image: it has {', '.join(map(str, names))}")
    return found


def _count(band: DataArray) -> int:
    """Count the bands along the first axis of an array (..., y, x)."""
    return int(band.shape[0]) if band.ndim > 2 else 1


def _holds_heights(band: DataArray, at: int, fit: Coregistration, resampling: str) -> bool:
    """Whether a band holds heights: by its name, its unit, or because it is the one that was matched."""
    if band.dtype.kind not in "iuf":
        return False
    label = entry_of(band, "long_name", at)
    words = " ".join(str(one) for one in (band.name, label, band.attrs.get("standard_name")) if one is not None).lower()
    if _OTHERS.search(words):
        return False
    unit = entry_of(band, "units", at)
    if _HEIGHTS.search(words) or (unit and parse_unit(unit).metres is not None):
        return True
    if unit or resampling == "nearest":  # another quantity, or perhaps a mask
        return False
    known = fit.details.heights
    if known is None:  # a fit made by hand or by an older version
        return band.dtype.kind == "f" or (band.dtype.kind == "i" and band.dtype.itemsize >= _SMALLEST_HEIGHTS)
    named = None if label is None else str(label)
    same = (known.variable, known.name) == (None if band.name is None else str(band.name), named)
    return same and known.position == at and known.dtype == str(band.dtype) and _on_grid_of(band, fit)


def _on_grid_of(band: DataArray, fit: Coregistration) -> bool:
    """Whether an array is the target of a fit, or a part of it, by its grid."""
    grid, own = grid_of(band, "the image"), fit.grid
    if not np.allclose(grid.affine[:2] + grid.affine[3:5], own.affine[:2] + own.affine[3:5], rtol=1e-12, atol=0.0):
        return False
    corners = (0, 0), (grid.shape[1], grid.shape[0])
    (left, top), (right, bottom) = (~own.affine @ (grid.affine @ corner) for corner in corners)
    whole = max(abs(left - round(left)), abs(top - round(top))) < _SAME_GRID
    return bool(whole and min(left, top, own.shape[1] - right, own.shape[0] - bottom) > -0.5)


def _warn_of_none(
    bands: Named[Hashable, DataArray], found: Named[Hashable, tuple[int, ...]], fit: Coregistration
) -> None:
    """Warn when numbers that may be heights are left as they are, because nothing says that they are heights."""
    if any(found.values()) or fit.details.heights is None:
        return
    open_ = [band for band in bands.values() if band.dtype.kind in "if" and band.dtype.itemsize >= _SMALLEST_HEIGHTS]
    if any(entry_of(band, "units") is None for band in open_):
        warn_user(
            "the fit has a vertical correction, but neither a name nor a unit says which band holds heights: dz is not "
            "added; give vertical=True or the name of the band, or vertical=False if there are no heights"
        )


def band_correction(
    correction: VerticalCorrection, band: DataArray, at: int, fit: Coregistration
) -> VerticalCorrection:
    """Correction in the unit of the stored numbers of a band."""
    if fit.details.heights is None:
        return correction
    own, gain = height_unit(band, georef.as_crs(correction.mapping.source.crs), at), height_scaling(band, at)[0]
    gain *= common_unit(parse_unit(fit.details.unit_z), own, ("dz of the fit", "the band"))[1]
    return correction if gain == 1.0 else replace(correction, gain=1.0 / gain)


def changes_values(image: Any, fit: Coregistration, vertical: Any = None, resampling: str = "auto") -> bool:
    """Whether a fit changes values, not only positions: a file must not be copied byte by byte then."""
    found = heights_in(spatial_bands(image, spatial_dims(image, "the image")), fit, vertical, resampling)
    return any(found.values())


def heights_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Choose the type of corrected heights."""
    if dtype.kind == "f":
        return dtype
    return np.dtype(np.float32 if np.can_cast(dtype, np.float32) else np.float64)
