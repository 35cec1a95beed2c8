"""The ground of an image: given in any form, or read from the image: transform, control points, geolocation or RPCs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from affine import Affine
from rioxarray.exceptions import RioXarrayError

from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.files import parse_json
from xcoreg.georef import (
    AffineGround,
    Corners,
    CorrectedSensor,
    GCPs,
    RPCGround,
    RPCModel,
    as_crs,
    fit_gcps,
    read_gcps,
    read_rpcs,
)
from xcoreg.georef.terrain import ModelMove
from xcoreg.georef.transform import middle_of
from xcoreg.io.read import shape_of_file
from xcoreg.raster.bands import pick_variable, shape_of, spatial_dims
from xcoreg.raster.geolocation import coordinate_ground, domain_ground
from xcoreg.raster.grid import georeferenced_by, grid_of
from xcoreg.results.coregistration import Coregistration
from xcoreg.warp.apply import check_fit

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

    from xcoreg.georef import Ground


def gcps_of(image: DataArray | Dataset) -> GCPs | None:
    """Control points that an image carries."""
    band = pick_variable(image, None, "the image")[0]
    try:
        mapping = band.rio.grid_mapping
        text = band.coords[mapping].attrs.get("gcps") if mapping in band.coords else None
    except RioXarrayError:
        text = None
    if text is None:
        return None
    _check_complete(band)
    try:
        features = parse_json(text)["features"] if isinstance(text, str) else text["features"]
        return _gcps_in(features, band.rio.crs) if features else None
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"the control points in the attributes of the image are damaged: {error!r}") from error


def _gcps_in(features: Any, crs: Any) -> GCPs:
    places = [feature["geometry"]["coordinates"] for feature in features]
    properties = [feature["properties"] for feature in features]
    return GCPs.from_gdal(
        [each["col"] for each in properties],
        [each["row"] for each in properties],
        [place[0] for place in places],
        [place[1] for place in places],
        z=[place[2] if len(place) > 2 else 0.0 for place in places],
        id=tuple(str(each.get("id", "")) for each in properties),
        info=tuple(str(each.get("info") or "") for each in properties),
        crs=crs,
    )


def _check_complete(band: DataArray) -> None:
    """Refuse a part of a file: its control points, RPCs and geolocation count the pixels of the whole."""
    whole = shape_of_file(band)
    if whole is not None and shape_of(band) != whole:
        raise OptionError(
            f"the image has {shape_of(band)} rows and columns, its file {whole}: its control points or RPCs count the "
            "pixels of the whole; rectify first, then cut"
        )


def ground_of(image: DataArray | Dataset, height: float = 0.0) -> Ground:
    """Ground of an image by its transform, control points, geolocation arrays or RPCs."""
    try:
        grid = grid_of(image, "the image")
        return AffineGround(grid.affine, as_crs(grid.crs), middle_of(grid))
    except NotGeoreferenced:
        by = georeferenced_by(image)
        if by is None:
            raise
    gcps = gcps_of(image)
    if gcps is not None:
        return fit_gcps(gcps)
    arrays = coordinate_ground(image, spatial_dims(image, "the image"))
    if arrays is not None:
        return arrays
    band = pick_variable(image, None, "the image")[0]
    source = band.encoding["source"]
    found: Ground = read_rpcs(source, height) if by == "RPCs" else domain_ground(source)
    _check_complete(band)
    return found


def as_ground(ground: Any, image: DataArray | Dataset | None, height: float = 0.0) -> Ground:
    """Make a ground of GCPs, RPCs, corners, a transform, a path of control points, or an image."""
    if ground is None:
        if image is None:
            raise OptionError("there is no georeference: give an image, GCPs, RPCs or Corners")
        return ground_of(image, height)
    if isinstance(ground, GCPs):
        return fit_gcps(ground)
    if isinstance(ground, Corners):
        return ground.ground(shape_of(image) if image is not None else (1, 1))
    if isinstance(ground, Affine):
        return AffineGround(ground, None if image is None else image.rio.crs)
    if isinstance(ground, str | Path):
        return fit_gcps(read_gcps(ground))
    if isinstance(ground, Coregistration):
        return _ground_of_fit(ground, image)
    if hasattr(ground, "line_num_coeff"):
        return RPCGround(ground, height)
    if all(hasattr(ground, name) for name in ("crs", "to_map", "to_pixel")):
        found: Ground = ground
        return found
    raise OptionError(f"a {type(ground).__name__} does not georeference an image: give GCPs, RPCs or Corners")


def _ground_of_fit(fit: Coregistration, image: DataArray | Dataset | None) -> Ground:
    """Corrected sensor of a fit of a raw image."""
    check_fit(fit)
    if fit.details.sensor is None or fit.details.sensor.rpcs is None:
        raise OptionError("the fit is not of a raw image with RPCs, so it does not georeference one: use apply(fit)")
    if image is not None and shape_of(image) != fit.shape:
        rows, cols = fit.shape
        raise OptionError(f"the fit counts the pixels of a raw image of {cols} x {rows} px: match this one by itself")
    record = {"fit": fit.id, "correction": getattr(fit.model, "kind", None)}
    return CorrectedSensor(RPCGround(RPCModel.from_dict(fit.details.sensor.rpcs)), ModelMove(fit.model), record)  # type: ignore[return-value]
