"""Continuous random scenes with optics and pixels, true corrections, and pairs of small windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

from xcoreg.core import Floats, Spectra

_PIECE = 1024  # torus of a mosaic, px
_PITCH = 896  # distance of its pieces, px
_BLEND = 64  # width over which neighbours mix, px
_PER_PERIOD = 2.7  # samples under the spline per shortest period ...
_FINEST = 8  # ... but at most this number per pixel, to limit memory
_ORDER = 5
#: The ground on the pixels of one image: rows r0..r1 and columns c0..c1, also outside of it -> (r1 - r0, c1 - c0).
View = Callable[[int, int, int, int], Floats]


@dataclass(frozen=True, eq=False)
class Ground:
    """A continuous scene of any extent: a torus, repeated, or pieces of it at offsets `rolls` (m, m, 2).

    With ``rolls`` the ground at ``x`` is ``sum_b w_b(x) scene(x + rolls[b])`` over the pieces ``b`` that reach ``x``,
    with weights whose squares sum to one.
    """

    scene: Scene
    rolls: NDArray[np.int64] | None = None

    @classmethod
    def draw(cls, shape: tuple[int, int], texture: Texture, rng: np.random.Generator) -> Ground:
        """Draw the ground for images of a shape: shape (rows, cols)."""
        side = max(shape)
        if texture.period or side <= _PIECE:
            torus = texture.period or fft.next_fast_len(side + max(side // 4, 64))
            return cls(Scene.draw(torus, texture, rng, dtype=np.complex64))
        scene = Scene.draw(_PIECE, texture, rng, dtype=np.complex64)
        return cls(scene, rng.integers(0, _PIECE, (64, 64, 2)))

    def blurred(self, sigma: float) -> Ground:
        """Return the ground after a further Gaussian blur of a standard deviation in pixels."""
        return Ground(self.scene.blurred(sigma), self.rolls)

    def view(self, displacement: Displacement) -> View:
        """Return the view of an image that is displaced against the ground."""
        if isinstance(displacement, Constant):
            return _shifted(self, displacement)
        return _warped(self, displacement)


def _shifted(ground: Ground, shift: Constant) -> View:
    image = ground.scene.image((shift.dcol, shift.drow)).astype(np.float32, copy=False)

    def read(r0: int, r1: int, c0: int, c1: int) -> Floats:
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

    def sample(rows: Floats, cols: Floats) -> Floats:
        how = {"order": _ORDER, "mode": "grid-wrap", "prefilter": False}
        return np.asarray(ndimage.map_coordinates(spline, [rows * finer, cols * finer], np.float32, **how))

    def read(r0: int, r1: int, c0: int, c1: int) -> Floats:
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


def _reached(at: Floats, number: int, *, axis: int) -> slice:
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


def _weight(at: Floats, number: int) -> Floats:
    """Return the weight of a piece along one axis: squares of neighbours sum to one."""
    inside = (at - number * _PITCH) / _BLEND
    rise = np.clip(inside, 0, 1)
    fall = np.clip(inside - _PITCH / _BLEND, 0, 1)
    smooth = np.sin(np.pi / 2 * rise**2 * (3 - 2 * rise)) * np.cos(np.pi / 2 * fall**2 * (3 - 2 * fall))
    return np.asarray(smooth, np.float32)


Vectors: TypeAlias = "tuple[Floats, Floats]"


class Displacement(Protocol):
    """A function from target pixels ``(rows, cols)`` to the correction ``(dcol, drow)`` in target pixels.

    Integer rows and columns are pixel centres; the two arguments broadcast, and so do the results.
    """

    def __call__(self, rows: ArrayLike, cols: ArrayLike, /) -> Vectors:
        """Return the correction at target pixels."""


@dataclass(frozen=True)
class Constant:
    """The same correction everywhere.

    Parameters
    ----------
    dcol, drow : float
        Pixels to the right and down.

    Examples
    --------
    >>> dcol, drow = Constant(0.5, -2.0)([0, 1], [5, 6])
    >>> drow
    array([-2., -2.])
    """

    dcol: float
    drow: float

    def __call__(self, rows: ArrayLike, cols: ArrayLike, /) -> Vectors:
        """Return the correction at target pixels."""
        shape = np.broadcast_shapes(np.shape(rows), np.shape(cols))
        return np.full(shape, self.dcol), np.full(shape, self.drow)


@dataclass(frozen=True)
class SmoothField:
    """A sum of waves (amplitude, row frequency, row phase, column frequency, column phase), pixels and radians.

    A wave is a product of one cosine along rows and one along columns. Made by :func:`smooth_field`.
    """

    dcol: tuple[tuple[float, ...], ...]
    drow: tuple[tuple[float, ...], ...]

    def __call__(self, rows: ArrayLike, cols: ArrayLike, /) -> Vectors:
        """Return the correction at target pixels."""
        row, col = np.asarray(rows, np.float64), np.asarray(cols, np.float64)
        return _waves(self.dcol, row, col), _waves(self.drow, row, col)


@dataclass(frozen=True)
class Similarity:
    """A rotation and a change of scale about a centre (col, row), then a shift. Made by :func:`similarity`."""

    center: tuple[float, float]
    degrees: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def __call__(self, rows: ArrayLike, cols: ArrayLike, /) -> Vectors:
        """Return the correction at target pixels."""
        col, row = np.asarray(cols, np.float64) - self.center[0], np.asarray(rows, np.float64) - self.center[1]
        turn = np.radians(self.degrees)
        cos, sin = self.scale * np.cos(turn), self.scale * np.sin(turn)
        return cos * col - sin * row - col + self.shift[0], sin * col + cos * row - row + self.shift[1]


def similarity(
    shape: tuple[int, int], *, degrees: float = 0.0, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)
) -> Similarity:
    """Rotate and scale about the centre of an image.

    Parameters
    ----------
    shape : (rows, cols)
        Size of the target.
    degrees : float
        Rotation from the target to the reference, clockwise on the screen.
    scale : float
        Size of the content in the reference over that in the target.
    shift : (dcol, drow)
        Correction at the centre, in pixels.

    Returns
    -------
    callable
        The true correction, a `Displacement`.

    Examples
    --------
    >>> similarity((101, 201), degrees=1.0).center
    (100.0, 50.0)
    """
    return Similarity(((shape[1] - 1) / 2, (shape[0] - 1) / 2), degrees, scale, shift)


def smooth_field(
    shape: tuple[int, int], amplitude: float, *, seed: int = 0, waves: int = 3, turns: float = 1.0
) -> SmoothField:
    """Draw a smooth field of corrections.

    Parameters
    ----------
    shape : (rows, cols)
        Size of the target.
    amplitude : float
        No component of the correction exceeds this, in pixels.
    seed : int
        Equal seeds give equal fields.
    waves : int
        Number of waves per component.
    turns : float
        Periods of the fastest wave across the image.

    Returns
    -------
    callable
        The true correction, a `Displacement`.

    Examples
    --------
    >>> field = smooth_field((500, 500), 2.5, seed=1)
    >>> dcol, drow = field([[0], [499]], [[0, 250]])
    >>> bool(abs(dcol).max() <= 2.5), drow.shape
    (True, (2, 2))
    """
    rng = np.random.default_rng(seed)

    def component() -> tuple[tuple[float, ...], ...]:
        size = rng.uniform(0.5, 1.0, waves)
        size *= amplitude / size.sum()
        turn = 2 * np.pi * turns * rng.uniform(0.3, 1.0, (2, waves)) / np.reshape(shape, (2, 1))
        phase = rng.uniform(0, 2 * np.pi, (2, waves))
        columns = np.column_stack([size, turn[0], phase[0], turn[1], phase[1]])
        return tuple(tuple(map(float, wave)) for wave in columns)

    return SmoothField(component(), component())


def _waves(waves: tuple[tuple[float, ...], ...], row: Floats, col: Floats) -> Floats:
    out = np.zeros(np.broadcast_shapes(row.shape, col.shape))
    for size, row_turn, row_phase, col_turn, col_phase in waves:
        out += size * np.cos(row_turn * row + row_phase) * np.cos(col_turn * col + col_phase)
    return out


_DIM = 1e-3  # modes that optics reduce below this are not part of the scene


@dataclass(frozen=True)
class Texture:
    """Statistics of the scene and optics of the sensor.

    Parameters
    ----------
    exponent : float
        Amplitude falls as frequency to the power ``-exponent``; 1 is the usual spectrum of land, 0 is white.
    optics_sigma : float
        Standard deviation of the Gaussian point spread function, in pixels.
    oversampling : int
        The scene has frequencies up to ``oversampling / 2`` cycles per pixel, where pixels can represent one half:
        higher ones are aliased as in a real image.
    period : int or None
        Pixels after which the texture repeats, or None.

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
    """A sum of Fourier modes on a torus of `size` pixels: band-limited, so that any shift of it is exact.

    The value at pixel position ``x`` is ``real(sum_k modes[k] exp(2 pi i k x / size))``, blurred by the optics and
    averaged over one pixel, for row frequencies -K..K and column frequencies 0..K: modes (2 K + 1, K + 1). Those above
    one half of a cycle per pixel are included, and aliased by sampling.
    """

    modes: Spectra
    size: int

    @classmethod
    def draw(
        cls, size: int, texture: Texture, rng: np.random.Generator, *, dtype: type[np.complexfloating] = np.complex128
    ) -> Scene:
        """Draw a scene of zero mean and unit expected variance; complex64 is exact to 1e-7 of the contrast."""
        amplitude = _amplitude(size, texture)
        amplitude /= np.sqrt(np.sum(amplitude**2))
        real = np.float32 if dtype is np.complex64 else np.float64
        draws = rng.standard_normal((*amplitude.shape, 2), dtype=real)
        modes = draws.view(dtype)[..., 0]
        modes *= amplitude.astype(real)
        return cls(modes, size)

    def image(self, shift: tuple[float, float] = (0.0, 0.0), *, finer: int = 1) -> Floats:
        """Sample the torus exactly: pixel (row, col) of the image shows the scene at (row + drow, col + dcol).

        `finer` samples per pixel along an axis are each the mean over one pixel.
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
        """Return the scene after a further Gaussian blur of a standard deviation in pixels."""
        top = self.modes.shape[1] - 1
        dim = np.exp(-2 * (np.pi * sigma / self.size * np.arange(-top, top + 1)) ** 2).astype(self.modes.real.dtype)
        return Scene(self.modes * dim[:, None] * dim[top:], self.size)

    def gradient(self) -> tuple[Scene, Scene]:
        """Return the exact derivatives of the scene per column and per row."""
        top = self.modes.shape[1] - 1
        real = self.modes.real.dtype
        turn = (2 * np.pi / self.size * np.arange(-top, top + 1)).astype(real) * self.modes.dtype.type(1j)
        return Scene(self.modes * turn[top:], self.size), Scene(self.modes * turn[:, None], self.size)


def _amplitude(size: int, texture: Texture) -> Floats:
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


def _fold(modes: Spectra, first: int, size: int) -> Spectra:
    """Alias the rows of modes, whose frequencies start at `first`, onto the frequencies 0..size-1."""
    out = np.zeros((size, modes.shape[1]), dtype=modes.dtype)
    start = 0
    while start < len(modes):
        at = (first + start) % size
        take = min(size - at, len(modes) - start)
        out[at : at + take] += modes[start : start + take]
        start += take
    return out


class WindowPairs(NamedTuple):
    """A batch of pairs of windows and their truth.

    Attributes
    ----------
    ref, tgt, clean : (n, size, size) float32
        Noisy windows, and the reference windows before noise.
    truth : (n, 2) float64
        Correction (dcol, drow) in pixels, ``x_ref = x_tgt + dcol``; NaN for unrelated pairs.
    sigma : (n,) float64
        Standard deviation of the noise, the same in both windows of a pair.
    bound : (n, 2, 2) float64
        Cramer-Rao bound ``2 sigma**2 G**-1`` on the covariance of the correction, axes (col, row), pixels squared.
        ``G`` sums the products of the scene's exact derivatives over the window: spectral derivatives of a crop are
        too steep, because its opposite borders differ.
    """

    ref: Floats
    tgt: Floats
    clean: Floats
    truth: Floats
    sigma: Floats
    bound: Floats


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
    """Draw `n` pairs of windows of `size` x `size` px, each cut from a larger scene of its own, shifted exactly.

    Parameters
    ----------
    snr_db : float
        Variance of the noise-free reference window over that of the noise, in decibel; ``inf`` adds no noise, ``-inf``
        gives noise of unit variance only.
    max_shift : float
        Corrections are uniform in ``[-max_shift, max_shift]`` on both axes.
    seed : int
        Equal seeds give equal pairs.
    texture : Texture, optional
        Spectrum and optics.
    unrelated : bool
        Cut the target from another scene.

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


def _cut(image: Floats, row: int, col: int, size: int) -> Floats:
    """Cut a window from a torus."""
    rows, cols = (np.arange(at, at + size) % len(image) for at in (row, col))
    return image[np.ix_(rows, cols)]


def _noise(clean: Floats, snr_db: float) -> tuple[float, float]:
    """Return the factor on the scene and the standard deviation of the noise."""
    if snr_db == -np.inf:
        return 0.0, 1.0
    return 1.0, float(clean.std(dtype=np.float64) * 10 ** (-snr_db / 20))


def _bound(slopes: Floats, sigma: float) -> Floats:
    """Return the Cramer-Rao bound of two equally noisy windows with slopes (2, rows, cols) along (col, row)."""
    flat = slopes.reshape(2, -1).astype(np.float64)
    fisher = flat @ flat.T
    if np.linalg.det(fisher) <= 0:
        return np.full((2, 2), np.inf)
    return np.asarray(2 * sigma**2 * np.linalg.inv(fisher), dtype=np.float64)
