"""Cases that break other tools, with their exact truth: the error, or the reason for a refusal."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from broken import Case, cases
from common import Report, arguments

import xcoreg
from xcoreg.georef import linear_of, vector_to_pixel

_LIMIT = 0.1


def attempt(name: str, make: Callable[[], Case]) -> dict[str, Any]:
    case = make()
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = case.tgt.coreg.match(case.ref, errors="return", **case.options)
    except xcoreg.CoregError as error:
        return _row(name, case, None, type(error).__name__, time.perf_counter() - start)
    return _row(name, case, fit, fit.status.name, time.perf_counter() - start)


def _row(name: str, case: Case, fit: Any, status: str, seconds: float) -> dict[str, Any]:
    row = {"case": name, "wanted": case.wanted, "got": "answer" if fit is not None and fit.ok else status}
    right = case.wanted != "answer"
    if fit is not None and fit.ok:
        linear = linear_of(case.tgt.coreg.grid.affine)
        true = vector_to_pixel(linear, *case.truth)
        error = np.array([fit.shift.dcol - true[0], fit.shift.drow - true[1]])
        row |= {"error px": float(np.hypot(*error)), "sigma px": float(np.hypot(*fit.shift.sigma_px))}
        right = case.wanted != "refusal" and float(np.hypot(*error)) < _LIMIT
    if fit is not None:
        row["windows"] = f"{fit.quality.n_ok}/{fit.quality.n_windows}"
    return row | {"s": round(seconds, 2), "right": "yes" if right else "NO"}


def main() -> None:
    args = arguments(__doc__ or "", only={"help": "cases whose name contains this"})
    report = Report("Cases that break other tools")
    rows = [attempt(name, make) for name, make in cases() if not args.only or args.only in name]
    wrong = sum(row["right"] == "NO" for row in rows)
    report.table(
        "Error against the truth, target px", rows, f"{wrong} of {len(rows)} not as wanted (limit {_LIMIT} px)."
    )
    report.write(args.out)


if __name__ == "__main__":
    main()
