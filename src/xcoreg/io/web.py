"""Images on the web: what was cut off on its way is asked for again."""

from __future__ import annotations

import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from xarray.backends import BackendArray

from xcoreg.io import paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from xarray import Variable

__all__ = ["ask_again", "forget", "make_patient"]

_Result = TypeVar("_Result")
_AGAIN = 2  # times that an answer which was cut off is asked for anew, each after four times as long


def forget(path: str) -> None:
    """Let GDAL forget what it has of a remote file: an answer cut off halfway stays in its cache and fails every retry.

    Parameters
    ----------
    path : str
        As GDAL opens it. Local ones are left alone.

    Examples
    --------
    >>> forget("a.tif")
    """
    if not _is_remote(path):
        return
    # GDAL drops what it keeps of an address when a handle is closed that was opened with this setting.
    with rasterio.Env(CPL_VSIL_CURL_NON_CACHED="/vsi"), warnings.catch_warnings(), suppress(RasterioError):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        rasterio.open(path).close()


def ask_again(job: Callable[[], _Result], path: str) -> _Result:
    """Do something with a remote file; after an error, forget what is known of the file and try again, twice.

    Parameters
    ----------
    job : callable () -> result
    path : str
        As GDAL opens it. What goes wrong with local ones is not tried again.

    Returns
    -------
    result
        Of the job.

    Raises
    ------
    RasterioError
        When it fails for good, or there is no such file.

    Examples
    --------
    >>> ask_again(lambda: 7, "/vsicurl/https://example.com/a.tif")
    7
    """
    for turn in range(_AGAIN if _is_remote(path) else 0):
        try:
            return job()
        except RasterioError as error:
            if _is_final(error):
                raise
        forget(path)
        time.sleep(paths.DELAY * 4**turn)
    return job()


def _is_remote(path: str) -> bool:
    return path.startswith("/vsi") or "://" in path


def _is_final(error: RasterioError) -> bool:
    """Tell what asking does not mend: GDAL has asked four times where the server said that it was busy."""
    text = f"{error} {error.__cause__}"
    return any(said in text for said in ("HTTP response code", "No such file", "does not exist", "Access denied"))


def make_patient(variable: Variable, path: str) -> None:
    """Let reading of a lazy variable be tried again when an answer was cut off.

    Parameters
    ----------
    variable : Variable
        From rioxarray; changed in place. Others are left alone.
    path : str
        As GDAL opens it.
    """
    outer = getattr(variable, "_data", None)
    while outer is not None and type(getattr(outer, "array", None)).__name__ != "RasterioArrayWrapper":
        outer = getattr(outer, "array", None)
    if outer is not None:
        outer.array = _Patient(outer.array, path)


class _Patient(BackendArray):
    """Pixels of a remote file."""

    def __init__(self, array: Any, path: str) -> None:
        self.array, self.path = array, path
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: Any) -> Any:
        return ask_again(lambda: self.array[key], self.path)
