"""The dates of a stack with their windows: read once, in one order, whatever the order they were given in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from xarray import DataArray, Dataset

from xcoreg.core import Ints
from xcoreg.errors import OptionError, is_integer
from xcoreg.files import NoSuchFile, local_path
from xcoreg.io.series import Date, dates_of, series_dim
from xcoreg.matching.stack_options import StackOptions
from xcoreg.matching.stack_windows import Frame, Reading, Windows, digest_order, frame_of, read_series


@dataclass(frozen=True, eq=False)
class Stack:
    """Dates that are matched, in canonical order, with their windows as they were read and cut.

    position : (n,) int; of each date in the list that was given; a reference image is the last there.
    """

    dates: tuple[Date, ...]
    position: Ints
    reading: Reading
    windows: dict[int, Windows]
    offsets: Ints
    has_reference: bool = False

    @property
    def frame(self) -> Frame:
        """The matching grid."""
        return self.reading.frame

    def cut(self, at: int) -> Any:
        """Windows of a date as it lies now."""
        windows, offset = self.place(at)
        return windows.cut(self.frame, offset)

    def place(self, at: int) -> tuple[Windows, tuple[int, int]]:
        """Give the windows of a date as they were read, and where to cut them."""
        col, row = self.offsets[at].tolist()
        return self.windows[at], (col, row)

    def moved(self, offsets: Ints) -> Stack:
        """Cut the windows elsewhere; dates that are too far from where they were read are read again."""
        far = np.abs(offsets - [self.windows[at].offset for at in range(len(self.dates))]).max(1) > self.frame.margin
        again = read_series(self.dates, self.reading, np.flatnonzero(far).tolist(), offsets)
        return replace(self, windows=self.windows | again, offsets=offsets)


def prepare_stack(images: Any, reference: Any, options: StackOptions) -> tuple[Stack, list[Date]]:
    """Read the windows of all dates; also the dates as they were given, with a reference image at the end."""
    given = dates_of(images)
    wheres, n = _wheres(images, options.where, len(given)), len(given)
    bands, nodatas = [options.band] * n, [options.nodata] * n
    if reference is not None:
        given = [*given, *_reference(reference, {one.name for one in given})]
        wheres, bands = [*wheres, options.ref_where], [*bands, options.ref_band]
        nodatas = [*nodatas, options.ref_nodata]
    if len(given) < 2:
        raise OptionError(f"a stack needs at least two dates: {len(given)} given")
    frame = frame_of([one.grid for one in given], options.window, None, options.windows)
    reading = Reading(frame, bands, nodatas, wheres)
    nowhere = np.zeros((len(given), 2), np.intp)
    windows = read_series(given, reading, range(len(given)), nowhere)
    order = digest_order(given, windows)
    cut = {number: windows[at] for number, at in enumerate(order)}
    dates = tuple(given[at] for at in order)
    return Stack(dates, order, reading.ordered(order), cut, nowhere, reference is not None), given


def datum_named(images: Any, reference: Any) -> Any:
    """Name of the date that a reference names, "mean", or None where it is an image or a path."""
    if not isinstance(reference, str | int | np.integer | np.datetime64 | datetime):
        return None
    if isinstance(reference, str) and reference == "mean":
        return reference
    dates = dates_of(images)
    names = [one.name for one in dates]
    if is_integer(reference):
        at: Any = reference
        found = names[int(at)] if -len(dates) <= at < len(dates) else None
    else:
        found = str(reference) if str(reference) in names else _at_time(dates, reference)
    path = local_path(reference) if isinstance(reference, str) else Path()
    if found is None and path is not None and not (isinstance(reference, str) and path.exists()):
        near = get_close_matches(str(reference), names, 1)
        shown = f"did you mean {near[0]!r}?" if near else f"they are {', '.join(names[:4])}{', ...' * (len(names) > 4)}"
        raise NoSuchFile(f"reference={reference!r} is none of the {len(names)} dates, nor a file that exists: {shown}")
    return found


def _at_time(dates: list[Date], reference: Any) -> str | None:
    """Name of the date of a time; a day without an hour is that of its only date."""
    if isinstance(reference, datetime) and reference.tzinfo is not None:
        reference = reference.astimezone(UTC).replace(tzinfo=None)
    try:
        time = np.datetime64(reference)
    except ValueError:
        return None
    unit = "D" if np.datetime_data(time.dtype)[0] == "D" else "ns"
    found = [one.name for one in dates if one.time.astype(f"M8[{unit}]") == time.astype(f"M8[{unit}]")]
    return found[0] if len(found) == 1 else None


def _reference(reference: Any, names: set[str]) -> list[Date]:
    if isinstance(reference, DataArray | Dataset) and series_dim(reference) is not None:
        raise OptionError(
            "the reference has several dates: choose one, or name the date of the cube that stays, datum="
        )
    (one,) = dates_of([reference])
    return [replace(one, name=f"reference {one.name}" if one.name in names or not one.name else one.name)]


def _wheres(images: Any, where: Any, n: int) -> list[Any]:
    """Mask of each date: one of a cube for each, of a list its entries, else the same for all."""
    if isinstance(where, list | tuple):
        if len(where) != n:
            raise OptionError(f"where has {len(where)} entries: give one for each of the {n} dates, or one for all")
        return list(where)
    if not isinstance(where, DataArray):
        return [where] * n
    dim = series_dim(images) if isinstance(images, DataArray | Dataset) else None
    dim = (
        dim
        if dim in where.dims
        else next((one for one in where.dims if where.sizes[one] == n and where.ndim == 3), None)
    )
    if dim is None:
        return [where] * n
    if where.sizes[dim] != n:
        raise OptionError(f"where has {where.sizes[dim]} dates along {dim} and the cube {n}: give the same dates")
    return [where.isel({dim: at}) for at in range(n)]
