"""Elevation models as terrain: the part below an image, in metres above the ellipsoid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from xarray import DataArray, Dataset

from xcoreg.errors import OptionError, is_number, warn_user
from xcoreg.georef import Terrain, as_crs, map_to_pixel
from xcoreg.georef.terrain import footprint_box, knows_heights, with_terrain
from xcoreg.georef.vertical import undulation, vertical_of
from xcoreg.io.read import open_raster
from xcoreg.raster.bands import height_scaling, height_unit
from xcoreg.raster.raster import make_raster

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.raster.raster import Raster

_LOWEST, _HIGHEST = -500.0, 9000.0  # m: all land
_MARGIN = 2  # px of the elevation model around what an image can see
_EVERYWHERE = Affine(2e9, 0, -1e9, 0, -2e9, 1e9)  # of one pixel that covers any map
_MOST = 1 << 28  # px of an elevation model: 1 GB


def over_terrain(sensor: Any, shape: tuple[int, int], dem: Any, vertical_datum: Any = None) -> Any:
    """Put an elevation model below a ground: shape (rows, columns) of its image.

    dem : DataArray, Dataset, path, Terrain, or one height in m above the ellipsoid; None leaves the ground as it is.
    """
    if dem is None:
        if vertical_datum is not None:
            raise OptionError("vertical_datum= says from where dem= counts its heights: give both, or leave it out")
        return sensor
    if not knows_heights(sensor):
        with_terrain(sensor, dem)
    if is_number(dem):
        found = Terrain(np.full((1, 1), float(dem)), _EVERYWHERE, sensor.crs, f"the height {dem:g} m")
        return with_terrain(sensor, found if vertical_datum is None else _raised(found, vertical_datum))
    heights = _heights_seen(sensor)
    terrain = read_terrain(dem, vertical_datum, lambda crs: footprint_box(sensor, shape, crs, heights))
    _warn_of_range(sensor, terrain)
    return with_terrain(sensor, terrain)


def _heights_seen(sensor: Any) -> tuple[float, float]:
    """Range of heights where terrain is looked for, m: beyond theirs rational polynomials run away."""
    low, high = getattr(sensor, "heights", (_LOWEST, _HIGHEST))
    half = (high - low) / 2
    return max(low - half, _LOWEST), min(high + half, _HIGHEST)


def _warn_of_range(sensor: Any, terrain: Terrain) -> None:
    low, high = getattr(sensor, "heights", (-np.inf, np.inf))
    beyond = max(low - terrain.low, terrain.high - high)
    if beyond > 0.1 * (high - low):
        warn_user(
            f"the heights of {terrain.name} ({terrain.low:.0f} to {terrain.high:.0f} m) leave those for which the RPCs "
            f"were made ({low:.0f} to {high:.0f} m): positions may be off there; check its vertical datum and its voids"
        )


def read_terrain(dem: Any, vertical_datum: Any = None, box_of: Any = None, *, datum: bool = True) -> Terrain:
    """Read an elevation model, or its part in a box that a function gives for its CRS.

    datum : Whether the vertical datum matters; not for shifts in proportion to heights.
    """
    if isinstance(dem, Terrain):
        return dem if vertical_datum is None else _raised(dem, vertical_datum)
    name = Path(dem).name if isinstance(dem, str | Path) else "the DEM"
    image = open_raster(dem) if isinstance(dem, str | Path) else dem
    if not isinstance(image, DataArray | Dataset):
        raise OptionError(
            f"dem= is a {type(dem).__name__}: give a DataArray, the path of a raster, or a height in metres"
        )
    if name == "the DEM" and isinstance(image, DataArray) and image.name not in (None, ""):
        name = str(image.name)
    raster = make_raster(image, name="the DEM").certain
    values, transform = _part(raster, name, box_of)
    crs = as_crs(raster.grid.crs).to_wkt()
    values = values * _metres(raster, name)
    if datum:
        values = values + undulation(crs, transform, values.shape, _datum(crs, vertical_datum, name), name)
    return Terrain(np.asarray(values, np.float32), transform, crs, name)


def _raised(terrain: Terrain, vertical_datum: Any) -> Terrain:
    raised = undulation(terrain.crs, terrain.transform, terrain.heights.shape, vertical_datum, terrain.name)
    return Terrain(terrain.heights + raised, terrain.transform, terrain.crs, terrain.name)


def _part(raster: Raster, name: str, box_of: Any) -> tuple[NDArray[Any], Affine]:
    """Heights in a box, NaN where missing, and their transform."""
    grid, (n_rows, n_cols) = raster.grid, raster.shape
    window = (0, n_rows, 0, n_cols)
    if box_of is not None:
        west, south, east, north = box_of(grid.crs)
        middle = grid.affine.c + grid.affine.a * n_cols / 2
        if as_crs(grid.crs).is_geographic:
            turns = 360.0 * np.round((middle - (west + east) / 2) / 360.0)
            west, east = west + turns, east + turns
        cols, rows = map_to_pixel(
            grid.affine, np.array([west, east, east, west]), np.array([north, north, south, south])
        )
        box = (rows.min(), rows.max() + 1, cols.min(), cols.max() + 1)
        row0, row1, col0, col1 = (
            int(np.floor(edge)) + pad for edge, pad in zip(box, (-_MARGIN, _MARGIN) * 2, strict=True)
        )
        window = raster.clip((row0, row1, col0, col1))
    row0, row1, col0, col1 = window
    if row1 <= row0 or col1 <= col0:
        raise OptionError(f"{name} does not lie below the image: compare both with xcoreg info")
    if (row1 - row0) * (col1 - col0) > _MOST:
        raise OptionError(
            f"{(row1 - row0) * (col1 - col0) / 1e6:.0f} million pixels of {name} lie below the image, too many "
            "for memory: give a coarser one"
        )
    values, valid = raster.read(*window)
    gain, offset = height_scaling(raster.data)
    heights = np.where(valid & np.isfinite(values), values, np.nan)
    if (gain, offset) != (1.0, 0.0):
        heights = heights.astype(np.float64) * gain + offset
    return heights, grid.affine @ Affine.translation(col0, row0)


def _metres(raster: Raster, name: str) -> float:
    """Metres per unit of the heights; without a unit they are metres."""
    unit = height_unit(raster.data, None)
    if unit.name and unit.metres is None:
        raise OptionError(f"the heights of {name} are in {unit}, which is no length: da.attrs['units'] = 'm'")
    return 1.0 if unit.metres is None else unit.metres


def _datum(crs: Any, given: Any, name: str) -> Any:
    """Vertical datum: as given, else as the CRS states, else that of the ellipsoid, with a warning."""
    stated = given if given is not None else vertical_of(crs)
    if stated is None:
        warn_user(
            f"the vertical datum of {name} is unknown: its heights are taken as ellipsoidal; those above sea level "
            "are up to 100 m off: give vertical_datum='EGM96', the height of the geoid in m, or 'ellipsoid'"
        )
        return "ellipsoid"
    return stated
