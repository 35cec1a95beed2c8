"""Spectra of windows, sub-pixel sampling by phase ramps, and whole-pixel shifts by batched phase correlation.

The cross-power spectrum is whitened (Kuglin & Hines 1975; Foroosh et al. 2002, doi:10.1109/83.988953) only where both
images rise above their own noise floor: empty and aliased frequencies would drown the peak otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sfft

from xcoreg.core import Bools, Floats, Ints, Spectra

_Value = TypeVar("_Value", bound=np.generic)

HIGHEST = 0.45  # highest radial frequency that is used, cycles per pixel: higher ones are aliased


@dataclass(frozen=True, eq=False)
class Modes:
    """Frequencies below `HIGHEST` in the half plane of a real transform, without the mean, sorted by ring.

    One of each conjugate pair in the first column is dropped: every mode stands for two frequencies of the whole plane.

    index : (m,) int; index of every mode in the flat half plane; at_row, at_col : its row and column there.
    fx, fy : (m,) float32; its frequency, cycles per pixel.
    starts, sizes : (n_rings,) int; first mode and number of modes of every ring; count : of the whole plane.
    centre : (n_rings,) float64; root mean square radius; moments : sums of ``fx fx``, ``fx fy`` and ``fy fy``.
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
        """Half planes that hold these modes alone: (n, m) to (n, rows, cols // 2 + 1)."""
        rows, cols = self.shape
        out = np.zeros((len(values), rows * (cols // 2 + 1)), values.dtype)
        out[:, self.index] = values
        out = out.reshape(len(values), rows, -1)
        # The inverse uses the real part of the first column: this restores the dropped halves of its pairs.
        out[:, :, 0] *= 2
        return out

    def sums(self, values: Floats) -> Floats:
        """Sum over each ring of the whole plane: (n, m) to (n, n_rings)."""
        return 2 * np.add.reduceat(values, self.starts, axis=1).astype(np.float64)

    def spread(self, rings: Floats) -> Floats:
        """Give every mode the value of its ring: (n, n_rings) to (n, m) float32."""
        return np.repeat(rings.astype(np.float32), self.sizes, axis=1)

    def ramp(self, move: Floats) -> Spectra:
        """Phase ramps (n, m) that sample windows at ``position + move``, px along (col, row)."""
        across, down = ramps(self.shape, move)
        out = across.take(self.at_col, axis=1, mode="clip")
        out *= down.take(self.at_row, axis=1, mode="clip")
        return out


def ramps(shape: tuple[int, int], move: Floats) -> tuple[Spectra, Spectra]:
    """Phase ramps along columns (n, cols // 2 + 1) and rows (n, rows), complex64, for moves (n, 2) in px."""
    turn = 2j * np.pi * np.asarray(move, np.float64)
    across = np.exp(turn[:, 0, None] * sfft.rfftfreq(shape[1])).astype(np.complex64)
    return across, np.exp(turn[:, 1, None] * sfft.fftfreq(shape[0])).astype(np.complex64)


@lru_cache(maxsize=32)
def modes_for(rows: int, cols: int) -> Modes:
    """Modes of a window, in at most 48 rings of about one frequency step."""
    row, col = np.divmod(np.arange(rows * (cols // 2 + 1)), cols // 2 + 1)
    fx, fy = np.asarray(sfft.rfftfreq(cols), np.float32)[col], np.asarray(sfft.fftfreq(rows), np.float32)[row]
    radius = np.hypot(fx, fy)
    n_rings = int(np.clip(min(rows, cols) // 3, 4, 48))
    # The corners beyond 0.5 share the last ring: one of their own would have few members.
    ring = np.minimum((radius / 0.72 * n_rings).astype(np.intp), n_rings - 1)
    chosen = np.flatnonzero((radius < HIGHEST) & ((fx > 0) | (fy > 0)))
    chosen = chosen[np.argsort(ring[chosen], kind="stable")]
    starts = np.flatnonzero(np.diff(ring[chosen], prepend=-1))
    sizes = np.diff(starts, append=len(chosen))
    centre = np.sqrt(np.add.reduceat(radius[chosen].astype(np.float64) ** 2, starts) / sizes)
    fx, fy = fx[chosen], fy[chosen]
    xx, xy, yy = (2 * np.add.reduceat(one.astype(np.float64), starts) for one in (fx * fx, fx * fy, fy * fy))
    at = row[chosen], col[chosen]
    return Modes((rows, cols), chosen, *at, fx, fy, starts, sizes, 2.0 * sizes, centre, (xx, xy, yy))


@lru_cache(maxsize=32)
def taper(rows: int, cols: int, share: float = 0.5) -> Floats:
    """Tukey window, separable: ``share`` of each side is tapered."""
    return np.outer(_tukey(rows, share), _tukey(cols, share)).astype(np.float32)


def _tukey(size: int, share: float) -> Floats:
    """Tukey window along one side; importing scipy.signal for it would take most of a second."""
    ramp = share * (size - 1) / 2
    from_edge = np.minimum(np.arange(size), np.arange(size)[::-1])
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.minimum(from_edge / max(ramp, 1e-9), 1)))


def forward(images: Floats) -> Spectra:
    """Real transform of a batch of windows."""
    return np.asarray(sfft.rfft2(images, axes=(-2, -1)))


def inverse(spectra: Spectra, shape: tuple[int, int]) -> Floats:
    """Inverse of :func:`forward`."""
    return np.asarray(sfft.irfft2(spectra, s=shape, axes=(-2, -1)))


_SEAM = 16  # pixels appended to make a window periodic: ringing at the seam dies out over them


class FourierShift:
    """Windows (n, rows, cols), finite everywhere, that can be sampled at positions moved by a fraction of a pixel.

    They are made periodic by blending their mirrored ends; the shift is a phase ramp: exact for band-limited images,
    except within about two pixels of the window's edge.
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
        """Spectra of the windows sampled at ``position + move``: move (n, 2) float -> (n, ...) complex64."""
        turn = (2j * np.pi * np.asarray(move, np.float64)).astype(np.complex64)
        ramp_x = np.exp(turn[:, 0, None] * self._fx)[:, None, :]
        ramp_y = np.exp(turn[:, 1, None] * self._fy[:, 0])[:, :, None]
        return np.asarray((self._spectra * ramp_y) * ramp_x)

    def image(self, spectra: Spectra) -> Floats:
        """Windows of some spectra, (n, rows, cols) float32."""
        return inverse(spectra, self._wide)[:, : self.shape[0], : self.shape[1]]


def cut_at_offset(images: NDArray[_Value], move: Ints) -> tuple[NDArray[_Value], Bools]:
    """Sample windows (n, rows, cols) at whole-pixel offsets (n, 2); -> pixels, and whether each lies inside.

    Beyond the edge of a window its last pixel is repeated.
    """
    n, rows, cols = images.shape
    at_row = np.arange(rows)[None, :] + move[:, 1, None]
    at_col = np.arange(cols)[None, :] + move[:, 0, None]
    good_row, good_col = (at_row >= 0) & (at_row < rows), (at_col >= 0) & (at_col < cols)
    at_row, at_col = np.clip(at_row, 0, rows - 1), np.clip(at_col, 0, cols - 1)
    out = images[np.arange(n)[:, None, None], at_row[:, :, None], at_col[:, None, :]]
    return out, good_row[:, :, None] & good_col[:, None, :]


def shift_pixels(images: NDArray[_Value], move: Ints) -> NDArray[_Value]:
    """Move windows (n, rows, cols) by whole pixels (n, 2) each; zeros come in at the edge."""
    if not move.any():
        return images
    out = np.zeros_like(images)
    for one, image, (across, down) in zip(out, images, move.tolist(), strict=True):
        one[_part(down), _part(across)] = image[_part(-down), _part(-across)]
    return out


def _part(move: int) -> slice:
    """Slice along an axis that holds pixels after a move."""
    return slice(move, None) if move >= 0 else slice(None, move)


def _periodic(images: Floats, axis: int, seam: int) -> Floats:
    """Append ``seam`` pixels that blend from the mirrored end to the mirrored beginning."""
    images = np.moveaxis(images, axis, -1)
    pad = [(0, 0)] * (images.ndim - 1)
    after = np.pad(images, [*pad, (0, seam)], mode="symmetric")[..., images.shape[-1] :]
    before = np.pad(images, [*pad, (seam, 0)], mode="symmetric")[..., :seam]
    t = (np.arange(seam, dtype=np.float32) + 0.5) / seam
    blend = t * t * (3 - 2 * t)
    return np.moveaxis(np.concatenate([images, after * (1 - blend) + before * blend], axis=-1), -1, axis)
