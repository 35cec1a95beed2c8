"""Numbers with their uncertainty, and a shift in one line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xcoreg.summary.heights import dz_text

if TYPE_CHECKING:
    from xcoreg.shift import Shift

__all__ = ["UNITS", "decimals", "map_text", "number", "short_unit", "tell_shift"]

#: Short names of units.
UNITS = {"metre": "m", "meter": "m", "degree": "°", "foot": "ft", "US survey foot": "ft", "kilometre": "km"}


def decimals(sigma: float, step: float) -> int:
    """Digits after the point: two digits of the uncertainty, or a thousandth of a step where there is none.

    Examples
    --------
    >>> decimals(0.012, 1.0), decimals(float("nan"), 10.0)
    (3, 2)
    """
    known = math.isfinite(sigma) and sigma > 0
    exponent = math.floor(math.log10(sigma)) - 1 if known else math.floor(math.log10(step)) - 3
    return min(max(-exponent, 0), 12)


def number(value: float, sigma: float, step: float, unit: str = "") -> str:
    """Write a signed number with its standard deviation, where that is known.

    Examples
    --------
    >>> number(1.23456, 0.012, 1.0, " m")
    '+1.235±0.012 m'
    """
    digits = decimals(sigma, step)
    error = f"±{sigma:.{digits}f}" if math.isfinite(sigma) else ""
    return f"{value:+.{digits}f}{error}{unit}"


def short_unit(name: str) -> str:
    """Spell a unit as it follows a number.

    Examples
    --------
    >>> short_unit("metre"), short_unit("degree")
    (' m', '°')
    """
    unit = UNITS.get(name, name)
    return unit if unit == "°" else f" {unit}"


def map_text(shift: Shift) -> str:
    """Tell a shift in map units, with its uncertainty."""
    unit = short_unit(shift.unit)
    step = math.hypot(shift.linear[0], shift.linear[2])
    (sx, sy), text = shift.sigma, ""
    if shift.dz:
        text = f", dz={dz_text(shift)}"
    return f"dx={number(shift.dx, sx, step, unit)}, dy={number(shift.dy, sy, step, unit)}{text}"


def tell_shift(shift: Shift) -> str:
    """Tell a shift in one line.

    Parameters
    ----------
    shift : Shift

    Returns
    -------
    str
        Map units, then target pixels, with standard deviations where they are known.

    Examples
    --------
    >>> from xcoreg.shift import Shift
    >>> tell_shift(Shift(30.0, 20.0, linear=(10.0, 0.0, 0.0, -10.0)))
    'dx=+30.00 m, dy=+20.00 m (dcol=+3.000, drow=-2.000 px)'
    """
    sc, sr = shift.sigma_px
    return f"{map_text(shift)} (dcol={number(shift.dcol, sc, 1.0)}, drow={number(shift.drow, sr, 1.0)} px)"
