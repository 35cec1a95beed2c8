"""The direction of a shift, as people tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["shift_angle"]


def shift_angle(dx: ArrayLike, dy: ArrayLike) -> NDArray[np.float64]:
    """Direction in which the target lies as seen from the reference, clockwise from North.

    Parameters
    ----------
    dx, dy : float or array
        Correction along the CRS axes, any unit; x East, y North.

    Returns
    -------
    float64 array
        Degrees, 0 <= angle < 360; 180 for no shift.

    Examples
    --------
    >>> round(float(shift_angle(3.578856, 15.661627)), 6)
    192.87172
    """
    return np.asarray((np.degrees(np.arctan2(dx, dy)) + 180.0) % 360.0)
