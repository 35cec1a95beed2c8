"""Throw odd inputs at every entry: how many are refused, break, are slow or large.

`python benchmarks/hostile.py --inputs 2000 --out benchmarks/report/hostile.md`; entries are those of tests/fuzz. Inputs
are made of a seed alone: what broke can be tried again with --entry NAME --first SEED --inputs 1.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "fuzz"))

from fuzz_entries import ENTRIES, make_samples

from xcoreg.errors import CoregError

HEAD = "| entry | inputs | refused | broken | slowest, s (processor) | peak memory, MB |\n|---|---|---|---|---|---|\n"


def try_entry(name: str, seeds: range, folder: Path, seconds: float) -> str:
    """Try the inputs of one entry, until the time is up; return a row of the table."""
    refused, broken, slowest, done, start = 0, 0, 0.0, 0, time.monotonic()
    for seed in seeds:
        if time.monotonic() - start > seconds:
            break
        place = folder / f"{name}{seed}"
        place.mkdir()
        began = time.process_time()
        try:
            ENTRIES[name](random.Random(f"{name}{seed}"), place)
        except CoregError:
            refused += 1
        except Exception:  # noqa: BLE001 - any other error is what is searched for
            broken += 1
            print(name, seed, traceback.format_exc(limit=-3), file=sys.stderr, flush=True)
        slowest, done = max(slowest, time.process_time() - began), done + 1
        shutil.rmtree(place, ignore_errors=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| {name} | {done} | {refused} | {broken} | {slowest:.1f} | {peak:.0f} |\n"


def main() -> None:
    """Try all entries, or those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", action="append", choices=list(ENTRIES))
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="at most, for each entry")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as text, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = Path(text, "samples")
        samples.mkdir()
        make_samples(samples)
        for name in given.entry or ENTRIES:
            rows.append(try_entry(name, range(given.first, given.first + given.inputs), Path(text), given.seconds))
            print(rows[-1], end="", flush=True)
            if given.out:
                given.out.write_text(HEAD + "".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
