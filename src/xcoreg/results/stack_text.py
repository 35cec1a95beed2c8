"""A stack of dates in words and as HTML for notebooks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.core.matches import Status
from xcoreg.results.html import table_html
from xcoreg.results.text import crs_unit, number

if TYPE_CHECKING:
    from xcoreg.results.stack import StackFit
    from xcoreg.results.stack_parts import StackDate

_SHOWN = 40  # dates in a notebook
_STYLE = "<style>.xcoreg-stack td:not(:last-child), .xcoreg-stack th { white-space: nowrap }</style>"


def describe_stack(stack: StackFit) -> str:
    """Stack in one line."""
    dates, pairs = len(stack.names), stack.pairs
    text = f"{len(stack.placed)} of {dates} dates placed, {int(pairs.accepted.sum())} of {len(pairs)} pairs accepted"
    if math.isfinite(stack.quality.ratio_x):
        text += f", chi² / degrees of freedom {stack.quality.ratio_x:.2f}, {stack.quality.ratio_y:.2f}"
    if stack.refused:
        text += f"; refused: {', '.join(one.name for one in stack.refused[:5])}"
        text += f" and {len(stack.refused) - 5} more" if len(stack.refused) > 5 else ""
    return text


def stack_rows(stack: StackFit) -> Iterator[tuple[str, str]]:
    """Facts of a stack: pairs of a name and a text."""
    q, pairs = stack.quality, stack.pairs
    yield "dates", f"{len(stack.placed)} of {len(stack.names)} placed"
    outliers = int(pairs.outlier.sum())
    failed = int((pairs.status != Status.OK).sum())
    yield "pairs", f"{len(pairs)} matched, {int(pairs.accepted.sum())} accepted, {failed} failed, {outliers} outliers"
    stays = "the mean of " + (f"{len(stack.datum_dates)} dates" if len(stack.datum_dates) > 1 else "one date")
    yield "datum", f"{stays if stack.datum == 'mean' else stack.datum} stays in place"
    if math.isfinite(q.ratio_x):
        text = f"{q.ratio_x:.2f} along columns, {q.ratio_y:.2f} along rows, {q.degrees:.0f} degrees of freedom each"
        yield "chi² / degrees", text
    if q.triangles:
        lengths = f"median {q.triangle_median:.3f} px, RMS {q.triangle_rms:.3f} px"
        yield "triangles", f"{q.triangles} close to {lengths}; chi² / degrees {q.triangle_x:.2f}, {q.triangle_y:.2f}"
    for kind, x, y, more_x, more_y in q.factors:
        added = f", and {math.sqrt((more_x + more_y) / 2):.3f} px" if more_x + more_y > 0 else ""
        yield f"  {kind}", f"{(x + y) / 2:.0%} of the stated variance does not close{added}"
    sigma = np.sqrt([np.trace(one) / 2 for one in stack.covs_px])
    known = sigma[np.isfinite(sigma)]
    if known.size:
        yield "sigma of a date", f"median {np.median(known):.3f} px, largest {known.max():.3f} px"
    yield from (("warning", text) for text in q.warnings)


def date_cells(one: StackDate, pixels: tuple[float, float]) -> list[str]:
    """Cells of the table of dates: name, corrections in map units and px, pairs, chi-squared, reason."""
    pairs = f"{one.n_accepted} / {one.n_pairs}"
    if one.status is not Status.OK:
        return [one.name, "", "", "", "", pairs, "", one.reason or one.status.reason]
    (sx, sy), (col, row) = one.sigma, pixels
    ratio = f"{one.ratio:.2f}" if math.isfinite(one.ratio) else ""
    map_cells = [number(v, s, 1.0).replace("±", " ± ") for v, s in ((one.dx, sx), (one.dy, sy))]
    return [one.name, *map_cells, f"{col:+.3f}", f"{row:+.3f}", pairs, ratio, one.reason]


def date_head(stack: StackFit) -> list[str]:
    """Names of the columns of the table of dates, with their units."""
    unit = crs_unit(stack.crs_wkt).strip()
    return ["date", f"dx, {unit}", f"dy, {unit}", "dcol, px", "drow, px", "pairs", "chi² / dof", "reason"]


def summarise_stack(stack: StackFit) -> str:
    """Stack, one line for each fact and each date."""
    lines = [f"Stack: {describe_stack(stack)}", *(f"  {name:<20} {text}" for name, text in stack_rows(stack))]
    head = date_head(stack)
    cells = [head, *(date_cells(one, px) for one, px in _dates(stack))]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    lines += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def stack_html(stack: StackFit) -> str:
    """Stack for a notebook: facts, and a table of dates."""
    facts = table_html(list(stack_rows(stack)), [])
    rows = [date_cells(one, px) for one, px in _dates(stack)]
    more = f"<p>and {len(rows) - _SHOWN} more dates</p>" if len(rows) > _SHOWN else ""
    used = rows if any(row[-1] for row in rows) else [row[:-1] for row in rows]
    dates = table_html(used[:_SHOWN], date_head(stack)[: len(used[0])] if used else [])
    return f"<div class='xcoreg-stack'>{_STYLE}<b>Stack of dates</b>{facts}{dates}{more}</div>"


def _dates(stack: StackFit) -> Iterator[tuple[StackDate, tuple[float, float]]]:
    pixels = stack.shifts_px.tolist()
    yield from zip((one for one in stack.dates if one.role == "date"), pixels, strict=True)
