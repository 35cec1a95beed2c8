"""Results told to people, in text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from xcoreg.errors import GridError
from xcoreg.summary.field import field_rows, is_local, tell_field
from xcoreg.summary.heights import tell_heights
from xcoreg.summary.numbers import map_text
from xcoreg.summary.single import single_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xcoreg.result.fit import Coregistration

__all__ = ["fit_rows", "summarise", "tell_accessor", "tell_fit"]


def tell_fit(fit: Coregistration) -> str:
    """Tell a result in one line.

    Parameters
    ----------
    fit : Coregistration

    Returns
    -------
    str
        Status, shift, reliability, windows.

    Examples
    --------
    >>> from xcoreg.core.matches import Status
    >>> from xcoreg.points.table import TiePoints
    >>> from xcoreg.result.fit import Coregistration
    >>> from xcoreg.result.quality import Quality
    >>> points = TiePoints(*([[]] * 9))
    >>> tell_fit(Coregistration(None, points, Quality(), Status.FLAT, None, None, (1, 0, 0, 0, -1, 0), (9, 9)))
    'FLAT: no texture to match, 0 of 0 windows agree'
    """
    if is_local(fit) and fit.model is not None:
        return tell_field(fit)
    found = "" if fit.shift is None else f", {map_text(fit.shift)}"
    verdict = fit.status.name if fit.ok else f"{fit.status.name}: {fit.status.reason}"
    sure = f", reliability {fit.quality.reliability:.0f} %" if math.isfinite(fit.quality.reliability) else ""
    sure += tell_heights(fit.quality)
    return f"{verdict}{found}{sure}, {fit.quality.n_ok} of {fit.quality.n_windows} windows agree"


def fit_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    """Tell a result as pairs of a name and a text.

    Parameters
    ----------
    fit : Coregistration

    Returns
    -------
    iterator of (str, str)
    """
    return field_rows(fit) if is_local(fit) else single_rows(fit)


def _heading(fit: Coregistration) -> str:
    return f"Coregistration: {fit.status.name}, {fit.status.reason}"


def summarise(fit: Coregistration) -> str:
    """Tell a result and its interim results, one line each.

    Parameters
    ----------
    fit : Coregistration

    Returns
    -------
    str
        A heading and aligned lines, no newline at the end.

    Examples
    --------
    >>> from xcoreg.core.matches import Status
    >>> from xcoreg.points.table import TiePoints
    >>> from xcoreg.result.fit import Coregistration
    >>> from xcoreg.result.quality import Quality
    >>> points = TiePoints(*([[]] * 9))
    >>> print(summarise(Coregistration(None, points, Quality(), Status.FLAT, None, None, (1, 0, 0, 0, -1, 0), (9, 9))))
    Coregistration: FLAT, no texture to match
      windows              0 of 0 agree
    """
    return "\n".join([_heading(fit), *(f"  {name:<20} {text}" for name, text in fit_rows(fit))])


def tell_accessor(grid: Callable[[], Any]) -> str:
    """Tell in one line what `.coreg` of an image offers.

    Parameters
    ----------
    grid : callable
        Gives the image's GeoBox, or raises GridError.

    Returns
    -------
    str

    Examples
    --------
    >>> from odc.geo.geobox import GeoBox
    >>> tell_accessor(lambda: GeoBox((20, 30), (10, 0, 0, 0, -10, 0), "EPSG:32633"))[:56]
    '<.coreg of an image of 20 x 30 px (rows x columns), EPSG'
    """
    try:
        found = grid()
        rows, cols = found.shape
        crs = found.crs.epsg if found.crs is not None else None
        code = f"EPSG:{crs}" if crs else "CRS without a code" if found.crs is not None else "no CRS"
        image = f"an image of {rows} x {cols} px (rows x columns), {code}"
    except GridError as error:
        image = f"an image that is not placed ({error})"
    return f"<.coreg of {image}: match, match_local, apply, ... see help(...)>"
