"""A coarse look at an image: a sparse lattice of its pixels, never the whole scene at full resolution."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg.georef import resized
from xcoreg.raster.file import file_behind
from xcoreg.raster.lattice import Lattice
from xcoreg.raster.survey import lattice_step, survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xcoreg.raster.file import FileLevel
    from xcoreg.raster.image import Raster
    from xcoreg.raster.source import Box
    from xcoreg.raster.survey import Reader

__all__ = ["Look", "look"]

logger = logging.getLogger("xcoreg")


@dataclass(frozen=True, eq=False)
class Look:
    """A coarse look at one band.

    Attributes
    ----------
    values : (rows, columns) float32
        The pixel at the centre of every coarse cell, as stored; 0 where it is not valid or was not looked at.
    valid : (rows, columns) bool
        Whether it is data; inferred from the nearest cells that were looked at where `seen` is False.
    seen : (rows, columns) bool
        Whether the cell was looked at.
    gx, gy : (rows, columns) float32
        Difference to the pixel before, along the columns and the rows; NaN where unknown.
    grid : GeoBox
        The coarse cells; its last row and column may reach beyond the image by part of a cell.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    gx: NDArray[np.float32]
    gy: NDArray[np.float32]
    grid: GeoBox

    @property
    def texture(self) -> NDArray[np.float32]:
        """Gradient energy of every cell, (stored units / px)²; 0 where unknown."""
        energy: NDArray[np.float32] = np.nan_to_num(self.gx**2 + self.gy**2)
        return energy


@dataclass(frozen=True)
class _ImageReader:
    """Reads the image itself, block by block."""

    raster: Raster

    @property
    def shape(self) -> tuple[int, int]:
        return self.raster.shape

    @property
    def block(self) -> tuple[int, int]:
        y_dim, x_dim = self.raster.data.dims
        if self.raster.is_chunked:
            sizes = self.raster.data.chunksizes
            return max(sizes[y_dim]), max(sizes[x_dim])
        preferred = self.raster.variable.encoding.get("preferred_chunks", {})
        rows, cols = preferred.get(y_dim), preferred.get(x_dim)
        return (rows, cols) if isinstance(rows, int) and isinstance(cols, int) else (1, self.shape[1])

    def fill(self, lattice: Lattice, boxes: Sequence[Box]) -> None:
        if self.raster.is_chunked and lattice.step[0] > 1:
            self._fill_chunked(lattice, boxes)
            return
        for box in boxes:
            lattice.put(box, self.raster.read_raw([box])[0])

    def _fill_chunked(self, lattice: Lattice, boxes: Sequence[Box]) -> None:
        """Let dask pick the samples, all in one computation, so that no chunk outlives its task."""
        wanted: list[Box] = []
        boxes = [part for box in boxes for part in lattice.strided(box)]
        for box in boxes:
            down, right = lattice.cells(box)
            row, col = int(lattice.rows[down.start]), int(lattice.cols[right.start])
            end, last = int(lattice.rows[down.stop - 1]) + 1, int(lattice.cols[right.stop - 1]) + 1
            wanted += [(row, end, col, last), (row - 1, end - 1, col, last), (row, end, col - 1, last - 1)]
        parts = self.raster.read_raw(wanted, lattice.step)
        for at, box in enumerate(boxes):
            lattice.put_samples(box, *parts[3 * at : 3 * at + 3])


def look(raster: Raster, size: int = 512) -> Look:
    """Take a coarse look at an image.

    Parameters
    ----------
    raster : Raster
        From :func:`xcoreg.raster.make_raster`.
    size : int
        Number of cells along the longer side.

    Returns
    -------
    Look
        Of an image in memory and of small ones, every cell is seen. Of an unchanged file with overviews, the
        coarsest one that is fine enough is read. Of anything else larger, a sparse lattice of its blocks is read,
        and the blocks along the border of the valid data.

    Examples
    --------
    >>> from affine import Affine
    >>> from xarray import DataArray
    >>> from xcoreg.raster.image import make_raster
    >>> image = DataArray(np.ones((40, 60)), dims=("y", "x")).rio.write_crs("EPSG:32633")
    >>> seen = look(make_raster(image.rio.write_transform(Affine(10, 0, 5e5, 0, -10, 5e6)), nodata=0), size=20)
    >>> seen.values.shape, seen.grid.resolution.x
    ((14, 20), 30.0)
    """
    level = file_behind(raster, size)
    reader: Reader = level or _ImageReader(raster)
    step = lattice_step(reader, size)
    lattice = Lattice.empty(reader.shape, step, _markers(raster, level))
    if isinstance(getattr(raster.variable, "_data", None), np.ndarray):
        whole = 0, reader.shape[0], 0, reader.shape[1]
        lattice.put(whole, raster.read_raw([whole])[0])
    else:
        survey(reader, lattice)
    share = 100 * lattice.seen.mean()
    logger.debug("%s: looked at %.1f %% of %d x %d coarse cells", raster.name, share, *lattice.seen.shape)
    grid = _coarse_grid(raster, reader.shape, lattice)
    return Look(lattice.values, lattice.spread(), lattice.seen, lattice.gx, lattice.gy, grid)


def _markers(raster: Raster, level: FileLevel | None) -> tuple[float | None, ...]:
    """List what is no data: images masked on opening carry NaN where the file has its own marker."""
    masked = raster.nodata is not None and math.isnan(raster.nodata)
    return (raster.nodata, level.nodata) if level is not None and masked else (raster.nodata,)


def _coarse_grid(raster: Raster, shape: tuple[int, int], lattice: Lattice) -> GeoBox:
    y, x = (full / size * step for full, size, step in zip(raster.shape, shape, lattice.step, strict=True))
    return GeoBox(lattice.seen.shape, resized(raster.grid.affine, (x, y)), raster.grid.crs)
