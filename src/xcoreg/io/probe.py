"""Whether a format takes an image: tried with a small image of its kind, before any work."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import DataArray, Dataset

from xcoreg.errors import OptionError
from xcoreg.io.write import write_raster
from xcoreg.raster.bands import spatial_dims

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def try_format(
    goal: Path, driver: str, creation: Mapping[str, Any], image: DataArray | Dataset | None = None, dtype: Any = None
) -> None:
    """Write a small image of the kind of another, to refuse a format or its creation options before any work.

    dtype : Of the pixels, where it will change.
    """
    axes = {"y": -np.arange(64.0), "x": np.arange(64.0)}
    images: list[Any] = [DataArray(_ramp((64, 64), kind), axes, ("y", "x")) for kind in ("uint8", "uint16", "float32")]
    if image is not None:
        y_dim, x_dim = spatial_dims(image, "the image")
        part = image.isel({y_dim: slice(0, 64), x_dim: slice(0, 64)})
        images = [part.map(_sample, args=(dtype,)) if isinstance(part, Dataset) else _sample(part, dtype)]
    failures = []
    with tempfile.TemporaryDirectory() as room, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in images:
            place = Path(room) / f"try{goal.suffix}"
            try:
                write_raster(one, place, driver=driver, **creation)
            except OptionError as error:
                failures.append(OptionError(str(error).replace(str(place), str(goal))))
    if len(failures) == len(images):
        raise failures[-1]


def _sample(part: DataArray, dtype: Any) -> DataArray:
    """Array like a part of an image with all values its dtype can take."""
    kind = np.dtype(dtype or part.dtype)
    sample = part.copy(
        data=_ramp(part.shape, kind) if kind == part.encoding.get("dtype", kind) else np.zeros(part.shape)
    )
    sample.encoding = {key: value for key, value in part.encoding.items() if key not in ("source", "gdal")}
    return sample


def _ramp(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    kind = np.dtype(dtype)
    ends = (np.iinfo(kind).min, np.iinfo(kind).max) if kind.kind in "iu" else (0, 1)
    line = np.linspace(*ends, num=shape[-1] * shape[-2])
    line = line.astype(kind) if kind.itemsize < 8 or kind.kind not in "iu" else np.arange(line.size).astype(kind)
    return np.broadcast_to(line.reshape(shape[-2:]), shape).copy()
