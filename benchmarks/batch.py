"""A batch of scenes against one reference: seconds and memory with none, one and two workers, and after interruptions.

Fifty targets (1500 x 1500 uint16, shifts within 2 px, 30 dB) and their reference are simulated once and kept under
--cache.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import CACHE, Report, arguments
from process import run

from xcoreg.io.write import write_raster
from xcoreg.simulate import pair

_SIDE, _SCENES, _SCENES_QUICK = 1500, 50, 6


def scenes(cache: Path, count: int, seed: int) -> tuple[list[Path], Path, np.ndarray]:
    """Targets, their reference and the true shifts (dcol, drow)."""
    shifts = np.random.default_rng(seed).uniform(-2, 2, (count, 2))
    folder = cache / f"batch_{_SIDE}_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    targets, ref = [folder / f"t{at:03}.tif" for at in range(count)], folder / "ref.tif"
    for path, shift in zip(targets, shifts, strict=True):
        if not path.exists():
            both = pair((_SIDE, _SIDE), shift=(float(shift[0]), float(shift[1])), snr_db=30, seed=seed)
            write_raster(both.tgt, path)
            write_raster(both.ref, ref)
    return targets, ref, shifts


def command(targets: list[Path], ref: Path, out: Path, *options: str) -> list[str]:
    """Give the program and its arguments."""
    call = [sys.executable, "-m", "xcoreg", "batch", "-q", *targets, "--ref", ref, "--out", out, *options]
    return [str(part) for part in call]


def whole(cache: Path, count: int, seed: int, verb: str) -> list[dict[str, Any]]:
    """Run to the end, in this process and on workers."""
    targets, ref, shifts = scenes(cache, count, seed)
    rows = []
    with tempfile.TemporaryDirectory(dir=cache) as room:
        for workers in (0, 1, 2):
            out = Path(room) / f"{workers}"
            options = ("--verb", verb, *(("--workers", str(workers)) if workers else ()))
            done = run(*command(targets, ref, out, *options))
            row = {"workers": workers or "none", "s": done.seconds, "s/scene": done.seconds / count}
            records = [json.loads((out / "scenes" / f"{path.stem}.json").read_text()) for path in targets]
            found = np.array([[record["dcol"], record["drow"]] for record in records])
            error = float(np.sqrt(((found - shifts) ** 2).mean()))
            rows.append(row | {"RMSE px": error, "peak MB of the first process": round(done.megabytes)})
        again = run(*command(targets, ref, Path(room) / "0", "--verb", verb))
        rows.append({"workers": "none, all done before", "s": again.seconds})
    return rows


def interrupted(cache: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Kill the program again and again, and compare what it leaves in the end."""
    targets, ref, _ = scenes(cache, count, seed)
    rows, rest = [], np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(dir=cache) as room:
        straight = Path(room) / "straight"
        run(*command(targets, ref, straight, "--align-grid"))
        for name in ("SIGKILL", "SIGINT"):
            out, kills = Path(room) / name, 0
            call = command(targets, ref, out, "--align-grid", "--workers", "2")
            while _runs_on(program := subprocess.Popen(call, stderr=subprocess.DEVNULL), out, count // 9 + 1, rest):
                program.send_signal(getattr(signal, name))
                program.wait()
                kills += 1
            if not kills:
                raise RuntimeError("the program was done before it could be stopped")
            same = _bytes(out) == _bytes(straight)
            left = len(list(out.rglob(".xcoreg*")))
            rows.append({"signal": name, "times stopped": kills, "same files": same, "left behind": left})
            shutil.rmtree(out)
    return rows


def _runs_on(program: subprocess.Popen[bytes], out: Path, more: int, rest: np.random.Generator) -> bool:
    """Wait until so many more scenes are done, and part of the next; False when the program has ended."""
    enough = len(list(out.glob("scenes/*.json"))) + more
    while program.poll() is None:
        if len(list(out.glob("scenes/*.json"))) >= enough:
            time.sleep(rest.uniform(0, 0.3))
            return program.poll() is None
        time.sleep(0.02)
    return False


def _bytes(folder: Path) -> dict[str, bytes]:
    """Images and fits."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.name.endswith((".tif", ".fit.json"))}


def main() -> None:
    """Run all parts."""
    parts = ("shift", "warp", "stopped")
    args = arguments(
        __doc__ or "",
        cache=CACHE,
        parts={"nargs": "*", "choices": parts, "default": parts, "help": "some of the parts"},
    )
    count = _SCENES_QUICK if args.quick else _SCENES
    report = Report("A batch of scenes")
    start = time.perf_counter()
    scenes(args.cache, count, args.seed)
    print(f"(scenes ready after {time.perf_counter() - start:.0f} s)", file=sys.stderr)
    note = "Workers are started for the run: their start and imports are in the time."
    for verb in (verb for verb in ("shift", "warp") if verb in args.parts):
        rows = whole(args.cache, count, args.seed, verb)
        report.table(f"{verb}: {count} targets of {_SIDE} x {_SIDE} px", rows, note)
    if "stopped" in args.parts:
        report.table("Stopped and started again, two workers", interrupted(args.cache, count, args.seed))
    report.write(args.out)


if __name__ == "__main__":
    main()
