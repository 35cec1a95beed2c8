"""One job done by one program, in a process of its own: `python rivals.py JOB PROGRAM TASK.json`.

A task names files and options; the answer is the last line printed, as JSON, and what is large goes to the file that
the task names as `out`. Nothing is imported that the program does not need: its start is part of its time and memory.
Shifts are corrections target -> reference in target pixels, columns to the right, rows down.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import peers

__all__ = ["INTERPRETERS", "JOBS", "MODULES", "command", "version"]

# What has to be importable for a program to take part.
MODULES = {
    "xcoreg": "xcoreg",
    "AROSICS": "arosics",
    "xDEM": "xdem",
    "GDAL (rasterio)": "rasterio",
    "cv2.remap": "cv2",
    **{name: module for name, (module, _) in peers.ALL.items()},
}
Task = dict[str, Any]
# Programs that live in an environment of their own, and its Python.
INTERPRETERS: dict[str, str] = {}


@cache
def version(program: str) -> str | None:
    """Tell the distribution a program comes from and its version; None where it is not installed."""
    if program in INTERPRETERS:
        call = [INTERPRETERS[program], __file__, "version", program]
        told = subprocess.run(call, capture_output=True, text=True, check=True)
        return json.loads(told.stdout.strip().splitlines()[-1])
    module = MODULES[program]
    if find_spec(module) is None:
        return None
    name = metadata.packages_distributions().get(module, [module])[0]
    beside = ["gdal"] if program == "AROSICS" else []
    return ", ".join(f"{each} {metadata.version(each)}" for each in (name, *beside))


def command(room: Path, job: str, program: str, task: Task) -> list[str]:
    """Write a task down, and give the command that does it."""
    path = room / "task.json"
    path.write_text(json.dumps(task), encoding="utf-8")
    return [INTERPRETERS.get(program, sys.executable), __file__, job, program, str(path)]


# --- xcoreg -----------------------------------------------------------------------------------------------------------
def _opened(task: Task, **how: Any) -> tuple[Any, Any]:
    import xcoreg

    ref, tgt = (xcoreg.open_raster(task[name], **how) for name in ("ref", "tgt"))
    return ref, tgt


def xcoreg_global(task: Task) -> Task:
    ref, tgt = _opened(task)
    shift = tgt.coreg.match(ref).shift
    return {"dcol": shift.dcol, "drow": shift.drow}


def xcoreg_local(task: Task) -> Task:
    ref, tgt = _opened(task)
    fit = tgt.coreg.match_local(ref, window=task["window"], spacing=task["spacing"])
    fit.save(f"{task['out']}.fit.json")
    columns = {name: getattr(fit.points, name) for name in ("row", "col", "dcol", "drow", "ok", "size")}
    np.savez(task["out"], **columns)
    return {"tried": len(fit.points)}


def xcoreg_warp(task: Task) -> Task:
    import xcoreg

    tgt = xcoreg.open_raster(task["tgt"], chunks="auto")
    xcoreg.write_raster(tgt.coreg.apply(xcoreg.load_fit(task["fit"]), resampling="cubic"), task["out"])
    return {}


def xcoreg_shift(task: Task) -> Task:
    from xcoreg.cli import main

    sys.argv[1:] = ["shift", task["ref"], task["tgt"], task["out"], "--overwrite", "-q"]
    with suppress(SystemExit):
        main()
    return {}


def xcoreg_dem(task: Task) -> Task:
    import xcoreg

    shifts = []
    for pair in task["pairs"]:
        ref, tgt = _opened(pair)
        shift = tgt.coreg.match(ref, matcher="nuth_kaab", where=xcoreg.open_raster(pair["stable"])).shift
        shifts.append((shift.dx, shift.dy, shift.dz))
    return {"shifts": shifts}


def xcoreg_blocks(task: Task) -> Task:
    import xcoreg

    ref, tgt = _opened(task, chunks="auto")
    fit = tgt.coreg.match_local(ref, matcher="nuth_kaab", spacing=task["block"], window=task["block"])
    xcoreg.write_raster(tgt.coreg.apply(fit, like=ref), task["out"])
    return {"tried": len(fit.points), "accepted": int(fit.points.ok.sum())}


def xcoreg_batch(task: Task) -> Task:
    import xcoreg

    done = xcoreg.batch(task["targets"], task["out"], ref=task["ref"])
    return {"shifts": [(record.get("dcol"), record.get("drow")) for record in done.records]}


# --- AROSICS ----------------------------------------------------------------------------------------------------------
_QUIET = {"q": True, "progress": False}
_TILED = ["TILED=YES", "BLOCKXSIZE=512", "BLOCKYSIZE=512", "COMPRESS=DEFLATE", "NUM_THREADS=ALL_CPUS"]


def _older_gdal() -> None:
    """Give bindings before 3.8 what AROSICS takes for granted: options for a while, and `with` that closes."""
    from osgeo import gdal, ogr

    @contextmanager
    def options(given: dict[str, str], **_: Any) -> Iterator[None]:
        before = {name: gdal.GetConfigOption(name) for name in given}
        for name, value in given.items():
            gdal.SetConfigOption(name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                gdal.SetConfigOption(name, value)

    if not hasattr(gdal, "config_options"):
        gdal.config_options = options
    for kind, close in ((gdal.Dataset, "FlushCache"), (ogr.DataSource, "Destroy")):
        if not hasattr(kind, "__enter__"):
            kind.__enter__ = lambda self: self
            kind.__exit__ = lambda self, *_, how=close: getattr(self, how)()


def arosics_shift(task: Task) -> Task:
    _older_gdal()
    from arosics import COREG

    how = {"path_out": task["out"], "fmt_out": "GTIFF", "out_crea_options": _TILED}
    job = COREG(task["ref"], task["tgt"], **how, **_QUIET)
    job.calculate_spatial_shifts()
    job.correct_shifts()
    return {}


def arosics_global(task: Task) -> Task:
    _older_gdal()
    from arosics import COREG

    job = COREG(task["ref"], task["tgt"], ws=(256, 256), **_QUIET)
    job.calculate_spatial_shifts()
    shift = job.coreg_info["corrected_shifts_px"]
    return {"dcol": float(shift["x"]), "drow": float(shift["y"])}


def arosics_local(task: Task) -> Task:
    _older_gdal()
    from arosics import COREG_LOCAL

    size = (task["window"], task["window"])
    job = COREG_LOCAL(task["ref"], task["tgt"], task["spacing"], window_size=size, **_QUIET)
    table = job.CoRegPoints_table
    table = table[table["X_WIN_SIZE"] > 0]
    missing = -9999  # its table's word for a window without an answer
    answered = table["X_SHIFT_PX"] != missing
    columns = {"dcol": table["X_SHIFT_PX"], "drow": table["Y_SHIFT_PX"]}
    # positions are corners of pixels there; windows are shrunk where they leave the overlap
    columns |= {"row": table["Y_IM"] - 0.5, "col": table["X_IM"] - 0.5}
    columns |= {"size": np.minimum(table["X_WIN_SIZE"], table["Y_WIN_SIZE"])}
    ok = answered & (table["OUTLIER"].astype(str) == "False")
    np.savez(task["out"], ok=ok.to_numpy(bool), **{name: value.to_numpy(float) for name, value in columns.items()})
    _keep(job.coreg_info, Path(f"{task['out']}.arosics"))
    return {"tried": len(job.CoRegPoints_table)}


def _keep(found: Task, path: Path) -> None:
    """Save what its correction needs; GDAL's control points cannot be pickled as they are."""
    import pickle

    points = [(p.GCPX, p.GCPY, p.GCPZ, p.GCPPixel, p.GCPLine) for p in found["GCPList"]]
    path.write_bytes(pickle.dumps({**found, "GCPList": points}))


def arosics_warp(task: Task) -> Task:
    import pickle

    _older_gdal()
    from arosics import DESHIFTER
    from osgeo import gdal

    found = pickle.loads(Path(task["arosics"]).read_bytes())
    found["GCPList"] = [gdal.GCP(*point) for point in found["GCPList"]]
    how = {"path_out": task["out"], "fmt_out": "GTIFF", "out_crea_options": _TILED, "resamp_alg": "cubic"}
    DESHIFTER(task["tgt"], found, align_grids=True, **how, **_QUIET).correct_shifts()
    return {}


def arosics_batch(task: Task) -> Task:
    _older_gdal()
    from arosics import COREG

    Path(task["out"]).mkdir()
    shifts = []
    for path in task["targets"]:
        goal = Path(task["out"]) / Path(path).name
        job = COREG(task["ref"], path, path_out=str(goal), fmt_out="GTIFF", out_crea_options=_TILED, **_QUIET)
        job.calculate_spatial_shifts()
        job.correct_shifts()
        shift = job.coreg_info["corrected_shifts_px"]
        shifts.append((float(shift["x"]), float(shift["y"])))
    return {"shifts": shifts}


# --- xDEM -------------------------------------------------------------------------------------------------------------
def xdem_dem(task: Task) -> Task:
    import geoutils
    import xdem

    shifts = []
    for pair in task["pairs"]:
        ref, tgt = (xdem.DEM(pair[name]) for name in ("ref", "tgt"))
        job = xdem.coreg.NuthKaab()
        job.fit(ref, tgt, inlier_mask=geoutils.Raster(pair["stable"]) == 1, random_state=0)
        found = job.meta["outputs"]["affine"]
        shifts.append([float(found[f"shift_{axis}"]) for axis in "xyz"])
    return {"shifts": shifts}


def xdem_blocks(task: Task) -> Task:
    import xdem

    ref, tgt = (xdem.DEM(task[name]) for name in ("ref", "tgt"))
    job = xdem.coreg.BlockwiseCoreg(
        xdem.coreg.NuthKaab(), block_size_fit=task["block"], block_size_apply=500, parent_path=f"{task['out']}.parts"
    )
    job.fit(ref, tgt)
    aligned = job.apply()
    aligned.to_file(task["out"])
    return {"tried": int(np.prod(job.shape_tiling_grid[:2])), "accepted": int(np.isfinite(job.shifts_x).sum())}


# --- correlators and interpolators: reading, cutting and writing around them is ours ----------------------------------
def _read(path: str) -> np.ndarray:
    import rasterio

    with rasterio.open(path, num_threads="all_cpus") as file:
        return file.read(1)


def _corner(path: str, size: int) -> np.ndarray:
    """Cut a window from the middle of an image."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(path) as file:
        window = Window((file.width - size) // 2, (file.height - size) // 2, size, size)
        return file.read(1, window=window).astype(np.float32)


def peer_global(task: Task, peer: peers.Peer) -> Task:
    dcol, drow = peer(_corner(task["ref"], 256), _corner(task["tgt"], 256))
    return {"dcol": dcol, "drow": drow}


def peer_local(task: Task, peer: peers.Peer) -> Task:
    """Ask for one window after another: those that xcoreg lays out, as far as they hold no nodata."""
    ref, tgt = _read(task["ref"]), _read(task["tgt"])
    size, places = task["window"], np.load(task["places"])
    found = np.full((len(places), 2), np.nan)
    for at, (row, col) in enumerate(places):
        top, left = round(row + 0.5 - size / 2), round(col + 0.5 - size / 2)
        cut = slice(top, top + size), slice(left, left + size)
        one, other = ref[cut], tgt[cut]
        if one.shape == (size, size) and one.all() and other.all():
            found[at] = peer(one.astype(np.float32), other.astype(np.float32))
    columns = {"row": places[:, 0], "col": places[:, 1], "dcol": found[:, 0], "drow": found[:, 1]}
    np.savez(task["out"], ok=np.isfinite(found).all(1), size=np.full(len(places), size), **columns)
    return {"tried": len(places)}


def klt_local(task: Task) -> Task:
    """Track all places whose windows hold no nodata; of 64 px at most, beyond which the tracker only gets slower."""
    places, size = np.load(task["places"]), min(task["window"], 64)
    images = _read(task["ref"]), _read(task["tgt"])
    found = peers.track(*images, places[:, ::-1], size)
    for at, (row, col) in enumerate(np.rint(places).astype(int)):
        cut = slice(max(row - size // 2, 0), row + size // 2), slice(max(col - size // 2, 0), col + size // 2)
        if not all(image[cut].all() for image in images):
            found[at] = np.nan
    columns = {"row": places[:, 0], "col": places[:, 1], "dcol": found[:, 0], "drow": found[:, 1]}
    np.savez(task["out"], ok=np.isfinite(found).all(1), size=np.full(len(places), size), **columns)
    return {"tried": len(places)}


def _write(values: np.ndarray, like: str, goal: str) -> None:
    import rasterio

    with rasterio.open(like) as file:
        profile = file.profile
    with rasterio.open(goal, "w", **{**profile, "num_threads": "all_cpus"}) as file:
        file.write(values, 1)


def cv2_warp(task: Task) -> Task:
    """Remap by positions between the nodes of a lattice, given as offsets (row, col) at the middles of its cells."""
    import cv2

    values, offsets = _read(task["tgt"]), np.load(task["lattice"])
    (rows, cols), step = values.shape, task["step"]
    wide = offsets.shape[2] * step, offsets.shape[1] * step
    row, col = (cv2.resize(part, wide, interpolation=cv2.INTER_CUBIC)[:rows, :cols] for part in offsets)
    row += np.arange(rows, dtype=np.float32)[:, None]
    col += np.arange(cols, dtype=np.float32)
    _write(cv2.remap(values, col, row, cv2.INTER_CUBIC), task["tgt"], task["out"])
    return {}


def skimage_warp(task: Task) -> Task:
    """Warp by the same lattice."""
    from skimage.transform import resize, warp

    values, offsets = _read(task["tgt"]), np.load(task["lattice"])
    (rows, cols), step = values.shape, task["step"]
    tall, wide = offsets.shape[1] * step, offsets.shape[2] * step
    places = np.empty((2, rows, cols), np.float32)
    for goal, part in zip(places, offsets, strict=True):
        goal[:] = resize(part, (tall, wide), order=3, mode="edge")[:rows, :cols]
    places[0] += np.arange(rows, dtype=np.float32)[:, None]
    places[1] += np.arange(cols, dtype=np.float32)
    moved = warp(values.astype(np.float32), places, order=3, preserve_range=True)
    top = np.iinfo(values.dtype).max
    _write(np.clip(np.rint(moved), 0, top).astype(values.dtype), task["tgt"], task["out"])
    return {}


def gdal_warp(task: Task) -> Task:
    """Warp by a thin-plate spline through xcoreg's tie points as control points, on two threads."""
    import rasterio
    from rasterio.control import GroundControlPoint
    from rasterio.warp import Resampling, reproject

    with np.load(task["points"]) as kept:
        row, col, dcol, drow = (kept[name][kept["ok"]] for name in ("row", "col", "dcol", "drow"))
    with rasterio.open(task["tgt"]) as file:
        transform, crs = file.transform, file.crs
    x, y = transform.c + transform.a * (col + dcol + 0.5), transform.f + transform.e * (row + drow + 0.5)
    points = [GroundControlPoint(*each) for each in zip(row + 0.5, col + 0.5, x, y, strict=True)]
    values = _read(task["tgt"])
    out = np.zeros_like(values)
    there = {"dst_transform": transform, "dst_crs": crs, "src_nodata": 0, "dst_nodata": 0}
    how = {"resampling": Resampling.cubic, "num_threads": 2, "SRC_METHOD": "GCP_TPS"}
    reproject(values, out, gcps=points, src_crs=crs, **there, **how)
    _write(out, task["tgt"], task["out"])
    return {}


def _of_peers(work: Callable[[Task, peers.Peer], Task]) -> Iterator[tuple[str, Callable[[Task], Task]]]:
    for name, (_, peer) in peers.ALL.items():
        yield name, lambda task, ask=peer: work(task, ask)


JOBS: dict[str, dict[str, Callable[[Task], Task]]] = {
    "global": {"xcoreg": xcoreg_global, "AROSICS": arosics_global, **dict(_of_peers(peer_global))},
    "shift": {"xcoreg": xcoreg_shift, "AROSICS": arosics_shift},
    "local": {"xcoreg": xcoreg_local, "AROSICS": arosics_local, **dict(_of_peers(peer_local)), "cv2 KLT": klt_local},
    "warp": {
        "xcoreg": xcoreg_warp,
        "AROSICS": arosics_warp,
        "GDAL (rasterio)": gdal_warp,
        "cv2.remap": cv2_warp,
        "scikit-image": skimage_warp,
    },
    "dem": {"xcoreg": xcoreg_dem, "xDEM": xdem_dem},
    "blocks": {"xcoreg": xcoreg_blocks, "xDEM": xdem_blocks},
    "batch": {"xcoreg": xcoreg_batch, "AROSICS": arosics_batch},
}


def main() -> None:
    """Do one job, and tell what came of it."""
    job, program, *task = sys.argv[1:]
    if job == "version":
        print(json.dumps(version(program)))
        return
    warnings.simplefilter("ignore")  # what a program warns of is not what is measured
    answer = JOBS[job][program](json.loads(Path(*task).read_text(encoding="utf-8")))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
