"""A cube of dates of one simulated ground: seasons, clouds and noise of each date, and its true correction."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xcoreg.core import Floats
from xcoreg.errors import OptionError
from xcoreg.simulate.pairs import Acquisition, Camera, Product, contrast_of, georeferenced
from xcoreg.simulate.scene import Constant, Ground, Texture, View

_YEAR = 365.2425  # days
_PEAK = 196  # day of the year at which the seasonal part is strongest: mid-July
_FIRST, _EVERY = np.datetime64("2020-01-05", "ns"), np.timedelta64(16, "D")


@dataclass(frozen=True, eq=False)
class SimulatedCube:
    """Dates of one ground, and the truth.

    Parameters
    ----------
    cube : DataArray (time, y, x)
        Georeferenced images on one grid: the content moves.
    shifts : (n, 2) float64
        True corrections (dcol, drow), px: content at pixel ``(row, col)`` of a date belongs at ``(row + drow,
        col + dcol)``.
    clouds : DataArray (time, y, x) of bool
        True under clouds.

    Examples
    --------
    >>> made = cube(3, (64, 64), shifts=[(0, 0), (1, 0), (0, -2)], seed=1)
    >>> made.cube.dims, made.shifts[1].tolist()
    (('time', 'y', 'x'), [1.0, 0.0])
    """

    cube: xr.DataArray
    shifts: Floats
    clouds: xr.DataArray


def cube(  # noqa: PLR0913 - keywords of what a cube is made of
    n: int = 12,
    shape: tuple[int, int] = (256, 256),
    *,
    times: ArrayLike | None = None,
    shifts: float | ArrayLike = 1.0,
    clouds: float | ArrayLike = 0.3,
    season: float = 0.3,
    snr_db: float = 20.0,
    strangers: tuple[int, ...] = (),
    texture: Texture | None = None,
    product: Product | None = None,
    seed: int = 0,
) -> SimulatedCube:
    """Simulate a cube of dates whose displacements are known exactly.

    All dates see one ground, of which a part follows the seasons; every date has clouds and noise of its own.

    Parameters
    ----------
    n : int
        Number of dates.
    shape : (rows, cols)
        Of every date.
    times : (n,) datetime64, optional
        Default: every 16 days from January 2020.
    shifts : float or (n, 2) array
        True corrections (dcol, drow) in px, or the standard deviation that they are drawn with.
    clouds : float or (n,) array
        Fraction of each date under clouds.
    season : float
        Share of the variance of the ground that follows the seasons and is reversed between summer and winter, 0 to 1;
        the correlation of noise-free images of both is ``1 - 2 * season``.
    snr_db : float
        Variance of a noise-free image over that of the noise, decibel.
    strangers : tuple of int
        Dates that see another ground: no shift places them.
    texture : Texture, optional
        Spectrum and optics of the ground.
    product : Product, optional
        Dtype, nodata, transform, CRS, level and contrast.
    seed : int
        Equal arguments and seeds give equal images.

    Returns
    -------
    SimulatedCube
        The images and the truth.

    Raises
    ------
    OptionError
        For numbers that no cube can have.

    Examples
    --------
    >>> made = cube(4, (64, 80), clouds=0.2, seed=7)
    >>> made.cube.shape, round(float(made.clouds.mean()), 1)
    ((4, 64, 80), 0.2)
    """
    if n < 1 or np.shape(shape) != (2,) or min(shape) < 1 or not 0 <= season < 1:
        raise OptionError(f"n={n}, shape={shape}, season={season}: give n and sizes from 1, season from 0 to below 1")
    texture, product = texture or Texture(), product or Product()
    streams = np.random.SeedSequence(seed).spawn(4)
    draws = [np.random.default_rng(one) for one in streams[:3]]
    grounds = [Ground.draw(shape, texture, draw) for draw in (*draws[:2], *([draws[1]] if strangers else ()))]
    units = [1 / max(contrast_of(one, shape), 1e-30) for one in grounds]
    moves = _moves(n, shifts, draws[2])
    when = _FIRST + np.arange(n) * _EVERY if times is None else np.asarray(times, "datetime64[ns]")
    cover = np.broadcast_to(np.asarray(clouds, np.float64), n)
    if when.shape != (n,) or cover.min() < 0 or cover.max() > 1:
        raise OptionError(f"give {n} times, and clouds from 0 to 1: one number or {n}")
    noise = float(10 ** (-snr_db / 20))
    taken = []
    for date, own in enumerate(streams[3].spawn(n)):
        view = _seasonal(grounds[:2], units[:2], season, when[date], moves[date])
        if date in strangers:
            view = _scaled(grounds[2].view(Constant(*moves[date])), units[2])
        camera = Camera(view, 1.0, noise, Acquisition(clouds=float(cover[date])), product)
        taken.append(camera.take(shape, own))
    values, sky = (
        _stacked([one[part] for one in taken], when, replace(product, nodata=product.nodata if part == 0 else None))
        for part in (0, 1)
    )
    return SimulatedCube(values, moves, sky)


def _moves(n: int, shifts: float | ArrayLike, draw: np.random.Generator) -> Floats:
    given = np.asarray(shifts, np.float64)
    if given.ndim == 0:
        return np.asarray(given * draw.standard_normal((n, 2)))
    if given.shape != (n, 2):
        raise OptionError(f"shifts has the shape {given.shape}: give ({n}, 2) corrections (dcol, drow), or one sigma")
    return given


def _scaled(view: View, factor: float) -> View:
    return lambda *box: np.asarray(factor * view(*box), np.float32)


def _seasonal(grounds: list[Ground], units: list[float], season: float, when: np.datetime64, move: Floats) -> View:
    """Ground of a day: a constant part and one that follows the seasons; unit variance at midsummer and midwinter."""
    day = (when - when.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    phase = np.cos(2 * np.pi * (day - _PEAK) / _YEAR)
    views = [ground.view(Constant(*move)) for ground in grounds]
    shares = (np.sqrt(1 - season) * units[0], np.sqrt(season) * phase * units[1])

    def read(r0: int, r1: int, c0: int, c1: int) -> Floats:
        parts = (share * view(r0, r1, c0, c1) for share, view in zip(shares, views, strict=True) if share)
        return np.asarray(sum(parts), np.float32)

    return read


def _stacked(images: list[NDArray[np.generic]], when: NDArray[np.datetime64], product: Product) -> xr.DataArray:
    """Images of all dates on one grid, as rioxarray would read a cube."""
    first = georeferenced(images[0], product.transform, product.crs, product.nodata)
    coords = {**first.coords, "time": ("time", when)}
    return xr.DataArray(np.stack(images), coords, ("time", *first.dims), first.name, first.attrs)
