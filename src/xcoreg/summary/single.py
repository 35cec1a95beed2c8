"""How one shift came about, line by line.

What happened on the way is read from `fit.settings["interim"]`, every key optional, values as the engine found them:

- `tgt_corners`, `ref_corners`, `overlap_corners`: lists of (x, y), vertices of the footprints, each in its own CRS;
- `window`: `x`, `y` (centre, CRS of the target), `size` (px of the matching grid);
- `linear`: linear part (a, b, d, e) of the matching grid, in the CRS of the target;
- `integer`, `subpixel`: (dcol, drow), the two parts of the shift, px of the matching grid.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from xcoreg import georef
from xcoreg.summary.heights import height_rows
from xcoreg.summary.numbers import UNITS, decimals, map_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xcoreg.result.fit import Coregistration
    from xcoreg.shift import Shift

__all__ = ["quality_rows", "single_rows"]

_SHOWN_CORNERS = 6


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
    unit = UNITS.get(shift.unit, shift.unit)
    digits = decimals(max(shift.sigma), math.hypot(shift.linear[0], shift.linear[2]))
    yield "map shift", map_text(shift)
    yield "length", f"{shift.length:.{digits}f} {unit}"
    yield "angle", f"{shift.angle:.3f}° clockwise from North: there lies the target as seen from the reference"
    yield "geotransform before", _geotransform(fit.transform)
    moved = georef.translate(fit.transform, shift.dx, shift.dy)
    yield ("geotransform after" if fit.ok else "it would become"), _geotransform(moved)


def _geotransform(transform: Any) -> str:
    a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
    return f"{c!r}, {a!r}, {b!r}, {f!r}, {d!r}, {e!r}"


def single_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    """Tell how one shift came about: pairs of a name and a text."""
    interim = fit.settings.get("interim") or {}
    yield from _place_rows(interim)
    if fit.shift is not None:
        yield from _pixel_rows(fit, fit.shift, interim)
        yield from _map_rows(fit, fit.shift)
    yield from quality_rows(fit)


def quality_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    """Tell how far it can be trusted."""
    q = fit.quality
    yield from height_rows(fit)
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
