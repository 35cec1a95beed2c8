"""Set xcoreg beside AROSICS, xDEM, OpenCV, scikit-image and GDAL: the same files, one run, every job a process.

A program that is not installed is told as missing; one that crashes, or answers wrongly, is told so, and the run goes
on. Programs take turns; times are medians, memory that of the largest process. Scenes are simulated once and kept
under --cache.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from common import CACHE, Report, arguments
from contests import FULL, PARTS, QUICK, Contest, Entry
from process import Run, attempt, middle
from rivals import INTERPRETERS, MODULES, command, version

_LONG = 60.0  # s: what takes longer is run once
# Measured elsewhere, for where the programs cannot be installed: on another day, on 2 CPUs, AROSICS with GDAL 3.10.3.
_TOLD = (
    ("AROSICS 1.13.2", "one shift, window 256", "15.6-18.6", 2460, "0.03 px"),
    ("AROSICS 1.13.2", "2852 points, window 256", "221", 2500, "RMSE 0.19 px, 6 of 2489 off by > 1 px"),
    ("AROSICS 1.13.2", "2852 points, window 64", "179", 2480, "RMSE 0.41 px, 67 of 2101 off by > 1 px"),
    ("AROSICS 1.13.2", "warping by those points", "50", 2500, ""),
    ("xDEM 0.2.3", "shift of a model of 985 x 1332 px", "1.1-2.2", None, "(-0.21, 0.27, 0.01) m"),
    ("xDEM 0.2.3", "blocks of 500 px of it", "50", 1500, ""),
)


def goal(room: Path, contest: Contest, entry: Entry) -> Path:
    """Give the file or folder an answer goes to."""
    words = (contest.job, entry.program, *([] if entry.block is None else [str(entry.block)]))
    return room / ("_".join(words).replace(" ", "") + contest.suffix)


def play(contest: Contest, room: Path, times: int, patience: float) -> dict[Entry, Run]:
    """Let all programs do a job in turns; what takes long is done once."""
    runs: dict[Entry, list[Run]] = {}
    present = [entry for entry in contest.entries if version(entry.program)]
    for turn in range(times):
        for entry in present:
            so_far = runs.setdefault(entry, [])
            if turn and (so_far[0].trouble or so_far[0].seconds > _LONG):
                continue
            out = goal(room, contest, entry)
            shutil.rmtree(out, ignore_errors=True) if out.is_dir() else out.unlink(missing_ok=True)
            task = contest.task | {"block": entry.block, "out": str(out)}
            so_far.append(attempt(*command(room, contest.job, entry.program, task), patience=patience))
    return {entry: middle(runs[entry]) for entry in present}


def row(contest: Contest, entry: Entry, room: Path, done: Run | None) -> dict[str, Any]:
    """Tell what became of one program."""
    name = {"program": entry.label}
    if done is None:
        return name | {"remark": "not installed"}
    took = {"s": done.seconds, "processor s": done.processor, "peak MB": round(done.megabytes)}
    if done.trouble:
        return name | took | {"remark": f"failed: {done.trouble}"}
    try:
        told = json.loads(done.text.strip().splitlines()[-1])
        worth = contest.judge(goal(room, contest, entry), told)
    except Exception as error:  # noqa: BLE001  (an answer that cannot be read is the answer's fault, not the run's)
        return name | took | {"remark": f"unusable answer: {error}"}
    if "points" in worth:
        took["points/s"] = worth["points"] / done.seconds
    return name | took | worth


def table(report: Report, contest: Contest, room: Path, times: int, patience: float) -> None:
    """Play one contest and report it."""
    contest.files()
    done = play(contest, room, times, patience)
    rows = [row(contest, entry, room, done.get(entry)) for entry in contest.entries]
    first = next((each["s"] for each in rows if each["program"].startswith("xcoreg") and "s" in each), None)
    for each in rows:
        remark = each.pop("remark", "")
        if first and "s" in each:
            each["time, xcoreg = 1"] = each["s"] / first
        each["remark"] = remark
    report.table(contest.heading, rows, contest.note)


def main() -> None:
    """Run all parts, or those named."""
    args = arguments(
        __doc__ or "",
        cache=CACHE,
        parts={"nargs": "*", "choices": list(PARTS), "default": list(PARTS), "help": "some of the parts"},
        times={"type": int, "help": "turns, default 3 (1 when quick); what takes over a minute is done once"},
        patience={"type": float, "default": 1800.0, "help": "seconds after which a program is stopped"},
        python={"nargs": "*", "default": [], "help": "PROGRAM=INTERPRETER: programs in environments of their own"},
    )
    INTERPRETERS.update(word.split("=", 1) for word in args.python)
    size, times = (QUICK, args.times or 1) if args.quick else (FULL, args.times or 3)
    report = Report("Side by side")
    known = {name: version(name) for name in MODULES}
    report.table("Programs", [{"program": name, "version": told or "not installed"} for name, told in known.items()])
    with tempfile.TemporaryDirectory() as room:
        for name in args.parts:
            for contest in PARTS[name](args.cache, Path(room), size):
                table(report, contest, Path(room), times, args.patience)
    if not (known["AROSICS"] and known["xDEM"]):
        note = "Not of this run nor of this machine: told by the project's reference, for pairs like these, 2 CPUs."
        names = ("program", "job", "s", "peak MB", "error")
        rows = [dict(zip(names, each, strict=True)) for each in _TOLD]
        report.table("Numbers from elsewhere", rows, note)
    report.write(args.out)


if __name__ == "__main__":
    main()
