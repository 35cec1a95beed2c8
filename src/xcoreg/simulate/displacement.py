"""True corrections: for every target pixel, where the reference shows the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Constant", "Displacement", "Similarity", "SmoothField", "similarity", "smooth_field"]

Vectors: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64]]"


class Displacement(Protocol):
    """A function from target pixels ``(rows, cols)`` to the correction ``(dcol, drow)`` in target pixels.

    Integer rows and columns are pixel centres; the two arguments broadcast, and so do the results.
    """

    def __call__(self, rows: ArrayLike, cols: ArrayLike, /) -> Vectors:
        """Return the correction at target pixels."""
        ...


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
    """A sum of slow waves, each a product of one cosine along rows and one along columns.

    Parameters
    ----------
    dcol, drow : tuple of waves
        A wave is ``(amplitude, row frequency, row phase, column frequency, column phase)``, in pixels and radians.

    Examples
    --------
    >>> field = SmoothField(dcol=((2.0, 0.0, 0.0, 0.0, 0.0),), drow=())
    >>> float(field(10, 20)[0])
    2.0
    """

    dcol: tuple[tuple[float, ...], ...]
    drow: tuple[tuple[float, ...], ...]

    def __call__(self, rows: ArrayLike, cols: ArrayLike, /) -> Vectors:
        """Return the correction at target pixels."""
        row, col = np.asarray(rows, np.float64), np.asarray(cols, np.float64)
        return _waves(self.dcol, row, col), _waves(self.drow, row, col)


@dataclass(frozen=True)
class Similarity:
    """A rotation and a change of scale about a point, then a shift.

    Parameters
    ----------
    center : (col, row)
        The point which only the shift moves.
    degrees : float
        Rotation from the target to the reference, clockwise on the screen.
    scale : float
        Size of the content in the reference over that in the target.
    shift : (dcol, drow)
        Correction at the centre, in pixels.

    Examples
    --------
    >>> dcol, drow = Similarity(center=(0.0, 0.0), degrees=90.0)([0.0], [1.0])
    >>> [round(float(v), 6) for v in (dcol[0], drow[0])]
    [-1.0, 1.0]
    """

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
    degrees, scale, shift
        As in `Similarity`.

    Returns
    -------
    Similarity
        The true correction.

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
        The fastest wave has so many periods across the image.

    Returns
    -------
    SmoothField
        The true correction.

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


def _waves(
    waves: tuple[tuple[float, ...], ...], row: NDArray[np.float64], col: NDArray[np.float64]
) -> NDArray[np.float64]:
    out = np.zeros(np.broadcast_shapes(row.shape, col.shape))
    for size, row_turn, row_phase, col_turn, col_phase in waves:
        out += size * np.cos(row_turn * row + row_phase) * np.cos(col_turn * col + col_phase)
    return out
