"""What programs are compared on: scenes with their truth, what is asked, and how an answer is judged.

Scenes are those of speed.py, fields.py, dem.py and batch.py, drawn once and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import batch
import dem
import fields
import numpy as np
import rasterio
import real
import speed
from process import attempt
from rivals import command

import xcoreg
from xcoreg.simulate import Mosaic, dem_pair

__all__ = ["FULL", "PARTS", "QUICK", "Contest", "Entry", "Scale"]

_STEP = 32  # px between the nodes of the lattice that interpolators are given
_WRONG = 1.0  # px


class Scale(NamedTuple):
    """How large the scenes are."""

    side: int
    spacing: int
    scenes: int
    heights: tuple[int, int]
    pairs: int


FULL = Scale(10980, 200, 50, dem.SHAPE, 5)
QUICK = Scale(1500, 100, 3, (500, 640), 2)


@dataclass(frozen=True)
class Entry:
    """One program that takes part, and what is particular to it."""

    program: str
    block: int | None = None

    @property
    def label(self) -> str:
        """Name the row."""
        return self.program if self.block is None else f"{self.program}, blocks of {self.block} px"


@dataclass(frozen=True)
class Contest:
    """One job for several programs: what is asked, what an answer (a file, what was printed) is worth."""

    job: str
    heading: str
    task: dict[str, Any]
    entries: tuple[Entry, ...]
    judge: Callable[[Path, dict[str, Any]], dict[str, Any]]
    note: str = ""
    suffix: str = ""
    files: Callable[[], None] = field(default=lambda: None)


def _entries(*programs: str) -> tuple[Entry, ...]:
    return tuple(Entry(name) for name in programs)


def one_shift(cache: Path, _: Path, size: Scale) -> Iterator[Contest]:
    """Ask for the shift of a whole image."""
    ref, tgt = speed.big_pair(cache, size.side)

    def judge(_: Path, told: dict[str, Any]) -> dict[str, Any]:
        off = np.array([told["dcol"], told["drow"]], float) - speed.TRUTH
        length = float(np.hypot(*off))
        wrong = "" if length <= _WRONG else "wrong answer"
        return {"error px": "({:+.4f}, {:+.4f})".format(*off), "remark": wrong}

    note = "AROSICS: its default window of 256 px. The correlators are given a window of 256 px from the middle."
    entries = _entries("xcoreg", "AROSICS", "cv2.phaseCorrelate", "cv2 ECC", "cv2 KLT", "scikit-image")
    heading = f"One shift, two GeoTIFFs of {size.side} x {size.side} px, true shift {speed.TRUTH}"
    yield Contest("global", heading, {"ref": str(ref), "tgt": str(tgt)}, entries, judge, note)


def file_to_file(_: Path, __: Path, ___: Scale) -> Iterator[Contest]:
    """Ask for a real pair's correction, file to file: AROSICS' own example."""
    germany = real.PAIRS[0]
    ref, tgt = (real.FOLDER / name for name in (germany.ref, germany.tgt))
    if not ref.exists():
        return

    def judge(out: Path, _: dict[str, Any]) -> dict[str, Any]:
        with rasterio.open(out) as after, rasterio.open(tgt) as before:
            moved = after.transform.c - before.transform.c, after.transform.f - before.transform.f
        off = np.subtract(moved, germany.correction)
        wrong = "" if np.hypot(*off) <= _WRONG * 10 else "wrong answer"
        return {"moved by, m": "({:+.2f}, {:+.2f})".format(*moved), "remark": wrong}

    heading = "A real pair of 2074 x 3152 px, file to file (the example of AROSICS)"
    task = {"ref": str(ref), "tgt": str(tgt)}
    yield Contest("shift", heading, task, _entries("xcoreg", "AROSICS"), judge, suffix=".tif")


def _local_task(
    cache: Path, room: Path, size: Scale, window: int, clouds: float
) -> tuple[fields.Scene, dict[str, Any]]:
    one = fields.scene(cache, size.side, clouds)
    places = room / f"places_{window}_{round(100 * clouds)}.npy"
    with rasterio.open(one.tgt) as file:
        at = file.transform
    x, y = fields.laid_out(one, window, size.spacing).T
    np.save(places, np.stack([(y - at.f) / at.e - 0.5, (x - at.c) / at.a - 0.5], -1))
    task = {"ref": str(one.ref), "tgt": str(one.tgt), "window": window, "spacing": size.spacing}
    return one, task | {"places": str(places)}


def local(cache: Path, room: Path, size: Scale) -> Iterator[Contest]:
    """Ask for tie points on a grid, windows of 64 and of 256 px."""
    for window in (64, 256):
        yield _points(cache, room, size, window, 0.0)


def clouds(cache: Path, room: Path, size: Scale) -> Iterator[Contest]:
    """Ask for tie points where two fifths of each image are hidden, and nobody tells where."""
    yield _points(cache, room, size, 128, 0.4)


def _points(cache: Path, room: Path, size: Scale, window: int, hidden: float) -> Contest:
    one, task = _local_task(cache, room, size, window, hidden)

    def judge(out: Path, told: dict[str, Any]) -> dict[str, Any]:
        with np.load(out) as kept:
            points = SimpleNamespace(**kept)
        points.size = points.size.astype(int)
        length = np.hypot(*fields.errors(points, one.truth).T)[points.ok]
        far = int((length > _WRONG).sum())
        row = {"points": told["tried"], "accepted": len(length), "RMSE px": float(np.sqrt((length**2).mean() / 2))}
        row |= {"largest px": float(length.max(initial=0)), "> 1 px": far}
        return row | {"remark": "wrong answers accepted" if far else ""}

    note = (
        "RMSE per axis of accepted points against the true field averaged over each window. The correlators are asked "
    )
    note += "for one window after another, those of xcoreg, as far as they hold no nodata; they refuse none."
    under = f", {hidden:.0%} of either image under clouds of its own" if hidden else ""
    heading = (
        f"Tie points every {size.spacing} px, window {window}, {size.side} x {size.side} px, field of 2.5 px{under}"
    )
    entries = _entries("xcoreg", "AROSICS", "cv2.phaseCorrelate", "cv2 ECC", "cv2 KLT", "scikit-image")
    suffix = f"_{window}_{round(100 * hidden)}.npz"
    return Contest("local", heading, task, entries, judge, note, suffix=suffix)


def warp(cache: Path, room: Path, size: Scale) -> Iterator[Contest]:
    """Ask for the target, warped by tie points of window 256."""
    one, task = _local_task(cache, room, size, 256, 0.0)
    points = {name: room / f"local_{name}_256_0.npz" for name in ("xcoreg", "AROSICS")}
    how = {"tgt": str(one.tgt), "points": str(points["xcoreg"]), "fit": f"{points['xcoreg']}.fit.json"}
    how |= {"arosics": f"{points['AROSICS']}.arosics", "lattice": str(room / "lattice.npy"), "step": _STEP}

    def files() -> None:
        for program, out in points.items():
            if not out.exists():  # the contest that makes them was not asked for
                attempt(*command(room, "local", program, task | {"out": str(out)}))
        fit = xcoreg.load_fit(how["fit"])
        np.save(how["lattice"], _lattice(fit, size.side))

    def judge(out: Path, _: dict[str, Any]) -> dict[str, Any]:
        fit, ref = xcoreg.load_fit(how["fit"]), xcoreg.open_raster(one.ref)
        window = 128 if size.side > 3000 else 64
        told = fields.left(out, ref, fit, window, size.spacing)
        return {f"left: {name}": told[name] for name in ("median px", "RMSE px", "CE90 px")}

    note = (
        "Cubic. xcoreg and AROSICS by their own tie points; GDAL by a thin-plate spline through xcoreg's; OpenCV and "
    )
    note += (
        "scikit-image by positions that xcoreg's model gives every 32 px, nodata not looked after. Left: the warped "
    )
    note += "image matched with the reference by xcoreg, on windows between those of the fit."
    entries = _entries("xcoreg", "AROSICS", "GDAL (rasterio)", "cv2.remap", "scikit-image")
    heading = f"Warping {size.side} x {size.side} px by a field, file to file"
    yield Contest("warp", heading, how, entries, judge, note, suffix=".tif", files=files)


def _lattice(fit: Any, side: int) -> np.ndarray:
    """(2, rows, cols) float32 from output pixels at the middles of cells to where they lie in the target, px."""
    count = -(-side // _STEP)
    middle = (np.arange(count) + 0.5) * _STEP - 0.5
    rows, cols = np.meshgrid(middle, middle, indexing="ij")
    a, _, c, _, e, f = fit.transform
    row, col = rows, cols
    for _ in range(4):  # the correction is known where pixels come from
        dx, dy = fit.model.predict(c + a * (col + 0.5), f + e * (row + 0.5))
        row, col = rows - dy / e, cols - dx / a
    return np.stack([row - rows, col - cols]).astype(np.float32)


def heights(_: Path, room: Path, size: Scale) -> Iterator[Contest]:
    """Ask for the shift of elevation models, and for the correction of a mosaic in blocks."""
    pairs = []
    for seed in range(size.pairs):
        both = dem_pair(size.heights, glaciers=0.1, seed=seed)
        pairs.append({name: str(room / f"dem_{seed}_{name}.tif") for name in ("ref", "tgt", "stable")})
        for name, path in pairs[-1].items():
            xcoreg.write_raster(getattr(both, name), path, overwrite=True)

    def judge(_: Path, told: dict[str, Any]) -> dict[str, Any]:
        off = np.array(told["shifts"]) - dem.TRUTH
        rmse = np.sqrt((off**2).mean(0))
        row = {f"RMSE {axis} m": float(value) for axis, value in zip("xyz", rmse, strict=True)}
        return row | {"RMSE per axis m": float(np.hypot(*rmse[:2]) / np.sqrt(2))}

    shape = " x ".join(map(str, size.heights))
    note = "True shift (9.2, 2.7, -2.0) m, pixels of 20 m, noise of 0.5 m white and 1 m correlated, glaciers masked."
    heading = f"Elevation models: the shift of {size.pairs} pairs of {shape} px, one after another"
    yield Contest("dem", heading, {"pairs": pairs}, _entries("xcoreg", "xDEM"), judge, note)
    yield _blocks(room, size, shape)


def _blocks(room: Path, size: Scale, shape: str) -> Contest:
    both = dem_pair(size.heights, shift=tuple(dem.TRUTH.tolist()), mosaic=Mosaic(), seed=1)
    task = {name: str(room / f"mosaic_{name}.tif") for name in ("ref", "tgt")}
    for name, path in task.items():
        xcoreg.write_raster(getattr(both, name), path, overwrite=True)
    before, floor = dem.nmad(dem.left_by(both, 0.0, 0.0, 0.0)), dem.nmad(dem.left_by(both, *both.field))
    ref = both.ref.values

    def judge(out: Path, told: dict[str, Any]) -> dict[str, Any]:
        with rasterio.open(out) as file:
            aligned = file.read(1, masked=True).filled(np.nan)
        if aligned.shape != ref.shape:
            return {"remark": f"another grid: {aligned.shape}"}
        after = dem.nmad(ref - aligned)
        row = {"blocks": told["tried"], "fitted": told["accepted"], "NMAD m": after, "of the floor": after / floor}
        return row | {"remark": "worse than before" if after > before else ""}

    note = f"A mosaic of 4 x 5 tiles with ramps; NMAD of the differences {before:.2f} m before, {floor:.2f} m with the "
    note += "true field; every program writes the corrected model. xDEM's sum of blocks is drawn anew in every run."
    wide = [(name, block) for name, blocks in (("xcoreg", (125, 250)), ("xDEM", (250, 500))) for block in blocks]
    entries = tuple(Entry(name, block) for name, block in wide)
    return Contest("blocks", f"Elevation models in blocks, {shape} px", task, entries, judge, note, suffix=".tif")


def many(cache: Path, _: Path, size: Scale) -> Iterator[Contest]:
    """Ask for many scenes to be corrected by one shift each, and written."""
    targets, ref, shifts = batch.scenes(cache, size.scenes, 0)

    def judge(_: Path, told: dict[str, Any]) -> dict[str, Any]:
        off = np.hypot(*(np.array(told["shifts"], float) - shifts).T)
        far = int((~(off <= _WRONG)).sum())
        row = {"RMSE px": float(np.sqrt(np.nanmean(off**2) / 2)), "> 1 px": far}
        return row | {"remark": "wrong answers" if far else ""}

    task = {"targets": [str(path) for path in targets], "ref": str(ref)}
    heading = f"{size.scenes} scenes of 1500 x 1500 px to one reference, one shift each, written as GeoTIFF"
    note = "One process. AROSICS: a loop over its global correction."
    yield Contest("batch", heading, task, _entries("xcoreg", "AROSICS"), judge, note)


PARTS: dict[str, Callable[[Path, Path, Scale], Iterator[Contest]]] = {
    "global": one_shift,
    "files": file_to_file,
    "local": local,
    "clouds": clouds,
    "warp": warp,
    "dem": heights,
    "batch": many,
}
