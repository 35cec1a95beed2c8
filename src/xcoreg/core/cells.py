"""Sums over small square cells of two windows: all that their similarity, and what changed between them, need."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["CELL", "Cells"]

# Pixels on a side. Neighbourhoods of the structural similarity are 2 x 2 of them.
CELL = 4


@dataclass(frozen=True, eq=False)
class Cells:
    """Sums over the cells of n pairs of windows.

    Attributes
    ----------
    side : int
        Of a cell, px.
    w : (n or 1, down, across) float32
        Number of pixels that count; 1 row where it is the same for all windows.
    a, b, aa, bb, ab : (n, down, across) float32
        Both windows, their squares and products, over the pixels that count.

    Examples
    --------
    >>> ones = np.ones((1, 8, 8), np.float32)
    >>> cells = Cells.of(ones, 3 * ones, ones > 0)
    >>> cells.ab.tolist()
    [[[48.0, 48.0], [48.0, 48.0]]]
    """

    side: int
    w: Floats
    a: Floats
    b: Floats
    aa: Floats
    bb: Floats
    ab: Floats

    @classmethod
    def of(cls, a: Floats, b: Floats, valid: Bools, side: int = CELL) -> Cells:
        """Sum over cells; the last ones may reach beyond the windows, where nothing has weight.

        Parameters
        ----------
        a, b : (n, rows, cols) float32
            Finite windows whose mean is small.
        valid : (n or 1, rows, cols) bool
            Pixels that count.
        side : int
            Of the cells, px.

        Returns
        -------
        Cells
        """
        if any(size % side or size < 2 * side for size in a.shape[1:]):
            pad = [(0, 0), *((0, max(-size % side, 2 * side - size)) for size in a.shape[1:])]
            a, b, valid = np.pad(a, pad), np.pad(b, pad), np.pad(valid, pad)
        weight = np.asarray(valid, np.float32)
        if not valid.all():
            a, b = a * weight, b * weight
        n, rows, cols = a.shape
        a4, b4 = (part.reshape(n, rows // side, side, cols) for part in (a, b))
        sums = [np.einsum("nqrc,nqrc->nqc", *pair) for pair in ((a4, a4), (b4, b4), (a4, b4))]
        count = weight.reshape(len(weight), rows // side, side, cols).sum(2)
        return cls(side, *(_across(part, side) for part in (count, a4.sum(2), b4.sum(2), *sums)))

    def put(self, index: NDArray[np.intp], part: Cells) -> None:
        """Put the cells of some windows in the place of those that are here."""
        for name in (f.name for f in fields(self)[2:]):
            getattr(self, name)[index] = getattr(part, name)

    def apart(self) -> Floats:
        """Mean square difference of the windows in every cell, 0 in those that count for less than half."""
        change = np.maximum(self.aa + self.bb - 2 * self.ab, 0)
        return np.asarray(np.where(self._counts(), change / np.maximum(self.w, 1), 0))

    def rough(self) -> Floats:
        """Variance of the sum of both windows within every cell, 0 in those that count for less than half."""
        mean = (self.a + self.b) / np.maximum(self.w, 1)
        power = (self.aa + self.bb + 2 * self.ab) / np.maximum(self.w, 1)
        return np.asarray(np.where(self._counts(), np.maximum(power - mean * mean, 0), 0))

    def _counts(self) -> Bools:
        return np.asarray(self.w > 0.5 * self.side**2)


def _across(rows: Floats, side: int) -> Floats:
    """Sum over so many columns each."""
    out = rows[:, :, ::side].copy()
    for k in range(1, side):
        out += rows[:, :, k::side]
    return out
