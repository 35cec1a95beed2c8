"""Whole programs, timed and weighed one at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple


class Run(NamedTuple):
    """One program that ran to its end."""

    seconds: float
    megabytes: float
    text: str


# A child's peak memory includes that of the process it was forked from: a light one stands between.
_LAUNCH = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
text = child.stdout.read().decode()
_, status, usage = os.wait4(child.pid, 0)
print(json.dumps([time.perf_counter() - start, usage.ru_maxrss, os.waitstatus_to_exitcode(status), text]))
"""


def run(*command: str | Path) -> Run:
    """Run a program and measure it alone."""
    launcher = [sys.executable, "-S", "-E", "-c", _LAUNCH, *map(str, command)]
    told = subprocess.run(launcher, capture_output=True, text=True, check=True)
    seconds, peak, code, text = json.loads(told.stdout)
    if code:
        print(told.stderr, file=sys.stderr)
        raise SystemExit(f"{' '.join(map(str, command))} ended with {code}")
    return Run(seconds, peak * (1 if sys.platform == "darwin" else 1024) / 1e6, text)


def often(times: int, *command: str | Path, made: Path | None = None) -> Run:
    """Median time and largest memory of several runs; what they made is removed before the next."""
    runs = []
    for _ in range(times):
        runs.append(run(*command))
        if made is not None:
            made.unlink()
    return Run(median(r.seconds for r in runs), max(r.megabytes for r in runs), runs[-1].text)
