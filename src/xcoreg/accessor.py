"""The `.coreg` accessor of DataArrays and Datasets: each method one line over a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import xarray as xr

import xcoreg

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from odc.geo.geobox import GeoBox

    from xcoreg.core import Floats
    from xcoreg.coregister import ShiftToOptions, WarpToOptions
    from xcoreg.georef import GCPs
    from xcoreg.matching.options import MatchLocalOptions, MatchOptions
    from xcoreg.matching.stack_options import StackKeywords, StackLocalKeywords
    from xcoreg.results.coregistration import Coregistration
    from xcoreg.results.stack import StackFit
    from xcoreg.warp.locate import Located
    from xcoreg.warp.plan import ApplyKeywords

    Image = xr.DataArray | xr.Dataset

__all__ = ["CoregAccessor"]

_Method = TypeVar("_Method", bound=Callable[..., Any])


class _ShowsOptions:
    """A method that gets the options of the public function of its name into its signature when it is first used.

    Not before: `import xcoreg` would have to import these functions, and with them all that they need.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        self.__func__ = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        method = self.__func__
        signature = inspect.signature(method)
        shown = {name: one for name, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD}
        options = inspect.signature(getattr(xcoreg, method.__name__)).parameters
        shown |= {name: one for name, one in options.items() if one.kind is one.KEYWORD_ONLY and name not in shown}
        method.__signature__ = signature.replace(parameters=list(shown.values()))  # type: ignore[attr-defined]
        setattr(owner, method.__name__, method)
        return method.__get__(instance, owner)


def _shows_options(method: _Method) -> _Method:
    return _ShowsOptions(method)  # type: ignore[return-value]


@xr.register_dataarray_accessor("coreg")  # type: ignore[no-untyped-call]
@xr.register_dataset_accessor("coreg")  # type: ignore[no-untyped-call]
class CoregAccessor:
    """Coregistration of a georeferenced image: the *target*, which is moved onto a *reference*.

    A shift is the correction: ``x_ref = x_tgt + dx``, map axes in CRS units; ``dcol`` to the right and ``drow`` down in
    target pixels. *Describe*: `grid`, `nodata`, `footprint`, `overlap`, `gcps`, `locate`, `place`. *Measure*: `match`
    (one shift), `match_local` (a field), `match_stack` (all dates of a cube). *Correct*: `apply` (a fit), `shift_to`,
    `warp_to` (both steps), `rectify`.

    Of a DataTree the group with the smallest pixels is matched, and all groups with images are corrected.

    Examples
    --------
    >>> import xcoreg
    >>> scene = xcoreg.simulate.pair((256, 256), shift=(1.25, -0.5), seed=1)
    >>> fixed = scene.tgt.coreg.shift_to(scene.ref)
    >>> round(float(fixed.x[0] - scene.tgt.x[0]), 1)
    12.5
    >>> scene.tgt.coreg
    <.coreg of an image of 256 x 256 px (rows x columns), EPSG:32633: match, match_local, apply, ... see help(...)>
    """

    def __init__(self, image: Image) -> None:
        self._image = image

    @property
    def _one(self) -> Any:
        return xcoreg.coregister.finest_of(self._image)

    def __repr__(self) -> str:
        return xcoreg.coregister.describe_accessor(lambda: self.grid)

    @property
    def grid(self) -> GeoBox:
        """CRS, affine and shape, as an `odc.geo.geobox.GeoBox`.

        Examples
        --------
        >>> import xcoreg
        >>> grid = xcoreg.simulate.pair((40, 60), seed=1).tgt.coreg.grid
        >>> grid.crs.epsg, tuple(grid.shape), grid.affine.a
        (32633, (40, 60), 10.0)
        """
        return xcoreg.coregister.grid_of(self._one)

    @property
    def nodata(self) -> float | int | None:
        """Stored marker of missing pixels, or the one found from the image corners, or None.

        Examples
        --------
        >>> import xcoreg
        >>> xcoreg.datasets.sentinel2_pair()[0].coreg.nodata
        0
        """
        return xcoreg.coregister.nodata(self._one)

    def footprint(self, *, band: int | str | None = None, nodata: float | None = None) -> Any:
        """Polygon of the valid data, traced on an overview.

        Parameters
        ----------
        band : int or str, optional
            Number from 1, label or variable; default: the first.
        nodata : float, optional
            Marker of missing pixels; default: the stored one, or the one found from the corners.

        Returns
        -------
        shapely Polygon or MultiPolygon
            In the CRS of the image.

        Examples
        --------
        >>> import xcoreg
        >>> xcoreg.simulate.pair((40, 60), seed=1).tgt.coreg.footprint().bounds
        (300000.0, 5899640.0, 300600.0, 5900040.0)
        """
        return xcoreg.coregister.footprint(self._one, band=band, nodata=nodata)

    def overlap(self, reference: Image) -> Any:
        """Area where both images have valid data.

        Parameters
        ----------
        reference : DataArray or Dataset
            Any CRS.

        Returns
        -------
        shapely Polygon or MultiPolygon
            In the CRS of this image.

        Examples
        --------
        >>> import xcoreg
        >>> ref, tgt = xcoreg.datasets.sentinel2_pair()
        >>> round(tgt.coreg.overlap(ref).area / tgt.coreg.footprint().area, 2)
        0.91
        """
        return xcoreg.coregister.overlap(self._one, reference)

    @_shows_options
    def match(
        self, reference: Image, *, ground: Any = None, dem: Any = None, vertical_datum: Any = None,
        **options: Unpack[MatchOptions],
    ) -> Coregistration:  # fmt: skip
        """Measure the shift onto a `reference`. See :func:`xcoreg.match` for `ground`, `dem`, the options and errors.

        Returns
        -------
        Coregistration

        Examples
        --------
        >>> import xcoreg
        >>> scene = xcoreg.simulate.pair((256, 256), shift=(1.25, -0.5), seed=1)
        >>> shift = scene.tgt.coreg.match(scene.ref).shift
        >>> round(shift.dx, 1), round(shift.dy, 1), round(shift.dcol, 2), round(shift.drow, 2)
        (12.5, 5.0, 1.25, -0.5)
        """
        terrain: dict[str, Any] = {"dem": dem, "vertical_datum": vertical_datum}
        return xcoreg.match(self._image, reference, ground=ground, **terrain, **options)

    @_shows_options
    def match_local(
        self,
        reference: Image,
        *,
        ground: Any = None,
        dem: Any = None,
        vertical_datum: Any = None,
        **options: Unpack[MatchLocalOptions],
    ) -> Coregistration:
        """Measure a field of shifts onto a `reference`. See :func:`xcoreg.match_local` for `ground`, options, errors.

        Returns
        -------
        Coregistration

        Examples
        --------
        >>> import xcoreg
        >>> scene = xcoreg.simulate.pair((256, 256), shift=(1.25, -0.5), seed=1)
        >>> fit = scene.tgt.coreg.match_local(scene.ref, spacing=48, window=64)
        >>> fit.points
        TiePoints(25 windows: 25 OK)
        """
        terrain: dict[str, Any] = {"dem": dem, "vertical_datum": vertical_datum}
        return xcoreg.match_local(self._image, reference, ground=ground, **terrain, **options)

    @_shows_options
    def apply(
        self, fit: Coregistration | StackFit, *, ground: Any = None, dem: Any = None, vertical_datum: Any = None,
        **options: Unpack[ApplyKeywords],
    ) -> Image:  # fmt: skip
        """Correct this image by a `fit` of it, or of another of the same product. See :func:`xcoreg.apply`.

        Without `align_grid`, `like`, `resolution` and `ref_grid` one shift only moves the transform. An image
        georeferenced by control points or RPCs (or `ground`) is rectified, in the CRS of the fit, a raw image over
        `dem`. All dates of a cube are interpolated onto one grid by the fit of :meth:`match_stack`, each once.

        Returns
        -------
        DataArray or Dataset
            As this image; lazy if this image is.

        Examples
        --------
        >>> import xcoreg
        >>> scene = xcoreg.simulate.pair((256, 256), shift=(1.25, -0.5), seed=1)
        >>> fixed = scene.tgt.coreg.apply(scene.tgt.coreg.match(scene.ref))
        >>> bool((fixed.values == scene.tgt.values).all()), round(float(fixed.x[0] - scene.tgt.x[0]), 1)
        (True, 12.5)
        """
        terrain: dict[str, Any] = {"dem": dem, "vertical_datum": vertical_datum}
        return xcoreg.apply(self._image, fit, ground=ground, **terrain, **options)

    @_shows_options
    def match_stack(self, reference: Any = None, **options: Unpack[StackKeywords]) -> StackFit:
        """Measure the shifts of all dates of this cube together; see :func:`xcoreg.match_stack`.

        Parameters
        ----------
        reference : DataArray, Dataset or path, optional
            An image that has its place; else the mean of the dates stays, or `datum`.
        **options
            See :class:`xcoreg.matching.stack_options.StackOptions`.

        Returns
        -------
        StackFit

        Examples
        --------
        >>> import xcoreg
        >>> made = xcoreg.simulate.cube(4, (160, 160), clouds=0, seed=2)
        >>> stack = made.cube.coreg.match_stack()
        >>> made.cube.coreg.apply(stack).sizes["time"], len(stack.pairs)
        (4, 6)
        """
        return xcoreg.match_stack(self._image, reference, **options)

    @_shows_options
    def match_stack_local(self, reference: Any = None, **options: Unpack[StackLocalKeywords]) -> StackFit:
        """Measure the fields of shifts of all dates of this cube together; see :func:`xcoreg.match_stack_local`.

        Parameters
        ----------
        reference : DataArray, Dataset or path, optional
            An image that has its place; else the mean of the dates stays, or `datum`.
        **options
            See :class:`xcoreg.matching.stack_options.StackLocalOptions`.

        Returns
        -------
        StackFit

        Examples
        --------
        >>> import xcoreg
        >>> made = xcoreg.simulate.cube(4, (256, 256), clouds=0, seed=2)
        >>> made.cube.coreg.match_stack_local(window=64, spacing=48).is_field
        True
        """
        return xcoreg.match_stack_local(self._image, reference, **options)

    @_shows_options
    def extend_stack(self, stack: StackFit, reference: Any = None, **options: Unpack[StackKeywords]) -> StackFit:
        """Add dates of this cube to a stack; see :func:`xcoreg.extend_stack`.

        Parameters
        ----------
        stack : StackFit
            Of some dates of this cube.
        reference : DataArray, Dataset or path, optional
            As for :meth:`match_stack`.
        **options
            See :class:`xcoreg.matching.stack_options.StackOptions`.

        Returns
        -------
        StackFit

        Examples
        --------
        >>> import xcoreg
        >>> made = xcoreg.simulate.cube(5, (160, 160), clouds=0, seed=2).cube
        >>> stack = made[:4].coreg.match_stack()
        >>> len(made.coreg.extend_stack(stack).names)
        5
        """
        return xcoreg.extend_stack(stack, self._image, reference, **options)

    @_shows_options
    def shift_to(self, reference: Image, *, ground: Any = None, **options: Unpack[ShiftToOptions]) -> Image:
        """Match and apply in one step: ``apply(match(reference))``. See :func:`xcoreg.shift_to`, also for `ground`.

        Returns
        -------
        DataArray or Dataset
            As this image, corrected.

        Examples
        --------
        >>> import xcoreg
        >>> scene = xcoreg.simulate.pair((256, 256), shift=(1.25, -0.5), seed=1)
        >>> fixed = scene.tgt.coreg.shift_to(scene.ref, like=scene.ref)
        >>> fixed.coreg.grid == scene.ref.coreg.grid
        True
        """
        return xcoreg.shift_to(self._image, reference, ground=ground, **options)

    @_shows_options
    def warp_to(self, reference: Image, *, ground: Any = None, **options: Unpack[WarpToOptions]) -> Image:
        """Measure a field of shifts and warp by it in one step: ``apply(match_local(reference))``, one interpolation.

        See :func:`xcoreg.warp_to`, also for `ground`. Without an output grid that of this image is used.

        Returns
        -------
        DataArray or Dataset
            As this image, corrected; lazy if this image is.

        Examples
        --------
        >>> import xcoreg
        >>> field = xcoreg.simulate.smooth_field((256, 256), 1.5, seed=2)
        >>> scene = xcoreg.simulate.pair((256, 256), shift=field, seed=1)
        >>> fixed = scene.tgt.coreg.warp_to(scene.ref, spacing=32, window=48)
        >>> fixed.coreg.grid == scene.tgt.coreg.grid
        True
        """
        return xcoreg.warp_to(self._image, reference, ground=ground, **options)

    @property
    def gcps(self) -> GCPs | None:
        """Ground control points stored with the image, or None.

        Examples
        --------
        >>> import xcoreg
        >>> xcoreg.datasets.sentinel2_pair()[0].coreg.gcps is None  # it has a transform instead
        True
        """
        return xcoreg.coregister.gcps_of(self._one)

    def rectify(  # noqa: PLR0913 - as the function
        self,
        ground: Any = None,
        *,
        like: Any = None,
        crs: Any = None,
        resolution: float | tuple[float, float] | None = None,
        resampling: str = "auto",
        nodata: float | None = None,
        height: float = 0.0,
        dem: Any = None,
        vertical_datum: Any = None,
        drop_hidden: bool = False,
    ) -> Image:
        """Rectify an image georeferenced by control points, RPCs or corners, in one interpolation.

        Parameters
        ----------
        ground : optional
            GCPs, a fit of them (:func:`xcoreg.fit_gcps`), RPCs, Corners or a path of control points; default: the GCPs
            or RPCs of the image.
        like : DataArray, Dataset or GeoBox, optional
            Output grid, instead of `crs` and `resolution`.
        crs : CRS in any spelling, optional
            Of the output; default: that of the ground.
        resolution : float or (float, float), optional
            Pixel size (x, y), units of the output CRS; default: squares of the size of the pixels at the middle.
        resampling : {"auto", "nearest", "bilinear", "cubic", "lanczos"}
            Interpolation kernel.
        nodata : float, optional
            Marker of missing pixels; default: the stored one.
        height : float
            Of the ground for RPCs, m above the ellipsoid.
        dem, vertical_datum : optional
            Terrain for RPCs instead of one height: a raster, its path, and from where it counts its heights.
        drop_hidden : bool
            Leave out what the terrain hides from the sensor.

        Returns
        -------
        DataArray or Dataset
            North up unless `like` says otherwise, pixel edges at multiples of their size; lazy if this image is.

        Examples
        --------
        >>> import numpy as np, xarray as xr, xcoreg
        >>> raw = xr.DataArray(np.ones((50, 100), "uint8"), dims=("y", "x"))
        >>> x, y = [5.0, 995.0, 5.0, 995.0], [-5.0, -5.0, -495.0, -495.0]  # on the ground, metres
        >>> points = xcoreg.GCPs([0, 99, 0, 99], [0, 0, 49, 49], x, y, crs="EPSG:32633")
        >>> raw.coreg.rectify(points, resolution=10).shape
        (50, 100)
        """
        form: dict[str, Any] = {"resampling": resampling, "nodata": nodata, "height": height}
        form |= {"dem": dem, "vertical_datum": vertical_datum, "drop_hidden": drop_hidden}
        return xcoreg.coregister.rectify(self._image, ground, like=like, crs=crs, resolution=resolution, **form)

    def locate(  # noqa: PLR0913 - as the function
        self,
        points: Any,
        *,
        crs: Any = None,
        ground: Any = None,
        normalized: bool = False,
        band: int | str | None = None,
        resampling: str | None = "nearest",
        height: float = 0.0,
        dem: Any = None,
        vertical_datum: Any = None,
    ) -> Located:
        """Find points in the image: columns, rows, inside or not, and values.

        Parameters
        ----------
        points : (n, 2) or (n, 3) array, pair of arrays, mapping, DataFrame or GeoDataFrame
            x before y, longitude before latitude; a third column is copied.
        crs : CRS in any spelling, optional
            Of the points; default: that of a GeoDataFrame, else longitude and latitude.
        ground : optional
            Georeference of an image without a transform, as for :meth:`rectify`.
        normalized : bool
            Give positions from (0, 0) upper left to (1, 1) lower right instead of columns and rows.
        band : int or str, optional
            Where values are taken from: number from 1, label or variable; default: the first.
        resampling : {"nearest", "bilinear", "cubic", "lanczos"} or None
            Interpolation kernel of the values; None takes no values.
        height : float
            Of the ground for RPCs, m above the ellipsoid.
        dem, vertical_datum : optional
            As for :meth:`rectify`.

        Returns
        -------
        Located
            Exact to 1e-6 px; of more than 100 000 points in an image without a transform, to about 2e-3 px.

        Examples
        --------
        >>> import xcoreg
        >>> tgt = xcoreg.datasets.sentinel2_pair()[1]
        >>> found = tgt.coreg.locate([(12.65, 52.78)])  # longitude before latitude
        >>> found.col.round(1), found.row.round(1), found.value
        (array([419.7]), array([230.8]), array([840.]))
        """
        form: dict[str, Any] = {"normalized": normalized, "band": band, "resampling": resampling, "height": height}
        form |= {"dem": dem, "vertical_datum": vertical_datum}
        return xcoreg.coregister.locate(self._one, points, crs=crs, ground=ground, **form)

    def place(
        self,
        col: ArrayLike,
        row: ArrayLike,
        *,
        crs: Any = "EPSG:4326",
        ground: Any = None,
        normalized: bool = False,
        height: float = 0.0,
        dem: Any = None,
        vertical_datum: Any = None,
    ) -> tuple[Floats, Floats]:
        """Find the coordinates of positions in the image.

        Parameters
        ----------
        col, row : float or array
            An integer is the centre of a pixel.
        crs : CRS in any spelling
            Of the coordinates; default: longitude and latitude.
        ground, normalized, height, dem, vertical_datum
            As for :meth:`locate`.

        Returns
        -------
        x, y : float64 arrays
            Longitude before latitude.

        Examples
        --------
        >>> import xcoreg
        >>> tgt = xcoreg.datasets.sentinel2_pair()[1]
        >>> lon, lat = tgt.coreg.place(419.7, 230.8)
        >>> round(float(lon), 4), round(float(lat), 4)
        (12.65, 52.78)
        """
        form: dict[str, Any] = {"normalized": normalized, "height": height}
        form |= {"dem": dem, "vertical_datum": vertical_datum}
        return xcoreg.coregister.place(self._one, col, row, crs=crs, ground=ground, **form)


if hasattr(xr, "register_datatree_accessor"):  # since 2024.10
    xr.register_datatree_accessor("coreg")(CoregAccessor)  # type: ignore[no-untyped-call]
