"""Formats of files: their drivers, and creation options that they would ignore."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import contextmanager
from glob import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.drivers import driver_from_extension
from rasterio.io import get_writer_for_driver
from xarray import Dataset

from xcoreg.errors import OptionError, warn_user
from xcoreg.files import open_gdal
from xcoreg.raster.bands import name_of
from xcoreg.raster.nodata import fits_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray


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
    if not isinstance(driver, str):
        raise OptionError(f"driver={driver!r:.80}: give GDAL's name of a format, such as 'GTiff' or 'netCDF'")
    if driver.lower() in ("netcdf", "zarr"):
        return {"netcdf": "netCDF", "zarr": "Zarr"}[driver.lower()]
    with rasterio.Env() as env:
        name: str | None = next((each for each in env.drivers() if each.lower() == driver.lower()), None)
    if name is None or name in _WITHOUT_PIXELS or writer_for(name) is None:
        raise OptionError(f"{driver!r} is not a format that can be written: use GTiff, COG, ENVI, netCDF, Zarr, ...")
    return name


def checked_creation(creation: Any) -> dict[str, Any]:
    """Creation options as a dictionary by name."""
    if not isinstance(creation, Mapping) or not all(isinstance(key, str) for key in creation):
        raise OptionError(f"creation={creation!r:.80}: give a dictionary, such as {{'compress': 'zstd'}}")
    return dict(creation)


_NUMBERS = ("_FillValue", "missing_value", "scale_factor", "add_offset", "valid_min", "valid_max")
_KINDS = {"band_tags": list | tuple, "gdal": dict, "grid_mapping": str, "units": str | list | tuple}


def with_sound_attributes(image: Any) -> Any:
    """Leave out, with a warning, attributes that have a meaning in files, and a value that has none."""
    if isinstance(image, Dataset):
        return image.assign({name: with_sound_attributes(one) for name, one in image.data_vars.items()})
    image, lost = image.copy(deep=False), list[str]()
    for key in ("dtype", "rasterio_dtype"):
        if key in image.encoding and not _is_dtype(image.encoding[key]):
            lost.append(f"{key}={image.encoding.pop(key)!r:.40}")
    for place in (image.attrs, image.encoding):
        for key, value in list(place.items()):
            if not any(_is_sound(key, value, dtype) for dtype in (image.dtype, image.encoding.get("dtype", "O"))):
                lost.append(f"{key}={value!r:.40}")
                del place[key]
            elif isinstance(value, str):
                place[key] = value.encode(errors="replace").decode()
    if "grid_mapping" in image.encoding:
        image.attrs.pop("grid_mapping", None)
    if lost:
        warn_user(f"{name_of(image)} has attributes without a meaning, which are left out: {', '.join(lost)}")
    return image


def _is_dtype(value: Any) -> bool:
    try:
        return value is not None and np.dtype(value).kind in "biufcmMSUO"
    except (TypeError, ValueError):
        return False


def _is_sound(key: Any, value: Any, dtype: Any) -> bool:
    """Whether an attribute can be what its name says."""
    if key in _KINDS:
        return value is None or isinstance(value, _KINDS[key])
    if key not in _NUMBERS:
        return True
    if not isinstance(value, np.ndarray | np.generic | int | float | list | tuple):
        return False
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "iuf" or numbers.size == 0 or (key != "missing_value" and numbers.ndim):
        return False
    if key in ("scale_factor", "add_offset"):
        return bool(np.isfinite(numbers)) and not (key == "scale_factor" and numbers == 0)
    kind = np.dtype(dtype).kind
    return key[:5] == "valid" or kind == "b" or (kind in "iuf" and all(fits_dtype(one, dtype) for one in numbers.flat))


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


_LOSSLESS = ("GTiff", "COG", "ENVI", "PNG", "netCDF", "Zarr")
_LOSSY_OPTIONS = {"max_z_error", "discard_lsb", "nbits", "jpeg_quality", "webp_level", "jxl_distance"}
_SHARED_STEM = (".prj", ".wld", ".hdr", "_RPC.TXT", "_rpc.txt", ".RPB", ".rpb")


def may_lose(driver: str, creation: Mapping[str, Any]) -> bool:
    """Whether pixels may come back from a file as others, for all that is known before it is read."""
    options = {key.lower(): str(value).lower() for key, value in creation.items()}
    codec = options.get("compress", "")
    if driver.startswith("JP2") and not creation:  # written without loss by default
        return False
    return driver not in _LOSSLESS or bool(_LOSSY_OPTIONS & options.keys()) or codec.startswith(("jpeg", "webp", "jxl"))


def side_files(path: Path) -> list[Path]:
    """Files beside a raster that describe its georeference, and belong to no other image."""
    suffix = path.suffix
    own = [path.with_suffix(end) for end in ((f"{suffix[:2]}{suffix[-1:]}w", f"{suffix}w") if suffix else ())]
    shared = [path.with_name(f"{path.stem}{end}") for end in _SHARED_STEM]
    others = {one for one in path.parent.glob(f"{escape(path.stem)}.*") if not one.name.startswith(path.name)}
    others -= {*own, *shared}
    return [one for one in (own if others else own + shared) if one.is_file()]


_CLIPPED = 0.25  # part of the range of values whose loss is no compression


def check_loss(place: Path, driver: str, wanted: NDArray[Any], window: Any) -> None:
    """Compare a window (band, y, x) of a new file with what should be there: refuse clipped values, warn of others."""
    with open_gdal(place) as file:
        found = file.read(window=window).astype(float)
    known = np.isfinite(wanted) & np.isfinite(found)
    found, values = found[known], wanted[known].astype(float)
    error = np.abs(found - values)
    if not error.size or not error.max():
        return
    low, high = values.min(), values.max()
    slack = _CLIPPED * (high - low)
    if found.max() < high - slack or found.min() > low + slack:
        raise OptionError(
            f"{driver} cannot hold these values: {low:g} to {high:g} become {found.min():g} to {found.max():g}; choose "
            "another format"
        )
    rms = float(np.sqrt(np.mean(error**2)))
    warn_user(f"{driver} is lossy here: pixels differ by up to {error.max():g}, RMS {rms:.3g}; GeoTIFF keeps them")
