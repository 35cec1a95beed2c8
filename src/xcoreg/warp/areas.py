"""Statistics of the source pixels under each output pixel, and the resampler that a kernel needs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg.core import Array
from xcoreg.core.area import STATISTICS, summarise
from xcoreg.core.sampling import sample, sample_axes, work_dtype
from xcoreg.warp.mapping import compose
from xcoreg.warp.resample import Resampler

if TYPE_CHECKING:
    from xcoreg.warp.mapping import Box, Mapping
    from xcoreg.warp.plan import BandPlan
    from xcoreg.warp.resample import Layers

# Places of a statistic along each side of an output pixel: per source pixel, fewest, most.
_PLACES, _LEAST, _MOST = 2.0, 4, 64
_STRIP = 1 << 18  # places at once


@dataclass(frozen=True)
class AreaResampler(Resampler):
    """Takes a statistic of the source pixels under each output pixel, from places spread evenly over it.

    finer : From a grid of those places to source pixels; None where they do not meet.
    parts : Places along rows and columns of an output pixel: four at least, and of means of large areas more.
    """

    finer: Mapping | None = None
    parts: tuple[int, int] = (1, 1)

    @classmethod
    def of_finer(cls, one: Resampler, mapping: Mapping) -> AreaResampler:
        """Make it of a resampler whose kernel is the name of a statistic."""
        dense = _PLACES * (2 if one.kernel == "average" else 1)
        by_row, by_col = (int(np.clip(np.ceil(dense * scale), _LEAST, _MOST)) for scale in mapping.scale)
        rows, cols = mapping.out.shape
        affine = mapping.out.affine @ Affine.scale(1 / by_col, 1 / by_row)
        finer = compose(GeoBox((rows * by_row, cols * by_col), affine, mapping.out.crs), mapping.source, mapping.move)
        return cls(**{f.name: getattr(one, f.name) for f in fields(one)}, finer=finer, parts=(by_row, by_col))

    @property
    def blocks_first(self) -> tuple[int, int]:
        """No averages: a statistic is one of pixels."""
        return (1, 1)

    def box(self, rows: slice, cols: slice) -> Box:
        """Source pixels that a block of the output needs; (0, 0, 0, 0) when none."""
        return (0, 0, 0, 0) if self.finer is None else self.finer.window(*self._places(rows, cols), 2)

    def _places(self, rows: slice, cols: slice) -> tuple[slice, slice]:
        by_row, by_col = self.parts
        return slice(rows.start * by_row, rows.stop * by_row), slice(cols.start * by_col, cols.stop * by_col)

    def _resample_tiles(
        self, mapping: Mapping, layers: Layers, origin: tuple[int, int], block: tuple[slice, slice]
    ) -> Array:
        """Make a block in strips of rows."""
        del mapping  # that of the finer grid is used
        rows, cols = block
        out = np.full((*layers[0].shape[:-2], rows.stop - rows.start, cols.stop - cols.start), self.fill, self.dtype)
        valid = self._valid(*layers)
        strip = max(_STRIP // max((cols.stop - cols.start) * self.parts[0] * self.parts[1], 1), 1)
        for start in range(rows.start, rows.stop, strip):
            part = slice(start, min(start + strip, rows.stop))
            out[..., part.start - rows.start : part.stop - rows.start, :] = self._summarise(
                (layers[0], valid), origin, (part, cols)
            )
        return out

    def _resample_axes(
        self, mapping: Mapping, layers: Layers, origin: tuple[int, int], block: tuple[slice, slice]
    ) -> Array:
        """Make a block of a parallel grid alike."""
        return self._resample_tiles(mapping, layers, origin, block)

    def _summarise(self, layers: Layers, origin: tuple[int, int], block: tuple[slice, slice]) -> Array:
        """Take the nearest source pixels at all places, and their statistic."""
        (source, valid), finer = layers, self.finer
        places = self._places(*block)
        if finer is not None and finer.is_parallel:
            rows, cols = (axis - start for axis, start in zip(finer.axes(*places), origin, strict=True))
            values, good = sample_axes(source, valid, rows, cols, "nearest")
        elif finer is not None:
            values, good = sample(source, valid, *finer.positions(*places), "nearest", origin=origin)
        parts = [n for side, by in zip(block, self.parts, strict=True) for n in (side.stop - side.start, by)]
        lead = source.shape[:-2]
        grouped = [
            np.swapaxes(one.reshape(*lead, *parts), -3, -2).reshape(*lead, parts[0], parts[2], -1)
            for one in (values.astype(work_dtype(source.dtype)), good)
        ]
        return self._to_stored(*summarise(grouped[0], grouped[1], self.kernel))


def resampler_of(mapping: Mapping | None, shape: tuple[int, int], plan: BandPlan) -> Resampler:
    """Make the resampler of a planned band: one that interpolates, or one that takes a statistic."""
    made = Resampler.of(mapping, shape, plan)
    if mapping is None or plan.kernel not in STATISTICS:
        return made
    if plan.kernel == "average" and max(mapping.scale) == 1.0:
        return replace(made, kernel="bilinear")  # the mean over an area of one pixel
    return AreaResampler.of_finer(made, mapping)
