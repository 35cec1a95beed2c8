"""The report of a stack of dates: one HTML page."""

from __future__ import annotations

import math
import os
from pathlib import Path

from xcoreg.core.matches import Status
from xcoreg.errors import require
from xcoreg.files import as_path, replacing
from xcoreg.plot.stack import plot_stack
from xcoreg.report import html
from xcoreg.results.stack import StackFit
from xcoreg.results.stack_text import date_cells, date_head, describe_stack, stack_rows

_SIGN = (
    "A correction is what is added to the coordinates of a date to lie where the datum is: x_true = x + dx. dcol runs "
    "to the right, drow down, in px of the matching grid. Chi-squared per degree of freedom is 1 where pairs close as "
    "well as their covariances say."
)


def write_stack_report(stack: StackFit, path: str | os.PathLike[str], *, title: str) -> Path:
    """Write a stack as one HTML page; see :meth:`xcoreg.StackFit.report`."""
    require("matplotlib.figure", extra="plot")
    kind = "" if stack.ok else ' class="bad"'
    notes = "".join(f'<p class="warn">{html.escape(text)}</p>' for text in stack.quality.warnings)
    lead = html.paragraphs([describe_stack(stack)], "lead") + notes + html.paragraphs([_SIGN], "faint")
    body = [f"<header{kind}><h1>{html.escape(title)}</h1>{lead}</header>"]
    figures = {
        "Corrections over time": ("series", "Corrections of all dates along columns and rows, with error bars."),
        "Residuals of pairs": ("residuals", "Matrix of the standardised residuals of pairs, date by date."),
        "Network": ("network", "Dates around a circle and the pairs that were matched between them."),
    }
    for heading, (name, alt) in figures.items():
        body.append(html.section(heading, html.figure_html(plot_stack(stack, name), alt)))
    body.append(html.section("In numbers", html.table([], [list(row) for row in stack_rows(stack)])))
    dates = zip((one for one in stack.dates if one.role == "date"), stack.shifts_px.tolist(), strict=True)
    body.append(
        html.section("Dates", html.table(date_head(stack), [date_cells(one, px) for one, px in dates], numbers=6))
    )
    body.append(html.section("Pairs that were refused", _refused_pairs(stack)))
    options = [[name, str(value)] for name, value in {**stack.options, **stack.versions, "made": stack.date}.items()]
    body.append(html.section("Options and versions", html.table([], options)))
    goal = as_path(path)
    with replacing(goal) as temporary:
        temporary.write_text(
            html.page(title, "\n".join(one for one in body if one)), encoding="utf-8", errors="backslashreplace"
        )
    return goal


_SHOWN = 200  # refused pairs in the table


def _refused_pairs(stack: StackFit) -> str:
    frame = stack.pairs_dataframe()
    bad = frame[~frame["accepted"]].head(_SHOWN)
    if bad.empty:
        return ""
    reasons = bad["status"].map(lambda name: Status[name].reason).where(~bad["outlier"], "contradicts the other pairs")
    columns = (bad["target"], bad["reference"], bad["dcol"], bad["drow"], bad["normalised"], reasons)
    rows = [
        [
            a,
            b,
            *(
                f"{value:{spec}}" if math.isfinite(value) else ""
                for value, spec in ((dcol, "+.2f"), (drow, "+.2f"), (size, ".1f"))
            ),
            why,
        ]
        for a, b, dcol, drow, size, why in zip(*columns, strict=True)
    ]
    return html.table(["target", "reference", "dcol, px", "drow, px", "residual, sigma", "reason"], rows, markup=False)
