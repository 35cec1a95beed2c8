"""One two-dimensional band of a DataArray or Dataset."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import rioxarray  # noqa: F401 - registers .rio
from rioxarray.exceptions import MissingSpatialDimensionError
from xarray import DataArray, Dataset

from xcoreg.errors import CoregError, OptionError, is_integer
from xcoreg.files import GDAL_ERRORS
from xcoreg.lazy import BlockError
from xcoreg.raster.geolocation import array_dims, find_arrays
from xcoreg.raster.georeference import UNKNOWN, Unit, parse_unit, variable_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence


Image: TypeAlias = DataArray | Dataset

# Dimensions that rioxarray does not recognise without CF attributes, (x, y), in lower case.
_NAMES = (
    ("x", "y"), ("lon", "lat"), ("longitude", "latitude"), ("easting", "northing"), ("eastings", "northings"),
    ("rlon", "rlat"), ("xc", "yc"), ("xdim", "ydim"), ("nx", "ny"), ("ni", "nj"), ("i", "j"), ("col", "row"),
    ("cols", "rows"), ("column", "row"), ("columns", "rows"), ("samples", "lines"), ("pixel", "line"),
)  # fmt: skip
_X_NAMES = ("projection_x_coordinate", "grid_longitude", "longitude", "projection_x_angular_coordinate")
_Y_NAMES = ("projection_y_coordinate", "grid_latitude", "latitude", "projection_y_angular_coordinate")
# How names of axes begin that hold bands of one exposure; of any other, such as time, level or orbit, one is chosen.
_BANDS = ("band", "wavelength", "wavenumber", "wl", "lambda", "channel", "spectral", "component", "variable", "feature")
_BAND_STANDARD = ("radiation_wavelength", "radiation_frequency", "sensor_band")


def spatial_dims(image: Image, name: str = "target") -> tuple[Hashable, Hashable]:
    """Names of the row and column dimensions."""
    _check_image(image, name)
    if not all(isinstance(size, int | np.integer) for size in image.sizes.values()):
        raise OptionError(f"{name} has chunks of unknown sizes: da.copy(data=da.data.compute_chunk_sizes())")
    try:
        return image.rio.y_dim, image.rio.x_dim
    except MissingSpatialDimensionError:
        pass
    lower = {str(dim).lower(): dim for dim in image.dims}
    for x_dim, y_dim in _NAMES:
        if x_dim in lower and y_dim in lower:
            return lower[y_dim], lower[x_dim]
    known = image.coords.variables
    standard = {known[dim].attrs.get("standard_name"): dim for dim in image.dims if dim in known}
    x, y = (next((standard[one] for one in names if one in standard), None) for names in (_X_NAMES, _Y_NAMES))
    if x is not None and y is not None:
        return y, x
    from_arrays = array_dims(image)
    if from_arrays is not None:
        return from_arrays
    raise OptionError(
        f"{name} has the dimensions {tuple(map(str, image.dims))}, none of them spatial: "
        "set them with da.rio.set_spatial_dims(x_dim=..., y_dim=...)"
    )


def arrays_of(image: Image) -> list[DataArray]:
    """Give the image itself, or the variables of a Dataset."""
    return [image] if isinstance(image, DataArray) else list(image.data_vars.values())


def is_chunked(image: Image) -> bool:
    """Whether pixels are dask's."""
    return any(band.chunks is not None for band in arrays_of(image))


def shape_of(image: Image) -> tuple[int, int]:
    """Rows and columns of an image."""
    y_dim, x_dim = spatial_dims(image, "the image")
    return int(image.sizes[y_dim]), int(image.sizes[x_dim])


def name_of(band: DataArray) -> str:
    """Name of an array in messages."""
    return "the image" if band.name is None else str(band.name)


def _check_image(image: object, name: str) -> None:
    if not isinstance(image, DataArray | Dataset):
        raise OptionError(
            f"{name} is a {type(image).__name__}: give a DataArray or Dataset; xcoreg.open_raster reads a file"
        )


def other_grids(image: Dataset) -> list[list[Hashable]]:
    """Variables of a Dataset that lie over other rows and columns than :func:`spatial_dims` names, by their grid."""
    main = set(spatial_dims(image))
    found: dict[Any, list[Hashable]] = {}
    for name, one in image.data_vars.items():
        if one.ndim > 1 and not main <= set(one.dims):
            try:
                found.setdefault(spatial_dims(one), []).append(name)
            except OptionError:
                continue
    return list(found.values())


def spatial_bands(image: Image, dims: tuple[Hashable, Hashable]) -> dict[Hashable, DataArray]:
    """Bands (..., y, x) by name: the image itself, or the spatial variables of a Dataset."""
    return {band.name: band.transpose(..., *dims) for band in arrays_of(image) if set(dims) <= set(band.dims)}


def to_band(image: Any, band: int | str | None = None, name: str = "target") -> DataArray:
    """Select one band as a 2-D DataArray, rows first; lazy data stay lazy."""
    array, band = pick_variable(image, band, name)
    y_dim, x_dim = spatial_dims(array, name)
    lead = pick_band(array, (y_dim, x_dim), band, name)
    check_pixels(array, (y_dim, x_dim), name)
    return array.isel(lead).transpose(y_dim, x_dim)


def pick_variable(image: Any, band: int | str | None, name: str = "target") -> tuple[DataArray, int | str | None]:
    """Choose the variable of a Dataset; a DataArray is returned as it is."""
    _check_single(band, name)
    if isinstance(image, DataArray):
        return image, band
    _check_image(image, name)
    dims = set(spatial_dims(image, name))
    places = find_arrays(image) or ()
    names = [key for key, each in image.data_vars.items() if dims <= set(each.dims) and key not in places]
    if not names:
        raise OptionError(f"{name} is a Dataset without a variable over {sorted(map(str, dims))}")
    if isinstance(band, str) and band in image.data_vars:
        return variable_of(image, band), None
    if len(names) == 1 or band is None:
        return variable_of(image, names[0]), band
    if isinstance(band, str) or not 1 <= band <= len(names):
        raise _no_such(band, name, [str(key) for key in names])
    return variable_of(image, names[band - 1]), None


def pick_band(
    array: DataArray, dims: tuple[Hashable, Hashable], band: int | str | None, name: str = "target"
) -> dict[Hashable, int]:
    """Positions along the leading dimensions that select one band."""
    lead = [dim for dim in array.dims if dim not in dims]
    empty = [str(dim) for dim in array.dims if array.sizes[dim] == 0]
    if empty:
        raise OptionError(f"{name} is empty along {', '.join(empty)}")
    axis, others = _axes(array, lead)
    if others:
        raise OptionError(_several(array, others, name))
    chosen = dict.fromkeys(lead, 0)
    if axis is not None:
        chosen[axis] = _position(array, axis, band, name)
    elif band not in (None, 1, array.name):
        raise _no_such(band, name, ["1" if array.name is None else str(array.name)])
    return chosen


def count_bands(image: Image, name: str = "target") -> int:
    """Count the bands, or the variables of a Dataset, that a number can choose."""
    dims = spatial_dims(image, name)
    if isinstance(image, Dataset) and len(found := spatial_bands(image, dims)) > 1:
        return len(found)
    array = pick_variable(image, None, name)[0]
    axis = _axes(array, [dim for dim in array.dims if dim not in dims])[0]
    return 1 if axis is None else int(array.sizes[axis])


def other_axes(image: Image, name: str = "target") -> list[Hashable]:
    """Leading dimensions of several values that are not bands of one exposure, such as time."""
    array, dims = pick_variable(image, None, name)[0], spatial_dims(image, name)
    return _axes(array, [dim for dim in array.dims if dim not in dims])[1]


def _axes(array: DataArray, lead: list[Hashable]) -> tuple[Hashable | None, list[Hashable]]:
    """Find the axis of bands among leading dimensions, and others of several values."""
    wide = [dim for dim in lead if array.sizes[dim] > 1]
    bands = sorted((dim for dim in lead if _holds_bands(array, dim)), key=lambda dim: (dim != "band", dim not in wide))
    axis = next(iter(bands), None)
    return axis, [dim for dim in wide if dim != axis]


def _holds_bands(array: DataArray, dim: Hashable) -> bool:
    """Whether a leading dimension holds bands of one exposure: by name, unless its coordinate is another thing."""
    attrs = array.coords[dim].attrs if dim in array.coords else {}
    standard = str(attrs.get("standard_name", "")).lower()
    is_other = str(attrs.get("axis", "")).upper() in ("T", "Z") or standard in ("time", "forecast_reference_time")
    if is_other or (dim in array.coords and array.coords[dim].dtype.kind in "mM"):
        return False
    word = str(dim).lower()
    return word in ("b", "c", "rgb") or word.startswith(_BANDS) or standard.startswith(_BAND_STANDARD)


def _several(array: DataArray, dims: list[Hashable], name: str) -> str:
    """Refusal of axes that are not bands of one exposure."""
    sizes = ", ".join(f"{array.sizes[dim]} values along {dim}" for dim in dims)
    cure, first = ", ".join(f"{dim}=0" for dim in dims), dims[0]
    dated = any(is_time(array, dim) for dim in dims)
    rename = (
        "; match all dates together with match_stack" if dated else f"; da.rename({first}='band') if they are bands"
    )
    return (
        f"{name} has {sizes}, which are not bands of one exposure: choose one, as in da.isel({cure}), or loop, "
        f"for one in range(da.sizes[{str(first)!r}]): da.isel({first}=one)...{rename}"
    )


def is_time(array: Image, dim: Hashable) -> bool:
    """Whether a dimension is surely one of time."""
    coord = array.coords.get(dim)
    if coord is not None and (coord.dtype.kind in "mMO" or coord.attrs.get("axis") == "T"):
        return True
    return "time" in str(dim).lower() or str(dim).lower() in ("t", "date", "step")


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
    if not (band is None or isinstance(band, str) or is_integer(band)):
        raise OptionError(f"band {band!r} of {name} is not a single band: give its number from 1, or its name")


def _no_such(band: object, name: str, known: list[str]) -> OptionError:
    count = f"{len(known)} band{'s' if len(known) > 1 else ''}"
    shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    return OptionError(f"{name} has no band {band!r}; it has {count}: {shown}")


def check_pixels(array: DataArray, dims: tuple[Hashable, Hashable], name: str = "target") -> None:
    """Check that an image holds real numbers, in chunks that can be worked with."""
    dtype = array.dtype
    if dtype.kind == "c":
        raise OptionError(f"{name} is complex ({dtype}): match its magnitude, abs(da)")
    if dtype.kind == "b":
        raise OptionError(f"{name} is boolean: match numbers, da.astype('uint8')")
    if dtype.kind not in "iuf":
        raise OptionError(f"{name} holds {dtype}, not numbers: match a numeric band")
    check_chunks(array, dims, name)


_MOST_CHUNKS = 1000  # of fewer pixels than the next number: dask takes about a millisecond for each, however small
_SMALL_CHUNK = 1024


def check_chunks(array: DataArray, dims: Sequence[Hashable], name: str) -> None:
    """Refuse bands in so many tiny chunks that dask would work for minutes on few pixels."""
    count = math.prod(len(array.chunksizes.get(dim, [0])) for dim in dims)
    pixels = math.prod(array.sizes[dim] for dim in dims)
    if count > _MOST_CHUNKS and pixels < count * _SMALL_CHUNK:
        raise OptionError(
            f"{name} has {count} chunks of about {pixels / count:.0f} pixels, which takes minutes: larger ones, "
            "da.chunk('auto'), chunks='auto'"
        )


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
    return _finite("scale", gain, 1.0), _finite("offset", offset, 0.0)


def _finite(what: str, value: Any, neutral: float) -> float:
    """Read a number of the attributes of an image; a scale of zero would lose all values."""
    try:
        number = neutral if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or (neutral and not number):
        raise OptionError(f"the {what} of the heights is {str(value)[:40]!r} in da.attrs: set a number, or delete it")
    return number


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


@contextmanager
def reading(path: Any, errors: tuple[type[Exception], ...] = GDAL_ERRORS) -> Iterator[None]:
    """Turn the errors of libraries that read a damaged file into an OptionError that names it, those of blocks too."""
    try:
        yield
    except BlockError as error:
        damaged = ", it may be damaged" if isinstance(error.__cause__, errors) else ""
        raise OptionError(f"{path} cannot be read{damaged}: {error}") from error.__cause__
    except CoregError:
        raise
    except errors as error:
        cause = error.__cause__ or error  # GDAL's own message
        raise OptionError(f"{path} cannot be read, it may be damaged: {str(cause) or type(cause).__name__}") from error
