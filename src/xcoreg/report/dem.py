"""The section of a report that tells of elevations: differences before and after, aspect, blocks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from xcoreg.errors import NoOverlap
from xcoreg.plot.dem import draw_aspect, draw_block, draw_difference, draw_heights, has_blocks, width_of
from xcoreg.plot.differences import HeightStats, differences
from xcoreg.plot.style import new_figure
from xcoreg.report.html import paragraphs, table
from xcoreg.report.pictures import figure_html

if TYPE_CHECKING:
    from xcoreg.plot.differences import Differences
    from xcoreg.results.coregistration import Coregistration

__all__ = ["block_figures", "height_answer", "height_section", "is_elevation"]

_ROWS = (
    ("Median", "median", "+.3f"),
    ("NMAD", "nmad", ".3f"),
    ("LE90 (90 % are below)", "le90", ".3f"),
    ("RMSE", "rmse", ".3f"),
)


def is_elevation(fit: Coregistration) -> bool:
    """Tell whether a fit is one of elevation models.

    Parameters
    ----------
    fit : Coregistration

    Returns
    -------
    bool
    """
    return fit.has_dz or fit.quality.dh_count > 0


def height_answer(fit: Coregistration) -> list[str]:
    """Tell in words what became of the heights.

    Parameters
    ----------
    fit : Coregistration

    Returns
    -------
    list of str
        Sentences; none for a fit that is not trusted.
    """
    if not fit.ok or fit.model is None or fit.shift is None:
        return []
    lines, dz = [], fit.shift.dz
    mean = "" if fit.model.dz_constant is not None else " on average"
    if dz:
        lines.append(f"It lies {abs(dz):.3g} m too {'low' if dz > 0 else 'high'}{mean}: {dz:+.3f} m is added to it.")
    q = fit.quality
    if q.dh_count and math.isfinite(q.dh_nmad_after):
        lines.append(
            f"On the ground that counts, differences of elevation scatter by {q.dh_nmad_before:.3g} m before and "
            f"{q.dh_nmad_after:.3g} m after the correction (NMAD); their median is {q.dh_median_before:+.3g} m and "
            f"{q.dh_median_after:+.3g} m ({q.dh_count} pixels)."
        )
    return lines


def height_section(fit: Coregistration, images: tuple[Any, Any], where: Any, bands: tuple[Any, Any]) -> str:
    """Compare the elevations before and after: a table, two maps, the distribution, and aspect.

    Parameters
    ----------
    fit : Coregistration
        Trusted.
    images : (target, reference)
        None where not at hand; then only what the fit knows is told.
    where : optional
        Ground that counts, as in `match`.
    bands : (band, ref_band)

    Returns
    -------
    str
        HTML.
    """
    if images[0] is None or images[1] is None:
        return _known(fit)
    try:
        found = differences(fit, *images, where, band=bands[0], ref_band=bands[1])
    except NoOverlap:
        return _known(fit)
    return _compared(found, where is not None) + "".join(
        f'<div class="grid">{"".join(f"<div>{one}</div>" for one in pair)}</div>'
        for pair in (_maps(found), _charts(found, fit))
    )


def _known(fit: Coregistration) -> str:
    """Tell what the fit itself knows of the differences."""
    q = fit.quality
    if not q.dh_count:
        return ""
    numbers = (("Median", q.dh_median_before, q.dh_median_after), ("NMAD", q.dh_nmad_before, q.dh_nmad_after))
    rows = [[name, f"{before:.3f} m", f"{after:.3f} m"] for name, before, after in numbers]
    caption = f"Reference minus target on {q.dh_count} pixels."
    return table(["Differences", "before", "after"], rows, caption=caption, numbers=2)


def _compared(found: Differences, masked: bool) -> str:
    """Make a table of what the differences are like, on the ground that counts and on the rest."""
    rows = _rows(found.stats("before"), found.stats("after"), "")
    rest = found.stats("before", used=False), found.stats("after", used=False)
    if masked and rest[0].n:
        rows += _rows(*rest, ", elsewhere")
    caption = f"Reference minus target, on {found.stats('after').n} pixels"
    caption += " where the mask is true." if masked else "."
    if found.coarser > 1:
        caption += f" Both were averaged over {found.coarser} × {found.coarser} pixels of the target."
    return table(["Differences", "before", "after"], rows, caption=caption, numbers=2)


def _rows(before: HeightStats, after: HeightStats, ground: str) -> list[list[str]]:
    return [
        [f"{name}{ground}", f"{getattr(before, key):{spec}} m", f"{getattr(after, key):{spec}} m"]
        for name, key, spec in _ROWS
    ]


def _maps(found: Differences) -> list[str]:
    size = 4.4 * width_of(found.grid.affine, found.grid.shape, found.grid.crs) + 1.9, 5.4
    made = []
    for which in ("before", "after"):
        figure = new_figure(*size)
        draw_difference(figure, figure.add_subplot(), found, which)
        told = found.stats(which)
        alt = f"Map of reference minus target {which} the correction: median {told.median:.2f}, NMAD {told.nmad:.2f} m."
        made.append(figure_html(figure, alt))
    return made


def _charts(found: Differences, fit: Coregistration) -> list[str]:
    told = found.stats("before"), found.stats("after")
    first, second = new_figure(6, 4.4), new_figure(6, 4.4)
    draw_heights(first.add_subplot(), found)
    draw_aspect(second.add_subplot(), found, fit)
    alt = f"Histogram of reference minus target: NMAD {told[0].nmad:.2f} m before and {told[1].nmad:.2f} m after."
    what = "Where the medians before follow the curve, a horizontal shift explains them; after it they lie on a line."
    return [figure_html(first, alt), figure_html(second, "Differences over slope against aspect.", what)]


def block_figures(fit: Coregistration) -> str:
    """Draw dx, dy and dz of every block, where there are blocks.

    Parameters
    ----------
    fit : Coregistration

    Returns
    -------
    str
        HTML; empty without blocks.
    """
    if not has_blocks(fit):
        return ""
    wide = width_of(fit.transform, fit.shape, fit.crs_wkt)
    cells = []
    for name in ("dx", "dy", "dz"):
        figure = new_figure(4.2 * wide + 1.9, 5.2)
        draw_block(figure, figure.add_subplot(), fit, name)
        alt = f"Map of {name} per block; {int(fit.points.ok.sum())} of {len(fit.points)} blocks are trusted."
        cells.append(f"<div>{figure_html(figure, alt)}</div>")
    told = paragraphs(["Corrections as each block tells them; blocks that were refused are crossed out."], "faint")
    return f'{told}<div class="grid">{"".join(cells)}</div>'
