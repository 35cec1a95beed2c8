"""Count how often the 68 and 95 % ellipses of `match` hold the truth, on two simulators that share no code.

"texture": scenes of `xcoreg.simulate` with spectra of 1/f and 1/f^1.5. "patches": patches of ground laid over each
other with sharp edges, drawn at four times the resolution, through optics and box sampling, cut out of a larger scene.
One scene is seen at every noise. Images of up to 256 px are one window or a few, larger ones several.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from common import Report, arguments, image, spread
from scipy import fft
from structure import patches

import xcoreg
from xcoreg.simulate import Texture, pair

_FINE, _MARGIN = 4, 12
_SNRS = (5.0, 10.0, 20.0, 30.0)
_SIMULATORS = ("texture", "patches")
_Q68, _Q95 = 2.2789, 5.9915  # chi square of two degrees


def scene(simulator: str, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Target and reference of unit variance without noise, float64, and the correction (col, row)."""
    rng = np.random.default_rng([seed, size, _SIMULATORS.index(simulator)])
    shift = rng.uniform(-1.5, 1.5, 2)
    if simulator == "texture":
        texture = Texture(exponent=float(rng.choice([1.0, 1.5])))
        both = pair(
            (size, size), shift=tuple(shift.tolist()), snr_db=80, texture=texture, seed=int(rng.integers(2**31))
        )
        tgt, ref = both.tgt.values.astype(np.float64), both.ref.values.astype(np.float64)
    else:
        labels, grain = patches(rng, _FINE * (size + 2 * _MARGIN))
        fine = rng.standard_normal(labels.max() + 1)[labels] + 0.6 * grain
        modes, row, col = fft.rfft2(fine), fft.fftfreq(len(fine))[:, None] * _FINE, fft.rfftfreq(len(fine)) * _FINE
        modes *= np.exp(-2 * (np.pi * 0.45) ** 2 * (col**2 + row**2)) * np.sinc(col) * np.sinc(row)
        inside = (slice(_FINE * _MARGIN, -_FINE * _MARGIN, _FINE),) * 2
        ref = fft.irfft2(modes, fine.shape)[inside]
        tgt = fft.irfft2(modes * np.exp(2j * np.pi * (col * shift[0] + row * shift[1])), fine.shape)[inside]
    deviation = ref.std()
    return (tgt - tgt.mean()) / deviation, (ref - ref.mean()) / deviation, shift


def normalised(task: tuple[str, int, int]) -> list[tuple[float, ...] | None]:
    """Error along column and row (px), their squares over the variances, and the squared distance, at each noise."""
    tgt, ref, shift = scene(*task)
    rng, out = np.random.default_rng([task[2], task[1], 7]), []
    for snr in _SNRS:
        noisy = [np.float32(one + 10 ** (-snr / 20) * rng.standard_normal(one.shape)) for one in (tgt, ref)]
        fit = xcoreg.match(image(noisy[0]), image(noisy[1]), errors="return")
        if not fit.ok:
            out.append(None)
            continue
        off, cov = np.array([fit.shift.dcol, fit.shift.drow]) - shift, np.asarray(fit.shift.cov_px)
        out.append((*off, *(off**2 / np.diag(cov)), float(off @ np.linalg.solve(cov, off)), fit.quality.n_ok))
    return out


def row(simulator: str, size: int, snr: float, found: list[tuple[float, ...] | None]) -> dict[str, Any]:
    """One cell of the table."""
    values = np.array([one for one in found if one is not None])
    out = {"scenes": simulator, "image px": size, "SNR dB": snr, "pairs": len(found), "accepted": len(values)}
    if not len(values):
        return out
    square = values[:, 4]
    shares = [100 * float((square <= limit).mean()) for limit in (_Q68, _Q95)]
    # Allowed: what is wanted, and twice the sampling error of so few pairs.
    error = [2 * 100 * np.sqrt(p * (1 - p) / len(values)) for p in (0.68, 0.95)]
    fine = [abs(s - w) <= d for s, w, d in zip(shares, (68, 95), (4, 3), strict=True)]
    close = [abs(s - w) <= d + e for s, w, d, e in zip(shares, (68, 95), (4, 3), error, strict=True)]
    return out | {
        "windows": float(np.median(values[:, 5])),
        "RMSE px": float(np.sqrt((values[:, :2] ** 2).mean())),
        "chi2 col": float(values[:, 2].mean()),
        "chi2 row": float(values[:, 3].mean()),
        "68 %": shares[0],
        "95 %": shares[1],
        "within": "yes" if all(fine) else "sampling" if all(close) else "NO",
    }


def main() -> None:
    more: dict[str, dict[str, Any]] = {
        "sizes": {"nargs": "*", "type": int, "default": [64, 128, 256, 512, 1500]},
        "pairs": {"type": int, "default": 200, "help": "of a cell"},
        "large": {"type": int, "default": 60, "help": "pairs of a cell of images of 1500 px"},
        "simulators": {"nargs": "*", "choices": _SIMULATORS, "default": list(_SIMULATORS)},
        "jobs": {"type": int, "default": 1},
    }
    args = arguments(__doc__ or "", **more)
    warnings.simplefilter("ignore")
    report, rows = Report("What the ellipses of `match` hold"), []
    for size in args.sizes:
        for simulator in args.simulators:
            n = 12 if args.quick else args.large if size >= 1000 else args.pairs
            found = spread(normalised, [(simulator, size, args.seed + i) for i in range(n)], args.jobs, f"{size} px")
            rows += [row(simulator, size, snr, [one[at] for one in found]) for at, snr in enumerate(_SNRS)]
            print(rows[-4:], flush=True)
    note = "Wanted: 68 +-4 and 95 +-3 %. `sampling`: off by less than twice the sampling error more. chi2: wanted 1."
    report.table("`match`", rows, note)
    report.write(args.out)


if __name__ == "__main__":
    main()
