"""Fields of several kinds on a whole scene: processor time, memory and error of `points` and `warp`, and of the model.

Scenes of 10980 x 10980 px (uint16, 10 m, deflate, 30 dB, a nodata wedge) with a smooth field, a strong one, a fine one,
an affine one and a torn one are simulated once and kept under --cache. Times are processor seconds of whole commands.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import CACHE, Report, arguments
from fields import errors, model_error
from process import often

import xcoreg
from xcoreg.core.models import assess_model, choose_model
from xcoreg.simulate import Acquisition, pair, smooth_field

_SIDE, _SIDE_QUICK, _SPACING = 10980, 3000, 200
Field = Callable[..., tuple[np.ndarray, np.ndarray]]


def _strong(row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Waves of 3.5 px and 5 to 7 km: up to 1 px across a window of 256."""
    return 3.5 * np.sin(col / 900) * np.cos(row / 1100), 2.5 * np.cos(col / 1000) * np.sin(row / 800)


def _fine(row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Six waves of 300 px and together 0.5 px RMS: shorter than two windows are apart."""
    across, down = np.zeros(np.broadcast(row, col).shape), np.zeros(np.broadcast(row, col).shape)
    for angle, first, second in np.random.default_rng(1).uniform(0, 2 * np.pi, (6, 3)):
        phase = 2 * np.pi / 300 * (np.cos(angle) * col + np.sin(angle) * row)
        across += 0.29 * np.sin(phase + first)
        down += 0.29 * np.sin(phase + second)
    return across, down


def _affine(row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and scale, 3 px over the scene."""
    return 1.5e-4 * col + 2e-4 * row - 1, -2e-4 * col + 1e-4 * row + 1


def _torn(row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two parts, 3.2 px apart along an oblique line, on a slope."""
    east = col + 0.3 * row > 0.6 * _SIDE
    return np.where(east, 2.0, -1.0) + 1e-4 * col, np.where(east, -0.5, 0.7) + 0 * row


def field_of(kind: str, side: int) -> Field:
    """Return the true field of a kind."""
    own: dict[str, Field] = {"strong": _strong, "fine": _fine, "affine": _affine, "torn": _torn}
    return own[kind] if kind in own else smooth_field((side, side), 2.5, seed=11)


def scene(cache: Path, kind: str, side: int) -> tuple[Path, Path]:
    """Make a pair of files, or take the ones made before."""
    ref, tgt = (cache / f"kind_{kind}_{side}_{what}.tif" for what in ("ref", "tgt"))
    if not (ref.exists() and tgt.exists()):
        cache.mkdir(parents=True, exist_ok=True)
        how = Acquisition(wedge=0.1)
        both = pair((side, side), shift=field_of(kind, side), snr_db=30.0, ref=how, tgt=how, seed=5)
        for path, image in ((ref, both.ref), (tgt, both.tgt)):
            xcoreg.write_raster(image, path, overwrite=True)
    return ref, tgt


def commands(kind: str, files: tuple[Path, Path], side: int, window: int, times: int) -> dict[str, Any]:
    """Run `points` and `warp`, and judge the tie points and the model by the true field."""
    command = (sys.executable, "-m", "xcoreg")
    options = ("--spacing", str(_SPACING), "--window", str(window))
    with tempfile.TemporaryDirectory() as folder:
        out, image, saved = (Path(folder) / name for name in ("points.csv", "warped.tif", "fit.json"))
        often(1, *command, "points", *files, out, *options, "--save-fit", saved)
        fit = xcoreg.load_fit(saved)
        out.unlink()
        points = often(times, *command, "points", *files, out, *options, made=out)
        warped = often(times, *command, "warp", *files, image, *options, made=image)
    truth, ok = field_of(kind, side), fit.points.ok
    off = errors(fit.points, truth)[ok]
    row = {"field": kind, "window": window, "windows": len(fit.points), "accepted": int(ok.sum())}
    row |= {"points s": points.processor, "warp s": warped.processor}
    row |= {"peak MB": round(max(points.megabytes, warped.megabytes))}
    row |= {"RMSE px per axis": float(np.sqrt((off**2).mean())), "median px": float(np.median(np.hypot(*off.T)))}
    row |= {"model": fit.model.kind, "model against the field px": model_error(fit, truth)}
    return row | {f"{name} s": value for name, value in modelling(fit.points).items()}


def modelling(points: Any) -> dict[str, float]:
    """Processor seconds of the filter by a spline, and of the choice of the model."""
    ok, taken = points.ok, {}
    columns = points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok]
    for name, job in (("filter", lambda: assess_model("spline", *columns)), ("model", lambda: choose_model(*columns))):
        start = time.process_time()
        job()
        taken[name] = time.process_time() - start
    return taken


def main() -> None:
    """Measure every kind with windows of 64 and of 256."""
    kinds = ("smooth", "strong", "fine", "affine", "torn")
    which = {"nargs": "*", "choices": kinds, "default": kinds, "help": "some of the kinds of fields"}
    args = arguments(__doc__ or "", cache=CACHE, kinds=which)
    side, times = (_SIDE_QUICK, 1) if args.quick else (_SIDE, 3)
    report = Report("Fields of several kinds")
    rows = []
    for kind in args.kinds:
        files = scene(args.cache, kind, side)
        rows += [commands(kind, files, side, window, times) for window in (64, 256)]
    note = "Wanted for 2852 windows: points in 8 s (64) and 25 s (256), 800 MB, filter and model a fifth of that. "
    note += "A field finer than the distance of windows cannot be followed: windows give its mean."
    report.table(f"{side} x {side} px, windows every {_SPACING} px, processor seconds of whole commands", rows, note)
    report.write(args.out)


if __name__ == "__main__":
    main()
