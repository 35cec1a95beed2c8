"""How long fitting control points and locating points take: `python benchmarks/georef.py [million points]`."""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
from affine import Affine
from xarray import DataArray

from xcoreg.errors import LowSupport
from xcoreg.georef import GCPs, fit_gcps
from xcoreg.locate import locate, place

SIDE = 5000


def swath(n: int, seed: int = 1) -> GCPs:
    """Control points of a bent swath of 10 m pixels, with 1 m of noise."""
    rng = np.random.default_rng(seed)
    col, row = rng.uniform(0, SIDE, (2, n))
    u, v = col / SIDE, row / SIDE
    x = 5e5 + 9.8 * col + 1.7 * row + 400 * u * v + 150 * u**3 + rng.standard_normal(n)
    y = 5e6 + 1.7 * col - 9.8 * row + 250 * v**2 - 80 * u * v**2 + rng.standard_normal(n)
    return GCPs(col, row, x, y, crs=32633)


def timed(text: str, call, *args, repeat: int = 3, **options):
    best, answer = np.inf, None
    for _ in range(repeat):
        start = time.perf_counter()
        answer = call(*args, **options)
        best = min(best, time.perf_counter() - start)
    print(f"{text:<62}{best:8.2f} s")
    return answer


def main(millions: float = 5.0) -> None:
    warnings.simplefilter("ignore", LowSupport)
    gcps, few = swath(10_000), swath(200)
    print("fit 10 000 control points")
    for name, options in (
        ("affine", {"model": "affine"}),
        ("polynomial of order 3", {"model": "polynomial", "order": 3}),
        ("polynomial of order 5, robust", {"model": "polynomial", "order": 5, "robust": True}),
        ("homography", {"model": "homography"}),
        ("tps", {"model": "tps"}),
        ("auto", {}),
    ):
        timed(f"  {name}", fit_gcps, gcps, **options)
    n = int(millions * 1e6)
    rng = np.random.default_rng(2)
    image = DataArray(rng.integers(0, 4000, (SIDE, SIDE)).astype(np.uint16), dims=("y", "x")).rio.write_crs(32633)
    affine = Affine(9.8, 1.7, 5e5, 1.7, -9.8, 5e6)
    col, row = rng.uniform(0, SIDE - 1, (2, n))
    lonlat = place(image, col, row, ground=affine)
    print(f"locate {n} points of longitude and latitude in {SIDE} x {SIDE} px, with values")
    timed("  affine (UTM)", locate, image, lonlat, ground=affine)
    timed("  affine, normalised, no values", locate, image, lonlat, ground=affine, normalized=True, resampling=None)
    for model, order in (("polynomial", 3), ("homography", None), ("tps", None)):
        fit = fit_gcps(few, model, order=order)
        timed(f"  200 control points, {model} {order or ''}", locate, image, lonlat, ground=fit, repeat=1)


if __name__ == "__main__":
    main(*(float(argument) for argument in sys.argv[1:]))
