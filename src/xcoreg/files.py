"""Files: paths for GDAL, outputs that replace a file in one step, integrity checks, retries of remote files, CSV."""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import os
import re
import shutil
import socket
import struct
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from xarray import Variable
from xarray.backends import BackendArray

from xcoreg.errors import OptionError, hide_secrets

RETRIES, DELAY = 4, 0.5  # of requests to servers; seconds before the first, then longer
SILENCE = 30  # seconds after which a server that sends nothing, or takes no connection, has failed
_PATIENCE = 90  # seconds after which a file on a server is not tried again
_WAIT = 0.05  # seconds for other threads to end their writing
# Files of GDAL beside a raster, which describe the old pixels.
SIDECARS = (".aux.xml", ".ovr", ".msk", ".msk.ovr")
# World files, projections, headers, RPCs; tables of vectors.
_BESIDE = (".tfw", ".tifw", ".wld", ".pgw", ".jgw", ".j2w", ".bpw", ".prj", ".hdr", ".rpb", ".dbf", ".shx", ".cpg")

GDAL_ERRORS = (RasterioError, CPLE_BaseError, UnicodeError)
# What the libraries of Zarr and NetCDF raise for damaged files: each codec has its own kind of error.
STORE_ERRORS: tuple[type[Exception], ...] = (*GDAL_ERRORS, OSError, EOFError, zlib.error, lzma.LZMAError, RuntimeError)
STORE_ERRORS += (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, SystemError, struct.error)

AnyPath: TypeAlias = "str | os.PathLike[str]"


class NoSuchFile(OptionError, FileNotFoundError):
    """A file or address that was named does not exist."""


def read_json(path: Path) -> Any:
    """Read JSON, with or without a byte order mark; text that is no JSON, or is nested too deep, is a ValueError."""
    return parse_json(path.read_text(encoding="utf-8-sig"))


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; nesting that is too deep is a ValueError as well."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def as_path(path: Any) -> Path:
    """Path of a file that a user named; OptionError for what is none."""
    try:
        return Path(path)
    except TypeError as error:
        raise OptionError(f"{path!r:.80} is no path of a file: give a text or a pathlib.Path") from error


def gdal_path(path: AnyPath) -> str:
    """Path or address as GDAL opens it, with range requests for web addresses."""
    text = str(path)
    if re.match(r"https?://", text, re.IGNORECASE):
        limits = f"connecttimeout={SILENCE}&low_speed_limit=1&low_speed_time={SILENCE}"
        retries = f"max_retry={RETRIES}&retry_delay={DELAY}"
        return f"/vsicurl?list_dir=no&empty_dir=yes&{limits}&{retries}&url={quote(text, safe='')}"
    return text


def local_path(path: AnyPath) -> Path | None:
    """Local path, or None for an address or a GDAL identifier."""
    text = str(path)
    if "\0" in text or any(
        len(part.encode(errors="replace")) > 255 for part in re.split(r"[/\\]", text.partition("?")[0])
    ):
        raise OptionError(f"{text[:40]!r}... cannot be the name of a file")
    if text.startswith("/vsi") or re.match(r"[A-Za-z0-9_+.-]{2,}:", text):
        return Path(text) if Path(text).exists() else None
    return Path(text)


_PROCESS = os.getpid()


def gdal_threads() -> str:
    """Threads that GDAL compresses with: all, but one after a fork, where GDAL would wait for those of the parent."""
    return "ALL_CPUS" if os.getpid() == _PROCESS else "1"


def same_file(one: AnyPath, two: AnyPath) -> bool:
    """Whether two paths name one existing local file."""
    first, second = local_path(one), local_path(two)
    try:
        return first is not None and second is not None and first.samefile(second)
    except OSError:  # one of them does not exist
        return False


def check_inputs(goal: Path, inputs: Iterable[Any]) -> None:
    """Refuse an output, or a file of GDAL beside it, that is an input, a part of one (.hdr), or a source of a VRT.

    inputs : Paths, or images, whose files count; anything else is ignored.
    """
    if not goal.name:
        raise OptionError(f"cannot write to {str(goal)!r}: give the path of a file")
    written = [one for one in (goal, *(goal.with_name(goal.name + end) for end in SIDECARS)) if one.exists()]
    for path in (path for one in inputs for path in _sources_of(one)) if written else ():
        beside = Path(path).suffix.lower() == ".vrt" or goal.stem.startswith(Path(path).stem)
        for each in (path, *(_parts_of(path) if beside else ())):
            if any(same_file(one, each) for one in written):
                what = "the input itself" if each is path else f"a part of the input {path}"
                raise OptionError(f"the output {goal} is {what}: give another path")


def _sources_of(one: Any) -> list[str]:
    """Files that an input is read from: itself, or those of an image in memory."""
    if isinstance(one, str | os.PathLike):
        return [os.fspath(one)]
    images = getattr(one, "data_vars", {"": one}).values()
    return [path for each in images if isinstance(path := getattr(each, "encoding", {}).get("source"), str)]


def _parts_of(path: str) -> list[str]:
    """Files of which a local raster is made, and those beside an input that describe it, now or for other programs."""
    if local_path(path) is None or not Path(path).is_file():
        return []
    beside = [str(Path(path).with_suffix(end)) for end in _BESIDE]
    with suppress(OptionError), open_gdal(path) as file:
        return [*file.files, *beside]
    return beside


def check_output(path: AnyPath, *, inputs: Iterable[Any] = (), overwrite: bool = True) -> Path:
    """Check that an output can and may be written, before any work is done; inputs as for :func:`check_inputs`."""
    goal = local_path(path)
    if goal is None:
        raise OptionError(f"cannot write to {path}: give a local path")
    check_inputs(goal, inputs)
    if not goal.parent.is_dir():
        raise OptionError(f"cannot write {goal}: there is no folder {goal.parent}")
    if goal.exists() and not overwrite:
        raise OptionError(f"{goal} exists: give another path or allow overwriting")
    _check_replaceable(goal)
    try:
        with tempfile.TemporaryFile(dir=goal.parent):
            pass
    except OSError as error:
        raise OptionError(f"cannot write {goal}: the folder {goal.parent} is not writable") from error
    return goal


def _check_replaceable(goal: Path) -> None:
    """Refuse to replace folders but those of Zarr, what is read-only, and devices, pipes and sockets."""
    if goal.is_dir() and not is_zarr(goal):
        raise OptionError(f"cannot write {goal}: it is a folder")
    if goal.exists() and not (goal.is_file() or goal.is_dir()):
        raise OptionError(f"cannot write {goal}: it is a device or a pipe, not a file")
    if goal.exists() and not goal.stat().st_mode & 0o222:
        raise OptionError(f"cannot write {goal}: the file is read-only")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata"))


@contextmanager
def open_gdal(path: AnyPath, mode: str = "r", **options: Any) -> Iterator[Any]:
    """Open a raster with rasterio, with or without a georeference; its errors become an OptionError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, mode, **options) as file:
                yield file
    except GDAL_ERRORS as error:
        raise OptionError(f"{path} cannot be opened: {error}") from error


@contextmanager
def new_file(goal: Path, stale: Iterable[Path] = ()) -> Iterator[Path]:
    """Offer a path in a temporary folder beside the output; the file replaces the output at the end, or is deleted.

    stale : Files that belonged to the old output, removed when the new one is complete.

    Temporary folders of killed programs are removed when the same output is written again.
    """
    _check_replaceable(goal)
    folder = make_temporary_folder(goal)
    try:
        with _emptied_on_failure(folder):
            yield folder / goal.name
        for one in (*(goal.with_name(goal.name + suffix) for suffix in SIDECARS), *stale):
            one.unlink(missing_ok=True)
        # The file itself comes last, when its sidecars are in place.
        for made in sorted(folder.iterdir(), key=lambda made: made.name == goal.name):
            if (place := goal.with_name(made.name)).is_dir():  # a folder (Zarr) cannot be replaced in one step
                place.rename(folder / f"{place.name}.old")
            made.replace(place)
    finally:
        for wait in (0.05, 0.2, 1.0):  # threads may still be writing when one of them has failed
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(wait)


@contextmanager
def replacing(path: AnyPath, inputs: Iterable[Any] = ()) -> Iterator[Path]:
    """Offer a temporary path as :func:`new_file` does; an OSError becomes an OptionError that names the output.

    inputs : None of which the output may be, as for :func:`check_inputs`.
    """
    goal = as_path(path)
    try:
        check_inputs(goal, inputs)
        with new_file(goal) as temporary, reporting_disk_full(temporary.parent):
            yield temporary
    except OSError as error:
        raise OptionError(f"cannot write {goal}: {error.strerror or error} (folder {goal.parent})") from error


@contextmanager
def _emptied_on_failure(folder: Path) -> Iterator[None]:
    """Free the disk even of files that a library fails to close, as HDF5 does when the disk is full."""
    try:
        yield
    except BaseException:
        for _ in range(3):
            time.sleep(_WAIT)  # other threads end their writing, which would fill the disk, or make the folder, again
            for made in folder.rglob("*"):
                with suppress(OSError):
                    os.truncate(made, 0)
        raise


_NAME = re.compile(r"\.xcoreg-(?P<goal>[0-9a-f]{8})-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-\w+")


def make_temporary_folder(goal: Path) -> Path:
    """Make a folder beside an output, named after the output, the machine and the process."""
    remove_stale_folders(goal.parent, goal.name)
    prefix = f".xcoreg-{_short(goal.name)}-{_short(socket.gethostname())}-{os.getpid()}-"
    return Path(tempfile.mkdtemp(prefix=prefix, dir=goal.parent))


def remove_stale_folders(folder: Path, name: str | None = None) -> int:
    """Remove temporary folders of programs of this machine that were killed; return their number."""
    here, count = _short(socket.gethostname()), 0
    try:
        entries = [entry.name for entry in os.scandir(folder) if entry.name.startswith(".xcoreg-")]
    except OSError:  # writing there will fail with a message
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
    if os.name == "nt":  # os.kill(pid, 0) would end it
        return True
    try:
        with suppress(PermissionError):  # of another user
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


_FULL = 1 << 20  # bytes; a disk with less free space is full


class DiskFull(OSError):
    """The disk has no space for an output."""


@contextmanager
def reporting_disk_full(folder: Path) -> Iterator[None]:
    """Raise DiskFull where writing failed on a full disk: GDAL and HDF5 report it in many ways, or not at all."""
    try:
        yield
    except (RasterioError, CPLE_BaseError, OSError, SystemError, RuntimeError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC or shutil.disk_usage(folder).free < _FULL:
            raise DiskFull(errno.ENOSPC, "the disk is full", str(folder.parent)) from error
        raise


_Result = TypeVar("_Result")
_ONE_RETRY = RLock()


def clear_cached(path: str) -> None:
    """Remove a remote file from GDAL's cache: a response that was cut off stays there and fails every retry."""
    if not _is_remote(path):
        return
    # GDAL clears its cache of an address when a handle is closed that was opened with this setting.
    with rasterio.Env(CPL_VSIL_CURL_NON_CACHED="/vsi"), suppress(OptionError), open_gdal(path):
        pass


def retry(job: Callable[[], _Result], path: str) -> _Result:
    """Read a remote file; after an error clear GDAL's cache of it and try again, unless that takes too long."""
    start = time.monotonic()
    try:
        return job()
    except RasterioError as error:
        if not _is_remote(path) or _is_final(error):
            raise
        last = error
    # One thread at a time: another one could be served the response that was cut off before it is cleared.
    with _ONE_RETRY:
        for wait in (DELAY, 4 * DELAY):
            if time.monotonic() - start > _PATIENCE:
                break
            clear_cached(path)
            time.sleep(wait)
            try:
                return job()
            except RasterioError as error:
                if _is_final(error):
                    raise
                last = error
    raise last


def _is_remote(path: str) -> bool:
    return path.startswith("/vsi") or "://" in path


def _is_final(error: RasterioError) -> bool:
    """Whether retrying is useless; GDAL itself has retried four times where the server was busy."""
    text = f"{error} {error.__cause__}"
    return any(words in text for words in ("HTTP response code", "No such file", "does not exist", "Access denied"))


def retry_reads(variable: Variable, path: str) -> None:
    """Make reads of a lazy variable retry after a response that was cut off."""
    replace_reads(variable, "RasterioArrayWrapper", lambda array: _RetryingArray(array, path))


def replace_reads(variable: Variable, kind: str, make: Callable[[Any], Any]) -> None:
    """Put another array around the innermost one, which reads the file."""
    outer = getattr(variable, "_data", None)
    while outer is not None and type(getattr(outer, "array", None)).__name__ != kind:
        outer = getattr(outer, "array", None)
    if outer is not None:
        outer.array = make(outer.array)


class _RetryingArray(BackendArray):
    """Pixels of a remote file."""

    def __init__(self, array: Any, path: str) -> None:
        self.array, self.path = array, path
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: Any) -> Any:
        try:
            return retry(lambda: self.array[key], self.path)
        except RasterioError as error:
            reason = error.__cause__ or error  # GDAL's own message
            raise OptionError(f"{hide_secrets(self.path)} cannot be read, it may be damaged: {reason}") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Refuse a folder that another process works in; what a process that died has left there does not count."""
    path = folder / ".xcoreg.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            _lock(file)
        except BlockingIOError:
            file.seek(0)
            other = file.read(200).strip()
            raise OptionError(
                f"{folder} is in use by {other}: wait until it has ended, or give another folder"
            ) from None
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            with locked(folder):  # the process that had the lock has ended just now, and removed this file
                yield
            return
        file.truncate(0)
        print(f"process {os.getpid()} on {socket.gethostname()}", file=file, flush=True)
        try:
            yield
        finally:
            with suppress(OSError):  # an open file cannot be removed on Windows
                path.unlink()


def _lock(file: Any) -> None:
    """Lock an open file as long as it is open; BlockingIOError where another process has it."""
    try:
        import fcntl  # not on Windows
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return
