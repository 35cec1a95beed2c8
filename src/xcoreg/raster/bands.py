"""One two-dimensional band of a DataArray or Dataset."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import rioxarray  # noqa: F401 - registers .rio
from rioxarray.exceptions import MissingSpatialDimensionError
from xarray import DataArray, Dataset

from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Hashable


Image: TypeAlias = DataArray | Dataset

# Dimensions that rioxarray does not recognise without CF attributes, (x, y).
_NAMES = (("lon", "lat"), ("easting", "northing"), ("X", "Y"), ("Longitude", "Latitude"), ("Lon", "Lat"))


def spatial_dims(image: Image, name: str = "target") -> tuple[Hashable, Hashable]:
    """Names of the row and column dimensions."""
    try:
        return image.rio.y_dim, image.rio.x_dim
    except MissingSpatialDimensionError:
        pass
    for x_dim, y_dim in _NAMES:
        if x_dim in image.dims and y_dim in image.dims:
            return y_dim, x_dim
    raise OptionError(
        f"{name} has the dimensions {tuple(map(str, image.dims))}, none of them spatial: "
        "set them with da.rio.set_spatial_dims(x_dim=..., y_dim=...)"
    )


def spatial_bands(image: Image, dims: tuple[Hashable, Hashable]) -> dict[Hashable, DataArray]:
    """Bands (..., y, x) by name: the image itself, or the spatial variables of a Dataset."""
    found = [image] if isinstance(image, DataArray) else image.data_vars.values()
    bands = (band for band in found if set(dims) <= set(band.dims))
    return {band.name: band.transpose(..., *dims) for band in bands}


def to_band(image: Any, band: int | str | None = None, name: str = "target") -> DataArray:
    """Select one band as a 2-D DataArray, rows first; lazy data stay lazy."""
    array, band = pick_variable(image, band, name)
    y_dim, x_dim = spatial_dims(array, name)
    lead = pick_band(array, (y_dim, x_dim), band, name)
    check_dtype(array.dtype, name)
    return array.isel(lead).transpose(y_dim, x_dim)


def pick_variable(image: Any, band: int | str | None, name: str = "target") -> tuple[DataArray, int | str | None]:
    """Choose the variable of a Dataset; a DataArray is returned as it is."""
    _check_single(band, name)
    if isinstance(image, DataArray):
        return image, band
    if not isinstance(image, Dataset):
        raise OptionError(
            f"{name} is a {type(image).__name__}: give a DataArray or Dataset; xcoreg.open_raster reads a file"
        )
    dims = set(spatial_dims(image, name))
    names = [key for key, variable in image.data_vars.items() if dims <= set(variable.dims)]
    if not names:
        raise OptionError(f"{name} is a Dataset without a variable over {sorted(map(str, dims))}")
    if isinstance(band, str) and band in names:
        return image[band], None
    if len(names) == 1 or band is None:
        return image[names[0]], band
    if isinstance(band, str) or not 1 <= band <= len(names):
        raise _no_such(band, name, [str(key) for key in names])
    return image[names[band - 1]], None


def pick_band(
    array: DataArray, dims: tuple[Hashable, Hashable], band: int | str | None, name: str = "target"
) -> dict[Hashable, int]:
    """Positions along the leading dimensions that select one band."""
    lead = [dim for dim in array.dims if dim not in dims]
    wide = [dim for dim in lead if array.sizes[dim] > 1]
    empty = [str(dim) for dim in array.dims if array.sizes[dim] == 0]
    if empty:
        raise OptionError(f"{name} is empty along {', '.join(empty)}")
    axis = "band" if "band" in lead else next(iter(wide or lead), None)
    others = [str(dim) for dim in wide if dim != axis]
    if others:
        cure = ", ".join(f"{dim}=0" for dim in others)
        raise OptionError(f"{name} has several values along {', '.join(others)}: choose one, as in da.isel({cure})")
    chosen = dict.fromkeys(lead, 0)
    if axis is not None:
        chosen[axis] = _position(array, axis, band, name)
    elif band not in (None, 1, array.name):
        raise _no_such(band, name, ["1" if array.name is None else str(array.name)])
    return chosen


def _position(array: DataArray, axis: Hashable, band: int | str | None, name: str) -> int:
    if band is None:
        return 0
    size = array.sizes[axis]
    labels = array.coords[axis].values if axis in array.coords else np.arange(1, size + 1)
    spelled = [str(label) for label in labels.tolist()]
    if isinstance(band, str):
        names = array.attrs.get("long_name", ())
        long_names = [str(entry) for entry in names] if isinstance(names, list | tuple) else [str(names)]
        for known in (spelled, long_names):
            if band in known and len(known) == size:
                return known.index(band)
        raise _no_such(band, name, long_names if len(long_names) == size else spelled)
    hits = np.flatnonzero(labels == band) if np.issubdtype(labels.dtype, np.number) else np.array([], int)
    if hits.size:
        return int(hits[0])
    if not 1 <= band <= size:
        raise _no_such(band, name, spelled)
    return int(band) - 1


def _check_single(band: object, name: str) -> None:
    if isinstance(band, bool) or not isinstance(band, str | int | np.integer | None):
        raise OptionError(f"band {band!r} of {name} is not a single band: give its number from 1, or its name")


def _no_such(band: object, name: str, known: list[str]) -> OptionError:
    count = f"{len(known)} band{'s' if len(known) > 1 else ''}"
    shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    return OptionError(f"{name} has no band {band!r}; it has {count}: {shown}")


def check_dtype(dtype: np.dtype[Any], name: str = "target") -> None:
    """Check that an image holds real numbers."""
    if dtype.kind == "c":
        raise OptionError(f"{name} is complex ({dtype}): match its magnitude, abs(da)")
    if dtype.kind == "b":
        raise OptionError(f"{name} is boolean: match numbers, da.astype('uint8')")
    if dtype.kind not in "iuf":
        raise OptionError(f"{name} holds {dtype}, not numbers: match a numeric band")


@dataclass(frozen=True)
class Unit:
    """A unit of heights: its short name, "" where it is unknown, and its length in metres, None for no length."""

    name: str = ""
    metres: float | None = None

    def __str__(self) -> str:
        return self.name or "an unknown unit"


UNKNOWN = Unit()
_SURVEY = re.compile(r"(us|survey) .*(ft|foot|feet)|(ft|foot|feet) ?us|usft")
_LENGTHS = (
    (_SURVEY, Unit("ftUS", 1200 / 3937)),
    (re.compile(r"(international )?(ft|foot|feet)"), Unit("ft", 0.3048)),
    (re.compile(r"m|met(re|er)s?"), Unit("m", 1.0)),
    (re.compile(r"mm|millimet(re|er)s?"), Unit("mm", 1e-3)),
    (re.compile(r"cm|centimet(re|er)s?"), Unit("cm", 1e-2)),
    (re.compile(r"dm|decimet(re|er)s?"), Unit("dm", 0.1)),
    (re.compile(r"km|kilomet(re|er)s?"), Unit("km", 1e3)),
)
_AFTER = r"( (above|below|over|a s l|asl|amsl|wrt|rel).*)?"  # as in "m above sea level"


def parse_unit(text: Any) -> Unit:
    """Read the unit of heights from its name in any spelling."""
    name = "" if text is None else str(text).strip()
    words = re.sub(r"[\s_.\-]+", " ", re.sub(r"\(.*\)", "", name).lower()).strip()
    found = (unit for pattern, unit in _LENGTHS if re.fullmatch(f"({pattern.pattern}){_AFTER}", words))
    return next(found, Unit(name))


def entry_of(array: DataArray, key: str, position: int = 0) -> Any:
    """Entry of a band in an attribute that may be a list with one for each band of the file."""
    values = array.attrs.get(key)
    if not isinstance(values, list | tuple):
        return values
    labels = np.atleast_1d(array.coords["band"].values) if "band" in array.coords else np.arange(len(values)) + 1
    label = labels[position] if position < len(labels) else None
    at = int(label) - 1 if isinstance(label, np.integer) and 1 <= label <= len(values) else position
    return values[at] if at < len(values) else None


def height_unit(array: DataArray, crs: Any, position: int = 0) -> Unit:
    """Find the unit of the heights of a band: that of the band, else of the vertical axis of a CRS of pyproj."""
    named = entry_of(array, "units", position)
    if named:
        return parse_unit(named)
    vertical = crs.sub_crs_list[-1] if crs is not None and crs.is_compound else crs
    axes = [] if vertical is None else vertical.axis_info
    return parse_unit(axes[-1].unit_name) if len(axes) in (1, 3) else UNKNOWN


def height_scaling(array: DataArray, position: int = 0) -> tuple[float, float]:
    """Factor and offset that make heights of stored numbers: of images that are not decoded."""
    gain, offset = entry_of(array, "scales", position), entry_of(array, "offsets", position)
    gain = array.attrs.get("scale_factor") if gain is None else gain
    offset = array.attrs.get("add_offset") if offset is None else offset
    return (1.0 if gain is None else float(gain)), (0.0 if offset is None else float(offset))


def common_unit(
    target: Unit, reference: Unit, names: tuple[str, str] = ("the heights of the target", "those of the reference")
) -> tuple[Unit, float]:
    """Choose the unit of the heights of the target, and the factor that converts those of the reference."""
    if {target.name, reference.name} == {"", "m"}:  # heights without a unit are metres beside metres
        return Unit("m", 1.0), 1.0
    if target.name == reference.name:
        return target, 1.0
    if target.metres is None or reference.metres is None:
        raise OptionError(
            f"{names[0]}: in {target}; {names[1]}: in {reference}: they cannot be compared; name the unit, "
            "da.attrs['units'] = 'm' or 'ft', in the shell: rio edit-info --bidx 1 --units ft FILE"
        )
    return target, reference.metres / target.metres
