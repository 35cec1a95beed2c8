"""Measure the real pairs whose shift is known: correction, closure under a swap, what correcting leaves, bands.

The images are looked for in $XCOREG_DATA or in ../shared/data beside the checkout; pairs that are absent are skipped.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from common import Report, arguments

import xcoreg
from xcoreg.georef import gsd, local_displacement, same_crs

FOLDER = Path(os.environ.get("XCOREG_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


@dataclass(frozen=True)
class Known:
    """A pair and what is known of it.

    Parameters
    ----------
    name : str
    ref, tgt : str
        Paths below the folder of the data.
    correction : (dx, dy)
        Map units of the target.
    bands : tuple of (band, ref_band)
        The first one is the pair's own, the others must agree with it.
    limit : float
        Coarser pixels that the answer may be off.
    """

    name: str
    ref: str
    tgt: str
    correction: tuple[float, float]
    bands: tuple[tuple[int, int], ...] = ((1, 1),)
    limit: float = 0.25
    options: dict[str, Any] = field(default_factory=dict)


_SA = "aerial_s2_l8_south_africa/"
_NAIP = "naip/m_4709963_se_14_1_"
_SECOND = 3 / 3600  # pixel of the DEM pair, degrees
_THREE = ((1, 1), (2, 2), (3, 3))
PAIRS = (
    Known(
        "S2 to S2, Germany",
        "s2_s2_germany/ref_S2A_20160608T153121_T33UUU_sub.tif",
        "s2_s2_germany/tgt_S2A_20160529T153631_T33UUU_sub.tif",
        (-6.5, -18.1),
    ),
    Known("aerial 1 to S2", _SA + "sentinel2_b432_byte.tif", _SA + "ngi_rgb_byte_1.tif", (2.0, 5.5), _THREE),
    Known("aerial 2 to S2", _SA + "sentinel2_b432_byte.tif", _SA + "ngi_rgb_byte_2.tif", (2.5, 4.7), _THREE),
    Known(
        "S2 to Landsat-8",
        _SA + "landsat8_byte.tif",
        _SA + "sentinel2_b432_byte.tif",
        (1.5, -9.0),
        ((1, 4), (2, 3), (3, 2)),
    ),
    Known("NAIP 2019 to 2018", _NAIP + "20180716.tif", _NAIP + "20190904.tif", (1.3, -0.7), (*_THREE, (4, 4))),
    Known(
        "S2, moved origin",
        "s2_known_shift/sen2_20210527_aber_subset.tif",
        "s2_known_shift/sen2_20210527_aber_subset_b123_offset.tif",
        (-30.0, -30.0),
        _THREE,
        0.02,
    ),
    Known(
        "SRTM, blurred and cropped",
        "dem_srtm_shifted/srtm_ref.tif",
        "dem_srtm_shifted/srtm_blurred_and_shifted.tif",
        (3 * _SECOND, -5 * _SECOND),
        limit=0.02,
    ),
    Known(
        "Landsat-9 to S2, two zones",
        "l9_s2_cross_zone/2023-10-09-22-28-02_S2_ms.tif",
        "l9_s2_cross_zone/2023-06-30-22-01-55_L9_ms.tif",
        (4.0, 1.0),
        ((4, 4), (1, 1), (2, 2), (3, 3), (5, 5)),
    ),
    Known(
        "S2 to Landsat-9, two zones",
        "l9_s2_cross_zone/2023-06-30-22-01-55_L9_ms.tif",
        "l9_s2_cross_zone/2023-10-09-22-28-02_S2_ms.tif",
        (-4.0, -1.0),
        ((4, 4), (1, 1), (2, 2), (3, 3), (5, 5)),
    ),
)


def measure(pair: Known) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows for the two tables: ("pair", ...) once, ("band", ...) for every other band."""
    paths = FOLDER / pair.ref, FOLDER / pair.tgt
    if missing := [path.name for path in paths if not path.exists()]:
        yield "pair", {"pair": pair.name, "within": f"skipped: no {missing[0]}"}
        return
    ref, tgt = (xcoreg.open_raster(path) for path in paths)
    coarser = _coarser(ref, tgt)
    band, ref_band = pair.bands[0]
    start = time.perf_counter()
    first = _try(tgt, ref, band=band, ref_band=ref_band, **pair.options)
    seconds = time.perf_counter() - start
    if isinstance(first, str):
        yield "pair", {"pair": pair.name, "got": first, "expected": _text(pair.correction), "within": "NO"}
    else:
        yield "pair", _row(pair, first, coarser, ref, tgt) | {"s": round(seconds, 2)}
    for band, ref_band in pair.bands if len(pair.bands) > 1 else ():
        fit = _try(tgt, ref, band=band, ref_band=ref_band, **pair.options)
        row: dict[str, Any] = {"pair": pair.name, "band": f"{band} to {ref_band}"}
        if isinstance(fit, str):
            yield "band", row | {"got": fit}
            continue
        row |= {"got": _text((fit.shift.dx, fit.shift.dy)), "windows": f"{fit.quality.n_ok}/{fit.quality.n_windows}"}
        if not isinstance(first, str):
            off = np.array([fit.shift.dx - first.shift.dx, fit.shift.dy - first.shift.dy])
            row["from the first, coarser px"] = float(np.hypot(*off / coarser))
            row["sigmas"] = _mahalanobis(off, np.asarray(fit.shift.cov) + first.shift.cov)
        yield "band", row


def _row(pair: Known, fit: Any, coarser: np.ndarray, ref: Any, tgt: Any) -> dict[str, Any]:
    band, ref_band = pair.bands[0]
    off = np.array([fit.shift.dx, fit.shift.dy]) - pair.correction
    away = float(np.abs(off / coarser).max())
    row = {
        "pair": pair.name,
        "got": _text((fit.shift.dx, fit.shift.dy)),
        "sigma": _text(fit.shift.sigma, sign=False),
        "expected": _text(pair.correction),
        "off, coarser px": away,
        "limit": pair.limit,
        "windows": f"{fit.quality.n_ok}/{fit.quality.n_windows}",
        "reliability %": round(fit.quality.reliability, 1),
        "SSIM before": fit.quality.ssim_before,
        "SSIM after": fit.quality.ssim_after,
    }
    back = _try(ref, tgt, band=ref_band, ref_band=band, **pair.options)
    if isinstance(back, str):
        row["swap px"] = back
    else:
        row |= _closure(fit, back, coarser, ref, tgt)
    again = _try(tgt.coreg.apply(fit), ref, band=band, ref_band=ref_band, **pair.options)
    row["left px"] = again if isinstance(again, str) else float(np.hypot(again.shift.dcol, again.shift.drow))
    closed = isinstance(row.get("swap sigmas"), float) and row["swap sigmas"] < 3
    left = isinstance(row["left px"], float) and row["left px"] < 0.03
    failed = [name for name, fine in (("shift", away <= pair.limit), ("swap", closed), ("left", left)) if not fine]
    row["within"] = f"NO: {', '.join(failed)}" if failed else "yes"
    return row


def _closure(fit: Any, back: Any, coarser: np.ndarray, ref: Any, tgt: Any) -> dict[str, float]:
    """Add a shift and the one with the images swapped, in the target's CRS."""
    own, other = tgt.coreg.grid, ref.coreg.grid
    x, y = own.extent.centroid.xy[0][0], own.extent.centroid.xy[1][0]
    dx, dy = back.shift.dx, back.shift.dy
    cov = np.asarray(back.shift.cov)
    if not same_crs(own.crs, other.crs):
        dx, dy = (float(part) for part in local_displacement(x, y, dx, dy, other.crs, own.crs))
    off = np.array([fit.shift.dx + dx, fit.shift.dy + dy])
    return {
        "swap px": float(np.hypot(*off / coarser)),
        "swap sigmas": _mahalanobis(off, cov + fit.shift.cov),
    }


def _mahalanobis(off: np.ndarray, cov: np.ndarray) -> float:
    return float(np.sqrt(off @ np.linalg.solve(cov, off)))


def _coarser(ref: Any, tgt: Any) -> np.ndarray:
    """Pixel size of the coarser image, CRS units of the target."""
    sizes = np.array([gsd(tgt.coreg.grid.affine), gsd(ref.coreg.grid.affine)])
    return sizes.max(0)


def _try(tgt: Any, ref: Any, **options: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tgt.coreg.match(ref, **options)
    except xcoreg.CoregError as error:
        return f"{type(error).__name__}: {str(error).split(';')[0]}"


def _text(numbers: Any, *, sign: bool = True) -> str:
    digits = ".6f" if max(map(abs, numbers)) < 0.1 else ".2f"
    return "({}, {})".format(*(format(float(n), ("+" if sign else "") + digits) for n in numbers))


def main() -> None:
    args = arguments(__doc__ or "", only={"help": "pairs whose name contains this"})
    report = Report("Real pairs")
    tables: dict[str, list[dict[str, Any]]] = {"pair": [], "band": []}
    for pair in PAIRS:
        if not args.only or args.only in pair.name:
            for table, row in measure(pair):
                tables[table].append(row)
    note = (
        "Corrections in map units of the target. Off: per axis, in pixels of the coarser image. Swap: what is left "
        "when the shift with the images swapped is added, in coarser pixels and in its own standard deviations "
        "(wanted: below 3). Left: the shift measured again after correcting, in target pixels (wanted: below 0.03)."
    )
    report.table("Known corrections", tables["pair"], note)
    report.table("Bands", tables["band"])
    report.write(args.out)


if __name__ == "__main__":
    main()
