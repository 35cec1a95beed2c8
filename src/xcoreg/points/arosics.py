"""The table of tie points as AROSICS writes it: its column names, corner coordinates and missing values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xcoreg.points.table import TiePoints

__all__ = ["arosics_columns", "guess_spacing"]


def guess_spacing(points: TiePoints) -> int:
    """Distance between the windows of a grid.

    Parameters
    ----------
    points : TiePoints
        On a regular grid, or not.

    Returns
    -------
    int
        Target px, at least 1: the most frequent step between the columns that occur, or between the rows.

    Examples
    --------
    >>> from xcoreg.points.table import TiePoints
    >>> col = [100, 300, 500]
    >>> guess_spacing(TiePoints([0, 1, 2], [9, 9, 9], col, col, col, [0] * 3, [0] * 3, [0] * 3, [0] * 3))
    200
    """
    for axis in (points.col, points.row):
        steps = np.diff(np.unique(np.rint(axis[np.isfinite(axis)])))
        if steps.size:
            values, counts = np.unique(steps, return_counts=True)
            return max(1, int(values[np.argmax(counts)]))
    return 1


def arosics_columns(
    points: TiePoints,
    transform: Sequence[float] | None,
    shape: tuple[int, int] | None,
    spacing: int | None,
    nodata: float,
) -> dict[str, Any]:
    """Columns under the names that AROSICS gives them.

    Parameters
    ----------
    points : TiePoints
        With row and col of the target.
    transform : six floats (a, b, c, d, e, f)
        Of the target, pixel corner to map.
    shape : (rows, cols)
        Of the target, px.
    spacing : int, optional
        Distance of the windows, target px; default: :func:`guess_spacing`.
    nodata : float
        Stands for the shift of every window that is not trusted: this table has no column for the reason.

    Returns
    -------
    dict of arrays
        POINT_ID, X_IM, Y_IM, X_UTM, Y_UTM, X_WIN_SIZE, Y_WIN_SIZE, X_SHIFT_PX, Y_SHIFT_PX, X_SHIFT_M, Y_SHIFT_M,
        ABS_SHIFT, ANGLE, in this order. X_IM and Y_IM are the column and row of the pixel that the window's centre
        lies in, X_UTM and Y_UTM the map coordinates of that pixel's upper left corner.

    Raises
    ------
    OptionError
        Without transform or shape.

    Examples
    --------
    >>> from xcoreg.points.table import TiePoints
    >>> points = TiePoints([0], [199.5], [5199.5], [352000], [5898040], [3], [4], [0.3], [-0.4])
    >>> table = arosics_columns(points, (10, 0, 300000, 0, -10, 5900040), (10980, 10980), 200, -9999)
    >>> [float(table[name][0]) for name in ("POINT_ID", "X_IM", "X_UTM", "X_SHIFT_M")]
    [81.0, 5200.0, 352000.0, 3.0]
    """
    if transform is None or shape is None:
        raise OptionError(
            "the columns of AROSICS need the grid of the target: fit.save_points(path, columns='arosics'), or "
            "points.save(path, columns='arosics', transform=..., shape=(rows, cols))"
        )
    if not (np.isfinite(points.row).all() and np.isfinite(points.col).all()):
        raise OptionError("tie points without row and col have no place in the columns of AROSICS: load them with "
                          "transform= of the target")  # fmt: skip
    # A hair's breadth keeps a centre between two pixels in the right one, whatever its last digit is.
    x_im, y_im = (np.floor(axis + 0.5 + 1e-6).astype(np.int64) for axis in (points.col, points.row))
    x, y = georef.pixel_to_map(transform, x_im - 0.5, y_im - 0.5)
    res = spacing or guess_spacing(points)
    n_cols = math.ceil(shape[1] / res)
    shifts = {
        "X_SHIFT_PX": points.dcol, "Y_SHIFT_PX": points.drow, "X_SHIFT_M": points.dx, "Y_SHIFT_M": points.dy,
        "ABS_SHIFT": points.length, "ANGLE": points.angle,
    }  # fmt: skip
    return {
        "POINT_ID": (y_im // res) * n_cols + x_im // res,
        "X_IM": x_im, "Y_IM": y_im, "X_UTM": x, "Y_UTM": y,
        "X_WIN_SIZE": points.size, "Y_WIN_SIZE": points.size,
        **{name: np.where(points.ok & np.isfinite(values), values, nodata) for name, values in shifts.items()},
    }  # fmt: skip
