"""Results told to people in notebooks: HTML with a small map."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.summary.sketch import corners_of, sketch, swatch
from xcoreg.summary.statuses import ordered
from xcoreg.summary.tell import fit_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xcoreg.points.table import TiePoints
    from xcoreg.result.fit import Coregistration

__all__ = ["html_fit", "html_points"]

_LEFT = "text-align:left;vertical-align:top"
#: What a fit tells at once; the rest is folded away.
_FIRST = (
    "model", "map shift", "total shift", "correction", "correction dx", "correction dy", "correction dz", "length",
    "angle", "windows", "windows kept", "withheld: median", "withheld: RMSE", "withheld: CE90", "reliability",
    "similarity (SSIM)", "heights compared", "differences, NMAD", "differences, median", "warning",
)  # fmt: skip
_OTHER_PIXELS = ("matching px", "reference px")
# Rows that stand below a heading in plain text have to speak for themselves here.
_WITHHELD = {"  median": "withheld: median", "  RMSE (radial)": "withheld: RMSE", "  CE90": "withheld: CE90"}


def html_fit(fit: Coregistration) -> str:
    """Tell a result as a compact page for notebooks: verdict, numbers, a map of the windows.

    Parameters
    ----------
    fit : Coregistration

    Returns
    -------
    str
        Escaped HTML, without script, style sheet or anything from outside.

    Examples
    --------
    >>> from xcoreg.core.matches import Status
    >>> from xcoreg.points.table import TiePoints
    >>> from xcoreg.result.fit import Coregistration
    >>> from xcoreg.result.quality import Quality
    >>> points = TiePoints(*([[]] * 9))
    >>> html_fit(Coregistration(None, points, Quality(), Status.FLAT, None, None, (1, 0, 0, 0, -1, 0), (9, 9)))[:13]
    '<div><strong>'
    """
    rows = [_own_words(name, text) for name, text in fit_rows(fit)]
    first = [row for row in rows if row[0] in _FIRST and not row[1].endswith(_OTHER_PIXELS)]
    rest = [row for row in rows if row not in first]
    mark = f'<span style="color:{"#2a7d2a" if fit.ok else "#b22222"}">{fit.status.name}</span>'
    head = f"<strong>Coregistration: {mark}</strong>, {html.escape(fit.status.reason)}"
    more = f"<details><summary>more</summary>{_table(rest)}</details>" if rest else ""
    return f"<div>{head}{_beside(_table(first) + more, fit.points, corners_of(fit.transform, fit.shape))}</div>"


def _own_words(name: str, text: str) -> tuple[str, str]:
    if name not in _WITHHELD:
        return name, text
    return _WITHHELD[name], text.replace(" before", " px before").replace(" after", " px after")


def html_points(points: TiePoints) -> str:
    """Tell tie points as a compact page for notebooks: how many of each status, the corrections, a map.

    Parameters
    ----------
    points : TiePoints

    Returns
    -------
    str
        Escaped HTML, without script, style sheet or anything from outside.

    Examples
    --------
    >>> from xcoreg.points.table import TiePoints
    >>> "<strong>TiePoints: 1 of 1 trusted</strong>" in html_points(TiePoints([0], *[[1.0]] * 8))
    True
    """
    good = points.take(points.ok)
    rows = []
    for name, unit in (("dx", "CRS units"), ("dy", "CRS units"), ("dcol", "px"), ("drow", "px")):
        known = getattr(good, name)
        known = known[np.isfinite(known)]
        if known.size:
            low, middle, high = (f"{value:+.4g}" for value in np.percentile(known, [0, 50, 100]))
            rows.append((name, f"{low} to {high} {unit}, median {middle}"))
    sigma = _typical_sigma(good)
    if math.isfinite(sigma):
        rows.append(("sigma", f"{sigma:.2g} CRS units per axis, median"))
    head = f"<strong>TiePoints: {len(good)} of {len(points)} trusted</strong>"
    return f"<div>{head}{_beside(_table(rows), points)}</div>"


def _typical_sigma(points: TiePoints) -> float:
    variance = np.trace(points.cov, axis1=1, axis2=2) / 2
    known = variance[np.isfinite(variance)]
    return math.sqrt(max(float(np.median(known)), 0.0)) if known.size else math.nan


def _beside(left: str, points: TiePoints, outline: Iterable[tuple[float, float]] = ()) -> str:
    """Numbers to the left, the map to the right with the statuses that occur in it."""
    counts = "".join(
        f'<div title="{html.escape(status.reason)}">{swatch(status)} {n} {status.name}</div>'
        for status, n in ordered(points.counts())
    )
    right = sketch(points, list(outline)) + f'<div style="font-size:85%">{counts}</div>'
    flex = "display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start"
    return f'<div style="{flex}"><div>{left}</div><div>{right}</div></div>'


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f'<tr><th style="{_LEFT};white-space:nowrap">{html.escape(name.strip())}</th>'
        f'<td style="{_LEFT}">{html.escape(text)}</td></tr>'
        for name, text in rows
    )
    return f"<table>{cells}</table>"
