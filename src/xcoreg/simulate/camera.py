"""From the continuous ground to the pixels of one image, strip by strip."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.simulate.blobs import Clouds, veil

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.simulate.ground import View
    from xcoreg.simulate.options import Acquisition, Product

__all__ = ["Camera"]

_STRIP = 2**19  # pixels worked on at a time
_SLANT = 0.2  # columns per row of a swath edge


@dataclass(frozen=True, eq=False)
class Camera:
    """Everything that turns a view of the ground into an image.

    Parameters
    ----------
    view : View
        The ground on the pixel grid before `Acquisition.coarser`, zero mean.
    share : float
        Factor on the ground.
    noise : float
        Standard deviation of the noise, on the scale of the ground.
    acquisition, product
        What happens, and what it becomes.
    right : bool
        On which side the swath ends.
    """

    view: View
    share: float
    noise: float
    acquisition: Acquisition
    product: Product
    right: bool = False

    def take(
        self, shape: tuple[int, int], seed: np.random.SeedSequence
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """Take an image.

        Parameters
        ----------
        shape : (rows, cols)
            Size of the image that comes out.
        seed : numpy.random.SeedSequence
            Source of noise and clouds.

        Returns
        -------
        (image, cloud)
            The pixels in the dtype of the product, and where clouds are.
        """
        sky, grain = seed.spawn(2)
        clouds = None
        if self.acquisition.clouds > 0:
            clouds = Clouds.draw(shape, self.acquisition.clouds, np.random.default_rng(sky))
        image = np.empty(shape, self.product.dtype)
        # one byte for the whole image where there is nothing to tell
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

    def _ground(self, start: int, stop: int, cols: int) -> NDArray[np.float32]:
        """Look at rows start..stop of the image, which is coarser than the view by a whole factor."""
        by = self.acquisition.coarser
        fine = resampled(self.view, self.acquisition.resampled_from)(start * by, stop * by, 0, cols * by)
        # a reversed contrast is the land's: clouds stay bright
        share = -self.share if self.acquisition.gain < 0 else self.share
        return np.asarray(share * _means(fine, by), np.float32)

    def _numbers(self, values: NDArray[np.float32], start: int, shape: tuple[int, int]) -> NDArray[np.generic]:
        """Scale to digital numbers, keep them in range and off the nodata value, mark what the swath misses."""
        mean, std = self.product.level
        numbers = mean + self.acquisition.offset + abs(self.acquisition.gain) * std * values.astype(np.float64)
        dtype, nodata = np.dtype(self.product.dtype), self.product.nodata
        if dtype.kind in "iu":
            numbers = np.rint(numbers).clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
            if nodata is not None:
                numbers[numbers == nodata] += 1 if nodata < np.iinfo(dtype).max else -1
        if self.acquisition.wedge > 0:
            numbers[self._missed(np.arange(start, start + len(values)), shape)] = 0 if nodata is None else nodata
        return numbers.astype(dtype)

    def _missed(self, rows: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return where the swath does not reach: beyond a slanted line that cuts off the wanted fraction."""
        cols = np.arange(shape[1])[::-1] if self.right else np.arange(shape[1])
        place = cols + _SLANT * rows[:, None]
        every = np.arange(shape[1]) + _SLANT * np.linspace(0, shape[0] - 1, 64)[:, None]
        return np.asarray(place < np.quantile(every, self.acquisition.wedge))


def resampled(view: View, by: int) -> View:
    """Average squares of `by` pixels, then interpolate back to the pixels by cubic convolution."""
    if by == 1:
        return view

    def read(r0: int, r1: int, c0: int, c1: int) -> NDArray[np.float32]:
        (top, bottom, down), (left, right, across) = _back(r0, r1, by), _back(c0, c1, by)
        coarse = _means(view(top * by, bottom * by, left * by, right * by), by)
        return np.asarray(down @ coarse @ across.T, np.float32)

    return read


def _back(start: int, stop: int, by: int) -> tuple[int, int, NDArray[np.float64]]:
    """Return first and last + 1 coarse pixel needed by start..stop, and the weights (stop - start, coarse)."""
    at = (np.arange(start, stop) + 0.5) / by - 0.5
    first, last = int(np.floor(at[0])) - 1, int(np.floor(at[-1])) + 3
    away = np.abs(at[:, None] - np.arange(first, last))
    near = 1.5 * away**3 - 2.5 * away**2 + 1
    far = -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    return first, last, np.where(away <= 1, near, np.where(away < 2, far, 0.0))


def _means(values: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    """Average squares of pixels: the larger pixel sees just what its parts see together."""
    if by == 1:
        return values
    rows, cols = values.shape
    return np.asarray(values.reshape(rows // by, by, cols // by, by).mean((1, 3)), np.float32)
