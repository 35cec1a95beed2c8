"""Elevation models: shifts and their uncertainty, mosaics in blocks, real models, time and memory.

Needs the real models (`$XCOREG_DATA`, or `../shared/data` beside the checkout) for a part, which is left out where they
are absent. The large model is simulated once and kept under --cache.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import dask
import numpy as np
import rasterio
from common import CACHE, Report, arguments
from process import often
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter, map_coordinates, shift

import xcoreg
from xcoreg.matching.points import compare_points
from xcoreg.simulate.terrain import DemNoise, DemPair, Mosaic, dem_pair, elevations

SHAPE, _SIDE = (985, 1332), 10_000
TRUTH, _GSD = np.array([9.2, 2.7, -2.0]), 20.0
_DATA = Path(os.environ.get("XCOREG_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
_HOOKER = {"13APR19": "13APR19WV01DEM3", "13APR18": "13APR18WV01DEM1", "11AUG16": "11AUG16WV01DEM1"}

# One job in a process of its own: elapsed seconds of the second run go to stdout.
_LOCAL = """
import sys, time, xcoreg
ref, tgt = (xcoreg.open_raster(path, chunks="auto") for path in sys.argv[1:3])
start = time.perf_counter()
fit = tgt.coreg.match_local(ref, matcher="nuth_kaab", spacing=int(sys.argv[3]), window=int(sys.argv[3]))
print(time.perf_counter() - start, fit.shift.dx, fit.shift.dy, fit.shift.dz, len(fit.points), int(fit.points.ok.sum()))
"""


def nmad(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(1.4826 * np.median(np.abs(known - np.median(known))))


def vector(fit: Any) -> np.ndarray:
    return np.array([fit.shift.dx, fit.shift.dy, fit.shift.dz])


def real_pair(seed: int) -> DemPair:
    """Heights of SRTM, flattened to slopes of 20 m pixels, moved by a spline of order 5."""
    with rasterio.open(_DATA / "dem_srtm_shifted" / "srtm_ref.tif") as file:
        heights = gaussian_filter(file.read(1).astype(float) / 4, 1.0)
    drawn = dem_pair(heights.shape, glaciers=0.1, seed=seed)
    lost = drawn.clean.values - drawn.ref.values
    # What the simulation adds to its own terrain is added to the real one.
    noise = drawn.tgt.values - elevations_of(drawn, seed) - (-TRUTH[2])
    moved = shift(heights, (TRUTH[1] / _GSD, -TRUTH[0] / _GSD), order=5, mode="nearest")
    ref, tgt = ((heights - lost).astype(np.float32), (moved - TRUTH[2] + noise).astype(np.float32))
    return DemPair(
        drawn.ref.copy(data=ref), drawn.tgt.copy(data=tgt), drawn.stable, drawn.shift, drawn.clean, drawn.field
    )


def elevations_of(drawn: DemPair, seed: int) -> np.ndarray:
    """Draw the target of a simulated pair again, without noise."""
    calm = dem_pair(drawn.ref.shape, shift=(*TRUTH[:2], 0.0), noise=DemNoise(0, 0, 5, 0), glaciers=0.1, seed=seed)
    return np.asarray(calm.tgt.values)


def shifts(report: Report, make: Any, name: str, n: int) -> None:
    rows = []
    for matcher, masked in (("nuth_kaab", True), ("nuth_kaab:classic", True), ("nuth_kaab", False)):
        off, told, before, after = [], [], [], []
        for seed in range(n):
            both = make(seed)
            fit = both.tgt.coreg.match(both.ref, matcher=matcher, where=both.stable if masked else None)
            off.append(vector(fit) - TRUTH)
            told.append(np.sqrt(np.diag(fit.shift.cov3)))
            before.append(fit.quality.dh_nmad_before)
            after.append(fit.quality.dh_nmad_after)
        size, ratio = (np.sqrt(np.mean(np.square(part), axis=0)) for part in (off, np.divide(off, told)))
        rows.append(
            {"matcher": matcher, "glaciers": "masked" if masked else "seen"}
            | {f"RMSE {axis}": value for axis, value in zip("xyz", size.tolist(), strict=True)}
            | {f"/ told {axis}": value for axis, value in zip("xyz", ratio.tolist(), strict=True)}
            | {"worst": float(np.abs(off).max()), "NMAD": f"{np.mean(before):.2f} -> {np.mean(after):.2f}"}
        )
    note = f"{n} seeds, m; wanted: 0.15 in x and y, 0.02 in z; 1 m with glaciers seen; ratios near 1."
    report.table(f"Shift (9.2, 2.7, -2.0) m, 20 m pixels, noise 0.5 m white and 1 m correlated: {name}", rows, note)


def left_by(both: DemPair, dx: Any, dy: Any, dz: Any) -> np.ndarray:
    """Take the corrected target, interpolated by a spline, from the reference; NaN beyond the border."""
    rows, cols = np.mgrid[: both.ref.shape[0], : both.ref.shape[1]].astype(float)
    rows, cols = rows + dy / _GSD, cols - dx / _GSD
    inside = (rows > 0) & (cols > 0) & (rows < both.ref.shape[0] - 1) & (cols < both.ref.shape[1] - 1)
    moved = map_coordinates(both.tgt.values.astype(float), [rows, cols], order=5)
    return np.where(inside, both.ref.values - moved - dz, np.nan)


def mosaics(report: Report, seeds: range) -> None:
    rows = []
    for seed in seeds:
        both = dem_pair(SHAPE, shift=(9.2, 2.7, -2.0), mosaic=Mosaic(), seed=seed)
        floor, before = nmad(left_by(both, *both.field)), nmad(left_by(both, 0.0, 0.0, 0.0))
        x, y = np.meshgrid(both.tgt.x, both.tgt.y)
        for block in (125, 250):
            start, cpu = time.perf_counter(), time.process_time()
            fit = both.tgt.coreg.match_local(both.ref, matcher="nuth_kaab", spacing=block, window=block)
            took, cpu = time.perf_counter() - start, time.process_time() - cpu
            at = x - fit.shift.dx, y - fit.shift.dy
            after = nmad(left_by(both, *fit.model.predict(*at), fit.model.predict_dz(*at)))
            rows.append(
                {"seed": seed, "block": block, "before": before, "floor": floor, "after": after, "ratio": after / floor}
                | {"model": fit.model.kind, "ok": int(fit.points.ok.sum()), "blocks": len(fit.points)}
                | {"elapsed s": took, "processor s": cpu}
            )
    note = "NMAD, m; wanted: a ratio of 1.25 at 125 px, 1.35 at 250 px; 4 s."
    report.table(f"Ramps and a mosaic of 4 x 5 tiles, {SHAPE[0]} x {SHAPE[1]} px", rows, note)


def sameness(report: Report) -> None:
    both = dem_pair((400, 500), mosaic=Mosaic(), seed=1)
    found = []
    for scheduler, chunk in (("synchronous", None), ("threads", 150), ("threads", 64), ("synchronous", None)):
        ref, tgt = (part if chunk is None else part.chunk(x=chunk, y=chunk + 13) for part in (both.ref, both.tgt))
        with dask.config.set(scheduler=scheduler):
            fit = tgt.coreg.match_local(ref, matcher="nuth_kaab", spacing=80, window=80)
        found.append((fit.points.to_dict(), fit.model.to_dict()))
    report.table("Four runs, two schedulers, three chunkings", [{"identical": all(one == found[0] for one in found)}])


def known(report: Report) -> None:
    ref, tgt = (
        xcoreg.open_raster(_DATA / "dem_srtm_shifted" / f"srtm_{name}.tif") for name in ("ref", "blurred_and_shifted")
    )
    rows = []
    for matcher in ("nuth_kaab", "nuth_kaab:classic", ["nuth_kaab", "deramp"]):
        fit = tgt.coreg.match(ref, matcher=matcher)
        rows.append({"matcher": str(matcher), "dcol": fit.shift.dcol, "drow": fit.shift.drow, "dz": fit.shift.dz})
    report.table("SRTM, +3 columns and +5 rows", rows, "px, m; wanted: within 0.01 px.")


def hooker(report: Report) -> None:
    dems = {k: xcoreg.open_raster(_DATA / "dem_hooker" / f"HookerFJL_{v}_warped.tif") for k, v in _HOOKER.items()}
    stable = xcoreg.open_raster(_DATA / "dem_hooker" / "refgeo_10m.tif")
    rows, total, cov = [], np.zeros(3), np.zeros((3, 3))
    names = list(dems)
    for ref, tgt in zip(names, [*names[1:], names[0]], strict=True):
        for matcher in ("nuth_kaab", "nuth_kaab:classic", "vertical", ["nuth_kaab", "deramp"]):
            fit = dems[tgt].coreg.match(dems[ref], matcher=matcher, where=stable)
            q = fit.quality
            told = {name: f"{value:+.2f} ± {sigma:.2f}" for name, value, sigma in
                    zip(("dx", "dy", "dz"), vector(fit), np.sqrt(np.diag(fit.shift.cov3)), strict=True)}  # fmt: skip
            rows.append(
                {"reference": ref, "target": tgt, "matcher": str(matcher), **told}
                | {"NMAD before": q.dh_nmad_before, "after": q.dh_nmad_after, "pixels": q.dh_count}
            )
            if matcher == "nuth_kaab":
                total, cov = total + vector(fit), cov + np.array(fit.shift.cov3)
    closed = total @ np.linalg.solve(cov, total)
    note = f"m, on stable ground. Round trip: {np.round(total, 2).tolist()} m, chi-squared {closed:.1f} (95 %: 7.8)."
    report.table("Hooker island", rows, note)
    report.table("Hooker island minus ICESat", icesat(dems), "m; heights of the models are ellipsoidal.")


def icesat(dems: dict[str, Any]) -> list[dict[str, Any]]:
    import geopandas as gpd

    points = gpd.read_file(_DATA / "dem_hooker" / "icesat" / "ICESAT_subset.shp")
    rows = []
    for name, dem in dems.items():
        for column in ("H_ell", "H_orto"):
            told = compare_points(dem, points, z=column)
            row = {"model": name, "heights": column, "n": told.count, "median": told.median, "NMAD": told.nmad}
            rows.append(row | {"LE90": told.le90})
    return rows


def speed(report: Report, times: int) -> None:
    both = dem_pair((1000, 1300), glaciers=0.1, seed=3)
    rows = []
    for matcher in ("nuth_kaab", "nuth_kaab:classic", "vertical", ["nuth_kaab", "deramp"]):
        took = []
        for _ in range(times):
            start, cpu = time.perf_counter(), time.process_time()
            both.tgt.coreg.match(both.ref, matcher=matcher, where=both.stable)
            took.append((time.perf_counter() - start, time.process_time() - cpu))
        best = np.min(took, axis=0)
        rows.append({"matcher": str(matcher), "elapsed s": float(best[0]), "processor s": float(best[1])})
    report.table("One correction, 1000 x 1300 px", rows, f"Best of {times}; wanted: 0.5 s with nuth_kaab.")


def files(cache: Path, shape: tuple[int, int]) -> tuple[Path, Path]:
    """Write two large models, a terrain that repeats itself, or take those made before."""
    ref, tgt = (cache / f"dem_{shape[0]}_{shape[1]}_{name}.tif" for name in ("ref", "tgt"))
    if ref.exists() and tgt.exists():
        return ref, tgt
    cache.mkdir(parents=True, exist_ok=True)
    side = 1024
    terrain, rng = elevations((side, side), seed=2), np.random.default_rng(2)
    for path, (down, right), lift in ((ref, (0.0, 0.0), 0.0), (tgt, (-0.135, 0.46), 2.0)):
        piece = (terrain(down, right) + lift).astype(np.float32)
        profile = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1, "dtype": "float32"}
        profile |= {"crs": "EPSG:32633", "transform": rasterio.Affine(20, 0, 5e5, 0, -20, 54e5), "tiled": True}
        with rasterio.open(path, "w", **profile, blockxsize=512, blockysize=512) as file:
            for row in range(0, shape[0], side):
                for col in range(0, shape[1], side):
                    rows, cols = min(side, shape[0] - row), min(side, shape[1] - col)
                    noise = rng.normal(0, 0.3, (rows, cols)).astype(np.float32)
                    file.write(piece[:rows, :cols] + noise, 1, window=Window(col, row, cols, rows))
    return ref, tgt


def memory(report: Report, cache: Path, *, large: bool) -> None:
    rows = []
    for shape, block in ((SHAPE, 125), ((_SIDE, _SIDE), 250))[: 1 + large]:
        run = often(1 if shape[0] == _SIDE else 3, sys.executable, "-c", _LOCAL, *files(cache, shape), str(block))
        told = [float(part) for part in run.text.split()]
        rows.append(
            {"px": f"{shape[0]} x {shape[1]}", "block": block, "blocks": int(told[4]), "ok": int(told[5])}
            | {"elapsed s": told[0], "peak MB": run.megabytes, "dx": told[1], "dy": told[2], "dz": told[3]}
        )
    report.table("Blocks of files, whole processes", rows, "Wanted: 4 s and 600 MB; below 1500 MB.")


def main() -> None:
    args = arguments(
        str(__doc__).splitlines()[0],
        cache=CACHE,
        parts={"nargs": "*", "default": [], "help": "some of: known shifts mosaics same hooker speed memory"},
    )
    warnings.simplefilter("ignore")
    report = Report("Elevation models")
    n, wanted = (4 if args.quick else 20), set(args.parts)
    real = (_DATA / "dem_hooker").is_dir()
    jobs = {
        "known": lambda: known(report) if real else None,
        "shifts": lambda: shifts(report, lambda seed: dem_pair(SHAPE, glaciers=0.1, seed=seed), "fractal terrain", n),
        "real": lambda: shifts(report, real_pair, "terrain of SRTM", n) if real else None,
        "mosaics": lambda: mosaics(report, range(1, 2 if args.quick else 6)),
        "same": lambda: sameness(report),
        "hooker": lambda: hooker(report) if real else None,
        "speed": lambda: speed(report, 3 if args.quick else 10),
        "memory": lambda: memory(report, args.cache, large=not args.quick),
    }
    for name, job in jobs.items():
        if not wanted or name in wanted:
            job()
    report.write(args.out)


if __name__ == "__main__":
    main()
