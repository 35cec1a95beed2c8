"""Time the whole job on a large pair, its memory, the cost of an import, and windows per second.

The pair (10980 x 10980, uint16, 10 m, tiled GeoTIFF with deflate, 30 dB, a nodata wedge) is simulated once and kept
under --cache.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import CACHE, NORTH_UP, Report, arguments
from process import often
from scipy import fft

import xcoreg
from xcoreg.core.matcher import phase_match
from xcoreg.simulate import Acquisition, Texture, pair, window_pairs

TRUTH = (0.357, -1.566)
_SIDE, _SIDE_QUICK = 10980, 3000


def big_pair(cache: Path, side: int) -> tuple[Path, Path]:
    """Paths of the large pair, made when they are not there."""
    import rasterio

    paths = cache / f"ref_{side}.tif", cache / f"tgt_{side}.tif"
    if all(path.exists() for path in paths):
        return paths
    cache.mkdir(parents=True, exist_ok=True)
    how = Acquisition(wedge=0.15)
    start = time.perf_counter()
    both = pair((side, side), shift=TRUTH, snr_db=30, ref=how, tgt=how, seed=42)
    for path, array in zip(paths, (both.ref, both.tgt), strict=True):
        profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint16", "nodata": 0}
        tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "num_threads": 2}
        partial = path.with_suffix(".part")
        with rasterio.open(partial, "w", **profile, **tiles, crs="EPSG:32633", transform=NORTH_UP) as file:
            file.write(array.values, 1)
        partial.replace(path)
    print(f"(simulated and written in {time.perf_counter() - start:.0f} s: {cache})", file=sys.stderr)
    return paths


def whole_jobs(ref: Path, tgt: Path, times: int) -> list[dict[str, Any]]:
    """Time the commands on two files."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.tif"
        shift = often(times, sys.executable, "-m", "xcoreg", "shift", ref, tgt, out, made=out)
        rows.append({"job": "xcoreg shift REF TGT OUT", "s": shift.seconds, "peak MB": round(shift.megabytes)})
        match = often(times, sys.executable, "-m", "xcoreg", "match", ref, tgt)
    told = json.loads(match.text)
    error = np.array([told["shift"]["dx"] / 10, -told["shift"]["dy"] / 10]) - TRUTH
    found = {"error px": "({:+.4f}, {:+.4f})".format(*error)}
    rows.append({"job": "xcoreg match REF TGT", "s": match.seconds, "peak MB": round(match.megabytes), **found})
    images = [xcoreg.open_raster(path) for path in (ref, tgt)]
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        images[1].coreg.match(images[0])
        seconds.append(time.perf_counter() - start)
    rows.append({"job": "tgt.coreg.match(ref), opened before", "s": median(seconds)})
    return rows


def imports(times: int) -> list[dict[str, Any]]:
    """Interpreter and imports, from starting Python to its end."""
    codes = ("pass", "import rioxarray", "import rioxarray, xcoreg", "import xcoreg.cli")
    runs = {code: often(times, sys.executable, "-c", code) for code in codes}
    base = runs["import rioxarray"].seconds
    return [
        {"code": code, "s": r.seconds, "over rioxarray": r.seconds - base, "peak MB": round(r.megabytes)}
        for code, r in runs.items()
    ]


def rates(seconds: float) -> list[dict[str, Any]]:
    """Windows per second of the matcher, beside the three transforms nobody can do without."""
    rows = []
    for size in (64, 128, 256):
        n = 2**21 // size**2 // 4
        drawn = window_pairs(min(n, 32), size, 20, texture=Texture(), seed=1)
        ref, tgt = (np.resize(part, (n, size, size)) for part in (drawn.ref, drawn.tgt))
        valid = np.ones(ref.shape, bool)

        def floor(ref: np.ndarray = ref, tgt: np.ndarray = tgt) -> None:
            fft.irfft2(fft.rfft2(ref) * fft.rfft2(tgt).conj())

        def matched(ref: np.ndarray = ref, tgt: np.ndarray = tgt, valid: np.ndarray = valid) -> None:
            phase_match(tgt, ref, valid, valid)

        each = {"windows/s": n * _rate(matched, seconds), "transforms alone": n * _rate(floor, seconds)}
        rows.append({"window": size} | {name: round(value) for name, value in each.items()})
    return rows


def _rate(function: Any, seconds: float) -> float:
    function()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        function()
        calls += 1
    return calls / (time.perf_counter() - start)


def main() -> None:
    args = arguments(__doc__ or "", cache=CACHE)
    report = Report("Speed and memory")
    side, times = (_SIDE_QUICK, 1) if args.quick else (_SIDE, 5)
    note = (
        "Wanted for 10980: at most 2.5 s and 500 MB for the whole job. AROSICS 1.13.2 took 15.6-18.6 s and 2460 MB for "
        "such a pair on two busy CPUs. Times are medians, memory is the peak resident set of the process."
    )
    report.table(f"Two GeoTIFFs of {side} x {side}", whole_jobs(*big_pair(args.cache, side), times), note)
    note = "Wanted: xcoreg adds less than 0.15 s to rioxarray."
    report.table("Imports, with the interpreter's own start and end", imports(3 if args.quick else 9), note)
    report.table("Matching windows, one process", rates(0.5 if args.quick else 3.0))
    report.write(args.out)


if __name__ == "__main__":
    main()
