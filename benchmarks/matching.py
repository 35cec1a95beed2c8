"""Measure windows per second of the matcher beside the three transforms nobody can do without.

The floor, two forward and one inverse real transforms of each pair in single precision, is timed in turns with the
matcher, for other work on the machine slows both.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import peers
from common import Report, arguments
from scipy import fft

import xcoreg
from xcoreg.core.matcher import phase_match, phase_scout
from xcoreg.simulate import blob_mask, pair, smooth_field, window_pairs

_SIZES, _TURNS = (64, 128, 256), 5
# Once a block of this size was freed memory is kept, as the tasks of the engine keep it (xcoreg.lazy.execute).
_LARGEST_KEPT = 31 << 20


def drawn(size: int, snr: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of windows, shifted within a pixel, and blobs that hide half of each."""
    n = 2**21 // size**2
    pairs = window_pairs(min(n, 48), size, snr, max_shift=1.0, seed=seed)
    few = len(pairs.ref)
    hidden = np.concatenate([blob_mask((1, size, size), 0.5, seed=seed + i) for i in range(few)])
    return pairs.ref, pairs.tgt, ~hidden


def transforms(ref: np.ndarray, tgt: np.ndarray) -> None:
    """Transform one pair after the other: what one makes stays in the cache."""
    for a, b in zip(ref, tgt, strict=True):
        fft.irfft2(fft.rfft2(a) * fft.rfft2(b).conj(), s=a.shape)


def together(ref: np.ndarray, tgt: np.ndarray) -> None:
    """Transform all pairs at once: several fit into one instruction."""
    fft.irfft2(fft.rfft2(ref) * fft.rfft2(tgt).conj(), s=ref.shape[1:])


def best(functions: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Least seconds per call of each function, taken in turns."""
    times = dict.fromkeys(functions, np.inf)
    for _ in range(_TURNS):
        for name, function in functions.items():
            start, calls = time.perf_counter(), 0
            while calls == 0 or time.perf_counter() - start < seconds / _TURNS:
                function()
                calls += 1
            times[name] = min(times[name], (time.perf_counter() - start) / calls)
    return times


def row(size: int, snr: float, seconds: float, seed: int) -> dict[str, Any]:
    """One size: windows per second, and how many times the floor each takes."""
    ref, tgt, seen = drawn(size, snr, seed)
    ok = np.ones(ref.shape, bool)
    functions = {
        "transforms": lambda: transforms(ref, tgt),
        "together": lambda: together(ref, tgt),
        "all valid": lambda: phase_match(tgt, ref, ok, ok, compare=False),
        "half masked": lambda: phase_match(tgt, ref, seen, seen, compare=False),
        "scout": lambda: phase_scout(tgt, ref, ok, ok),
    }
    np.empty(_LARGEST_KEPT, np.uint8)
    times = best(functions, seconds)
    times["transforms"] = min(times["transforms"], times.pop("together"))
    functions.pop("together")
    rates = {name: round(len(ref) / value) for name, value in times.items()}
    ratios = {f"{name} / floor": times[name] / times["transforms"] for name in functions if name != "transforms"}
    return {"window": size, "SNR dB": snr} | rates | ratios


def many(side: int, seed: int) -> list[dict[str, Any]]:
    """Place points of 32 px side by side on a whole scene, beside KLT where OpenCV is installed: seconds and errors."""
    truth = smooth_field((side, side), 1.5, seed=seed + 2)
    scene = pair((side, side), shift=truth, snr_db=30.0, seed=seed + 9)
    start, clock = time.process_time(), time.perf_counter()
    points = xcoreg.tie_points(scene.tgt, scene.ref, window=32, spacing=32)
    took = {"xcoreg": (time.process_time() - start, time.perf_counter() - clock)}
    ok = np.where(points.ok, 1.0, np.nan)
    found = {"xcoreg": np.stack([points.dcol * ok, points.drow * ok], -1)}
    if find_spec("cv2") is not None:
        images = (one.values.squeeze() for one in (scene.ref, scene.tgt))
        start, clock = time.process_time(), time.perf_counter()
        found["cv2 KLT"] = peers.track(*images, np.stack([points.col, points.row], -1), 32)
        took["cv2 KLT"] = time.process_time() - start, time.perf_counter() - clock
    rows, exact = [], np.stack(truth(points.row, points.col), -1)
    for name, moves in found.items():
        off = np.hypot(*(moves - exact)[np.isfinite(moves).all(1)].T)
        row = {"program": name, "points": len(points), "accepted": len(off), "processor s": took[name][0]}
        row |= {"s": took[name][1], "RMSE px per axis": float(np.sqrt((off**2).mean() / 2))}
        rows.append(row | {"> 0.4 px": int((off > 0.4).sum())})
    return rows


def profile(size: int, seed: int) -> None:
    """Print where the time goes."""
    ref, tgt, _ = drawn(size, 20, seed)
    ok = np.ones(ref.shape, bool)
    phase_match(tgt, ref, ok, ok)
    watch = cProfile.Profile()
    watch.runcall(phase_match, tgt, ref, ok, ok)
    pstats.Stats(watch).sort_stats("tottime").print_stats(35)


def main() -> None:
    more = {"profile": {"type": int, "metavar": "SIZE", "help": "print a profile of windows of this size instead"}}
    args = arguments(__doc__ or "", **more)
    if args.profile:
        profile(args.profile, args.seed)
        return
    report = Report("Windows per second")
    rows = [row(size, snr, 0.5 if args.quick else 2.0, args.seed) for size in _SIZES for snr in (30, 20)]
    note = (
        "One thread, as the engine calls it. `transforms`: two forward and one inverse of a pair, one after the other "
        "or all at once, whichever is faster; `/ floor`: how many times as long each takes."
    )
    report.table("Matching windows", rows, note)
    note = (
        "Tie points and their filters, no model, threads as they come; the true field is of 1.5 px. KLT refuses none."
    )
    report.table("Points of 32 px, every 32 px", many(1000 if args.quick else 4600, args.seed), note)
    report.write(args.out)


if __name__ == "__main__":
    main()
