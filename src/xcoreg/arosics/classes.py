"""The classes of AROSICS: one shift, a field of shifts, and the correction of any image by either."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg import coregister
from xcoreg.arosics import figures
from xcoreg.arosics.geoarray import GeoArray, open_image, path_of, projection_of
from xcoreg.arosics.options import (
    GLOBAL,
    LOCAL,
    MATCHING,
    OUTPUT,
    attribute,
    check_options,
    creation_options,
    lattice_options,
    map_info,
    matching_options,
    output_path,
)
from xcoreg.arosics.points import Tie_Point_Grid
from xcoreg.core.area import STATISTICS
from xcoreg.core.kernels import KERNELS
from xcoreg.errors import MatchError, OptionError
from xcoreg.files import check_output
from xcoreg.georef import to_geotransform
from xcoreg.io.write import write_raster
from xcoreg.plot.windows import plot_window
from xcoreg.results.coregistration import Coregistration

_LOCAL = 5  # tie points; AROSICS corrects by the mean of fewer


class _Job:
    """What both classes have in common: images, options, the fit, and the correction by it."""

    ref: Any
    shift: Any
    overlap_poly: Any
    target_area: float

    def __init__(self, im_ref: Any, im_tgt: Any, options: dict[str, Any], alike: _Job | None = None) -> None:
        self.params = options
        self.paths = path_of(im_ref), path_of(im_tgt)
        images = (alike.ref, alike.shift) if alike else (open_image(im_ref), open_image(im_tgt))
        self.ref, self.shift = images
        self.path_out = output_path(options["path_out"], self.paths, options["fmt_out"], options.get("projectDir"))
        self.fit: Coregistration | None = None
        self._success: bool | None = None
        self.tracked_errors: list[Exception] = []
        self.deshift_results: dict[str, Any] | None = None
        self.overlap_poly = alike.overlap_poly if alike else coregister.overlap(self.shift, self.ref)
        self.overlap_area = float(self.overlap_poly.area)
        self.target_area = alike.target_area if alike else float(coregister.footprint(self.shift).area)
        self.overlap_percentage = 100 * self.overlap_area / self.target_area

    def __getattr__(self, name: str) -> Any:
        return attribute(self.__dict__.get("params", {}), name, type(self).__name__)

    @property
    def success(self) -> bool | None:
        """Whether the match can be trusted; None before it."""
        return self._success

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
            self._success = False
            if not self.params["ignore_errors"]:
                raise
            return "fail"
        self._success = True
        return "success"

    def _match(self) -> Coregistration:
        raise NotImplementedError

    def _trusted(self) -> Coregistration:
        """Return the fit, made when it is first needed."""
        if self.fit is None and self._success is None:
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
        west, width, _, north, _, height = to_geotransform(grid.affine)
        return {
            "corrected_shifts_px": {"x": shift.dcol, "y": shift.drow},
            "corrected_shifts_map": {"x": shift.dx, "y": shift.dy},
            "original map info": self.original_map_info,
            "updated map info": self.updated_map_info,
            "reference projection": projection_of(grid),
            "reference geotransform": to_geotransform(grid.affine),
            "reference grid": [[west, west + width], [north, north + height]],
            "reference extent": {"cols": grid.shape[1], "rows": grid.shape[0]},
            "success": bool(self._success),
            "xcoreg fit": fit.to_dict(),
        }

    @property
    def original_map_info(self) -> list[Any]:
        """ENVI's map info of the target."""
        return map_info(self._trusted().grid)

    @property
    def updated_map_info(self) -> list[Any]:
        """ENVI's map info of the target after the (mean) shift."""
        fit = self._trusted()
        moved = Affine.translation(fit.shift.dx, fit.shift.dy) @ fit.grid.affine
        return map_info(GeoBox(fit.shape, moved, fit.grid.crs))

    def correct_shifts(self, max_GCP_count: int | None = None, **options: Any) -> dict[str, Any]:
        """Correct the target, write it if `path_out` says so, and return AROSICS' dictionary."""
        check_options({"max_GCP_count": max_GCP_count}, {})
        wanted = {name: self.params[name] for name in OUTPUT} | {"path_out": self.path_out} | options
        if wanted["path_out"]:
            Path(wanted["path_out"]).absolute().parent.mkdir(parents=True, exist_ok=True)
            masks = (self.params.get(f"mask_baddata_{side}") for side in ("ref", "tgt"))
            check_output(wanted["path_out"], inputs=(self.ref, self.shift, *self.paths, *masks))
        nodata = matching_options(self.params)["nodata"]
        job = DESHIFTER(self.shift, self.coreg_info, nodata=nodata, **wanted)
        self.deshift_results = job.correct_shifts()
        return self.deshift_results

    def show_image_footprints(self) -> Any:
        """Interactive map of footprints and tie points; a figure of these where positions count pixels."""
        fit = self._trusted()
        return fit.explore() if projection_of(fit.grid) else fit.points.plot(background=self.ref)


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
        super().__init__(im_ref, im_tgt, check_options(options, MATCHING | OUTPUT | GLOBAL))

    def _match(self) -> Coregistration:
        place = self.params["wp"]
        at = None if place is None or place[0] is None else (float(place[0]), float(place[1]))
        return coregister.match(self.shift, self.ref, at=at, **matching_options(self.params))

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

    def _figures(self) -> tuple[Any, Any]:
        return plot_window(self._trusted(), self.shift, self.ref)

    def show_matchWin(self, interactive: bool = False, after_correction: bool | None = None, **options: Any) -> Any:
        """Figure of the best window before and after the correction, whichever is asked for."""
        del interactive, after_correction
        return figures.finish(self._figures()[0], options, "return_fig")

    def show_cross_power_spectrum(self, interactive: bool = False, **options: Any) -> Any:
        """Figure of the correlation over shifts in the best window."""
        del interactive
        return figures.finish(self._figures()[1], options, "return_fig")


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
        self.COREG_obj = COREG(im_ref, im_tgt, **{name: each for name, each in checked.items() if name in MATCHING})
        super().__init__(im_ref, im_tgt, checked, self.COREG_obj)
        self.grid_res = grid_res
        self.imref, self.im2shift = self.ref, self.shift
        settings = {"min_reliability": self.params["min_reliability"]}
        shared = ("max_points", "outFillVal", "tieP_filter_level", "progress", "q", "v")
        chosen = {name: self.params[name] for name in shared}
        self._grid = Tie_Point_Grid(
            self.COREG_obj, grid_res, outlDetect_settings=settings, dir_out=self.params["projectDir"], **chosen
        )

    @property
    def success(self) -> bool | None:
        """Whether the field can be trusted; it is matched when this is first asked for."""
        if self._success is None:
            try:
                self.calculate_spatial_shifts()
            except MatchError:
                return False
        return self._success

    def _match(self) -> Coregistration:
        fit = self._grid.fit
        if not fit.ok:
            raise MatchError(f"no trustworthy field of shifts: {fit.status.reason}; {fit.points}", fit.points)
        return fit

    @property
    def tiepoint_grid(self) -> Tie_Point_Grid:
        """The tie points, their statistics and their files."""
        return self._grid

    @property
    def CoRegPoints_table(self) -> Any:
        """GeoDataFrame of all points in AROSICS' columns; `outFillVal` (-9999) where one has no shift."""
        return self._grid.CoRegPoints_table

    @property
    def coreg_info(self) -> dict[str, Any]:
        """Result as AROSICS gives it: GCPs, mean shifts, and the whole fit under "xcoreg fit"."""
        info = super().coreg_info
        for new, old in (("mean_shifts_px", "corrected_shifts_px"), ("mean_shifts_map", "corrected_shifts_map")):
            info[new] = info.pop(old)
        info["updated map info means"] = info.pop("updated map info")
        return info | {"GCPList": self._grid.to_GCPList()}

    def view_CoRegPoints(self, backgroundIm: str = "tgt", **options: Any) -> Any:
        """Figure of the tie points over an image; see :func:`xcoreg.arosics.figures.draw_points`."""
        if backgroundIm not in ("ref", "tgt"):
            raise OptionError(f"backgroundIm={backgroundIm!r} is unknown: choose 'ref' or 'tgt'")
        image = self.ref if backgroundIm == "ref" else self.shift
        return figures.draw_points(self.CoRegPoints_table, self.params["outFillVal"], image, **options)

    def view_CoRegPoints_folium(self, attribute2plot: str = "ABS_SHIFT") -> Any:
        """Interactive map of footprints, overlap and tie points."""
        del attribute2plot
        return self.show_image_footprints()


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
        clipextent, cliptoextent, nodata, band2process.

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

    def __init__(self, im2shift: Any, coreg_results: Any, **options: Any) -> None:
        known = {"resamp_alg": None, "nodata": None, "band2process": None, "progress": True, "q": False, "v": False}
        self.params = check_options(options, OUTPUT | known)
        known_parts = {"xcoreg fit", "reference geotransform", "reference extent"}
        if not (isinstance(coreg_results, dict) and known_parts <= set(coreg_results)):
            raise OptionError(
                "this coreg_info was not made by xcoreg.arosics: match again, by COREG or COREG_LOCAL there"
            )
        path = self.params["path_out"]
        self.path_out = output_path(path, ("", path_of(im2shift)), self.params["fmt_out"], None)
        self.im2shift, self.coreg_results = open_image(im2shift), coreg_results
        self.fit = Coregistration.from_dict(coreg_results["xcoreg fit"])
        self.is_shifted = self.is_resampled = False
        self.arr_shifted: Any = None
        self.GeoArray_shifted: GeoArray | None = None

    def correct_shifts(self) -> dict[str, Any]:
        """Correct the image, write it if `path_out` says so, and return AROSICS' dictionary."""
        options, image = self.params, self.im2shift
        if options["band2process"] is not None and "band" in image.dims:
            if not 1 <= options["band2process"] <= image.sizes["band"]:
                raise OptionError(f"band2process={options['band2process']}: the image has {image.sizes['band']} bands")
            image = image.isel(band=[options["band2process"] - 1])
        reference = self.coreg_results["reference geotransform"], self.coreg_results["reference extent"]
        grid = GeoBox((reference[1]["rows"], reference[1]["cols"]), Affine.from_gdal(*reference[0]), None)
        wanted = lattice_options(options, image.rio.crs, grid) or self._own_lattice(image)
        fixed = self._clip(self._correct(image, wanted).compute())
        if self.path_out:
            Path(self.path_out).parent.mkdir(parents=True, exist_ok=True)
            creation = creation_options(options["out_crea_options"])
            write_raster(fixed, self.path_out, driver=options["fmt_out"], **creation)
        new = coregister.grid_of(fixed)
        self.is_shifted, self.is_resampled = True, bool(wanted) or self.fit.is_field
        self.GeoArray_shifted = GeoArray(fixed)
        self.GeoArray_shifted.filePath = self.path_out
        self.arr_shifted = self.GeoArray_shifted.arr
        return OrderedDict(
            {
                "band": options["band2process"],
                "is shifted": True,
                "is resampled": self.is_resampled,
                "updated map info": map_info(new),
                "updated geotransform": to_geotransform(new.affine),
                "updated projection": projection_of(new),
                "arr_shifted": self.arr_shifted,
                "GeoArray_shifted": self.GeoArray_shifted,
            }
        )

    def _own_lattice(self, image: Any) -> dict[str, Any]:
        """Pixels stay where they are where tie points correct an image, as in AROSICS; a shift moves the transform."""
        enough = len(self.coreg_results.get("GCPList") or ()) >= _LOCAL
        return {"like": coregister.grid_of(image)} if enough and not self.fit.is_field else {}

    def _correct(self, image: Any, wanted: dict[str, Any]) -> Any:
        """Interpolate once, where anything is to be interpolated."""
        kernel = self.params["resamp_alg"] or self.params["resamp_alg_deshift"]
        kernel = "med" if kernel == "q2" else kernel
        if kernel not in (*KERNELS, *STATISTICS):
            raise OptionError(f"resamp_alg={kernel!r} is unknown: choose {', '.join((*KERNELS, *STATISTICS))}")
        return coregister.apply(image, self.fit, resampling=kernel, nodata=self.params["nodata"], **wanted)

    def _clip(self, fixed: Any) -> Any:
        """Clip to an extent (xmin, ymin, xmax, ymax), inwards to whole pixels, or to that of the valid pixels."""
        extent, inwards = self.params["clipextent"], self.params["cliptoextent"]
        if extent is None and not inwards:
            return fixed
        bounds = coregister.footprint(fixed).bounds if extent is None else extent
        grid = coregister.grid_of(fixed)
        corners = [~grid.affine @ corner for corner in ((bounds[0], bounds[3]), (bounds[2], bounds[1]))]
        near = 1e-4  # px
        low = [max(int(np.ceil(part - near)), 0) for part in corners[0]]
        high = [max(int(np.floor(part + near)), 0) for part in corners[1]]
        y, x = fixed.rio.y_dim, fixed.rio.x_dim
        part = fixed.isel({x: slice(low[0], high[0]), y: slice(low[1], high[1])})
        if 0 in part.shape:
            raise OptionError(
                f"clipextent={extent!r} leaves nothing of the image: give xmin, ymin, xmax, ymax in its CRS"
            )
        return part.rio.write_transform(grid.affine @ Affine.translation(*low))
