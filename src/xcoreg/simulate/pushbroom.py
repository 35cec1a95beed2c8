"""Raw images of a simulated pushbroom sensor over terrain, with RPCs that are off by a known correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import DataArray

from xcoreg.core import Floats
from xcoreg.errors import OptionError
from xcoreg.georef import (
    CorrectedSensor,
    RPCGround,
    RPCModel,
    Terrain,
    TerrainGround,
    as_crs,
    refit_rpcs,
    transform_points,
)
from xcoreg.georef.ground import pixel_to_lonlat
from xcoreg.georef.transform import map_to_grid, pixel_to_map
from xcoreg.simulate.scene import Constant, Ground, Texture

if TYPE_CHECKING:
    from collections.abc import Callable

    Correction = Callable[[Floats, Floats], tuple[Floats, Floats]]

_ORBIT = 600_000.0  # m above the ellipsoid
_LEVEL, _CONTRAST = 1000.0, 150.0  # mean and standard deviation of the images
_MARGIN = 0.15  # of the size of the raw image that the reference is wider


@dataclass(frozen=True, eq=False)
class RawScene:
    """A raw image, an orthoimage of the same ground, and the truth.

    Parameters
    ----------
    raw : DataArray
        (rows, columns) float32, without georeference.
    ref : DataArray
        The orthoimage: north up, UTM, pixels of the same size.
    rpcs : RPCModel
        Of the raw image, as delivered: off by `correction`.
    terrain : Terrain
        Heights above the ellipsoid.
    correction : callable
        ``(col, row) -> (dcol, drow)``, px: what is to be added to a pixel's position to agree with `rpcs`.
    """

    raw: DataArray
    ref: DataArray
    rpcs: RPCModel
    terrain: Terrain
    correction: Correction

    @property
    def ground(self) -> TerrainGround:
        """The true ground of the raw image."""
        return TerrainGround(CorrectedSensor(RPCGround(self.rpcs), _Move(self.correction)), self.terrain)


@dataclass(frozen=True)
class _Move:
    """A correction (dcol, drow) as a displacement of pixel corners with y upwards."""

    correction: Any

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        dcol, drow = self.correction(x - 0.5, -y - 0.5)
        return dcol, -drow

    def invert(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        found = x, y
        for _ in range(20):
            dx, dy = self.at(*found)
            found = x - dx, y - dy
        return found


def raw_scene(  # noqa: PLR0913 - the sensor and its errors
    terrain: Terrain,
    shape: tuple[int, int] = (512, 512),
    gsd: float = 10.0,
    *,
    off_nadir: float = 20.0,
    heading: float = 190.0,
    centre: tuple[float, float] | None = None,
    correction: Correction | tuple[float, float] = (12.3, -7.8),
    snr_db: float = 30.0,
    seed: int = 0,
) -> RawScene:
    """Simulate a raw image of a pushbroom sensor over terrain, and an orthoimage as reference.

    Parameters
    ----------
    terrain : Terrain
        Heights above the ellipsoid.
    shape : (rows, columns)
        Of the raw image.
    gsd : float
        Ground sampling distance at the middle of the range of heights, m.
    off_nadir, heading : float
        Angle to the side under which the sensor looks, and its direction of flight clockwise from North, degrees.
    centre : (lon, lat), optional
        Of the image; default: that of the terrain.
    correction : callable or (dcol, drow)
        By how much the RPCs are off; see :class:`RawScene`.
    snr_db : float
        Signal to noise of both images.
    seed : int

    Returns
    -------
    RawScene

    Notes
    -----
    The RPCs are fitted to a central projection across the track and a parallel one along it; the raw image is taken
    through these RPCs, so that nothing but the correction, the noise and the terrain's own interpolation is off. Each
    pixel shows the place where its ray first meets the terrain. Shading is not simulated.
    """
    n_rows, n_cols = terrain.heights.shape
    middle = pixel_to_lonlat(terrain.transform, terrain.crs, (n_cols - 1) / 2, (n_rows - 1) / 2)
    lon, lat = (float(each) for each in (middle if centre is None else centre))
    rpcs = _rpcs((lon, lat), shape, gsd, (off_nadir, heading), (terrain.low, terrain.high))
    move = correction if callable(correction) else _constant(correction)
    true = TerrainGround(CorrectedSensor(RPCGround(rpcs), _Move(move)), terrain)
    grid = _reference_grid(true, shape, gsd, (lon, lat))
    at_col, at_row = _positions(true, grid, shape)
    rng = np.random.default_rng(seed)
    ground = Ground.draw(grid.shape.yx, Texture(), rng)

    def displacement(rows: Any, cols: Any, /) -> tuple[Floats, Floats]:
        row, col = (np.broadcast_arrays(rows, cols)[k].astype(np.intp) for k in (0, 1))
        return at_col[row, col] - col, at_row[row, col] - row

    ref = ground.view(Constant(0.0, 0.0))(0, grid.shape[0], 0, grid.shape[1])
    raw = ground.view(displacement)(0, shape[0], 0, shape[1])
    scale, noise = _CONTRAST / ref.std(), _CONTRAST / 10 ** (snr_db / 20)
    images = [(_LEVEL + scale * each + rng.normal(0, noise, each.shape)).astype(np.float32) for each in (raw, ref)]
    x = pixel_to_map(grid.affine, np.arange(grid.shape[1]), 0)[0]
    y = pixel_to_map(grid.affine, 0, np.arange(grid.shape[0]))[1]
    ortho = DataArray(images[1], {"y": y, "x": x}, ("y", "x"), name="ortho").rio.write_crs(grid.crs)
    return RawScene(DataArray(images[0], dims=("y", "x"), name="raw"), ortho, rpcs, terrain, move)


def _constant(move: tuple[float, float]) -> Correction:
    def correction(col: Floats, row: Floats) -> tuple[Floats, Floats]:
        return np.full(np.shape(col), float(move[0])), np.full(np.shape(row), float(move[1]))

    return correction


def _rpcs(
    centre: tuple[float, float], shape: tuple[int, int], gsd: float, angles: tuple[float, float], heights: Any
) -> RPCModel:
    """RPCs of an ideal pushbroom sensor."""
    tilt, heading = np.radians(angles)
    middle, half = (heights[0] + heights[1]) / 2, max((heights[1] - heights[0]) / 2 * 1.2, 100.0)
    to_lat = 111_320.0
    to_lon = to_lat * np.cos(np.radians(centre[1]))
    far = (_ORBIT - middle) * np.tan(tilt)

    def unproject(col: Floats, row: Floats, height: Floats) -> tuple[Floats, Floats]:
        across = (col - (shape[1] - 1) / 2) * gsd
        right = (far + across) * (_ORBIT - height) / (_ORBIT - middle) - far
        ahead = ((shape[0] - 1) / 2 - row) * -gsd
        east = ahead * np.sin(heading) + right * np.cos(heading)
        north = ahead * np.cos(heading) - right * np.sin(heading)
        # Meridians converge, which makes the coefficients of second order differ from zero.
        lat = centre[1] + north / to_lat
        return centre[0] + east / (to_lon * np.cos(np.radians(lat)) / np.cos(np.radians(centre[1]))), lat

    size = max(shape) * gsd / 2 * 1.5
    zeros, one = [0.0] * 19, [1.0]
    start = RPCModel(
        line_off=(shape[0] - 1) / 2, samp_off=(shape[1] - 1) / 2, lat_off=centre[1], long_off=centre[0],
        height_off=middle, line_scale=shape[0] / 2, samp_scale=shape[1] / 2, lat_scale=size / to_lat,
        long_scale=size / to_lon, height_scale=half, line_num_coeff=tuple(one + zeros),
        line_den_coeff=tuple(one + zeros), samp_num_coeff=tuple(one + zeros), samp_den_coeff=tuple(one + zeros),
    )  # fmt: skip
    made = refit_rpcs(start, unproject, shape)
    if not made.largest < 0.5:
        raise OptionError(f"RPCs repeat this sensor to {made.largest:.2g} px only: give a smaller image, or terrain")
    return made.rpcs


def _reference_grid(true: TerrainGround, shape: tuple[int, int], gsd: float, centre: tuple[float, float]) -> GeoBox:
    """North-up UTM grid over a raw image."""
    zone = int((centre[0] + 180) // 6) % 60 + 1
    crs = as_crs(f"EPSG:{32600 + zone if centre[1] >= 0 else 32700 + zone}")
    row, col = (np.linspace(-_MARGIN * n, (1 + _MARGIN) * n, 17) for n in shape)
    x, y = transform_points(
        "EPSG:4326", crs, *true.sensor.unproject(*np.meshgrid(col, row), (true.terrain.low + true.terrain.high) / 2)
    )
    west, north = np.floor(x.min() / gsd) * gsd, np.ceil(y.max() / gsd) * gsd
    size = (int(np.ceil((north - y.min()) / gsd)), int(np.ceil((x.max() - west) / gsd)))
    return GeoBox(size, Affine(gsd, 0, west, 0, -gsd, north), crs)


def _positions(true: TerrainGround, grid: GeoBox, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Columns and rows in the reference of what every raw pixel shows."""
    row, col = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    lon, lat = true.to_map(col, row)
    if not np.isfinite(lon).all():
        raise OptionError("the terrain does not cover the image: give a smaller shape=, gsd=, or another centre=")
    return map_to_grid("EPSG:4326", grid, lon, lat)
