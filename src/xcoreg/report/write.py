"""Writing a report: a fit as one HTML page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from xcoreg.errors import OptionError, require
from xcoreg.files import as_path, check_inputs, replacing
from xcoreg.io.read import open_raster
from xcoreg.raster.raster import make_raster
from xcoreg.report import html, sections
from xcoreg.results.coregistration import Coregistration
from xcoreg.results.text import is_local


def write_report(  # noqa: PLR0913 - the options of Coregistration.report
    fit: Coregistration,
    path: str | os.PathLike[str],
    target: Any = None,
    reference: Any = None,
    *,
    band: Any = None,
    ref_band: Any = None,
    title: str = "Coregistration report",
    windows: int = 4,
    where: Any = None,
) -> Path:
    """Write a fit as one HTML page; see :meth:`xcoreg.Coregistration.report`."""
    require("matplotlib.figure", extra="plot")
    check_inputs(goal := as_path(path), (target, reference, where))
    tgt, ref = (_image(one, name) for one, name in ((target, "target"), (reference, "reference")))
    given = fit.details.options
    bands = given.get("band") if band is None else band, given.get("ref_band") if ref_band is None else ref_band
    background = ref if ref is not None else tgt
    if background is not None:
        shown = bands[1] if ref is not None else bands[0]
        background = make_raster(background, band=shown, name="background").data
    body, heights = [_header(fit, title)], sections.is_elevation(fit)
    if heights and fit.ok:
        body.append(html.section("Differences of elevation", sections.height_section(fit, (tgt, ref), where, bands)))
        body.append(html.section("Blocks", sections.block_figures(fit)))
    body.append(html.section("Accuracy", sections.accuracy(fit)))
    if is_local(fit) or not heights:
        body.append(html.section("Tie points", html.map_figure(fit, background) + sections.statuses(fit)))
    if tgt is not None and ref is not None and fit.ok and not heights:
        flicks = html.flicker_html(fit, tgt, ref, bands, windows)
        body.append(html.section("Before and after", flicks))
    if is_local(fit) or not heights:
        body.append(html.section("Residuals and directions", html.side_by_side(html.chart_figures(fit))))
    heading = "The correction and its uncertainty" if is_local(fit) else "The correction"
    body.append(html.section(heading, html.side_by_side(html.model_figures(fit)) if fit.is_field else ""))
    body.append(html.section("Models compared", sections.models(fit)))
    body.append(html.section("In numbers", sections.summary(fit)))
    body.append(html.section("Grids", sections.grids(fit)))
    body.append(html.section("Options and versions", sections.options(fit)))
    with replacing(goal) as temporary:
        temporary.write_text(
            html.page(title, "\n".join(one for one in body if one)), encoding="utf-8", errors="backslashreplace"
        )
    return goal


def _image(image: Any, name: str) -> Any:
    if isinstance(image, str | os.PathLike):
        return open_raster(image)
    if image is not None and not hasattr(image, "rio"):
        raise OptionError(f"{name}= is a {type(image).__name__}: give a DataArray, a Dataset or a path")
    return image


def _header(fit: Coregistration, title: str) -> str:
    lines = [*sections.answer(fit), *sections.height_answer(fit)]
    kind = "" if fit.ok else ' class="bad"'
    badge = f'<span class="badge">{html.escape(fit.status.name)}</span>'
    notes = "".join(f'<p class="warn">{html.escape(text)}</p>' for text in fit.quality.warnings)
    sign = (
        "A correction is what is added to the coordinates of the target to lie on the reference: "
        "x_ref = x_tgt + dx. px are pixels of the target."
    )
    words = html.paragraphs(lines[:1], "lead") + html.paragraphs(lines[1:]) + notes + html.paragraphs([sign], "faint")
    return f"<header{kind}><h1>{html.escape(title)} {badge}</h1>{words}</header>"
