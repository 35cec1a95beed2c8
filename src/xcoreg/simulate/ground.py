"""A scene of any extent: one torus, or many pieces of one, blended so that nothing repeats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import fft, ndimage

from xcoreg.simulate.displacement import Constant
from xcoreg.simulate.scene import Scene, Texture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from xcoreg.simulate.displacement import Displacement

__all__ = ["Ground", "View"]

_PIECE = 1024  # torus of a mosaic, px
_PITCH = 896  # distance of its pieces, px
_BLEND = 64  # width over which neighbours mix, px
_PER_PERIOD = 2.7  # samples under the spline per shortest period ...
_FINEST = 8  # ... but no more than so many per pixel, for the sake of memory
_ORDER = 5


class View(Protocol):
    """The ground sampled on the pixels of one image: rows r0..r1 and columns c0..c1, which may lie outside it."""

    def __call__(self, r0: int, r1: int, c0: int, c1: int, /) -> NDArray[np.float32]:
        """Return the pixels, (r1 - r0, c1 - c0)."""
        ...


@dataclass(frozen=True, eq=False)
class Ground:
    """A continuous scene over the whole plane.

    With ``rolls`` the ground at ``x`` is ``sum_b w_b(x) scene(x + rolls[b])`` over the pieces ``b`` that reach ``x``,
    with known weights whose squares sum to one: still a function known everywhere.

    Parameters
    ----------
    scene : Scene
        The torus.
    rolls : (m, m, 2) int or None
        Offsets (row, col) of the pieces, or None: the torus itself, repeated.
    """

    scene: Scene
    rolls: NDArray[np.int64] | None = None

    @classmethod
    def draw(cls, shape: tuple[int, int], texture: Texture, rng: np.random.Generator) -> Ground:
        """Draw the ground for images of a shape.

        Parameters
        ----------
        shape : (rows, cols)
            Size of the images in pixels. Where they fit, the torus is larger than them, else there are many pieces.
        texture : Texture
            Spectrum and optics.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        Ground
            The scene.
        """
        side = max(shape)
        if texture.period or side <= _PIECE:
            torus = texture.period or fft.next_fast_len(side + max(side // 4, 64))
            return cls(Scene.draw(torus, texture, rng, dtype=np.complex64))
        scene = Scene.draw(_PIECE, texture, rng, dtype=np.complex64)
        return cls(scene, rng.integers(0, _PIECE, (64, 64, 2)))

    def blurred(self, sigma: float) -> Ground:
        """Return the ground seen through a further Gaussian of so many pixels."""
        return Ground(self.scene.blurred(sigma), self.rolls)

    def view(self, displacement: Displacement) -> View:
        """Look at the ground from an image displaced against it.

        Parameters
        ----------
        displacement : Displacement
            Pixel ``x`` of the image shows the ground at ``x + displacement(x)``.

        Returns
        -------
        View
            Exact for a `Constant`; else a spline of order 5 through several samples per pixel.
        """
        if isinstance(displacement, Constant):
            return _shifted(self, displacement)
        return _warped(self, displacement)


def _shifted(ground: Ground, shift: Constant) -> View:
    image = ground.scene.image((shift.dcol, shift.drow)).astype(np.float32, copy=False)

    def read(r0: int, r1: int, c0: int, c1: int) -> NDArray[np.float32]:
        if ground.rolls is None:
            return image[np.ix_(np.arange(r0, r1) % len(image), np.arange(c0, c1) % len(image))]
        out = np.zeros((r1 - r0, c1 - c0), np.float32)
        for top, bottom, i in _pieces(r0, r1, shift.drow):
            down = _weight(np.arange(top, bottom, dtype=np.float64) + shift.drow, i)[:, None]
            for left, right, j in _pieces(c0, c1, shift.dcol):
                roll = ground.rolls[i % 64, j % 64]
                rows = (np.arange(top, bottom) + roll[0]) % len(image)
                cols = (np.arange(left, right) + roll[1]) % len(image)
                across = _weight(np.arange(left, right, dtype=np.float64) + shift.dcol, j)
                out[top - r0 : bottom - r0, left - c0 : right - c0] += image[np.ix_(rows, cols)] * down * across
        return out

    return read


def _warped(ground: Ground, displacement: Displacement) -> View:
    highest = (ground.scene.modes.shape[1] - 1) / ground.scene.size
    finer = min(max(int(np.ceil(_PER_PERIOD * highest)), 4), _FINEST)
    samples = ground.scene.image(finer=finer)
    spline = ndimage.spline_filter(samples, order=_ORDER, output=np.float32, mode="grid-wrap")

    def sample(rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[np.float32]:
        at = [rows * finer, cols * finer]
        return np.asarray(
            ndimage.map_coordinates(spline, at, np.float32, order=_ORDER, mode="grid-wrap", prefilter=False)
        )

    def read(r0: int, r1: int, c0: int, c1: int) -> NDArray[np.float32]:
        rows, cols = np.arange(r0, r1, dtype=np.float64)[:, None], np.arange(c0, c1, dtype=np.float64)
        dcol, drow = displacement(rows, cols)
        rows, cols = np.broadcast_arrays(rows + drow, cols + dcol)
        if ground.rolls is None:
            return sample(rows, cols)
        out = np.zeros(rows.shape, np.float32)
        for i in _numbers(rows.min(), rows.max()):
            down = _reached(rows, i, axis=1)
            for j in _numbers(cols.min(), cols.max()):
                box = (down, _reached(cols, j, axis=0))
                roll = ground.rolls[i % 64, j % 64]
                weight = _weight(rows[box], i) * _weight(cols[box], j)
                out[box] += weight * sample(rows[box] + roll[0], cols[box] + roll[1])
        return out

    return read


def _reached(at: NDArray[np.float64], number: int, *, axis: int) -> slice:
    """Return the rows (axis=1) or columns (axis=0) that have positions within a piece."""
    start = number * _PITCH
    hit = np.flatnonzero((at.max(axis) >= start) & (at.min(axis) <= start + _PITCH + _BLEND))
    return slice(int(hit[0]), int(hit[-1]) + 1) if hit.size else slice(0, 0)


def _numbers(first: float, last: float) -> range:
    """Return the numbers of the pieces that reach positions first..last."""
    return range(int((first - _BLEND) // _PITCH), int(last // _PITCH) + 1)


def _pieces(start: int, stop: int, shift: float) -> Iterator[tuple[int, int, int]]:
    """Yield (first, last + 1, number) of the pieces that reach pixels start..stop moved by a shift."""
    for i in _numbers(start + shift, stop - 1 + shift):
        first = max(start, int(np.floor(i * _PITCH - shift)))
        last = min(stop, int(np.ceil((i + 1) * _PITCH + _BLEND - shift)) + 1)
        if first < last:
            yield first, last, i


def _weight(at: NDArray[np.float64], number: int) -> NDArray[np.float32]:
    """Return the weight of a piece along one axis: squares of neighbours sum to one."""
    inside = (at - number * _PITCH) / _BLEND
    rise = np.clip(inside, 0, 1)
    fall = np.clip(inside - _PITCH / _BLEND, 0, 1)
    smooth = np.sin(np.pi / 2 * rise**2 * (3 - 2 * rise)) * np.cos(np.pi / 2 * fall**2 * (3 - 2 * fall))
    return np.asarray(smooth, np.float32)
