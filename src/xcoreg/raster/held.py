"""A raster one part of which is already in memory: many windows of one neighbourhood cost one reading."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from xcoreg.raster.image import Raster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xcoreg.raster.source import Box

__all__ = ["hold"]


@dataclass(frozen=True, eq=False)
class _HeldRaster(Raster):
    """A raster that reads what lies in `box` from `held`."""

    box: Box = (0, 0, 0, 0)
    held: Any = None

    def read_raw(self, boxes: Sequence[Box], step: tuple[int, int] = (1, 1)) -> list[Any]:
        """Read windows as they are stored, from memory where all of them lie there."""
        row0, row1, col0, col1 = self.box
        inside = all(row0 <= r0 and r1 <= row1 and col0 <= c0 and c1 <= col1 for r0, r1, c0, c1 in boxes)
        if not inside:
            return super().read_raw(boxes, step)
        return [self.held[r0 - row0 : r1 - row0 : step[0], c0 - col0 : c1 - col0 : step[1]] for r0, r1, c0, c1 in boxes]


def hold(raster: Raster, box: Box) -> Raster:
    """Read one box of a raster now, and windows inside of it from memory later.

    Parameters
    ----------
    raster : Raster
        From :func:`xcoreg.raster.make_raster`.
    box : (row0, row1, col0, col1)
        Half-open, px; cut to the image.

    Returns
    -------
    Raster
        Reads the same values as `raster`; windows that leave the box are read as before. One that dask computes is
        returned as it is: its chunks are kept anyway, and between windows there may be some that nobody needs.

    Examples
    --------
    >>> import numpy as np
    >>> from affine import Affine
    >>> from xarray import DataArray
    >>> from xcoreg.raster.image import make_raster
    >>> image = DataArray(np.arange(6.0).reshape(2, 3), dims=("y", "x")).rio.write_crs("EPSG:32633")
    >>> raster = make_raster(image.rio.write_transform(Affine(10, 0, 5e5, 0, -10, 5e6)), nodata=9)
    >>> hold(raster, (0, 1, 0, 9)).read(0, 1, 1, 3)[0].tolist()
    [[1.0, 2.0]]
    """
    if raster.is_computed:
        return raster
    inner = raster.clip(box)
    known = {f.name: getattr(raster, f.name) for f in fields(Raster)}
    return _HeldRaster(**known, box=inner, held=raster.read_raw([inner])[0])
