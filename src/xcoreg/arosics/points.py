"""Tie points as AROSICS gives them: table, statistics, files, rasters."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from scipy.interpolate import RBFInterpolator

from xcoreg import coregister
from xcoreg.arosics import figures
from xcoreg.arosics.geoarray import GeoArray
from xcoreg.arosics.options import MISSING, attribute, check_options, filters_of, matching_options
from xcoreg.core import Bools, Floats
from xcoreg.core.matches import Status
from xcoreg.errors import MatchError, OptionError, is_name, is_number, require, warn_user
from xcoreg.files import replacing
from xcoreg.georef import to_geotransform
from xcoreg.results.coregistration import Coregistration
from xcoreg.results.tables import arosics_columns, short_crs, with_geometry
from xcoreg.results.tiepoints import TiePoints

# Levels of filters, and what their filters flag with.
_LEVELS = (Status.AMBIGUOUS, Status.NOT_IMPROVED, Status.OUTLIER)
# Points that a radial basis function is made of at each place, where there are more than so many.
_NEIGHBOURS, _GLOBAL = 60, 300
_SETTINGS = ("min_reliability", "rs_max_outlier", "rs_tolerance", "rs_random_state")


class Tie_Point_Grid:  # noqa: N801
    """Tie points between two images as AROSICS gives them; they are matched when they are first asked for.

    Parameters
    ----------
    COREG_obj : COREG
        Images, bands, windows and masks.
    grid_res : float
        Distance between tie points, target px.
    max_points, outFillVal, tieP_filter_level, outlDetect_settings, dir_out, progress, v, q, ... : optional
        As in AROSICS.

    Examples
    --------
    >>> from xcoreg.arosics import COREG
    >>> from xcoreg.simulate import pair
    >>> scene = pair((400, 400), shift=(0.7, -1.2), seed=3)
    >>> grid = Tie_Point_Grid(COREG(scene.ref, scene.tgt, ws=(64, 64), q=True), 60, max_points=20)
    >>> len(grid.CoRegPoints_table), round(grid.mean_x_shift_px, 1), round(grid.mean_y_shift_px, 1)
    (20, 0.7, -1.2)
    """

    def __init__(self, COREG_obj: Any, grid_res: float, **options: Any) -> None:
        known = {"max_points": None, "outFillVal": MISSING, "tieP_filter_level": 3, "outlDetect_settings": None}
        known |= {"dir_out": None, "progress": True, "v": False, "q": False}
        self.params = check_options(options, known)
        settings = dict(self.params["outlDetect_settings"] or {})
        check_options({name: settings[name] for name in _SETTINGS if name in settings}, {"min_reliability": 60})
        if not is_number(grid_res):
            raise OptionError(f"grid_res={grid_res!r:.80}: give the distance between tie points, target px")
        self.COREG_obj, self.grid_res = COREG_obj, grid_res
        chosen = filters_of(self.params["tieP_filter_level"], settings.get("min_reliability", 60))
        self._how = {"spacing": float(grid_res), "max_points": self.params["max_points"], "filters": chosen}
        self._fit: Coregistration | None = None

    def __getattr__(self, name: str) -> Any:
        return attribute(self.__dict__.get("params", {}), name, "Tie_Point_Grid")

    @property
    def fit(self) -> Coregistration:
        """Result of xcoreg; one that cannot be trusted, too."""
        if self._fit is None:
            job, how = self.COREG_obj, matching_options(self.COREG_obj.params)
            how["progress"] = how["progress"] and bool(self.params["progress"]) and not self.params["q"]
            self._fit = coregister.match_local(job.shift, job.ref, errors="return", **how, **self._how)
        return self._fit

    @property
    def _points(self) -> TiePoints:
        if not len(self.fit.points):
            raise MatchError(f"there are no tie points: {self.fit.status.reason}", self.fit.points)
        return self.fit.points

    @property
    def _matched(self) -> Bools:
        """Points with a shift: trusted ones, and those that a filter has flagged."""
        points = self._points
        return np.asarray(np.isfinite(points.dx) & (points.ok | np.isin(points.status, _LEVELS)))

    def _counted(self, include_outliers: bool) -> Bools:
        chosen = self._matched if include_outliers else self._points.ok
        if not chosen.any():
            raise MatchError(f"no tie point is trusted: {self.fit.status.reason}", self.fit.points)
        return chosen

    @property
    def CoRegPoints_table(self) -> Any:
        """GeoDataFrame of all points; a point without a shift has the fill value, outliers have one and are flagged."""
        points, matched, fill = self._points, self._matched, self.params["outFillVal"]
        columns = arosics_columns(replace(points, status=np.where(matched, 0, points.status).astype(np.int8)), fill)
        x, y = columns.pop("X_UTM"), columns.pop("Y_UTM")
        cols, rows = self._window_parts()
        sizes = {"X_WIN_SIZE": points.size * cols, "Y_WIN_SIZE": points.size * rows}
        names = [Status(status).name for status in points.status.tolist()]
        masked, fails = points.status == Status.MASKED, ~matched & ~points.ok
        more = {"SSIM_BEFORE": points.ssim_before, "SSIM_AFTER": points.ssim_after, "RELIABILITY": points.reliability}
        improved = points.ssim_after >= points.ssim_before
        place = {name: columns.pop(name) for name in ("POINT_ID", "X_IM", "Y_IM")}
        flags = {f"L{level}_OUTLIER": matched & (points.status == one) for level, one in enumerate(_LEVELS, 1)}
        table = require("pandas", extra="vector").DataFrame(
            {**place, "X_MAP": x, "Y_MAP": y, "REF_BADDATA": masked, "TGT_BADDATA": masked, **columns,
             **{name: np.rint(size).astype(int) for name, size in sizes.items()},
             **{name: np.where(matched & np.isfinite(values), values, fill) for name, values in more.items()},
             "SSIM_IMPROVED": matched & improved, "LAST_ERR": np.where(fails, names, ""), **flags,
             "OUTLIER": matched & ~points.ok}
        )  # fmt: skip
        framed = with_geometry(table, x, y, short_crs(points.crs_wkt))
        return framed[["geometry", *(name for name in framed.columns if name != "geometry")]]

    def _window_parts(self) -> tuple[float, float]:
        """Share of the square of a window along columns and rows."""
        window = self.fit.details.options.get("window")
        cols, rows = np.broadcast_to(1.0 if window is None else window, 2)
        return float(cols / max(cols, rows)), float(rows / max(cols, rows))

    def get_CoRegPoints_table(self) -> Any:
        """Match, and return the table."""
        return self.CoRegPoints_table

    def _mean(self, name: str) -> float:
        values = getattr(self._points, name)[self._points.ok]
        return float(values.mean()) if len(values) else math.nan

    mean_x_shift_px = property(lambda self: self._mean("dcol"), doc="Mean correction to the right, px.")
    mean_y_shift_px = property(lambda self: self._mean("drow"), doc="Mean correction down, px.")
    mean_x_shift_map = property(lambda self: self._mean("dx"), doc="Mean correction along x, CRS units.")
    mean_y_shift_map = property(lambda self: self._mean("dy"), doc="Mean correction along y, CRS units.")

    def calc_rmse(self, include_outliers: bool = False) -> float:
        """RMSE of the shifts, CRS units: what was wrong before the correction."""
        length = self._points.length[self._counted(include_outliers)]
        return float(np.sqrt((length**2).mean()))

    def calc_overall_ssim(self, include_outliers: bool = False, after_correction: bool = True) -> float:
        """Median structural similarity."""
        points = self._points
        values = points.ssim_after if after_correction else points.ssim_before
        return float(np.nanmedian(values[self._counted(include_outliers)]))

    def calc_overall_stats(self, include_outliers: bool = False) -> dict[str, Any]:
        """Compute counts; RMSE, MSE and MAE; mean, median, standard deviation, extremes and percentiles.

        More than in AROSICS: the RMSE before the correction, and after it at check points.
        """
        points, quality, chosen = self._points, self.fit.quality, self._counted(include_outliers)
        n, flagged = int(self._matched.sum()), int((self._matched & ~points.ok).sum())
        stats: dict[str, Any] = {"N_TP": n, "N_VALID_TP": n - flagged, "N_INVALID_TP": flagged}
        stats |= {"PERC_VALID_TP": 100 * (n - flagged) / n, "PERC_VALID": 100 * float(points.ok.mean())}
        stats |= {"RMSE_PX_BEFORE": quality.rmse_before, "RMSE_PX_CHECK_POINTS": quality.rmse_after}
        errors = {"M": points.length, "X_M": points.dx, "Y_M": points.dy, "X_PX": points.dcol, "Y_PX": points.drow}
        for name, values in errors.items():
            stats[f"MSE_{name}"] = float((values[chosen] ** 2).mean())
            stats[f"RMSE_{name}"] = math.sqrt(stats[f"MSE_{name}"])
            stats[f"MAE_{name}"] = float(np.abs(values[chosen]).mean())
        columns = {"ABS_SHIFT": points.length, "X_SHIFT_M": points.dx, "Y_SHIFT_M": points.dy}
        columns |= {"X_SHIFT_PX": points.dcol, "Y_SHIFT_PX": points.drow, "ANGLE": points.angle}
        columns |= {"SSIM_BEFORE": points.ssim_before, "SSIM_AFTER": points.ssim_after}
        for name, values in (columns | {"RELIABILITY": points.reliability}).items():
            known = values[chosen & np.isfinite(values)]
            for how in ("mean", "median", "std", "min", "max"):
                stats[f"{how.upper()}_{name}"] = float(getattr(np, how)(known)) if len(known) else math.nan
            for part in (5, 95):
                stats[f"P{part}_{name}"] = float(np.percentile(known, part)) if len(known) else math.nan
        return stats

    @property
    def GCPList(self) -> list[Any]:
        """Ground control points of the trusted points, for rasterio."""
        return self.to_GCPList()

    def to_GCPList(self) -> list[Any]:
        """Ground control points of the trusted points, for rasterio."""
        return list(self.fit.gcps.to_rasterio()) if self.fit.points.ok.any() else []

    def _output(self, path: str | None, name: str) -> Path:
        """Path of an output; by default a name that says what it is, in the folder of the project."""
        ref, tgt = (Path(one or "image").stem for one in self.COREG_obj.paths)
        side = self.COREG_obj.win_size_XY
        made = f"{name.replace('*', f'_grid{self.grid_res:g}_ws{side}__T_{tgt}__R_{ref}')}".replace(" ", "")
        goal = Path(path) if path else Path(self.params["dir_out"] or ".") / made
        goal.parent.mkdir(parents=True, exist_ok=True)
        return goal

    def to_PointShapefile(
        self,
        path_out: str | None = None,
        skip_nodata: bool = True,
        skip_nodata_col: str = "ABS_SHIFT",
        skip_outliers: bool = False,
    ) -> None:
        """Write the table: .shp (names cut to ten characters), .gpkg, .geojson."""
        table, goal = self.CoRegPoints_table, self._output(path_out, "CoRegPoints*.shp")
        if skip_nodata:
            table = table[table[skip_nodata_col] != self.params["outFillVal"]]
        if skip_outliers:
            table = table[~table["OUTLIER"]]
        flags = table.select_dtypes("bool").columns
        table = table.astype(dict.fromkeys(flags, int))
        if goal.suffix == ".shp":
            table = table.rename(columns={name: name[:10] for name in table.columns})
        with replacing(goal) as temporary:
            table.to_file(temporary, engine="pyogrio", index=False, geometry_type="Point")

    def dump_CoRegPoints_table(self, path_out: str | None = None) -> None:
        """Pickle the table."""
        with replacing(self._output(path_out, "CoRegPoints_table*.pkl")) as temporary, temporary.open("wb") as file:
            pickle.dump(self.CoRegPoints_table, file)

    def to_vectorfield(self, path_out: str | None = None, fmt: str | None = None, mode: str = "md") -> GeoArray:
        """Write two bands with a pixel a point: magnitude and direction ("md") or shifts along x and y ("uv")."""
        if not is_name(mode, ("md", "uv")):
            raise OptionError(f"mode={mode!r} is unknown: choose 'md' (magnitude, direction) or 'uv' (along x and y)")
        points, grid, fill = self._points, self.fit.grid, float(self.params["outFillVal"])
        step = float(points.spacing or self.grid_res)
        row, col = (np.floor((part - part.min()) / step + 0.5).astype(int) for part in (points.row, points.col))
        bands = np.full((row.max() + 1, col.max() + 1, 2), fill, np.float32)
        values = (points.length, points.angle) if mode == "md" else (points.dx, points.dy)
        chosen = self._matched
        for band, one in enumerate(values):
            bands[row[chosen], col[chosen], band] = one[chosen]
        first = Affine.translation(points.col.min() + 0.5 - step / 2, points.row.min() + 0.5 - step / 2)
        affine = grid.affine @ first @ Affine.scale(step)
        made = GeoArray(bands, to_geotransform(affine), GeoArray(self.COREG_obj.shift).prj, nodata=fill)
        made.save(str(self._output(path_out, "CoRegVectorfield*.tif")), fmt=fmt or "GTiff")
        return made

    def to_interpolated_raster(
        self,
        metric: str = "ABS_SHIFT",
        method: str = "RBF",
        plot_result: bool = False,
        lowres_spacing: float = 5,
        v: bool = False,
    ) -> Any:
        """Interpolate a column of the trusted points to the pixels of the target, float32 (rows, columns).

        Radial basis functions at every `lowres_spacing`-th pixel, linear in between, through every point. The fitted
        field with its standard deviations is ``job.fit.to_raster()``.
        """
        del v
        if method not in ("RBF", "GPR", "Kriging"):
            raise OptionError(f"method={method!r} is unknown: choose RBF, GPR or Kriging")
        if method != "RBF":
            warn_user(f"{method} is interpolated by radial basis functions: fit.to_raster() gives uncertainties")
        table = self.CoRegPoints_table
        if metric not in table or not np.issubdtype(table[metric].dtype, np.number):
            numbers = table.select_dtypes("number").columns
            raise OptionError(f"metric={metric!r} is no column of numbers: choose from {', '.join(numbers)}")
        values, points = table[metric].to_numpy(np.float64), self._points
        good = self._counted(False) & (values != self.params["outFillVal"])
        raster = _interpolate(
            np.column_stack([points.row, points.col])[good], values[good], self.fit.shape, lowres_spacing
        )
        if plot_result:
            figures.draw_raster(raster, metric)
        return raster

    def plot_shift_distribution(self, **options: Any) -> Any:
        """Draw the shifts along y over those along x; see :func:`xcoreg.arosics.figures.draw_distribution`."""
        points = self._points
        return figures.draw_distribution(points, self._matched, self.calc_rmse(), **options)


def _interpolate(places: Floats, values: Floats, shape: tuple[int, int], spacing: float) -> Any:
    """Radial basis functions on a lattice, linear in between: -> (rows, columns) float32."""
    axes = [np.linspace(0, size - 1, max(int(np.ceil(size / max(spacing, 1))), 2)) for size in shape]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    near = None if len(places) <= _GLOBAL else _NEIGHBOURS
    function = RBFInterpolator(places, values, neighbors=near, degree=min(1, len(places) // 3))
    coarse = function(nodes).reshape(len(axes[0]), len(axes[1]))
    for axis, size in enumerate(shape):
        at = np.arange(size) * ((coarse.shape[axis] - 1) / max(size - 1, 1))
        low = np.minimum(at.astype(int), coarse.shape[axis] - 2)
        part = (at - low)[:, None] if axis == 0 else at - low
        coarse = np.take(coarse, low, axis) * (1 - part) + np.take(coarse, low + 1, axis) * part
    return coarse.astype(np.float32)
