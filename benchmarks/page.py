"""Write the tables and the picture of docs/benchmarks/index.md from the reports: `python benchmarks/page.py`.

Between `<!-- begin NAME -->` and `<!-- end NAME -->` stands what a report says, and nothing that none says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import markdown

__all__ = ["PAGE", "fill"]

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks" / "index.md"
PICTURE = PAGE.with_name("scaling.svg")
Rows = list[dict[str, Any]]
_HEAD = ("xcoreg", "AROSICS", "xDEM", "cv2 ECC")
# Headings of the comparison begin so; what stands in the first column, and what tells how good an answer is.
_JOBS = (
    ("One shift", "one shift, {size}", "error px"),
    ("Tie points .* window 64,", "tie points, window 64", "RMSE px"),
    ("Tie points .* window 256,", "tie points, window 256", "RMSE px"),
    ("Tie points .* clouds", "tie points, window 128, 40 % under clouds", "RMSE px"),
    ("Warping", "warping by a field", "left: median px"),
    ("Elevation models: ", "elevation models, one shift", "RMSE per axis m"),
    ("Elevation models in blocks", "elevation models, blocks", "NMAD m"),
    (r"\d+ scenes", "a batch of {count} scenes", "RMSE px"),
)


def told(name: str) -> dict[str, Any] | None:
    """Read a report, if it was ever written."""
    path = HERE / "report" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def side_by_side(report: dict[str, Any]) -> str:
    """Set the programs beside each other: a headline, then a table for each job."""
    head, parts = [], []
    for name, quality, rows in _jobs(report):
        ours = next((row for row in rows if row["program"].startswith("xcoreg") and "s" in row), None)
        first = ours["s"] if ours else None
        head.append({"job": name} | {column: _short(rows, column, quality, first) for column in _HEAD})
        parts.append(f"**{name[0].upper()}{name[1:]}**\n\n{markdown([_line(row, quality, first) for row in rows])}")
    used = [column for column in ("job", *_HEAD) if any(row[column] for row in head)]
    return "\n\n".join([markdown([{column: row[column] for column in used} for row in head]), *parts])


def _jobs(report: dict[str, Any]) -> Iterator[tuple[str, str, Rows]]:
    """Name, measure of quality and rows of each comparison."""
    for pattern, name, quality in _JOBS:
        for table in report["tables"]:
            if re.match(pattern, table["heading"]):
                size, count = (re.search(what, table["heading"]) for what in (r"\d+ x \d+ px", r"^\d+"))
                yield name.format(size=size and size[0], count=count and count[0]), quality, table["rows"]


def _short(rows: Rows, program: str, quality: str, first: float | None) -> str:
    """One answer in a few words: the first row of a program."""
    row = next((row for row in rows if row["program"].startswith(program)), {})
    if "s" not in row:
        return str(row.get("remark", ""))
    times = f"{row['s'] / first:.2g} x the time" if first and program != "xcoreg" else f"{row['s']:.3g} s"
    return ", ".join([times, *([_worth(row, quality)] if quality in row else ["failed"])])


def _worth(row: dict[str, Any], quality: str) -> str:
    value, unit = row[quality], quality.split()[-1]
    return f"{value} {unit}" if isinstance(value, str) else f"{value:.2g} {unit}"


def _line(row: dict[str, Any], quality: str, first: float | None) -> dict[str, Any]:
    line = {"program": row["program"]}
    if "s" in row:
        line |= {"time": f"{row['s']:.3g} s", "xcoreg = 1": f"{row['s'] / first:.3g}" if first else ""}
        line["memory"] = f"{row['peak MB'] / 1000:.2g} GB"
    if "points/s" in row:
        line |= {"points/s": f"{row['points/s']:.0f}", "accepted": f"{row['accepted']} of {row['points']}"}
        line["off by > 1 px"] = str(row["> 1 px"])
    if quality in row:
        line[quality.rpartition(" ")[0]] = _worth(row, quality)
    remark = row.get("remark", "")
    return line | ({"remark": remark} if remark and not remark.startswith("wrong answers") else {})


def scaling(report: dict[str, Any]) -> str:
    """Tell time per pixel and memory by size, and what workers are worth."""
    sides, _, *workers = _sorted(report)
    base = next((row["ns/px"] for row in sides["rows"] if row["side"] == 10000), None)
    rows = []
    for row in sides["rows"]:
        line = {"side": f"{row['side']} px", "time": f"{row['s']:.3g} s", "per pixel": f"{row['ns/px']:.0f} ns"}
        line["10000 px = 1"] = f"{row['ns/px'] / base:.2f}" if base else ""
        rows.append(line | {"memory": f"{row['peak MB'] / 1000:.2g} GB"})
    picture = "![Time per pixel and memory by the side of the scene](scaling.svg)"
    parts = [f"{sides['heading']}:", markdown(rows), picture]
    for table in workers:
        times = [f"{row['workers']} {row['s']:.3g} s" for row in table["rows"]]
        worth, bare = (
            " and ".join(f"{row[name]:.2f}" for row in table["rows"] if row.get(name))
            for name in ("s, one / two", "s without filters, one / two")
        )
        parts.append(f"{table['heading']}: {', '.join(times)}; two are worth {worth} of one, without filters {bare}.")
    return "\n\n".join(parts)


def _sorted(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Sizes, graphs, workers: a report may lack the later ones."""
    kinds = ("`xcoreg warp`", "Building graphs", "Local matcher")
    found = [[table for table in report["tables"] if table["heading"].startswith(kind)] for kind in kinds]
    return [found[0][0], found[1][0] if found[1] else {}, *found[2]]


def batches(report: dict[str, Any]) -> str:
    """Tell seconds per scene and memory by workers."""
    rows = []
    for table in report["tables"]:
        for row in table["rows"]:
            if "s/scene" in row:
                line = {"job": table["heading"], "workers": row["workers"], "time": f"{row['s']:.3g} s"}
                line |= {"per scene": f"{row['s/scene']:.2g} s", "RMSE": f"{row['RMSE px']:.2g} px"}
                rows.append(line)
    return markdown(rows)


def small(report: dict[str, Any]) -> str:
    """Set processor time and error of one match in memory beside each other, a line for each program."""
    tables = {table["heading"]: table["rows"] for table in report["tables"]}
    lines: dict[str, dict[str, Any]] = {}
    for row in tables["One match in memory"]:
        line = lines.setdefault(row["program"], {"program": row["program"]})
        line[f"{row['side px']} px"] = f"{row['processor ms']:.3g} ms, {row['RMSE px per axis']:.1g} px"
    for row in tables["A loop"]:
        lines[row["program"]]["50 of 500 px"] = f"{row['50 images of 500 px, s']:.2g} s"
    return markdown(list(lines.values()))


PARTS = {"side by side": ("compare", side_by_side), "small": ("small", small), "scaling": ("scaling", scaling)}
PARTS["batch"] = ("batch", batches)


def fill(page: str) -> str:
    """Put what the reports say between the marks of a page."""
    for name, (report, write) in PARTS.items():
        found = told(report)
        text = "Not measured yet."
        if found is not None:
            text = f"{write(found)}\n\n[{found['title']}](report/{report}.md): {found['machine']}"
        marks = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        page = re.sub(
            f"{re.escape(marks[0])}.*?{re.escape(marks[1])}",
            lambda _, text=text, marks=marks: f"{marks[0]}\n\n{text}\n\n{marks[1]}",
            page,
            flags=re.DOTALL,
        )
    return page


def draw(report: dict[str, Any]) -> None:
    """Draw time per pixel and memory over the side of the scene."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from xcoreg.plot.style import GOOD

    mpl.rcParams |= {"svg.hashsalt": "xcoreg", "svg.fonttype": "none", "font.family": "sans-serif"}
    rows = _sorted(report)[0]["rows"]
    figure = Figure(figsize=(8.0, 2.8), layout="constrained")
    time, memory = figure.subplots(1, 2)
    sides = [row["side"] for row in rows]
    time.loglog(sides, [row["ns/px"] for row in rows], "o-", color=GOOD)
    time.set_ylim(bottom=0.6 * min(row["ns/px"] for row in rows))
    memory.semilogx(sides, [row["peak MB"] / 1000 for row in rows], "o-", color=GOOD)
    memory.set_ylim(bottom=0)
    for axes, label in ((time, "ns per pixel"), (memory, "peak memory, GB")):
        axes.minorticks_off()
        axes.set_xticks(sides, [f"{side // 1000}k" for side in sides])
        axes.set_xlabel("side of the scene, px")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    ticks = [tick for tick in (10, 30, 100, 300, 1000, 3000) if tick >= time.get_ylim()[0]]
    time.set_yticks(ticks, [str(tick) for tick in ticks])
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    if found := told("scaling"):
        draw(found)


if __name__ == "__main__":
    main()
