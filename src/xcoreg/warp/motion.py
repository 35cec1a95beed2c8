"""Shifts and rigid motions of elevation models as 4 x 4 matrices, inverted, and one after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.core.matches import Status
from xcoreg.core.models import HorizontalVertical, Rigid, Translation
from xcoreg.core.models.base import to_tuples
from xcoreg.core.models.polynomial import Polynomial
from xcoreg.errors import MatchError, OptionError
from xcoreg.georef.crs import metres_per_pixel, unit_of
from xcoreg.raster.bands import height_unit
from xcoreg.raster.georeference import parse_unit
from xcoreg.raster.raster import make_raster, target_heights
from xcoreg.results.coregistration import Coregistration, Quality, current_versions
from xcoreg.results.details import Details
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from xarray import DataArray, Dataset

_NO_TURN = 1e-12  # rotation, radians, and scale less 1, below which a motion is a shift


def rigid_of(fit: Coregistration) -> Rigid:
    """Model of a fit as a rigid motion; a shift is one about the middle of the target."""
    if fit.model is None or not fit.ok:
        raise MatchError(f"there is no trusted correction: {fit.status.reason}", fit.points)
    model: Any = fit.model
    if isinstance(model, HorizontalVertical) and model.dz_constant is not None:
        model = _as_shift(model)
    if not isinstance(model, Rigid | Translation) or fit.details.biases:
        raise OptionError(f"a correction that varies from place to place ({fit.model.kind}) has no matrix")
    if isinstance(model, Rigid):
        return model
    rows, cols = fit.shape
    x, y = (float(part) for part in georef.pixel_to_map(Affine(*fit.transform), (cols - 1) / 2, (rows - 1) / 2))
    metric = np.eye(2)
    if fit.crs_wkt:
        unit = parse_unit(fit.details.unit_z).metres or 1.0
        metric = metres_per_pixel(fit.crs_wkt, (1.0, 0.0, 0.0, 1.0), y) / unit
    cov, axes = np.zeros((7, 7)), np.eye(3)
    axes[:2, :2] = metric
    cov[:3, :3] = axes @ np.asarray(fit.shift.cov3) @ axes.T
    return Rigid(np.eye(3), axes @ [model.dx, model.dy, model.dz], np.array([x, y, 0.0]), metric, 1.0, cov)


def _as_shift(model: HorizontalVertical) -> Any:
    """Shift of a model of two parts that are constant; any other model as it is."""
    flat: Any = model.horizontal
    return replace(flat, dz=float(model.dz_constant or 0.0)) if isinstance(flat, Translation) else model


def to_matrix(fit: Coregistration) -> tuple[Floats, Floats]:
    """Matrix (4, 4) and centroid (3,) of a fit: :meth:`xcoreg.Coregistration.to_matrix`."""
    motion = rigid_of(fit)
    return motion.matrix, np.array(motion.centroid)


def fit_from_matrix(matrix: ArrayLike, dem: DataArray | Dataset, centroid: ArrayLike | None = None) -> Coregistration:
    """Make a fit of a rigid motion that another program has found, to apply, invert or compose it.

    Parameters
    ----------
    matrix : (4, 4) array_like
        Moves points of the target onto the reference: East, North and up, in the unit of the heights.
    dem : DataArray or Dataset
        The target: its grid, CRS and unit of heights.
    centroid : (3,) array_like, optional
        Map position and height of the centre that the matrix turns about, as xDEM gives it; default the origin of the
        CRS.

    Returns
    -------
    Coregistration
        Trusted, of unknown uncertainty; a shift where the matrix has no rotation and no scale.

    Raises
    ------
    OptionError
        When the matrix is no rotation times a scale and an offset.

    Examples
    --------
    >>> from xcoreg.simulate import dem_pair
    >>> dem = dem_pair((120, 150), seed=1).tgt
    >>> matrix = np.eye(4)
    >>> matrix[:3, 3] = 12.0, -4.0, 1.5
    >>> fit = fit_from_matrix(matrix, dem)
    >>> fit.shift.dx, fit.shift.dz, np.allclose(fit.to_matrix()[0], matrix)
    (12.0, 1.5, True)
    """
    raster = make_raster(dem, name="elevation model")
    crs, affine = georef.as_crs(raster.grid.crs), raster.grid.affine
    unit = height_unit(raster.data, crs)
    place = np.zeros(3) if centroid is None else np.asarray(centroid, np.float64)
    _, middle = georef.pixel_to_map(affine, raster.shape[1] / 2, raster.shape[0] / 2)
    metric = metres_per_pixel(crs, (1.0, 0.0, 0.0, 1.0), float(middle)) / (unit.metres or 1.0)
    try:
        motion = Rigid.from_matrix(matrix, place, metric)
    except ValueError as error:
        raise OptionError(str(error)) from error
    none: list[Any] = [[]] * 9
    bare = TiePoints(*none)
    grid = tuple(affine)[:6], raster.shape
    details = Details(heights=target_heights(raster, unit))
    given = Coregistration(None, bare, Quality(), Status.OK, None, crs.to_wkt(), *grid, details)
    return _with_motion(given, motion)


def inverse(fit: Coregistration) -> Coregistration:
    """Correction from the reference to the target: :meth:`xcoreg.Coregistration.inverse`."""
    model: Any = fit.model
    if not fit.ok:
        return fit
    if isinstance(model, HorizontalVertical) and isinstance(model.horizontal, Translation) and not fit.details.biases:
        flat, ramp = model.horizontal, model.vertical
        if isinstance(ramp, Polynomial):
            # The height that was corrected at q is found at q + d.
            centre = np.add(ramp.centre, [flat.dx, flat.dy])
            ramp = replace(ramp, coef=-ramp.coef, centre=centre)
            return _turned(fit, HorizontalVertical(replace(flat, dx=-flat.dx, dy=-flat.dy), ramp))
    return _turned(fit, _with_motion(fit, rigid_of(fit).inverse()).model)


def _turned(fit: Coregistration, model: Any) -> Coregistration:
    """Fit with the inverse model; what was measured is reversed."""
    shift, points, q = fit.shift, fit.points, fit.quality
    moved = {name: 0.0 - getattr(points, name) for name in ("dx", "dy", "dz", "dcol", "drow")}
    back = replace(shift, dx=0.0 - shift.dx, dy=0.0 - shift.dy, dz=0.0 - shift.dz)
    q = replace(q, dh_median_before=-q.dh_median_before, dh_median_after=-q.dh_median_after)
    return replace(fit, model=model, points=replace(points, **moved), shift_or_none=back, quality=q)


def then(first: Coregistration, second: Coregistration) -> Coregistration:
    """Compose two corrections: :meth:`xcoreg.Coregistration.then`."""
    one, two = rigid_of(first), rigid_of(second)
    if first.crs_wkt and second.crs_wkt and not georef.same_crs(first.crs_wkt, second.crs_wkt):
        raise OptionError("the fits are in two CRSs: match both targets in one")
    if first.details.unit_z != second.details.unit_z:
        raise OptionError("the fits have heights in two units: convert one of the elevation models")
    return _with_motion(first, one.then(two))


def _with_motion(fit: Coregistration, motion: Rigid) -> Coregistration:
    """Fit with another motion, and one row for the middle of the target."""
    affine, (rows, cols) = Affine(*fit.transform), fit.shape
    col, row = (cols - 1) / 2, (rows - 1) / 2
    x, y = (float(part) for part in georef.pixel_to_map(affine, col, row))
    dx, dy, dz = (float(part[0]) for part in (*motion.predict([x], [y]), motion.predict_dz([x], [y])))
    cov = np.full((3, 3), np.nan)
    cov[:2, :2], cov[2, 2] = motion.predict_cov([x], [y])[0], motion.cov[2, 2]
    turned = np.abs(motion.rotation - np.eye(3)).max() > _NO_TURN or abs(motion.scale - 1) > _NO_TURN
    model: Any = motion if turned else Translation(dx, dy, dz, to_tuples(cov))
    unit, linear = unit_of(fit.crs_wkt) if fit.crs_wkt else "", georef.linear_of(affine)
    dcol, drow = georef.vector_to_pixel(linear, dx, dy)
    columns: list[Any] = [[0], [row], [col], [x], [y], [dx], [dy], [dcol], [drow], cov[None, :2, :2], [dz]]
    points = replace(TiePoints(*columns), crs_wkt=fit.crs_wkt)
    flat: Any = to_tuples(cov[:2, :2])
    shift = Shift(dx, dy, flat, linear, dz, unit, (np.nan, np.nan, cov[2, 2]), fit.details.unit_z)
    details = replace(fit.details, elevation=None, interim=type(fit.details.interim)())
    return replace(fit, model=model, points=points, quality=Quality(), shift_or_none=shift, details=details,
                   versions=current_versions())  # fmt: skip
