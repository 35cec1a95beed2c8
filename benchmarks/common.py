"""What the benchmarks share: arguments, tables, images made of arrays, work spread over a few processes."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
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
# The option of every program that simulates large scenes once and keeps them.
CACHE: dict[str, Any] = {
    "type": Path,
    "default": Path(os.environ.get("XCOREG_BENCH_CACHE") or Path(tempfile.gettempdir()) / "xcoreg-bench"),
    "help": "where the scenes are kept; default $XCOREG_BENCH_CACHE, or a folder among the temporary ones",
}


def arguments(about: str, **more: dict[str, Any]) -> argparse.Namespace:
    """Parse what every benchmark takes, and what one adds to it."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="few pairs: a look, not a measurement")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the tables here, as .md and as .json")
    for name, options in more.items():
        parser.add_argument(f"--{name}", **options)
    return parser.parse_args()


class Report:
    """Tables that are printed as they come and written at the end."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.parts: list[tuple[str, list[dict[str, Any]], str]] = []
        self.machine = machine()
        self._start = time.perf_counter()
        print(f"# {title}\n\n{self.machine}\n", flush=True)

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
        parts = [{"heading": heading, "rows": rows, "note": note} for heading, rows, note in self.parts]
        told = json.dumps({"title": self.title, "machine": self.machine, "tables": parts}, indent=1, default=str)
        tables = [f"## {h}\n\n{markdown(rows)}\n" + (f"\n{note}\n" if note else "") for h, rows, note in self.parts]
        text = "\n".join([f"# {self.title}\n\n{self.machine}, {took}\n", *tables])
        path.with_suffix(".json").write_text(told + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def machine() -> str:
    """Tell versions and the machine in one line: what a time depends on, nothing that says whose machine it is."""
    from importlib.metadata import version

    import rasterio
    import scipy

    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30 if hasattr(os, "sysconf") else np.nan
    return (
        f"xcoreg {version('xcoreg')} ({_commit()}), Python {platform.python_version()}, numpy {np.__version__}, "
        f"scipy {scipy.__version__}, GDAL {rasterio.__gdal_version__}; {platform.system()}, {_processor()}, "
        f"{os.cpu_count()} CPUs, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f} at the start; "
        f"{time.strftime('%Y-%m-%d')}"
    )


def _processor() -> str:
    """Tell the model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _commit() -> str:
    """Tell the commit that is measured, and whether the sources differ from it."""
    here = Path(__file__).resolve().parents[1]
    try:
        asked = [
            subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", "src"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return "commit unknown"
    return f"commit {asked[0]}" + (", changed" if asked[1] else "")


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


def fit(model: Any, shape: tuple[int, int], crs: str = "EPSG:32633") -> Any:
    """Make a trusted result of a model, for images on NORTH_UP."""
    from xcoreg.core.matches import Status
    from xcoreg.results.coregistration import Coregistration, Quality
    from xcoreg.results.shift import Shift
    from xcoreg.results.tiepoints import TiePoints

    points, grid = TiePoints(*([0] for _ in range(9))), tuple(NORTH_UP)[:6]
    shift = None
    if hasattr(model, "dx"):
        shift = Shift(model.dx, model.dy, ((0.01, 0), (0, 0.01)), (NORTH_UP.a, NORTH_UP.b, NORTH_UP.d, NORTH_UP.e))
    return Coregistration(model, points, Quality(n_windows=1, n_ok=1), Status.OK, shift, crs, grid, shape)


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
