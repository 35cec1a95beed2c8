"""The classes of AROSICS: one shift, a field of shifts, and the correction of any image by either."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from xcoreg import coregister, filters
from xcoreg.arosics.options import (
    GDAL_KERNELS,
    GLOBAL,
    LOCAL,
    MATCHING,
    OUTPUT,
    PERCENT,
    check_options,
    creation_options,
    lattice_options,
    map_info,
    matching_options,
    open_image,
    path_of,
)
from xcoreg.arosics.points import Tie_Point_Grid
from xcoreg.core.kernels import KERNELS
from xcoreg.errors import MatchError, OptionError
from xcoreg.files import check_output
from xcoreg.georef import to_geotransform
from xcoreg.io.write import write_raster
from xcoreg.results.coregistration import Coregistration


class _Job:
    """What both classes have in common: images, options, the fit, and the correction by it."""

    def __init__(self, im_ref: Any, im_tgt: Any, options: dict[str, Any], **settings: Any) -> None:
        self.params = options
        self._paths = path_of(im_ref), path_of(im_tgt)
        self.ref, self.shift = open_image(im_ref), open_image(im_tgt)
        self._settings = settings
        self.fit: Coregistration | None = None
        self.success: bool | None = None
        self.tracked_errors: list[Exception] = []
        self.deshift_results: dict[str, Any] | None = None
        self.overlap_poly = coregister.overlap(self.shift, self.ref)
        self.overlap_percentage = 100 * self.overlap_poly.area / coregister.footprint(self.shift).area

    def calculate_spatial_shifts(self) -> str:
        """Match; return "success" or "fail".

        Raises
        ------
        MatchError
            When nothing can be trusted, unless ``ignore_errors=True``.
        """
        try:
            self.fit = self._match()
        except MatchError as error:
            self.tracked_errors.append(error)
            self.success = False
            if not self.params["ignore_errors"]:
                raise
            return "fail"
        self.success = True
        return "success"

    def _match(self) -> Coregistration:
        raise NotImplementedError

    def _trusted(self) -> Coregistration:
        """Return the fit, made when it is first needed."""
        if self.fit is None and self.success is None:
            self.calculate_spatial_shifts()
        if self.fit is None:
            raise self.tracked_errors[-1]
        return self.fit

    @property
    def coreg_info(self) -> dict[str, Any]:
        """Result as AROSICS gives it, with the whole fit under "xcoreg fit"."""
        fit = self._trusted()
        grid = coregister.grid_of(self.ref)
        shift = fit.shift
        moved = GeoBox(fit.shape, Affine.translation(shift.dx, shift.dy) @ fit.grid.affine, fit.grid.crs)
        west, width, _, north, _, height = to_geotransform(grid.affine)
        return {
            "corrected_shifts_px": {"x": shift.dcol, "y": shift.drow},
            "corrected_shifts_map": {"x": shift.dx, "y": shift.dy},
            "original map info": map_info(fit.grid),
            "updated map info": map_info(moved),
            "reference projection": "" if grid.crs is None else grid.crs.to_wkt(),
            "reference geotransform": to_geotransform(grid.affine),
            "reference grid": [[west, west + width], [north, north + height]],
            "reference extent": {"cols": grid.shape[1], "rows": grid.shape[0]},
            "success": bool(self.success),
            "xcoreg fit": fit.to_dict(),
        }

    def correct_shifts(self, **options: Any) -> dict[str, Any]:
        """Correct the target, write it if `path_out` says so, and return AROSICS' dictionary."""
        path = self.params["path_out"]
        if path == "auto":
            ref, tgt = (Path(name or "image") for name in self._paths)
            self.params["path_out"] = str(tgt.with_name(f"{tgt.stem}__shifted_to__{ref.stem}.bsq"))
        wanted = {name: self.params[name] for name in OUTPUT} | options
        if wanted["path_out"]:
            masks = (self.params.get(f"mask_baddata_{side}") for side in ("ref", "tgt"))
            check_output(wanted["path_out"], inputs=(self.ref, self.shift, *self._paths, *masks))
        job = DESHIFTER(self.shift, self.coreg_info, nodata=self.params["nodata"][1], **wanted)
        self.deshift_results = job.correct_shifts()
        return self.deshift_results

    def show_image_footprints(self) -> Any:
        """Interactive map of footprints and tie points."""
        return self._trusted().explore()


class COREG(_Job):
    """One shift for the whole image; signs and names are those of AROSICS: the correction, y down in pixels.

    Parameters
    ----------
    im_ref, im_tgt : path, DataArray or GeoArray
        The image that is right, and the one that is off.
    **options
        As in AROSICS: wp, ws, r_b4match, s_b4match, max_shift (px, default 5), nodata, path_out, fmt_out, ...

    Raises
    ------
    OptionError
        For an unknown option.
    NoOverlap
        Where the images do not overlap.

    Examples
    --------
    >>> from xcoreg.simulate import pair
    >>> scene = pair((300, 300), shift=(0.7, -1.2), seed=3)
    >>> job = COREG(scene.ref, scene.tgt, q=True)
    >>> job.calculate_spatial_shifts(), round(job.x_shift_px, 1), round(job.y_shift_px, 1)
    ('success', 0.7, -1.2)
    """

    def __init__(self, im_ref: Any, im_tgt: Any, **options: Any) -> None:
        checked = check_options(options, MATCHING | OUTPUT | GLOBAL)
        place = checked["wp"]
        at = None if place is None or place[0] is None else (float(place[0]), float(place[1]))
        super().__init__(im_ref, im_tgt, checked, at=at)

    def _match(self) -> Coregistration:
        return coregister.match(self.shift, self.ref, **matching_options(self.params), **self._settings)

    def _number(self, name: str) -> float | None:
        return None if self.fit is None else float(getattr(self.fit.shift, name))

    x_shift_px = property(lambda self: self._number("dcol"), doc="Correction to the right, target px.")
    y_shift_px = property(lambda self: self._number("drow"), doc="Correction down, target px.")
    x_shift_map = property(lambda self: self._number("dx"), doc="Correction along x, CRS units.")
    y_shift_map = property(lambda self: self._number("dy"), doc="Correction along y, CRS units.")
    vec_length_map = property(lambda self: self._number("length"), doc="Length of the correction, CRS units.")
    vec_angle_deg = property(lambda self: self._number("angle"), doc="Direction of the correction, degrees from north.")

    def _measure(self, name: str) -> float | None:
        return None if self.fit is None else float(getattr(self.fit.quality, name))

    shift_reliability = property(lambda self: self._measure("reliability"), doc="Percent; not the number of AROSICS.")
    ssim_orig = property(lambda self: self._measure("ssim_before"), doc="Structural similarity before the correction.")
    ssim_deshifted = property(lambda self: self._measure("ssim_after"), doc="Structural similarity after it.")

    @property
    def ssim_improved(self) -> bool | None:
        """Whether the correction increases the similarity."""
        return None if self.fit is None else bool(self.fit.quality.ssim_after >= self.fit.quality.ssim_before)

    def show_matchWin(self, **_: Any) -> Any:
        """Figure of the windows before and after the correction."""
        return self._trusted().plot()


class COREG_LOCAL(_Job):  # noqa: N801
    """A field of shifts from tie points on a grid.

    Parameters
    ----------
    im_ref, im_tgt : path, DataArray or GeoArray
        The image that is right, and the one that is off.
    grid_res : float
        Distance between tie points, target px.
    **options
        As in AROSICS: window_size, max_points, tieP_filter_level, max_shift (px, default 5), path_out, fmt_out, ...

    Raises
    ------
    OptionError
        For an unknown option.
    NoOverlap
        Where the images do not overlap.

    Examples
    --------
    >>> from xcoreg.simulate import pair
    >>> scene = pair((400, 400), shift=(0.7, -1.2), seed=3)
    >>> job = COREG_LOCAL(scene.ref, scene.tgt, 60, window_size=(64, 64), q=True)
    >>> job.calculate_spatial_shifts(), job.success
    ('success', True)
    >>> round(job.coreg_info["mean_shifts_px"]["x"], 1)
    0.7
    """

    def __init__(self, im_ref: Any, im_tgt: Any, grid_res: float, **options: Any) -> None:
        checked = check_options(options, MATCHING | OUTPUT | LOCAL)
        level, least = checked["tieP_filter_level"], float(checked["min_reliability"])
        named = [filters.reliability(least * PERCENT), "ssim", "neighbours", "model"]
        chosen = named[: (0, 1, 2, 4)[level]]
        super().__init__(
            im_ref, im_tgt, checked, spacing=float(grid_res), max_points=checked["max_points"], filters=chosen
        )

    def _match(self) -> Coregistration:
        return coregister.match_local(self.shift, self.ref, **matching_options(self.params), **self._settings)

    @property
    def tiepoint_grid(self) -> Tie_Point_Grid:
        """The tie points, their statistics and their files."""
        return Tie_Point_Grid(self._trusted(), self.params["outFillVal"])

    @property
    def CoRegPoints_table(self) -> Any:
        """GeoDataFrame of all points in AROSICS' columns; `outFillVal` (-9999) where one has no shift."""
        return self.tiepoint_grid.CoRegPoints_table

    @property
    def coreg_info(self) -> dict[str, Any]:
        """Result as AROSICS gives it: GCPs, mean shifts, and the whole fit under "xcoreg fit"."""
        info = super().coreg_info
        info["mean_shifts_px"], info["mean_shifts_map"] = (
            info.pop("corrected_shifts_px"),
            info.pop("corrected_shifts_map"),
        )
        info["updated map info means"] = info.pop("updated map info")
        return info | {"GCPList": self.tiepoint_grid.to_GCPList()}

    def view_CoRegPoints(self, **_: Any) -> Any:
        """Figure of the tie points over the reference."""
        return self._trusted().points.plot(background=self.ref)


class DESHIFTER:
    """Correct any image of the same product by the `coreg_info` of :class:`COREG` or :class:`COREG_LOCAL`.

    Parameters
    ----------
    im2shift : path, DataArray or GeoArray
        The image to correct.
    coreg_results : dict
        `coreg_info`, as it is.
    **options
        As in AROSICS: path_out, fmt_out, out_crea_options, resamp_alg, align_grids, match_gsd, out_gsd, target_xyGrid,
        nodata, band2process.

    Raises
    ------
    OptionError
        For an unknown option, and for a `coreg_info` that AROSICS itself has made.

    Examples
    --------
    >>> from xcoreg.simulate import pair
    >>> scene = pair((300, 300), shift=(0.7, -1.2), seed=3)
    >>> fixed = DESHIFTER(scene.tgt, COREG(scene.ref, scene.tgt, q=True).coreg_info).correct_shifts()
    >>> fixed["is shifted"], fixed["is resampled"], fixed["arr_shifted"].shape
    (True, False, (300, 300))
    """

    def __init__(self, im2shift: Any, coreg_results: dict[str, Any], **options: Any) -> None:
        known = {"resamp_alg": None, "nodata": None, "band2process": None, "progress": True, "q": False, "v": False}
        self.params = check_options(options, OUTPUT | known)
        if "xcoreg fit" not in coreg_results:
            raise OptionError(
                "this coreg_info was not made by xcoreg.arosics: match again, by COREG or COREG_LOCAL there"
            )
        self.im2shift, self.coreg_results = open_image(im2shift), coreg_results
        self.fit = Coregistration.from_dict(coreg_results["xcoreg fit"])

    def correct_shifts(self) -> dict[str, Any]:
        """Correct the image, write it if `path_out` says so, and return AROSICS' dictionary."""
        options, image = self.params, self.im2shift
        if options["band2process"] is not None:
            image = image.isel(band=[options["band2process"] - 1])
        reference = self.coreg_results["reference geotransform"], self.coreg_results["reference extent"]
        grid = GeoBox((reference[1]["rows"], reference[1]["cols"]), Affine.from_gdal(*reference[0]), None)
        wanted = lattice_options(options, image.rio.crs, grid)
        fixed = self._correct(image, wanted).compute()
        if options["path_out"]:
            creation = creation_options(options["out_crea_options"])
            write_raster(fixed, options["path_out"], driver=options["fmt_out"], **creation)
        new = coregister.grid_of(fixed)
        pixels = fixed.values.squeeze()
        return OrderedDict(
            {
                "band": options["band2process"],
                "is shifted": True,
                "is resampled": bool(wanted) or self.fit.is_field,
                "updated map info": map_info(new),
                "updated geotransform": to_geotransform(new.affine),
                "updated projection": "" if new.crs is None else new.crs.to_wkt(),
                "arr_shifted": pixels if pixels.ndim == 2 else np.moveaxis(pixels, 0, 2),
                "GeoArray_shifted": fixed,
            }
        )

    def _correct(self, image: Any, wanted: dict[str, Any]) -> Any:
        """Interpolate once: by xcoreg's kernels, or, for one shift, by GDAL's others from the moved image."""
        kernel = self.params["resamp_alg"] or self.params["resamp_alg_deshift"]
        marker = self.params["nodata"]
        if kernel in KERNELS:
            return coregister.apply(image, self.fit, resampling=kernel, nodata=marker, **wanted)
        if kernel not in GDAL_KERNELS:
            raise OptionError(f"resamp_alg={kernel!r} is unknown: choose {', '.join((*KERNELS, *GDAL_KERNELS))}")
        if self.fit.is_field:
            raise OptionError(f"a field is not applied by GDAL's {kernel!r}: choose {', '.join(KERNELS)}")
        moved = coregister.apply(image, self.fit, nodata=marker)
        if not wanted:
            return moved
        grid = coregister.grid_of(coregister.apply(image, self.fit, resampling="nearest", nodata=marker, **wanted))
        chosen = Resampling[kernel]
        return moved.rio.reproject(grid.crs, transform=grid.affine, shape=grid.shape, resampling=chosen, nodata=marker)
