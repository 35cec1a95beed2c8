"""Elevation models of many kinds: error, stated sigma against error, coverage, refusals, false acceptance.

Scenes come from dem_scenes.py. The error of a fit is that of its correction at the pixels of the target.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from common import Report, arguments
from dem_scenes import KINDS, Scene, make, unrelated

import xcoreg
from xcoreg.errors import CoregError, MatchError
from xcoreg.simulate import dem_pair

_METRES = np.array([72000.0, 111000.0])  # per degree, near enough for an error


def metres(scene: Scene) -> np.ndarray:
    """Metres per unit of the CRS of the target."""
    return _METRES if scene.tgt.rio.crs.is_geographic else np.ones(2)


def run(scene: Scene) -> tuple[Any, list[str], float]:
    """Fit, warnings and processor time of a scene; the fit is the error where it is refused."""
    start = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if scene.local is not None:
                fit = scene.tgt.coreg.match_local(scene.ref, **scene.local)
            else:
                fit = scene.tgt.coreg.match(scene.ref, **scene.options)
        except CoregError as error:
            fit = error
    return fit, [str(one.message) for one in caught], time.process_time() - start


def error_of(scene: Scene, fit: Any) -> tuple[float, float]:
    """Root mean square of the horizontal and of the vertical error over the target, m."""
    model = fit.model
    step = slice(8, -8, 3), slice(8, -8, 3)
    x, y, truth = scene.x[step], scene.y[step], scene.truth[(slice(None), *step)]
    heights = scene.tgt.values[step]
    if hasattr(model, "correction"):
        dx, dy, dz = model.correction(x, y, heights)
    else:
        (dx, dy), dz = model.predict(x, y), model.predict_dz(x, y)
    if fit.details.biases:
        dz = dz + (xcoreg.correct_bias(scene.tgt, fit) - scene.tgt).values[step]
    unit = metres(scene)
    wide = np.sqrt(np.nanmean(((dx - truth[0]) * unit[0]) ** 2 + ((dy - truth[1]) * unit[1]) ** 2))
    return float(wide), float(np.sqrt(np.nanmean((dz - truth[2]) ** 2)))


def left(scene: Scene, fit: Any) -> float:
    """NMAD of the differences to the reference that a correction leaves, m."""
    off = (xcoreg.apply(scene.tgt, fit, like=scene.ref) - scene.ref).values[8:-8, 8:-8]
    return float(1.4826 * np.nanmedian(np.abs(off - np.nanmedian(off))))


def scores(scene: Scene, fit: Any) -> np.ndarray:
    """Errors of the shift over their stated sigmas, in the middle of the scene."""
    truth = scene.truth.mean((1, 2))
    found = np.array([fit.shift.dx, fit.shift.dy, fit.shift.dz])
    return np.asarray((found - truth) / np.sqrt(np.diag(fit.shift.cov3)))


def kinds(report: Report, names: list[str], n: int) -> None:
    rows, every = [], []
    for name in names:
        wide, high, over, z, flagged, refused, cpu, told = [], [], [], [], 0, 0, 0.0, ""
        for seed in range(n):
            scene = make(name, seed)
            try:
                fit, texts, took = run(scene)
            except (ValueError, TypeError, AttributeError) as error:
                told = f"{type(error).__name__}: {error}"[:90]
                refused += 1
                continue
            cpu += took / n
            flagged += bool(texts or getattr(getattr(fit, "quality", None), "warnings", ()))
            if isinstance(fit, Exception):
                refused += 1
                told = str(fit)[:90]
                continue
            told = told or str((*texts, *fit.quality.warnings, ""))[2:90]
            for into, value in zip((wide, high), error_of(scene, fit), strict=True):
                into.append(value)
            z.append(scores(scene, fit))
            if "bias" in scene.options:
                twin = make(name, seed, plain=True)
                over.append(left(scene, fit) / left(twin, run(twin)[0]))
        row: dict[str, Any] = {"kind": name, "refused": refused, "flagged": flagged}
        if wide:
            size = np.abs(np.array(z))
            if not scene.unmodelled:
                every.append(size)
            row |= {"RMSE xy": _rms(wide), "worst": max(wide), "RMSE z": _rms(high)}
            row |= {"over floor %": 100 * (np.mean(over) - 1)} if over else {}
            row |= {f"z {axis}": _rms(size[:, k]) for k, axis in enumerate(("x", "y", "z"))}
            row |= {"68": 100 * np.mean(size < 1), "95": 100 * np.mean(size < 1.96)}
        row |= {"cpu s": cpu, "reason": told}
        rows.append(row)
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    wanted = list(dict.fromkeys(key for row in rows for key in row))
    report.table(f"Kinds, {n} seeds, m", [{key: row.get(key, "") for key in wanted} for row in rows])
    if every:
        size = np.concatenate(every)
        share = {f"{limit}": [100 * np.mean(size[:, k] < t) for k in range(3)] for limit, t in ((68, 1), (95, 1.96))}
        table = [
            {"axis": axis, "rms z": _rms(size[:, k]), "68": share["68"][k], "95": share["95"][k]}
            for k, axis in enumerate("xyz")
        ]
        report.table("Sigma against error, all kinds without an unmodelled bias", table, "wanted: 0.8 to 1.25, 68, 95")


# Kinds whose sigma is tested on seeds of their own: those of a kind share terrain and errors with those of another.
_CALIBRATED = ("base", "white", "long", "two ranges", "slope noise", "rough", "gentle", "glaciers", "glaciers seen",
               "spikes 10", "void recorded", "GSD 10", "GSD 15", "GSD 50", "lon/lat", "points 500", "points 2000",
               "40 px", "turned 0.5", "tilt deramp")  # fmt: skip


def calibration(report: Report, n: int) -> None:
    """Compare errors with stated sigmas on n independent pairs of each kind."""
    rows, every = [], []
    for k, name in enumerate(_CALIBRATED):
        found = [(scene, run(scene)[0]) for scene in (make(name, 1000 + k * n + i, (220, 260)) for i in range(n))]
        size = np.abs(np.array([scores(scene, fit) for scene, fit in found if not isinstance(fit, Exception)]))
        every.append(size)
        rows.append({"kind": name, "refused": n - len(size)} | _described(size))
        print(rows[-1], flush=True)
    rows.append({"kind": "all", "refused": ""} | _described(np.concatenate(every)))
    report.table(
        f"Sigma against error, {n} independent pairs of each kind", rows, "wanted: rms z 0.8 to 1.25, 68, 95 %"
    )


def speed(report: Report) -> None:
    """Processor time of one pair of 1000 x 1300 px, the better of two runs."""
    both = dem_pair((1000, 1300), shift=(9.2, 2.7, -2.0), glaciers=0.1, seed=3)
    where, rows = {"where": both.stable}, []
    jobs: dict[str, Any] = {
        "shift": lambda: both.tgt.coreg.match(both.ref, matcher="nuth_kaab", **where),
        "rigid": lambda: both.tgt.coreg.match(both.ref, matcher="rigid", **where),
        "blocks of 125 px": lambda: both.tgt.coreg.match_local(both.ref, matcher="nuth_kaab", spacing=125, **where),
    }
    for name, job in jobs.items():
        times = []
        for _ in range(2):
            start = time.process_time()
            fit = job()
            times.append(time.process_time() - start)
        rows.append({"what": name, "cpu s": min(times), "dx": fit.shift.dx - 9.2, "dy": fit.shift.dy - 2.7})
    report.table("Speed, 1000 x 1300 px", rows, "dx, dy: errors, m")


def _described(size: np.ndarray) -> dict[str, float]:
    """Rms z-score and shares within one sigma and 95 %, by axis."""
    out = {f"z {axis}": _rms(size[:, k]) for k, axis in enumerate("xyz")}
    out |= {f"68 {axis}": 100 * float(np.mean(size[:, k] < 1)) for k, axis in enumerate("xyz")}
    return out | {f"95 {axis}": 100 * float(np.mean(size[:, k] < 1.96)) for k, axis in enumerate("xyz")}


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


_MATCHERS: tuple[Any, ...] = ("nuth_kaab", "nuth_kaab:classic", "vertical", ["nuth_kaab", "deramp"], "deramp", "rigid")


def acceptance(report: Report, n: int) -> None:
    rows = []
    for seed in range(n):
        for name, (tgt, ref) in unrelated(seed).items():
            if name in ("flat", "plane", "noise"):
                matchers: tuple[Any, ...] = ("nuth_kaab", "nuth_kaab:classic", ["nuth_kaab", "deramp"], "rigid")
            else:
                matchers = _MATCHERS
            for matcher in (*matchers, "blocks"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        if matcher == "blocks":
                            how = "vertical" if len(matchers) > 4 else "nuth_kaab"
                            tgt.coreg.match_local(ref, matcher=how, spacing=60, window=60)
                        else:
                            tgt.coreg.match(ref, matcher=matcher)
                        rows.append((name, str(matcher), 1, ""))
                    except MatchError as error:
                        rows.append((name, str(matcher), 0, str(error)[:110]))
                    except (CoregError, ValueError) as error:
                        rows.append((name, str(matcher), 0, f"{type(error).__name__} {error}"[:110]))
        print(seed, sum(row[2] for row in rows), "of", len(rows), flush=True)
    pairs = dict.fromkeys((row[0], row[1]) for row in rows)
    table = []
    for pair in pairs:
        own = [row for row in rows if row[:2] == pair]
        table.append({"pair": pair[0], "matcher": pair[1], "accepted": sum(row[2] for row in own), "of": len(own),
                      "reason": own[-1][3]})  # fmt: skip
    report.table("Accepted although nothing is right", table, f"{sum(row[2] for row in rows)} of {len(rows)}")


def main() -> None:
    args = arguments(
        str(__doc__).splitlines()[0],
        parts={"nargs": "*", "default": [], "help": "kinds, 'acceptance', 'calibration', 'speed'; default all"},
        n={"type": int, "default": 10, "help": "number of seeds"},
    )
    report = Report("Kinds of elevation models")
    n = 3 if args.quick else args.n
    names = [name for name in args.parts if name in KINDS] if args.parts else list(KINDS)
    if names:
        kinds(report, names, n)
    if not args.parts or "acceptance" in args.parts:
        acceptance(report, max(4 * n // 5, 1))
    if not args.parts or "calibration" in args.parts:
        calibration(report, 3 * n)
    if not args.parts or "speed" in args.parts:
        speed(report)
    report.write(args.out)


if __name__ == "__main__":
    main()
