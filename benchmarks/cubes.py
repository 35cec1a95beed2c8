"""Time cubes: errors of dates against the truth, planted outliers, order and datum, 500 dates; real ones: series.py."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from common import Report, arguments, spread
from process import attempt
from scipy import ndimage

import xcoreg
from xcoreg.errors import CoregError, CoregWarning
from xcoreg.simulate import cube

_DATES, _SIDE, _SNR = 30, 512, 15.0


def accuracy(seed: int) -> dict[str, Any]:
    """One cube: the network, and each date matched with the first."""
    made = cube(_DATES, (_SIDE, _SIDE), snr_db=_SNR, clouds=0.3, season=0.3, seed=seed)
    stack = xcoreg.match_stack(made.cube)
    truth = made.shifts - made.shifts.mean(0)
    off = stack.shifts_px - truth
    sigma = np.sqrt(np.diagonal(stack.covs_px, axis1=1, axis2=2))
    alone = np.full((_DATES, 2), np.nan)
    alone[0] = 0
    for date in range(1, _DATES):
        try:
            shift = made.cube[date].coreg.match(made.cube[0]).shift
        except CoregError:
            continue
        alone[date] = np.array([shift.dcol, shift.drow]) - (made.shifts[date] - made.shifts[0])
    found = np.isfinite(alone[:, 0])
    # Dates that cannot be matched with the first one stay where they are.
    every = np.where(found[:, None], alone, made.shifts[0] - made.shifts)
    alone = alone[found]
    # The same ground without noise and clouds: what the season alone makes, which no match of dates can take away.
    clear = cube(_DATES, (_SIDE, _SIDE), snr_db=60.0, clouds=0.0, season=0.3, shifts=made.shifts, seed=seed).cube
    floor = xcoreg.match_stack(clear).shifts_px - truth
    least, pairs = noise_bounds(clear.values.astype(float), ~made.clouds.values.astype(bool))
    return {
        "seed": seed,
        "placed": len(stack.placed),
        "pairs": len(stack.pairs),
        "normalised": (off / sigma).ravel().tolist(),
        "mean": rms(off),
        "first": rms(off[1:] - off[0]),
        "alone": rms(alone[1:]),
        "alone, every date": rms(every[1:]),
        "alone, mean": rms(alone - alone.mean(0)),
        "season, mean": rms(floor),
        "season, first": rms(floor[1:] - floor[0]),
        "noise, first": least,
        "noise, alone": pairs,
        "failed alone": int((~found).sum()),
        "ratio": (stack.quality.ratio_x, stack.quality.ratio_y),
        "triangles": (stack.quality.triangle_x, stack.quality.triangle_y),
    }


def coverage(seed: int) -> dict[str, Any]:
    """Errors of the dates of one cube in their standard deviations: the network alone."""
    made = cube(_DATES, (_SIDE, _SIDE), snr_db=_SNR, clouds=0.3, season=0.3, seed=seed)
    stack = xcoreg.match_stack(made.cube)
    off = stack.shifts_px - made.shifts + made.shifts.mean(0)
    size = np.abs(off) / np.sqrt(np.diagonal(stack.covs_px, axis1=1, axis2=2))
    quality = stack.quality
    row = {
        "seed": seed, "placed": len(stack.placed), "RMSE, px": rms(off), "within 1 sigma, %": 100 * (size < 1).mean(),
        "within 1.96 sigma, %": 100 * (size < 1.96).mean(), "largest, sigma": size.max(), "mean square": rms(size) ** 2,
        "chi2/dof": f"{quality.ratio_x:.2f}, {quality.ratio_y:.2f}",
        "triangles": f"{quality.triangle_x:.2f}, {quality.triangle_y:.2f}",
    }  # fmt: skip
    print(*(f"{name}: {one}" for name, one in row.items()), sep="; ", flush=True)
    return row


def noise_bounds(clear: np.ndarray, seen: np.ndarray) -> tuple[float, float]:
    """Least RMSE, px, that noise allows (Cramer-Rao) with the first date in place: of a network, and of pairs with it.

    In a pair both images have noise, and only what both see counts; partners of a network see the rest.
    """
    noise = clear.var((1, 2)) * 10 ** (-_SNR / 10)
    detail = np.mean([np.gradient(clear, axis=axis) ** 2 for axis in (1, 2)], axis=0)
    own = noise / (detail * seen).sum((1, 2))
    both = (noise[1:] + noise[0]) / (detail[1:] * seen[1:] * seen[0]).sum((1, 2))
    return float(np.sqrt((own[1:] + own[0]).mean())), float(np.sqrt(both.mean()))


def rms(values: Any) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


_READINGS = (
    "mean", "first", "alone", "alone, every date", "alone, mean", "season, mean", "season, first", "noise, first",
    "noise, alone",
)  # fmt: skip


def tell_accuracy(report: Report, cubes: list[dict[str, Any]]) -> None:
    """Tables of point 1."""
    rows = [
        {
            "seed": one["seed"],
            "placed": one["placed"],
            "pairs": one["pairs"],
            "network, mean stays": one["mean"],
            "network, first stays": one["first"],
            "each to the first": one["alone"],
            "not matched with it": one["failed alone"],
            "the same about its mean": one["alone, mean"],
            "season alone, first stays": one["season, first"],
            "largest sigma": float(np.abs(one["normalised"]).max()),
            "chi2/dof x": one["ratio"][0],
            "chi2/dof y": one["ratio"][1],
            "triangles x": one["triangles"][0],
            "triangles y": one["triangles"][1],
        }
        for one in cubes
    ]
    report.table(f"{_DATES} dates of {_SIDE} px, {_SNR:.0f} dB, 30 % clouds, seasons", rows)
    size = np.abs(np.concatenate([one["normalised"] for one in cubes]))
    summary = {
        "dates x axes": size.size,
        "within 1 sigma, % (68)": 100 * float((size < 1).mean()),
        "within 1.96 sigma, % (95)": 100 * float((size < 1.96).mean()),
        "beyond 3 sigma": int((size > 3).sum()),
        "largest": float(size.max()),
        "mean square (1)": float((size**2).mean()),
    }
    report.table("All cubes", [summary])
    r = {name: rms([one[name] for one in cubes]) for name in _READINGS}
    readings = (
        ("each as it is given: network in the mean datum, matching to the first", "mean", "alone"),
        ("both about their mean", "mean", "alone, mean"),
        ("both with the first date in place", "first", "alone"),
        ("the same, dates that do not match the first stay as they are", "first", "alone, every date"),
        ("the least in the mean datum: no noise, no clouds, season alone", "season, mean", "alone"),
        ("the least with the first in place", "season, first", "alone"),
        ("Cramer-Rao bounds of both by noise, the first in place", "noise, first", "noise, alone"),
    )
    rows = [
        {"comparison": text, "RMSE, px": r[one], "each to the first, px": r[other], "ratio": r[one] / r[other]}
        for text, one, other in readings
    ]
    report.table("RMSE of all cubes beside matching each date to the first", rows)


def outliers(seed: int) -> dict[str, Any]:
    """Five pairs moved by 2 px and one date of another place: what is flagged."""
    stranger = seed % _DATES
    made = cube(_DATES, (_SIDE // 2, _SIDE // 2), snr_db=_SNR, clouds=0.2, strangers=(stranger,), seed=seed)
    stack = xcoreg.match_stack(made.cube)
    rng = np.random.default_rng(seed)
    good = np.flatnonzero(stack.pairs.accepted)
    bad = rng.choice(good, 5, replace=False)
    angle = rng.uniform(0, 2 * np.pi, 5)
    dcol, drow = stack.pairs.dcol.copy(), stack.pairs.drow.copy()
    dcol[bad] += 2 * np.cos(angle)
    drow[bad] += 2 * np.sin(angle)
    moved = stack.adjusted(stack.dates, replace(stack.pairs, dcol=dcol, drow=drow), "mean")
    flagged = set(np.flatnonzero(moved.pairs.outlier).tolist())
    own = (stack.pairs.target == stranger) | (stack.pairs.reference == stranger)
    left = [at for at in range(_DATES) if at != stranger]
    truth = made.shifts[left] - made.shifts[left].mean(0)
    return {
        "seed": seed,
        "planted pairs flagged (5)": len(flagged & set(bad.tolist())),
        "other pairs flagged (0)": len([at for at in flagged - set(bad.tolist()) if not own[at]]),
        "dates refused": ", ".join(str(moved.names.index(one.name)) for one in moved.refused),
        "the other place": stranger,
        "RMSE of the others, px": float(np.sqrt(np.nanmean((moved.shifts_px[left] - truth) ** 2))),
    }


def invariance(seed: int) -> list[dict[str, Any]]:
    """Largest change of relative corrections, px, under another order, datum and chunks."""
    made = cube(12, (256, 256), snr_db=20, clouds=0.2, seed=seed).cube
    base = xcoreg.match_stack(made)

    def change(other: Any, order: Any = slice(None)) -> float:
        moved = np.empty_like(base.shifts_px)
        moved[order] = other.shifts_px
        off = moved - base.shifts_px
        return float(np.abs(off - off.mean(0)).max())

    shuffled = np.random.default_rng(seed).permutation(12)
    backwards = np.arange(12)[::-1]
    return [
        {"what": "dates backwards", "px": change(xcoreg.match_stack(made[backwards]), backwards)},
        {"what": "dates shuffled", "px": change(xcoreg.match_stack(made[shuffled]), shuffled)},
        {"what": "as a shuffled list", "px": change(xcoreg.match_stack([made[at] for at in shuffled]), shuffled)},
        {"what": "datum a date", "px": change(xcoreg.match_stack(made, datum="2020-03-25"))},
        {"what": "datum changed later", "px": change(base.with_datum("2020-03-25"))},
        {"what": "chunks 1 x 100 x 100", "px": change(xcoreg.match_stack(made.chunk(time=1, y=100, x=100)))},
        {"what": "chunks 5 x 64 x 256", "px": change(xcoreg.match_stack(made.chunk(time=5, y=64, x=256)))},
        *_reference_and_fields(made[:6]),
    ]


def _reference_and_fields(made: xr.DataArray) -> list[dict[str, Any]]:
    """Measure the same for a reference image, and for fields the largest change at nine places, px."""
    onto = xcoreg.match_stack(made[1:], made[0]).shifts_px
    order = np.array([3, 0, 4, 2, 1])
    other = xcoreg.match_stack([made[1:][at] for at in order], made[0].chunk(y=100, x=90)).shifts_px
    options: dict[str, Any] = {"window": 64, "spacing": 48, "model": "affine", "partners": 5}
    x, y = (part.ravel() for part in np.meshgrid(made.x.values[40:220:80], made.y.values[40:220:80]))

    def fields(stack: Any, inverse: Any = slice(None)) -> np.ndarray:
        return np.array([np.stack(one.model.predict(x, y)) / 10 for one in stack.fields])[inverse]

    def at_ground(stack: Any) -> np.ndarray:
        # Where the ground at the nine places is in each date, by the fields of the first stack.
        out = []
        for own, one in zip(base.fields, stack.fields, strict=True):
            at = np.stack([x, y])
            for _ in range(20):
                at = np.stack([x, y]) - np.stack(own.model.predict(*at))
            out.append(np.stack(one.model.predict(*at)) / 10)
        return np.array(out)

    base = xcoreg.match_stack_local(made, **options)
    order6, plain = np.array([5, 2, 0, 4, 1, 3]), fields(base)
    shuffled = fields(xcoreg.match_stack_local(made[order6], **options), np.argsort(order6))
    chunked = fields(xcoreg.match_stack_local(made.chunk(time=4, y=100, x=70), **options))
    named = xcoreg.match_stack_local(made, datum=2, **options)
    moved = at_ground(base) - at_ground(named)
    moved, same = moved - moved.mean(0), plain - fields(named)
    return [
        {"what": "reference image, shuffled list, chunks", "px": float(np.abs(other - onto[order]).max())},
        {"what": "fields, dates shuffled", "px": float(np.abs(shuffled - plain).max())},
        {"what": "fields, chunks 4 x 100 x 70", "px": float(np.abs(chunked - plain).max())},
        {"what": "fields, datum a date, of the same ground", "px": float(np.abs(moved).max())},
        {"what": "fields, datum a date, at the same position", "px": float(np.abs(same - same.mean(0)).max())},
    ]


_FIELDS: dict[str, dict[str, Any]] = {
    "season": {"season": 0.3, "clouds": 0.2, "snr_db": 15},
    "much season": {"season": 0.6, "clouds": 0.0, "snr_db": 20},
    "noise": {"season": 0.0, "clouds": 0.0, "snr_db": 10},
    "bent": {"season": 0.3, "clouds": 0.2, "snr_db": 15},
}


def fields(item: tuple[str, int]) -> dict[str, Any]:
    """Errors of the fields of 8 dates of 384 px at 81 places over what is predicted of them; bent: by polynomials."""
    name, seed = item
    made = cube(8, (384, 384), seed=seed, **_FIELDS[name])
    rows, cols = np.indices((384, 384))
    u, v = cols / 192 - 1, rows / 192 - 1
    coef = np.random.default_rng(seed).normal(0, 1.0, (8, 2, 5)) * (name == "bent")
    bend = np.tensordot(coef, np.stack([u, v, u * u, u * v, v * v]), 1)
    images = made.cube
    if name == "bent":
        images = made.cube.copy(data=np.stack([_bent(*one) for one in zip(made.cube.values, bend, strict=True)]))
    stack = xcoreg.match_stack_local(images, window=128, spacing=64)
    at = [number for number, one in enumerate(stack.fields) if one is not None]
    row, col = (part.ravel() for part in np.meshgrid(np.arange(70, 320, 30), np.arange(70, 320, 30)))
    place = images.x.values[col], images.y.values[row]
    truth = bend[at][:, :, row, col] + made.shifts[at][:, :, None]
    found = np.array([np.stack(stack.fields[one].model.predict(*place)) for one in at])  # type: ignore[union-attr]
    covs = [stack.fields[one].model.predict_cov(*place) for one in at]  # type: ignore[union-attr]
    off = found / 10 * np.array([1, -1])[:, None] - truth
    off -= off.mean(0)
    chi2 = (off**2 / (np.diagonal(covs, axis1=2, axis2=3).transpose(0, 2, 1) / 100)).mean((1, 2))
    return {
        "stack": name, "seed": seed, "fields": len(at), "RMSE, px": rms(off), "chi2": float(chi2.mean()),
        "largest of a date": float(chi2.max()),
    }  # fmt: skip


def _bent(image: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Image with its content moved by corrections (2, rows, cols), px; clouds and nodata as they are."""
    rows, cols = np.indices(image.shape)
    at = [rows + bend[1], cols + bend[0]]
    missing = ndimage.map_coordinates((image == 0).astype(float), at, order=1) > 0
    values = ndimage.map_coordinates(image.astype(float), at, order=3, mode="reflect")
    return np.where(missing, 0, np.clip(np.rint(values), 1, None)).astype(image.dtype)


def large(dates: int, side: int) -> None:
    """Match and apply a lazy cube in this process; print numbers of pairs. For `scaling`."""
    import time

    import dask.array as da

    small = cube(8, (side, side), clouds=0.2, snr_db=20, seed=1)
    values = [da.from_array(one, chunks=(side, side)) for one in small.cube.values]
    rolls = np.random.default_rng(0).integers(-3, 4, (dates, 2))
    layers = [
        da.map_blocks(_rolled, values[at % 8], tuple(rolls[at].tolist()), at, dtype="uint16") for at in range(dates)
    ]
    times = np.datetime64("2015-01-01", "ns") + np.arange(dates) * np.timedelta64(5, "D")
    coords = {name: small.cube.coords[name] for name in ("y", "x", "spatial_ref")}
    big = xr.DataArray(da.stack(layers), {**coords, "time": times}, ("time", "y", "x"), attrs=small.cube.attrs)
    start = time.process_time()
    stack = xcoreg.match_stack(big)
    matched = time.process_time() - start
    start = time.process_time()
    big.coreg.apply(stack)
    print(len(stack.pairs), len(stack.placed), matched, time.process_time() - start)


def _rolled(block: np.ndarray, shift: tuple[int, int], seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 20, block.shape)
    return (np.roll(block, shift, (0, 1)) + noise).clip(1, 65535).astype("uint16")


def scaling(report: Report, sizes: list[int], side: int) -> None:
    """Point 5: pairs, processor time and memory against the number of dates."""
    rows = []
    for dates in sizes:
        run = attempt(sys.executable, __file__, "--one", f"{dates},{side}")
        pairs, placed, matched, applied = (float(part) for part in run.text.split()[-4:])
        rows.append({
            "dates": dates, "placed": int(placed), "pairs": int(pairs), "pairs / date": pairs / dates,
            "matching, CPU s": matched, "graph of apply, CPU s": applied, "peak memory, MB": run.megabytes,
        })  # fmt: skip
    report.table(f"Lazy cubes of {side} x {side} px, one chunk a date", rows)


def main() -> None:
    """Run what was asked for."""
    chosen = arguments(
        __doc__ or "",
        cubes={"type": int, "default": 20, "help": "cubes of point 1"},
        jobs={"type": int, "default": 1},
        parts={"default": "accuracy,outliers,invariance,fields,scaling"},
        one={"default": "", "help": "dates,side of one lazy cube: used by this program itself"},
    )
    warnings.simplefilter("ignore", CoregWarning)
    if chosen.one:
        large(*map(int, chosen.one.split(",")))
        return
    report, parts = Report("Time cubes"), chosen.parts.split(",")
    number = 2 if chosen.quick else chosen.cubes
    if "accuracy" in parts:
        tell_accuracy(report, spread(accuracy, [chosen.seed + at for at in range(number)], chosen.jobs, "cubes"))
    if "coverage" in parts:
        rows = spread(coverage, [chosen.seed + at for at in range(number)], chosen.jobs, "cubes")
        report.table(f"The network alone: {_DATES} dates of {_SIDE} px, {_SNR:.0f} dB, 30 % clouds, seasons", rows)
    if "outliers" in parts:
        rows = spread(outliers, [chosen.seed + at for at in range(max(number // 2, 2))], chosen.jobs, "outliers")
        report.table("Five pairs off by 2 px, one date of another place", rows)
    if "invariance" in parts:
        report.table("Change of relative corrections", [
            {**row, "px": f"{row['px']:.1e}"} for row in invariance(chosen.seed)
        ])  # fmt: skip
    if "fields" in parts:
        items = [(name, chosen.seed + at) for name in _FIELDS for at in range(1 if chosen.quick else 3)]
        report.table("Errors of fields over what is predicted", spread(fields, items, chosen.jobs, "stacks"))
    if "scaling" in parts:
        sizes = [20, 40] if chosen.quick else [125, 250, 500]
        scaling(report, sizes, 256 if chosen.quick else 1000)
    report.write(chosen.out)


if __name__ == "__main__":
    main()
