"""Formats of files: their drivers, and creation options that they would ignore."""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio.drivers import driver_from_extension
from rasterio.io import get_writer_for_driver

from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


_ENVI = (".bsq", ".bil", ".bip", ".img", ".dat", ".envi")
_OPTION = re.compile(r"for (\w+) creation option|support creation option (\w+)")  # in GDAL's warnings
_WITHOUT_PIXELS = ("VRT", "MEM", "Memory")
_STORES = {".nc": "netCDF", ".zarr": "Zarr"}


def driver_for(path: Path, driver: str | None = None) -> str:
    """Name the format of an output."""
    suffix = path.suffix.lower()
    if driver is None:
        try:
            driver = _STORES.get(suffix) or ("ENVI" if suffix in _ENVI else driver_from_extension(path))
        except ValueError as error:
            raise OptionError(f"the extension {suffix!r} of {path} names no format: add driver=") from error
    if driver.lower() in ("netcdf", "zarr"):
        return {"netcdf": "netCDF", "zarr": "Zarr"}[driver.lower()]
    with rasterio.Env() as env:
        name: str | None = next((each for each in env.drivers() if each.lower() == driver.lower()), None)
    if name is None or name in _WITHOUT_PIXELS or writer_for(name) is None:
        raise OptionError(f"{driver!r} is not a format that can be written: use GTiff, COG, ENVI, netCDF, Zarr, ...")
    return name


def check_header(path: Path, driver: str) -> None:
    """Check that the header of an ENVI image does not replace that of another: a.img and a.bsq share a.hdr."""
    header = path.with_suffix(".hdr")
    if driver == "ENVI" and header.exists() and not path.exists():
        raise OptionError(f"cannot write {path}: its header {header} belongs to another image: give another name")


class _Ignored(logging.Handler):
    """Collects GDAL's warnings of creation options that it ignores."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(logging.WARNING)
        self.names = {name.upper() for name in names}
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        option = _OPTION.search(text)
        if option is not None and (option[1] or option[2]).upper() in self.names:
            self.messages.append(text.partition(" in ")[2])


@contextmanager
def refusing_ignored_options(creation: Mapping[str, Any]) -> Iterator[None]:
    """Raise for creation options that GDAL ignores: it only logs a warning."""
    log, ignored = logging.getLogger("rasterio._env"), _Ignored(creation)
    log.addHandler(ignored)
    try:
        yield
    finally:
        log.removeHandler(ignored)
    if ignored.messages:
        raise OptionError(f"a creation option cannot be used: {ignored.messages[0].rstrip('.')}")


def writer_for(driver: str) -> Any:
    """Class of rasterio that writes a format; None for one that cannot be written."""
    with rasterio.Env():  # COG reads GDAL's data folder
        try:
            return get_writer_for_driver(driver)
        except ValueError:
            return None
