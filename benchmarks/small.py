"""Small images in memory, beside OpenCV and scikit-image: error and processor time of one match, of a loop, of a start.

Scenes of 256, 500, 512 and 1000 px (uint16, 30 dB, one shift of some pixels) are the same for all; programs take turns
scene by scene, so that a busy machine slows all of them. Reading the clock of the processor, one thread each.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import peers
from common import Report, arguments
from process import often

import xcoreg
from xcoreg.simulate import pair

# Set by --arosics: a process that matches pairs and says how long each has taken.
_AROSICS: list[subprocess.Popen[str]] = []
_SIDES = (256, 500, 512, 1000)
_LOOP = 50


def scenes(side: int, times: int, seed: int) -> list[tuple[Any, tuple[float, float]]]:
    """Make pairs with known shifts."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(times):
        shift = tuple(float(part) for part in rng.uniform(-3, 3, 2))
        made.append((pair((side, side), shift=shift, snr_db=30.0, seed=1000 * seed + number), shift))
    return made


def xcoreg_shift(scene: Any) -> tuple[float, float]:
    """Match as a user does."""
    shift = xcoreg.match(scene.tgt, scene.ref).shift
    return shift.dcol, shift.drow


def start_arosics(interpreter: str) -> None:
    """Start AROSICS in an environment of its own."""
    code = str(Path(__file__).with_name("arosics_worker.py"))
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMEXPR_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    _AROSICS.append(subprocess.Popen([interpreter, code], text=True, env=os.environ | one, **pipes))  # type: ignore[call-overload]


def arosics_shift(scene: Any) -> tuple[float, float, float]:
    """Match by AROSICS: shift, px, and what it took, ms of the processor."""
    worker = _AROSICS[0]
    pixels = (np.asarray(image.values).squeeze() for image in (scene.ref, scene.tgt))
    pair_of = (*pixels, scene.ref.rio.transform().to_gdal(), scene.ref.rio.crs.to_wkt("WKT1_GDAL"))
    with tempfile.NamedTemporaryFile(suffix=".pkl") as file:
        file.write(pickle.dumps(pair_of, protocol=4))
        file.flush()
        print(file.name, file=worker.stdin, flush=True)
        taken, dcol, drow = map(float, worker.stdout.readline().split())  # type: ignore[union-attr]
    return dcol, drow, taken


def programs() -> dict[str, Callable[[Any], Any]]:
    """Programs that are installed, each a function of a scene."""
    made: dict[str, Callable[[Any], Any]] = {"xcoreg": xcoreg_shift}
    if _AROSICS:
        made["AROSICS"] = arosics_shift
    for name, (module, peer) in peers.ALL.items():
        if find_spec(module) is not None:
            made[name] = lambda scene, ask=peer: ask(
                scene.ref.values.squeeze().astype(np.float32), scene.tgt.values.squeeze().astype(np.float32)
            )
    return made


def measure(side: int, times: int, seed: int) -> list[dict[str, Any]]:
    """Error and median processor time of every program on the scenes of a size."""
    known = programs()
    taken: dict[str, list[float]] = {name: [] for name in known}
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in known}
    for number, (scene, shift) in enumerate(scenes(side, times + 1, seed)):
        for name, ask in known.items():
            start = time.process_time()
            try:
                found: tuple[float, ...] = ask(scene)
            except (RuntimeError, ValueError):  # no answer
                found = (np.nan, np.nan)
            if number:  # the first one warms up
                taken[name].append(found[2] if len(found) > 2 else 1e3 * (time.process_time() - start))
                errors[name].append((found[0] - shift[0], found[1] - shift[1]))
    rows = []
    for name in known:
        off = np.array(errors[name])
        good = np.isfinite(off).all(1)
        rmse = float(np.sqrt((off[good] ** 2).mean())) if good.any() else np.nan
        rows.append({"side px": side, "program": name, "processor ms": round(float(np.median(taken[name])), 1),
                     "RMSE px per axis": rmse, "worst px": float(np.abs(off[good]).max(initial=0)),
                     "without an answer": int((~good).sum())})  # fmt: skip
    return rows


def loop(seed: int) -> list[dict[str, Any]]:
    """Processor time of 50 images of 500 px, one after the other."""
    made = [scene for scene, _ in scenes(500, _LOOP, seed)]
    rows = []
    for name, ask in programs().items():
        start = time.process_time()
        found = [ask(scene) for scene in made]
        own = sum(one[2] for one in found if len(one) > 2) / 1e3
        rows.append({"program": name, "50 images of 500 px, s": own or time.process_time() - start})
    return rows


def starts(times: int) -> list[dict[str, Any]]:
    """Processor time of a program of one match, beside that of making its scene alone."""
    make = "import xcoreg\nfrom xcoreg.simulate import pair\nscene = pair((500, 500), shift=(0.7, -1.2), seed=3)\n"
    # Users' Python stores what it has compiled; without, modules are compiled in every process, which takes longer.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    rows = []
    for name, code in {
        "the scene alone": make,
        "and the first match": make + "xcoreg.match(scene.tgt, scene.ref)",
    }.items():
        done = often(times, sys.executable, "-c", code)
        rows.append({"program": name, "processor s": done.processor, "MB": round(done.megabytes)})
    return rows


def main() -> None:
    """Measure all sizes."""
    warnings.simplefilter("ignore")
    args = arguments(__doc__ or "", arosics={"help": "Python of an environment with AROSICS"})
    if args.arosics:
        start_arosics(args.arosics)
    times = 5 if args.quick else 20
    if find_spec("cv2") is not None:
        import cv2

        cv2.setNumThreads(1)
    report = Report("Small images")
    rows = [row for side in _SIDES for row in measure(side, times, args.seed)]
    report.table(
        "One match in memory", rows, "Median of the scenes. All programs see the same float32 or uint16 pixels."
    )
    report.table("A loop", loop(args.seed))
    report.table("The first call in a process", starts(3 if args.quick else 7))
    report.write(args.out)


if __name__ == "__main__":
    main()
