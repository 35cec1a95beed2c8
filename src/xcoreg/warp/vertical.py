"""Vertical corrections: which images they apply to, and what is added to the height of every output pixel.

The correction dz is a function of the position in the *target*: ``z_ref = z_tgt + dz``. An output pixel takes its
height from a source position; dz is that of the same position, so one interpolation corrects x, y and z. Where dz
varies it is exact on a lattice of output pixels and interpolated in between, within `TOLERANCE`, as positions are
(:mod:`xcoreg.warp.positions`): heights do not depend on the blocks requested.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.errors import OptionError
from xcoreg.raster.nodata import valid_mask
from xcoreg.warp.mapping import Mapping
from xcoreg.warp.positions import Patch, Patches, make_patch, patch_block, patches_under

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from xarray import DataArray

    from xcoreg.results.coregistration import Coregistration
    from xcoreg.warp.mapping import Mapping
    from xcoreg.warp.plan import Displacement


#: Largest error of an interpolated dz where it is checked, in the unit of the heights.
TOLERANCE = 1e-3

_SMALLEST_HEIGHTS = 2  # bytes of an integer that holds elevations


@dataclass(frozen=True)
class VerticalCorrection:
    """The vertical correction of every output pixel; make it with :meth:`of`.

    mapping : From output to source pixels, whose `move` holds the model.
    constant : The one dz for every place, None when it varies.
    """

    mapping: Mapping
    constant: float | None
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
        dz, valid = self.at(rows, cols), valid_mask(heights, nodata)
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


def corrects_heights(band: DataArray, fit: Coregistration, vertical: bool | None, resampling: str) -> bool:
    """Whether the vertical correction of a fit applies to a band."""
    kind = band.dtype.kind
    if vertical is None:
        heights = kind == "f" or (kind == "i" and band.dtype.itemsize >= _SMALLEST_HEIGHTS)
        return _constant(fit.model) != 0.0 and heights and resampling != "nearest"
    if vertical and _constant(fit.model) == 0.0:
        raise OptionError(
            "vertical=True, but the fit has no vertical correction: use an elevation matcher such as "
            "matcher='nuth_kaab'"
        )
    if vertical and kind not in "iuf":
        called = "the image" if band.name is None else str(band.name)
        raise OptionError(f"vertical=True, but {called} holds {band.dtype}, which are no elevations: leave it out")
    return vertical


def changes_values(image: Any, fit: Coregistration, vertical: bool | None = None, resampling: str = "cubic") -> bool:
    """Whether a fit changes values, not only positions: a file must not be copied byte by byte then."""
    bands = image.data_vars.values() if hasattr(image, "data_vars") else [image]
    return any(corrects_heights(band, fit, vertical, resampling) for band in bands)


def heights_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Choose the type of corrected heights."""
    if dtype.kind == "f":
        return dtype
    return np.dtype(np.float32 if np.can_cast(dtype, np.float32) else np.float64)
