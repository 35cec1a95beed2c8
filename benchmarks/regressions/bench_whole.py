"""Whole calls on small images: imports, reading, the warp of one tile, elevation, the cost of a batch."""

from __future__ import annotations

import resource
import subprocess
import sys

import numpy as np
import pytest

import xcoreg
from xcoreg.simulate import dem_pair, pair, smooth_field

_SIDE = 1024


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Two tiled GeoTIFFs with a smooth field of 2 px between them."""
    both = pair((_SIDE, _SIDE), shift=smooth_field((_SIDE, _SIDE), 2.0, seed=1), seed=1)
    folder = tmp_path_factory.mktemp("scene")
    paths = folder / "ref.tif", folder / "tgt.tif"
    for path, image in zip(paths, (both.ref, both.tgt), strict=True):
        xcoreg.write_raster(image, path)
    return paths


def _children():
    """Processor seconds of the processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.benchmark(timer=_children)
def bench_import(benchmark):
    """Start an interpreter and import the package: its own start is in the time."""
    benchmark.pedantic(subprocess.run, ([sys.executable, "-c", "import xcoreg"],), {"check": True}, rounds=7)


def _agreed(tgt, *_):
    """Match nothing: what is left is reading and cutting windows."""
    return np.zeros(len(tgt)), np.zeros(len(tgt))


@pytest.mark.parametrize("window", [64, 256], ids=lambda size: f"window {size}")
def bench_read_windows(benchmark, scene, window):
    def read():
        ref, tgt = (xcoreg.open_raster(path) for path in scene)
        return xcoreg.tie_points(tgt, ref, window=window, spacing=48, matcher=_agreed, filters=[])

    assert len(benchmark(read)) > 200


def bench_warp_tile(benchmark, scene):
    """Interpolate one block of 512 x 512 px of a lazy result."""
    ref, tgt = (xcoreg.open_raster(path, chunks={"x": 512, "y": 512}) for path in scene)
    fit = tgt.coreg.match_local(ref, window=64, spacing=64, model="spline")
    block = tgt.coreg.apply(fit)[..., :512, :512]
    done = benchmark(lambda: block.compute(scheduler="synchronous"))
    assert done.shape[-2:] == (512, 512)


def bench_lazy_graph(benchmark, scene):
    """Build the graph of a warp of 256 blocks, which computes nothing."""
    ref, tgt = (xcoreg.open_raster(path, chunks={"x": 64, "y": 64}) for path in scene)
    fit = tgt.coreg.match_local(ref, window=64, spacing=64, model="affine")
    assert len(benchmark(lambda: dict(tgt.coreg.apply(fit).data.__dask_graph__()))) > 10


def bench_elevation_shift(benchmark):
    both = dem_pair((400, 500), glaciers=0.1, seed=1)
    fit = benchmark(lambda: both.tgt.coreg.match(both.ref, matcher="nuth_kaab", where=both.stable))
    assert abs(fit.shift.dz + 2) < 0.2


def bench_batch(benchmark, tmp_path):
    """Run ten tiny scenes: lists, records, tables and pages rather than pixels."""
    both = pair((160, 160), shift=(0.4, -0.7), seed=2)
    xcoreg.write_raster(both.ref, tmp_path / "ref.tif")
    targets = [tmp_path / f"t{at}.tif" for at in range(10)]
    for path in targets:
        xcoreg.write_raster(both.tgt, path)
    rooms = iter(range(100))

    def fresh():
        return (targets, tmp_path / f"out{next(rooms)}"), {"ref": tmp_path / "ref.tif"}

    assert benchmark.pedantic(xcoreg.batch, setup=fresh, rounds=5, warmup_rounds=1).ok


def bench_batch_all_done(benchmark, tmp_path):
    """Go over ten scenes that were done before."""
    both = pair((160, 160), shift=(0.4, -0.7), seed=2)
    xcoreg.write_raster(both.ref, tmp_path / "ref.tif")
    targets = [tmp_path / f"t{at}.tif" for at in range(10)]
    for path in targets:
        xcoreg.write_raster(both.tgt, path)
    xcoreg.batch(targets, tmp_path / "out", ref=tmp_path / "ref.tif")
    again = benchmark(lambda: xcoreg.batch(targets, tmp_path / "out", ref=tmp_path / "ref.tif"))
    assert again.n_new == 0
