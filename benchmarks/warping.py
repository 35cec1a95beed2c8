"""Warp a whole scene by a smooth field, file to file, and tell time and memory beside the floor of reading and writing.

The scene (10980 x 10980 uint16, tiled and deflated, with a wedge without data) is made once and kept under --cache.
Every measured run is a process of its own, interpreter start included. Then interpolation alone is set beside GDAL's,
same kernel.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import rasterio
from common import CACHE, NORTH_UP, Report, arguments, fit, image
from process import run
from rasterio.warp import Resampling, reproject

import xcoreg
from xcoreg.simulate import smooth_field

CRS = "EPSG:32633"
LAYOUT = {"driver": "GTiff", "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "predictor": 2}
_STEP = 32  # px between nodes of the lattice of which OpenCV's maps are made
KERNELS = ("nearest", "bilinear", "cubic", "lanczos")


@dataclass(frozen=True)
class Field:
    """A smooth field of so many pixels."""

    size: int
    pixels: float = 2.5
    kind: ClassVar[str] = "smooth"

    def predict(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Correction at map positions."""
        col, row = ~NORTH_UP * (np.asarray(x), np.asarray(y))
        dcol, drow = smooth_field((self.size, self.size), self.pixels, seed=1)(row - 0.5, col - 0.5)
        return dcol * NORTH_UP.a, drow * NORTH_UP.e


@dataclass(frozen=True)
class Nothing(Field):
    """A field of zeros."""

    def predict(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """No correction."""
        shape = np.broadcast_shapes(np.shape(x), np.shape(y))
        return np.zeros(shape), np.zeros(shape)


def scene(size: int, seed: int) -> np.ndarray:
    """Noise of several lengths with a wedge of nodata."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    tile = -(-size // 4)
    values = np.full((size, size), 2500, np.float32)
    for width, height in ((40, 400), (8, 300), (2, 150)):
        part = gaussian_filter(rng.normal(size=(tile, tile)).astype(np.float32), width, mode="wrap")
        values += np.tile(part * (height / part.std()), (4, 4))[:size, :size]
    for row in range(0, size, 1000):
        values[row : row + 1000] += 30 * rng.standard_normal(values[row : row + 1000].shape, np.float32)
    out = np.clip(np.rint(values, out=values), 1, 65535, out=values).astype(np.uint16)
    rows, cols = np.ogrid[:size, :size]
    out[cols > 0.8 * size + 0.3 * rows] = 0
    return out


def make(path: Path, size: int, seed: int) -> None:
    """Write the scene unless it is there."""
    if not path.exists():
        profile = {**LAYOUT, "height": size, "width": size, "count": 1, "dtype": "uint16", "nodata": 0, "crs": CRS}
        partial = path.with_suffix(".part")
        with rasterio.open(partial, "w", transform=NORTH_UP, num_threads="ALL_CPUS", **profile) as file:
            file.write(scene(size, seed), 1)
        partial.replace(path)


def warp(source: str, goal: str, kernel: str) -> None:
    """Warp one file, as a user would."""
    raster = xcoreg.open_raster(source, chunks="auto", band=1)
    xcoreg.write_raster(xcoreg.apply(raster, fit(Field(max(raster.shape)), raster.shape), resampling=kernel), goal)


def copy(source: str, goal: str) -> None:
    """Read all and write all, as GDAL does it best."""
    with rasterio.open(source, num_threads="ALL_CPUS") as file:
        profile, values = file.profile, file.read(1)
    with rasterio.open(goal, "w", **{**profile, **LAYOUT, "num_threads": "ALL_CPUS"}) as file:
        file.write(values, 1)


def timed(*work: str | Path) -> dict[str, float]:
    """Run one process to its end: seconds on the clock and of the processor, and its peak memory."""
    told = run(sys.executable, __file__, "--work", *work)
    return {"s": told.seconds, "processor s": float(told.text), "peak MB": told.megabytes}


def whole_scenes(room: Path, size: int, seed: int, times: int) -> list[dict[str, Any]]:
    """Files to files, best of a few, each warp beside a copy."""
    source, goal = room / f"warping_{size}_{seed}.tif", room / "warping_out.tif"
    make(source, size, seed)
    rows = []
    for kernel in KERNELS:
        runs = [(timed("warp", source, goal, kernel), timed("copy", source, goal)) for _ in range(times)]
        ours, floor = (min((run[k] for run in runs), key=lambda each: each["s"]) for k in (0, 1))
        ratio = {"copy s": floor["s"], "copy processor s": floor["processor s"], "of copy": ours["s"] / floor["s"]}
        rows.append({"kernel": kernel, **ours, **ratio})
    goal.unlink()
    return rows


def best(work: Any, times: int) -> float:
    """Shortest processor time of a few, s: both sides may use what threads they like."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def beside_gdal(size: int, seed: int, times: int) -> list[dict[str, Any]]:
    """Interpolate in memory: a field here, a shift there, for GDAL knows no fields."""
    values = scene(size, seed)
    raster, out = image(values, nodata=0), np.zeros_like(values)
    rows = []
    for kernel in KERNELS:
        ours = best(lambda k=kernel: xcoreg.apply(raster, fit(Field(size), (size, size)), resampling=k), times)
        there = {"src_transform": NORTH_UP * NORTH_UP.translation(0.3, 0.7), "dst_transform": NORTH_UP, "src_nodata": 0}
        how = {"src_crs": CRS, "dst_crs": CRS, "dst_nodata": 0, "resampling": Resampling[kernel]}
        theirs = best(lambda h=how, t=there: reproject(values, out, **t, **h), times)
        still = best(lambda k=kernel: xcoreg.apply(raster, fit(Nothing(size), (size, size)), resampling=k), 1)
        each = 1e9 / size**2
        row = {"xcoreg ns/px": ours * each, "zero field ns/px": still * each, "GDAL ns/px": theirs * each}
        rows.append({"kernel": kernel, **row, "speed, GDAL = 1": theirs / ours})
    return rows


def opencv_kernel(part: np.ndarray, name: str) -> np.ndarray:
    """Weights of OpenCV's taps, (taps, n): its cubic has a = -3/4, that of Keys and of xcoreg a = -1/2."""
    if name == "bilinear":
        return np.stack([1 - part, part])
    a, away = -0.75, np.abs(part - np.arange(-1, 3)[:, None])
    near = ((a + 2) * away - (a + 3)) * away * away + 1
    return np.where(away < 1, near, a * (((away - 5) * away + 8) * away - 4))


def opencv_error(values: np.ndarray, found: np.ndarray, at: tuple[np.ndarray, np.ndarray], name: str) -> float:
    """RMS difference of cv2.remap from its own kernel in double precision, at 20000 pixels, of the image's spread."""
    rng = np.random.default_rng(0)
    row, col = (rng.integers(40, values.shape[0] - 40, 20_000) for _ in range(2))
    y, x = at[0][row, col].astype(np.float64), at[1][row, col].astype(np.float64)
    first = [np.floor(part).astype(int) - (name == "cubic") for part in (y, x)]
    by_row, by_col = (opencv_kernel(part - np.floor(part), name) for part in (y, x))
    exact = np.zeros(len(row))
    for i, one in enumerate(by_row):
        for j, other in enumerate(by_col):
            exact += one * other * values[first[0] + i, first[1] + j]
    return float(np.sqrt(np.mean((found[row, col] - exact) ** 2)) / values.std())


def in_memory(raster: Any, kernel: str, size: int, times: int, fast: str) -> float:
    """Processor time of one correction by a field, s, after one that compiles and fills caches."""
    os.environ["XCOREG_FAST"] = fast if find_spec("numba") else "0"
    field = fit(Field(size), (size, size))
    return best(lambda: xcoreg.apply(raster, field, resampling=kernel), times + 1)


def opencv_maps(nodes: tuple[np.ndarray, np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of all pixels for cv2.remap, rows and columns, from nodes in the middles of cells of _STEP px."""
    import cv2

    side = nodes[0].shape[0] * _STEP
    row, col = (cv2.resize(part, (side, side), interpolation=cv2.INTER_CUBIC)[:size, :size] for part in nodes)
    index = np.arange(size, dtype=np.float32)
    row += index[:, None]
    col += index
    return row, col


def beside_opencv(size: int, seed: int, times: int) -> list[dict[str, Any]]:
    """Interpolate float32 in memory by a field: cv2.remap is given the position of every pixel, xcoreg computes it.

    A second time for OpenCV includes that of positions from a lattice, which are still not those of a field of a map.
    """
    import cv2

    cv2.setNumThreads(1)
    values = scene(size, seed).astype(np.float32) + 1.0
    raster = image(values)
    row, col = (np.arange(size, dtype=np.float32) for _ in range(2))
    dcol, drow = smooth_field((size, size), 2.5, seed=1)(row[:, None], col)
    at = (row[:, None] - drow).astype(np.float32), (col - dcol).astype(np.float32)
    middles = np.arange(_STEP // 2, size + _STEP // 2, _STEP)
    there = smooth_field((size, size), 2.5, seed=1)(middles[:, None] - 0.5, middles - 0.5)
    nodes = tuple(-part.astype(np.float32) for part in there[::-1])
    maps = best(lambda: opencv_maps(nodes, size), times)
    rows = []
    for kernel, flag in (("bilinear", cv2.INTER_LINEAR), ("cubic", cv2.INTER_CUBIC)):
        ours, compiled = (in_memory(raster, kernel, size, times, fast) for fast in ("0", "1"))
        theirs = best(lambda f=flag: cv2.remap(values, at[1], at[0], f), times)
        error = opencv_error(values, cv2.remap(values, at[1], at[0], flag), at, kernel)
        each = 1e9 / size**2
        row_of = {"xcoreg ns/px": ours * each, "xcoreg[fast] ns/px": compiled * each, "cv2.remap ns/px": theirs * each}
        row_of |= {"time, cv2 = 1": ours / theirs, "with [fast]": compiled / theirs, "its maps ns/px": maps * each}
        row_of |= {"with maps = 1": ours / (theirs + maps), "[fast], with maps = 1": compiled / (theirs + maps)}
        rows.append({"kernel": kernel, **row_of, "cv2: RMS error, of the spread": error})
    return rows


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        {"warp": warp, "copy": copy}[sys.argv[2]](*sys.argv[3:])
        print(time.process_time())
        return
    about = __doc__ or ""
    args = arguments(about, size={"type": int, "help": "side of the scene, px; default 10980"}, cache=CACHE)
    size = args.size or (3000 if args.quick else 10980)
    args.cache.mkdir(parents=True, exist_ok=True)
    report = Report("Warping by a field")
    times = 1 if args.quick else 3
    note = "Wanted for cubic at 10980: 10 s and 1 GB. A copy reads all and writes all with the same creation options."
    report.table(
        f"{size} x {size} uint16, field up to 2.5 px, file to file",
        whole_scenes(args.cache, size, args.seed, times),
        note,
    )
    note = "Processor time, one thread each. Wanted: 0.5 or more. GDAL shifts; it has no fields."
    report.table("Interpolation in memory", beside_gdal(min(size, 4000), args.seed, times), note)
    if find_spec("cv2"):
        note = (
            "Processor time, one thread each, float32 without nodata. Wanted: 1.2. Maps of cv2.remap are not timed; "
            "xcoreg computes positions and looks for pixels that are missing. [fast]: compiled loops, the same bits."
        )
        report.table("Interpolation beside OpenCV", beside_opencv(min(size, 4000), args.seed, times), note)
    report.write(args.out)


if __name__ == "__main__":
    main()
