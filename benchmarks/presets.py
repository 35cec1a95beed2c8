"""Presets beside the defaults, on simulated pairs of their kind: answered or refused, error, processor time.

Each kind has the size, dtype, noise, clouds, offset and field of its products; the band that a preset takes is sharper
than the first one, as near infrared is beside the blue. The error is that of the correction at every 16th pixel against
the true field; of one shift against the mean of the true field.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from common import Report, arguments

from xcoreg import presets
from xcoreg.simulate import Acquisition, Product, dem_pair, pair, smooth_field

_HAZE_DB = 6.0  # of the first band


@dataclass(frozen=True)
class Kind:
    """Images of one product: GSD, side, number of bands, dtype, offset and field (px), noise (dB), share of clouds."""

    gsd: float
    side: int
    bands: int
    dtype: str
    offset: tuple[float, float]
    field: float
    snr_db: float
    clouds: float = 0.0


KINDS = {
    "sentinel2-l1c": Kind(10, 1500, 13, "uint16", (1.2, -0.8), 0.3, 22, 0.15),
    "sentinel2-l2a": Kind(10, 1500, 12, "uint16", (-0.9, 1.1), 0.3, 22, 0.15),
    "landsat-c2": Kind(30, 1200, 7, "uint16", (0.4, 0.3), 0.25, 20, 0.15),
    "planetscope": Kind(3, 1800, 4, "uint16", (2.6, -3.1), 0.6, 18, 0.1),
    "pleiades": Kind(0.5, 2400, 4, "uint16", (15.0, -11.0), 1.5, 18),
    "aerial": Kind(0.2, 2400, 3, "uint8", (6.0, 4.0), 1.5, 16),
    "drone": Kind(0.03, 3600, 3, "uint8", (190.0, -140.0), 2.0, 18),
}


def scene(name: str, kind: Kind, seed: int) -> tuple[Any, Any, Callable[..., Any]]:
    """Simulate target, reference and the true correction of a kind."""
    shape = (kind.side, kind.side)
    wave = smooth_field(shape, kind.field, seed=seed)

    def truth(row: Any, col: Any) -> tuple[Any, Any]:
        dcol, drow = wave(row, col)
        return dcol + kind.offset[0], drow + kind.offset[1]

    product = Product(kind.dtype, transform=Affine(kind.gsd, 0, 300000, 0, -kind.gsd, 5900000))
    seen = {"ref": Acquisition(clouds=kind.clouds), "tgt": Acquisition(gain=0.9, clouds=kind.clouds)}
    sharp, hazy = (
        pair(shape, shift=truth, snr_db=snr, product=product, seed=seed, **seen) for snr in (kind.snr_db, _HAZE_DB)
    )
    best = presets.band_of(name, kind.bands) or 1
    made = (
        xr.concat([good if n == best else poor for n in range(1, kind.bands + 1)], "band", combine_attrs="override")
        for good, poor in ((sharp.tgt, hazy.tgt), (sharp.ref, hazy.ref))
    )  # fmt: skip
    tgt, ref = (one.assign_coords(band=np.arange(1, kind.bands + 1)) for one in made)
    return tgt, ref, truth


def error_of(fit: Any, truth: Callable[..., Any], side: int) -> float:
    """RMSE per axis (px) of a correction over the target; of one shift against the mean."""
    row, col = np.meshgrid(*2 * [np.arange(8.0, side, 16)], indexing="ij")
    dcol, drow = truth(row, col)
    if not fit.is_field:
        off = fit.shift.dcol - dcol.mean(), fit.shift.drow - drow.mean()
    else:
        a, _, c, _, e, f = fit.transform
        dx, dy = fit.model.predict(c + a * (col + 0.5), f + e * (row + 0.5))
        off = dx / a - dcol, dy / e - drow
    return float(np.sqrt(np.mean(np.square(off))))


def rows_of(name: str, seeds: range) -> Iterator[dict[str, Any]]:
    """Match pairs of a kind, both verbs, by the defaults and by the preset."""
    kind = KINDS[name]
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for seed in seeds:
        tgt, ref, truth = scene(name, kind, seed)
        band = presets.band_of(name, kind.bands)
        for verb in ("match", "match_local"):
            own = {**presets.options(name, verb), **({"band": band, "ref_band": band} if band else {})}
            for how, options in (("defaults", {}), ("preset", own)):
                start = time.process_time()
                fit = getattr(tgt.coreg, verb)(ref, errors="return", **options)
                took = time.process_time() - start
                found.setdefault((verb, how), []).append((error_of(fit, truth, kind.side) if fit else np.nan, took))
    for (verb, how), many in found.items():
        errors, times = np.array(many).T
        answered = errors[np.isfinite(errors)]
        rms = float(np.sqrt(np.mean(answered**2))) if answered.size else float("nan")
        count = f"{answered.size} of {errors.size}"
        yield {"preset": name, "verb": verb, "by": how, "answered": count, "RMSE px": rms, "cpu s": float(times.mean())}


def dem_rows(seeds: range) -> Iterator[dict[str, Any]]:
    """Elevation models: the preset chooses the matcher, the default is that of images."""
    for how in ("defaults", "preset"):
        errors, times, options = [], [], presets.options("dem", "dem") if how == "preset" else {}
        for seed in seeds:
            truth = (8.0 + seed, -5.0, 2.0)
            made = dem_pair((400, 500), shift=truth, glaciers=0.1, seed=seed)
            start = time.process_time()
            fit = made.tgt.coreg.match(made.ref, where=made.stable, errors="return", **options)
            times.append(time.process_time() - start)
            errors.append(np.hypot(fit.shift.dx - truth[0], fit.shift.dy - truth[1]) / 2**0.5 / 20 if fit else np.nan)
        good = np.array(errors)[np.isfinite(errors)]
        rms = float(np.sqrt(np.mean(good**2))) if good.size else float("nan")
        count = f"{good.size} of {len(errors)}"
        yield {"preset": "dem", "verb": "match", "by": how, "answered": count, "RMSE px": rms,
               "cpu s": float(np.mean(times))}  # fmt: skip


def main() -> None:
    """Compare all presets with the defaults."""
    options = arguments(
        "Presets beside the defaults on simulated pairs of their kind",
        only={"nargs": "*", "choices": [*KINDS, "dem"], "help": "these presets alone"},
    )
    seeds = range(options.seed, options.seed + (1 if options.quick else 4))
    report = Report("Presets")
    for name in options.only or [*KINDS, "dem"]:
        rows = [*(dem_rows(seeds) if name == "dem" else rows_of(name, seeds))]
        report.table(presets.PRESETS[name].title, rows)
    report.write(options.out)


if __name__ == "__main__":
    main()
