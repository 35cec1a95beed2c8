"""How an image is taken and what file it becomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine

from xcoreg.errors import OptionError

__all__ = ["Acquisition", "Product"]

_NORTH_UP = Affine(10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0)
# mean and standard deviation of the land, in digital numbers
_LEVELS = {
    "uint8": (120.0, 25.0),
    "uint16": (2000.0, 400.0),
    "int16": (2000.0, 400.0),
    "int32": (2000.0, 400.0),
    "uint32": (2000.0, 400.0),
    "float32": (0.25, 0.05),
    "float64": (0.25, 0.05),
}


@dataclass(frozen=True)
class Acquisition:
    """What happens to one of the two images.

    Parameters
    ----------
    gain, offset : float
        The digital number is ``mean + gain * (value - mean) + offset``; a negative gain reverses the
        contrast of the land, not of clouds.
    clouds : float
        Fraction of the image under clouds: bright, smooth, with soft edges, and never the same in two images.
    wedge : float
        Fraction of the image beyond a slanted swath edge, filled with nodata: on the left of the reference, on the
        right of the target.
    blur : float
        Standard deviation of a further Gaussian over the whole image, in pixels.
    resampled_from : int
        Average squares of so many pixels and interpolate them back (cubic convolution), as a product resampled from a
        coarser band; 1 does nothing.
    coarser : int
        Average squares of so many pixels into one: an image of that many times the GSD, on the same place.

    Examples
    --------
    >>> Acquisition(gain=-1.0, clouds=0.2).clouds
    0.2
    """

    gain: float = 1.0
    offset: float = 0.0
    clouds: float = 0.0
    wedge: float = 0.0
    blur: float = 0.0
    resampled_from: int = 1
    coarser: int = 1

    def __post_init__(self) -> None:
        """Refuse what no image can have."""
        for name in ("clouds", "wedge"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is a fraction from 0 to 1, not {getattr(self, name)}")
        for name in ("resampled_from", "coarser"):
            if getattr(self, name) < 1 or int(getattr(self, name)) != getattr(self, name):
                raise OptionError(f"{name} is a whole number of pixels from 1 up, not {getattr(self, name)}")
        if self.blur < 0:
            raise OptionError(f"blur is a standard deviation in pixels, not {self.blur}")


@dataclass(frozen=True)
class Product:
    """The raster that the images become.

    Parameters
    ----------
    dtype : str
        uint8, uint16, int16, int32, uint32, float32 or float64.
    nodata : float or None
        Stored marker of missing pixels; no valid pixel of an integer image has this value.
    transform : Affine
        Of both images before `Acquisition.coarser`; rotated and south-up ones are welcome.
    crs : str or CRS or None
        Anything that rasterio understands; None leaves the images without.
    mean, std : float or None
        Level and contrast of the land in digital numbers; the defaults suit the dtype.

    Examples
    --------
    >>> Product(dtype="uint8").level
    (120.0, 25.0)
    """

    dtype: str = "uint16"
    nodata: float | None = 0
    transform: Affine = _NORTH_UP
    crs: object = "EPSG:32633"
    mean: float | None = None
    std: float | None = None

    def __post_init__(self) -> None:
        """Refuse a dtype no image has."""
        if np.dtype(self.dtype).name not in _LEVELS:
            raise OptionError(f"dtype {self.dtype!r} cannot be simulated: choose one of {', '.join(_LEVELS)}")

    @property
    def level(self) -> tuple[float, float]:
        """Mean and standard deviation of the land in digital numbers."""
        mean, std = _LEVELS[np.dtype(self.dtype).name]
        return (mean if self.mean is None else self.mean, std if self.std is None else self.std)
