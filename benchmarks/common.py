"""What the benchmarks share: arguments, tables, images made of arrays, work spread over a few processes."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (registers the accessor used below)
import xarray as xr
from affine import Affine

NORTH_UP = Affine(10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0)


def arguments(about: str, **more: dict[str, Any]) -> argparse.Namespace:
    """Parse what every benchmark takes, and what one adds to it."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="few pairs: a look, not a measurement")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the tables here: .md, or .json with every number")
    for name, options in more.items():
        parser.add_argument(f"--{name}", **options)
    return parser.parse_args()


class Report:
    """Tables that are printed as they come and written at the end."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.parts: list[tuple[str, list[dict[str, Any]], str]] = []
        self._start = time.perf_counter()
        print(f"# {title}\n\n{machine()}\n", flush=True)

    def table(self, heading: str, rows: Sequence[dict[str, Any]], note: str = "") -> None:
        """Add a table and print it."""
        self.parts.append((heading, list(rows), note))
        print(f"## {heading}\n\n{markdown(rows)}\n" + (f"\n{note}\n" if note else ""), flush=True)

    def write(self, path: Path | None) -> None:
        """Print the time taken, write the file if one is wanted."""
        took = f"{time.perf_counter() - self._start:.0f} s"
        print(f"({took})")
        if path is None:
            return
        if path.suffix == ".json":
            parts = [{"heading": heading, "rows": rows, "note": note} for heading, rows, note in self.parts]
            text = json.dumps({"title": self.title, "machine": machine(), "tables": parts}, indent=1, default=str)
        else:
            parts = [f"## {h}\n\n{markdown(rows)}\n" + (f"\n{note}\n" if note else "") for h, rows, note in self.parts]
            text = "\n".join([f"# {self.title}\n\n{machine()}, {took}\n", *parts])
        path.write_text(text + "\n", encoding="utf-8")


def machine() -> str:
    """Versions and processors in one line."""
    from importlib.metadata import version

    import scipy

    return (
        f"xcoreg {version('xcoreg')}, Python {platform.python_version()}, numpy {np.__version__}, "
        f"scipy {scipy.__version__}, {os.cpu_count()} CPUs"
    )


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a markdown table with aligned columns."""
    if not rows:
        return "(nothing)"
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)


def image(
    values: np.ndarray, *, nodata: float | None = None, transform: Affine = NORTH_UP, crs: Any = "EPSG:32633"
) -> xr.DataArray:
    """Wrap pixels (rows, cols) as rioxarray would read them."""
    array = xr.DataArray(values, dims=("y", "x"))
    if transform.b == 0 and transform.d == 0:
        rows, cols = values.shape
        array = array.assign_coords(
            y=transform.f + transform.e * (np.arange(rows) + 0.5), x=transform.c + transform.a * (np.arange(cols) + 0.5)
        )
    array.rio.write_crs(crs, inplace=True)
    array.rio.write_transform(transform, inplace=True)
    if nodata is not None:
        array.rio.write_nodata(nodata, inplace=True)
    return array


def spread(function: Callable[[Any], Any], tasks: Sequence[Any], jobs: int, label: str = "") -> list[Any]:
    """Work on tasks in order, over a few processes, telling progress on stderr."""
    if jobs <= 1:
        return list(_counted(map(function, tasks), len(tasks), label))
    # an executor, not a Pool: that one waits forever for the result of a worker that died
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(_counted(pool.map(function, tasks, chunksize=4), len(tasks), label))


def _counted(results: Iterable[Any], total: int, label: str) -> Iterable[Any]:
    start = time.perf_counter()
    for i, result in enumerate(results, 1):
        if sys.stderr.isatty() and (i % 20 == 0 or i == total):
            print(f"\r{label} {i}/{total}, {time.perf_counter() - start:.0f} s", end="", file=sys.stderr)
        yield result
    if sys.stderr.isatty():
        print(file=sys.stderr)
