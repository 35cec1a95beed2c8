"""The page of a batch: every scene with its shift, quality and thumbnail, in a table that can be sorted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from xcoreg.batches import scene
from xcoreg.files import new_file
from xcoreg.report.html import escape, page, paragraphs, section, table
from xcoreg.results.text import number

#: How a scene ended, in the words of people.
WORDS = {scene.DONE: "corrected", scene.REFUSED: "refused", scene.SKIPPED: "skipped", scene.FAILED: "failed"}
_SIGN = (
    "A correction is added to the coordinates of the target: x_ref = x_tgt + dx; dcol runs to the right, drow down, in "
    "pixels of the target, ± one standard deviation. RMSE: before and after the correction, at check points, px. "
    "Pictures: reference in red, target in cyan, before and after. Click on the head of a column to sort by it."
)
_HEAD = ("scene", "before, after", "dcol", "drow", "RMSE before", "after", "SSIM before", "after", "reliability",
         "windows", "s", "model")  # fmt: skip


def describe_counts(counts: Mapping[str, int]) -> str:
    """Give counts by status in words."""
    return ", ".join(f"{n} {WORDS[status]}" for status, n in counts.items()) or "nothing"


def count_statuses(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Numbers of scenes by status, in the order of :data:`WORDS`."""
    found = Counter(record["status"] for record in records)
    return {status: found[status] for status in WORDS if found[status]}


def write_page(records: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a page of all scenes with links to their files; rows are the records as a table."""
    counts = count_statuses(records)
    title = f"{len(records)} scenes: {describe_counts(counts)}"
    kind = ' class="bad"' if {scene.REFUSED, scene.FAILED} & counts.keys() else ""
    body = f"<header{kind}><h1>{escape(title)}</h1>{paragraphs([_SIGN], 'faint')}</header>"
    both = list(zip(records, rows, strict=True))
    bad = [[_link(path.parent, one), escape(WORDS[one["status"]]), escape(one["reason"])]
           for one, _ in both if one["status"] != scene.DONE]  # fmt: skip
    good = [_cells(path.parent, one, row) for one, row in both if one["status"] == scene.DONE]
    if bad:
        body += section("Not corrected", table(["scene", "status", "reason"], bad, markup=True, sortable=True))
    if good:
        used = [at for at in range(len(_HEAD)) if any(row[at] for row in good)]  # one shift has no check points
        head, good = [_HEAD[at] for at in used], [[row[at] for at in used] for row in good]
        body += section("Corrected", table(head, good, markup=True, sortable=True))
    with new_file(path) as place:
        place.write_text(page(title, body), encoding="utf-8", errors="backslashreplace")


def _cells(folder: Path, record: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    cells = [_link(folder, record), _thumbnail(folder, record["name"])]
    cells += [_with_error(row[name], row[f"sigma_{name[1:]}"]) for name in ("dcol", "drow")]
    cells += [_number(row[name], ".3f") for name in ("rmse_before", "rmse_after", "ssim_before", "ssim_after")]
    cells += [_number(row["reliability"], ".0f", " %"), f"{row['n_ok']} / {row['n_windows']}"]
    return [*cells, _number(row["seconds_total"], ".1f"), escape(record.get("model") or "")]


def _number(value: Any, form: str, unit: str = "") -> str:
    return f"{format(value, form)}{unit}" if isinstance(value, int | float) and math.isfinite(value) else ""


def _with_error(value: Any, sigma: Any) -> str:
    """Write a shift with the digits that its standard deviation leaves, in one line."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    known = float(sigma) if isinstance(sigma, int | float) else math.nan
    return f'<span class="number">{number(float(value), known, 1.0).replace("±", " ± ")}</span>'


def _thumbnail(folder: Path, name: str) -> str:
    path = f"{scene.SCENES}/{name}.png"
    if not (folder / path).exists():
        return ""
    return f'<img class="thumb" loading="lazy" src="{quote(path)}" alt="{escape(name)}, before and after">'


def _link(folder: Path, record: Mapping[str, Any]) -> str:
    name = record["name"]
    record_path = f"{scene.SCENES}/{name}.json"
    if record["status"] != scene.DONE:
        return _anchor(record_path, name)
    page_path = f"{scene.SCENES}/{name}.html"
    path = page_path if (folder / page_path).exists() else record["output"]
    return f"{_anchor(path, name)} {_anchor(record_path, 'record')}"


def _anchor(path: str, text: str) -> str:
    return f'<a href="{quote(path)}">{escape(text)}</a>'
