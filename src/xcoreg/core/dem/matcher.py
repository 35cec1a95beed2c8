"""Elevation matchers over batches of windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from xcoreg.core.dem.patches import Patch
from xcoreg.core.dem.solve import Solution, solve
from xcoreg.core.dem.terms import Terms
from xcoreg.core.matches import Matches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["ElevationMatcher"]


@dataclass(frozen=True, eq=False)
class ElevationMatcher:
    """Match each window of two elevation models by itself.

    Parameters
    ----------
    terms : Terms
        What is estimated; of a tilt the height in the middle of the window is told.
    max_shift : float
        Largest correction along an axis, px.
    to_metres : (2, 2) float, optional
        As for :func:`xcoreg.core.dem.solve`.

    Examples
    --------
    >>> rows, cols = np.mgrid[:64, :64].astype(np.float32)
    >>> hill = lambda dc: 99 * np.exp(-((cols - 30 - dc) ** 2 + (rows - 33) ** 2) / 500)[None]
    >>> ok = np.ones((1, 64, 64), bool)
    >>> m = ElevationMatcher(Terms(shift=True))(hill(0.5), hill(0.0) + 2, ok, ok)
    >>> m.dcol.round(2).tolist(), m.dz.round(2).tolist(), m.ok.tolist()
    ([0.5], [-2.0], [True])
    """

    #: Windows come without their mean heights: the caller adds these to `dz`.
    heights: ClassVar[bool] = True

    terms: Terms
    max_shift: float = np.inf
    to_metres: Floats | None = None

    def __call__(self, ref: Floats, tgt: Floats, ref_valid: Bools, tgt_valid: Bools, /) -> Matches:
        """Match windows.

        Parameters
        ----------
        ref, tgt : (n, rows, cols) float32
            Elevations.
        ref_valid, tgt_valid : (n, rows, cols) bool

        Returns
        -------
        Matches
            Infinite variances, and NaN, where the terrain of a window says nothing.
        """
        found = [
            solve([Patch(*one)], self.terms, max_shift=self.max_shift, to_metres=self.to_metres)
            for one in zip(ref, tgt, ref_valid, tgt_valid, strict=True)
        ]
        return _matches(found)


def _matches(found: list[Solution]) -> Matches:
    cov = np.array([one.cov[:3, :3] for one in found]).reshape(-1, 3, 3)
    moves = np.array([one.move for one in found]).reshape(-1, 2)
    columns = {name: [getattr(one, name) for one in found] for name in ("count", "nmad_before", "nmad_after")}
    return Matches(
        moves[:, 0],
        moves[:, 1],
        cov=cov[:, :2, :2],
        cov_z=cov[:, 2, :],
        dz=np.array([one.height[0] for one in found]),
        status=np.array([int(one.status) for one in found], np.int8),
        **{name: np.array(values, np.float64) for name, values in columns.items()},
    )
