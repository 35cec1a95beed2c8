"""What a correction did to elevation differences, line by line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xcoreg.result.fit import Coregistration
    from xcoreg.result.quality import Quality
    from xcoreg.shift import Shift

__all__ = ["dz_text", "height_rows", "tell_heights"]


def dz_text(shift: Shift) -> str:
    """Write a vertical correction with its standard deviation, where that is known.

    Parameters
    ----------
    shift : Shift

    Returns
    -------
    str
        In units of the values.

    Examples
    --------
    >>> from xcoreg.shift import Shift
    >>> dz_text(Shift(0.0, 0.0, dz=-1.99612))
    '-1.996'
    """
    sigma = shift.sigma_z
    if not (math.isfinite(sigma) and sigma > 0):
        return f"{shift.dz:+.3f}"
    digits = min(max(1 - math.floor(math.log10(sigma)), 0), 6)
    return f"{shift.dz:+.{digits}f}±{sigma:.{digits}f}"


def height_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    """Tell the vertical correction and the differences of heights before and after: pairs of a name and a text.

    Parameters
    ----------
    fit : Coregistration
        Of anything: images give no rows.

    Yields
    ------
    name, text : str
    """
    q = fit.quality
    if fit.is_field and fit.model is not None and fit.model.dz_constant is None:
        good = fit.points.take(fit.points.ok)
        model: Any = fit.model
        dz = np.asarray(model.predict_dz(good.x, good.y), np.float64)
        if dz.size:
            yield "correction dz", f"{dz.min():+.3f} to {dz.max():+.3f}, units of the values"
    if q.dh_count:
        yield "heights compared", f"{q.dh_count} pixels{f', {q.iterations} iterations' if q.iterations else ''}"
    if math.isfinite(q.dh_nmad_before):
        yield "differences, NMAD", f"{q.dh_nmad_before:.3f} before, {_known(q.dh_nmad_after)} after"
        yield "differences, median", f"{q.dh_median_before:+.3f} before, {_known(q.dh_median_after, '+')} after"


def tell_heights(quality: Quality) -> str:
    """Tell what became of the spread of height differences, for one line; empty where there are none.

    Parameters
    ----------
    quality : Quality

    Returns
    -------
    str

    Examples
    --------
    >>> from xcoreg.result.quality import Quality
    >>> tell_heights(Quality(dh_nmad_before=3.361, dh_nmad_after=1.097))
    ', NMAD 3.36 -> 1.10'
    """
    if not math.isfinite(quality.dh_nmad_before):
        return ""
    after = f"{quality.dh_nmad_after:.2f}" if math.isfinite(quality.dh_nmad_after) else "unknown"
    return f", NMAD {quality.dh_nmad_before:.2f} -> {after}"


def _known(value: float, sign: str = "") -> str:
    return f"{value:{sign}.3f}" if math.isfinite(value) else "unknown"
