"""A series of images, each with a name and a time: a cube along its axis of dates, or a list of images or files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from xarray import DataArray, Dataset

from xcoreg.errors import OptionError
from xcoreg.io.read import open_raster
from xcoreg.raster.bands import is_time, other_axes
from xcoreg.raster.grid import grid_of, located

Image = DataArray | Dataset

# A day in the name of a file, as in S2A_20200131T101021 or 2020-01-31.
_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")
_NEVER = np.datetime64("NaT", "ns")


@dataclass(frozen=True, eq=False)
class Date:
    """One image of a series: its name, time (NaT where unknown), pixels and grid; `numbered`: its place is its name."""

    name: str
    time: np.datetime64
    image: Image
    grid: GeoBox
    numbered: bool = False


def series_dim(image: Any) -> Any:
    """Axis of dates of a cube, None of an image of one date."""
    if not isinstance(image, DataArray | Dataset):
        return None
    axes = other_axes(image, "the cube")
    if len(axes) > 1:
        raise OptionError(
            f"the cube has several axes that are not bands, {', '.join(map(str, axes))}: choose one date of the "
            f"others, as in da.isel({axes[1]}=0)"
        )
    return axes[0] if axes else next((dim for dim in image.dims if is_time(image, dim)), None)


def dates_of(images: Any) -> list[Date]:
    """Dates of a cube, or of a list or dictionary of images, files or addresses, each with a name of its own."""
    dim = series_dim(images)
    if dim is not None:
        images = located(images, "the cube")
        grid = grid_of(images, "the cube")
        named = [(_label(value), _time(value)) for value in images[dim].values]
        found = [Date(*one, images.isel({dim: at}), grid, dim not in images.coords) for at, one in enumerate(named)]
    elif isinstance(images, str | os.PathLike | DataArray | Dataset) or not isinstance(images, Iterable):
        raise OptionError("there is one image: give a cube (time, [band,] y, x), or a list or dictionary of images")
    elif isinstance(images, Mapping):
        found = [_under(name, _date(one, at)) for at, (name, one) in enumerate(images.items())]
    else:
        found = [_date(one, at) for at, one in enumerate(images)]
    return _named(found)


def _under(given: Any, date: Date) -> Date:
    """Date with the name, and the time if it is one, that it has in a dictionary."""
    name = _label(given)
    time = _time(given)
    return replace(date, name=name, time=date.time if np.isnat(time) else time, numbered=False)


def _date(given: Any, at: int) -> Date:
    image: Any = open_raster(os.fspath(given)) if isinstance(given, str | os.PathLike) else given
    if not isinstance(image, DataArray | Dataset):
        raise OptionError(f"image {at} is a {type(image).__name__}: give DataArrays, Datasets or paths")
    if series_dim(image) is not None and image.sizes[series_dim(image)] > 1:
        raise OptionError(f"image {at} of the list is a cube itself: give one cube, or a list of single images")
    image = located(image, f"image {at}")
    source = given if isinstance(given, str | os.PathLike) else image.encoding.get("source")
    scalar = next((one for name, one in image.coords.items() if one.ndim == 0 and one.dtype.kind == "M"), None)
    if source is not None:
        name = PurePath(os.fspath(source).split("?", maxsplit=1)[0]).stem
    else:
        name = str(getattr(image, "name", None) or f"image {at}") if scalar is None else _label(scalar.values)
    numbered = source is None and scalar is None and not getattr(image, "name", None)
    return Date(name, _time(name) if scalar is None else _time(scalar.values), image, grid_of(image, name), numbered)


def _label(value: Any) -> str:
    """Name of a label of an axis: of times without what is zero."""
    array = np.asarray(value)
    if array.dtype.kind == "M":
        text = str(array.astype("datetime64[ns]"))
        return re.sub(r"T00:00$", "", re.sub(r"(:00)?\.0+$", "", text))
    return str(value)


def _time(value: Any) -> np.datetime64:
    array = np.asarray(value)
    if array.dtype.kind == "M":
        return np.datetime64(
            array.item() if array.dtype == "datetime64[ns]" else array.astype("datetime64[ns]").item(), "ns"
        )
    day = _DAY.search(str(value))
    return np.datetime64("-".join(day.groups()), "ns") if day else _NEVER


def copies_of(names: Iterable[str]) -> Counter[str]:
    """How often each name occurs, without the numbers that tell equal ones apart."""
    return Counter(re.sub(r" #\d+$", "", name) for name in names)


def _named(dates: list[Date]) -> list[Date]:
    """Add a number to names that occur several times."""
    counts, seen, out = Counter(one.name for one in dates), Counter[str](), []
    for one in dates:
        seen[one.name] += 1
        out.append(one if counts[one.name] == 1 else replace(one, name=f"{one.name} #{seen[one.name]}"))
    return out
