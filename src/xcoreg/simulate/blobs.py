"""Smooth random blobs: masks with holes, and clouds with soft edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Clouds", "blob_mask"]

_COARSE = 256  # cells along the longer side of a cloud field
_SOFT = 0.5  # from the edge of a cloud to its opaque part, standard deviations of the field
_BRIGHT = 4.0  # edge of an opaque cloud over the mean of the land, standard deviations of the land


def blob_mask(
    shape: tuple[int, ...], fraction: float, *, scale: float | None = None, seed: int = 0
) -> NDArray[np.bool_]:
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
    """Clouds over one image: a smooth field on a coarse grid, cut at the level that gives the wanted cover.

    Parameters
    ----------
    field : (m, n) float
        The field in standard deviations over the level; cloud where positive.
    cell : float
        Image pixels per coarse cell.
    """

    field: NDArray[np.float64]
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

    def height(self, r0: int, r1: int, c0: int, c1: int) -> NDArray[np.float32]:
        """Return the field at the pixels of a box, interpolated linearly; cloud where positive."""
        down, across = (np.arange(a, b) / self.cell for a, b in ((r0, r1), (c0, c1)))
        top, left = (at.astype(int).clip(0, n - 2) for at, n in zip((down, across), self.field.shape, strict=True))
        low, high = (down - top)[:, None], across - left
        strip = (1 - low) * self.field[top] + low * self.field[top + 1]
        return np.asarray((1 - high) * strip[:, left] + high * strip[:, left + 1], np.float32)


def veil(values: NDArray[np.float32], height: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cover land (zero mean, unit variance) with clouds of a given height: soft edges, brighter where thicker."""
    opacity = np.clip(height / _SOFT, 0, 1)
    opacity = opacity**2 * (3 - 2 * opacity)
    return np.asarray(values + opacity * (_BRIGHT + height - values), np.float32)
