"""Sections of a report: the answer in words, tables, and the differences of elevation models."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core.matches import Status
from xcoreg.errors import NoOverlap
from xcoreg.plot import dem, dem_errors
from xcoreg.plot.style import new_figure
from xcoreg.report.html import escape, figure_html, paragraphs, side_by_side, table
from xcoreg.results.coregistration import Coregistration
from xcoreg.results.html import STATUS_STYLES, sort_statuses
from xcoreg.results.text import correction_range, crs_unit, decimals, is_local, model_name, number, rounded_rows

_WINDS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")


def px(value: float) -> str:
    """Write a length in pixels with its significant digits."""
    if not math.isfinite(value):
        return "unknown"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}" if value >= 0.01 else f"{value:.2g}"


def pixel_size(fit: Coregistration) -> float:
    """Side of a square as large as a pixel, CRS units."""
    a, b, d, e = georef.linear_of(fit.transform)
    return math.sqrt(abs(a * e - b * d))


def answer(fit: Coregistration) -> list[str]:
    """Say what was found, how precise it is, and what to do with it."""
    if not fit.ok:
        return [
            f"No trustworthy match was found: {fit.status.reason}.",
            "The target was not corrected, and this fit cannot be applied. The table of windows gives the reasons.",
        ]
    lines = [*_offset(fit)]
    if is_local(fit):
        lines += [*_field(fit)]
    elif fit.quality.n_windows and not fit.quality.dh_count:
        q = fit.quality
        reliability = f", reliability {q.reliability:.0f} %" if math.isfinite(q.reliability) else ""
        lines.append(f"{q.n_ok} of {q.n_windows} windows agree{reliability}.")
    return lines


def _offset(fit: Coregistration) -> list[str]:
    shift = fit.shift_or_none
    if shift is None:
        return []
    pixels = math.hypot(shift.dcol, shift.drow)
    unit = crs_unit(fit.crs_wkt)
    ground = "" if unit == "°" else f" ({shift.length:.3g}{unit})"
    kind = "On average the" if fit.is_field else "The"
    sigma = max(shift.sigma_px)
    error = f" ± {px(sigma)}" if math.isfinite(sigma) and not fit.is_field else ""
    if pixels < 0.005 or (math.isfinite(sigma) and pixels < 2 * sigma):
        return [f"{kind} target is registered already: the shift of {px(pixels)}{error} px is not significant."]
    wind = _WINDS[int((shift.angle + 22.5) // 45) % 8]
    place = f"{px(pixels)}{error} px{ground} {wind}"
    axes = "along columns and rows" if not fit.is_field else "along columns and rows, on average"
    parts = zip((shift.dcol, shift.drow), shift.sigma_px if not fit.is_field else (math.nan, math.nan), strict=True)
    col, row = (number(value, one, 1.0).replace("±", " ± ") for value, one in parts)
    return [
        f"{kind} target lies {place} of the reference, and is moved back by that much: {col} px and {row} px {axes} "
        "(to the right and down)."
    ]


def _field(fit: Coregistration) -> list[str]:
    q, kind = fit.quality, "" if fit.model is None else fit.model.kind
    lines = []
    if fit.is_field:
        span = correction_range(fit)["length"]
        lines.append(
            f"The correction is not the same everywhere: it is {px(float(span.min()))} to {px(float(span.max()))} px "
            f"long, and is described by this model: {model_name(kind)}."
        )
    else:
        lines.append("One shift describes the whole image: no model that varies from place to place predicts better.")
    if math.isfinite(q.rmse_after):
        lines.append(
            f"At check points (cross-validation) the median residual is {px(q.median_before)} px before the correction "
            f"and {px(q.median_after)} px after it; 90 % of the residuals are below {px(q.ce90_after)} px."
        )
        if q.rmse_after >= 0.95 * q.rmse_before:
            lines.append(
                "The correction does not reduce the residuals: the images were registered before, as well as could be "
                "measured."
            )
    lines += [*_precision(fit)]
    lines.append(f"{q.n_ok} of {q.n_windows} windows are trusted; the reasons for the others are given below.")
    return lines


def _precision(fit: Coregistration) -> list[str]:
    """Uncertainty of the model at its own tie points."""
    good = fit.points.take(fit.points.ok)
    model: Any = fit.model
    if model is None or len(good) == 0:
        return []
    cov = georef.cov_to_pixel(georef.linear_of(fit.transform), model.predict_cov(good.x, good.y))
    sigma = np.sqrt(np.maximum(np.linalg.eigvalsh(np.nan_to_num(cov))[:, -1], 0.0))
    if not (np.isfinite(cov).all() and (sigma > 0).all()):
        return []
    low, high = px(float(sigma.min())), px(float(sigma.max()))
    span = low if low == high else f"{low} to {high}"
    return [f"Between the tie points the standard deviation of the model is {span} px."]


_GLYPHS = {"o": "●", "s": "■", "D": "◆", "^": "▲", "v": "▼", "X": "✖", "P": "✚", ">": "▶", "<": "◀", "d": "◆", "h": "⬢"}
_LONGEST = 400  # characters of a setting


def accuracy(fit: Coregistration) -> str:
    """Residuals before and after at check points; empty where there are none."""
    q, size, unit = fit.quality, pixel_size(fit), crs_unit(fit.crs_wkt)
    if not (q.n_check and math.isfinite(q.rmse_after)):
        return ""
    on_ground = unit != "°"
    rows = []
    for name, key in (("Median", "median"), ("RMSE, radial", "rmse"), ("CE90 (90 % are below)", "ce90")):
        before, after = getattr(q, f"{key}_before"), getattr(q, f"{key}_after")
        ground = [f"{before * size:.3g}{unit}", f"{after * size:.3g}{unit}"] if on_ground else []
        gain = f"{before / after:.1f} ×" if after > 0 else ""
        rows.append([name, f"{px(before)} px", f"{px(after)} px", *ground, gain])
    head = ["Radial error", "before", "after", *(["before", "after"] if on_ground else []), "smaller by"]
    caption = f"At {q.n_check} tie points, each predicted by a fit without it. Before: without any correction."
    return table(head, rows, caption=caption, numbers=len(head) - 1)


def models(fit: Coregistration) -> str:
    """Compare the models that were tried, if any."""
    tried = () if fit.details.assessment is None else fit.details.assessment.models
    size = pixel_size(fit)
    rows, unit_z = [], fit.details.unit_z or "m"
    for at, one in enumerate(tried):
        heights = one.kind in {other.kind for other in tried[:at]}  # their models come after the horizontal ones
        values = [
            px(value / (1.0 if heights else size)) if math.isfinite(value) else "–"
            for value in (one.rmse_r, one.score, one.error)
        ]
        if one.error == 0:
            values[2] = "best"
        parameters = f"{2 * one.parameters:.0f}" if math.isfinite(one.parameters) else "–"
        name = escape(model_name(one.kind) + (f", dz in {unit_z}" if heights else ""))
        name = f"<strong>{name}</strong>" if one.chosen else name
        rows.append([name, *values, parameters, escape(one.reason or ("chosen" if one.chosen else ""))])
    caption = (
        "Error at check points (cross-validation), target px: radial RMSE; robust and weighted error, which decides; "
        "one standard error of its distance to the best. The simplest model within one standard error is chosen."
        + (
            " Regions of a mosaic leave less of the heights than these."
            if tried and tried[-1].kind == "regions"
            else ""
        )
    )
    head = ["Model", "RMSE", "robust", "± to the best", "parameters", "remark"]
    return table(head, rows, caption=caption, numbers=4, markup=True) if rows else ""


def statuses(fit: Coregistration) -> str:
    """Numbers of windows by status, with reasons."""
    n = max(len(fit.points), 1)
    rows = []
    for status, count in sort_statuses(fit.points.counts()):
        marker, colour = STATUS_STYLES[status]
        glyph = f'<span style="color:{colour}" aria-hidden="true">{_GLYPHS[marker]}</span>'
        bar = f'<span class="bar" style="width:{max(100 * count / n, 0.5):.1f}px;background:{colour}"></span>'
        reason = "trusted" if status is Status.OK else status.reason
        rows.append([f"{glyph} {status.name}", str(count), f"{100 * count / n:.1f} %", bar, escape(reason)])
    return table(["Status", "windows", "share", "", "meaning"], rows, numbers=2, markup=True)


def summary(fit: Coregistration) -> str:
    """Every line of the summary but the statuses, which have a table of their own."""
    rows = ((name.strip(), text) for name, text in rounded_rows(fit))
    return table([], [row for row in rows if row[0] not in Status.__members__])


def grids(fit: Coregistration) -> str:
    """Describe the grids of target and reference."""
    known = {"Target": fit.grid, "Reference": fit.details.ref_grid}
    return table([], [row for name, grid in known.items() if grid is not None for row in _grid(name, grid)])


def _grid(name: str, grid: GeoBox) -> Iterator[list[str]]:
    yield [f"{name}, size", f"{grid.shape[1]} columns × {grid.shape[0]} rows"]
    size, crs = georef.gsd(grid.affine), None if grid.crs is None else georef.as_crs(grid.crs)
    unit = "" if crs is None else crs_unit(crs)
    yield [f"{name}, pixel", f"{size[0]:.10g} × {size[1]:.10g}{unit}"]
    yield [f"{name}, transform", ", ".join(f"{float(value):.12g}" for value in tuple(grid.affine)[:6])]
    if crs is not None:
        code = crs.to_authority(min_confidence=100)
        yield [f"{name}, CRS", crs.name + (f" ({':'.join(code)})" if code else "")]


def options(fit: Coregistration) -> str:
    """List options and versions."""
    details = fit.details
    known = {**details.options, "tgt_nodata": details.tgt_nodata, "ref_nodata": details.ref_nodata}
    rows = [[key, _short(value)] for key, value in known.items() if value is not None]
    rows += [[f"version of {name}", text] for name, text in fit.versions.items()]
    return table([], rows) if rows else ""


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = "an array, given from Python" if text.startswith("<xarray") else text
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text)} characters)"


_ROWS = (
    ("Median", "median", "+.3f"),
    ("NMAD", "nmad", ".3f"),
    ("LE90 (90 % are below)", "le90", ".3f"),
    ("RMSE", "rmse", ".3f"),
)


def is_elevation(fit: Coregistration) -> bool:
    """Whether a fit is one of elevation models."""
    return fit.has_dz or fit.quality.dh_count > 0


def height_answer(fit: Coregistration) -> list[str]:
    """Say how heights are corrected."""
    if not fit.ok or fit.model is None or fit.shift_or_none is None:
        return []
    lines, dz, unit = [], fit.shift.dz, fit.details.unit_z or "m"
    mean = "" if fit.model.dz_constant is not None else " on average"
    if dz:
        way = "low" if dz > 0 else "high"
        lines.append(f"Its heights are {abs(dz):.3g} {unit} too {way}{mean}: {dz:+.3f} {unit} is added.")
    q = fit.quality
    if q.dh_count and math.isfinite(q.dh_nmad_after):
        digits = decimals(q.dh_nmad_after, 1.0) + 1
        shown = (f"{value:.{digits}f} {unit}" for value in (q.dh_nmad_before, q.dh_nmad_after))
        medians = (f"{value:+.{digits}f} {unit}" for value in (q.dh_median_before, q.dh_median_after))
        lines.append(
            f"On stable terrain the NMAD of the elevation differences is {' before and '.join(shown)} after the "
            f"correction, their median {' and '.join(medians)} ({q.dh_count} pixels)."
        )
    return lines


_DEM_WORDS = (
    "Median: the vertical bias. NMAD: spread of the differences, which a few blunders do not change; for normal errors "
    "their standard deviation. LE90: 90 % of the differences are smaller than this. RMSE: includes blunders and bias.",
    "Stable terrain decides; elsewhere (glaciers, forests, water) heights may have changed, and differences there "
    "are no errors.",
)


def height_section(fit: Coregistration, images: tuple[Any, Any], where: Any, bands: tuple[Any, Any]) -> str:
    """Compare the elevations before and after: a table, two maps, the distribution, and aspect."""
    if images[0] is None or images[1] is None:
        return _known(fit)
    try:
        found = dem.differences(fit, *images, where, band=bands[0], ref_band=bands[1])
    except NoOverlap:
        return _known(fit)
    return _compared(found, where is not None) + side_by_side(_maps(found)) + side_by_side(_charts(found, fit))


def _known(fit: Coregistration) -> str:
    """Differences as the fit has recorded them."""
    q = fit.quality
    if not q.dh_count:
        return ""
    numbers = (("Median", q.dh_median_before, q.dh_median_after), ("NMAD", q.dh_nmad_before, q.dh_nmad_after))
    unit = fit.details.unit_z or "m"
    rows = [[name, f"{before:.3f} {unit}", f"{after:.3f} {unit}"] for name, before, after in numbers]
    caption = f"Reference minus target on {q.dh_count} pixels."
    return table(["Differences", "before", "after"], rows, caption=caption, numbers=2)


def _compared(found: dem.Differences, masked: bool) -> str:
    """Statistics of the differences, on stable terrain and on the rest."""
    rows = _rows(found.stats("before"), found.stats("after"), "")
    rest = found.stats("before", used=False), found.stats("after", used=False)
    if masked and rest[0].n:
        rows += _rows(*rest, ", elsewhere")
    caption = f"Reference minus target, on {found.stats('after').n} pixels"
    caption += " where the mask is true." if masked else "."
    if found.coarser > 1:
        caption += f" Both were averaged over {found.coarser} × {found.coarser} pixels of the target."
    words = _DEM_WORDS if masked and rest[0].n else _DEM_WORDS[:1]
    return table(["Differences", "before", "after"], rows, caption=caption, numbers=2) + paragraphs(words, "faint")


def _rows(before: dem.HeightStats, after: dem.HeightStats, ground: str) -> list[list[str]]:
    return [
        [f"{name}{ground}", f"{getattr(before, key):{spec}} m", f"{getattr(after, key):{spec}} m"]
        for name, key, spec in _ROWS
    ]


def _maps(found: dem.Differences) -> list[str]:
    size = 4.4 * dem.aspect_ratio(found.grid) + 1.9, 5.4
    made = []
    for which in ("before", "after"):
        figure, stats = new_figure(*size), found.stats(which)
        dem.draw_difference(figure, figure.add_subplot(), found, which)
        numbers = f"median {stats.median:.2f}, NMAD {stats.nmad:.2f} m"
        made.append(figure_html(figure, f"Map of reference minus target {which} the correction: {numbers}."))
    return made


def _charts(found: dem.Differences, fit: Coregistration) -> list[str]:
    before, after = found.stats("before"), found.stats("after")
    first, second = new_figure(6, 4.4), new_figure(6, 4.4)
    dem.draw_heights(first.add_subplot(), found)
    dem.draw_aspect(second.add_subplot(), found, fit)
    alt = f"Histogram of reference minus target: NMAD {before.nmad:.2f} m before and {after.nmad:.2f} m after."
    caption = "Medians that follow the curve are due to a horizontal shift; after the correction they lie on a line."
    third, fourth = new_figure(6, 4.4), new_figure(6, 4.4)
    dem_errors.draw_slopes(third.add_subplot(), found)
    dem_errors.draw_variogram(fourth.add_subplot(), found)
    flat = "A level variogram is that of errors without correlation; where it rises, neighbours share their errors."
    return [
        figure_html(first, alt),
        figure_html(second, "Differences over slope against aspect.", caption),
        figure_html(third, "Median and NMAD of the differences by slope."),
        figure_html(fourth, "Variogram of the differences.", flat),
    ]


def block_figures(fit: Coregistration) -> str:
    """Draw dx, dy and dz of every block, where there are blocks."""
    if not dem.has_blocks(fit):
        return ""
    wide = dem.aspect_ratio(fit.grid)
    cells = []
    for name in ("dx", "dy", "dz"):
        figure = new_figure(4.2 * wide + 1.9, 5.2)
        dem.draw_block(figure, figure.add_subplot(), fit, name)
        alt = f"Map of {name} per block; {int(fit.points.ok.sum())} of {len(fit.points)} blocks are trusted."
        cells.append(figure_html(figure, alt))
    return paragraphs(["Correction of each block; refused blocks are crossed out."], "faint") + side_by_side(cells)
