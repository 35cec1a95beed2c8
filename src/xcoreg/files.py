"""Files that appear whole or not at all.

Paths as GDAL wants them, and outputs that appear whole or not at all.

Temporary folders beside an output, and those that a killed program has left there.

Whether a written file is whole: GDAL's threads lose what the system tells them of a full disk.

Images on the web: what was cut off on its way is asked for again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
import warnings
from contextlib import contextmanager, suppress
from io import StringIO
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import numpy as np
import pandas as pd
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from xarray.backends import BackendArray

from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xarray import Variable


RETRIES, DELAY = 4, 0.5  # of requests that fail for the moment; seconds before the first, then longer
_LATE = 0.05  # seconds
# What GDAL and xarray put beside a raster; old ones would speak for the new file.
_SIDECARS = (".aux.xml", ".ovr", ".msk", ".msk.ovr")


class NoSuchFile(OptionError, FileNotFoundError):
    """A file or address that was named does not exist."""


def gdal_path(path: str | os.PathLike[str]) -> str:
    """Spell a path or address so that GDAL reads it, fetching only what is asked for."""
    text = str(path)
    if re.match(r"https?://", text, re.IGNORECASE):
        return f"/vsicurl?list_dir=no&empty_dir=yes&max_retry={RETRIES}&retry_delay={DELAY}&url={quote(text, safe='')}"
    return text


def local_path(path: str | os.PathLike[str]) -> Path | None:
    """Tell a local path from an address or a GDAL identifier."""
    text = str(path)
    if text.startswith("/vsi") or re.match(r"[A-Za-z0-9_+.-]{2,}:", text):
        return Path(text) if Path(text).exists() else None
    return Path(text)


def same_file(one: str | os.PathLike[str], two: str | os.PathLike[str]) -> bool:
    """Tell whether two names mean one existing local file."""
    first, second = local_path(one), local_path(two)
    if first is None or second is None or not (first.exists() and second.exists()):
        return False
    return first.samefile(second)


def check_output(
    path: str | os.PathLike[str], *, inputs: tuple[str | os.PathLike[str], ...] = (), overwrite: bool = True
) -> Path:
    """Refuse an output that cannot or must not be written, before any work is done."""
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
    """
    room = make_temporary_folder(goal)
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


_NAME = re.compile(r"\.xcoreg-(?P<goal>[0-9a-f]{8})-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-\w+")


def make_temporary_folder(goal: Path) -> Path:
    """Make a folder beside an output that tells what it is for and who made it."""
    remove_stale_folders(goal.parent, goal.name)
    prefix = f".xcoreg-{_short(goal.name)}-{_short(socket.gethostname())}-{os.getpid()}-"
    return Path(tempfile.mkdtemp(prefix=prefix, dir=goal.parent))


def remove_stale_folders(folder: Path, name: str | None = None) -> int:
    """Remove rooms of programs of this machine that have ended without doing so."""
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


_FULL = 1 << 20  # bytes: a disk with less is full
_TIFFS = ("GTiff", "COG")


class DiskFull(OSError):
    """There is no room for an output."""


@contextmanager
def reporting_disk_full(folder: Path) -> Iterator[None]:
    """Name a full disk as the reason why something could not be written: GDAL has many words for that, or none."""
    try:
        yield
    except (RasterioError, CPLE_BaseError, OSError, SystemError, RuntimeError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC or shutil.disk_usage(folder).free < _FULL:
            raise DiskFull(errno.ENOSPC, "the disk is full", str(folder.parent)) from error
        raise


def check_integrity(path: Path, driver: str, sparse: bool = False) -> None:
    """Refuse a TIFF some of whose blocks were not written to their ends, and an ENVI image that is too short."""
    if driver not in (*_TIFFS, "ENVI"):
        return
    size = path.stat().st_size
    if driver == "ENVI":
        with rasterio.open(path) as file:
            wanted = file.count * file.height * file.width * np.dtype(file.dtypes[0]).itemsize
        if size < wanted:
            raise OSError(f"the file is not whole: it has {size} of {wanted} bytes")
        return
    with rasterio.open(path) as file:
        levels = range(-1, len(file.overviews(1)))
    for level in levels:
        with rasterio.open(path, **({} if level < 0 else {"overview_level": level})) as file:
            ends = list(_ends(file))
        missing = sum(end is None for end in ends)
        if (missing and not sparse) or any(end is not None and end > size for end in ends):
            raise OSError(f"the file is not whole: {missing} of {len(ends)} blocks are missing, or its end is")


def _ends(file: Any) -> Any:
    """Where each block ends, bytes from the start of the file; None of a block that is not there."""
    one = str(file.profile.get("interleave", "")).lower() != "band"
    for band in (1,) if one else file.indexes:
        high, wide = file.block_shapes[band - 1]
        for row, col in product(range(-(-file.height // high)), range(-(-file.width // wide))):
            found = [file.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=band) for what in ("OFFSET", "SIZE")]
            yield int(found[0]) + int(found[1]) if all(found) else None


_Result = TypeVar("_Result")
_AGAIN = 2  # times that an answer which was cut off is asked for anew, each after four times as long


def clear_cached(path: str) -> None:
    """Remove a remote file from GDAL's cache: a response that was cut off stays there and fails every retry."""
    if not _is_remote(path):
        return
    # GDAL drops what it keeps of an address when a handle is closed that was opened with this setting.
    with rasterio.Env(CPL_VSIL_CURL_NON_CACHED="/vsi"), warnings.catch_warnings(), suppress(RasterioError):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        rasterio.open(path).close()


def retry(job: Callable[[], _Result], path: str) -> _Result:
    """Read a remote file; after an error clear GDAL's cache of it and try again, twice."""
    for turn in range(_AGAIN if _is_remote(path) else 0):
        try:
            return job()
        except RasterioError as error:
            if _is_final(error):
                raise
        clear_cached(path)
        time.sleep(DELAY * 4**turn)
    return job()


def _is_remote(path: str) -> bool:
    return path.startswith("/vsi") or "://" in path


def _is_final(error: RasterioError) -> bool:
    """Tell what asking does not mend: GDAL has asked four times where the server said that it was busy."""
    text = f"{error} {error.__cause__}"
    return any(said in text for said in ("HTTP response code", "No such file", "does not exist", "Access denied"))


def retry_reads(variable: Variable, path: str) -> None:
    """Let reading of a lazy variable be tried again when an answer was cut off."""
    outer = getattr(variable, "_data", None)
    while outer is not None and type(getattr(outer, "array", None)).__name__ != "RasterioArrayWrapper":
        outer = getattr(outer, "array", None)
    if outer is not None:
        outer.array = _RetryingArray(outer.array, path)


class _RetryingArray(BackendArray):
    """Pixels of a remote file."""

    def __init__(self, array: Any, path: str) -> None:
        self.array, self.path = array, path
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: Any) -> Any:
        return retry(lambda: self.array[key], self.path)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write beside a path, then put what was written in its place: all of it or nothing."""
    goal = Path(path)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{goal.name}-", dir=goal.parent))
    except OSError as error:
        raise OptionError(f"cannot write {goal}: {error.strerror} (folder {goal.parent})") from error
    try:
        yield folder / goal.name
        # The goal itself comes last: where it is new, its sidecars are already there.
        for file in sorted(folder.iterdir(), key=lambda file: file.name == goal.name):
            file.replace(goal.parent / file.name)
    except OSError as error:
        raise OptionError(f"cannot write {goal}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_csv(path: str | os.PathLike[str], *, header: bool = True, spaces: bool = False) -> pd.DataFrame:
    """Read a table of text: every cell as a stripped string, "" where it is empty.

    Separators are commas, semicolons or tabs, whichever is most frequent in the first row; with `spaces` white space,
    too. Lines that start with # are no rows: `attrs["comments"]` holds them. Without a header the columns are numbered
    from 0.
    """
    lines = _text_lines(path)
    rows = [line for line in lines if line.strip() and not line.startswith("#")]
    if not rows:
        raise OptionError(f"{path} holds no table: its first row should name the columns")
    separator = max(",;\t", key=rows[0].count)
    if spaces and separator not in rows[0]:
        rows, separator = [" ".join(row.split()) for row in rows], " "
    if not any('"' in row for row in rows) and min(row.count(separator) for row in rows) < rows[0].count(separator):
        raise OptionError(f"{path} has rows with fewer cells than its first row: complete them")
    how: dict[str, Any] = {"dtype": str, "keep_default_na": False, "header": 0 if header else None}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # of empty cells at the ends of rows
            table = pd.read_csv(StringIO("\n".join(rows)), sep=separator, index_col=False, **how)
    except (pd.errors.ParserError, ValueError) as error:
        raise OptionError(f"{path} cannot be read as a table: {error}") from error
    for name in table.columns:
        table[name] = table[name].str.strip()
    table.attrs["comments"] = [line for line in lines if line.startswith("#")]
    return table.rename(columns=lambda name: name.strip() if isinstance(name, str) else name)


def _text_lines(path: str | os.PathLike[str]) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise NoSuchFile(f"{path} does not exist") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is not a text file: give a table as CSV") from error
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from error
