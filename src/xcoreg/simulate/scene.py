"""A continuous random scene, seen through optics and square pixels, whose value at any place is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Scene", "Texture"]

# Modes which optics dim below this are left out: the scene is what remains, so nothing becomes inexact.
_DIM = 1e-3


@dataclass(frozen=True)
class Texture:
    """Statistics of the scene and the optics that look at it.

    Parameters
    ----------
    exponent : float
        Amplitude falls as frequency to the power ``-exponent``; 1 is the usual spectrum of land, 0 is white.
    optics_sigma : float
        Standard deviation of the Gaussian point spread function, in pixels.
    oversampling : int
        The scene has frequencies up to ``oversampling / 2`` cycles per pixel, where one half is all that pixels
        can hold: what lies above is aliased as in a real image.
    period : int or None
        Whole pixels after which the texture repeats itself, or None: it never does.

    Examples
    --------
    >>> Texture().exponent
    1.0
    """

    exponent: float = 1.0
    optics_sigma: float = 0.4
    oversampling: int = 10
    period: int | None = None

    def highest(self) -> float:
        """Return the highest frequency of the scene that optics let through, in cycles per pixel."""
        limit = 0.5 * self.oversampling
        if self.optics_sigma > 0:
            limit = min(limit, float(np.sqrt(-np.log(_DIM) / 2)) / (np.pi * self.optics_sigma))
        return max(limit, 0.5)


@dataclass(frozen=True, eq=False)
class Scene:
    """A sum of Fourier modes on a torus: band-limited, so that any shift of it is exact.

    The value at pixel position ``x`` is ``real(sum_k modes[k] exp(2 pi i k x / size))``, already blurred by the optics
    and averaged over the square of one pixel. Frequencies above one half of a cycle per pixel take part, therefore
    sampling at whole pixels aliases them.

    Parameters
    ----------
    modes : (2 K + 1, K + 1) complex
        Amplitudes for row frequencies -K..K and column frequencies 0..K, in cycles per torus.
    size : int
        Side of the torus in pixels.
    """

    modes: NDArray[np.complexfloating]
    size: int

    @classmethod
    def draw(
        cls, size: int, texture: Texture, rng: np.random.Generator, *, dtype: type[np.complexfloating] = np.complex128
    ) -> Scene:
        """Draw a scene of zero mean and unit expected variance.

        Parameters
        ----------
        size : int
            Side of the torus in pixels.
        texture : Texture
            Spectrum and optics.
        rng : numpy.random.Generator
            Source of randomness.
        dtype : complex type
            complex64 is faster and exact to 1e-7 of the contrast.

        Returns
        -------
        Scene
            The scene.
        """
        amplitude = _amplitude(size, texture)
        amplitude /= np.sqrt(np.sum(amplitude**2))
        real = np.float32 if dtype is np.complex64 else np.float64
        draws = rng.standard_normal((*amplitude.shape, 2), dtype=real)
        modes = draws.view(dtype)[..., 0]
        modes *= amplitude.astype(real)
        return cls(modes, size)

    def image(self, shift: tuple[float, float] = (0.0, 0.0), *, finer: int = 1) -> NDArray[np.floating]:
        """Sample the whole torus on a regular grid, exactly.

        Parameters
        ----------
        shift : (dcol, drow)
            Pixels, any real numbers: pixel ``(row, col)`` of the result shows the scene at
            ``(row + drow, col + dcol)``.
        finer : int
            Sample every ``1 / finer`` pixel instead; a sample is still the mean over one whole pixel.

        Returns
        -------
        (size * finer, size * finer) array
            The image.
        """
        dcol, drow = shift
        top = self.modes.shape[1] - 1
        turn = 2j * np.pi / self.size
        kind = self.modes.dtype
        rows = np.exp(turn * drow * np.arange(-top, top + 1)).astype(kind)
        cols = np.exp(turn * dcol * np.arange(top + 1)).astype(kind)
        folded = _fold(self.modes * rows[:, None], -top, self.size * finer)
        folded = _fold((folded * cols).T, 0, self.size * finer).T
        # the sum over modes is an inverse transform without its 1/n
        return np.ascontiguousarray(fft.ifft2(folded, norm="forward").real)

    def blurred(self, sigma: float) -> Scene:
        """Return the scene seen through a further Gaussian.

        Parameters
        ----------
        sigma : float
            Its standard deviation in pixels.

        Returns
        -------
        Scene
            The blurred scene, which is smaller in contrast.
        """
        top = self.modes.shape[1] - 1
        dim = np.exp(-2 * (np.pi * sigma / self.size * np.arange(-top, top + 1)) ** 2).astype(self.modes.real.dtype)
        return Scene(self.modes * dim[:, None] * dim[top:], self.size)

    def gradient(self) -> tuple[Scene, Scene]:
        """Return the exact derivatives of the scene.

        Returns
        -------
        (per column, per row)
            Two scenes, change per pixel to the right and per pixel down.
        """
        top = self.modes.shape[1] - 1
        real = self.modes.real.dtype
        turn = (2 * np.pi / self.size * np.arange(-top, top + 1)).astype(real) * self.modes.dtype.type(1j)
        return Scene(self.modes * turn[top:], self.size), Scene(self.modes * turn[:, None], self.size)


def _amplitude(size: int, texture: Texture) -> NDArray[np.float64]:
    """Return the expected amplitude of the modes: spectrum x optics x pixel; the mean is left out."""
    top = max(int(texture.highest() * size), 1)
    fy = np.arange(-top, top + 1) / size
    fx = np.arange(top + 1) / size
    radius = np.hypot(fy[:, None], fx)
    radius[top, 0] = np.inf
    optics = 2 * (np.pi * texture.optics_sigma) ** 2
    seen = np.outer(np.exp(-optics * fy**2) * np.sinc(fy), np.exp(-optics * fx**2) * np.sinc(fx))
    with np.errstate(divide="ignore"):
        seen *= radius**-texture.exponent
    seen[top, 0] = 0.0
    return seen


def _fold(modes: NDArray[np.complexfloating], first: int, size: int) -> NDArray[np.complexfloating]:
    """Alias the rows of modes, whose frequencies start at `first`, onto the frequencies 0..size-1."""
    out = np.zeros((size, modes.shape[1]), dtype=modes.dtype)
    start = 0
    while start < len(modes):
        at = (first + start) % size
        take = min(size - at, len(modes) - start)
        out[at : at + take] += modes[start : start + take]
        start += take
    return out
