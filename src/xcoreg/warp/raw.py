"""Raw images corrected by a fit in their own pixels: rectified over terrain, in one interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xcoreg import georef
from xcoreg.errors import OptionError
from xcoreg.georef import CorrectedSensor, RPCGround
from xcoreg.georef.terrain import ModelMove
from xcoreg.io.terrain import over_terrain
from xcoreg.raster.bands import shape_of
from xcoreg.warp.apply import check_fit
from xcoreg.warp.ground import as_ground
from xcoreg.warp.mapping import reference_grid
from xcoreg.warp.plan import ApplyOptions
from xcoreg.warp.rectify import map_grid, rectify

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from xcoreg.results.coregistration import Coregistration


def rectify_raw(image: Any, fit: Coregistration, ground: Any, terrain: tuple[Any, Any], options: dict[str, Any]) -> Any:
    """Rectify a raw image over a terrain (dem and vertical datum), corrected by a fit in its pixels."""
    checked = ApplyOptions.checked(options)
    check_fit(fit)
    if fit.details.sensor is None:
        raise OptionError("dem= is for fits of raw images, and this fit is of an image on a map: leave dem= out")
    if terrain[0] is None:
        raise OptionError(
            "the fit corrects a raw image, which lies on terrain: give that, dem= (a raster, or a height)"
        )
    if checked.vertical not in (None, False):
        raise OptionError("vertical= is for fits of elevation models: leave it out")
    sensor = as_ground(ground, image)
    if not checked.force:
        _check_same(image, fit, sensor)
    record = {"fit": fit.id, "correction": getattr(fit.model, "kind", None)}
    corrected = over_terrain(CorrectedSensor(sensor, ModelMove(fit.model), record), shape_of(image), *terrain)
    like = _output_grid(corrected, image, fit, checked) if checked.like is None else checked.like
    return rectify(image, corrected, like=like, resampling=checked.resampling, nodata=checked.nodata)


def _check_same(image: Any, fit: Coregistration, sensor: Any) -> None:
    """Refuse an image whose pixels are not those that the fit counts."""
    if shape_of(image) != fit.shape:
        raise OptionError(
            f"the fit counts the pixels of a raw image of {fit.shape[1]} x {fit.shape[0]} px, this one has "
            f"{shape_of(image)[1]} x {shape_of(image)[0]}: match it by itself, or pass force=True"
        )
    known = fit.details.sensor.rpcs if fit.details.sensor is not None else None
    if known is not None and isinstance(sensor, RPCGround) and sensor.rpcs.to_dict() != known:
        raise OptionError(
            "the image has other RPCs than the one that was matched: match it by itself, or pass force=True"
        )
    contradiction = fit.contradiction(image)
    if contradiction == "carries this correction already":
        raise OptionError(f"the image {contradiction}: pass the raw image")


def _output_grid(corrected: Any, image: Any, fit: Coregistration, options: ApplyOptions) -> GeoBox:
    """Grid over the corrected image in the CRS of the reference, on its lattice where that is asked for."""
    ref = reference_grid(fit.details.ref_grid, options.ref_grid)
    anchor = (ref.affine.c, ref.affine.f) if options.is_aligned else (0.0, 0.0)
    return map_grid(corrected, shape_of(image), georef.as_crs(ref.crs), options.resolution, anchor)
