"""The `.coreg` accessor of DataArrays and Datasets: each method a few lines over a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import xarray as xr

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from xcoreg.plan import MatchLocalOptions, MatchOptions
    from xcoreg.result import Coregistration

    Image = xr.DataArray | xr.Dataset

__all__ = ["CoregAccessor"]


@xr.register_dataarray_accessor("coreg")  # type: ignore[no-untyped-call]
@xr.register_dataset_accessor("coreg")  # type: ignore[no-untyped-call]
class CoregAccessor:
    """Coregistration of a georeferenced image: the *target*, which is moved onto a *reference*.

    A shift is the correction: ``x_ref = x_tgt + dx``, map axes in CRS units; ``dcol`` to the right and ``drow`` down in
    target pixels.

    Examples
    --------
    >>> import xcoreg
    >>> scene = xcoreg.simulate.pair((256, 256), shift=(1.25, -0.5), seed=1)
    >>> fixed = scene.tgt.coreg.shift_to(scene.ref)
    >>> round(float(fixed.x[0] - scene.tgt.x[0]), 1)
    12.5
    """

    def __init__(self, image: Image) -> None:
        self._image = image

    @property
    def grid(self) -> GeoBox:
        """CRS, affine and shape, as an `odc.geo.geobox.GeoBox`."""
        from xcoreg.raster import grid_of

        return grid_of(self._image)

    @property
    def nodata(self) -> float | int | None:
        """Stored marker of missing pixels, or the one found from the image corners, or None."""
        from xcoreg.raster import make_raster

        return make_raster(self._image).nodata

    def footprint(self, **options: Any) -> Any:
        """Outline of the valid data.

        Parameters
        ----------
        **options
            `band` and `nodata`, as for :func:`xcoreg.raster.make_raster`.

        Returns
        -------
        shapely Polygon or MultiPolygon
            In the CRS of the image.
        """
        from xcoreg.raster import footprint, make_raster

        return footprint(make_raster(self._image, **options))

    def overlap(self, ref: Image) -> Any:
        """Area where both images have valid data.

        Parameters
        ----------
        ref : DataArray or Dataset
            Any CRS.

        Returns
        -------
        shapely Polygon or MultiPolygon
            In the CRS of this image.
        """
        from xcoreg.raster import footprint, make_raster, overlap

        target, reference = make_raster(self._image), make_raster(ref, name="reference")
        return overlap(footprint(target), target.grid.crs, footprint(reference), reference.grid.crs)

    def match(self, ref: Image, **options: Unpack[MatchOptions]) -> Coregistration:
        """Measure the shift onto a reference; see :func:`xcoreg.match` for options and errors.

        Parameters
        ----------
        ref : DataArray or Dataset
            The image that stays; any CRS and GSD.
        **options
            `band`, `ref_band`, `window`, `at`, `max_shift`, `windows`, `contrast`, `where`, `ref_where`, `nodata`,
            `ref_nodata`, `footprint`, `ref_footprint`, `matcher`, `progress`, `errors`.

        Returns
        -------
        Coregistration
        """
        from xcoreg.engine import match

        return match(self._image, ref, **options)

    def match_local(self, ref: Image, **options: Unpack[MatchLocalOptions]) -> Coregistration:
        """Measure a field of shifts onto a reference; see :func:`xcoreg.match_local` for options and errors.

        Parameters
        ----------
        ref : DataArray or Dataset
            The image that stays; any CRS and GSD.
        **options
            `spacing`, `model`, `filters`, `points`, and those of :meth:`match` but `at` and `windows`.

        Returns
        -------
        Coregistration
        """
        from xcoreg.engine import match_local

        return match_local(self._image, ref, **options)

    def apply(self, fit: Coregistration, **options: Any) -> Image:
        """Put this image in place by a fit; see :func:`xcoreg.apply`.

        Parameters
        ----------
        fit : Coregistration
            Estimated on this image, or on another one of the same product.
        **options
            `align_grid`, `like`, `resolution`, `resampling`, `nodata`: without any of the first three the transform
            is moved and no pixel touched.

        Returns
        -------
        DataArray or Dataset
            As this image; lazy if this image is.
        """
        from xcoreg.warp import apply

        return apply(self._image, fit, **options)  # type: ignore[type-var]

    def shift_to(self, ref: Image, **options: Any) -> Image:
        """Match and apply in one step: ``apply(match(ref))``.

        Parameters
        ----------
        ref : DataArray or Dataset
            The image that stays.
        **options
            Of :meth:`match` and of :meth:`apply`.

        Returns
        -------
        DataArray or Dataset
            As this image, in place.
        """
        from xcoreg.plan import check_options

        matching, moving = _split(options)
        check_options(matching, _MOVING)
        return self.apply(self.match(ref, **matching), **moving)

    def warp_to(self, ref: Image, **options: Any) -> Image:
        """Measure a field of shifts and warp by it in one step: ``apply(match_local(ref))``, one interpolation.

        Parameters
        ----------
        ref : DataArray or Dataset
            The image that stays.
        **options
            Of :meth:`match_local` and of :meth:`apply`. Without `like` or `align_grid` the grid of this image is kept.

        Returns
        -------
        DataArray or Dataset
            As this image, in place; lazy if this image is.
        """
        from xcoreg.plan import LocalOptions, check_options

        matching, moving = _split(options)
        check_options(matching, _MOVING, kind=LocalOptions)
        return self.apply(self.match_local(ref, **matching), **moving)


# Of `apply`; what else is given belongs to the matching, which knows how to complain about a name it never heard.
_MOVING = ("align_grid", "like", "resolution", "resampling", "nodata", "ref_grid")


def _split(options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Options of `match` and of `apply`; both are told the marker of missing pixels."""
    moving = {name: value for name, value in options.items() if name in _MOVING}
    return {name: value for name, value in options.items() if name not in _MOVING or name == "nodata"}, moving
