"""Two elevation models of one simulated terrain, and the true correction between them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import map_coordinates

from xcoreg.core import Floats
from xcoreg.simulate.pairs import blob_mask, georeferenced

_MARGIN = 16  # px around the terrain, so that a shift shows no edge
_SMOOTH = 0.8  # px, standard deviation of the smoothing by the sensor and its gridding


@dataclass(frozen=True)
class DemNoise:
    """Errors of an elevation model.

    Parameters
    ----------
    white : float
        Standard deviation from pixel to pixel, m.
    correlated : float
        Standard deviation of the errors that are correlated over `length`, m.
    length : float
        Standard deviation of the Gaussian autocorrelation, px.
    blunders : float
        Share of pixels that are wrong by tens of metres.
    """

    white: float = 0.5
    correlated: float = 1.0
    length: float = 5.0
    blunders: float = 0.002


@dataclass(frozen=True)
class Mosaic:
    """Distortions of an elevation model made of tiles.

    Parameters
    ----------
    tiles : (rows, cols)
        Number of tiles, each with its own offset.
    sigma : (x, y, z)
        Standard deviations of the offsets, m.
    ramp : (x, y, z)
        Change of the correction from edge to edge, m.
    """

    tiles: tuple[int, int] = (4, 5)
    sigma: tuple[float, float, float] = (3.0, 3.0, 1.5)
    ramp: tuple[float, float, float] = (4.0, -4.0, 3.0)


@dataclass(frozen=True, eq=False)
class DemPair:
    """A reference, a target, and the truth.

    Parameters
    ----------
    ref, tgt : DataArray (y, x) float32
        Elevations, m.
    stable : DataArray (y, x) uint8
        1 where nothing has changed, on the grid of both.
    shift : (dx, dy, dz)
        Mean true correction target -> reference, m (z: added to the target).
    field : (3, rows, cols) float64
        The correction (dx, dy, dz) at every pixel of the target.
    clean : DataArray (y, x) float32
        The reference without noise.
    """

    ref: xr.DataArray
    tgt: xr.DataArray
    stable: xr.DataArray
    shift: tuple[float, float, float]
    clean: xr.DataArray
    field: Floats = field(repr=False)


def elevations(shape: tuple[int, int], seed: int = 0, *, relief: float = 110.0) -> _Terrain:
    """Draw fractal terrain of a relief (sigma, m): a callable (drow, dcol) -> heights (rows, cols), shifted exactly."""
    rng = np.random.default_rng(seed)
    size = tuple(fft.next_fast_len(n + 2 * _MARGIN + n // 4, real=True) for n in shape)
    hills, lines = (_field(size, slope, longest, rng) for slope, longest in ((2.1, 250.0), (2.4, 120.0)))
    height = relief * (hills - 0.9 * np.exp(-((lines / 0.5) ** 2)))
    rows, cols = fft.fftfreq(size[0])[:, None], fft.rfftfreq(size[1])
    smooth = np.exp(-2 * (np.pi * _SMOOTH) ** 2 * (rows**2 + cols**2))
    return _Terrain(shape, fft.rfft2(height + 3 * relief) * smooth, size)


@dataclass(frozen=True, eq=False)
class _Terrain:
    shape: tuple[int, int]
    modes: NDArray[np.complex128]
    size: tuple[int, ...]

    def __call__(self, drow: float, dcol: float) -> Floats:
        """Heights at shifted pixels."""
        return self.padded(drow, dcol)[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]

    def padded(self, drow: float, dcol: float) -> Floats:
        """Heights with a margin all around."""
        rows, cols = fft.fftfreq(self.size[0])[:, None], fft.rfftfreq(self.size[1])
        height = fft.irfft2(self.modes * np.exp(2j * np.pi * (rows * drow + cols * dcol)), self.size)
        return np.asarray(height[: self.shape[0] + 2 * _MARGIN, : self.shape[1] + 2 * _MARGIN])


def _field(size: tuple[int, ...], slope: float, longest: float, rng: np.random.Generator) -> Floats:
    """Draw a fractal field of unit variance."""
    rows, cols = fft.fftfreq(size[0])[:, None], fft.rfftfreq(size[1])
    amplitude = (rows**2 + cols**2 + longest**-2) ** (-slope / 2)
    amplitude[0, 0] = 0
    field = fft.irfft2(amplitude * np.exp(2j * np.pi * rng.random(amplitude.shape)), size)
    return np.asarray(field / field.std())


def dem_pair(
    shape: tuple[int, int] = (300, 400),
    *,
    shift: tuple[float, float, float] = (9.2, 2.7, -2.0),
    gsd: float = 20.0,
    noise: DemNoise | None = None,
    glaciers: float = 0.0,
    mosaic: Mosaic | None = None,
    seed: int = 0,
) -> DemPair:
    """Simulate two elevation models of one terrain whose correction is known.

    Parameters
    ----------
    shape : (rows, cols)
    shift : (dx, dy, dz)
        Correction target -> reference, m.
    gsd : float
        Pixel size, m.
    noise : DemNoise, optional
        Errors of the target; the reference has none.
    glaciers : float
        Share of the area that loses 5 to 40 m.
    mosaic : Mosaic, optional
        Distortions besides the shift.
    seed : int

    Returns
    -------
    DemPair
        In EPSG:32633. A constant shift is exact; a mosaic is interpolated with a spline of order 5.

    Examples
    --------
    >>> both = dem_pair((64, 80), shift=(20.0, 0.0, -2.0), noise=DemNoise(0, 0, 5, 0))
    >>> apart = both.ref.values[:, 1:] - both.tgt.values[:, :-1]
    >>> round(float(apart.mean()), 3), round(float(apart.std()), 3)
    (-2.0, 0.0)
    """
    draws = np.random.SeedSequence(seed).spawn(3)
    rng = np.random.default_rng(draws[1])
    terrain = elevations(shape, int(draws[0].generate_state(1)[0]))
    still = terrain(0.0, 0.0)
    truth = np.broadcast_to(np.array(shift, np.float64)[:, None, None], (3, *shape)).copy()
    if mosaic is None:
        moved = terrain(-shift[1] / gsd, shift[0] / gsd)
    else:
        truth += _distortion(shape, mosaic, rng)
        rows, cols = np.mgrid[: shape[0], : shape[1]] + float(_MARGIN)
        # A spline: kernels that are not exact for slopes would shift them.
        moved = map_coordinates(terrain.padded(0.0, 0.0), [rows - truth[1] / gsd, cols + truth[0] / gsd], order=5)
    lost, ice = _glaciers(shape, glaciers, rng)
    target = moved - truth[2] + _errors(shape, noise or DemNoise(), rng)
    transform = Affine(gsd, 0, 500000.0, 0, -gsd, 5400000.0)
    heights = (part.astype(np.float32) for part in (still - lost, target, still))
    images = (*heights, (~ice).astype(np.uint8))
    ref, tgt, clean, mask = (georeferenced(part, transform, "EPSG:32633") for part in images)
    mean = truth.mean((1, 2)).tolist()
    return DemPair(ref, tgt, mask, (mean[0], mean[1], mean[2]), clean, truth)


def _distortion(shape: tuple[int, int], mosaic: Mosaic, rng: np.random.Generator) -> Floats:
    rows, cols = shape
    down, across = mosaic.tiles
    offsets = rng.standard_normal((3, down, across)) * np.array(mosaic.sigma)[:, None, None]
    tile_row, tile_col = np.arange(rows) * down // rows, np.arange(cols) * across // cols
    v, u = np.linspace(-0.5, 0.5, rows)[:, None], np.linspace(-0.5, 0.5, cols)
    ramps = np.stack([mosaic.ramp[0] * (u + 0 * v), mosaic.ramp[1] * (v + 0 * u), mosaic.ramp[2] * (u + v) / 2])
    return np.asarray(offsets[:, tile_row][:, :, tile_col] + ramps)


def _errors(shape: tuple[int, int], noise: DemNoise, rng: np.random.Generator) -> Floats:
    out = noise.white * rng.standard_normal(shape)
    if noise.correlated:
        rows, cols = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])
        # The autocorrelation of smoothed noise is wider than the kernel by the root of two.
        kernel = np.exp(-((np.pi * noise.length) ** 2) * (rows**2 + cols**2))
        soft = fft.irfft2(fft.rfft2(rng.standard_normal(shape)) * kernel, shape)
        out += noise.correlated * soft / np.sqrt(np.mean(kernel[:, : shape[1] // 2] ** 2))
    wrong = rng.random(shape) < noise.blunders
    out[wrong] += rng.normal(0, 60, int(wrong.sum()))
    return np.asarray(out)


def _glaciers(shape: tuple[int, int], share: float, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
    """Draw the loss of height on glaciers, and their mask."""
    if not share:
        return np.zeros(shape), np.zeros(shape, bool)
    ice = np.asarray(blob_mask(shape, share, scale=40.0, seed=int(rng.integers(2**31))))
    size = tuple(fft.next_fast_len(n, real=True) for n in shape)
    soft = _field(size, 3.0, 200.0, rng)[: shape[0], : shape[1]]
    return np.where(ice, np.clip(22.5 + 9 * soft, 5, 40), 0.0), ice
