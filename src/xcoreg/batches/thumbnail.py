"""A thumbnail of a scene: red and cyan composites of one window, before and after the correction."""

from __future__ import annotations

import logging
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from xcoreg import georef
from xcoreg.errors import CoregError
from xcoreg.files import new_file
from xcoreg.plot.compare import View, render
from xcoreg.plot.style import contrast, red_cyan, stretch
from xcoreg.raster.raster import make_raster
from xcoreg.results.coregistration import Coregistration

logger = logging.getLogger("xcoreg")
_SIDE = 120  # display pixels
_SMALLEST, _LARGEST = 48, 160  # side of the window, target px


def write_thumbnail(path: Path, fit: Coregistration, target: Any, reference: Any) -> None:
    """Write the thumbnail of a scene as PNG; what keeps it from being drawn is logged and harms nothing else."""
    if not fit.ok or fit.has_dz or fit.quality.dh_count or not fit.points.ok.any():
        return
    try:
        before, after = (np.rint(255 * one).astype(np.uint8) for one in _composites(fit, target, reference))
        gap = np.full((_SIDE, 4, 3), 255, np.uint8)
        picture = np.moveaxis(np.hstack([before, gap, after]), -1, 0)
        how = {"count": 3, "height": _SIDE, "width": picture.shape[-1], "dtype": "uint8"}
        with new_file(path) as place, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(place, "w", driver="PNG", **how) as file:
                file.write(picture)
    except (CoregError, RasterioError, OSError) as error:
        logger.info("no thumbnail: %s", error)


def _composites(fit: Coregistration, target: Any, reference: Any) -> tuple[Any, Any]:
    """Composites of the trusted window that correlates best, seen in the CRS of the target."""
    given = fit.details.options
    tgt = make_raster(target, band=given.get("band"), nodata=given.get("nodata"), name="target")
    ref = make_raster(reference, band=given.get("ref_band"), nodata=given.get("ref_nodata"), name="reference")
    good = fit.points.take(fit.points.ok)
    best = good.take(slice(i := int(np.argmax(np.nan_to_num(good.score, nan=-1.0))), i + 1))
    dx, dy = (float(v[0]) for v in (best.dx, best.dy))
    pixels = math.hypot(*(float(v) for v in georef.vector_to_pixel(georef.linear_of(fit.transform), dx, dy)))
    width = float(np.clip(25 * pixels, _SMALLEST, _LARGEST)) * max(georef.gsd(fit.transform))
    crs, x, y = fit.crs_wkt or tgt.grid.crs, float(best.x[0]), float(best.y[0])
    still, moved = (View(crs, *place, width, _SIDE) for place in ((x, y), (x + dx, y + dy)))
    (after,) = render(tgt, [still])  # the pixels of the target, which the correction brings to `moved`
    (before,), (like,) = render(tgt, [moved]), render(ref, [moved])
    tone, grey = contrast([before, after]), stretch(*like, *contrast([like]))
    return tuple(red_cyan(stretch(*one, *tone), grey) for one in (before, after))  # type: ignore[return-value]
