"""Images without a transform moved onto a reference: rectified, matched, and rectified again with the correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import DataArray, Dataset

from xcoreg import georef
from xcoreg.errors import MatchError, NotGeoreferenced, OptionError
from xcoreg.lazy import token
from xcoreg.raster.grid import grid_of
from xcoreg.rectify.image import GroundMove, map_grid, rectify
from xcoreg.rectify.placing import as_ground, needs_rectifying, shape_of
from xcoreg.warp.displacement import Displacement, Grid
from xcoreg.warp.grids import reference_grid
from xcoreg.warp.options import How

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from xcoreg.results.coregistration import Coregistration

    Floats = NDArray[np.float64]

__all__ = ["MovedGround", "on_map", "rectify_by", "rectify_onto"]

_ImageType = TypeVar("_Image", DataArray, Dataset)


@dataclass(frozen=True, eq=False)
class MovedGround:
    """A ground with a correction on top, in the CRS of the correction.

    Parameters
    ----------
    ground : Ground
    move : Displacement
        Added to where the ground places a pixel; in its own CRS.
    """

    ground: Any
    move: Displacement

    def __dask_tokenize__(self) -> Any:
        return ("xcoreg.MovedGround", GroundMove(self.ground).__dask_tokenize__(), token(self.move))

    @property
    def crs(self) -> Any:
        """That of the correction."""
        return georef.as_crs(self.move.crs)

    @property
    def told(self) -> dict[str, Any]:
        """What the history of an image says of it."""
        told: dict[str, Any] = {"model": getattr(self.ground, "model", type(self.ground).__name__)}
        told["correction"] = getattr(self.move.model, "kind", None)
        if self.move.constant is not None:
            told["dx"], told["dy"] = self.move.constant
        return told

    def to_map(self, col: Any, row: Any) -> tuple[Floats, Floats]:
        """Ground coordinates of pixel positions."""
        x, y = georef.transform_points(self.ground.crs, self.crs, *self.ground.to_map(col, row))
        dx, dy = self.move.at(x, y)
        return x + dx, y + dy

    def to_pixel(self, x: Any, y: Any) -> tuple[Floats, Floats]:
        """Pixel positions of ground coordinates."""
        before = georef.transform_points(self.crs, self.ground.crs, *self.move.undo(x, y))
        return self.ground.to_pixel(*before)  # type: ignore[no-any-return]


def on_map(
    image: _ImageType, ref: DataArray | Dataset, ground: Any = None, *, nodata: float | None = None
) -> _ImageType:
    """Bring an image that has no transform into the CRS of a reference, to be matched there.

    Parameters
    ----------
    image : DataArray or Dataset
    ref : DataArray or Dataset
    ground : optional
        As for :func:`rectify`.
    nodata : float, optional
        Marks missing pixels; default: the stored marker.

    Returns
    -------
    DataArray or Dataset
        The very same object where it has a transform and a CRS, and no ground is given.

    Examples
    --------
    >>> image = DataArray([[0, 1], [2, 3]], {"y": [15.0, 5.0], "x": [5.0, 15.0]}, ("y", "x")).rio.write_crs(32633)
    >>> on_map(image, image) is image
    True
    """
    if ground is None and not needs_rectifying(image):
        return image
    return rectify(image, ground, crs=grid_of(ref, "the reference").crs, nodata=nodata)


def rectify_by(image: _ImageType, fit: Coregistration, ground: Any = None, **options: Any) -> _ImageType:
    """Rectify an image and correct it by a fit, in one interpolation.

    Parameters
    ----------
    image : DataArray or Dataset
        dask arrays stay lazy.
    fit : Coregistration
        Of this image, rectified, or of another one of the same product.
    ground : optional
        As for :func:`rectify`.
    **options
        Of :func:`xcoreg.apply`. Without any grid the output has the CRS of the fit and the image's own pixel size.

    Returns
    -------
    DataArray or Dataset
        In place: made from the original pixels.

    Raises
    ------
    MatchError
        When the fit is not to be trusted.
    OptionError
        For options that do not go together, and for corrections of heights.
    NotGeoreferenced
        When nothing tells where the image lies, or the fit does not know its CRS.
    """
    how = How(**options)
    if not fit.ok or fit.model is None:
        raise MatchError(f"the fit is not to be trusted and will not be applied: {fit.status.reason}", fit.points)
    if not fit.crs_wkt:
        raise NotGeoreferenced("the fit does not know the CRS of its target: give the image a transform first")
    if how.vertical or (how.vertical is None and getattr(fit.model, "dz_constant", 0.0) != 0.0):
        raise OptionError(
            "heights are corrected in images that have a transform: da.coreg.rectify(like=...).coreg.apply(fit), or "
            "leave them as they are, vertical=False"
        )
    frame = Grid(cast("Any", tuple(fit.transform)[:6]), fit.shape, georef.as_crs(fit.crs_wkt).to_wkt())
    moved = MovedGround(as_ground(ground, image), Displacement.of(fit.model, frame.crs, frame))
    like = _lattice(moved, image, fit, how) if how.like is None else how.like
    return rectify(image, moved, like=like, resampling=how.resampling, nodata=how.nodata)


def _lattice(moved: MovedGround, image: DataArray | Dataset, fit: Coregistration, how: How) -> GeoBox:
    """Grid over the corrected image, on the lattice of the reference where that is asked for."""
    anchor = (0.0, 0.0)
    if how.is_aligned:
        ref = reference_grid(fit.settings, how.ref_grid)
        anchor = (ref.transform[2], ref.transform[5]) if georef.same_crs(ref.crs, moved.crs) else anchor
    made = map_grid(moved, shape_of(image), moved.crs, how.resolution, anchor)
    return GeoBox(made.shape, Affine(*made.transform), moved.crs)


def rectify_onto(
    image: _ImageType, ref: DataArray | Dataset, ground: Any = None, *, local: bool = False, **options: Any
) -> tuple[_ImageType, Coregistration]:
    """Rectify an image, match it with a reference, and rectify it once more with what was found: one interpolation.

    Parameters
    ----------
    image : DataArray or Dataset
        The target, known by control points, RPCs or corners alone.
    ref : DataArray or Dataset
        The reference.
    ground : optional
        As for :func:`rectify`.
    local : bool
        Measure a field of shifts in place of one.
    **options
        Of :func:`rectify_by`, and of :func:`xcoreg.match` or :func:`xcoreg.match_local`.

    Returns
    -------
    image : DataArray or Dataset
        In place: made from the original pixels.
    fit : Coregistration
        In units of the CRS of the reference, its pixels those of the rectified image.

    Raises
    ------
    MatchError
        When there is no trustworthy match.
    """
    from xcoreg.matching.field import match_local
    from xcoreg.matching.shift import match

    moving = {name: options.pop(name) for name in MOVING if name in options}
    found = as_ground(ground, image)
    straight = on_map(image, ref, found, nodata=moving.get("nodata"))
    fit = (match_local if local else match)(straight, ref, **options)
    return rectify_by(image, fit, found, **moving), fit


#: Options of :func:`rectify_by`.
MOVING = ("like", "align_grid", "resolution", "ref_grid", "resampling", "nodata", "vertical")
