"""Measure accuracy against the Cramer-Rao bound, calibration, and what other programs reach on the same windows.

Windows are crops of larger simulated scenes; shifts are uniform in +-1.5 px; the bound is exact. Every pair is drawn
from its own seed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from common import Report, arguments, image
from peers import PEERS

from xcoreg.core.matcher import phase_match
from xcoreg.core.matches import Matches
from xcoreg.simulate import Texture, WindowPairs, blob_mask, pair, window_pairs

_SIZES, _SNRS, _EXPONENTS = (64, 128, 256), (30, 20, 10), (1.0, 1.5)
_AT_ONCE = 50  # pairs in memory
_MEAN = 0.003  # px that a mean error may have beyond chance
_Q68, _Q95 = 2.2789, 5.9915  # chi square of two degrees


class Errors(NamedTuple):
    """Errors (n, 2) of accepted pairs in px, normalised squared errors, and how many pairs there were."""

    error: np.ndarray
    nees: np.ndarray
    total: int

    @property
    def rmse(self) -> np.ndarray:
        """Root mean square along (col, row)."""
        return np.sqrt((self.error**2).mean(0))

    def coverage(self, quantile: float) -> float:
        """Percent of the truths inside an ellipse."""
        return 100 * float((self.nees <= quantile).mean())


def errors_of(matches: Matches, truth: np.ndarray) -> Errors:
    ok = matches.ok
    off = (np.stack([matches.dcol, matches.drow], -1) - truth)[ok]
    nees = np.einsum("ni,nij,nj->n", off, np.linalg.inv(matches.cov[ok]), off)
    return Errors(off, nees, len(ok))


def together(parts: list[Errors]) -> Errors:
    return Errors(
        np.concatenate([p.error for p in parts]), np.concatenate([p.nees for p in parts]), sum(p.total for p in parts)
    )


def limit(bound: float, snr: float) -> float:
    """Return what the RMSE may be, px."""
    return 1.5 * bound if snr <= 10 else 1.25 * bound + 0.002


def batches(n: int, size: int, snr: float, exponent: float, seed: int) -> list[WindowPairs]:
    texture = Texture(exponent=exponent)
    key = np.random.SeedSequence([seed, size, int(snr), round(10 * exponent)])
    starts = range(0, n, _AT_ONCE)
    seeds = key.generate_state(len(starts))
    return [
        window_pairs(min(_AT_ONCE, n - at), size, snr, texture=texture, seed=int(own))
        for at, own in zip(starts, seeds, strict=True)
    ]


def cell(n: int, size: int, snr: float, exponent: float, seed: int) -> tuple[dict[str, Any], Errors]:
    """One row of the main table."""
    drawn = batches(n, size, snr, exponent, seed)
    valid = np.ones((_AT_ONCE, size, size), bool)
    parts, others = [], {name: [] for name in PEERS}
    for one in drawn:
        ok = valid[: len(one.ref)]
        parts.append(errors_of(phase_match(one.tgt, one.ref, ok, ok), one.truth))
        for name, peer in PEERS.items():
            told = np.array([peer(*both) for both in zip(one.ref, one.tgt, strict=True)])
            others[name].append(told - one.truth)
    got = together(parts)
    bound = np.sqrt(np.concatenate([np.diagonal(one.bound, axis1=1, axis2=2) for one in drawn]).mean(0))
    allowed = limit(float(bound.mean()), snr)
    mean, doubt = got.error.mean(0), got.error.std(0) / np.sqrt(len(got.error))
    row = {
        "texture": f"1/f^{exponent:g}",
        "window": size,
        "SNR dB": snr,
        "bound": float(bound.mean()),
        "limit": allowed,
        "RMSE col": float(got.rmse[0]),
        "RMSE row": float(got.rmse[1]),
        "mean col": f"{mean[0]:+.4f}±{doubt[0]:.4f}",
        "mean row": f"{mean[1]:+.4f}±{doubt[1]:.4f}",
        "max": float(np.hypot(*got.error.T).max()),
        "68 %": got.coverage(_Q68),
        "95 %": got.coverage(_Q95),
        "accepted %": 100 * len(got.error) / got.total,
    }
    for name, off in others.items():
        row[name] = float(np.sqrt(np.nanmean(np.concatenate(off) ** 2)))
    fine = (got.rmse <= allowed).all() and (np.abs(mean) - 2 * doubt <= _MEAN).all()
    row["within"] = "yes" if fine and not (snr >= 20 and row["max"] > 0.5) else "NO"
    return row, got


def variants(n: int, size: int, snr: float, exponent: float, seed: int) -> list[dict[str, Any]]:
    """Take the same windows in other radiometry, other dtypes and with holes."""
    drawn = batches(n, size, snr, exponent, seed)
    kinds = {
        "plain": [match(one) for one in drawn],
        "gain 3.7, offset 500": [match(one, 3.7 * one.tgt + 500) for one in drawn],
        "reversed, contrast='reversed'": [match(one, 40 - 2 * one.tgt, contrast="reversed") for one in drawn],
        "reversed, contrast='any'": [match(one, 40 - 2 * one.tgt, contrast="any") for one in drawn],
        "not reversed, contrast='any'": [match(one, contrast="any") for one in drawn],
        "float32 + 30000": [match(one, np.float32(one.tgt + 30000), np.float32(one.ref + 30000)) for one in drawn],
        "uint8": [match(one, _uint8(one.tgt), _uint8(one.ref)) for one in drawn],
        "half masked in both": [_masked(one, 0.5, seed + i, both=True) for i, one in enumerate(drawn)],
        "half masked in the reference": [_masked(one, 0.5, seed + i, both=False) for i, one in enumerate(drawn)],
    }
    found = {name: together(parts) for name, parts in kinds.items()}
    plain = float(np.sqrt((found["plain"].error ** 2).mean()))
    rows = []
    for name, got in found.items():
        rmse = float(np.sqrt((got.error**2).mean()))
        share = np.sqrt(0.5) if "masked" in name else 1.0
        rows.append(
            {
                "texture": f"1/f^{exponent:g}",
                "window": size,
                "SNR dB": snr,
                "variant": name,
                "RMSE": rmse,
                "ratio to plain": rmse / plain,
                "x sqrt(valid)": rmse / plain * share,
                "max": float(np.hypot(*got.error.T).max()),
                "68 %": got.coverage(_Q68),
                "95 %": got.coverage(_Q95),
                "accepted %": 100 * len(got.error) / got.total,
            }
        )
    return rows


def match(one: WindowPairs, tgt: np.ndarray | None = None, ref: np.ndarray | None = None, **options: Any) -> Errors:
    ref, tgt = one.ref if ref is None else ref, one.tgt if tgt is None else tgt
    valid = np.ones(ref.shape, bool)
    return errors_of(phase_match(tgt, ref, valid, valid, **options), one.truth)


def _uint8(values: np.ndarray) -> np.ndarray:
    """Eight bits: mean 120, standard deviation 25."""
    spread = values.std(axis=(1, 2), keepdims=True)
    return np.rint(120 + 25 * (values - values.mean((1, 2), keepdims=True)) / spread).clip(0, 255).astype(np.float32)


def _masked(one: WindowPairs, fraction: float, seed: int, *, both: bool) -> Errors:
    """Mask the reference, or the same ground in both images, in blobs full of NaN and nonsense."""
    hidden = blob_mask(one.ref.shape, fraction, seed=seed)
    ref = np.where(hidden, np.float32(np.nan), one.ref)
    other = hidden if both else np.zeros_like(hidden)
    tgt = np.where(other, np.float32(1e4), one.tgt)
    return errors_of(phase_match(tgt, ref, ~other, ~hidden), one.truth)


def through_accessor(n: int, size: int, seed: int) -> dict[str, Any]:
    """Windows as whole images through `tgt.coreg.match(ref)`."""
    drawn = window_pairs(n, size, 20, seed=seed)
    fits = [
        image(tgt).coreg.match(image(ref), window=size, errors="return")
        for ref, tgt in zip(drawn.ref, drawn.tgt, strict=True)
    ]
    bound = float(np.sqrt(np.trace(drawn.bound, axis1=1, axis2=2).mean() / 2))
    return _whole(f"{size} x {size}, window {size}, 20 dB", fits, drawn.truth, bound)


def whole_images(n: int, exponent: float, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """Take simulated images through `tgt.coreg.match(ref)`: several windows are combined."""
    rng = np.random.default_rng([seed, round(10 * exponent)])
    truth = rng.uniform(-5, 5, (n, 2))
    fits = []
    for i, (dcol, drow) in enumerate(truth):
        both = pair((400, 400), shift=(dcol, drow), snr_db=20, texture=Texture(exponent=exponent), seed=seed + i)
        fits.append(both.tgt.coreg.match(both.ref, errors="return", **options))
    words = ", ".join(f"{k} {v}" for k, v in options.items()) or "defaults"
    return _whole(f"400 x 400, 1/f^{exponent:g}, {words}, 20 dB", fits, truth, None)


def _whole(name: str, fits: list[Any], truth: np.ndarray, bound: float | None) -> dict[str, Any]:
    ok = np.array([fit.ok for fit in fits])
    kept = [fit.shift for fit in fits if fit.ok]
    off = np.array([(shift.dcol, shift.drow) for shift in kept]) - truth[ok]
    nees = np.einsum("ni,nij,nj->n", off, np.linalg.inv([shift.cov_px for shift in kept]), off)
    got = Errors(off, nees, len(fits))
    return {
        "images": name,
        "pairs": len(fits),
        "bound": bound,
        "RMSE col": float(got.rmse[0]),
        "RMSE row": float(got.rmse[1]),
        "max": float(np.hypot(*off.T).max()),
        "68 %": got.coverage(_Q68),
        "95 %": got.coverage(_Q95),
        "accepted %": 100 * float(ok.mean()),
    }


def main() -> None:
    args = arguments(__doc__ or "", pairs={"type": int, "help": "per cell, default 200 (40 when quick)"})
    n = args.pairs or (40 if args.quick else 200)
    sizes = _SIZES[:2] if args.quick else _SIZES
    report = Report("Accuracy and calibration")
    cells = [cell(n, size, snr, exponent, args.seed) for exponent in _EXPONENTS for size in sizes for snr in _SNRS]
    everything = together([got for _, got in cells])
    note = (
        f"{n} pairs per cell, px. Other programs: RMSE over both axes. Limit: 1.25 x bound + 0.002 px, at 10 dB "
        f"1.5 x bound. Mean errors are within when no more than {_MEAN} px beyond two standard errors. All cells "
        f"together: the 68 % ellipses hold {everything.coverage(_Q68):.1f} %, the 95 % ellipses "
        f"{everything.coverage(_Q95):.1f} % of {len(everything.error)} truths."
    )
    report.table("Windows cut from larger scenes", [row for row, _ in cells], note)
    rows = [row for size in sizes for row in variants(n, size, 20, 1.0, args.seed)]
    if not args.quick:
        rows += [*variants(n, 64, 30, 1.5, args.seed), *variants(n, 64, 10, 1.0, args.seed)]
    report.table(
        "Radiometry, dtypes and masks", rows, "Wanted with half of a window masked: x sqrt(valid) at most 1.5."
    )
    few = n // 2
    rows = [through_accessor(few, 64, args.seed)]
    rows += [whole_images(few, e, args.seed, options) for e in _EXPONENTS for options in ({}, {"window": 128})]
    report.table("Through the accessor", rows)
    report.write(args.out)


if __name__ == "__main__":
    main()
