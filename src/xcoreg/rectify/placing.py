"""How an image tells where it lies: its transform, its control points or its RPCs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affine import Affine
from rioxarray.exceptions import RioXarrayError
from xarray import DataArray, Dataset

from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.georef import AffineGround, Corners, GCPs, RPCGround, as_crs, fit_gcps, read_gcps, read_rpcs
from xcoreg.raster.bands import pick_variable, spatial_dims
from xcoreg.raster.grid import grid_of, middle_of, placed_by

if TYPE_CHECKING:
    from xcoreg.georef import Ground

__all__ = ["as_ground", "gcps_of", "ground_of", "needs_rectifying", "shape_of"]


def shape_of(image: DataArray | Dataset) -> tuple[int, int]:
    """Rows and columns of an image.

    Parameters
    ----------
    image : DataArray or Dataset

    Returns
    -------
    rows, columns : int

    Examples
    --------
    >>> shape_of(DataArray([[1, 2, 3]], dims=("y", "x")))
    (1, 3)
    """
    y_dim, x_dim = spatial_dims(image, "the image")
    return int(image.sizes[y_dim]), int(image.sizes[x_dim])


def gcps_of(image: DataArray | Dataset) -> GCPs | None:
    """Control points that an image carries.

    Parameters
    ----------
    image : DataArray or Dataset
        As rioxarray or :func:`xcoreg.open_raster` opens it: the points are in the attributes of its grid mapping.

    Returns
    -------
    GCPs or None

    Raises
    ------
    OptionError
        When the image was cut out of its file: its points still count the pixels of the whole.
    """
    band = pick_variable(image, None, "the image")[0]
    try:
        mapping = band.rio.grid_mapping
        text = band.coords[mapping].attrs.get("gcps") if mapping in band.coords else None
    except RioXarrayError:
        text = None
    if text is None:
        return None
    _check_whole(band)
    features = json.loads(text)["features"] if isinstance(text, str) else text["features"]
    places = [feature["geometry"]["coordinates"] for feature in features]
    told = [feature["properties"] for feature in features]
    gcps = GCPs.from_gdal(
        [each["col"] for each in told],
        [each["row"] for each in told],
        [place[0] for place in places],
        [place[1] for place in places],
        z=[place[2] if len(place) > 2 else 0.0 for place in places],
        id=tuple(str(each.get("id", "")) for each in told),
        info=tuple(str(each.get("info") or "") for each in told),
        crs=band.rio.crs,
    )
    return gcps if len(gcps) else None


def _check_whole(band: DataArray) -> None:
    """Refuse an image that is known to be a part of its file: nothing tells which part."""
    import rasterio

    source = band.encoding.get("source")
    if not isinstance(source, str):
        return
    try:
        with rasterio.open(source) as file:
            whole = (file.height, file.width)
    except rasterio.errors.RasterioError:
        return
    if shape_of(band) != whole:
        raise OptionError(
            f"the image has {shape_of(band)} rows and columns, its file {whole}: its control points or RPCs count the "
            "pixels of the whole; rectify first, then cut"
        )


def ground_of(image: DataArray | Dataset, height: float = 0.0) -> Ground:
    """Find where an image lies, by whatever it carries.

    Parameters
    ----------
    image : DataArray or Dataset
    height : float
        Of the ground over the ellipsoid, m, for an image with RPCs.

    Returns
    -------
    Ground
        Its transform and CRS where it has both; else its control points, fitted (:func:`xcoreg.georef.fit_gcps`,
        model "auto"); else the RPCs of the file it was opened from.

    Raises
    ------
    NotGeoreferenced
        When it carries none of them.
    """
    try:
        grid = grid_of(image, "the image")
        return AffineGround(grid.affine, as_crs(grid.crs), middle_of(grid))
    except NotGeoreferenced as error:
        gcps = gcps_of(image)
        if gcps is not None:
            return fit_gcps(gcps)
        band = pick_variable(image, None, "the image")[0]
        source = band.encoding.get("source")
        if isinstance(source, str) and source:
            try:
                rpcs = read_rpcs(source, height)
            except OptionError:
                raise error from None
            _check_whole(band)
            return rpcs
        raise


def needs_rectifying(image: DataArray | Dataset) -> bool:
    """Tell whether an image is known by control points or RPCs alone.

    Parameters
    ----------
    image : DataArray or Dataset

    Returns
    -------
    bool
        False too where nothing tells its place.

    Examples
    --------
    >>> needs_rectifying(DataArray([[0, 1], [2, 3]], dims=("y", "x")))
    False
    """
    try:
        grid_of(image, "the image")
    except NotGeoreferenced:
        return placed_by(image) is not None
    return False


def as_ground(ground: Any, image: DataArray | Dataset | None, height: float = 0.0) -> Ground:
    """Make a ground of anything that tells one.

    Parameters
    ----------
    ground : object
        None (what the image carries), GCPs (fitted with model "auto"), a GCPFit or other ground, Corners, an RPC of
        rasterio, an Affine (in the CRS of the image), or the path of a list of control points or of a raster.
    image : DataArray, Dataset or None
        The image that is placed.
    height : float
        Of the ground over the ellipsoid, m, for RPCs.

    Returns
    -------
    Ground

    Raises
    ------
    OptionError
        For anything else.

    Examples
    --------
    >>> square = DataArray([[0, 1], [2, 3]], dims=("y", "x"))
    >>> x, y = as_ground(Corners((0, 8), (8, 8), (8, 0), (0, 0), crs=32633), square).to_map(0, 0)
    >>> round(float(x), 6), round(float(y), 6)
    (2.0, 6.0)
    """
    if ground is None:
        if image is None:
            raise OptionError("nothing tells where the image lies: give an image, GCPs, RPCs or Corners")
        return ground_of(image, height)
    if isinstance(ground, GCPs):
        return fit_gcps(ground)
    if isinstance(ground, Corners):
        return ground.ground(shape_of(image) if image is not None else (1, 1))
    if isinstance(ground, Affine):
        return AffineGround(ground, None if image is None else image.rio.crs)
    if isinstance(ground, str | Path):
        return fit_gcps(read_gcps(ground))
    if hasattr(ground, "line_num_coeff"):
        return RPCGround(ground, height)
    if all(hasattr(ground, name) for name in ("crs", "to_map", "to_pixel")):
        found: Ground = ground
        return found
    raise OptionError(f"a {type(ground).__name__} does not tell where an image lies: give GCPs, RPCs or Corners")
