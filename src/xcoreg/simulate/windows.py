"""Many small pairs of windows at once, for measuring accuracy and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import fft

from xcoreg.simulate.scene import Scene, Texture

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WindowPairs", "window_pairs"]


class WindowPairs(NamedTuple):
    """A batch of pairs of windows and their truth.

    Attributes
    ----------
    ref, tgt : (n, size, size) float32
        Noisy windows.
    clean : (n, size, size) float32
        The reference windows before noise.
    truth : (n, 2) float64
        Correction (dcol, drow) in pixels, ``x_ref = x_tgt + dcol``; NaN for unrelated pairs.
    sigma : (n,) float64
        Standard deviation of the noise, the same in both windows of a pair.
    bound : (n, 2, 2) float64
        Cramer-Rao bound ``2 sigma**2 G**-1`` on the covariance of the correction, axes (col, row), pixels squared.
        ``G`` sums the products of the scene's exact derivatives over the window, so the jump between opposite
        borders of a window, which makes spectral derivatives of a crop too steep, plays no part.
    """

    ref: NDArray[np.float32]
    tgt: NDArray[np.float32]
    clean: NDArray[np.float32]
    truth: NDArray[np.float64]
    sigma: NDArray[np.float64]
    bound: NDArray[np.float64]


def window_pairs(
    n: int,
    size: int,
    snr_db: float,
    *,
    max_shift: float = 1.5,
    seed: int = 0,
    texture: Texture | None = None,
    unrelated: bool = False,
) -> WindowPairs:
    """Draw pairs of windows, each cut from a larger scene of its own, shifted exactly.

    Parameters
    ----------
    n : int
        Number of pairs.
    size : int
        Side of the windows in pixels.
    snr_db : float
        Variance of the noise-free reference window over that of the noise, in decibel; ``inf`` adds no noise, ``-inf``
        gives nothing but noise of unit variance.
    max_shift : float
        Corrections are uniform in ``[-max_shift, max_shift]`` on both axes.
    seed : int
        Equal seeds give equal pairs.
    texture : Texture, optional
        Spectrum and optics.
    unrelated : bool
        Cut the target from another scene.

    Returns
    -------
    WindowPairs
        Windows, truth and noise.

    Examples
    --------
    >>> batch = window_pairs(3, 32, 20.0, seed=1)
    >>> batch.ref.shape, batch.truth.shape
    ((3, 32, 32), (3, 2))
    """
    texture = texture or Texture()
    rng = np.random.default_rng(seed)
    truth = rng.uniform(-max_shift, max_shift, (n, 2))
    ref, tgt, clean = (np.empty((n, size, size), np.float32) for _ in range(3))
    sigma, bound = np.empty(n), np.empty((n, 2, 2))
    torus = texture.period or fft.next_fast_len(max(2 * size, size + 128, size + 2 * int(np.ceil(max_shift))))
    for i in range(n):
        scene = Scene.draw(torus, texture, rng, dtype=np.complex64)
        other = Scene.draw(torus, texture, rng, dtype=np.complex64) if unrelated else scene
        row, col = rng.integers(0, torus, 2)
        clean[i] = _cut(scene.image(), row, col, size)
        moved = _cut(other.image((truth[i, 0], truth[i, 1])), row, col, size)
        slopes = np.stack([_cut(part.image(), row, col, size) for part in scene.gradient()])
        share, sigma[i] = _noise(clean[i], snr_db)
        bound[i] = _bound(share * slopes, sigma[i])
        clean[i] *= share
        noise = sigma[i] * rng.standard_normal((2, size, size), dtype=np.float32)
        ref[i], tgt[i] = clean[i] + noise[0], share * moved + noise[1]
    if unrelated or snr_db == -np.inf:
        truth[:] = np.nan
        bound[:] = np.nan
    return WindowPairs(ref, tgt, clean, truth, sigma, bound)


def _cut(image: NDArray[np.floating], row: int, col: int, size: int) -> NDArray[np.floating]:
    """Cut a window from a torus."""
    rows, cols = (np.arange(at, at + size) % len(image) for at in (row, col))
    return image[np.ix_(rows, cols)]


def _noise(clean: NDArray[np.float32], snr_db: float) -> tuple[float, float]:
    """Return the factor on the scene and the standard deviation of the noise."""
    if snr_db == -np.inf:
        return 0.0, 1.0
    return 1.0, float(clean.std(dtype=np.float64) * 10 ** (-snr_db / 20))


def _bound(slopes: NDArray[np.floating], sigma: float) -> NDArray[np.float64]:
    """Return the Cramer-Rao bound of two equally noisy windows with slopes (2, rows, cols) along (col, row)."""
    flat = slopes.reshape(2, -1).astype(np.float64)
    fisher = flat @ flat.T
    if np.linalg.det(fisher) <= 0:
        return np.full((2, 2), np.inf)
    return np.asarray(2 * sigma**2 * np.linalg.inv(fisher), dtype=np.float64)
