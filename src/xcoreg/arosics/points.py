"""Tie points as AROSICS gives them: table, statistics, files."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from odc.geo.xr import xr_zeros
from scipy.interpolate import griddata
from xarray import DataArray

from xcoreg.arosics.options import MISSING
from xcoreg.errors import OptionError, require
from xcoreg.results.coregistration import Coregistration
from xcoreg.results.tables import arosics_columns, short_crs, with_geometry


class Tie_Point_Grid:  # noqa: N801
    """Tie points of a fit as AROSICS gives them: table, statistics, files; see :class:`COREG_LOCAL`."""

    def __init__(self, fit: Coregistration, fill: float = MISSING) -> None:
        self.fit, self._fill = fit, fill

    @property
    def CoRegPoints_table(self) -> Any:
        """GeoDataFrame of all points; a point without a shift has the fill value."""
        points = self.fit.points
        pandas = require("pandas", extra="vector")
        columns = arosics_columns(points, self._fill)
        x, y = columns.pop("X_UTM"), columns.pop("Y_UTM")
        known = np.isfinite(points.dx)
        more = {
            "SSIM_BEFORE": points.ssim_before,
            "SSIM_AFTER": points.ssim_after,
            "RELIABILITY": points.reliability,
        }
        filled = {name: np.where(np.isfinite(values), values, self._fill) for name, values in more.items()}
        names = [status.name for status in map(type(self.fit.status), points.status.tolist())]
        table = pandas.DataFrame(
            {**columns, "X_MAP": x, "Y_MAP": y, **filled,
             "SSIM_IMPROVED": points.ssim_after >= points.ssim_before,
             "LAST_ERR": np.where(points.ok, "", names), "OUTLIER": known & ~points.ok}
        )  # fmt: skip
        return with_geometry(table, x, y, short_crs(points.crs_wkt))

    def _mean(self, name: str) -> float:
        values = getattr(self.fit.points, name)[self.fit.points.ok]
        return float(values.mean()) if len(values) else math.nan

    mean_x_shift_px = property(lambda self: self._mean("dcol"), doc="Mean correction to the right, px.")
    mean_y_shift_px = property(lambda self: self._mean("drow"), doc="Mean correction down, px.")
    mean_x_shift_map = property(lambda self: self._mean("dx"), doc="Mean correction along x, CRS units.")
    mean_y_shift_map = property(lambda self: self._mean("dy"), doc="Mean correction along y, CRS units.")

    def calc_rmse(self, include_outliers: bool = False) -> float:
        """RMSE of the shifts, CRS units: what was wrong before the correction."""
        points = self.fit.points
        length = points.length[np.isfinite(points.length) & (points.ok | include_outliers)]
        return float(np.sqrt((length**2).mean()))

    def calc_overall_ssim(self, after_correction: bool = True) -> float:
        """Median structural similarity of the trusted points."""
        points = self.fit.points
        return float(np.nanmedian((points.ssim_after if after_correction else points.ssim_before)[points.ok]))

    def calc_overall_stats(self) -> dict[str, Any]:
        """Compute counts, and mean, median, standard deviation and extremes of the shifts of trusted points."""
        points, quality = self.fit.points, self.fit.quality
        stats: dict[str, Any] = {
            "N_TP": len(points),
            "N_VALID_TP": int(points.ok.sum()),
            "PERC_VALID": 100 * float(points.ok.mean()),
            "RMSE_M": self.calc_rmse(),
            "RMSE_PX_BEFORE": quality.rmse_before,
            "RMSE_PX_CHECK_POINTS": quality.rmse_after,
        }
        columns = {"X_SHIFT_M": points.dx, "Y_SHIFT_M": points.dy, "X_SHIFT_PX": points.dcol, "Y_SHIFT_PX": points.drow}
        columns |= {"ABS_SHIFT": points.length, "ANGLE": points.angle, "RELIABILITY": points.reliability}
        for name, values in columns.items():
            for how in ("mean", "median", "std", "min", "max"):
                stats[f"{how.upper()}_{name}"] = float(getattr(np, how)(values[points.ok]))
        return stats

    def to_GCPList(self) -> list[Any]:
        """Ground control points of the trusted points, for rasterio."""
        return list(self.fit.gcps.to_rasterio())

    def to_PointShapefile(self, path_out: str, **_: Any) -> None:
        """Write the points in AROSICS' columns: .shp, .gpkg, .geojson, .csv or .parquet."""
        self.fit.points.save(path_out, columns="arosics", nodata=self._fill)

    def to_interpolated_raster(self, metric: str = "ABS_SHIFT", lowres_spacing: float = 5, **_: Any) -> DataArray:
        """Interpolate a column of the trusted points over the target, in cells of so many px: linear, without a model.

        The fitted field with its standard deviations is ``job.fit.to_raster()``.
        """
        table = self.CoRegPoints_table
        if metric not in table or not np.issubdtype(table[metric].dtype, np.number):
            numbers = table.select_dtypes("number").columns
            raise OptionError(f"metric={metric!r} is no column of numbers: choose from {', '.join(numbers)}")
        values = table[metric].to_numpy(np.float64)
        points, grid = self.fit.points, self.fit.grid.zoom_out(lowres_spacing)
        good = points.ok & (values != self._fill)
        rows, cols = np.indices(grid.shape)
        at = np.column_stack([part.ravel() for part in grid.affine @ (cols + 0.5, rows + 0.5)])
        places = np.column_stack([points.x, points.y])[good]
        raster = griddata(places, values[good], at, "nearest")
        inside = griddata(places, values[good], at, "linear")
        raster = np.where(np.isfinite(inside), inside, raster).reshape(grid.shape)
        return xr_zeros(grid, "float32").copy(data=raster.astype(np.float32)).rename(metric)

    def dump_CoRegPoints_table(self, path_out: str) -> None:
        """Pickle the table."""
        with Path(path_out).open("wb") as file:
            pickle.dump(self.CoRegPoints_table, file)
