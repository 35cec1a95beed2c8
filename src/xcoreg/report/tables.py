"""The tables of a report."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from xcoreg import georef
from xcoreg.core.matches import Status
from xcoreg.report.html import escape, table
from xcoreg.report.words import pixel_size, px, unit_of
from xcoreg.results.html import LOOKS, ordered
from xcoreg.results.text import fit_rows, model_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xcoreg.results.coregistration import Coregistration

__all__ = ["accuracy", "grids", "models", "settings", "story", "verdicts"]

_GLYPHS = {"o": "●", "s": "■", "D": "◆", "^": "▲", "v": "▼", "X": "✖", "P": "✚", ">": "▶", "<": "◀", "d": "◆", "h": "⬢"}
_LONGEST = 400  # characters of a setting
_ELSEWHERE = {"assessment", "interim", "ref_grid"}


def accuracy(fit: Coregistration) -> str:
    """Tell residuals before and after on withheld points, or nothing where there are none."""
    q, size, unit = fit.quality, pixel_size(fit), unit_of(fit)
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
    caption = f"On {q.n_check} tie points, each predicted by a fit without it. Before: without any correction."
    return table(head, rows, caption=caption, numbers=len(head) - 1)


def models(fit: Coregistration) -> str:
    """Compare the models that were tried, if any."""
    tried = (fit.settings.get("assessment") or {}).get("models") or []
    size = pixel_size(fit)
    rows = []
    for one in tried:
        mark = "*" if one.get("chosen") else ""
        error = _find(one, "rmse_r", "held_out")
        score, spread = _find(one, "score"), _find(one, "error", "se")
        numbers = [f"{px(value / size)}" if math.isfinite(value) else "–" for value in (error, score, spread)]
        if spread == 0:
            numbers[2] = "best"
        count = _find(one, "parameters")
        note = "chosen" if one.get("chosen") else ""
        note = str(one.get("reason") or note)
        parameters = f"{2 * count:.0f}" if math.isfinite(count) else "–"
        rows.append([mark + escape(model_name(str(one.get("kind")))), *numbers, parameters, escape(note)])
    caption = (
        "Error at withheld points, target px: RMSE (radial); robust and weighted, which the choice goes by; one "
        "standard error of its distance to the best. The simplest model within one standard error is taken."
    )
    head = ["Model", "RMSE", "robust", "± to the best", "parameters", ""]
    return table(head, rows, caption=caption, numbers=4) if rows else ""


def _find(row: dict[str, Any], *names: str) -> float:
    found = next((row[name] for name in names if isinstance(row.get(name), int | float)), math.nan)
    return float(found)


def verdicts(fit: Coregistration) -> str:
    """Tell what became of the windows, with reasons."""
    n = max(len(fit.points), 1)
    rows = []
    for status, count in ordered(fit.points.counts()):
        marker, colour = LOOKS[status]
        glyph = f'<span style="color:{colour}" aria-hidden="true">{_GLYPHS[marker]}</span>'
        bar = f'<span class="bar" style="width:{max(100 * count / n, 0.5):.1f}px;background:{colour}"></span>'
        reason = "trusted" if status is Status.OK else status.reason
        rows.append([f"{glyph} {status.name}", str(count), f"{100 * count / n:.1f} %", bar, escape(reason)])
    return table(["Status", "windows", "share", "", "meaning"], rows, numbers=2)


def story(fit: Coregistration) -> str:
    """Tell every line of the summary, but the verdicts, which have a table of their own."""
    rows = ((name.strip(), text) for name, text in fit_rows(fit))
    return table([], ([escape(name), escape(text)] for name, text in rows if name not in Status.__members__))


def grids(fit: Coregistration) -> str:
    """Tell where target and reference lie."""
    rows = [*_grid("Target", fit.crs_wkt, fit.transform, fit.shape)]
    ref = fit.settings.get("ref_grid")
    if isinstance(ref, dict) and "transform" in ref:
        rows += [*_grid("Reference", ref.get("crs"), ref["transform"], ref.get("shape"))]
    return table([], rows)


def _grid(name: str, crs: Any, transform: Any, shape: Any) -> Iterator[list[str]]:
    if shape is not None:
        yield [f"{name}, size", f"{shape[1]} columns × {shape[0]} rows"]
    size = georef.gsd(transform)
    yield [f"{name}, pixel", escape(f"{size[0]:.10g} × {size[1]:.10g}{_unit(crs)}")]
    yield [f"{name}, transform", escape(", ".join(f"{float(value):.12g}" for value in tuple(transform)[:6]))]
    if crs:
        known = georef.as_crs(crs)
        code = known.to_authority(min_confidence=100)
        yield [f"{name}, CRS", escape(known.name + (f" ({':'.join(code)})" if code else ""))]


def _unit(crs: Any) -> str:
    from xcoreg.results.text import short_unit

    return short_unit(georef.as_crs(crs).axis_info[0].unit_name) if crs else ""


def settings(fit: Coregistration) -> str:
    """Tell options and versions."""
    flat: dict[str, Any] = {}
    for key, value in fit.settings.items():
        if key not in _ELSEWHERE:
            flat |= value if key == "options" and isinstance(value, dict) else {key: value}
    rows = [[escape(key), escape(_short(value))] for key, value in flat.items()]
    rows += [[escape(f"version of {name}"), escape(text)] for name, text in fit.versions.items()]
    return table([], rows) if rows else ""


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text)} characters)"
