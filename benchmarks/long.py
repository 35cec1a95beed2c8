"""Time, memory and open files over long runs: batches of 2000 scenes, 500 matches and applies, 100,000 points.

`python benchmarks/long.py --out benchmarks/report/long.md`; the rest: every model, control points, bands, a void.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

import xcoreg
from xcoreg.core.models import assess_model
from xcoreg.errors import CoregError
from xcoreg.simulate import pair

MODELS = ("translation", "affine", "polynomial2", "polynomial3", "spline", "piecewise")


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def _memory(what: str = "VmRSS") -> float:
    """Memory of this process in MB; VmHWM is its peak since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def _measured(work: Callable[[], Any]) -> tuple[str, float, float]:
    """Outcome, seconds of processor and peak memory in MB above that before."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before, began = _memory(), time.process_time()
    try:
        said = str(work())
    except CoregError as error:
        said = f"{type(error).__name__}: {error}"
    except MemoryError as error:
        said = f"MemoryError {error}"
    return said.replace("\n", " ").replace("|", "/")[:150], time.process_time() - began, _memory("VmHWM") - before


def _rows(counts: list[tuple[float, int, float]], step: int) -> Iterator[str]:
    for at in range(step, len(counts), step):
        (t0, _, _), (t1, files, memory) = counts[at - step], counts[at]
        yield f"| {at - step} to {at} | {(t1 - t0) / step:.3f} | {files} | {memory:.0f} |\n"


def long_batch(folder: Path, scenes: int) -> str:
    """Many small scenes in one batch, and the second run of it."""
    both = pair((128, 128), shift=(1.3, -0.8), seed=7)
    tgt, ref = (str(xcoreg.write_raster(getattr(both, name), folder / f"{name}.tif")) for name in ("tgt", "ref"))
    table = [{"target": tgt, "reference": ref, "name": f"s{n}"} for n in range(scenes)]
    counts = [(time.process_time(), _open_files(), _memory())]
    options: dict[str, Any] = {"window": 64, "windows": 1}

    def count(_record: Any) -> None:
        counts.append((time.process_time(), _open_files(), _memory()))

    done = xcoreg.batch(table, folder / "out", progress=count, **options)
    began, elapsed = time.process_time(), time.monotonic()
    again = xcoreg.batch(table, folder / "out", progress=False, **options)
    out = "| scenes | processor s a scene | open files | memory, MB |\n|---|---|---|---|\n"
    out += "".join(_rows(counts, max(scenes // 8, 1)))
    took, wait = time.process_time() - began, time.monotonic() - elapsed
    return out + f"\n{done.counts()}; second run: {again.n_new} new, {took:.1f} s of processor, {wait:.1f} s.\n"


def many_calls(calls: int) -> str:
    """Match and apply in one process."""
    both = pair((200, 200), shift=(1.3, -0.8), seed=7)
    tgt, ref = both.tgt.chunk(64), both.ref
    counts = []
    for _ in range(calls + 1):
        xcoreg.apply(tgt, xcoreg.match(tgt, ref), like=ref).compute()
        counts.append((time.process_time(), _open_files(), _memory()))
    head = "| match and apply | processor s each | open files | memory, MB |\n|---|---|---|---|\n"
    return head + "".join(_rows(counts, max(calls // 5, 1)))


def many_points(count: int) -> str:
    """Every model through many tie points: assessed as `match_local` does, and evaluated at a million pixels."""
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 100_000, (2, count))
    dx = 3 + 1e-5 * x + 2 * np.sin(x / 2e4) + rng.normal(0, 0.3, count)
    dy = -2 + 2e-5 * y + 2 * np.cos(y / 2e4) + rng.normal(0, 0.3, count)
    cov = np.broadcast_to(np.eye(2) * 0.09, (count, 2, 2))
    at = rng.uniform(0, 100_000, (2, 1_000_000))
    out = (
        "| model | fit | processor, s | memory, MB | rms error, m | a million places, s |\n|---|---|---|---|---|---|\n"
    )
    for name in MODELS:
        found: dict[str, Any] = {}

        def fit(name: str = name, found: dict[str, Any] = found) -> str:
            found["fit"] = assess_model(name, x, y, dx, dy, cov)
            return type(found["fit"].model).__name__

        said, seconds, memory = _measured(fit)
        rest = "| | |"
        if found:
            began = time.process_time()
            px, py = found["fit"].model.predict(*at)
            took = time.process_time() - began
            truth = 3 + 1e-5 * at[0] + 2 * np.sin(at[0] / 2e4), -2 + 2e-5 * at[1] + 2 * np.cos(at[1] / 2e4)
            error = np.hypot(px - truth[0], py - truth[1])
            rest = f"| {np.sqrt(np.nanmean(error**2)):.3f} | {took:.2f} |"
        out += f"| {name} | {said} | {seconds:.1f} | {memory:.0f} {rest}\n"
        print(out.splitlines()[-1], flush=True)
    return out


def many_gcps(count: int, folder: Path) -> str:
    """Control points: fitted, written and read."""
    rng = np.random.default_rng(3)
    pixel, line = rng.uniform(0, 10_000, (2, count))
    gcps = xcoreg.GCPs(pixel, line, 500_000 + 10 * pixel, 5_000_000 - 10 * line, crs=32633)
    out = "| control points | outcome | processor, s | memory, MB |\n|---|---|---|---|\n"
    works: dict[str, Callable[[], Any]] = {
        f"fit_gcps, {model}": lambda model=model: type(xcoreg.fit_gcps(gcps, model=model)).__name__
        for model in ("affine", "polynomial", "homography", "tps", "auto")
    }
    works["save as CSV"] = lambda: xcoreg.georef.save_gcps(gcps, folder / "g.csv").name
    works["read_gcps"] = lambda: len(xcoreg.read_gcps(folder / "g.csv").x)
    for name, work in works.items():
        said, seconds, memory = _measured(work)
        out += f"| {name} | {said} | {seconds:.1f} | {memory:.0f} |\n"
        print(out.splitlines()[-1], flush=True)
    return out


def large_inputs(folder: Path) -> str:
    """Forty bands, and a sparse image of 30,000 x 30,000 px."""
    both = pair((500, 500), shift=(1.3, -0.8), seed=7)
    cube = both.tgt.expand_dims(band=np.arange(1, 41)).copy()
    path = folder / "sparse.tif"
    kind = {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": 1,
        "width": 30_000,
        "height": 30_000,
        "nodata": 0,
        "tiled": True,
    }
    place = rasterio.Affine(10, 0, 300_000, 0, -10, 5_900_000)
    with rasterio.open(path, "w", **kind, crs=32633, transform=place, sparse_ok=True) as file:
        file.write(np.full((1, 2000, 3000), 7, "uint16"), window=rasterio.windows.Window(9000, 12_000, 3000, 2000))
    image = xcoreg.open_raster(path)
    works: dict[str, Callable[[], Any]] = {
        "match of 40 bands, 500 px": lambda: cube.coreg.match(both.ref, band=3).ok,
        "apply to 40 bands, 500 px": lambda: (
            xcoreg.apply(cube, cube.coreg.match(both.ref, band=3), like=both.ref).shape
        ),
        "write 40 bands": lambda: xcoreg.write_raster(cube, folder / "cube.tif").name,
        "open a sparse image": lambda: xcoreg.open_raster(path).shape,
        "its footprint": lambda: image.coreg.footprint().bounds,
    }
    out = "| large | outcome | processor, s | memory, MB |\n|---|---|---|---|\n"
    for name, work in works.items():
        said, seconds, memory = _measured(work)
        out += f"| {name} | {said} | {seconds:.2f} | {memory:.0f} |\n"
        print(out.splitlines()[-1], flush=True)
    return out


def main() -> None:
    """Run all of them, or those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=["batch", "calls", "points", "gcps", "large"])
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    parts, found = given.part or ["large", "gcps", "points", "calls", "batch"], []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        works: dict[str, Callable[[], str]] = {
            "large": lambda: large_inputs(folder),
            "gcps": lambda: many_gcps(given.points, folder),
            "points": lambda: many_points(given.points),
            "calls": lambda: many_calls(given.calls),
            "batch": lambda: long_batch(folder, given.scenes),
        }
        for part in parts:
            found.append(works[part]())
            print(found[-1], flush=True)
            if given.out:
                given.out.write_text("# Long runs\n\n" + "\n".join(found), encoding="utf-8")


if __name__ == "__main__":
    main()
