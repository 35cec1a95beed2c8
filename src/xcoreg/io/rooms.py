"""Temporary folders beside an output, and those that a killed program has left there."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import tempfile
from pathlib import Path

__all__ = ["make_room", "sweep"]

_NAME = re.compile(r"\.xcoreg-(?P<goal>[0-9a-f]{8})-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-\w+")


def make_room(goal: Path) -> Path:
    """Make a folder beside an output that tells what it is for and who made it.

    Parameters
    ----------
    goal : Path
        The output.

    Returns
    -------
    Path
        New, empty, hidden. What programs that are no more have left for the same output is removed.

    Raises
    ------
    OSError
        When the folder of the output does not exist or cannot be written.

    Examples
    --------
    >>> room = make_room(Path(tempfile.mkdtemp()) / "a.tif")
    >>> room.name.startswith(".xcoreg-")
    True
    """
    sweep(goal.parent, goal.name)
    prefix = f".xcoreg-{_short(goal.name)}-{_short(socket.gethostname())}-{os.getpid()}-"
    return Path(tempfile.mkdtemp(prefix=prefix, dir=goal.parent))


def sweep(folder: Path, name: str | None = None) -> int:
    """Remove rooms of programs of this machine that have ended without doing so.

    Parameters
    ----------
    folder : Path
    name : str, optional
        Rooms of this output alone.

    Returns
    -------
    int
        How many.

    Examples
    --------
    >>> sweep(Path(tempfile.mkdtemp()))
    0
    """
    here, count = _short(socket.gethostname()), 0
    try:
        entries = [entry.name for entry in os.scandir(folder) if entry.name.startswith(".xcoreg-")]
    except OSError:  # whoever wants to write there will be told
        return 0
    for entry in entries:
        found = _NAME.fullmatch(entry)
        if found is None or found["host"] != here or (name is not None and _short(name) != found["goal"]):
            continue
        if not _runs(int(found["pid"])):
            shutil.rmtree(folder / entry, ignore_errors=True)
            count += 1
    return count


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _runs(pid: int) -> bool:
    if os.name == "nt":  # there, asking is killing
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
