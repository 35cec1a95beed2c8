"""Measure the structural matcher, geometries and yield: images that look different, turned, small.

Scenes are overlapping patches of ground with texture, rendered twice: as an optical image, and inverted, with other
tone curves, as edges, radar of 1 and 4 looks, thermal, a map. They are drawn at four times the resolution and sampled
through optics, so that shifts are exact fractions of a pixel. Real bands are paired within one image.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from common import Report, arguments, image, spread
from scipy import fft, ndimage

import xcoreg
from xcoreg.core.matcher import phase_match
from xcoreg.core.matches import Matches
from xcoreg.core.structure import structure_match
from xcoreg.datasets import sentinel2_pair
from xcoreg.simulate import pair, similarity

_DATA = Path(os.environ.get("XCOREG_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
_FINE, _MARGIN, _SIZE = 4, 24, 128
_Q68, _Q95 = 2.2789, 5.9915  # chi square of two degrees
KINDS = ("optical", "inverted", "tone", "reflectance", "edges", "radar 1", "radar 4", "thermal", "map")
_RADAR = ("radar 1", "radar 4")


def patches(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of patches laid over each other, and texture with amplitude 1/f."""
    labels = np.zeros((size, size), int)
    y, x = np.ogrid[:size, :size]
    for label in range(1, int(rng.integers(150, 500))):
        side, (row, col) = np.exp(rng.uniform(np.log(0.02), np.log(0.14))) * size, rng.uniform(0, size, 2)
        turn, flat = rng.uniform(0, np.pi), rng.uniform(0.3, 1)
        part = tuple(slice(int(max(at - 1.5 * side, 0)), int(min(at + 1.5 * side, size))) for at in (row, col))
        dx, dy = x[:, part[1]] - col, y[part[0]] - row
        along, across = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
        square = rng.random() < 0.7
        inside = np.maximum(abs(along), abs(across) / flat) < side
        labels[part][inside if square else along**2 + (across / flat) ** 2 < side**2] = label
    radius = np.hypot(fft.fftfreq(size)[:, None], fft.rfftfreq(size))
    radius[0, 0] = np.inf
    soft = np.exp(-2 * (np.pi * 1.5 * np.where(np.isfinite(radius), radius, 0)) ** 2)
    texture = fft.irfft2(fft.rfft2(rng.standard_normal((size, size))) * soft / radius, (size, size))
    return labels, texture / texture.std()


def render(kind: str, rng: np.random.Generator, labels: np.ndarray, texture: np.ndarray, level: np.ndarray) -> Any:
    """Ground as one kind of image sees it."""
    optical, other = level[labels] + 0.6 * texture, rng.standard_normal(len(level))[labels]
    if kind == "edges":
        slopes = (ndimage.gaussian_filter(optical, 2, order=order) for order in ((0, 1), (1, 0)))
        return 4 * np.hypot(*slopes)
    return {
        "optical": optical,
        "inverted": -optical,
        "tone": np.sin(1.3 * optical) + 0.3 * optical,
        "reflectance": other + 0.6 * texture * rng.choice([-1, 1], len(level))[labels],
        "radar 1": np.exp(0.5 * other + 0.15 * texture),
        "radar 4": np.exp(0.5 * other + 0.15 * texture),
        "thermal": ndimage.gaussian_filter(other + 0.2 * texture, 1.2 * _FINE),
        "map": rng.uniform(0, 1, 6)[rng.integers(0, 6, len(level))[labels]],
    }[kind]


def sampled(kind: str, rng: np.random.Generator, fine: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Move by a fraction of pixels, sample through optics, add noise or speckle."""
    size = len(fine)
    fy, fx = fft.fftfreq(size)[:, None] * _FINE, fft.rfftfreq(size) * _FINE
    optics = np.exp(-2 * (np.pi * 0.45) ** 2 * (fx**2 + fy**2)) * np.sinc(fx) * np.sinc(fy)
    ramp = np.exp(2j * np.pi * (fx * move[0] + fy * move[1]))
    out = fft.irfft2(fft.rfft2(fine) * optics * ramp, fine.shape)[::_FINE, ::_FINE]
    if kind in _RADAR:
        looks = int(kind[-1])
        return np.maximum(out, 1e-3) * np.sqrt(rng.gamma(looks, 1 / looks, out.shape))
    return out + 0.05 * out.std() * rng.standard_normal(out.shape)


def rendered(task: tuple[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Target, reference and correction (col, row) of one pair, with margins."""
    kind, seed = task
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    labels, texture = patches(rng, (_SIZE + 2 * _MARGIN) * _FINE)
    level, move = rng.standard_normal(labels.max() + 1), rng.uniform(-8, 8, 2)
    ref = sampled("optical", rng, render("optical", rng, labels, texture, level), np.zeros(2))
    tgt = sampled(kind, rng, render(kind, rng, labels, texture, level), move)
    return tgt.astype(np.float32), ref.astype(np.float32), move


def cut_again(tgts: Any, refs: Any, valid: np.ndarray) -> tuple[Matches, np.ndarray]:
    """Match windows, and again with the reference cut at the answer, as `match` does; whole corrections."""
    middle = slice(_MARGIN, _MARGIN + _SIZE)
    windows, full = np.stack([one[middle, middle] for one in tgts]), np.ones_like(valid)
    first = structure_match(windows, np.stack([one[middle, middle] for one in refs]), valid, full)
    move = np.nan_to_num(np.rint(np.stack([first.dcol, first.drow], -1)))
    move = np.where(np.abs(move).max(1)[:, None] < _MARGIN, move, 0).astype(int)
    again = [
        one[_MARGIN + down : _MARGIN + down + _SIZE, _MARGIN + across : _MARGIN + across + _SIZE]
        for one, (across, down) in zip(refs, move.tolist(), strict=True)
    ]
    second = structure_match(windows, np.stack(again), valid, full)
    return second, move + np.stack([second.dcol, second.drow], -1)


def scores(matches: Matches, off: np.ndarray) -> dict[str, Any]:
    """Accuracy and calibration of windows, from their errors (n, 2), px."""
    ok, length = matches.ok, np.hypot(*off.T)
    square = np.einsum("ni,nij,nj->n", off[ok], np.linalg.inv(matches.cov[ok]), off[ok])
    return {
        "within 1 px %": 100 * float((length < 1).mean()),
        "accepted %": 100 * float(ok.mean()),
        "accepted, wrong": int((length[ok] > 1).sum()),
        "RMSE": float(np.sqrt((off[ok] ** 2).mean())) if ok.any() else None,
        "error / sigma": float(np.sqrt(square.mean() / 2)) if ok.any() else None,
        "68 %": 100 * float((square <= _Q68).mean()) if ok.any() else None,
        "95 %": 100 * float((square <= _Q95).mean()) if ok.any() else None,
    }


def cross_modal(kind: str, n: int, seed: int, jobs: int) -> list[dict[str, Any]]:
    """Rows for whole windows and for windows of which half is missing in the target."""
    drawn = spread(rendered, [(kind, seed + i) for i in range(n)], jobs, kind)
    tgts, refs, truth = (list(part) for part in zip(*drawn, strict=True))
    rng = np.random.default_rng(seed)
    blobs = [ndimage.gaussian_filter(rng.standard_normal((_SIZE, _SIZE)), 20) > 0 for _ in range(n)]
    rows = []
    for name, valid in (("all", np.ones((n, _SIZE, _SIZE), bool)), ("half masked", np.stack(blobs))):
        matches, move = cut_again(tgts, refs, valid)
        rows.append({"kind": kind, "pixels": name, **scores(matches, move - np.array(truth))})
    middle = slice(_MARGIN, _MARGIN + _SIZE)
    one, two = (np.stack([image[middle, middle] for image in side]) for side in (tgts, refs))
    full = np.ones(one.shape, bool)
    plain = phase_match(one, two, full, full, contrast="any")
    off = np.hypot(plain.dcol - np.array(truth)[:, 0], plain.drow - np.array(truth)[:, 1])
    rows[0]["phase within 1 px %"] = 100 * float((off < 1).mean())
    return rows


def striped(kind: str, size: float, n: int, seed: int, jobs: int) -> dict[str, Any]:
    """Row for windows with columns of pixels that a sensor has changed alike in both images."""
    drawn = spread(rendered, [(kind, seed + i) for i in range(n)], jobs, f"{kind}, stripes")
    tgts, refs, truth = (np.array(part) for part in zip(*drawn, strict=True))
    stripes = np.random.default_rng(seed).standard_normal((n, 1, tgts.shape[2])).astype(np.float32)
    tgts, refs = (one + size * one.std((1, 2), keepdims=True) * stripes for one in (tgts, refs))
    matches, move = cut_again(tgts, refs, np.ones((n, _SIZE, _SIZE), bool))
    return {"kind": kind, "stripes": size, **scores(matches, move - truth)}


_BANDS = (
    ("naip/m_4709963_se_14_1_20180716.tif", 1, 4),
    ("naip/m_4709963_se_14_1_20180716.tif", 3, 4),
    ("l9_s2_cross_zone/2023-10-09-22-28-02_S2_ms.tif", 1, 5),
    ("s2_known_shift/sen2_20210527_aber_subset.tif", 1, 8),
    ("s2_known_shift/sen2_20210527_aber_subset.tif", 3, 10),
    ("aerial_s2_l8_south_africa/ngi_rgb_byte_1.tif", 1, 3),
    ("aerial_s2_l8_south_africa/landsat8_byte.tif", 1, 4),
)


def bands(path: str, one: int, two: int, n: int, size: int, seed: int) -> dict[str, Any] | None:
    """Match crops of two bands of an image, moved by whole pixels, with `match` by intensities and by default."""
    if not (_DATA / path).exists():
        return None
    with rasterio.open(_DATA / path) as file:
        first, second = (file.read(band).astype(np.float32) for band in (one, two))
    if min(first.shape) < size + 30:
        return None
    rng, found = np.random.default_rng(seed), {"phase": [], "auto": []}
    drawn = 0
    for _ in range(50 * n):
        row, col = (int(rng.integers(12, side - size - 12)) for side in first.shape)
        across, down = (int(one) for one in rng.integers(-10, 11, 2))
        tgt = first[row : row + size, col : col + size]
        ref = second[row + down : row + down + size, col + across : col + across + size]
        if min((tgt > 0).mean(), (ref > 0).mean()) < 0.99 or drawn == n:
            continue
        drawn += 1
        for name, results in found.items():
            fit = xcoreg.match(image(tgt), image(ref), matcher=name, errors="return")
            off = np.hypot(fit.shift.dcol + across, fit.shift.drow + down) if fit.ok else np.nan
            results.append(off)
    row = {"bands": f"{path.split('/')[0]}, {one} to {two}", "px": size, "pairs": drawn}
    for name, off in found.items():
        values = np.array(off)
        row[f"{name}: refused %"] = 100 * float(np.isnan(values).mean())
        row[f"{name}: off by > 1 px"] = int((values > 1).sum())
        row[f"{name}: median px"] = float(np.nanmedian(values)) if np.isfinite(values).any() else None
    return row


def geometry(task: tuple[int, float, float, float, int]) -> tuple[float, float, str, float]:
    """Status and RMSE (target px) over the image of a turned, scaled and moved scene."""
    size, degrees, scale, move, seed = task
    turn = similarity((size, size), degrees=degrees, scale=scale, shift=(move, -move))
    both = pair((size, size), shift=turn, snr_db=20, seed=seed)
    fit = xcoreg.match(both.tgt, both.ref, geometry="similarity", errors="return")
    if not fit.ok or fit.model is None:
        return degrees, scale, fit.status.name, float("nan")
    rows, cols = np.mgrid[0:size:20, 0:size:20].astype(float)
    x, y = fit.grid.affine @ (cols + 0.5, rows + 0.5)
    dx, dy = fit.model.predict(x, y)
    dcol, drow = turn(rows, cols)
    return degrees, scale, "OK", float(np.sqrt(np.mean((dx / 10 - dcol) ** 2 + (-dy / 10 - drow) ** 2)))


def bundled(task: tuple[float, float, float]) -> tuple[float, float, str, float]:
    """Status and RMSE (px) of the bundled pair under a wrong georeference, against what the right one gives.

    Only the transform of the target is turned, scaled and moved; its pixels are the same, and so should be its place.
    """
    degrees, scale, move = task
    ref, tgt = sentinel2_pair()
    right, (rows, cols) = tgt.rio.transform(), tgt.shape[1:]
    middle = right @ (cols / 2, rows / 2)
    about = Affine.translation(*middle) @ Affine.rotation(degrees) @ Affine.scale(scale) @ ~Affine.translation(*middle)
    shift = 10 * move / np.sqrt(2)
    wrong = Affine.translation(shift, -shift) @ about @ right
    given = [image(tgt.values[0], nodata=tgt.rio.nodata, transform=one, crs=tgt.rio.crs) for one in (right, wrong)]
    fits = [xcoreg.match(one, ref, geometry="similarity", errors="return") for one in given]
    if any(not fit.ok or fit.model is None for fit in fits):
        return degrees, scale, fits[1].status.name, float("nan")
    at = [np.stack(one @ tuple(np.mgrid[0.5:cols:20, 0.5:rows:20])) for one in (right, wrong)]
    ends = [place + np.stack(fit.model.predict(*place)) for fit, place in zip(fits, at, strict=True)]
    return degrees, scale, "OK", float(np.sqrt(np.mean(np.sum((ends[1] - ends[0]) ** 2, 0)))) / 10


def main() -> None:
    parts = ("cross-modal", "stripes", "bands", "geometry")
    more: dict[str, dict[str, Any]] = {
        "parts": {"nargs": "*", "default": list(parts), "help": f"of {', '.join(parts)}"},
        "turns": {"type": int, "default": 5, "help": "simulated scenes of each rotation and scale"},
        "pairs": {"type": int, "default": 100, "help": "windows of each kind"},
        "jobs": {"type": int, "default": 1},
    }
    args = arguments(__doc__ or "", **more)
    warnings.simplefilter("ignore")
    report, n = Report("Images that look different, and turned ones"), 12 if args.quick else args.pairs
    if "cross-modal" in args.parts:
        rows = [row for kind in KINDS for row in cross_modal(kind, n, args.seed, args.jobs)]
        report.table("Windows of 128 px, matcher='structure'", rows, "Wanted: 90 % within 1 px; RMSE 0.15, radar 0.3.")
    if "stripes" in args.parts:
        kinds = ("inverted", "tone", "reflectance", "edges", "map")
        rows = [striped(kind, size, n, args.seed, args.jobs) for kind in kinds for size in (0.1, 0.3, 1.0)]
        report.table("The same under stripes of the sensor, in contrasts of the scene", rows, "Wanted: none wrong.")
    if "bands" in args.parts:
        rows = [bands(*one, max(n // 4, 6), size, args.seed) for size in (100, 256) for one in _BANDS]
        report.table("Band to band, real images, `match`", [row for row in rows if row], "Wanted: at most 3 % refused.")
    if "geometry" in args.parts:
        cells = [(d, s) for d in (10.0, 45.0, 90.0, 180.0) for s in (0.7, 1.0, 1.4)]
        each = 1 if args.quick else args.turns
        tasks = [(600, d, s, 200 / np.sqrt(2), args.seed + i) for d, s in cells for i in range(each)]
        note = "Wanted: 95 % recovered, RMSE 0.03 px."
        for name, function, todo in (
            ("Simulated scenes of 600 px, 20 dB", geometry, tasks),
            ("The bundled pair under a wrong georeference", bundled, [(d, s, 200.0) for d, s in cells]),
        ):
            found = spread(function, todo, args.jobs, "geometry")
            report.table(f"{name}: rotation, scale and a shift of 200 px", geometry_rows(cells, found), note)
    report.write(args.out)


def geometry_rows(
    cells: list[tuple[float, float]], found: list[tuple[float, float, str, float]]
) -> list[dict[str, Any]]:
    """Count what was recovered of each rotation and scale."""
    rows = []
    for cell in cells:
        own = [one for one in found if one[:2] == cell]
        off = [one[3] for one in own if one[2] == "OK"]
        states = ", ".join(f"{count} {name}" for name, count in Counter(one[2] for one in own).items())
        row = {"degrees": cell[0], "scale": cell[1], "status": states}
        rows.append(row | {"median RMSE px": float(np.median(off)) if off else None, "worst": max(off, default=None)})
    return rows


if __name__ == "__main__":
    main()
