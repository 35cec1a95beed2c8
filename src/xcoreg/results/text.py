"""Results in words: one line for `repr`, and one line per fact for summaries and reports."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.core.matches import Status
from xcoreg.errors import GridError
from xcoreg.georef.crs import unit_of
from xcoreg.results.details import Interim

if TYPE_CHECKING:
    from xcoreg.results.coregistration import Coregistration, Quality
    from xcoreg.results.shift import Shift


#: Short names of units.
UNITS = {
    "metre": "m",
    "meter": "m",
    "degree": "°",
    "foot": "ft",
    "US survey foot": "ft",
    "kilometre": "km",
    "pixel": "px",
}


def decimals(sigma: float, step: float) -> int:
    """Digits after the point: two digits of the uncertainty, or a thousandth of a step where there is none."""
    known = math.isfinite(sigma) and sigma > 0
    exponent = math.floor(math.log10(sigma)) - 1 if known else math.floor(math.log10(step)) - 3
    return min(max(-exponent, 0), 12)


def number(value: float, sigma: float, step: float, unit: str = "") -> str:
    """Write a signed number with its standard deviation, where that is known."""
    digits = decimals(sigma, step)
    error = f"±{sigma:.{digits}f}" if math.isfinite(sigma) else ""
    return f"{value:+.{digits}f}{error}{unit}"


def short_unit(name: str) -> str:
    """Spell a unit as it follows a number."""
    unit = UNITS.get(name, name)
    return unit if unit == "°" else f" {unit}"


def crs_unit(crs: Any) -> str:
    """Spell the unit of a CRS as it follows a number; metres without a CRS."""
    return short_unit("metre" if crs is None else unit_of(crs))


def map_text(shift: Shift) -> str:
    """Shift in map units, with its uncertainty."""
    unit, (sx, sy) = short_unit(shift.unit), shift.sigma
    step = math.hypot(shift.linear[0], shift.linear[2])
    text = f", dz={dz_text(shift)}" if shift.dz else ""
    return f"dx={number(shift.dx, sx, step, unit)}, dy={number(shift.dy, sy, step, unit)}{text}"


def rounded_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    """All facts of a fit as pages show them: the shift with the digits that its standard deviation leaves."""
    shift = fit.shift_or_none
    for name, text in fit_rows(fit):
        shown = text
        if name == "total shift" and "target px" in text and shift is not None:
            pairs = zip((shift.dcol, shift.drow), shift.sigma_px, strict=True)
            col, row = (number(value, sigma, 1.0) for value, sigma in pairs)
            shown = f"dcol {col}, drow {row} target px"
        elif name in ("sub-pixel shift", "total shift") and shift is not None:
            shown = _rounded(text, decimals(max(shift.sigma_px), 1.0))
        elif name == "angle" and shift is not None and (length := math.hypot(shift.dcol, shift.drow)) > 0:
            shown = _rounded(text, min(decimals(math.degrees(max(shift.sigma_px) / length), 1.0), 3))
        yield name, re.sub(r"(?<=\d)±", " ± ", shown)


def _rounded(text: str, digits: int) -> str:
    return re.sub(r"([+-]?)(\d+\.\d+)", lambda found: f"{found[1]}{float(found[2]):.{digits}f}", text)


def describe_shift(shift: Shift) -> str:
    """Shift in one line: map units, then pixels."""
    sc, sr = shift.sigma_px
    return f"{map_text(shift)} (dcol={number(shift.dcol, sc, 1.0)}, drow={number(shift.drow, sr, 1.0)} px)"


_NAMES = {
    "translation": "one shift everywhere",
    "affine": "affine (shift, rotation, scale, shear)",
    "polynomial2": "polynomial of order 2",
    "polynomial3": "polynomial of order 3",
    "piecewise": "piecewise linear",
    "spline": "smoothing spline",
    "parallax": "polynomial, and shifts in proportion to the height",
    "lines": "plane, and splines along and across the track",
    "tps": "thin-plate spline",
    "relative": "its own field less that of the date that stays",
}


def is_local(fit: Coregistration) -> bool:
    """Whether a fit comes from `match_local`, even if its model is one shift."""
    return fit.is_field or fit.details.assessment is not None


def model_name(kind: str) -> str:
    """Name of a kind of model."""
    return _NAMES.get(kind, kind)


def correction_range(fit: Coregistration) -> dict[str, Floats]:
    """Correction of the model at the trusted tie points."""
    good = fit.points.take(fit.points.ok)
    model: Any = fit.model
    dx, dy = (np.asarray(axis, np.float64) for axis in model.predict(good.x, good.y))
    dcol, drow = georef.vector_to_pixel(georef.linear_of(fit.transform), dx, dy)
    return {"dx": dx, "dy": dy, "dcol": dcol, "drow": drow, "length": np.hypot(dcol, drow)}


def model_in_words(fit: Coregistration) -> str:
    """Name of the model of a fit, and the range of its correction where there are tie points."""
    kind = "none" if fit.model is None else fit.model.kind
    span = correction_range(fit)["length"] if fit.model is not None and fit.points.ok.any() else np.empty(0)
    reach = f": corrections of {span.min():.2f} to {span.max():.2f} px at the tie points" if span.size else ""
    return f"{model_name(kind)}{reach}"


def describe_field(fit: Coregistration) -> str:
    """Fit of a field in one line."""
    q, kind = fit.quality, "?" if fit.model is None else fit.model.kind
    span = correction_range(fit)["length"]
    parts = f", correction {span.min():.2f} to {span.max():.2f} px" if span.size else ""
    if math.isfinite(q.rmse_after):
        parts += f", RMSE {_px(q.rmse_before)} -> {_px(q.rmse_after)} px at {q.n_check} check points"
    parts += describe_heights(q)
    return f"{_status(fit)}, {kind}{parts}, {q.n_ok} of {q.n_windows} windows trusted"


def field_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    """Field, tie points and residuals: pairs of a name and a text."""
    if fit.model is not None:
        yield "model", _model_text(fit)
        yield from _range_rows(fit) if fit.is_field else ()
    if fit.shift_or_none is not None:
        yield ("mean correction", map_text(fit.shift)) if fit.is_field else ("correction", str(fit.shift))
    yield from height_rows(fit)
    yield from _point_rows(fit)
    yield from _residual_rows(fit)
    q = fit.quality
    if math.isfinite(q.reliability):
        yield "reliability", f"{q.reliability:.1f} % (median of the trusted windows)"
    if math.isfinite(q.ssim_before) and math.isfinite(q.ssim_after):
        yield "similarity (SSIM)", f"{q.ssim_before:.3f} before, {q.ssim_after:.3f} after"
    yield from (("warning", text) for text in q.warnings)


def _model_text(fit: Coregistration) -> str:
    kind = "?" if fit.model is None else fit.model.kind
    tried = () if fit.details.assessment is None else fit.details.assessment.models
    if len(tried) < 2:
        return model_name(kind)
    if kind == "regions":
        return f"{model_name(kind)}, which leave less of the heights than {len(tried) - 1} other models"
    return f"{model_name(kind)}, the simplest within one standard error of the best of {len(tried)}"


def _range_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    span = correction_range(fit)
    if span["length"].size == 0:
        return
    unit, step = short_unit("metre" if fit.shift_or_none is None else fit.shift.unit), max(georef.gsd(fit.transform))
    for axis, pixel in (("dx", "dcol"), ("dy", "drow")):
        low, high, digits = span[axis].min(), span[axis].max(), max(decimals(math.nan, step) - 1, 0)
        pixels = f"{pixel} {span[pixel].min():+.3f} to {span[pixel].max():+.3f} px"
        yield f"correction {axis}", f"{low:+.{digits}f} to {high:+.{digits}f}{unit} ({pixels})"
    length = span["length"]
    yield "length", f"{length.min():.3f} to {length.max():.3f} px, median {np.median(length):.3f} px"


def _point_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    counts = fit.points.counts()
    yield "windows trusted", f"{counts.get('OK', 0)} of {len(fit.points)}"
    for name, n in sorted(counts.items(), key=lambda item: -item[1]):
        if name != "OK":
            yield f"  {name}", f"{n}: {Status[name].reason}"


def _residual_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    q = fit.quality
    if q.n_check and math.isfinite(q.rmse_after):
        yield "at check points", f"{q.n_check} points, each predicted by a fit without it; target px"
        for name, key in (("  median", "median"), ("  RMSE (radial)", "rmse"), ("  CE90", "ce90")):
            yield name, f"{_px(getattr(q, f'{key}_before'))} before, {_px(getattr(q, f'{key}_after'))} after"
    sigma = _scatter_px(fit)
    if sigma is not None:
        yield "scatter", f"{_px(sigma[0])} px along columns, {_px(sigma[1])} px along rows, beyond the model"


def _scatter_px(fit: Coregistration) -> tuple[float, float] | None:
    """Scatter that neither the model nor the covariances of the tie points explain: standard deviations, target px."""
    scatter = np.asarray(getattr(fit.model, "scatter", np.nan), np.float64)
    if scatter.shape != (2, 2) or not np.isfinite(scatter).all():
        return None
    cov = georef.cov_to_pixel(georef.linear_of(fit.transform), scatter)
    return math.sqrt(max(cov[0, 0], 0.0)), math.sqrt(max(cov[1, 1], 0.0))


def _px(value: float) -> str:
    """Three decimals, or two digits of small values."""
    if not math.isfinite(value):
        return "unknown"
    return f"{value:.3f}" if value >= 0.01 or value == 0 else f"{value:.2g}"


def dz_text(shift: Shift) -> str:
    """Write a vertical correction with its standard deviation, where that is known."""
    sigma, unit = shift.sigma_z, f" {shift.unit_z}".rstrip()
    if not (math.isfinite(sigma) and sigma > 0):
        return f"{shift.dz:+.3f}{unit}"
    digits = min(max(1 - math.floor(math.log10(sigma)), 0), 6)
    return f"{shift.dz:+.{digits}f}±{sigma:.{digits}f}{unit}"


def height_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    """Vertical correction and differences of elevation before and after: pairs of a name and a text."""
    q = fit.quality
    if fit.is_field and fit.model is not None and fit.model.dz_constant is None:
        good = fit.points.take(fit.points.ok)
        model: Any = fit.model
        dz = np.asarray(model.predict_dz(good.x, good.y), np.float64)
        if dz.size:
            unit = fit.details.unit_z or "units of the values"
            yield "correction dz", f"{dz.min():+.3f} to {dz.max():+.3f}, {unit}"
    if q.dh_count:
        yield "heights compared", f"{q.dh_count} pixels{f', {q.iterations} iterations' if q.iterations else ''}"
    if math.isfinite(q.dh_nmad_before):
        unit = f" {fit.details.unit_z}".rstrip()
        yield "differences, NMAD", f"{q.dh_nmad_before:.3f} before, {_known(q.dh_nmad_after)} after{unit}"
        yield "differences, median", f"{q.dh_median_before:+.3f} before, {_known(q.dh_median_after, '+')} after{unit}"


def describe_heights(quality: Quality) -> str:
    """NMAD of elevation differences before and after, for one line; empty where there are none."""
    if not math.isfinite(quality.dh_nmad_before):
        return ""
    after = f"{quality.dh_nmad_after:.2f}" if math.isfinite(quality.dh_nmad_after) else "unknown"
    return f", NMAD {quality.dh_nmad_before:.2f} -> {after}"


def _known(value: float, sign: str = "") -> str:
    return f"{value:{sign}.3f}" if math.isfinite(value) else "unknown"


_SHOWN_CORNERS = 6


def _corners(points: Sequence[Sequence[float]]) -> str:
    shown = "  ".join(f"({x:.12g}, {y:.12g})" for x, y in points[:_SHOWN_CORNERS])
    return shown + (f"  and {len(points) - _SHOWN_CORNERS} more" if len(points) > _SHOWN_CORNERS else "")


def _place_rows(interim: Interim) -> Iterator[tuple[str, str]]:
    names = {"tgt_corners": "target corners", "ref_corners": "reference corners", "overlap_corners": "overlap corners"}
    corners = ((text, getattr(interim, key)) for key, text in names.items())
    yield from ((text, _corners(points)) for text, points in corners if points)
    if (one := interim.window) is not None:
        yield "matching window", f"centre x {one.x:.12g}, y {one.y:.12g}; {one.size} x {one.size} px"


def _pixel_rows(fit: Coregistration, shift: Shift, interim: Interim) -> Iterator[tuple[str, str]]:
    for part, text, digits in ((interim.integer, "whole-pixel shift", 0), (interim.subpixel, "sub-pixel shift", 6)):
        if part is not None:
            yield text, f"col {part[0]:+.{digits}f}, row {part[1]:+.{digits}f} matching px"
    totals = {"matching": _in_matching_px(shift, interim), "reference": _in_reference_px(fit, shift)}
    for name, total in totals.items():
        if total is not None:
            yield "total shift", f"col {total[0]:+.6f}, row {total[1]:+.6f} {name} px"
    sc, sr = shift.sigma_px
    error = "" if math.isnan(sc) else f" (± {sc:.4f}, {sr:.4f})"
    yield "total shift", f"col {shift.dcol:+.6f}, row {shift.drow:+.6f} target px{error}"


def _in_matching_px(shift: Shift, interim: Interim) -> tuple[float, float] | None:
    if interim.linear is None:
        return None
    dcol, drow = georef.vector_to_pixel(interim.linear, shift.dx, shift.dy)
    return float(dcol), float(drow)


def _in_reference_px(fit: Coregistration, shift: Shift) -> tuple[float, float] | None:
    grid = fit.details.ref_grid
    if grid is None or grid.crs is None or not fit.crs_wkt:
        return None
    centre = georef.pixel_to_map(fit.transform, fit.shape[1] / 2, fit.shape[0] / 2)
    x, y = georef.transform_points(fit.crs_wkt, grid.crs, *centre)
    dx, dy = georef.local_displacement(x, y, shift.dx, shift.dy, fit.crs_wkt, grid.crs)
    dcol, drow = georef.vector_to_pixel(georef.linear_of(grid.affine), dx, dy)
    return float(dcol), float(drow)


def _map_rows(fit: Coregistration, shift: Shift) -> Iterator[tuple[str, str]]:
    unit = UNITS.get(shift.unit, shift.unit)
    digits = decimals(max(shift.sigma), math.hypot(shift.linear[0], shift.linear[2]))
    yield "map shift", map_text(shift)
    yield "length", f"{shift.length:.{digits}f} {unit}"
    yield "angle", f"{shift.angle:.3f}° clockwise from North: direction of the target as seen from the reference"
    yield "geotransform before", _geotransform(fit.transform)
    moved = georef.translate(fit.transform, shift.dx, shift.dy)
    yield ("geotransform after" if fit.ok else "it would become"), _geotransform(moved)


def _geotransform(transform: Any) -> str:
    a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
    return f"{c!r}, {a!r}, {b!r}, {f!r}, {d!r}, {e!r}"


def single_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    """One shift and how it was found: pairs of a name and a text."""
    interim = fit.details.interim
    yield from _place_rows(interim)
    if fit.shift_or_none is not None:
        yield from _pixel_rows(fit, fit.shift, interim)
        yield from _map_rows(fit, fit.shift)
    yield from height_rows(fit)
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


def describe_fit(fit: Coregistration) -> str:
    """Fit in one line."""
    if is_local(fit) and fit.model is not None:
        return describe_field(fit)
    found = "" if fit.shift_or_none is None else f", {map_text(fit.shift)}"
    quality = f", reliability {fit.quality.reliability:.0f} %" if math.isfinite(fit.quality.reliability) else ""
    quality += describe_heights(fit.quality)
    return f"{_status(fit)}{found}{quality}, {fit.quality.n_ok} of {fit.quality.n_windows} windows agree"


def fit_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    """All facts of a fit: pairs of a name and a text."""
    yield from field_rows(fit) if is_local(fit) else single_rows(fit)
    yield from _terrain_rows(fit)
    origin = fit.details.origin
    if origin.target or origin.reference:
        yield (
            "images",
            f"{origin.target or 'target without a name'} onto {origin.reference or 'reference without a name'}",
        )
    if origin.date:
        yield "made", f"{origin.date}, xcoreg {fit.versions.get('xcoreg', 'unknown')}"


def _terrain_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    """Terrain of raw images, and shifts in proportion to heights."""
    sensor, parallax = fit.details.sensor, fit.details.parallax
    if sensor is not None:
        low, high = sensor.heights
        yield "terrain", f"{sensor.dem}, {low:.0f} to {high:.0f} m; the correction is in pixels of the raw image"
        if np.isfinite(sensor.dem_sigma):
            yield "errors of heights", f"{sensor.dem_sigma:.1f} m (standard deviation, means over windows)"
    if parallax is not None:
        size = number(parallax.size, parallax.size_sigma, 1.0).lstrip("+")
        way = number(parallax.direction, parallax.direction_sigma, 1.0).lstrip("+")
        yield "parallax", f"{size}{crs_unit(fit.crs_wkt)} per m of height, towards {way}° (clockwise from North)"
        yield "residuals as heights", f"{parallax.height_nmad:.2f} m (NMAD at check points)"


def _status(fit: Coregistration) -> str:
    return fit.status.name if fit.ok else f"{fit.status.name}: {fit.status.reason}"


def summarise(fit: Coregistration) -> str:
    """Fit and its interim results, one line each."""
    heading = f"Coregistration: {fit.status.name}, {fit.status.reason}"
    return "\n".join([heading, *(f"  {name:<20} {text}" for name, text in fit_rows(fit))])


def describe_accessor(grid: Callable[[], Any]) -> str:
    """Describe in one line what `.coreg` of an image offers."""
    try:
        found = grid()
        rows, cols = found.shape
        crs = found.crs.epsg if found.crs is not None else None
        code = f"EPSG:{crs}" if crs else "CRS without a code" if found.crs is not None else "no CRS"
        image = f"an image of {rows} x {cols} px (rows x columns), {code}"
    except GridError as error:
        image = f"an image that is not georeferenced ({error})"
    return f"<.coreg of {image}: match, match_local, apply, ... see help(...)>"
