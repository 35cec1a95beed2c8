"""Masks from the quality layers of image products, for the options ``where`` and ``ref_where``.

Each function takes the layer as :func:`xcoreg.open_raster` or rioxarray opens it, any pixel size, and returns a boolean
DataArray, True where the image can be used, as the options take it; layers in files and dask arrays stay lazy. Pixels
that are fill or NaN are never usable. `exclude` names what else is not usable, from the product's own list of codes,
which stands in :data:`CODES`. A path that starts with the name of a function and a colon does the same:
``where="scl:SCL.jp2"``, on the command line ``--where scl:SCL.jp2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.errors import OptionError
from xcoreg.io.read import chunk_unread, open_raster
from xcoreg.raster.bands import to_band

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

__all__ = [
    "CODES", "cloud_probability", "fmask", "modis_state", "qa60", "qa_pixel", "qa_radsat", "read_quality", "scl",
    "udm", "udm2",
]  # fmt: skip


@dataclass(frozen=True)
class Codes:
    """Codes of a quality layer.

    names : What each means, to (first bit, number of bits, values); 16 bits from the first are the value itself.
    exclude : Names that are not usable by default.
    fill : Value without any meaning.
    """

    names: dict[str, tuple[int, int, tuple[int, ...]]]
    exclude: tuple[str, ...]
    fill: int | None = None


def _classes(*names: str) -> dict[str, tuple[int, int, tuple[int, ...]]]:
    """Classes numbered from 0."""
    return {name: (0, 16, (code,)) for code, name in enumerate(names)}


def _bits(names: dict[str, int]) -> dict[str, tuple[int, int, tuple[int, ...]]]:
    """Single bits, counted from 0."""
    return {name: (bit, 1, (1,)) for name, bit in names.items()}


#: Codes of the products by the name of the function, as their handbooks give them.
CODES = {
    # Sentinel-2 Products Specification Document, scene classification of level 2A
    "scl": Codes(
        _classes(
            "no_data", "saturated_or_defective", "dark_area", "cloud_shadow", "vegetation", "not_vegetated", "water",
            "unclassified", "cloud_medium_probability", "cloud_high_probability", "thin_cirrus", "snow",
        ),
        ("no_data", "saturated_or_defective", "cloud_shadow", "cloud_medium_probability", "cloud_high_probability",
         "thin_cirrus"),
    ),
    # Sentinel-2 level 1C cloud mask as one band
    "qa60": Codes(_bits({"cloud": 10, "cirrus": 11}), ("cloud", "cirrus")),
    # Landsat Collection 2 Level 2 Science Product Guides, pixel quality assessment
    "qa_pixel": Codes(
        _bits({"fill": 0, "dilated_cloud": 1, "cirrus": 2, "cloud": 3, "cloud_shadow": 4, "snow": 5, "clear": 6,
               "water": 7})
        | {"cloud_medium_confidence": (8, 2, (2, 3)), "cloud_high_confidence": (8, 2, (3,)),
           "cloud_shadow_high_confidence": (10, 2, (3,)), "snow_high_confidence": (12, 2, (3,)),
           "cirrus_high_confidence": (14, 2, (3,))},
        ("fill", "dilated_cloud", "cirrus", "cloud", "cloud_shadow"),
    ),
    # the same, radiometric saturation and terrain occlusion: bits 0 to 6 are bands 1 to 7, of ETM+ bit 5 is band 6L
    "qa_radsat": Codes(
        _bits({f"saturated_band_{bit + 1}": bit for bit in range(7)}
              | {"saturated_band_9_or_6h": 8, "dropped_pixel": 9, "terrain_occlusion": 11}),
        (*(f"saturated_band_{bit + 1}" for bit in range(7)), "saturated_band_9_or_6h", "dropped_pixel",
         "terrain_occlusion"),
    ),
    # Planet Imagery Product Specifications, unusable data mask
    "udm": Codes(
        _bits({"blackfill": 0, "cloud": 1} | {f"missing_or_suspect_band_{bit - 1}": bit for bit in range(2, 8)}),
        ("blackfill", "cloud", *(f"missing_or_suspect_band_{bit - 1}" for bit in range(2, 8))),
    ),
    # the same, usable data mask 2.0 and 2.1, the bands 1 to 6; band 7 is the confidence in %, band 8 the layer above
    "udm2": Codes(
        {name: (band, 0, (1,)) for band, name in enumerate(
            ("clear", "snow", "shadow", "light_haze", "heavy_haze", "cloud", "confidence", "udm"))},
        ("shadow", "light_haze", "heavy_haze", "cloud", "udm"),
    ),
    # Harmonized Landsat and Sentinel-2 (HLS) User Guide 2.0, quality assessment layer
    "fmask": Codes(
        _bits({"cirrus": 0, "cloud": 1, "adjacent_to_cloud_or_shadow": 2, "cloud_shadow": 3, "snow": 4, "water": 5})
        | {"moderate_aerosol": (6, 2, (2, 3)), "high_aerosol": (6, 2, (3,))},
        ("cirrus", "cloud", "adjacent_to_cloud_or_shadow", "cloud_shadow"),
        fill=255,
    ),
    # MODIS Surface Reflectance User's Guide, Collection 6, 1 km and 500 m state
    "modis_state": Codes(
        {"cloud": (0, 2, (1,)), "mixed_cloud": (0, 2, (2,)), "average_cirrus": (8, 2, (2, 3)),
         "high_aerosol": (6, 2, (3,)), "ocean": (3, 3, (0, 6, 7)), "inland_water": (3, 3, (3, 5))}
        | _bits({"cloud_shadow": 2, "internal_cloud": 10, "fire": 11, "snow": 12, "adjacent_to_cloud": 13,
                 "internal_snow": 15}),
        ("cloud", "mixed_cloud", "average_cirrus", "cloud_shadow", "internal_cloud", "adjacent_to_cloud"),
        fill=65535,
    ),
}  # fmt: skip


def scl(image: DataArray | Dataset, exclude: Sequence[str] | None = None) -> DataArray:
    """Usable pixels by the scene classification of Sentinel-2 (level 2A, SCL).

    Parameters
    ----------
    image : DataArray or Dataset
        The layer.
    exclude : sequence of str, optional
        Default: no_data, saturated_or_defective, cloud_shadow, clouds of medium and high probability, thin_cirrus.

    Returns
    -------
    DataArray of bool

    Examples
    --------
    >>> from xarray import DataArray
    >>> scl(DataArray([[0, 3, 4], [9, 11, 6]], dims=("y", "x"))).values.tolist()
    [[False, False, True], [False, True, True]]
    >>> scl(DataArray([[4, 6]], dims=("y", "x")), exclude=["water"]).values.tolist()
    [[True, False]]
    """
    return _usable(image, "scl", exclude)


def qa60(image: DataArray | Dataset, exclude: Sequence[str] | None = None) -> DataArray:
    """Usable pixels by the cloud bits of Sentinel-2 (QA60).

    Parameters
    ----------
    image : DataArray or Dataset
        The layer; of scenes from 2022-01-25 to 2024-02-28 it is empty.
    exclude : sequence of str, optional
        Default: cloud, cirrus.

    Returns
    -------
    DataArray of bool

    Examples
    --------
    >>> from xarray import DataArray
    >>> qa60(DataArray([[0, 1024, 2048]], dims=("y", "x"))).values.tolist()
    [[True, False, False]]
    """
    return _usable(image, "qa60", exclude)


def qa_pixel(image: DataArray | Dataset, exclude: Sequence[str] | None = None) -> DataArray:
    """Usable pixels by the pixel quality of Landsat 4 to 9 (Collection 2, QA_PIXEL).

    Parameters
    ----------
    image : DataArray or Dataset
        The layer.
    exclude : sequence of str, optional
        Default: fill, dilated_cloud, cirrus, cloud, cloud_shadow.

    Returns
    -------
    DataArray of bool

    Examples
    --------
    >>> from xarray import DataArray
    >>> qa_pixel(DataArray([[1, 21824, 22280]], dims=("y", "x"))).values.tolist()  # fill, clear, cloud
    [[False, True, False]]
    """
    return _usable(image, "qa_pixel", exclude)


def qa_radsat(image: DataArray | Dataset, exclude: Sequence[str] | None = None) -> DataArray:
    """Usable pixels by the saturation and terrain occlusion of Landsat 4 to 9 (Collection 2, QA_RADSAT).

    Parameters
    ----------
    image : DataArray or Dataset
        The layer.
    exclude : sequence of str, optional
        Default: everything; ["saturated_band_4", "terrain_occlusion"] for one band.

    Returns
    -------
    DataArray of bool

    Examples
    --------
    >>> from xarray import DataArray
    >>> qa_radsat(DataArray([[0, 8, 2048]], dims=("y", "x")), exclude=["saturated_band_4"]).values.tolist()
    [[True, False, True]]
    """
    return _usable(image, "qa_radsat", exclude)


def udm(image: DataArray | Dataset, exclude: Sequence[str] | None = None) -> DataArray:
    """Usable pixels by Planet's first unusable data mask (UDM).

    Parameters
    ----------
    image : DataArray or Dataset
        The layer, of one band.
    exclude : sequence of str, optional
        Default: everything.

    Returns
    -------
    DataArray of bool

    Examples
    --------
    >>> from xarray import DataArray
    >>> udm(DataArray([[0, 1, 2]], dims=("y", "x"))).values.tolist()
    [[True, False, False]]
    """
    return _usable(image, "udm", exclude)


def udm2(image: DataArray, exclude: Sequence[str] | None = None, min_confidence: float = 0) -> DataArray:
    """Usable pixels by Planet's usable data mask (UDM2, UDM2.1).

    Parameters
    ----------
    image : DataArray
        The layer, all of its eight bands.
    exclude : sequence of str, optional
        Default: shadow, light_haze, heavy_haze, cloud and udm (any bit of band 8, which is the first mask).
    min_confidence : float
        In the class of the pixel, %.

    Returns
    -------
    DataArray of bool

    Raises
    ------
    OptionError
        When there are not eight bands.

    Examples
    --------
    >>> import numpy as np
    >>> from xarray import DataArray
    >>> bands = np.zeros((8, 1, 3), np.uint8)
    >>> bands[0, 0, 0] = bands[1, 0, 1] = bands[5, 0, 2] = 1  # clear, snow, cloud
    >>> udm2(DataArray(bands, dims=("band", "y", "x"))).values.tolist()
    [[True, True, False]]
    """
    names = _checked_names("udm2", exclude)
    if image.sizes.get("band") != len(CODES["udm2"].names):
        raise OptionError(
            f"the usable data mask of Planet has 8 bands, not {image.sizes.get('band', 1)}: give all of them"
        )
    bands = chunk_unread(image)
    bad = [bands.isel(band=CODES["udm2"].names[name][0], drop=True) > 0 for name in names]
    if min_confidence > 0:
        bad.append(bands.isel(band=6, drop=True) < min_confidence)
    return _described(~sum(bad[1:], start=bad[0]) if bad else bands.isel(band=0, drop=True) >= 0, "udm2")


def fmask(image: DataArray | Dataset, exclude: Sequence[str] | None = None) -> DataArray:
    """Usable pixels by the quality layer of Harmonized Landsat and Sentinel-2 (HLS 2.0, Fmask).

    Parameters
    ----------
    image : DataArray or Dataset
        The layer.
    exclude : sequence of str, optional
        Default: cirrus, cloud, adjacent_to_cloud_or_shadow, cloud_shadow.

    Returns
    -------
    DataArray of bool

    Examples
    --------
    >>> from xarray import DataArray
    >>> fmask(DataArray([[64, 66, 96, 255]], dims=("y", "x"))).values.tolist()  # clear, cloud, water, fill
    [[True, False, True, False]]
    """
    return _usable(image, "fmask", exclude)


def modis_state(image: DataArray | Dataset, exclude: Sequence[str] | None = None) -> DataArray:
    """Usable pixels by the state of MODIS surface reflectance (MOD09, MYD09: state_1km, sur_refl_state_500m).

    Parameters
    ----------
    image : DataArray or Dataset
        The layer.
    exclude : sequence of str, optional
        Default: cloud, mixed_cloud, average_cirrus (and high), cloud_shadow, internal_cloud, adjacent_to_cloud.

    Returns
    -------
    DataArray of bool

    Examples
    --------
    >>> from xarray import DataArray
    >>> modis_state(DataArray([[8, 9, 12, 1032]], dims=("y", "x"))).values.tolist()  # clear, cloud, shadow, cloud
    [[True, False, False, False]]
    """
    return _usable(image, "modis_state", exclude)


def cloud_probability(image: DataArray | Dataset, most: float = 40) -> DataArray:
    """Usable pixels by a probability of clouds (Sentinel-2 MSK_CLDPRB, s2cloudless).

    Parameters
    ----------
    image : DataArray or Dataset
        The layer; in % in the products, 0 to 255 or 0 to 1 elsewhere.
    most : float
        Largest probability of usable pixels, in the unit of the layer.

    Returns
    -------
    DataArray of bool

    Examples
    --------
    >>> from xarray import DataArray
    >>> cloud_probability(DataArray([[0, 40, 41]], dims=("y", "x"))).values.tolist()
    [[True, True, False]]
    """
    return _described(chunk_unread(to_band(image, None, "cloud_probability")) <= most, "cloud_probability")


def read_quality(path: str) -> DataArray | None:
    """Open a quality layer given as KIND:FILE, such as scl:SCL.jp2, as a mask.

    Parameters
    ----------
    path : str
        The name of a function of this module, a colon, and the path of the layer.

    Returns
    -------
    DataArray of bool
        None where the path does not start with such a name.

    Examples
    --------
    >>> read_quality("clouds.tif") is None
    True
    """
    kind, colon, file = path.partition(":")
    if not colon or kind not in (*CODES, "cloud_probability"):
        return None
    found: DataArray = globals()[kind](open_raster(file))
    return found


def _usable(image: Any, kind: str, exclude: Sequence[str] | None) -> DataArray:
    """Pixels of a layer of one band that have none of the excluded codes."""
    codes, names = CODES[kind], _checked_names(kind, exclude)
    band = chunk_unread(to_band(image, None, kind))
    known = band.notnull() if band.dtype.kind == "f" else None  # decoded
    values = (band if known is None else band.where(known, 0)).astype(np.int32)
    good = values != (-1 if codes.fill is None else codes.fill)
    for first, count, meant in (codes.names[name] for name in names):
        good &= ~((values >> first) & ((1 << count) - 1)).isin(meant)
    return _described(good if known is None else good & known, kind)


def _checked_names(kind: str, exclude: Sequence[str] | None) -> tuple[str, ...]:
    codes = CODES[kind]
    names = codes.exclude if exclude is None else (exclude,) if isinstance(exclude, str) else tuple(exclude)
    wrong = [name for name in names if name not in codes.names]
    if wrong:
        raise OptionError(f"{kind} has no code {wrong[0]!r}: choose from {', '.join(codes.names)}")
    return names


def _described(good: DataArray, kind: str) -> DataArray:
    """Name a mask, without the attributes of the codes: their nodata value is none of the mask."""
    good = good.rename(kind)
    good.attrs, good.encoding = {"long_name": f"usable pixels by {kind}"}, {}
    return good
