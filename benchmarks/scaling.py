"""Time per pixel and memory from scenes of 1000 to 40000 pixels a side, and what a second worker is worth.

Scenes are one simulated tile (5120 px, uint16, 30 dB, a periodic field up to 1.5 px) side by side, made once per size
and kept under --cache; 40000 px are 3.2 GB each, less as files. Every job is a process of its own, file to file.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from common import CACHE, NORTH_UP, Report, arguments
from process import run
from rasterio.windows import Window

import xcoreg
from xcoreg.simulate import pair

_TILE, _AMPLITUDE, _SNR = 5120, 1.5, 30.0
_SIDES, _SIDES_QUICK = (1000, 3000, 10000, 20000, 40000), (1000, 3000)
_LAYOUT = {"driver": "GTiff", "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}


class Waves(NamedTuple):
    """A correction that begins anew with every tile."""

    pixels: float

    def __call__(self, rows: Any, cols: Any) -> tuple[np.ndarray, np.ndarray]:
        """Correction at pixels of the target, px."""
        row, col = (2 * np.pi / _TILE * np.asarray(each, np.float64) for each in (rows, cols))
        one, two = np.sin(row + 1.0) * np.cos(col), np.cos(row) * np.sin(2 * col)
        return self.pixels * one, self.pixels * two


def scene(cache: Path, side: int) -> tuple[Path, Path]:
    """Paths of reference and target, made when they are not there."""
    paths = cache / f"scaling_ref_{side}.tif", cache / f"scaling_tgt_{side}.tif"
    if all(path.exists() for path in paths):
        return paths
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"scaling_{_TILE}.npz"
    if not kept.exists():
        both = pair((_TILE, _TILE), shift=Waves(_AMPLITUDE), snr_db=_SNR, seed=6)
        np.savez(kept, ref=both.ref.values, tgt=both.tgt.values)
    with np.load(kept) as tiles:
        for path, name in zip(paths, ("ref", "tgt"), strict=True):
            _write(path, tiles[name], side)
    return paths


def _write(path: Path, tile: np.ndarray, side: int) -> None:
    profile = {**_LAYOUT, "height": side, "width": side, "count": 1, "dtype": "uint16", "nodata": 0}
    partial = path.with_suffix(".part")
    with rasterio.open(partial, "w", **profile, crs="EPSG:32633", transform=NORTH_UP, num_threads=2) as file:
        for top in range(0, side, _TILE):
            for left in range(0, side, _TILE):
                high, wide = min(_TILE, side - top), min(_TILE, side - left)
                file.write(tile[:high, :wide], 1, window=Window(left, top, wide, high))
    partial.replace(path)


def whole_jobs(cache: Path, sides: tuple[int, ...], window: int) -> list[dict[str, Any]]:
    """`xcoreg warp` of each size to a COG: seconds, memory, nanoseconds per pixel."""
    rows = []
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        out = Path(folder) / "out.tif"
        for side in sides:
            options = ("--spacing", "200", "--window", str(window), "--model", "spline", "--driver", "COG")
            done = run(sys.executable, "-m", "xcoreg", "warp", "-q", *scene(cache, side), out, *options)
            with rasterio.open(out) as made:
                assert made.shape == (side, side)
                assert made.overviews(1) or side < 1024
            out.unlink()
            each = {"s": done.seconds, "ns/px": 1e9 * done.seconds / side**2, "peak MB": round(done.megabytes)}
            rows.append({"side": side, **each})
    return rows


def laziness(cache: Path, side: int) -> list[dict[str, Any]]:
    """Look at what is built before anything is computed, of the largest scene."""
    import dask

    ref, tgt = (xcoreg.open_raster(path, chunks="auto") for path in scene(cache, side))
    fit = tgt.coreg.match_local(ref, spacing=side / 20, window=64, model="spline")
    counted: list[int] = []

    def count(graph: Any, keys: Any, **how: Any) -> Any:
        counted.append(1)
        return dask.get(graph, keys, **how)

    rows = []
    with dask.config.set(scheduler=count):
        shift = tgt.coreg.match(ref, errors="return")
        estimated = len(counted)
        for name, options in (("apply, own grid", {}), ("apply, like=ref", {"like": ref})):
            start = time.perf_counter()
            fixed = tgt.coreg.apply(fit, **options)
            tasks = len(fixed.data.__dask_graph__())
            seconds = time.perf_counter() - start
            row = {"job": name, "s": seconds, "tasks": tasks, "chunks": fixed.data.npartitions}
            rows.append(row | {"computations": len(counted) - estimated})
        if shift.ok:
            start = time.perf_counter()
            tgt.coreg.apply(shift)
            row = {"job": "apply of one shift", "s": time.perf_counter() - start}
            rows.append(row | {"computations": len(counted) - estimated})
    return rows


def workers(cache: Path, side: int, window: int, spacing: float, times: int) -> list[dict[str, Any]]:
    """Time the local matcher on one and two threads, and on one and two processes, in turns; without filters, too.

    Filters look at all tie points together, in one thread.
    """
    ref, tgt = (xcoreg.open_raster(path) for path in scene(cache, side))

    def once(**options: Any) -> float:
        start = time.perf_counter()
        xcoreg.tie_points(tgt, ref, spacing=spacing, window=window, **options)
        return time.perf_counter() - start

    rows = []
    for kind, at_work in (("thread", _threads), ("process", _processes)):
        times_of: dict[tuple[str, int], list[float]] = {}
        for n in (1, 2) * times:
            with at_work(n, once):
                times_of.setdefault(("s", n), []).append(once())
                times_of.setdefault(("s without filters", n), []).append(once(filters=()))
        best = {key: min(each) for key, each in times_of.items()}
        for n in (1, 2):
            row: dict[str, Any] = {"workers": f"{n} {kind}{'' if n == 1 else 'es' if kind == 'process' else 's'}"}
            for name in ("s", "s without filters"):
                row |= {name: best[name, n]}
                row |= {f"{name}, one / two": best[name, 1] / best[name, 2]} if n == 2 else {}
            rows.append(row)
    return rows


@contextmanager
def _threads(n: int, _: Callable[[], float]) -> Iterator[None]:
    import dask

    with dask.config.set(scheduler="threads", num_workers=n):
        yield


@contextmanager
def _processes(n: int, once: Callable[[], float]) -> Iterator[None]:
    """Start workers and let them import what they need."""
    import dask
    from distributed import Client, LocalCluster

    environ = {"MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": {**environ, "OMP_NUM_THREADS": "1"}}),
        LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster),
    ):
        once()
        yield


def main() -> None:
    """Run all parts, or those named."""
    parts = ("sides", "lazy", "workers")
    args = arguments(
        __doc__ or "",
        cache=CACHE,
        parts={"nargs": "*", "choices": parts, "default": parts, "help": "some of the parts"},
        sides={"nargs": "*", "type": int, "help": "sizes of the scenes, px a side"},
        window={"type": int, "default": 64},
    )
    report = Report("Scaling")
    sides = tuple(args.sides or (_SIDES_QUICK if args.quick else _SIDES))
    if "sides" in args.parts:
        note = "Wanted for 40000: 2 GB, and 1.3 times the time per pixel of 10000."
        report.table(
            f"`xcoreg warp`, spacing 200, window {args.window}, to a COG",
            whole_jobs(args.cache, sides, args.window),
            note,
        )
    if "lazy" in args.parts:
        note = "Wanted: 2 s, no computation."
        report.table(f"Building graphs, {sides[-1]} px", laziness(args.cache, sides[-1]), note)
    if "workers" in args.parts:
        side, times = (_SIDES_QUICK[-1], 1) if args.quick else (10000, 2)
        for window, spacing in ((64, 100), (256, 300)):
            rows = workers(args.cache, side, window, spacing, times)
            report.table(f"Local matcher, {side} px, spacing {spacing}, window {window}", rows, "Wanted: 1.7.")
    report.write(args.out)


if __name__ == "__main__":
    main()
