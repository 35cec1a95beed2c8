"""Fractional shifts of whole windows through the Fourier plane, free of phase error inside the window."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy import fft as sfft

from xcoreg.core.spectrum import forward, inverse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Spectra = NDArray[np.complexfloating]

__all__ = ["FourierShift", "moved", "recut"]

_Pixel = TypeVar("_Pixel", bound=np.generic)

# Pixels by which a window is made periodic: the ringing of the seam dies out over them.
_SEAM = 16


class FourierShift:
    """A batch of windows that can be read at positions moved by a fraction of a pixel.

    The windows are made periodic by a seam in which their mirrored ends blend; the shift is a phase ramp, hence exact
    for what the pixels can hold, except within about two pixels of the window's edge.

    Parameters
    ----------
    images : (n, rows, cols) float32
        Finite everywhere.

    Examples
    --------
    >>> wave = np.cos(0.4 * np.arange(64, dtype=np.float32))[None, None, :] * np.ones((1, 64, 1), np.float32)
    >>> mover = FourierShift(wave)
    >>> moved = mover.image(mover.spectrum(np.array([[0.25, 0.0]])))
    >>> bool(abs(moved[0, 30, 20] - np.cos(0.4 * 20.25)) < 1e-3)
    True
    """

    def __init__(self, images: Floats) -> None:
        self.shape = images.shape[1:]
        rows, cols = (sfft.next_fast_len(size + _SEAM, real=True) for size in self.shape)
        wide = _periodic(_periodic(images, 1, rows - self.shape[0]), 2, cols - self.shape[1])
        self._wide = (rows, cols)
        self._spectra = forward(wide.astype(np.float32, copy=False))
        self._fy = np.asarray(sfft.fftfreq(rows), np.float32)[:, None]
        self._fx = np.asarray(sfft.rfftfreq(cols), np.float32)[None, :]

    def spectrum(self, move: Floats) -> Spectra:
        """Spectra of the windows read at ``position + move``.

        Parameters
        ----------
        move : (n, 2) float
            Pixels along (col, row).

        Returns
        -------
        (n, ...) complex64
        """
        turn = (2j * np.pi * np.asarray(move, np.float64)).astype(np.complex64)
        ramp_x = np.exp(turn[:, 0, None] * self._fx)[:, None, :]
        ramp_y = np.exp(turn[:, 1, None] * self._fy[:, 0])[:, :, None]
        return np.asarray((self._spectra * ramp_y) * ramp_x)

    def take(self, index: NDArray[np.intp]) -> FourierShift:
        """Take some of the windows."""
        if len(index) == len(self._spectra):
            return self
        part = copy(self)
        part._spectra = self._spectra[index]
        return part

    def image(self, spectra: Spectra) -> Floats:
        """Windows of some spectra, (n, rows, cols) float32."""
        return inverse(spectra, self._wide)[:, : self.shape[0], : self.shape[1]]

    def slopes(self, spectra: Spectra) -> tuple[Floats, Floats]:
        """Differentiate the windows of some spectra along columns and rows, per pixel."""
        turn = np.complex64(2j * np.pi)
        return self.image(spectra * (turn * self._fx)), self.image(spectra * (turn * self._fy))


def recut(images: NDArray[_Pixel], move: NDArray[np.intp]) -> tuple[NDArray[_Pixel], NDArray[np.bool_]]:
    """Read windows at whole-pixel offsets of their own.

    Parameters
    ----------
    images : (n, rows, cols) array
    move : (n, 2) int
        ``out[i, r, c] = images[i, r + move[i, 1], c + move[i, 0]]``.

    Returns
    -------
    out : (n, rows, cols) array
        The nearest edge pixel stands where the window ends.
    inside : (n, rows, cols) bool
        Where the window did not end.

    Examples
    --------
    >>> recut(np.arange(3.0).reshape(1, 1, 3), np.array([[1, 0]]))[0].tolist()
    [[[1.0, 2.0, 2.0]]]
    """
    n, rows, cols = images.shape
    at_row = np.arange(rows)[None, :] + move[:, 1, None]
    at_col = np.arange(cols)[None, :] + move[:, 0, None]
    good_row, good_col = (at_row >= 0) & (at_row < rows), (at_col >= 0) & (at_col < cols)
    at_row, at_col = np.clip(at_row, 0, rows - 1), np.clip(at_col, 0, cols - 1)
    out = images[np.arange(n)[:, None, None], at_row[:, :, None], at_col[:, None, :]]
    return out, good_row[:, :, None] & good_col[:, None, :]


def moved(images: NDArray[_Pixel], move: NDArray[np.intp]) -> NDArray[_Pixel]:
    """Move windows by whole pixels of their own; zeros come in.

    Parameters
    ----------
    images : (n, rows, cols) array
    move : (n, 2) int
        ``out[i, r + move[i, 1], c + move[i, 0]] = images[i, r, c]``.

    Returns
    -------
    (n, rows, cols) array
        The windows themselves where none is moved.

    Examples
    --------
    >>> moved(np.arange(1, 4).reshape(1, 1, 3), np.array([[1, 0]])).tolist()
    [[[0, 1, 2]]]
    """
    if not move.any():
        return images
    out = np.zeros_like(images)
    for one, image, (across, down) in zip(out, images, move.tolist(), strict=True):
        one[_part(down), _part(across)] = image[_part(-down), _part(-across)]
    return out


def _part(move: int) -> slice:
    """Slice where something stands after a move."""
    return slice(move, None) if move >= 0 else slice(None, move)


def _periodic(images: Floats, axis: int, seam: int) -> Floats:
    """Append ``seam`` pixels that lead from the mirrored end to the mirrored beginning."""
    images = np.moveaxis(images, axis, -1)
    pad = [(0, 0)] * (images.ndim - 1)
    after = np.pad(images, [*pad, (0, seam)], mode="symmetric")[..., images.shape[-1] :]
    before = np.pad(images, [*pad, (seam, 0)], mode="symmetric")[..., :seam]
    t = (np.arange(seam, dtype=np.float32) + 0.5) / seam
    blend = t * t * (3 - 2 * t)
    return np.moveaxis(np.concatenate([images, after * (1 - blend) + before * blend], axis=-1), -1, axis)
