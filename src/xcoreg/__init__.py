"""xcoreg: coregistration of georeferenced rasters, native to xarray.

A *target* image is moved onto a *reference*; the reference stays. A shift is the correction that is added to the
target's coordinates: ``x_ref = x_tgt + dx``. Importing the package registers ``.coreg`` on DataArray and Dataset.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from xcoreg import datasets, filters, georef, masks, presets, simulate
    from xcoreg.batches.run import batch
    from xcoreg.core.matcher import phase_match
    from xcoreg.core.matches import Matches, Status
    from xcoreg.core.quality import crlb
    from xcoreg.core.structure import structure_match
    from xcoreg.coregister import apply, georeference, match, match_local, shift_to, tie_points, warp_to
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
    from xcoreg.matching.masks import inside, outside
    from xcoreg.matching.points import PointStatistics, compare_points
    from xcoreg.results.coregistration import Coregistration, Quality
    from xcoreg.results.reading import load_fit
    from xcoreg.results.shift import Shift
    from xcoreg.results.stack import StackFit, load_stack
    from xcoreg.results.tiepoints import TiePoints
    from xcoreg.stack import extend_stack, match_stack, match_stack_local
    from xcoreg.warp.bias import correct_bias
    from xcoreg.warp.datum import convert_heights
    from xcoreg.warp.motion import fit_from_matrix

__version__ = "0.1.0"

# Where each public name lives: it is imported when first asked for, so that `import xcoreg` stays cheap.
_HOMES = {
    "batches.run": "batch",
    "core.matcher": "phase_match",
    "core.matches": "Matches Status",
    "core.quality": "crlb",
    "core.structure": "structure_match",
    "coregister": "apply georeference match match_local shift_to tie_points warp_to",
    "errors": (
        "CoregError CoregWarning EagerLoad Extrapolation GridError LowSupport MatchError "
        "MissingDependency NoOverlap NotGeoreferenced OptionError TooFewTiePoints"
    ),
    "georef": (
        "Corners GCPs fit_gcps from_geotransform lonlat_to_pixel map_to_pixel parse_crs "
        "pixel_to_lonlat pixel_to_map read_gcps to_geotransform transform_points"
    ),
    "io.read": "open_raster",
    "io.write": "write_raster",
    "matching.masks": "inside outside",
    "matching.points": "PointStatistics compare_points",
    "warp.bias": "correct_bias",
    "warp.datum": "convert_heights",
    "warp.motion": "fit_from_matrix",
    "results.coregistration": "Coregistration Quality",
    "results.reading": "load_fit",
    "results.shift": "Shift",
    "results.stack": "StackFit load_stack",
    "results.tiepoints": "TiePoints",
    "stack": "extend_stack match_stack match_stack_local",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}
_PUBLIC_MODULES = ("arosics", "datasets", "filters", "georef", "masks", "plot", "presets", "simulate")
_PACKAGES = ("coregister", "core", "files", "io", "lazy", "matching", "raster", "report", "results", "stack", "warp")

__all__ = [
    "CoregError", "CoregWarning", "Coregistration", "Corners", "EagerLoad", "Extrapolation", "GCPs", "GridError",
    "LowSupport", "MatchError", "Matches", "MissingDependency", "NoOverlap", "NotGeoreferenced", "OptionError",
    "PointStatistics", "Quality", "Shift", "StackFit", "Status", "TiePoints", "TooFewTiePoints", "apply", "batch",
    "compare_points", "convert_heights", "correct_bias", "crlb", "datasets", "extend_stack", "filters",
    "fit_from_matrix", "fit_gcps", "from_geotransform", "georef", "georeference", "inside", "load_fit", "load_stack",
    "lonlat_to_pixel", "map_to_pixel", "masks", "match", "match_local", "match_stack", "match_stack_local",
    "open_raster", "outside", "parse_crs", "phase_match", "pixel_to_lonlat", "pixel_to_map", "presets", "read_gcps",
    "shift_to", "simulate", "structure_match", "tie_points", "to_geotransform", "transform_points", "warp_to",
    "write_raster",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name, or a part of the package, when it is first asked for."""
    if name in _HOME_OF:
        value = getattr(importlib.import_module(f"xcoreg.{_HOME_OF[name]}"), name)
    elif name in (*_PUBLIC_MODULES, *_PACKAGES):
        value = importlib.import_module(f"xcoreg.{name}")
    else:
        raise AttributeError(f"module 'xcoreg' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names alone."""
    return sorted([*__all__, "plot", "__version__", "__doc__"])


class _AccessorFinder:
    """Registers `.coreg` as soon as xarray has been imported (docs/decisions/import.md)."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "xarray":
            return None
        later = sys.meta_path[sys.meta_path.index(self) + 1 :]
        found = (finder.find_spec(name, path, target) for finder in later if hasattr(finder, "find_spec"))
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = partial(self._run, spec.loader)  # type: ignore[method-assign]
        return spec

    def _run(self, loader: Loader, module: ModuleType) -> None:
        del loader.exec_module  # its own method is used again
        loader.exec_module(module)
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
        importlib.import_module("xcoreg.accessor")


if "xarray" in sys.modules:
    importlib.import_module("xcoreg.accessor")
else:
    sys.meta_path.insert(0, _AccessorFinder())
