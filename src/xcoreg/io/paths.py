"""Paths as GDAL wants them, and outputs that appear whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from xcoreg.errors import OptionError
from xcoreg.io.rooms import make_room

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NoSuchFile", "check_output", "gdal_path", "local_path", "new_file", "same_file"]

RETRIES, DELAY = 4, 0.5  # of requests that fail for the moment; seconds before the first, then longer
_LATE = 0.05  # seconds
# What GDAL and xarray put beside a raster; old ones would speak for the new file.
_SIDECARS = (".aux.xml", ".ovr", ".msk", ".msk.ovr")


class NoSuchFile(OptionError, FileNotFoundError):
    """A file or address that was named does not exist."""


def gdal_path(path: str | os.PathLike[str]) -> str:
    """Spell a path or address so that GDAL reads it, fetching only what is asked for.

    Parameters
    ----------
    path : str or path
        Local path, http(s) address, or anything GDAL or rasterio understands ("/vsi...", "s3://...", "NETCDF:...").

    Returns
    -------
    str
        Web addresses become /vsicurl with the directory listing and the search for sidecar files turned off; what
        fails for the moment (429, 5xx, a dropped connection) is asked for again up to four times, at growing
        intervals. The settings travel in the path, so that re-openings, in other processes too, keep them.

    Examples
    --------
    >>> gdal_path("https://example.com/a.tif")
    '/vsicurl?list_dir=no&empty_dir=yes&max_retry=4&retry_delay=0.5&url=https%3A%2F%2Fexample.com%2Fa.tif'
    >>> gdal_path("data/a.tif")
    'data/a.tif'
    """
    text = str(path)
    if re.match(r"https?://", text, re.IGNORECASE):
        return f"/vsicurl?list_dir=no&empty_dir=yes&max_retry={RETRIES}&retry_delay={DELAY}&url={quote(text, safe='')}"
    return text


def local_path(path: str | os.PathLike[str]) -> Path | None:
    """Tell a local path from an address or a GDAL identifier.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Path or None
        None for what the file system does not know: "/vsi...", "scheme://...", "DRIVER:...".

    Examples
    --------
    >>> local_path("NETCDF:a.nc:red") is None, local_path("/vsicurl/x") is None
    (True, True)
    """
    text = str(path)
    if text.startswith("/vsi") or re.match(r"[A-Za-z0-9_+.-]{2,}:", text):
        return Path(text) if Path(text).exists() else None
    return Path(text)


def same_file(one: str | os.PathLike[str], two: str | os.PathLike[str]) -> bool:
    """Tell whether two names mean one existing local file.

    Parameters
    ----------
    one, two : str or path

    Returns
    -------
    bool

    Examples
    --------
    >>> same_file("/vsicurl/x", "x")
    False
    """
    first, second = local_path(one), local_path(two)
    if first is None or second is None or not (first.exists() and second.exists()):
        return False
    return first.samefile(second)


def check_output(
    path: str | os.PathLike[str], *, inputs: tuple[str | os.PathLike[str], ...] = (), overwrite: bool = True
) -> Path:
    """Refuse an output that cannot or must not be written, before any work is done.

    Parameters
    ----------
    path : str or path
        The output.
    inputs : tuple of str or path
        Files that must survive.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The output.

    Raises
    ------
    OptionError
        For an input, a folder, a read-only file, a missing or read-only parent folder, or an address.

    Examples
    --------
    >>> check_output("no/such/folder/a.tif")
    Traceback (most recent call last):
    xcoreg.errors.OptionError: cannot write no/such/folder/a.tif: there is no folder no/such/folder
    """
    goal = local_path(path)
    if goal is None:
        raise OptionError(f"cannot write to {path}: give a local path")
    if any(same_file(goal, one) for one in inputs):
        raise OptionError(f"the output {goal} is the input itself: give another path")
    if not goal.parent.is_dir():
        raise OptionError(f"cannot write {goal}: there is no folder {goal.parent}")
    if goal.is_dir() and not _is_zarr(goal):
        raise OptionError(f"cannot write {goal}: it is a folder")
    if goal.exists() and not overwrite:
        raise OptionError(f"{goal} exists: give another path or allow overwriting")
    if goal.exists() and not goal.stat().st_mode & 0o222:
        raise OptionError(f"cannot write {goal}: the file is read-only")
    try:
        with tempfile.TemporaryFile(dir=goal.parent):
            pass
    except OSError as error:
        raise OptionError(f"cannot write {goal}: the folder {goal.parent} is not writable") from error
    return goal


def _is_zarr(path: Path) -> bool:
    return any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata"))


@contextmanager
def new_file(goal: Path) -> Iterator[Path]:
    """Offer a temporary place beside the goal; what was written there replaces the goal at the end, or vanishes.

    What a program that was killed has left there vanishes when the same goal is written again.

    Parameters
    ----------
    goal : Path
        From :func:`check_output`.

    Yields
    ------
    Path
        A path of the same name in a hidden folder beside the goal, so that sidecar files get their right names.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with new_file(folder / "a.txt") as place:
    ...     _ = place.write_text("whole")
    >>> [path.name for path in folder.iterdir()]
    ['a.txt']
    """
    room = make_room(goal)
    try:
        with _emptied_on_failure(room):
            yield room / goal.name
        for suffix in _SIDECARS:
            goal.with_name(goal.name + suffix).unlink(missing_ok=True)
        # The file itself comes last: whoever sees it finds its sidecars in place.
        for made in sorted(room.iterdir(), key=lambda made: made.name == goal.name):
            _replace(made, goal.with_name(made.name), room)
    finally:
        for wait in (0.05, 0.2, 1.0):  # threads may still be writing when one of them has failed
            shutil.rmtree(room, ignore_errors=True)
            if not room.exists():
                break
            time.sleep(wait)


@contextmanager
def _emptied_on_failure(room: Path) -> Iterator[None]:
    """Give back the room on the disk even of files that a library fails to close: HDF5 does when the disk is full."""
    try:
        yield
    except BaseException:
        time.sleep(_LATE)  # other threads end what they are writing, and would make the folder anew
        for made in room.rglob("*"):
            with suppress(OSError):
                os.truncate(made, 0)
        raise


def _replace(made: Path, goal: Path, room: Path) -> None:
    if goal.is_dir():  # a folder (Zarr) cannot be replaced in one step
        goal.rename(room / f"{goal.name}.old")
    made.replace(goal)
