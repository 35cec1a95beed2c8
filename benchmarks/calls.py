"""How far a call travels: functions, files and packages that `shift_to` and `warp_to` visit on a pair of 256 px.

Counted with `sys.setprofile` after a first run, so that imports and caches do not count. A *change* of package is a
call of a function of xcoreg by one that lies in another package of xcoreg. `--trace` prints the
functions in the order of their first call, one line a function: what docs/architecture.md draws.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import xcoreg

ROOT = Path(xcoreg.__file__).parent


class Trace:
    """Visits of the functions of xcoreg, in order."""

    def __init__(self) -> None:
        self.visits: list[tuple[str, str]] = []
        self.stack: list[tuple[str, str]] = []
        self.depth = self.changes = 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Note a call or a return; what `sys.setprofile` calls."""
        if event not in ("call", "return") or not frame.f_code.co_filename.startswith(str(ROOT)):
            return
        if event == "call":
            name = (Path(frame.f_code.co_filename).relative_to(ROOT).as_posix(), frame.f_code.co_qualname)
            self.stack.append(name)
            self.depth = max(self.depth, len(self.stack))
            self.visits.append(name)
            if len(self.stack) > 1:
                self.changes += package_of(self.stack[-2][0]) != package_of(name[0])
        elif self.stack:
            self.stack.pop()

    def functions(self) -> list[tuple[str, str]]:
        """Functions in the order of their first call."""
        return list(dict.fromkeys(self.visits))


def package_of(file: str) -> str:
    """Part of xcoreg that a file belongs to."""
    return file.split("/")[0].removesuffix(".py")


def traced(function: Callable[[], Any]) -> Trace:
    """Run a function twice and trace the second run."""
    function()
    trace = Trace()
    sys.setprofile(trace)
    try:
        function()
    finally:
        sys.setprofile(None)
    return trace


def main() -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", action="store_true", help="print the functions, too")
    chosen = parser.parse_args()
    plain = xcoreg.simulate.pair((256, 256), shift=(1.25, -0.5), seed=1)
    curved = xcoreg.simulate.pair((256, 256), shift=xcoreg.simulate.smooth_field((256, 256), 1.5, seed=2), seed=1)
    fit = plain.tgt.coreg.match(plain.ref)
    jobs: dict[str, Callable[[], Any]] = {
        "shift_to": lambda: plain.tgt.coreg.shift_to(plain.ref),
        "warp_to": lambda: curved.tgt.coreg.warp_to(curved.ref, spacing=32, window=48),
        "apply(like=)": lambda: plain.tgt.coreg.apply(fit, like=plain.ref),
    }
    for name, job in jobs.items():
        trace = traced(job)
        functions = trace.functions()
        files = {file for file, _ in functions}
        print(
            f"{name}: {len(functions)} functions, {len(files)} files, {len({package_of(f) for f in files})} packages, "
            f"{trace.changes} changes of package, depth {trace.depth}"
        )
        if chosen.trace:
            print("\n".join(f"  {file:28} {function}" for file, function in functions))
    return 0


if __name__ == "__main__":
    sys.exit(main())
