"""Count the calls inside xcoreg that `shift_to` and `warp_to` make, and draw the way of `apply`.

    python benchmarks/calls.py
    python benchmarks/calls.py --json

Two simulated images of 256 px, a shift or a smooth field apart; every verb runs once before it is counted, so that no
import is. By `sys.setprofile`, in the thread that calls:

functions   different functions of xcoreg that are called, by file and qualified name; comprehensions are some
files, packages   they stand in; a package stands directly under xcoreg, a folder or a module
changes     how often a call goes to another package than the call before; returns are not counted
both ways   the same with returns: how often the running code changes its package
depth       most functions of xcoreg that wait for each other
(CPython 3.11: later ones run comprehensions without a call.)

The way of `apply` is an outline of calls, to where pixels are resampled. What is called a second time is not opened
again, nor what georef and core call in turn. *Again*: the call enters a module that was entered before. *Back*: it
enters a module that waits for it. Modules of georef and core are there to be asked often, and not counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from common import markdown

import xcoreg
from xcoreg.simulate import pair, smooth_field

ROOT = Path(xcoreg.__file__).resolve().parent
SHAPE = (256, 256)
LOCAL: dict[str, Any] = {"spacing": 32, "window": 48}
GROUND = ("core", "georef", "errors", "files")  # packages whose own calls are no part of an outline
RESAMPLING = "resample"  # name of the module that an outline ends at


class Event(NamedTuple):
    """A call of a function of xcoreg, or the return from one (`is_call` is False then)."""

    module: str
    function: str
    is_call: bool

    @property
    def package(self) -> str:
        """What stands directly under xcoreg."""
        return self.module.partition(".")[0]


def record(function: Callable[[], Any]) -> list[Event]:
    """Run a function twice, and record the second time."""
    function()
    events: list[Event] = []
    modules: dict[str, str | None] = {}

    def note(frame: FrameType, kind: str, _: Any) -> None:
        code = frame.f_code
        if kind not in ("call", "return"):
            return
        if code.co_filename not in modules:
            modules[code.co_filename] = module_of(code.co_filename)
        module = modules[code.co_filename]
        if module is not None:
            events.append(Event(module, code.co_qualname, kind == "call"))

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return events


def module_of(filename: str) -> str | None:
    """Name a module of xcoreg by its file, without the root; None for other code."""
    path = Path(filename)
    if not path.is_absolute() or not path.resolve().is_relative_to(ROOT):
        return None
    return ".".join(path.resolve().relative_to(ROOT).with_suffix("").parts)


def counts(events: list[Event]) -> dict[str, int]:
    """Tell how much is called."""
    calls = [one for one in events if one.is_call]
    running, waiting, depth = [], [], 0
    for one in events:
        if one.is_call:
            waiting.append(one)
        elif waiting:
            waiting.pop()
        depth = max(depth, len(waiting))
        running.append(waiting[-1].package if waiting else "")
    return {
        "calls": len(calls),
        "functions": len({(one.module, one.function) for one in calls}),
        "files": len({one.module for one in calls}),
        "packages": len({one.package for one in calls}),
        "changes": changes(one.package for one in calls),
        "both ways": changes(running),
        "depth": depth,
    }


def changes(names: Iterable[str]) -> int:
    return sum(one != other for one, other in pairwise(names))


# --- the way of `apply` -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """A call in an outline."""

    level: int
    module: str
    function: str
    enters: bool
    again: bool
    back: bool


def outline(events: list[Event]) -> list[Visit]:
    """List the calls before pixels are resampled and after, by who calls whom."""
    visits: list[Visit] = []
    waiting: list[tuple[str, bool]] = []  # modules that wait, and whether their calls are left out
    called: set[tuple[str, str]] = set()
    entered: set[str] = set()
    for one in events:
        if one.function.endswith(">"):  # comprehensions, generators and lambdas belong to where they stand
            continue
        if not one.is_call:
            if waiting:
                waiting.pop()
            continue
        own, hidden = waiting[-1] if waiting else ("", False)
        if not hidden:
            enters, back = one.module != own, any(module == one.module for module, _ in waiting)
            again = enters and one.module in entered and one.package not in GROUND
            visits.append(Visit(len(waiting), one.module, one.function, enters, again, enters and back))
            entered.add(one.module)
        closed = one.package in GROUND or one.module.split(".")[-1] == RESAMPLING
        waiting.append((one.module, hidden or closed or (one.module, one.function) in called))
        called.add((one.module, one.function))
    return visits


def way(visits: list[Visit]) -> dict[str, int]:
    """Tell how often an outline returns to a module."""
    above = [one for one in visits if one.module.partition(".")[0] not in GROUND]
    return {
        "visits": sum(one.enters for one in above),
        "modules": len({one.module for one in above}),
        "again": sum(one.again for one in above),
        "back": sum(one.back for one in above),
    }


def drawn(visits: list[Visit]) -> str:
    """One line for each run of calls of one module."""
    lines: list[str] = []
    last: Visit | None = None
    for one in visits:
        if last is not None and not one.enters and (last.level, last.module) == (one.level, one.module):
            lines[-1] += f", {one.function}"
        else:
            remark = " (back)" if one.back else " (again)" if one.again else ""
            lines.append(f"{'  ' * one.level}{one.module}{remark}: {one.function}")
        last = one
    return "\n".join(lines)


# --- the program ------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    shifted = pair(SHAPE, shift=(1.25, -0.5), seed=1)
    bent = pair(SHAPE, shift=smooth_field(SHAPE, 1.5, seed=2), seed=1)
    one_shift, field = shifted.tgt.coreg.match(shifted.ref), bent.tgt.coreg.match_local(bent.ref, **LOCAL)
    verbs = {
        "shift_to": lambda: shifted.tgt.coreg.shift_to(shifted.ref),
        "warp_to": lambda: bent.tgt.coreg.warp_to(bent.ref, **LOCAL),
        "apply, one shift": lambda: shifted.tgt.coreg.apply(one_shift),
        "apply, one shift, align_grid": lambda: shifted.tgt.coreg.apply(one_shift, align_grid=True),
        "apply, a field": lambda: bent.tgt.coreg.apply(field),
    }
    events = {name: record(verb) for name, verb in verbs.items()}
    rows = [{"verb": name, **counts(each)} for name, each in events.items()]
    outlines = {name: outline(each) for name, each in events.items() if name.startswith("apply")}
    ways = [{"verb": name, **way(each)} for name, each in outlines.items()]
    if args.json:
        print(json.dumps({"calls": rows, "ways": ways}, indent=1))
        return
    print(f"{markdown(rows)}\n\n{markdown(ways)}")
    for name in ("apply, one shift", "apply, a field"):
        print(f"\n{name}\n\n{drawn(outlines[name])}")


if __name__ == "__main__":
    main()
