"""Count pairs that are accepted and must not be, and true ones that are refused.

Nonsense of many kinds goes through the whole `match`, with default and other options; every acceptance is a false one.
True pairs at 10 dB go the same way: they should pass.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from common import Report, arguments, spread
from nonsense import KINDS

import xcoreg
from xcoreg.simulate import Texture, pair

_SIZES = (64, 96, 128, 200, 256, 400)
_OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {"window": 64},
    {"contrast": "any"},
    {"windows": 1},
    {"max_shift": 5.0},
)
# Who gives a max_shift below the period of a pattern has said which of the shifts is meant.
_REPEATING = ("periodic", "stripes", "swell", "pivots", "blocks", "checkered", "rows")


class Trial(NamedTuple):
    """One pair that went through `match`."""

    kind: str
    seed: int
    shape: tuple[int, int]
    options: str
    status: str
    answer: tuple[float, float]
    reliability: float
    windows: str


def nonsense(task: tuple[str, int, str, str, tuple[int, ...]]) -> Trial:
    kind, seed, matcher, verb, sizes = task
    rng = np.random.default_rng([seed, crc32(kind.encode())])
    rows = int(rng.choice(sizes)) if rng.random() < 0.97 else 2 * max(sizes)
    cols = int(rng.choice(sizes)) if rng.random() < 0.25 else rows
    options = _OPTIONS[rng.integers(len(_OPTIONS))]
    if kind in _REPEATING:
        options = {name: value for name, value in options.items() if name != "max_shift"}
    if verb == "match_local":
        rows, cols, options = max(rows, 200), max(cols, 200), {}
    if matcher == "structure":
        options = {name: value for name, value in options.items() if name != "contrast"}
    ref, tgt = KINDS[kind](rng, (rows, cols))
    return attempt(kind, seed, ref, tgt, options | {"matcher": matcher}, verb)


def attempt(kind: str, seed: int, ref: Any, tgt: Any, options: dict[str, Any], verb: str = "match") -> Trial:
    """Match, and put down what came of it."""
    text = ", ".join(f"{k}={v}" for k, v in options.items())
    nan = float("nan")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = getattr(tgt.coreg, verb)(ref, errors="return", **options)
    except xcoreg.CoregError as error:
        return Trial(kind, seed, tgt.shape, text, type(error).__name__, (nan, nan), nan, "")
    answer = (fit.shift.dcol, fit.shift.drow) if fit.ok else (nan, nan)
    windows = f"{fit.quality.n_ok}/{fit.quality.n_windows}"
    return Trial(kind, seed, tgt.shape, text, fit.status.name, answer, fit.quality.reliability, windows)


def true_pair(task: tuple[int, float, int]) -> tuple[int, float, str, float]:
    """Status and error (px) of a true pair at 10 dB."""
    size, exponent, seed = task
    rng = np.random.default_rng([seed, size, round(10 * exponent)])
    shift = tuple(float(v) for v in rng.uniform(-1, 1, 2) * min(10, 0.1 * size))
    both = pair((size, size), shift=shift, snr_db=10, texture=Texture(exponent=exponent), seed=int(rng.integers(2**31)))
    fit = both.tgt.coreg.match(both.ref, errors="return")
    error = np.hypot(fit.shift.dcol - shift[0], fit.shift.drow - shift[1]) if fit.ok else np.nan
    return size, exponent, fit.status.name, float(error)


def nonsense_table(trials: list[Trial]) -> list[dict[str, Any]]:
    rows = []
    for kind in dict.fromkeys(t.kind for t in trials):
        function = KINDS[kind]
        own = [t for t in trials if t.kind == kind]
        refusals = Counter(t.status for t in own if t.status != "OK")
        rows.append(
            {
                "kind": f"{kind}: {(function.__doc__ or '').splitlines()[0]}",
                "pairs": len(own),
                "accepted": sum(t.status == "OK" for t in own),
                "refusals": ", ".join(f"{n} {name}" for name, n in refusals.most_common(4)),
            }
        )
    total = {"kind": "all", "pairs": len(trials), "accepted": sum(t.status == "OK" for t in trials)}
    return [*rows, total]


def main() -> None:
    more = {
        "pairs": {"type": int, "help": "nonsense pairs, default 1100 (110 when quick)"},
        "kinds": {"nargs": "*", "default": list(KINDS), "help": "only these"},
        "matcher": {"nargs": "*", "choices": ["auto", "phase", "structure"], "default": ["auto"]},
        "sizes": {"nargs": "*", "type": int, "default": list(_SIZES), "help": "sides of the images, px"},
        "verb": {"nargs": "*", "choices": ["match", "match_local"], "default": ["match"]},
        "true": {"type": int, "default": 100, "help": "true pairs of each size and texture"},
        "jobs": {"type": int, "default": min(2, os.cpu_count() or 1)},
    }
    args = arguments(__doc__ or "", **more)
    report = Report("Acceptance: false and true")
    each = max(1, -(-(args.pairs or (110 if args.quick else 1100)) // len(args.kinds)))
    totals = []
    for verb, matcher in [(verb, matcher) for verb in args.verb for matcher in args.matcher]:
        tasks = [(kind, args.seed + i, matcher, verb, tuple(args.sizes)) for i in range(each) for kind in args.kinds]
        trials = spread(nonsense, tasks, args.jobs, f"{verb}, {matcher}")
        name = f"`{verb}`, matcher='{matcher}'"
        report.table(f"Pairs that must be refused: {name}", nonsense_table(trials), "Wanted: at most 1 in 1000.")
        wrong = [t._asdict() | {"answer": "({:+.2f}, {:+.2f})".format(*t.answer)} for t in trials if t.status == "OK"]
        if wrong:
            report.table(f"What was accepted: {name}", wrong)
        totals.append({"verb": verb, "matcher": matcher, "pairs": len(trials), "accepted": len(wrong)})
    report.table("All pairs that must be refused", totals, "Wanted: at most 1 accepted in 1000.")
    true_pairs(report, 15 if args.quick else args.true, args)
    report.write(args.out)


def true_pairs(report: Report, each: int, args: Any) -> None:
    """Add the table of true pairs."""
    tasks = [(n, e, args.seed + i) for n in (64, 128, 256, 400) for e in (1.0, 1.5) for i in range(each)]
    found = spread(true_pair, tasks, args.jobs, "true pairs")
    rows = []
    for size, exponent in dict.fromkeys((size, exponent) for size, exponent, *_ in tasks):
        own = [(status, error) for n, e, status, error in found if (n, e) == (size, exponent)]
        errors = np.array([error for status, error in own if status == "OK"])
        refusals = Counter(status for status, _ in own if status != "OK")
        rows.append(
            {
                "image": f"{size} x {size}, 1/f^{exponent:g}",
                "pairs": len(own),
                "accepted %": 100 * len(errors) / len(own),
                "median error px": float(np.median(errors)) if len(errors) else None,
                "worst px": float(errors.max()) if len(errors) else None,
                "refusals": ", ".join(f"{n} {name}" for name, n in refusals.most_common(4)),
            }
        )
    report.table("True pairs at 10 dB", rows, "Wanted: 95 % accepted.")


if __name__ == "__main__":
    main()
