"""Options that suit common products: band, windows, spacing and the recipe of a mask, in one table.

A preset fills options that are not given otherwise. The windows are as large as the usual error of the georeference
asks for: shifts up to two fifths of a window are found. On the command line and in batches: ``--preset landsat-c2``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xcoreg.errors import OptionError, is_name, unknown_option

__all__ = ["PRESETS", "Preset", "band_of", "options"]

_ROOM = 1.5  # windows along the shorter side of an overlap that a preset needs
_FIELD = 256  # px: largest window of a field; where shifts are larger, larger windows are matched first anyway
_VERBS = {
    "match": ("window", "max_shift"),
    "match_local": ("window", "max_shift", "spacing"),
    "dem": ("matcher",),
    "dem_local": ("matcher", "spacing"),
}


@dataclass(frozen=True)
class Preset:
    """What suits the images of one product.

    Parameters
    ----------
    title : str
        The product in words.
    window, spacing : int, optional
        Side of a window, in fields at most 256, and distance between windows, target px; of elevation models the side
        of a block.
    bands : dict of int to int
        Band to match, by the number of bands of the image; images of other numbers use their first band.
    asset : str
        Common name of the asset of a STAC item.
    mask : str
        How to mask clouds: what to give as `where`.
    matcher : str
        Name of the matcher.
    why : str
        Reason for these choices.

    Examples
    --------
    >>> PRESETS["planetscope"].window
    256
    """

    title: str
    window: int | None
    spacing: int
    bands: Mapping[int, int] = field(default_factory=dict)
    asset: str = ""
    mask: str = ""
    matcher: str = "phase"
    why: str = ""


#: Preset by name.
PRESETS = {
    "sentinel2-l1c": Preset(
        "Sentinel-2 L1C, 10 m", 256, 200, {13: 8}, "nir", "qa60:FILE (before 2022), or MSK_CLASSI as a raster",
        why="near infrared shows lasting edges over land; dates differ by up to about 1.5 px",
    ),
    "sentinel2-l2a": Preset(
        "Sentinel-2 L2A, 10 m", 256, 200, {12: 8, 13: 8}, "nir", "scl:FILE",
        why="as L1C; the scene classification masks clouds and their shadows",
    ),
    "landsat-c2": Preset(
        "Landsat 8 and 9 Collection 2, 30 m", 128, 100, {7: 5, 8: 5, 11: 5}, "nir08", "qa_pixel:FILE",
        why="offsets are below 1 px, so windows may be small; near infrared is band 5",
    ),
    "planetscope": Preset(
        "PlanetScope, 3 m", 256, 200, {4: 4, 8: 8}, "", "udm2:FILE",
        why="offsets reach 10 m, 3 px; near infrared is the last band",
    ),
    "pleiades": Preset(
        "Pléiades and other images of 0.3 to 1 m", 512, 200, {4: 4}, "", "polygons of clouds",
        why="without control points offsets reach 8 m, 16 px; large windows average over buildings that lean",
    ),
    "aerial": Preset(
        "Aerial orthophotos, 0.1 to 0.5 m", 512, 200, {3: 2, 4: 4}, "", "polygons of water and of forests",
        why="green, or near infrared where there is some; crowns of trees and roofs lean from flight to flight",
    ),
    "drone": Preset(
        "Drone orthomosaics, 1 to 10 cm", 1024, 200, {3: 2, 4: 2, 5: 5}, "", "the alpha band is used by itself",
        why="without ground control offsets reach some metres, hundreds of px; beyond 400 px resample first",
    ),
    "dem": Preset(
        "Elevation models", None, 250, {}, "", "polygons of stable terrain; --exclude for glaciers", "nuth_kaab",
        why="Nuth and Kääb over stable terrain; blocks where tiles of a mosaic move by themselves",
    ),
}  # fmt: skip


def get_preset(name: str) -> Preset:
    """Give the preset of a name."""
    if not is_name(name, PRESETS):
        raise unknown_option(name, list(PRESETS))
    return PRESETS[name]


def options(name: str, verb: str = "match") -> dict[str, Any]:
    """Options of a preset for one verb.

    Parameters
    ----------
    name : str
        Of :data:`PRESETS`.
    verb : {"match", "match_local", "dem", "dem_local"}
        What they are for: one shift, a field of shifts; elevation models by one shift, and by blocks.

    Returns
    -------
    dict
        Keyword arguments of :func:`xcoreg.match` or :func:`xcoreg.match_local`. The band depends on the image, see
        :func:`band_of`.

    Raises
    ------
    OptionError
        When there is no such preset or verb.

    Examples
    --------
    >>> options("landsat-c2", "match_local")
    {'window': 128, 'spacing': 100}
    >>> options("dem", "dem_local")
    {'matcher': 'nuth_kaab', 'spacing': 250}
    """
    preset = get_preset(name)
    if not is_name(verb, _VERBS):
        raise OptionError(f"verb is {verb!r}: choose from {', '.join(_VERBS)}")
    if (preset.matcher == "nuth_kaab") != verb.startswith("dem"):
        kind = "elevation models" if preset.matcher == "nuth_kaab" else "images"
        raise OptionError(f"the preset {name} is for {kind}, not for {verb}: choose another preset or another verb")
    known = {one: getattr(preset, one, None) for one in _VERBS[verb]}
    if verb == "match_local" and preset.window is not None:
        known["window"] = min(preset.window, _FIELD)
    return {one: value for one, value in known.items() if value is not None}


def band_of(name: str, n_bands: int) -> int | None:
    """Band that a preset matches in an image of so many bands; None where its first band is as good.

    Parameters
    ----------
    name : str
        Of :data:`PRESETS`.
    n_bands : int
        Number of bands of the image.

    Returns
    -------
    int or None
        Number of the band, from 1.

    Examples
    --------
    >>> band_of("planetscope", 8), band_of("planetscope", 1)
    (8, None)
    """
    return get_preset(name).bands.get(n_bands)


def bands_of(name: str, images: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, int]:
    """Choose the bands of a preset for images by the name of their option, where these are not given."""
    counts = {key: int(image.sizes.get("band", 1)) for key, image in images.items() if not hasattr(image, "data_vars")}
    found = {key: band_of(name, count) for key, count in counts.items() if given.get(key) is None}
    return {key: band for key, band in found.items() if band is not None}


def without_large_window(name: str, given: Mapping[str, Any], target: Any, reference: Any) -> dict[str, Any]:
    """Leave out the window of a preset where the overlap of two grids is too small for it: defaults adapt to that.

    target, reference : GeoBoxes.
    """
    largest, window = get_preset(name).window, given.get("window")
    if largest is None or window not in (largest, min(largest, _FIELD)) or target.crs is None or reference.crs is None:
        return dict(given)
    around = reference.extent.to_crs(target.crs)
    left, bottom, right, top = (target.extent & around).boundingbox
    pixel = max(math.sqrt(one.area / (box.shape[0] * box.shape[1])) for one, box in (
        (target.extent, target), (around, reference)))  # fmt: skip
    if min(right - left, top - bottom) >= _ROOM * window * pixel:
        return dict(given)
    return {key: value for key, value in given.items() if key not in ("window", "spacing")}
