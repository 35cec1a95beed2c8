"""Two georeferenced images of one simulated ground, and the true correction between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import rioxarray  # noqa: F401  (registers the accessor used below)
import xarray as xr

from xcoreg.errors import OptionError
from xcoreg.georef import linear_of, resized, vector_to_map
from xcoreg.simulate.camera import Camera
from xcoreg.simulate.displacement import Constant
from xcoreg.simulate.ground import Ground
from xcoreg.simulate.options import Acquisition, Product
from xcoreg.simulate.scene import Texture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.simulate.displacement import Displacement

__all__ = ["SimulatedPair", "pair"]

_LOOK = 2**20  # pixels from which the variance is taken


@dataclass(frozen=True, eq=False)
class SimulatedPair:
    """A reference, a target, and the truth.

    Parameters
    ----------
    ref, tgt : DataArray (y, x)
        Georeferenced images, with CRS, transform and nodata as rioxarray keeps them.
    truth : Displacement or None
        Correction ``(dcol, drow)`` at target pixels ``(rows, cols)``, in target pixels; None for unrelated images and
        for mere noise.
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
        """The six numbers as stored: multiplying affines warns in affine 3."""
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

    The ground is a band-limited random field. Optics and pixels average it, sampling aliases it, then come clouds,
    independent noise, gain and offset, rounding and the swath edge. Both images have the same transform: the content
    moves. A constant shift is exact to rounding (float32 before the dtype of the product). A field is evaluated by a
    spline of order 5 through at least four samples per pixel: with the default optics each pixel is right to 0.00003
    px; without any optics, where frequencies are ten times as high, each is wrong by some hundredths of a px, at
    random, and scenes take ten times the memory.

    Parameters
    ----------
    shape : (rows, cols)
        Size of both images, before `Acquisition.coarser`. Beyond 1024 pixels the ground is a mosaic; memory stays near
        that of the two images.
    shift : (dcol, drow) or callable or None
        The correction, in pixels of `product`: content at target pixel ``(row, col)`` lies in the reference at
        ``(row + drow, col + dcol)``. A callable gives it for every target pixel, see `Displacement`, `smooth_field`
        and `similarity`. None: unrelated images.
    snr_db : float
        Variance of the noise-free image over that of the noise, in decibel. ``inf`` adds none, ``-inf`` leaves
        nothing else.
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
    _check(shape, ref, tgt)
    draws, other, ref_seed, tgt_seed = np.random.SeedSequence(seed).spawn(4)
    ground = Ground.draw(shape, texture, np.random.default_rng(draws))
    beneath = ground if shift is not None else Ground.draw(shape, texture, np.random.default_rng(other))
    move = shift if callable(shift) else Constant(*((0.0, 0.0) if shift is None else shift))

    def take(where: Ground, how: Acquisition, to: Displacement, own: np.random.SeedSequence) -> _Taken:
        view = (where.blurred(how.blur) if how.blur else where).view(to)
        share, noise = _levels(where, how, shape, snr_db)
        size = (shape[0] // how.coarser, shape[1] // how.coarser)
        values, cloud = Camera(view, share, noise, how, product, right=own is tgt_seed).take(size, own)
        sigma = abs(how.gain) * noise * product.level[1]
        return _Taken(_georeferenced(values, product, how), _georeferenced(cloud, product, how), sigma)

    first, second = take(ground, ref, Constant(0.0, 0.0), ref_seed), take(beneath, tgt, move, tgt_seed)
    truth = None if shift is None or snr_db == -np.inf else _seen_at(move, tgt.coarser)
    return SimulatedPair(first.image, second.image, truth, first.cloud, second.cloud, (first.sigma, second.sigma))


@dataclass(frozen=True, eq=False)
class _Taken:
    image: xr.DataArray
    cloud: xr.DataArray
    sigma: float


def _check(shape: tuple[int, int], *images: Acquisition) -> None:
    if np.shape(shape) != (2,) or min(shape) < 1:
        raise OptionError(f"shape is (rows, cols), both at least 1, not {shape}")
    for how in images:
        if any(n % how.coarser for n in shape):
            raise OptionError(f"a shape of {shape} does not divide by coarser={how.coarser}: choose one that does")


def _levels(ground: Ground, how: Acquisition, shape: tuple[int, int], snr_db: float) -> tuple[float, float]:
    """Return the factor that makes the contrast of the ground 1, and the standard deviation of the noise."""
    if snr_db == -np.inf:
        return 0.0, 1.0
    contrast = _contrast(ground, shape)
    left = _contrast(ground.blurred(how.blur), shape) if how.blur else contrast
    share = 1 / contrast if contrast > 0 else 1.0
    return share, share * left * float(10 ** (-snr_db / 20))


def _contrast(ground: Ground, shape: tuple[int, int]) -> float:
    """Return the standard deviation of the noise-free image, from all of its rows or from bands of them."""
    rows, cols = shape
    view = ground.view(Constant(0.0, 0.0))
    if rows * cols <= _LOOK:
        return float(view(0, rows, 0, cols).std(dtype=np.float64))
    some = max(_LOOK // cols // 16, 1)
    starts = np.linspace(0, rows - some, 16).astype(int)
    return float(np.concatenate([view(at, at + some, 0, cols) for at in starts]).std(dtype=np.float64))


def _seen_at(move: Displacement, by: int) -> Displacement:
    """Express a displacement on a grid in pixels of a grid whose pixels are `by` times as large."""
    if by == 1:
        return move
    if isinstance(move, Constant):
        return Constant(move.dcol / by, move.drow / by)

    def coarse(rows: object, cols: object, /) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        row, col = (by * (np.asarray(at, np.float64) + 0.5) - 0.5 for at in (rows, cols))
        dcol, drow = move(row, col)
        return np.asarray(dcol) / by, np.asarray(drow) / by

    return coarse


def _georeferenced(values: NDArray[np.generic], product: Product, how: Acquisition) -> xr.DataArray:
    """Wrap pixels as rioxarray would read them."""
    transform = resized(product.transform, (how.coarser, how.coarser))
    array: xr.DataArray = xr.DataArray(values, dims=("y", "x"))
    if transform.b == 0 and transform.d == 0:
        rows, cols = values.shape
        array = array.assign_coords(
            y=transform.f + transform.e * (np.arange(rows) + 0.5), x=transform.c + transform.a * (np.arange(cols) + 0.5)
        )
    # in place: these methods copy the pixels otherwise
    if product.crs is not None:
        array.rio.write_crs(product.crs, inplace=True)
    array.rio.write_transform(transform, inplace=True)
    if product.nodata is not None and values.dtype.kind != "b":
        array.rio.write_nodata(product.nodata, inplace=True)
    return array
