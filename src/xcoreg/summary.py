"""Results told to people, in text and HTML.

What happened on the way is read from `fit.settings["interim"]`, every key optional, values as the engine found them:

- `tgt_corners`, `ref_corners`, `overlap_corners`: lists of (x, y), vertices of the footprints, each in its own CRS;
- `window`: `x`, `y` (centre, CRS of the target), `size` (px of the matching grid);
- `linear`: linear part (a, b, d, e) of the matching grid, in the CRS of the target;
- `integer`, `subpixel`: (dcol, drow), the two parts of the shift, px of the matching grid.
"""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

from xcoreg import georef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xcoreg.result import Coregistration
    from xcoreg.shift import Shift

__all__ = ["html_fit", "summarise", "tell_fit", "tell_shift"]

_UNITS = {"metre": "m", "meter": "m", "degree": "°", "foot": "ft", "US survey foot": "ft", "kilometre": "km"}
_SHOWN_CORNERS = 6


def _decimals(sigma: float, step: float) -> int:
    """Digits after the point: two digits of the uncertainty, or a thousandth of a step where there is none."""
    known = math.isfinite(sigma) and sigma > 0
    exponent = math.floor(math.log10(sigma)) - 1 if known else math.floor(math.log10(step)) - 3
    return min(max(-exponent, 0), 12)


def _number(value: float, sigma: float, step: float, unit: str = "") -> str:
    digits = _decimals(sigma, step)
    error = f"±{sigma:.{digits}f}" if math.isfinite(sigma) else ""
    return f"{value:+.{digits}f}{error}{unit}"


def _map_text(shift: Shift) -> str:
    unit = _UNITS.get(shift.unit, shift.unit)
    unit = unit if unit == "°" else f" {unit}"
    step = math.hypot(shift.linear[0], shift.linear[2])
    (sx, sy), text = shift.sigma, ""
    if shift.dz:
        text = f", dz={shift.dz:+.3f}"
    return f"dx={_number(shift.dx, sx, step, unit)}, dy={_number(shift.dy, sy, step, unit)}{text}"


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
    return f"{_map_text(shift)} (dcol={_number(shift.dcol, sc, 1.0)}, drow={_number(shift.drow, sr, 1.0)} px)"


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
    >>> from xcoreg.core.status import Status
    >>> from xcoreg.points import TiePoints
    >>> from xcoreg.result import Coregistration, Quality
    >>> points = TiePoints(*([[]] * 9))
    >>> tell_fit(Coregistration(None, points, Quality(), Status.FLAT, None, None, (1, 0, 0, 0, -1, 0), (9, 9)))
    'FLAT: no texture to match, 0 of 0 windows agree'
    """
    found = "" if fit.shift is None else f", {_map_text(fit.shift)}"
    verdict = fit.status.name if fit.ok else f"{fit.status.name}: {fit.status.reason}"
    sure = f", reliability {fit.quality.reliability:.0f} %" if math.isfinite(fit.quality.reliability) else ""
    return f"{verdict}{found}{sure}, {fit.quality.n_ok} of {fit.quality.n_windows} windows agree"


def _corners(points: Sequence[Sequence[float]]) -> str:
    shown = "  ".join(f"({x:.12g}, {y:.12g})" for x, y in points[:_SHOWN_CORNERS])
    return shown + (f"  and {len(points) - _SHOWN_CORNERS} more" if len(points) > _SHOWN_CORNERS else "")


def _place_rows(interim: dict[str, Any]) -> Iterator[tuple[str, str]]:
    names = {"tgt_corners": "target corners", "ref_corners": "reference corners", "overlap_corners": "overlap corners"}
    yield from ((text, _corners(interim[key])) for key, text in names.items() if interim.get(key))
    window = interim.get("window")
    if window:
        size = window["size"]
        yield "matching window", f"centre x {window['x']:.12g}, y {window['y']:.12g}; {size} x {size} px"


def _pixel_rows(fit: Coregistration, shift: Shift, interim: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, text in (("integer", "whole-pixel shift"), ("subpixel", "sub-pixel shift")):
        if interim.get(key):
            dcol, drow = interim[key]
            digits = 0 if key == "integer" else 6
            yield text, f"col {dcol:+.{digits}f}, row {drow:+.{digits}f} matching px"
    totals = {"matching": _in_matching_px(shift, interim), "reference": _in_reference_px(fit, shift)}
    for name, total in totals.items():
        if total is not None:
            yield "total shift", f"col {total[0]:+.6f}, row {total[1]:+.6f} {name} px"
    (sc, sr), unknown = shift.sigma_px, math.isnan(shift.sigma_px[0])
    error = "" if unknown else f" (± {sc:.4f}, {sr:.4f})"
    yield "total shift", f"col {shift.dcol:+.6f}, row {shift.drow:+.6f} target px{error}"


def _in_matching_px(shift: Shift, interim: dict[str, Any]) -> tuple[float, float] | None:
    if not interim.get("linear"):
        return None
    dcol, drow = georef.vector_to_pixel(tuple(interim["linear"]), shift.dx, shift.dy)
    return float(dcol), float(drow)


def _in_reference_px(fit: Coregistration, shift: Shift) -> tuple[float, float] | None:
    grid = fit.settings.get("ref_grid")
    if not grid or not grid.get("crs") or not fit.crs_wkt:
        return None
    centre = georef.pixel_to_map(fit.transform, fit.shape[1] / 2, fit.shape[0] / 2)
    x, y = georef.transform_points(fit.crs_wkt, grid["crs"], *centre)
    dx, dy = georef.local_displacement(x, y, shift.dx, shift.dy, fit.crs_wkt, grid["crs"])
    dcol, drow = georef.vector_to_pixel(georef.linear_of(grid["transform"]), dx, dy)
    return float(dcol), float(drow)


def _map_rows(fit: Coregistration, shift: Shift) -> Iterator[tuple[str, str]]:
    unit = _UNITS.get(shift.unit, shift.unit)
    digits = _decimals(max(shift.sigma), math.hypot(shift.linear[0], shift.linear[2]))
    yield "map shift", _map_text(shift)
    yield "length", f"{shift.length:.{digits}f} {unit}"
    yield "angle", f"{shift.angle:.3f}° clockwise from North: there lies the target as seen from the reference"
    yield "geotransform before", _geotransform(fit.transform)
    moved = georef.translate(fit.transform, shift.dx, shift.dy)
    yield ("geotransform after" if fit.ok else "it would become"), _geotransform(moved)


def _geotransform(transform: Any) -> str:
    a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
    return f"{c!r}, {a!r}, {b!r}, {f!r}, {d!r}, {e!r}"


def _quality_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    q = fit.quality
    if math.isfinite(q.reliability):
        yield "reliability", f"{q.reliability:.1f} %"
    if math.isfinite(q.score):
        yield "correlation", f"{q.score:.3f} inside the window, once corrected"
    if math.isfinite(q.ssim_before) and math.isfinite(q.ssim_after):
        yield "similarity (SSIM)", f"{q.ssim_before:.3f} before, {q.ssim_after:.3f} after"
    others = ", ".join(f"{n} {name}" for name, n in fit.points.counts().items() if name != "OK")
    spread = f", spread {q.spread_px:.3f} px" if math.isfinite(q.spread_px) else ""
    yield "windows", f"{q.n_ok} of {q.n_windows} agree{f' ({others})' if others else ''}{spread}"
    if math.isfinite(q.phase_dcol) and math.isfinite(q.phase_drow):
        yield "phase-only answer", f"differs by col {q.phase_dcol:+.3f}, row {q.phase_drow:+.3f} px"
    yield from (("warning", text) for text in q.warnings)


def _rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    interim = fit.settings.get("interim") or {}
    yield from _place_rows(interim)
    if fit.shift is not None:
        yield from _pixel_rows(fit, fit.shift, interim)
        yield from _map_rows(fit, fit.shift)
    yield from _quality_rows(fit)


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
    >>> from xcoreg.core.status import Status
    >>> from xcoreg.points import TiePoints
    >>> from xcoreg.result import Coregistration, Quality
    >>> points = TiePoints(*([[]] * 9))
    >>> print(summarise(Coregistration(None, points, Quality(), Status.FLAT, None, None, (1, 0, 0, 0, -1, 0), (9, 9))))
    Coregistration: FLAT, no texture to match
      windows              0 of 0 agree
    """
    return "\n".join([_heading(fit), *(f"  {name:<20} {text}" for name, text in _rows(fit))])


def html_fit(fit: Coregistration) -> str:
    """Tell a result as a compact HTML table, for notebooks.

    Parameters
    ----------
    fit : Coregistration

    Returns
    -------
    str
        Escaped HTML.

    Examples
    --------
    >>> from xcoreg.core.status import Status
    >>> from xcoreg.points import TiePoints
    >>> from xcoreg.result import Coregistration, Quality
    >>> points = TiePoints(*([[]] * 9))
    >>> html_fit(Coregistration(None, points, Quality(), Status.FLAT, None, None, (1, 0, 0, 0, -1, 0), (9, 9)))[:13]
    '<div><strong>'
    """
    cells = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(text)}</td></tr>'
        for name, text in _rows(fit)
    )
    colour = "#2a7d2a" if fit.ok else "#b22222"
    mark = f'<span style="color:{colour}">{fit.status.name}</span>'
    return f"<div><strong>Coregistration: {mark}</strong>, {html.escape(fit.status.reason)}<table>{cells}</table></div>"
