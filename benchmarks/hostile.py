"""Throw odd inputs at every entry: how many are refused, break, are slow or large.

`python benchmarks/hostile.py --inputs 2000 --out benchmarks/report/hostile.md`; entries are those of tests/fuzz. Inputs
are made of a seed alone: what broke can be tried again with --entry NAME --first SEED --inputs 1.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "fuzz"))

from fuzz_entries import ENTRIES, SAMPLES, make_samples, scene

from xcoreg.errors import CoregError

HEAD = "| entry | inputs | refused | broken | slowest, s | processor, s | peak memory, MB | inputs changed |\n"
HEAD += "|---|---|---|---|---|---|---|---|\n"
_STALLED = 60  # seconds after which the stacks of all threads are printed


@dataclass
class Tally:
    """What the inputs of one entry did."""

    done: int = 0
    refused: int = 0
    broken: int = 0
    elapsed: float = 0.0
    processor: float = 0.0
    peak: float = 0.0
    changed: int = 0

    def row(self, name: str) -> str:
        """Write a row of the table."""
        counts = f"| {name} | {self.done} | {self.refused} | {self.broken} | {self.elapsed:.1f} | {self.processor:.1f} "
        return counts + f"| {self.peak:.0f} | {self.changed} |\n"


def _peak(reset: bool = False) -> float:
    """Largest memory of this process in MB since the last reset."""
    if reset and os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def _inputs() -> str:
    """Digest of the files and images that all inputs are made of."""
    digest = hashlib.sha256()
    for path in sorted(SAMPLES.values()):
        for one in [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file()):
            digest.update(one.read_bytes())
    for image in (scene().tgt, scene().ref):
        digest.update(image.values.tobytes())
        digest.update(repr((image.attrs, image.dims, sorted(image.coords))).encode())
    return digest.hexdigest()


def _try_one(name: str, seed: int, folder: Path, tally: Tally) -> None:
    began, processor = time.monotonic(), time.process_time()
    before = _inputs()
    _peak(reset=True)
    faulthandler.dump_traceback_later(_STALLED)
    try:
        ENTRIES[name](random.Random(f"{name}{seed}"), folder)
    except CoregError:
        tally.refused += 1
    except Exception:  # noqa: BLE001 - any other error is what is searched for
        tally.broken += 1
        print(name, seed, traceback.format_exc(limit=-3), file=sys.stderr, flush=True)
    faulthandler.cancel_dump_traceback_later()
    elapsed, peak = time.monotonic() - began, _peak()
    if elapsed > 10 or peak > 700:
        print(f"{name} {seed}: {elapsed:.1f} s, {peak:.0f} MB", file=sys.stderr, flush=True)
    tally.done += 1
    tally.elapsed, tally.peak = max(tally.elapsed, elapsed), max(tally.peak, peak)
    tally.processor = max(tally.processor, time.process_time() - processor)
    if _inputs() != before:
        tally.changed += 1
        print(f"{name} {seed}: changed an input", file=sys.stderr, flush=True)


def try_entry(name: str, seeds: range, folder: Path, seconds: float) -> str:
    """Try the inputs of one entry, until the time is up; return a row of the table."""
    tally, start = Tally(), time.monotonic()
    for seed in seeds:
        if time.monotonic() - start > seconds:
            break
        place = folder / f"{name}{seed}"
        place.mkdir()
        _try_one(name, seed, place, tally)
        shutil.rmtree(place, ignore_errors=True)
    return tally.row(name)


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
