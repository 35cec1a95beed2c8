"""Match, apply, and both in one step: what accessor, command line and batches call.

An image georeferenced by control points, RPCs or corners alone is rectified before it is matched; a fit is then applied
to its own pixels, which are interpolated once. Of any other image the transform is shifted, or it is resampled once.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

from xarray import DataArray, Dataset

from xcoreg import lazy
from xcoreg.errors import CoregWarning, OptionError
from xcoreg.files import local_path, open_gdal
from xcoreg.io.copy import copy_moved
from xcoreg.io.formats import check_header, driver_for
from xcoreg.io.probe import try_format
from xcoreg.io.read import open_raster
from xcoreg.io.stores import write_gcps
from xcoreg.io.terrain import over_terrain
from xcoreg.io.write import write_raster
from xcoreg.matching import field, shift
from xcoreg.matching.masks import is_vector
from xcoreg.matching.options import (
    LocalOptions,
    MatchLocalOptions,
    MatchOptions,
    Options,
    as_local,
    check_options,
    shows_options,
)  # fmt: skip
from xcoreg.matching.placing import laid_over
from xcoreg.matching.point_blocks import match_points_local, with_points_last
from xcoreg.matching.sensor import match_sensor
from xcoreg.raster.bands import other_grids, shape_of
from xcoreg.raster.footprint import footprint as footprint_of, overlap as overlap_of
from xcoreg.raster.georeference import is_in_pixels
from xcoreg.raster.grid import (
    check_size,
    grid_of,
    in_pixels,
    lacks_georeference,
    located,
    needs_rectifying,
    out_of_pixels,
)
from xcoreg.raster.inputs import finest_of, is_tree, located_pair, mapped
from xcoreg.raster.point_heights import is_points
from xcoreg.raster.raster import make_raster
from xcoreg.results.reading import load_fit, mark_of
from xcoreg.results.stack import FORMAT as STACK_FORMAT, StackFit, load_stack
from xcoreg.results.tables import check_suffix as check_table_suffix
from xcoreg.results.text import describe_accessor
from xcoreg.warp import apply as warping
from xcoreg.warp.field_raster import write_field
from xcoreg.warp.ground import as_ground, gcps_of
from xcoreg.warp.locate import locate, place
from xcoreg.warp.motion import inverse
from xcoreg.warp.plan import APPLY_OPTIONS, ApplyKeywords, ApplyOptions
from xcoreg.warp.points import apply_to_points
from xcoreg.warp.raw import rectify_raw
from xcoreg.warp.rectify import rectified_to, rectify, rectify_by
from xcoreg.warp.stack import apply_stack, fit_of
from xcoreg.warp.vertical import changes_values, heights_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xcoreg.results.coregistration import Coregistration
    from xcoreg.results.tiepoints import TiePoints

__all__ = [
    "apply", "check_format", "check_table_suffix", "correct_file", "describe_accessor", "finest_of", "footprint",
    "gcps_of", "georeference", "grid_of", "is_vector", "locate", "match", "match_local", "moves_only", "nodata",
    "overlap", "place", "rectified_to", "rectify", "shift_to", "tie_points", "warp_to", "write_field", "write_gcps",
    "write_output",
]  # fmt: skip

# Kernel before matching: residuals of check points were a fifth smaller than after cubic (docs/decisions/terrain.md).
_FAITHFUL = "lanczos"
Image = TypeVar("Image", bound=DataArray | Dataset)


class ShiftToOptions(MatchOptions, ApplyKeywords, total=False):
    """Keyword options of `shift_to`: those of `match` and of `apply`."""


class WarpToOptions(MatchLocalOptions, ApplyKeywords, total=False):
    """Keyword options of `warp_to`: those of `match_local` and of `apply`."""


def nodata(image: DataArray | Dataset) -> float | int | None:
    """Give the stored marker of missing pixels, or one that the corners show beyond doubt, or None."""
    with lazy.shared_chunks():
        return make_raster(image).certain.nodata


def footprint(image: DataArray | Dataset, *, band: int | str | None = None, nodata: float | None = None) -> Any:
    """Polygon of the valid data, in the CRS of the image."""
    with lazy.shared_chunks():
        return footprint_of(make_raster(image, band=band, nodata=nodata).certain)


def overlap(target: DataArray | Dataset, reference: DataArray | Dataset) -> Any:
    """Polygon where both images have valid data, in the CRS of the target."""
    with lazy.shared_chunks():
        one, other = make_raster(target).certain, make_raster(reference, name="reference").certain
        return overlap_of(footprint_of(one), one.grid.crs, footprint_of(other), other.grid.crs)


@shows_options(Options)
def match(
    target: DataArray | Dataset,
    reference: Any,
    *,
    ground: Any = None,
    dem: Any = None,
    vertical_datum: Any = None,
    **options: Unpack[MatchOptions],
) -> Coregistration:
    """Measure the shift between two images.

    Parameters
    ----------
    target : DataArray or Dataset
        The image that is off: georeferenced, any CRS, several bands; of a DataTree the finest group. In pixels when
        neither image has a georeference. Of times and other axes that are not bands one is chosen before.
    reference : DataArray or Dataset
        The image that is right; any CRS and GSD. For elevation models also a GeoDataFrame of points of known height.
    ground : optional
        Georeference of a target without a transform, instead of its own GCPs or RPCs: GCPs, a fit of them, RPCs,
        Corners or the path of a file of control points. Such a target is rectified first, in the CRS of the reference.
    dem, vertical_datum : optional
        Terrain below a raw image, a target with RPCs, as for :func:`xcoreg.warp.rectify.rectify`. The correction is
        then fitted in the pixels of the raw image: constant or affine, chosen by check points.
    **options
        See :class:`xcoreg.matching.options.Options`.

    Returns
    -------
    Coregistration
        The correction target -> reference (``x_ref = x_tgt + dx``) with its covariance, and every window tried.

    Raises
    ------
    MatchError
        When no match can be trusted, with the reason and the windows. Not with ``errors="return"``.
    GridError
        When the images do not overlap or lack a georeference.
    OptionError
        When an option or an image cannot be used.

    Examples
    --------
    >>> from xcoreg.simulate import pair
    >>> scene = pair((300, 300), shift=(0.7, -1.2), seed=3)
    >>> fit = match(scene.tgt, scene.ref)
    >>> round(fit.shift.dcol, 1), round(fit.shift.drow, 1), fit.ok
    (0.7, -1.2, True)
    """
    checked = check_options(dict(options))
    if is_points(target):
        return inverse(shift.match(*with_points_last(target, reference, checked))).made_of(target, reference)
    if dem is not None:
        return _match_raw(target, reference, ground, (dem, vertical_datum), as_local(checked))
    given, (target, reference) = (target, reference), located_pair(target, reference, ground)
    rectified = rectified_to(target, reference, ground, nodata=checked.nodata)
    return shift.match(rectified, reference, checked).made_of(*given)


@shows_options(LocalOptions)
def match_local(
    target: DataArray | Dataset,
    reference: Any,
    *,
    ground: Any = None,
    dem: Any = None,
    vertical_datum: Any = None,
    **options: Unpack[MatchLocalOptions],
) -> Coregistration:
    """Measure a field of shifts between two images: tie points on a grid, outliers flagged, a model fitted.

    Parameters
    ----------
    target, reference, ground, dem, vertical_datum
        As for :func:`match`.
    **options
        See :class:`xcoreg.matching.options.LocalOptions`.

    Returns
    -------
    Coregistration
        With every window that was tried in `points`, and a model that predicts the correction (``x_ref = x_tgt + dx``)
        and its uncertainty anywhere, in CRS units of the target. :func:`xcoreg.apply` warps by it, with one
        interpolation.

    Raises
    ------
    MatchError
        When no match can be trusted; not with ``errors="return"``. TooFewTiePoints when too few are left for the model
        that was asked for.
    GridError
        When the images do not overlap or lack a georeference.
    OptionError
        When an option or an image cannot be used.

    Examples
    --------
    >>> from xcoreg.simulate import pair, smooth_field
    >>> scene = pair((512, 512), shift=smooth_field((512, 512), 1.5, seed=2), seed=3)
    >>> fit = match_local(scene.tgt, scene.ref, spacing=48, window=64)
    >>> fit.ok, int(fit.points.ok.sum()) > 70
    (True, True)
    """
    checked = check_options(dict(options), kind=LocalOptions)
    if is_points(target):
        fit = match_points_local(*with_points_last(target, reference, checked), backwards=True)
        return fit.made_of(target, reference)
    if dem is not None:
        return _match_raw(target, reference, ground, (dem, vertical_datum), checked)
    given, (target, reference) = (target, reference), located_pair(target, reference, ground)
    rectified = rectified_to(target, reference, ground, nodata=checked.nodata)
    return _match_field(rectified, reference, checked).made_of(*given)


@shows_options(LocalOptions)
def tie_points(
    target: DataArray | Dataset, reference: Any, *, ground: Any = None, **options: Unpack[MatchLocalOptions]
) -> TiePoints:
    """Find tie points on a grid and flag outliers; no model is fitted.

    Parameters
    ----------
    target, reference, ground, **options
        See :func:`match_local`.

    Returns
    -------
    TiePoints
        Every window that was tried.

    Raises
    ------
    GridError, OptionError
        As :func:`match_local`.

    Examples
    --------
    >>> from xcoreg.simulate import pair
    >>> scene = pair((300, 300), shift=(0.7, -1.2), seed=3)
    >>> points = tie_points(scene.tgt, scene.ref, spacing=48, window=64)
    >>> bool(abs(points.dcol[points.ok] - 0.7).max() < 0.1)
    True
    """
    checked = check_options(dict(options), kind=LocalOptions)
    target, reference = located_pair(target, reference, ground)
    return field.tie_points(rectified_to(target, reference, ground, nodata=checked.nodata), reference, checked)


@shows_options(Options)
def georeference(
    image: Image, reference: DataArray | Dataset, **options: Unpack[MatchOptions]
) -> tuple[Image, Coregistration]:
    """Georeference an image that has no place, or a wrong one, by matching it with a reference.

    Parameters
    ----------
    image : DataArray or Dataset
        A scanned photo or map, pixel coordinates, any angle. It may cover the reference from twice to a quarter of its
        sides. Where it has a georeference, that is where the search begins.
    reference : DataArray or Dataset
        A georeferenced image of the same ground.
    **options
        See :class:`xcoreg.matching.options.Options`; `geometry` is by default "affine".

    Returns
    -------
    image, fit : DataArray or Dataset, Coregistration
        The same pixels under a transform (affine geometries) or interpolated once (homography); the fit starts from
        where the image was laid over the reference.

    Raises
    ------
    MatchError
        When no place in the reference can be trusted.
    OptionError, GridError
        As :func:`match`.

    Examples
    --------
    >>> import numpy as np
    >>> from xcoreg.simulate import pair, similarity
    >>> scene = pair((400, 400), shift=similarity((400, 400), degrees=20.0, shift=(30.0, -10.0)), seed=3)
    >>> photo = DataArray(scene.tgt.values, dims=("y", "x"))
    >>> placed, fit = georeference(photo, scene.ref)
    >>> fit.ok, round(float(np.hypot(placed.rio.transform().a, placed.rio.transform().d)), 2)
    (True, 10.0)
    """
    checked = check_options({"geometry": "affine", **options})
    placed = laid_over(image, reference, checked) if lacks_georeference(image) else image
    fit = shift.match(*located_pair(placed, reference, None), checked).made_of(image, reference)
    return apply(placed, fit), fit


@shows_options(ApplyOptions)
def apply(
    image: Image,
    fit: Coregistration | StackFit,
    *,
    ground: Any = None,
    dem: Any = None,
    vertical_datum: Any = None,
    **options: Unpack[ApplyKeywords],
) -> Image:
    """Correct an image by a fit.

    Without `align_grid` and `like` one shift only moves the transform: coordinates and grid mapping change, the
    pixels are the very same object, nothing is read or computed. With either of them the image is interpolated, once:
    from every output pixel through its CRS, the CRS of the image and the inverse of the correction to a position
    between source pixels. dask arrays stay lazy both ways. A fit of elevation models may have a dz, which is added
    to the heights, either way: ``z_ref = z_tgt + dz``, dz at the position in the target that a height comes from.

    Parameters
    ----------
    image : DataArray or Dataset
        Any image of the same product: other bands, masks, other pixel sizes, another CRS; any leading dimensions. Of
        a Dataset or DataTree every variable over spatial dimensions is corrected, the others are left alone.
    fit : Coregistration or StackFit
        A trusted result; that of a stack of dates for a cube or a list, see :func:`xcoreg.stack.apply_stack`.
    ground : optional
        Georeference of an image without a transform, instead of its own GCPs or RPCs. Such an image is rectified:
        its own pixels are interpolated once, with the correction, in the CRS of the fit unless `like` says otherwise.
    dem, vertical_datum : optional
        Terrain for a fit of a raw image, which is rectified over it with its correction, in one interpolation, in the
        CRS of the reference unless `like` says otherwise.
    align_grid : bool
        Interpolate to the image's own pixel size on the lattice of the fit's reference, over the extent of the
        corrected image, outwards to whole pixels (see :func:`xcoreg.warp.mapping.aligned_grid`).
    like : DataArray, Dataset or GeoBox, optional
        Interpolate to exactly this grid, in any CRS. Names and coordinates are taken over from an image.
    resolution : float or (float, float), optional
        Pixel size (x, y) instead of the image's own, units of its CRS; implies `align_grid`.
    resampling : str
        One of "auto", "nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode", "min", "q1",
        "med", "q3", "max".
        "auto" is cubic, and nearest for integers that are classes: with a colour table, single bits, or flags of CF.
        Cubic is Keys' with a = -1/2, cubic_spline a B-spline, which smooths; from "average" on they are statistics of
        the source pixels under an output pixel, to about a quarter of a source pixel.
        Where the output is more than 1.1 times coarser than the source the kernel is widened accordingly ("nearest"
        just picks). Booleans are always taken from the nearest pixel.
    nodata : float, optional
        Marks missing pixels, besides NaN and infinities. Default: the stored marker; else, for an image on the
        same grid as the fit's target, the one found by the match (not with "nearest": it may be a mask), in an image of
        several bands as a mask of all of them where the matched band has it. Pixels are not searched for one here: that
        would compute lazy data.
    ref_grid : GeoBox, optional
        Lattice instead of that of the fit's reference; implies `align_grid`.
    vertical : bool, str, int or list of these, optional
        Whether to add dz, where the fit has one, or to which bands: their names, or numbers from 1. Default: to the
        band that was matched, and to others that hold heights by their name ("dem", "elevation") or unit; with
        `resampling` "nearest" by name or unit only, as of masks. dz is added in the unit of the band.
    force : bool
        Correct an image that lies wholly outside of what the fit covers, or that does not carry the corrections that
        the target of the fit carried: neither refuse nor warn.

    Returns
    -------
    DataArray or Dataset
        As the image: dtype, attributes, names, encoding and coordinates other than the spatial ones are kept. What
        was done is appended to the attribute ``xcoreg``, a JSON list. Integers that dz is added to become float32
        (float64 beyond 16 bits).

    Raises
    ------
    MatchError
        When the fit is not trusted.
    OptionError
        For options that do not go together, for images of complex or other non-numeric type, and for a vertical
        correction that the fit does not have.
    NotGeoreferenced
        When the image or `like` has no CRS or no transform.
    NoOverlap
        When the image lies wholly outside of the target of the fit (see `force`), or the corrected image and `like`
        do not overlap.

    Warns
    -----
    CoregWarning
        When pixels without data appear in an integer image that has no nodata value: one is chosen and recorded. When
        a field of displacements folds over itself. When the history of the image (its attribute ``xcoreg``) has this
        correction already, or others than the fit knows.
    Extrapolation
        When more than 1 % of the output lies where the model extrapolates.

    Notes
    -----
    An output pixel has a value where the nearest source pixel has one; near missing pixels the kernel gives way to a
    weighted mean of its valid neighbours, so that neither nodata nor NaN leaks (:mod:`xcoreg.core.sampling`). Integers
    are rounded, half way to the even neighbour, and saturate. Where output pixels are source pixels, after a shift by
    whole pixels say, these are copied bit by bit. A shift is transformed to another CRS at the centre of the
    image. Missing heights stay missing. Two-dimensional coordinates such as lon(y, x) are kept unchanged when the
    transform is moved, and dropped when the image is interpolated; xc and yc of rioxarray are moved.

    Examples
    --------
    >>> from xcoreg.simulate import pair
    >>> scene = pair((256, 256), shift=(1.25, -0.5), seed=1)
    >>> fixed = apply(scene.tgt, match(scene.tgt, scene.ref))
    >>> round(float(fixed.x[0] - scene.tgt.x[0]), 1), fixed.data is scene.tgt.data
    (12.5, True)
    """
    if isinstance(fit, StackFit):
        return cast("Image", apply_stack(image, fit, **options))
    if is_points(image):
        return cast("Image", apply_to_points(image, fit, options or ground))
    if dem is not None or getattr(getattr(fit, "details", None), "sensor", None) is not None:
        return cast("Image", rectify_raw(image, fit, ground, (dem, vertical_datum), dict(options)))
    if is_in_pixels(fit):
        return _apply_in_pixels(image, fit, options)
    if is_tree(image):
        return cast("Image", mapped(image, lambda one: apply(one, fit, ground=ground, **options)))
    others = other_grids(image) if isinstance(image, Dataset) else []
    if others:
        return cast("Image", _apply_to_grids(image, others, fit, ground, options))
    if options.get("like") is not None:
        options["like"] = located(options["like"], "like")
    image = located(image, "the image")
    if ground is not None or needs_rectifying(image):
        return rectify_by(image, fit, ground, **options)
    return warping.apply(image, fit, **options)


@shows_options(Options, ApplyOptions)
def shift_to(target: Image, reference: Any, *, ground: Any = None, **options: Unpack[ShiftToOptions]) -> Image:
    """Match and apply one shift in one step: ``apply(target, match(target, reference))``.

    Parameters
    ----------
    target : DataArray or Dataset
        The image that moves.
    reference : DataArray or Dataset
        The image that stays; any CRS and GSD.
    ground : optional
        As for :func:`match`.
    **options
        See :func:`match` and :func:`apply`.

    Returns
    -------
    DataArray or Dataset
        As the target, in place: its transform moved and its pixels untouched, unless an output grid is asked for.

    Raises
    ------
    MatchError
        When no match can be trusted.
    OptionError
        For an unknown option, before any work.

    Examples
    --------
    >>> from xcoreg.simulate import pair
    >>> scene = pair((256, 256), shift=(1.25, -0.5), seed=1)
    >>> fixed = shift_to(scene.tgt, scene.ref, like=scene.ref)
    >>> fixed.coreg.grid == scene.ref.coreg.grid
    True
    """
    return _match_and_apply(shift.match, target, reference, ground, _split(dict(options), Options))


@shows_options(LocalOptions, ApplyOptions)
def warp_to(target: Image, reference: Any, *, ground: Any = None, **options: Unpack[WarpToOptions]) -> Image:
    """Match a field of shifts and warp by it in one step: ``apply(target, match_local(target, reference))``.

    Parameters
    ----------
    target : DataArray or Dataset
        The image that moves.
    reference : DataArray or Dataset
        The image that stays; any CRS and GSD.
    ground : optional
        As for :func:`match`.
    **options
        See :func:`match_local` and :func:`apply`. Without an output grid that of the target is used.

    Returns
    -------
    DataArray or Dataset
        As the target, interpolated once; lazy if the target is.

    Raises
    ------
    MatchError
        When no match can be trusted.
    OptionError
        For an unknown option, before any work.

    Examples
    --------
    >>> from xcoreg.simulate import pair, smooth_field
    >>> scene = pair((256, 256), shift=smooth_field((256, 256), 1.5, seed=2), seed=1)
    >>> warp_to(scene.tgt, scene.ref, spacing=32, window=48).shape
    (256, 256)
    """
    return _match_and_apply(_match_field, target, reference, ground, _split(dict(options), LocalOptions))


def _match_field(target: Any, reference: Any, options: LocalOptions) -> Coregistration:
    """Measure a field of shifts; between rounds of matching the target is corrected."""

    def correct(fit: Coregistration) -> Any:
        with warnings.catch_warnings():  # these are about results
            warnings.simplefilter("ignore", CoregWarning)
            return warping.apply(target, fit, force=True, resampling=_FAITHFUL)

    return field.match_local(target, reference, options, correct)


def _match_raw(
    target: Any, reference: Any, ground: Any, terrain: tuple[Any, Any], options: LocalOptions
) -> Coregistration:
    """Match a raw image over terrain: dem and vertical datum."""
    if options.terms is not None:
        raise OptionError("matcher= of elevation models compares heights, a raw image has none: leave it or dem= out")
    given, target, reference = (target, reference), finest_of(target), located(reference, "reference")
    shape = shape_of(target)
    found = over_terrain(as_ground(ground, target), shape, *terrain)

    def onto_map(current: Any) -> Any:
        return rectified_to(target, reference, current, nodata=options.nodata, resampling=_FAITHFUL)

    return match_sensor(found, shape, reference, options, onto_map).made_of(*given)


def load_fit_of(path: str, image: str, date: str | None = None) -> Coregistration:
    """Read the fit of an image: a fit of two images, or of a stack the one of a date, by the name of the image."""
    if mark_of(path) != STACK_FORMAT:
        if date is not None:
            raise OptionError(f"{path} is no stack of dates: leave the date {date} out")
        return load_fit(path)
    stack = load_stack(path)
    return fit_of(image, stack) if date is None else stack.fit(date)


def correct_file(
    source: str,
    fit: Coregistration,
    goal: Path,
    *,
    driver: str | None = None,
    creation: Mapping[str, Any] | None = None,
    overwrite: bool = True,
    ground: Any = None,
    **applying: Any,
) -> Path:
    """Correct an image by a fit and write it, complete or not at all; `like` may be a path.

    A GeoTIFF that is only moved is copied byte by byte.
    """
    image = open_raster(source, chunks="auto")
    pixels_stay = ground is None and not is_in_pixels(fit) and _keeps_pixels(image, fit, applying)
    if pixels_stay and _is_geotiff(source) and moves_only(goal, driver, creation, applying):
        moved = warping.apply(image, fit, vertical=False, force=bool(applying.get("force")))
        return copy_moved(source, goal, moved.rio.transform(), {"xcoreg": moved.attrs["xcoreg"]})
    if isinstance(applying.get("like"), str):
        applying["like"] = open_raster(applying["like"])
        check_size(shape_of(applying["like"]), shape_of(image), asked=True)
    fixed = apply(image, fit, ground=ground, **applying)
    return write_output(fixed, image, goal, driver=driver, overwrite=overwrite, **(creation or {}))


def write_output(made: Image, image: DataArray | Dataset, goal: Path, **options: Any) -> Path:
    """Write what was made of an image, unless its size is absurd beside that of the image."""
    check_size(shape_of(made), shape_of(image), asked=True)
    return write_raster(made, goal, **options)


def check_format(
    path: Path,
    driver: str | None = None,
    creation: Mapping[str, Any] | None = None,
    image: str | None = None,
    *,
    heights: bool = False,
) -> None:
    """Refuse an output whose format, or its creation options, cannot take an image, before any work."""
    name = driver_for(path, driver)
    check_header(path, name)
    if not creation and name in ("GTiff", "COG"):
        return
    opened = None if image is None else open_raster(image)
    dtype = heights_dtype(opened.dtype) if heights and isinstance(opened, DataArray) else None
    try_format(path, name, creation or {}, opened, dtype)


def moves_only(
    goal: Path,
    driver: str | None = None,
    creation: Mapping[str, Any] | None = None,
    applying: Mapping[str, Any] | None = None,
) -> bool:
    """Whether a GeoTIFF is to be written, on the grid of the image and without creation options."""
    regrid = ApplyOptions(**(applying or {})).is_regrid
    return not (creation or regrid) and driver_for(goal, driver) == "GTiff"


def _match_and_apply(
    measure: Callable[[Any, Any, Any], Coregistration],
    target: Image,
    reference: Any,
    ground: Any,
    options: tuple[Any, dict[str, Any]],
) -> Image:
    """Match and apply in one step; the ground of a target without a transform is fitted once."""
    matching, applying = options
    given, (target, reference) = target, located_pair(target, reference, ground)
    if ground is None and not needs_rectifying(target):
        fit = measure(target, reference, matching).made_of(given, reference)
        if target is given and isinstance(target, DataArray) and applying.get("like") is None:
            return warping.apply(target, fit, **applying)
        return apply(target if isinstance(given, DataArray) and not is_in_pixels(fit) else given, fit, **applying)
    if is_tree(given):
        return apply(given, measure(target, reference, matching), ground=ground, **applying)
    ground = as_ground(ground, target)
    rectified = rectified_to(target, reference, ground, nodata=matching.nodata)
    fit = measure(rectified, reference, matching).made_of(target, reference)
    return rectify_by(target, fit, ground, **applying)


def _apply_to_grids(image: Any, others: list[list[Any]], fit: Coregistration, ground: Any, options: Any) -> Any:
    """Correct the variables of a Dataset that lie on several grids, each on its own."""
    names = {name for group in others for name in group}
    out = apply(image[[name for name in image.data_vars if name not in names]], fit, ground=ground, **options)
    plain = {name for name, one in image.data_vars.items() if one.ndim == 0}  # grid mappings may be among them
    for group in others:
        part = apply(image[[*group, *plain]], fit, ground=ground, **options)
        made = {name: one for name, one in part.data_vars.items() if name in out.data_vars or name in group}
        gone = (plain & set(out.data_vars)) - set(part.data_vars)
        out = out.drop_vars(gone).assign_coords(part.coords).assign(made)
    return out[[name for name in image.data_vars if name in out.data_vars]]


def _apply_in_pixels(image: Image, fit: Coregistration, options: Any) -> Image:
    """Resample an image without a georeference by a fit in pixels."""
    if not lacks_georeference(image):
        raise OptionError(
            "the fit is in pixels of images without a georeference, and this image has one: match it again"
        )
    like = options.get("like")
    if isinstance(like, DataArray | Dataset) and lacks_georeference(like):
        options = {**options, "like": in_pixels(like)}
    asked = ApplyOptions.checked(dict(options))
    if asked.is_aligned or (like is None and fit.moves_transform):
        raise OptionError(
            "an image without a georeference has no transform that could be moved: interpolate its pixels onto those "
            "of the reference, like=reference"
        )
    return cast("Image", out_of_pixels(warping.apply(in_pixels(image), fit, **options), image))


def _split(options: dict[str, Any], kind: type[Options]) -> tuple[Options, dict[str, Any]]:
    """Options of the matching, checked, and those of `apply`; nodata belongs to both."""
    applying = {name: value for name, value in options.items() if name in APPLY_OPTIONS}
    matching = {name: value for name, value in options.items() if name not in APPLY_OPTIONS or name == "nodata"}
    return check_options(matching, APPLY_OPTIONS, kind=kind), applying


def _keeps_pixels(image: Any, fit: Coregistration, applying: Mapping[str, Any]) -> bool:
    """Whether only the transform changes."""
    if fit.model is None or not fit.moves_transform or needs_rectifying(image):
        return False
    return not changes_values(image, fit, applying.get("vertical"), applying.get("resampling") or "auto")


def _is_geotiff(source: str) -> bool:
    path = local_path(source)
    if path is None or not path.is_file():
        return False
    with open_gdal(path) as image:
        # control points are no transform that could be moved, and each page has one of its own
        return image.driver == "GTiff" and not image.gcps[0] and len(image.subdatasets) < 2
