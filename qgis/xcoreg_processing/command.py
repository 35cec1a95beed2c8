"""Commands of xcoreg, made of the values of a dialog and run as a program: the same bytes as in a terminal.

Nothing here knows QGIS. The program runs in a process of its own: xcoreg and its packages may live in an environment of
their own, which the setting XCOREG_PROGRAM or the search path names, and QGIS's GDAL is not disturbed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_EXIT = {2: "an input or an option cannot be used", 3: "no trustworthy match", 1: "xcoreg failed"}


@dataclass(frozen=True)
class Option:
    """One value of a dialog, and how the command spells it.

    name : Of the parameter in QGIS. flag : Of the command, such as --window; empty for positional arguments.
    label : In the dialog. kind : raster, file, vector, folder, number, integer, text, choice, switch; outputs are
    raster_out, file_out, vector_out, folder_out. default, choices, suffix : As the dialog needs them.
    """

    name: str
    flag: str
    label: str
    kind: str
    optional: bool = True
    default: Any = None
    choices: Sequence[str] = ()
    suffix: str = ""


def arguments(command: Sequence[str], options: Sequence[Option], values: Mapping[str, Any]) -> list[str]:
    """Make the words of a command, without the program: options first, then what stands by position."""
    words, places = list(command), list[str]()
    for option in options:
        value = values.get(option.name)
        if value is None or value == "" or value is False:
            continue
        if option.kind == "words":
            words += shlex.split(str(value))
        elif not option.flag:
            places.append(str(value))
        elif option.kind == "switch":
            words.append(option.flag)
        else:
            number = isinstance(value, float) and value.is_integer()
            words += [option.flag, str(int(value) if number else value)]
    # After "--" a file whose name begins with a dash is no option.
    return [*words, *([] if command[0] == "batch" else ["--overwrite"]), "--", *places]


def program(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Find xcoreg: as XCOREG_PROGRAM says, on the search path, or as a module of the Python that runs QGIS."""
    if given := environment.get("XCOREG_PROGRAM"):
        return shlex.split(given)
    if found := shutil.which("xcoreg", path=environment.get("PATH")):
        return [found]
    python = shutil.which("python3", path=environment.get("PATH")) or sys.executable
    return [python, "-m", "xcoreg"]


def run(
    words: Sequence[str],
    report: Callable[[str], None],
    canceled: Callable[[], bool] = lambda: False,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Run a command; its messages go to `report`. Raises RuntimeError with the reason where it does not succeed."""
    call = [*program(), *words]
    report(shlex.join(call))
    try:
        process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    except OSError as error:
        cure = "install it (pip install xcoreg) and set XCOREG_PROGRAM to its path, in QGIS: Settings, System"
        raise RuntimeError(f"xcoreg cannot be run ({error}): {cure}") from error
    last = ""
    with process:
        for line in process.stderr or ():
            last = line.strip() or last
            report(line.rstrip())
            if (done := share_of(line)) is not None:
                progress(done)
            if canceled():
                process.terminate()
                break
        code = process.wait()
    if canceled():
        raise RuntimeError("canceled: unfinished outputs were not written")
    if code:
        raise RuntimeError(
            f"{_EXIT.get(code, _EXIT[1])}: {last.removeprefix('Error: ').removeprefix('No trustworthy match: ')}"
        )


def share_of(line: str) -> float | None:
    """Read the percentage in a line of progress: `matching   30 % of ...`, `done  a: ... (30 %)`."""
    head, sign, _ = line.partition(" %")
    number = head.rstrip().rpartition(" ")[2].lstrip("(")
    is_progress = line.startswith("matching ") or line.rstrip().endswith("%)")
    return float(number) if sign and is_progress and number.isdecimal() else None
