"""Count the real pairs that are refused though they can be matched, and those that are answered wrongly.

Crops of the pairs whose correction is known are taken at random places, at several pixel sizes, and the target is moved
by a planted shift. A pair counts as matchable where another, slower method finds the truth within 1.5 px: the
normalised cross-correlation of intensities or of gradient strengths at all lags within 12 px, on one grid. It counts as
clear where nothing further than 4 px away reaches three quarters of that correlation, as far as `match` has to search
(two fifths of the side): elsewhere the truth is the best guess, which nobody who does not know it could stand for.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import Report, arguments, spread
from rasterio.enums import Resampling
from real import PAIRS
from scipy import fft

import xcoreg

_FOLDER = Path(os.environ.get("XCOREG_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
_PLANTED, _SEARCHED, _FOUND, _WRONG = 6, 12, 1.5, 1.0  # px of the target
_LOBE, _RIVAL, _REACH = 4, 0.75, 0.4  # px; share of the highest correlation; share of the side


class Kind(NamedTuple):
    """A kind of pairs: paths, known correction (map units), bands that are paired, decimation, side of the crop."""

    name: str
    ref: str
    tgt: str
    correction: tuple[float, float]
    bands: tuple[tuple[int, int], ...]
    by: int
    size: int


def _kinds() -> list[Kind]:
    known = {one.name: one for one in PAIRS}
    out = []

    def add(name: str, pair: str, *cells: tuple[int, int], bands: tuple[tuple[int, int], ...] | None = None) -> None:
        one = known[pair]
        for by, size in cells:
            label = f"{name}, {size} px" + (f", every {by} averaged" if by > 1 else "")
            out.append(Kind(label, one.ref, one.tgt, one.correction, bands or one.bands, by, size))

    add("two dates of Sentinel-2", "S2 to S2, Germany", (1, 64), (1, 100), (1, 200), (6, 100), (12, 100), (25, 70))
    add("two years of NAIP", "NAIP 2019 to 2018", (1, 64), (1, 100), (1, 200), (4, 100), (10, 80))
    add("NAIP, other bands of another year", "NAIP 2019 to 2018", (1, 100), (1, 200), bands=((1, 4), (4, 3), (2, 4)))
    add("aerial to Sentinel-2", "aerial 1 to S2", (1, 200), (1, 300))
    add("Sentinel-2 to Landsat-8", "S2 to Landsat-8", (1, 200), (1, 400))
    add("coast, two sensors and zones", "Landsat-9 to S2, two zones", (1, 100), (1, 200))
    add("coast, the other way", "S2 to Landsat-9, two zones", (1, 150), (1, 300))
    strip = known["aerial 1 to S2"], known["aerial 2 to S2"]
    apart = (strip[0].correction[0] - strip[1].correction[0], strip[0].correction[1] - strip[1].correction[1])
    one, other = (side.tgt for side in strip)
    out += [Kind(f"aerial of one strip, {n} px", other, one, apart, strip[0].bands, 1, n) for n in (100, 200)]
    for name, path, pairs in (
        ("NAIP", "naip/m_4709963_se_14_1_20180716.tif", ((1, 4), (2, 4), (1, 3))),
        ("Sentinel-2 coast", "l9_s2_cross_zone/2023-10-09-22-28-02_S2_ms.tif", ((1, 5), (2, 4), (1, 4))),
        ("Sentinel-2", "s2_known_shift/sen2_20210527_aber_subset.tif", ((1, 8), (3, 10), (3, 7))),
        ("Landsat-8", "aerial_s2_l8_south_africa/landsat8_byte.tif", ((1, 4), (2, 4))),
        ("aerial", "aerial_s2_l8_south_africa/ngi_rgb_byte_1.tif", ((1, 3),)),
    ):
        out += [Kind(f"band to band, {name}, {size} px", path, path, (0.0, 0.0), pairs, 1, size) for size in (100, 200)]
    return out


def trial(task: tuple[Kind, int]) -> tuple[str, int, str, float, str] | None:
    """Name, whether matchable (1) or clear (2), status, error (px of the target), bands of a crop; None if empty."""
    kind, seed = task
    rng = np.random.default_rng([seed, *kind.name.encode()])
    tgt, ref = (xcoreg.open_raster(_FOLDER / path) for path in (kind.tgt, kind.ref))
    if kind.by > 1:
        tgt, ref = (_averaged(one, kind.by) for one in (tgt, ref))
    band, ref_band = kind.bands[int(rng.integers(len(kind.bands)))]
    for _ in range(40):
        pair = _crop(rng, kind, tgt[[band - 1]], ref[[ref_band - 1]])
        if pair is not None:
            break
    else:
        return None
    tgt, ref, truth = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = xcoreg.match(tgt, ref, errors="return")
        seen = matchable(tgt, ref, truth)
    pixel = np.abs(np.array(tgt.rio.resolution()))
    off = np.hypot(*((np.array([fit.shift.dx, fit.shift.dy]) - truth) / pixel)) if fit.ok else np.nan
    return kind.name, seen, fit.status.name, float(off), f"{band} to {ref_band}, {'edges' if _edges(fit) else ''}"


def _edges(fit: Any) -> bool:
    return any("edges" in text for text in fit.quality.warnings)


def _averaged(image: Any, by: int) -> Any:
    out = image.load().coarsen(x=by, y=by, boundary="trim").mean().astype(np.float32)
    if (marker := image.rio.nodata) is not None:
        full = (image != marker).coarsen(x=by, y=by, boundary="trim").min()
        out = out.where(full.astype(bool).values, marker).rio.write_nodata(marker)
    transform = image.rio.transform()
    return out.rio.write_crs(image.rio.crs).rio.write_transform(transform * transform.scale(by))


def _crop(rng: np.random.Generator, kind: Kind, tgt: Any, ref: Any) -> tuple[Any, Any, np.ndarray] | None:
    """Crops of both images around a random place, the target moved; and the correction (map units)."""
    rows, cols = tgt.shape[1:]
    size = min(kind.size, rows, cols)
    row, col = (int(rng.integers(side - size + 1)) for side in (rows, cols))
    tgt = tgt.isel(y=slice(row, row + size), x=slice(col, col + size)).load()
    box = tgt.rio.transform_bounds(ref.rio.crs)
    margin = 2 * max(abs(one) for one in ref.rio.resolution())
    try:
        ref = ref.rio.clip_box(box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin).load()
    except Exception:  # noqa: BLE001 - outside: another place is drawn
        return None
    if min(ref.shape[1:]) < 24 or min(_share(tgt), _share(ref)) < 0.8:
        return None
    planted = rng.integers(-_PLANTED, _PLANTED + 1, 2) * np.array(tgt.rio.resolution())
    transform = tgt.rio.transform()
    moved = tgt.assign_coords(x=tgt.x + planted[0], y=tgt.y + planted[1])
    moved = moved.rio.write_transform(transform.translation(*planted) * transform)
    return moved, ref, np.array(kind.correction) - planted


def _share(image: Any) -> float:
    values, marker = image.values, image.rio.nodata
    valid = np.isfinite(values) & ((values != marker) if marker is not None else True)
    return float(valid.mean()) if valid.any() and np.ptp(values[valid]) > 0 else 0.0


def matchable(tgt: Any, ref: Any, truth: np.ndarray) -> int:
    """Whether correlation at all lags, of intensities or gradient strengths, finds the truth (1), and clearly (2)."""
    fine = abs(ref.rio.resolution()[0]) < 0.7 * abs(tgt.rio.resolution()[0])
    one, two = (image.astype(np.float32).where(np.isfinite(image)) for image in (tgt, ref))
    two = two.rio.write_crs(ref.rio.crs).rio.reproject_match(
        one.rio.write_crs(tgt.rio.crs), resampling=Resampling.average if fine else Resampling.bilinear, nodata=np.nan
    )
    marker = tgt.rio.nodata
    a, b = one.values[0], two.values[0]
    a = np.where(a == marker, np.nan, a)
    b = np.where((b == ref.rio.nodata) | (np.abs(b) > 1e30), np.nan, b)
    lag = truth / np.array(tgt.rio.resolution())
    return max(_found(*(_strength(one) if edges else one for one in (a, b)), lag) for edges in (False, True))


def _found(tgt: np.ndarray, ref: np.ndarray, lag: np.ndarray) -> int:
    """Whether the highest correlation of two images is at a lag (col, row), and clear of any other."""
    score, col, row = _correlation(tgt, ref)
    far = np.maximum(np.abs(row)[:, None], np.abs(col))
    near = np.where(far <= _SEARCHED, score, -1)
    at = np.unravel_index(int(near.argmax()), score.shape)
    if np.hypot(col[at[1]] - lag[0], row[at[0]] - lag[1]) > _FOUND:
        return 0
    others = (far <= _REACH * min(tgt.shape)) & (np.hypot(row[:, None] - row[at[0]], col - col[at[1]]) > _LOBE)
    return 2 if score[others].max() < _RIVAL * score[at] else 1


def _strength(image: np.ndarray) -> np.ndarray:
    return np.sqrt(np.hypot(*np.gradient(image)))


def _correlation(tgt: np.ndarray, ref: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlation of target and reference at all lags with a quarter of the pixels in common; lags (cols), (rows)."""
    wide = tuple(fft.next_fast_len(2 * side, real=True) for side in tgt.shape)
    parts = []
    for image in (tgt, ref):
        valid = np.isfinite(image).astype(np.float64)
        clean = np.where(valid > 0, image - np.nanmean(image), 0) if valid.any() else valid
        parts.append([fft.rfft2(one, wide) for one in (valid, clean, clean**2)])
    (v, a, aa), (w, b, bb) = parts
    n, sa, sb, saa, sbb, sab = (
        fft.irfft2(two * one.conj(), wide) for one, two in ((v, w), (a, w), (v, b), (aa, w), (v, bb), (a, b))
    )
    n = np.maximum(n, 1)
    score = (sab - sa * sb / n) / np.sqrt(
        np.maximum((saa - sa**2 / n) * (sbb - sb**2 / n), 1e-9 * saa.max() * sbb.max())
    )
    row, col = (np.fft.fftfreq(side, 1 / side) for side in wide)
    return np.where(n > 0.25 * tgt.size, score, -1), col, row


_COUNTS = ("pairs", "matchable", "refused", "clear", "clear, refused", "off by > 1 px")


def main() -> None:
    more: dict[str, dict[str, Any]] = {
        "pairs": {"type": int, "default": 20, "help": "crops of a kind"},
        "only": {"default": "", "help": "kinds whose name contains this"},
        "jobs": {"type": int, "default": 1},
    }
    args = arguments(__doc__ or "", **more)
    report, rows = Report("Real pairs that can be matched"), []
    kinds = [kind for kind in _kinds() if args.only in kind.name and (_FOLDER / kind.tgt).exists()]
    for kind in kinds:
        tasks = [(kind, args.seed + i) for i in range(4 if args.quick else args.pairs)]
        found = [one for one in spread(trial, tasks, args.jobs, kind.name) if one is not None]
        if found:
            rows.append(_row(kind.name, found))
    if rows:
        total = {name: sum(row[name] for row in rows) for name in _COUNTS}
        total["refused %"] = 100 * total["refused"] / max(total["matchable"], 1)
        rows.append({"kind": "all", **total})
    report.table(
        "Crops with a planted shift, `match`", rows, "Wanted: at most 3 % of those that can be matched refused."
    )
    report.write(args.out)


def _row(name: str, found: list[tuple[str, int, str, float, str]]) -> dict[str, Any]:
    can, clear = ([one for one in found if one[1] >= least] for least in (1, 2))
    refused = [one for one in can if one[2] != "OK"]
    off = np.array([one[3] for one in found if one[2] == "OK"])
    return {
        "kind": name,
        "pairs": len(found),
        "matchable": len(can),
        "refused": len(refused),
        "refused %": 100 * len(refused) / max(len(can), 1),
        "clear": len(clear),
        "clear, refused": sum(one[2] != "OK" for one in clear),
        "matched, other method lost": sum(not one[1] and one[3] <= _WRONG for one in found),
        "by edges": sum("edges" in one[4] for one in found),
        "off by > 1 px": int((off > _WRONG).sum()),
        "median px": float(np.median(off)) if len(off) else None,
        "why": ", ".join(f"{n} {status}" for status, n in Counter(one[2] for one in refused).most_common(4)),
    }


if __name__ == "__main__":
    main()
