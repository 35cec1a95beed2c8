"""Fourier-plane bookkeeping shared by phase correlation and refinement: frequencies, rings, tapers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft as sfft

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

__all__ = ["Rings", "forward", "inverse", "rings_for", "taper"]


@dataclass(frozen=True, eq=False)
class Rings:
    """The half plane of a real transform, cut into rings of equal radial frequency.

    Attributes
    ----------
    fx, fy : (1, cols // 2 + 1) and (rows, 1) float32
        Frequencies in cycles per pixel.
    radius : (rows, cols // 2 + 1) float32
        Radial frequency.
    index : (rows * (cols // 2 + 1),) int
        The ring of every frequency.
    weight : (cols // 2 + 1,) float32
        2 for columns that stand for a conjugate pair, else 1.
    count : (n_rings,) float64
        Number of frequencies of the whole plane in each ring.
    centre : (n_rings,) float64
        Root mean square radius of each ring.
    """

    fx: Floats
    fy: Floats
    radius: Floats
    index: NDArray[np.intp]
    weight: Floats
    count: Floats
    centre: Floats

    def mean(self, power: Floats) -> Floats:
        """Average over each ring.

        Parameters
        ----------
        power : (n, rows, cols // 2 + 1) float

        Returns
        -------
        (n, n_rings) float64
        """
        flat = (power * self.weight).reshape(len(power), -1)
        sums = [np.bincount(self.index, weights=one, minlength=len(self.count)) for one in flat]
        return np.asarray(sums).reshape(len(power), -1) / self.count

    def spread(self, rings: Floats) -> Floats:
        """Give every frequency the value of its ring.

        Parameters
        ----------
        rings : (n, n_rings) float

        Returns
        -------
        (n, rows, cols // 2 + 1) float32
        """
        return rings.astype(np.float32)[:, self.index].reshape(len(rings), *self.radius.shape)


@lru_cache(maxsize=32)
def rings_for(rows: int, cols: int) -> Rings:
    """Rings of a window, about one frequency step wide, at most 48 of them.

    Examples
    --------
    >>> rings = rings_for(64, 64)
    >>> int(rings.count.sum())
    4096
    """
    fy = np.asarray(sfft.fftfreq(rows), np.float32)[:, None]
    fx = np.asarray(sfft.rfftfreq(cols), np.float32)[None, :]
    radius = np.hypot(fx, fy)
    n_rings = int(np.clip(min(rows, cols) // 3, 4, 48))
    # The corners beyond 0.5 share the last ring but one with few members otherwise.
    index = np.minimum((radius / 0.72 * n_rings).astype(np.intp), n_rings - 1).ravel()
    n_rings = int(index.max()) + 1  # odd sides do not reach the corner: no ring may be empty
    weight = np.full(fx.shape[1], 2, np.float32)
    weight[0] = 1
    if cols % 2 == 0:
        weight[-1] = 1
    plane = np.broadcast_to(weight, radius.shape).ravel()
    count = np.maximum(np.bincount(index, weights=plane, minlength=n_rings), 1)
    square = np.bincount(index, weights=plane * radius.ravel() ** 2, minlength=n_rings) / count
    return Rings(fx, fy, radius, index, weight, count, np.sqrt(square))


@lru_cache(maxsize=32)
def taper(rows: int, cols: int, share: float = 0.5) -> Floats:
    """Tukey window, separable: ``share`` of each side is tapered.

    Examples
    --------
    >>> float(taper(8, 8, 1.0)[0, 0])
    0.0
    """
    return np.outer(_tukey(rows, share), _tukey(cols, share)).astype(np.float32)


def _tukey(size: int, share: float) -> Floats:
    """One side of the window; scipy.signal has it too, but takes most of a second to import."""
    ramp = share * (size - 1) / 2
    from_edge = np.minimum(np.arange(size), np.arange(size)[::-1])
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.minimum(from_edge / max(ramp, 1e-9), 1)))


def forward(images: Floats) -> NDArray[np.complexfloating]:
    """Real transform of a batch of windows."""
    return np.asarray(sfft.rfft2(images, axes=(-2, -1)))


def inverse(spectra: NDArray[np.complexfloating], shape: tuple[int, int]) -> Floats:
    """Inverse of `forward`."""
    return np.asarray(sfft.irfft2(spectra, s=shape, axes=(-2, -1)))
