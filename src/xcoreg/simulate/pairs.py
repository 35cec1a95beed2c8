"""Two georeferenced images of one simulated ground, and the true correction between them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (registers the accessor used below)
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from xcoreg.core import Bools, Floats
from xcoreg.errors import OptionError, is_integer, numbers_of
from xcoreg.georef import linear_of, resized, vector_to_map
from xcoreg.simulate.scene import Constant, Displacement, Ground, Texture, View

_NORTH_UP = Affine(10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0)
# mean and standard deviation of the land, in digital numbers
_LEVELS = {"uint8": (120.0, 25.0), **dict.fromkeys(("uint16", "int16", "int32", "uint32"), (2000.0, 400.0))}
_LEVELS |= dict.fromkeys(("float32", "float64"), (0.25, 0.05))


@dataclass(frozen=True)
class Acquisition:
    """How one of the two images is acquired.

    Parameters
    ----------
    gain, offset : float
        The digital number is ``mean + gain * (value - mean) + offset``; a negative gain reverses the contrast of the
        land, not of clouds.
    clouds, wedge : float
        Fractions of the image under clouds (bright, smooth, with soft edges, never the same in two images), and beyond
        a slanted swath edge, filled with nodata: on the left of the reference, on the right of the target.
    blur : float
        Standard deviation of a further Gaussian over the whole image, in pixels.
    resampled_from : int
        Average squares of so many pixels and interpolate them back (cubic convolution), as a product resampled from a
        coarser band; 1 does nothing.
    coarser : int
        Average squares of so many pixels into one: an image of that many times the GSD, on the same place.

    Examples
    --------
    >>> Acquisition(gain=-1.0, clouds=0.2).clouds
    0.2
    """

    gain: float = 1.0
    offset: float = 0.0
    clouds: float = 0.0
    wedge: float = 0.0
    blur: float = 0.0
    resampled_from: int = 1
    coarser: int = 1

    def __post_init__(self) -> None:
        """Refuse what no image can have."""
        for name in ("clouds", "wedge"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is a fraction from 0 to 1, not {getattr(self, name)}")
        for name in ("resampled_from", "coarser"):
            if getattr(self, name) < 1 or int(getattr(self, name)) != getattr(self, name):
                raise OptionError(f"{name} must be an integer of pixels, at least 1, not {getattr(self, name)}")
        if self.blur < 0:
            raise OptionError(f"blur is a standard deviation in pixels, not {self.blur}")


@dataclass(frozen=True)
class Product:
    """The raster that the images become.

    Parameters
    ----------
    dtype : str
        uint8, uint16, int16, int32, uint32, float32 or float64.
    nodata : float or None
        Stored marker of missing pixels; no valid pixel of an integer image has this value.
    transform, crs : Affine; str, CRS or None
        Of both images before `Acquisition.coarser`, rotated and south-up ones too; None leaves them without a CRS.
    mean, std : float or None
        Level and contrast of the land in digital numbers; the defaults suit the dtype.

    Examples
    --------
    >>> Product(dtype="uint8").level
    (120.0, 25.0)
    """

    dtype: str = "uint16"
    nodata: float | None = 0
    transform: Affine = _NORTH_UP
    crs: object = "EPSG:32633"
    mean: float | None = None
    std: float | None = None

    def __post_init__(self) -> None:
        """Refuse a dtype no image has."""
        if np.dtype(self.dtype).name not in _LEVELS:
            raise OptionError(f"dtype {self.dtype!r} cannot be simulated: choose one of {', '.join(_LEVELS)}")

    @property
    def level(self) -> tuple[float, float]:
        """Mean and standard deviation of the land in digital numbers."""
        mean, std = _LEVELS[np.dtype(self.dtype).name]
        return (mean if self.mean is None else self.mean, std if self.std is None else self.std)


_STRIP = 2**19  # pixels worked on at a time
_SLANT = 0.2  # columns per row of a swath edge


@dataclass(frozen=True, eq=False)
class Camera:
    """The sensor that turns a view of the ground, on the grid before `Acquisition.coarser`, into an image.

    share, noise : Factor on the ground, and standard deviation of the noise on the scale of the ground.
    right : Whether the swath ends on the right.
    """

    view: View
    share: float
    noise: float
    acquisition: Acquisition
    product: Product
    right: bool = False

    def take(self, shape: tuple[int, int], seed: np.random.SeedSequence) -> tuple[NDArray[np.generic], Bools]:
        """Take an image: shape (rows, cols)."""
        sky, grain = seed.spawn(2)
        clouds = None
        if self.acquisition.clouds > 0:
            clouds = Clouds.draw(shape, self.acquisition.clouds, np.random.default_rng(sky))
        image = np.empty(shape, self.product.dtype)
        # one byte for the image without clouds
        cloud = np.zeros(shape, bool) if clouds else np.broadcast_to(np.bool_(False), shape)
        step = max(_STRIP // shape[1], 1)
        starts = range(0, shape[0], step)

        def strip(start: int, own: np.random.SeedSequence) -> None:
            stop = min(start + step, shape[0])
            values = self._ground(start, stop, shape[1])
            if clouds:
                height = clouds.height(start, stop, 0, shape[1])
                cloud[start:stop] = height > 0
                values = veil(values, height)
            values += self.noise * np.random.default_rng(own).standard_normal(values.shape, np.float32)
            image[start:stop] = self._numbers(values, start, shape)

        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            list(pool.map(strip, starts, grain.spawn(len(starts))))
        return image, cloud

    def _ground(self, start: int, stop: int, cols: int) -> Floats:
        """Rows start..stop of the ground, averaged to the pixels of the image."""
        by = self.acquisition.coarser
        fine = resampled(self.view, self.acquisition.resampled_from)(start * by, stop * by, 0, cols * by)
        # a reversed contrast is the land's: clouds stay bright
        share = -self.share if self.acquisition.gain < 0 else self.share
        return np.asarray(share * _means(fine, by), np.float32)

    def _numbers(self, values: Floats, start: int, shape: tuple[int, int]) -> NDArray[np.generic]:
        """Scale to digital numbers in range, other than the nodata value, and mark pixels beyond the swath."""
        mean, std = self.product.level
        numbers = mean + self.acquisition.offset + abs(self.acquisition.gain) * std * values.astype(np.float64)
        dtype, nodata = np.dtype(self.product.dtype), self.product.nodata
        if dtype.kind in "iu":
            numbers = np.rint(numbers).clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
            if nodata is not None:
                numbers[numbers == nodata] += 1 if nodata < np.iinfo(dtype).max else -1
        if self.acquisition.wedge > 0:
            numbers[self._beyond_swath(np.arange(start, start + len(values)), shape)] = 0 if nodata is None else nodata
        return numbers.astype(dtype)

    def _beyond_swath(self, rows: NDArray[np.int64], shape: tuple[int, int]) -> Bools:
        """Return the pixels beyond the swath, whose slanted edge cuts off the requested fraction."""
        cols = np.arange(shape[1])[::-1] if self.right else np.arange(shape[1])
        place = cols + _SLANT * rows[:, None]
        every = np.arange(shape[1]) + _SLANT * np.linspace(0, shape[0] - 1, 64)[:, None]
        return np.asarray(place < np.quantile(every, self.acquisition.wedge))


def resampled(view: View, by: int) -> View:
    """Average squares of `by` pixels, then interpolate back to the pixels by cubic convolution."""
    if by == 1:
        return view

    def read(r0: int, r1: int, c0: int, c1: int) -> Floats:
        (top, bottom, down), (left, right, across) = _back(r0, r1, by), _back(c0, c1, by)
        coarse = _means(view(top * by, bottom * by, left * by, right * by), by)
        return np.asarray(down @ coarse @ across.T, np.float32)

    return read


def _back(start: int, stop: int, by: int) -> tuple[int, int, Floats]:
    """Return first and last + 1 coarse pixel needed by start..stop, and the weights (stop - start, coarse)."""
    at = (np.arange(start, stop) + 0.5) / by - 0.5
    first, last = int(np.floor(at[0])) - 1, int(np.floor(at[-1])) + 3
    away = np.abs(at[:, None] - np.arange(first, last))
    near = 1.5 * away**3 - 2.5 * away**2 + 1
    far = -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    return first, last, np.where(away <= 1, near, np.where(away < 2, far, 0.0))


def _means(values: Floats, by: int) -> Floats:
    """Average squares of pixels."""
    if by == 1:
        return values
    rows, cols = values.shape
    return np.asarray(values.reshape(rows // by, by, cols // by, by).mean((1, 3)), np.float32)


_COARSE = 256  # cells along the longer side of a cloud field
_SOFT = 0.5  # from the edge of a cloud to its opaque part, standard deviations of the field
_BRIGHT = 4.0  # edge of an opaque cloud over the mean of the land, standard deviations of the land


def blob_mask(shape: tuple[int, ...], fraction: float, *, scale: float | None = None, seed: int = 0) -> Bools:
    """Draw masks made of blobs.

    Parameters
    ----------
    shape : (rows, cols) or (n, rows, cols)
        One mask or a batch of independent ones.
    fraction : float
        Part of each mask that is True, 0 to 1: met to the pixel.
    scale : float, optional
        Correlation length in pixels; an eighth of the longer side by default.
    seed : int
        Equal seeds give equal masks.

    Returns
    -------
    array of bool
        True inside the blobs.

    Examples
    --------
    >>> float(blob_mask((64, 64), 0.25, seed=3).mean())
    0.25
    """
    rng = np.random.default_rng(seed)
    scale = max(shape[-2:]) / 8 if scale is None else scale
    noise = rng.standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, (0,) * (len(shape) - 2) + (scale, scale), mode="wrap")
    order = smooth.reshape(*shape[:-2], -1).argsort(axis=-1).argsort(axis=-1)
    return np.asarray(order.reshape(shape) < round(fraction * shape[-2] * shape[-1]))


@dataclass(frozen=True, eq=False)
class Clouds:
    """A smooth field on a coarse grid, `cell` image pixels each, cut so that clouds, where positive, cover a share."""

    field: Floats
    cell: float

    @classmethod
    def draw(cls, shape: tuple[int, int], fraction: float, rng: np.random.Generator) -> Clouds:
        """Draw clouds that cover a fraction of an image of a shape (rows, cols)."""
        cell = max(max(shape) / _COARSE, 1.0)
        rows, cols = (int(np.ceil(n / cell)) + 1 for n in shape)
        # a field wider than the image, so that its two borders are not alike
        noise = rng.standard_normal((rows + max(rows // 2, 4), cols + max(cols // 2, 4)))
        smooth = ndimage.gaussian_filter(noise, max(rows, cols) / 20, mode="wrap")[:rows, :cols]
        level = np.quantile(smooth, 1 - fraction)
        return cls((smooth - level) / max(float(smooth.std()), 1e-30), cell)

    def height(self, r0: int, r1: int, c0: int, c1: int) -> Floats:
        """Return the field at the pixels of a box, interpolated linearly; cloud where positive."""
        down, across = (np.arange(a, b) / self.cell for a, b in ((r0, r1), (c0, c1)))
        top, left = (at.astype(int).clip(0, n - 2) for at, n in zip((down, across), self.field.shape, strict=True))
        low, high = (down - top)[:, None], across - left
        strip = (1 - low) * self.field[top] + low * self.field[top + 1]
        return np.asarray((1 - high) * strip[:, left] + high * strip[:, left + 1], np.float32)


def veil(values: Floats, height: Floats) -> Floats:
    """Cover land (zero mean, unit variance) with clouds of a given height: soft edges, brighter where thicker."""
    opacity = np.clip(height / _SOFT, 0, 1)
    opacity = opacity**2 * (3 - 2 * opacity)
    return np.asarray(values + opacity * (_BRIGHT + height - values), np.float32)


_SAMPLE = 2**20  # pixels from which the variance is taken


@dataclass(frozen=True, eq=False)
class SimulatedPair:
    """A reference, a target, and the truth.

    Parameters
    ----------
    ref, tgt : DataArray (y, x)
        Georeferenced images, with CRS, transform and nodata as rioxarray keeps them.
    truth : Displacement or None
        Correction ``(dcol, drow)`` at target pixels ``(rows, cols)``, in target pixels; None for unrelated images and
        for noise only.
    ref_cloud, tgt_cloud : DataArray (y, x) of bool
        True under clouds.
    sigma : (ref, tgt)
        Standard deviation of the noise in digital numbers.

    Examples
    --------
    >>> both = pair((64, 80), shift=(1.25, -0.5), seed=1)
    >>> both.shift, both.map_shift
    ((1.25, -0.5), (12.5, 5.0))
    """

    ref: xr.DataArray
    tgt: xr.DataArray
    truth: Displacement | None
    ref_cloud: xr.DataArray
    tgt_cloud: xr.DataArray
    sigma: tuple[float, float]

    @property
    def _transform(self) -> tuple[float, ...]:
        """The six stored numbers: multiplying affines warns in affine 3."""
        c, a, b, f, d, e = map(float, self.tgt.spatial_ref.attrs["GeoTransform"].split())
        return a, b, c, d, e, f

    @property
    def shift(self) -> tuple[float, float]:
        """True correction (dcol, drow) at the centre of the target, in its pixels; NaN where there is none."""
        if self.truth is None:
            return float("nan"), float("nan")
        rows, cols = self.tgt.shape
        dcol, drow = self.truth((rows - 1) / 2, (cols - 1) / 2)
        return float(dcol), float(drow)

    @property
    def map_shift(self) -> tuple[float, float]:
        """True correction (dx, dy) at the centre of the target, in units of the CRS."""
        dx, dy = vector_to_map(linear_of(self._transform), *self.shift)
        return float(dx), float(dy)


def pair(
    shape: tuple[int, int],
    *,
    shift: tuple[float, float] | Displacement | None = (0.0, 0.0),
    snr_db: float = 30.0,
    texture: Texture | None = None,
    ref: Acquisition | None = None,
    tgt: Acquisition | None = None,
    product: Product | None = None,
    seed: int = 0,
) -> SimulatedPair:
    """Simulate two images of one ground whose displacement is known exactly.

    The ground is a band-limited random field, averaged by optics and pixels and aliased by sampling, with clouds,
    independent noise, gain and offset, rounding and a swath edge. Both images have the same transform: the content
    moves. A constant shift is exact to rounding (float32 before the dtype of the product). A field is right to 0.00003
    px at each pixel with the default optics; without optics, where frequencies are ten times as high, it is wrong by
    some hundredths of a px, at random, and scenes take ten times the memory.

    Parameters
    ----------
    shape : (rows, cols)
        Size of both images, before `Acquisition.coarser`; memory stays near that of the two images.
    shift : (dcol, drow) or callable or None
        The correction, in pixels of `product`: content at target pixel ``(row, col)`` lies in the reference at
        ``(row + drow, col + dcol)``. A callable gives it for every target pixel, see `Displacement`, `smooth_field`
        and `similarity`. None: unrelated images.
    snr_db : float
        Variance of the noise-free image over that of the noise, in decibel; ``inf`` adds none, ``-inf`` is noise only.
    texture : Texture, optional
        Spectrum and optics of the ground.
    ref, tgt : Acquisition, optional
        Gain, offset, clouds, swath edge, blur and resolution of either image.
    product : Product, optional
        Dtype, nodata, transform, CRS, level and contrast.
    seed : int
        Equal arguments and seeds give equal images.

    Returns
    -------
    SimulatedPair
        The images and the truth.

    Raises
    ------
    OptionError
        When the shape is empty, or not divisible by `Acquisition.coarser`.

    Examples
    --------
    >>> both = pair((100, 120), shift=(0.36, -1.57), snr_db=20.0, tgt=Acquisition(gain=1.2, clouds=0.1), seed=7)
    >>> both.tgt.shape, both.tgt.dtype, both.tgt.rio.crs.to_epsg()
    ((100, 120), dtype('uint16'), 32633)
    """
    ref, tgt = ref or Acquisition(), tgt or Acquisition()
    product, texture = product or Product(), texture or Texture()
    _check(shape, shift, seed, ref, tgt)
    draws, other, ref_seed, tgt_seed = np.random.SeedSequence(seed).spawn(4)
    ground = Ground.draw(shape, texture, np.random.default_rng(draws))
    below = ground if shift is not None else Ground.draw(shape, texture, np.random.default_rng(other))
    move = shift if callable(shift) else Constant(*((0.0, 0.0) if shift is None else shift))

    def take(where: Ground, how: Acquisition, to: Displacement, own: np.random.SeedSequence) -> tuple[Any, Any, float]:
        view = (where.blurred(how.blur) if how.blur else where).view(to)
        share, noise = _levels(where, how, shape, snr_db)
        size = (shape[0] // how.coarser, shape[1] // how.coarser)
        values, cloud = Camera(view, share, noise, how, product, right=own is tgt_seed).take(size, own)
        sigma = abs(how.gain) * noise * product.level[1]
        transform = resized(product.transform, (how.coarser, how.coarser))
        image, clouds = (georeferenced(each, transform, product.crs, product.nodata) for each in (values, cloud))
        return image, clouds, sigma

    first, ref_cloud, ref_sigma = take(ground, ref, Constant(0.0, 0.0), ref_seed)
    second, tgt_cloud, tgt_sigma = take(below, tgt, move, tgt_seed)
    truth = None if shift is None or snr_db == -np.inf else _in_coarse_pixels(move, tgt.coarser)
    return SimulatedPair(first, second, truth, ref_cloud, tgt_cloud, (ref_sigma, tgt_sigma))


def _check(shape: Any, shift: Any, seed: Any, *images: Acquisition) -> None:
    if numbers_of(shape, 2) is None or not all(is_integer(side) and side >= 1 for side in shape):
        raise OptionError(f"shape is (rows, cols), both at least 1, not {shape!r:.80}")
    if not (seed is None or (is_integer(seed) and seed >= 0)):
        raise OptionError(f"seed is {seed!r:.80}: give a whole number from 0")
    if not (shift is None or callable(shift) or np.isfinite(numbers_of(shift, 2) or [np.nan]).all()):
        raise OptionError(f"shift is {shift!r:.80}: give (dcol, drow) in pixels, a displacement, or None")
    for how in images:
        if any(n % how.coarser for n in shape):
            raise OptionError(f"the shape {shape} is not divisible by coarser={how.coarser}: choose one that is")


def _levels(ground: Ground, how: Acquisition, shape: tuple[int, int], snr_db: float) -> tuple[float, float]:
    """Return the factor for unit contrast of the ground, and the standard deviation of the noise."""
    if snr_db == -np.inf:
        return 0.0, 1.0
    contrast = contrast_of(ground, shape)
    left = contrast_of(ground.blurred(how.blur), shape) if how.blur else contrast
    share = 1 / contrast if contrast > 0 else 1.0
    return share, share * left * float(10 ** (-snr_db / 20))


def contrast_of(ground: Ground, shape: tuple[int, int]) -> float:
    """Return the standard deviation of the noise-free image, from all of its rows or from bands of them."""
    rows, cols = shape
    view = ground.view(Constant(0.0, 0.0))
    if rows * cols <= _SAMPLE:
        return float(view(0, rows, 0, cols).std(dtype=np.float64))
    some = max(_SAMPLE // cols // 16, 1)
    starts = np.linspace(0, rows - some, 16).astype(int)
    return float(np.concatenate([view(at, at + some, 0, cols) for at in starts]).std(dtype=np.float64))


def _in_coarse_pixels(move: Displacement, by: int) -> Displacement:
    """Express a displacement on a grid in pixels of a grid whose pixels are `by` times as large."""
    if by == 1:
        return move
    if isinstance(move, Constant):
        return Constant(move.dcol / by, move.drow / by)

    def coarse(rows: object, cols: object, /) -> tuple[Floats, Floats]:
        row, col = (by * (np.asarray(at, np.float64) + 0.5) - 0.5 for at in (rows, cols))
        dcol, drow = move(row, col)
        return np.asarray(dcol) / by, np.asarray(drow) / by

    return coarse


def georeferenced(
    values: NDArray[np.generic], transform: Affine, crs: object = None, nodata: float | None = None
) -> xr.DataArray:
    """Image of pixels as rioxarray would read it."""
    array: xr.DataArray = xr.DataArray(values, dims=("y", "x"))
    if transform.b == 0 and transform.d == 0:
        rows, cols = values.shape
        y, x = transform.f + transform.e * (np.arange(rows) + 0.5), transform.c + transform.a * (np.arange(cols) + 0.5)
        array = array.assign_coords(y=y, x=x)
    # In place, or these methods copy the pixels.
    if crs is not None:
        array.rio.write_crs(crs, inplace=True)
    array.rio.write_transform(transform, inplace=True)
    if nodata is not None and values.dtype.kind != "b":
        array.rio.write_nodata(nodata, inplace=True)
    return array
