"""NetCDF and Zarr, written by xarray."""

from __future__ import annotations

import importlib.util
import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import DataArray, Dataset

from xcoreg import lazy
from xcoreg.errors import OptionError, require
from xcoreg.raster import spatial_dims

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["write_store"]

# Left by whatever file the image was read from; they would bind the new one to its layout.
_FOREIGN = (
    "source",
    "preferred_chunks",
    "chunks",
    "shards",
    "chunksizes",
    "rasterio_dtype",
    "original_shape",
    "contiguous",
)
_LARGE = 256_000_000  # bytes; larger lazy images go through dask to be written piece by piece
_PIECE = 2048  # px


def write_store(image: DataArray | Dataset, place: Path, kind: str, creation: Mapping[str, Any]) -> None:
    """Write NetCDF or Zarr.

    Parameters
    ----------
    image : DataArray or Dataset
        Any dimensions.
    place : Path
        New file (NetCDF) or folder (Zarr).
    kind : {"netCDF", "Zarr"}
    creation : mapping
        Encoding of every variable (zlib=True, ...).

    Raises
    ------
    MissingDependency
        Without netCDF4 (or h5netcdf and h5py), or zarr.
    OptionError
        When xarray refuses the encoding.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> place = Path(tempfile.mkdtemp()) / "a.nc"
    >>> image = DataArray(np.zeros((2, 3), "u2"), {"y": [2, 1], "x": [1, 2, 3]}, ("y", "x"), name="red")
    >>> write_store(image, place, "netCDF", {})
    >>> place.exists()
    True
    """
    dataset = (
        image if isinstance(image, Dataset) else image.to_dataset(name="image" if image.name is None else image.name)
    )
    if kind == "netCDF":
        _check_coordinates(dataset)
    dataset = dataset.assign({name: _plain(one) for name, one in dataset.data_vars.items()})
    dataset.attrs = _plain_attrs(dataset.attrs)
    encoding: Any = {name: dict(creation) for name in dataset.data_vars} if creation else None
    try:
        if kind == "Zarr":
            require("zarr", extra="zarr")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Zarr 3 has yet to adopt what keeps the order of the variables
                with lazy.everywhere():
                    dataset.to_zarr(place, mode="w", encoding=encoding, consolidated=True)
        else:
            with lazy.everywhere():
                dataset.to_netcdf(place, engine=_engine(), encoding=encoding)
    except (ValueError, TypeError) as error:
        raise OptionError(f"the image cannot be written as {kind}: {error}") from error


def _check_coordinates(dataset: Dataset) -> None:
    """Refuse what GDAL would read back upside down or elsewhere: NetCDF places pixels by their coordinates."""
    y_dim, x_dim = spatial_dims(dataset, "the image")
    if y_dim not in dataset.coords or x_dim not in dataset.coords:
        raise OptionError(
            "NetCDF places pixels by 1-D coordinates, and the image has none (rotated, perhaps): write GeoTIFF or Zarr"
        )


def _engine() -> Any:
    """Choose a library: h5netcdf does not bring the one it needs itself."""
    if all(importlib.util.find_spec(module) for module in ("h5netcdf", "h5py")):
        return "h5netcdf"
    require("netCDF4", extra="netcdf")
    return "netcdf4"


def _plain(array: DataArray) -> DataArray:
    """Bring attributes and encoding of a variable to what CF and the store know."""
    plain = array.copy(deep=False)
    plain.attrs = _plain_attrs(array.attrs)
    plain.encoding = {key: value for key, value in array.encoding.items() if key not in _FOREIGN}
    marker = plain.attrs.pop("_FillValue", None)
    plain.encoding.setdefault("_FillValue", marker)  # None: xarray would mark NaN
    if plain.attrs.get("scale_factor") == 1 and plain.attrs.get("add_offset") == 0:
        del plain.attrs["scale_factor"], plain.attrs["add_offset"]
    if plain.chunks is None:
        lazy = not isinstance(getattr(plain.variable, "_data", None), np.ndarray)
        return plain.chunk(dict.fromkeys(plain.dims[-2:], _PIECE)) if lazy and plain.nbytes > _LARGE else plain
    # Stores want chunks of one size; the last may be smaller.
    return plain.chunk({dim: max(sizes) for dim, sizes in plain.chunksizes.items()})


def _plain_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): _plain_value(value) for key, value in attrs.items() if value is not None}


def _plain_value(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    if isinstance(value, list | tuple):
        return (
            list(value)
            if all(isinstance(each, int | float | str) for each in value)
            else json.dumps(value, default=str)
        )
    return value
