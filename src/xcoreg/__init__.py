"""xcoreg: coregistration of georeferenced rasters, native to xarray.

A *target* image is moved onto a *reference*; the reference stays. A shift is the correction that is added to the
target's coordinates: ``x_ref = x_tgt + dx``. Importing the package registers ``.coreg`` on DataArray and Dataset.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from xcoreg import accessor as _accessor  # noqa: F401 - registers .coreg
from xcoreg.errors import (
    CoregError,
    CoregWarning,
    EagerLoad,
    Extrapolation,
    GridError,
    LowSupport,
    MatchError,
    MissingDependency,
    NoOverlap,
    NotGeoreferenced,
    OptionError,
    TooFewTiePoints,
)

if TYPE_CHECKING:
    pass
    from xcoreg.batches.run import batch
    from xcoreg.core.matcher import phase_match
    from xcoreg.core.matches import Matches, Status
    from xcoreg.core.quality import crlb
    from xcoreg.georef import (
        Corners,
        GCPs,
        fit_gcps,
        from_geotransform,
        lonlat_to_pixel,
        map_to_pixel,
        parse_crs,
        pixel_to_lonlat,
        pixel_to_map,
        read_gcps,
        to_geotransform,
        transform_points,
    )
    from xcoreg.io.read import open_raster
    from xcoreg.io.write import write_raster
    from xcoreg.matching.field import match_local, tie_points
    from xcoreg.matching.masks import inside, outside
    from xcoreg.matching.points import PointStatistics, compare_points
    from xcoreg.matching.shift import match
    from xcoreg.results.coregistration import Coregistration, Quality, load_fit
    from xcoreg.results.shift import Shift
    from xcoreg.results.tiepoints import TiePoints
    from xcoreg.warp.apply import apply

__version__ = "0.1.0"

# Where each public name lives: it is imported when first asked for, so that `import xcoreg` stays cheap.
_HOMES = {
    "Coregistration": "xcoreg.results",
    "Corners": "xcoreg.georef",
    "GCPs": "xcoreg.georef",
    "Matches": "xcoreg.core.matches",
    "PointStatistics": "xcoreg.matching",
    "Quality": "xcoreg.results",
    "Shift": "xcoreg.results",
    "Status": "xcoreg.core.matches",
    "TiePoints": "xcoreg.results",
    "apply": "xcoreg.warp",
    "batch": "xcoreg.batches",
    "compare_points": "xcoreg.matching",
    "crlb": "xcoreg.core.quality",
    "fit_gcps": "xcoreg.georef",
    "from_geotransform": "xcoreg.georef",
    "inside": "xcoreg.matching",
    "load_fit": "xcoreg.results",
    "lonlat_to_pixel": "xcoreg.georef",
    "map_to_pixel": "xcoreg.georef",
    "match": "xcoreg.matching",
    "match_local": "xcoreg.matching",
    "open_raster": "xcoreg.io",
    "outside": "xcoreg.matching",
    "parse_crs": "xcoreg.georef",
    "phase_match": "xcoreg.core.matcher",
    "pixel_to_lonlat": "xcoreg.georef",
    "pixel_to_map": "xcoreg.georef",
    "read_gcps": "xcoreg.georef",
    "tie_points": "xcoreg.matching",
    "to_geotransform": "xcoreg.georef",
    "transform_points": "xcoreg.georef",
    "write_raster": "xcoreg.io",
}
_MODULES = ("datasets", "filters", "georef", "plot", "simulate")

__all__ = [
    "CoregError",
    "CoregWarning",
    "Coregistration",
    "Corners",
    "EagerLoad",
    "Extrapolation",
    "GCPs",
    "GridError",
    "LowSupport",
    "MatchError",
    "Matches",
    "MissingDependency",
    "NoOverlap",
    "NotGeoreferenced",
    "OptionError",
    "PointStatistics",
    "Quality",
    "Shift",
    "Status",
    "TiePoints",
    "TooFewTiePoints",
    "apply",
    "batch",
    "compare_points",
    "crlb",
    "datasets",
    "filters",
    "fit_gcps",
    "from_geotransform",
    "georef",
    "inside",
    "load_fit",
    "lonlat_to_pixel",
    "map_to_pixel",
    "match",
    "match_local",
    "open_raster",
    "outside",
    "parse_crs",
    "phase_match",
    "pixel_to_lonlat",
    "pixel_to_map",
    "read_gcps",
    "simulate",
    "tie_points",
    "to_geotransform",
    "transform_points",
    "write_raster",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"xcoreg.{name}")
    else:
        raise AttributeError(f"module 'xcoreg' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List every public name, imported or not."""
    return sorted({*globals(), *_HOMES, *_MODULES})
