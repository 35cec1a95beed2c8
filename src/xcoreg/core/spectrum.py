"""Fourier-plane bookkeeping shared by phase correlation and refinement: frequencies, rings, tapers.

Fractional shifts of whole windows through the Fourier plane, free of phase error inside the window.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sfft

from xcoreg.core.arrays import Bools, Floats, Ints, Spectra

_Value = TypeVar("_Value", bound=np.generic)

# Modes lie within this radial frequency, cycles per pixel: what lies beyond is aliased, and no weight counts it.
HIGHEST = 0.45


@dataclass(frozen=True, eq=False)
class Rings:
    """The half plane of a real transform, cut into rings of equal radial frequency.

    fx, fy : (1, cols // 2 + 1) and (rows, 1) float32; Frequencies in cycles per pixel.
    radius : (rows, cols // 2 + 1) float32; Radial frequency.
    index : The ring of every frequency.
    weight : (cols // 2 + 1,) float32; 2 for columns that stand for a conjugate pair, else 1.
    count : (n_rings,) float64; Number of frequencies of the whole plane in each ring.
    centre : (n_rings,) float64; Root mean square radius of each ring.
    """

    fx: Floats
    fy: Floats
    radius: Floats
    index: Ints
    weight: Floats
    count: Floats
    centre: Floats

    def mean(self, power: Floats) -> Floats:
        """Average over each ring.

        power (n, rows, cols // 2 + 1) float -> (n, n_rings) float64.
        """
        flat = (power * self.weight).reshape(len(power), -1)
        sums = [np.bincount(self.index, weights=one, minlength=len(self.count)) for one in flat]
        return np.asarray(sums).reshape(len(power), -1) / self.count

    def spread(self, rings: Floats) -> Floats:
        """Give every frequency the value of its ring.

        rings (n, n_rings) float -> (n, rows, cols // 2 + 1) float32.
        """
        return rings.astype(np.float32)[:, self.index].reshape(len(rings), *self.radius.shape)


@lru_cache(maxsize=32)
def rings_for(rows: int, cols: int) -> Rings:
    """Rings of a window, about one frequency step wide, at most 48 of them."""
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


@dataclass(frozen=True, eq=False)
class Modes:
    """The informative disc of the half plane (within `HIGHEST`, without the mean), sorted by ring.

    Of the conjugate pairs in the first column one is dropped, so that every mode stands for two of the whole plane.

    shape : (rows, cols); Of the windows.
    index : (m,) int; Place of every mode in the flat half plane.
    at_row, at_col : (m,) int; Its row and column there.
    fx, fy : (m,) float32; Its frequency, cycles per pixel.
    starts, sizes : (n_rings,) int; First mode and number of modes of every ring.
    count : (n_rings,) float64; Number of frequencies of the whole plane in each ring.
    centre : (n_rings,) float64; Root mean square radius of each ring.
    moments : Sums over the whole plane of ``fx fx``, ``fx fy`` and ``fy fy``.
    """

    shape: tuple[int, int]
    index: Ints
    at_row: Ints
    at_col: Ints
    fx: Floats
    fy: Floats
    starts: Ints
    sizes: Ints
    count: Floats
    centre: Floats
    moments: tuple[Floats, Floats, Floats]

    def take(self, plane: NDArray[_Value]) -> NDArray[_Value]:
        """Modes of half planes: (n, rows, cols // 2 + 1) to (n, m)."""
        return plane.reshape(len(plane), -1).take(self.index, axis=1, mode="clip")

    def plane(self, values: NDArray[_Value]) -> NDArray[_Value]:
        """Half planes whose `inverse` is real and made of these modes alone."""
        rows, cols = self.shape
        out = np.zeros((len(values), rows * (cols // 2 + 1)), values.dtype)
        out[:, self.index] = values
        out = out.reshape(len(values), rows, -1)
        # An inverse takes the real part of the first column: the dropped halves of its pairs come back that way.
        out[:, :, 0] *= 2
        return out

    def sums(self, values: Floats) -> Floats:
        """Sum over each ring of the whole plane: (n, m) to (n, n_rings)."""
        return 2 * np.add.reduceat(values, self.starts, axis=1).astype(np.float64)

    def spread(self, rings: Floats) -> Floats:
        """Give every mode the value of its ring: (n, n_rings) to (n, m) float32."""
        return np.repeat(rings.astype(np.float32), self.sizes, axis=1)

    def ramp(self, move: Floats) -> Spectra:
        """Phase ramps (n, m) that read windows at ``position + move``, px along (col, row)."""
        across, down = ramps(self.shape, move)
        out = across.take(self.at_col, axis=1, mode="clip")
        out *= down.take(self.at_row, axis=1, mode="clip")
        return out


def ramps(shape: tuple[int, int], move: Floats) -> tuple[Spectra, Spectra]:
    """Phase ramps along columns (n, cols // 2 + 1) and rows (n, rows), complex64, for moves (n, 2) in px."""
    turn = 2j * np.pi * np.asarray(move, np.float64)
    across, down = (
        np.exp(turn[:, i, None] * f).astype(np.complex64)
        for i, f in enumerate((sfft.rfftfreq(shape[1]), sfft.fftfreq(shape[0])))
    )
    return across, down


@lru_cache(maxsize=32)
def modes_for(rows: int, cols: int) -> Modes:
    """Modes of a window, in the rings of `rings_for`."""
    rings = rings_for(rows, cols)
    row, col = np.divmod(np.arange(rings.index.size), cols // 2 + 1)
    fx, fy, radius = rings.fx[0, col], rings.fy[row, 0], rings.radius.ravel()
    kept = np.flatnonzero((radius < HIGHEST) & ((fx > 0) | (fy > 0)))
    kept = kept[np.argsort(rings.index[kept], kind="stable")]
    starts = np.flatnonzero(np.diff(rings.index[kept], prepend=-1))
    sizes = np.diff(starts, append=len(kept))
    centre = np.sqrt(np.add.reduceat(radius[kept].astype(np.float64) ** 2, starts) / sizes)
    fx, fy = fx[kept], fy[kept]
    xx, xy, yy = (2 * np.add.reduceat(one.astype(np.float64), starts) for one in (fx * fx, fx * fy, fy * fy))
    return Modes((rows, cols), kept, row[kept], col[kept], fx, fy, starts, sizes, 2.0 * sizes, centre, (xx, xy, yy))


@lru_cache(maxsize=32)
def taper(rows: int, cols: int, share: float = 0.5) -> Floats:
    """Tukey window, separable: ``share`` of each side is tapered."""
    return np.outer(_tukey(rows, share), _tukey(cols, share)).astype(np.float32)


def _tukey(size: int, share: float) -> Floats:
    """One side of the window; scipy.signal has it too, but takes most of a second to import."""
    ramp = share * (size - 1) / 2
    from_edge = np.minimum(np.arange(size), np.arange(size)[::-1])
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.minimum(from_edge / max(ramp, 1e-9), 1)))


def forward(images: Floats) -> Spectra:
    """Real transform of a batch of windows."""
    return np.asarray(sfft.rfft2(images, axes=(-2, -1)))


def inverse(spectra: Spectra, shape: tuple[int, int]) -> Floats:
    """Inverse of `forward`."""
    return np.asarray(sfft.irfft2(spectra, s=shape, axes=(-2, -1)))


_Pixel = TypeVar("_Pixel", bound=np.generic)

# Pixels by which a window is made periodic: the ringing of the seam dies out over them.
_SEAM = 16


class FourierShift:
    """A batch of windows that can be read at positions moved by a fraction of a pixel.

    The windows are made periodic by a seam in which their mirrored ends blend; the shift is a phase ramp, hence exact
    for what the pixels can hold, except within about two pixels of the window's edge.

    images : (n, rows, cols) float32; Finite everywhere.
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

        move (n, 2) float -> (n, ...) complex64.
        """
        turn = (2j * np.pi * np.asarray(move, np.float64)).astype(np.complex64)
        ramp_x = np.exp(turn[:, 0, None] * self._fx)[:, None, :]
        ramp_y = np.exp(turn[:, 1, None] * self._fy[:, 0])[:, :, None]
        return np.asarray((self._spectra * ramp_y) * ramp_x)

    def take(self, index: Ints) -> FourierShift:
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


def cut_at_offset(images: NDArray[_Pixel], move: Ints) -> tuple[NDArray[_Pixel], Bools]:
    """Read windows at whole-pixel offsets of their own.

    images (n, rows, cols) array; move (n, 2) int -> out (n, rows, cols) array; inside (n, rows, cols) bool.
    """
    n, rows, cols = images.shape
    at_row = np.arange(rows)[None, :] + move[:, 1, None]
    at_col = np.arange(cols)[None, :] + move[:, 0, None]
    good_row, good_col = (at_row >= 0) & (at_row < rows), (at_col >= 0) & (at_col < cols)
    at_row, at_col = np.clip(at_row, 0, rows - 1), np.clip(at_col, 0, cols - 1)
    out = images[np.arange(n)[:, None, None], at_row[:, :, None], at_col[:, None, :]]
    return out, good_row[:, :, None] & good_col[:, None, :]


def shift_pixels(images: NDArray[_Pixel], move: Ints) -> NDArray[_Pixel]:
    """Move windows by whole pixels of their own; zeros come in.

    images (n, rows, cols) array; move (n, 2) int -> (n, rows, cols) array.
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
