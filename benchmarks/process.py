"""Whole programs, timed and weighed one at a time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple


class Run(NamedTuple):
    """One program that ran to its end, and what it wrote to stdout; `trouble` tells why it has no result."""

    seconds: float
    megabytes: float
    text: str
    processor: float = 0.0
    trouble: str = ""


# A child's peak memory includes that of the process it was forked from: a light one stands between. Processor seconds
# are those of the child and of its own children; memory is that of the largest of them.
_LAUNCH = """
import json, os, signal, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE, start_new_session=True)
def late(*_):
    os.killpg(child.pid, signal.SIGKILL)
for which in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
    signal.signal(which, late)
signal.alarm(int(sys.argv[1]))
text = child.stdout.read().decode()
_, status, usage = os.wait4(child.pid, 0)
seconds, processor = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
print(json.dumps([seconds, usage.ru_maxrss, os.waitstatus_to_exitcode(status), text, processor]))
"""


def attempt(*command: str | Path, patience: float = 0.0) -> Run:
    """Run a program and measure it alone; one that fails, or takes more than so many seconds, says so in `trouble`."""
    launcher = [sys.executable, "-S", "-E", "-c", _LAUNCH, str(round(patience)), *map(str, command)]
    told = subprocess.run(launcher, capture_output=True, text=True, check=True)
    seconds, peak, code, text, processor = json.loads(told.stdout)
    trouble = ""
    if code:
        print(told.stderr, file=sys.stderr)
        trouble = f"stopped after {patience:.0f} s" if 0 < patience <= seconds else _reason(told.stderr, code)
    return Run(seconds, peak * (1 if sys.platform == "darwin" else 1024) / 1e6, text, processor, trouble)


def _reason(told: str, code: int) -> str:
    """Give the line that names the exception; interpreters may say more at their end."""
    lines = told.strip().splitlines()
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Exit|Interrupt)(: .*)?$", line)]
    return (named or lines or [f"ended with {code}"])[-1]


def run(*command: str | Path) -> Run:
    """Run a program that has to succeed, and measure it alone."""
    done = attempt(*command)
    if done.trouble:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.trouble}")
    return done


def often(times: int, *command: str | Path, made: Path | None = None) -> Run:
    """Median time and largest memory of several runs; what they made is removed before the next."""
    runs = []
    for _ in range(times):
        runs.append(run(*command))
        if made is not None:
            made.unlink()
    return middle(runs)


def middle(runs: list[Run]) -> Run:
    """Median time and largest memory of several runs of one program."""
    seconds, processor = (median(getattr(r, name) for r in runs) for name in ("seconds", "processor"))
    return Run(seconds, max(r.megabytes for r in runs), runs[-1].text, processor, runs[-1].trouble)
