"""What AROSICS' own tests, its documentation and its users rely on, one by one, on its Sentinel-2 pair.

Every line is a behaviour: a name, and a function of the jobs below that is true. Shifts are compared with those of a
plain correlator written here (tapered windows, peak of the cross-correlation by a parabola), not with xcoreg itself.
"""

import os
import pickle
import warnings
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy import fft

from xcoreg.arosics import COREG, COREG_LOCAL, DESHIFTER, GeoArray, Tie_Point_Grid

FOLDER = Path(os.environ.get("XCOREG_DATA", Path(__file__).parents[2] / "shared" / "data")) / "s2_s2_germany"
REF, TGT = (FOLDER / f"{name}_sub.tif" for name in ("ref_S2A_20160608T153121_T33UUU", "tgt_S2A_20160529T153631_T33UUU"))
pytestmark = [
    pytest.mark.skipif(not REF.exists(), reason="the Sentinel-2 pair of AROSICS is not here"),
    pytest.mark.filterwarnings("ignore::xcoreg.errors.CoregWarning", "ignore::rasterio.errors.NotGeoreferencedWarning"),
]
INSIDE, NODATA, EDGE = (344720, 5848485), (339611, 5856426), (353810, 5840516)
CLOUDY, OUTSIDE = (353308, 5859404), (349533, 5818862)
REF_POLYGON = "POLYGON ((340870 5862000, 354000 5862000, 354000 5830000, 331320 5830000, 340870 5862000))"
TGT_POLYGON = (
    "POLYGON ((341890 5866490, 356180 5866490, 356180 5834970, 335440 5834970, 335490 5845270, 341890 5866490))"
)
TINY = GeoArray(np.random.default_rng(0).integers(1, 200, (64, 64)).astype("uint8"))
CLOSE = 2.5  # m, a quarter of a pixel: so far the plain correlator can be trusted


def plain_shift(place, size=256):
    """Correction (dx, dy), m, of a window by a plain correlator: whole pixels and a parabola through the peak."""
    cuts = []
    for path in (REF, TGT):
        with rasterio.open(path) as file:
            row, col = file.index(*place)
            cut = file.read(1, window=((row - size // 2, row + size // 2), (col - size // 2, col + size // 2)))
        taper = np.hanning(size)[:, None] * np.hanning(size) * (cut > 0)
        cuts.append((cut - cut[cut > 0].mean()) * taper)
    surface = fft.irfft2(fft.rfft2(cuts[0]) * fft.rfft2(cuts[1]).conj())
    at = np.unravel_index(surface.argmax(), surface.shape)
    shift = []
    for axis in (0, 1):
        low, peak, high = (float(np.roll(surface, -step, axis)[at]) for step in (-1, 0, 1))
        whole = (at[axis] + size // 2) % size - size // 2
        shift.append(whole + 0.5 * (low - high) / (low - 2 * peak + high))
    return 10 * shift[1], -10 * shift[0]


class Jobs:
    """The jobs that behaviours are about, each made once."""

    def __init__(self, folder):
        self.folder = folder

    def make(self, **options):
        job = COREG(str(REF), str(TGT), **{"q": True, **options})
        job.calculate_spatial_shifts()
        return job

    def at(self, place, **options):
        return self.make(wp=place, **{"ws": (256, 256), **options})

    @cached_property
    def usual(self):
        polygons = {"footprint_poly_ref": REF_POLYGON, "footprint_poly_tgt": TGT_POLYGON}
        job = self.make(path_out=str(self.folder / "new" / "global.bsq"), v=False, progress=False, **polygons)
        job.correct_shifts()
        return job

    @cached_property
    def inside(self):
        return self.at(INSIDE)

    @cached_property
    def failed(self):
        return self.at(CLOUDY, ignore_errors=True)

    @cached_property
    def memory(self):
        ref, tgt = (GeoArray(str(path)).to_mem() for path in (REF, TGT))
        ref.filePath = tgt.filePath = None
        return ref, tgt

    @cached_property
    def pixels(self):
        """The same ground in both images, without a CRS: columns and rows count."""
        parts = GeoArray(self.memory[0][1000:1600, 1000:1600]), GeoArray(self.memory[1][1449:2049, 456:1056])
        job = COREG(*parts, wp=(300, -300), ws=(256, 256), q=True)
        job.calculate_spatial_shifts()
        return job

    @cached_property
    def local(self):
        out = str(self.folder / "field" / "local.bsq")
        job = COREG_LOCAL(str(REF), str(TGT), grid_res=200, window_size=(128, 128), path_out=out, progress=False)
        job.correct_shifts()
        return job

    @cached_property
    def table(self):
        return self.local.CoRegPoints_table

    @cached_property
    def good(self):
        return self.table[~self.table.OUTLIER & (self.table.ABS_SHIFT != -9999)]

    @cached_property
    def grid(self):
        job = self.local
        settings = {name: getattr(job, name) for name in ("min_reliability", "rs_max_outlier", "rs_tolerance")}
        shared = {
            name: getattr(job, name) for name in ("outFillVal", "tieP_filter_level", "CPUs", "progress", "v", "q")
        }
        return Tie_Point_Grid(
            job.COREG_obj, job.grid_res, max_points=50, resamp_alg_calc=job.rspAlg_calc, dir_out=str(self.folder / "p"),
            outlDetect_settings=settings, **shared
        )  # fmt: skip

    @cached_property
    def stats(self):
        return self.grid.calc_overall_stats(include_outliers=False)

    def deshift(self, fit=None, image=None, **options):
        return DESHIFTER(
            str(TGT) if image is None else image, (fit or self.inside).coreg_info, **options
        ).correct_shifts()

    def small(self, fit=None, **options):
        image = self.memory[1]
        corner = (image.gt[0] + 7560, 10, 0, image.gt[3] - 17500, 0, -10)
        return self.deshift(fit, GeoArray(image[1750:1950, 756:956], corner, image.prj, nodata=0), **options)

    def shapefile(self, **options):
        path = self.folder / "shape" / "points.shp"
        self.grid.to_PointShapefile(str(path), **options)
        return int.from_bytes(path.with_suffix(".dbf").read_bytes()[4:8], "little")

    def vectors(self, mode):
        path = self.folder / f"{mode}.bsq"
        self.grid.to_vectorfield(str(path), fmt="ENVI", mode=mode)
        with rasterio.open(path) as file:
            return file.read()


def raises(error, call):
    with pytest.raises(error):
        call()
    return True


def near(job, place, size=256):
    return np.hypot(*(np.subtract((job.x_shift_map, job.y_shift_map), plain_shift(place, size)))) < CLOSE


def warns(call, text):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return any(text in str(one.message) for one in found)


def accepted(name, value):
    return warns(lambda: COREG(TINY, TINY, **{name: value}), f"{name} has no effect")


def of_local(name, value):
    return warns(lambda: COREG_LOCAL(TINY, TINY, 20, **{name: value}), f"{name} has no effect")


def figure(made):
    return hasattr(made, "savefig")


def kernel(name):
    def check(j):
        new, usual = (j.small(j.local, resamp_alg=one)["arr_shifted"].astype(float) for one in (name, "cubic"))
        return new.shape == usual.shape and np.corrcoef(new.ravel(), usual.ravel())[0, 1] > 0.8

    return check


COLUMNS = {
    *("geometry", "POINT_ID", "X_IM", "Y_IM", "X_MAP", "Y_MAP", "X_WIN_SIZE", "Y_WIN_SIZE", "X_SHIFT_PX", "Y_SHIFT_PX"),
    *("X_SHIFT_M", "Y_SHIFT_M", "ABS_SHIFT", "ANGLE", "SSIM_BEFORE", "SSIM_AFTER", "SSIM_IMPROVED", "RELIABILITY"),
    *("LAST_ERR", "L1_OUTLIER", "L2_OUTLIER", "L3_OUTLIER", "OUTLIER"),
}


def _same(j):
    job = COREG(*j.memory, wp=INSIDE, ws=(256, 256), q=True)
    job.calculate_spatial_shifts()
    return (job.x_shift_px, job.y_shift_px) == (j.inside.x_shift_px, j.inside.y_shift_px)


def _float_grid(j):
    """Corners and pixel sizes with many digits: a tenth of a metre a pixel moves the images by metres."""
    ref, tgt = (GeoArray(one.arr, prj_gt, one.prj, nodata=0) for one, prj_gt in zip(j.memory, (
        (330000.19999996503, 10.00000001, 0, 5862000.7999997628, 0, -10.00000001),
        (335440.19999996503, 10.00000001, 0, 5866490.7999997628, 0, -10.00000001)), strict=True))  # fmt: skip
    job = COREG(ref, tgt, wp=INSIDE, ws=(256, 256), q=True)
    job.calculate_spatial_shifts()
    return near(job, INSIDE)


def _wide_pixels(j):
    """Every second column of both images: pixels of 20 x 10 m."""
    ref, tgt = (
        GeoArray(one.arr[:, ::2], (one.gt[0] - 5, 20, 0, one.gt[3], 0, -10), one.prj, nodata=0) for one in j.memory
    )
    job = COREG(ref, tgt, wp=INSIDE, ws=(256, 256), q=True)
    job.calculate_spatial_shifts()
    return near(job, INSIDE)


def _masked(j):
    bad = GeoArray((j.memory[1].arr > 1500).astype("uint8"), j.memory[1].gt, j.memory[1].prj)
    return near(j.at(INSIDE, mask_baddata_tgt=bad), INSIDE)


def _saved(j):
    path = j.folder / "saved.tif"
    image = j.small()["GeoArray_shifted"]
    image.save(str(path), fmt="GTiff")
    return np.array_equal(GeoArray(str(path)).arr, image.arr)


def _compressed(j):
    path = j.folder / "compressed.tif"
    j.small(path_out=str(path), fmt_out="GTIFF", out_crea_options=["COMPRESS=DEFLATE"])
    with rasterio.open(path) as file:
        return file.compression.name == "deflate"


def _removed(j):
    job = COREG(str(REF), j.local.path_out, wp=INSIDE, ws=(256, 256), q=True)
    job.calculate_spatial_shifts()
    return job.vec_length_map < CLOSE


def _points_agree(j):
    """Half of the points within a quarter of a pixel of the plain correlator, as good as that is."""
    some = j.good.iloc[:: max(len(j.good) // 12, 1)]
    off = [
        np.hypot(*np.subtract((one.X_SHIFT_M, one.Y_SHIFT_M), plain_shift((one.X_MAP, one.Y_MAP), 128)))
        for one in some.itertuples()
    ]
    return np.median(off) < CLOSE


def _figure_file(j):
    j.local.view_CoRegPoints(savefigPath=str(j.folder / "points.png"), showFig=False)
    return (j.folder / "points.png").stat().st_size > 10_000


def _dumped(j):
    j.grid.dump_CoRegPoints_table(str(j.folder / "table.pkl"))
    return pickle.loads((j.folder / "table.pkl").read_bytes()).equals(j.grid.CoRegPoints_table)


def _raster(j, method):
    raster = j.grid.to_interpolated_raster("Y_SHIFT_M", method, plot_result=True)
    table = j.grid.CoRegPoints_table
    good = table[~table.OUTLIER & (table.ABS_SHIFT != -9999)]
    off = raster[good.Y_IM.clip(upper=3151), good.X_IM.clip(upper=2073)] - good.Y_SHIFT_M
    return isinstance(raster, np.ndarray) and raster.shape == (3152, 2074) and np.abs(off).max() < 0.5


BEHAVIOURS = {
    # COREG: made from files and memory, places of the window, failures
    "COREG from paths": lambda j: j.inside.success is True,
    "COREG from arrays in memory": lambda j: COREG(*j.memory, wp=INSIDE, q=True).success is None,
    "arrays in memory give the shift of the files": _same,
    "no window position": lambda j: near(j.usual, INSIDE, 1024),
    "WKT footprints": lambda j: j.usual.success is True,
    "footprints as corners": lambda j: near(j.at(INSIDE, data_corners_ref=[331320, 5830000, 354000, 5830000, 354000,
                                            5862000, 340870, 5862000]), INSIDE),
    "output is written": lambda j: Path(j.usual.path_out).exists(),
    "folders of outputs are made": lambda j: Path(j.usual.path_out).parent.name == "new",
    "default format is ENVI": lambda j: rasterio.open(j.usual.path_out).driver == "ENVI",
    "pixels are untouched": lambda j: np.array_equal(rasterio.open(j.usual.path_out).read(1), j.memory[1].arr),
    "window inside": lambda j: near(j.inside, INSIDE),
    "window over nodata": lambda j: near(j.at(NODATA), NODATA),
    "window at an edge": lambda j: near(j.at(EDGE), (EDGE[0] - 1100, EDGE[1])),
    "window outside is a ValueError": lambda j: raises(ValueError, lambda: j.at(OUTSIDE)),
    "window on clouds is a RuntimeError": lambda j: raises(RuntimeError, lambda: j.at(CLOUDY)),
    "ignore_errors": lambda j: j.failed.success is False,
    "no shift after a failure": lambda j: j.failed.x_shift_px is None,
    "errors are tracked": lambda j: len(j.failed.tracked_errors) == 1,
    "max_shift": lambda j: raises(RuntimeError, lambda: j.at(INSIDE, max_shift=1)),
    "images in pixels": lambda j: np.hypot(j.pixels.x_shift_px + 0.62, j.pixels.y_shift_px - 1.8) < 0.25,
    "images in pixels get no projection": lambda j: j.pixels.correct_shifts()["updated projection"] == "",
    "grids with many digits": _float_grid,
    "path_out auto without files is a ValueError": lambda j: raises(
        ValueError, lambda: COREG(TINY, TINY, path_out="auto")),
    "path_out auto": lambda j: COREG(str(REF), str(TGT), path_out="auto").path_out
        == str(TGT.with_name(f"{TGT.stem}__shifted_to__{REF.stem}.bsq")),
    "path_out auto of another format": lambda j: COREG(str(REF), str(TGT), path_out="auto", fmt_out="GTiff")
        .path_out.endswith(".tif"),
    "rectangular window": lambda j: near(j.at(INSIDE, ws=(256, 128), force_quadratic_win=False), INSIDE),
    "square window by default": lambda j: warns(lambda: j.at(INSIDE, ws=(256, 128)), "windows are square"),
    "small windows are warned of": lambda j: warns(
        lambda: COREG(TINY, TINY, ws=(48, 48), ignore_errors=True).calculate_spatial_shifts(), "windows of 48 px"),
    "pixels that are not square": _wide_pixels,
    "band numbers": lambda j: raises(ValueError, lambda: COREG(TINY, TINY, r_b4match=2).calculate_spatial_shifts()),
    "nodata as a pair": lambda j: near(j.at(NODATA, nodata=(0, 0)), NODATA),
    "mask of bad pixels": _masked,
    "unknown option": lambda j: raises(ValueError, lambda: COREG(TINY, TINY, wsize=3)),
    "verbose": lambda j: COREG(TINY, TINY, v=True).v is True,
    # options without effect, named
    "max_iter": lambda j: accepted("max_iter", 9),
    "binary_ws": lambda j: accepted("binary_ws", False),
    "calc_corners": lambda j: accepted("calc_corners", False),
    "resamp_alg_calc": lambda j: accepted("resamp_alg_calc", "bilinear"),
    "CPUs": lambda j: accepted("CPUs", 32),
    "path_verbose_out": lambda j: accepted("path_verbose_out", "x"),
    "rs_max_outlier": lambda j: of_local("rs_max_outlier", 20),
    "rs_tolerance": lambda j: of_local("rs_tolerance", 5),
    "rs_random_state": lambda j: of_local("rs_random_state", 3),
    "tieP_random_state": lambda j: of_local("tieP_random_state", 3),
    # what COREG knows afterwards
    "shift in map units": lambda j: np.isclose(j.inside.x_shift_map, 10 * j.inside.x_shift_px),
    "y down in pixels": lambda j: np.isclose(j.inside.y_shift_map, -10 * j.inside.y_shift_px),
    "length": lambda j: np.isclose(j.inside.vec_length_map, np.hypot(j.inside.x_shift_map, j.inside.y_shift_map)),
    "angle of the error, from north": lambda j: 0 < j.inside.vec_angle_deg < 45,
    "similarity improves": lambda j: j.inside.ssim_improved and j.inside.ssim_deshifted > j.inside.ssim_orig,
    "reliability in percent": lambda j: 0 < j.inside.shift_reliability <= 100,
    "overlap": lambda j: 40 < j.inside.overlap_percentage < 100 and j.inside.overlap_area == j.inside.overlap_poly.area,
    "window position and size": lambda j: (j.inside.win_pos_XY, j.inside.win_size_XY) == (INSIDE, (256, 256)),
    "coreg_info in pixels": lambda j: j.inside.coreg_info["corrected_shifts_px"]["y"] == j.inside.y_shift_px,
    "coreg_info in map units": lambda j: j.inside.coreg_info["corrected_shifts_map"]["x"] == j.inside.x_shift_map,
    "map info of ENVI": lambda j: j.inside.coreg_info["original map info"][:1] == ["UTM"],
    "updated map info": lambda j: np.isclose(
        j.inside.updated_map_info[3] - j.inside.original_map_info[3], j.inside.x_shift_map),
    "reference in coreg_info": lambda j: j.inside.coreg_info["reference extent"] == {"cols": 2400, "rows": 3200},
    "coreg_info can be pickled": lambda j: pickle.loads(pickle.dumps(j.inside.coreg_info))["success"],
    "show_cross_power_spectrum": lambda j: figure(j.inside.show_cross_power_spectrum()),
    "show_cross_power_spectrum interactive": lambda j: figure(j.inside.show_cross_power_spectrum(interactive=True)),
    "show_matchWin": lambda j: figure(j.inside.show_matchWin(interactive=False)),
    "show_matchWin after": lambda j: figure(j.inside.show_matchWin(interactive=False, after_correction=True)),
    "show_image_footprints": lambda j: "leaflet" in j.inside.show_image_footprints().get_root().render(),
    # DESHIFTER
    "dictionary of correct_shifts": lambda j: set(j.usual.deshift_results) == {
        "band", "is shifted", "is resampled", "updated map info", "updated geotransform", "updated projection",
        "arr_shifted", "GeoArray_shifted"},
    "one shift resamples nothing": lambda j: not j.usual.deshift_results["is resampled"],
    "another image": lambda j: j.deshift(image=(j.memory[1]))["arr_shifted"].shape == (3152, 2074),
    "align_grids": lambda j: j.deshift(align_grids=True)["updated geotransform"][0] % 10 == 0,
    "out_gsd": lambda j: j.small(out_gsd=[20, 20])["updated geotransform"][1] == 20,
    "match_gsd": lambda j: j.small(match_gsd=True)["updated geotransform"][1] == 10,
    "target_xyGrid": lambda j: (j.small(target_xyGrid=[[343003, 343018], [5848000, 5847985]])["updated geotransform"][0]
                                - 343003) % 15 == 0,
    "clipextent": lambda j: j.small(
        align_grids=True, clipextent=(343500, 5847500, 344500, 5848700))["arr_shifted"].shape == (120, 100),
    "cliptoextent": lambda j: j.deshift(cliptoextent=True)["arr_shifted"].shape <= (3152, 2074),
    "band2process": lambda j: j.small(band2process=1)["band"] == 1,
    "GeoArray_shifted": lambda j: j.small()["GeoArray_shifted"].xgsd == 10,
    "GeoArray is saved": _saved,
    "creation options": _compressed,
    **{f"kernel {name}": kernel(name) for name in (
        "nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode", "max", "min", "med", "q1", "q3")},
    "unknown kernel": lambda j: raises(ValueError, lambda: j.small(resamp_alg="sinc")),
    # COREG_LOCAL and its table
    "COREG_LOCAL from memory": lambda j: COREG_LOCAL(*j.memory, grid_res=200).COREG_obj.success is None,
    "COREG_LOCAL success": lambda j: j.local.success is True,
    "field is written": lambda j: rasterio.open(j.local.path_out).shape[0] >= 3152,
    "field is resampled": lambda j: j.local.deshift_results["is resampled"],
    "field removes the shifts": _removed,
    "columns of the table": lambda j: set(j.table.columns) >= COLUMNS and j.table.columns[0] == "geometry",
    "CRS of the table": lambda j: j.table.crs.to_epsg() == 32633,
    "-9999 where nothing matched": lambda j: (j.table.X_SHIFT_M[j.table.LAST_ERR != ""] == -9999).all(),
    "outliers have a shift and a flag": lambda j: (j.table.ABS_SHIFT[j.table.OUTLIER] > 0).all(),
    "shifts of points": _points_agree,
    "window sizes": lambda j: set(j.table.X_WIN_SIZE) == set(j.table.Y_WIN_SIZE) == {128},
    "GCPList": lambda j: len(j.local.coreg_info["GCPList"]) == len(j.good),
    "mean_shifts_map": lambda j: np.hypot(j.local.coreg_info["mean_shifts_map"]["x"] + 6.5,
                                          j.local.coreg_info["mean_shifts_map"]["y"] + 18.1) < CLOSE,
    "projectDir": lambda j: COREG_LOCAL(TINY, TINY, 20, path_out="a/b.bsq", projectDir=str(j.folder / "pro"))
        .path_out == str(j.folder / "pro" / "b.bsq"),
    "levels of filters": lambda j: raises(
        ValueError, lambda: COREG_LOCAL(TINY, TINY, 20, tieP_filter_level=4)),
    "view_CoRegPoints without outliers": lambda j: figure(j.local.view_CoRegPoints(hide_filtered=True)),
    "view_CoRegPoints with outliers": lambda j: figure(j.local.view_CoRegPoints(hide_filtered=False)),
    "view_CoRegPoints as vectors": lambda j: figure(j.local.view_CoRegPoints(shapes2plot="vectors")),
    "view_CoRegPoints of any column": lambda j: j.local.view_CoRegPoints(
        attribute2plot="ANGLE", backgroundIm="ref", return_map=True)[1].get_title() == "ANGLE",
    "view_CoRegPoints to a file": _figure_file,
    "view_CoRegPoints_folium": lambda j: "leaflet" in j.local.view_CoRegPoints_folium().get_root().render(),
    # Tie_Point_Grid
    "at most so many points": lambda j: len(j.grid.get_CoRegPoints_table()) == 50,
    "mean shifts are numbers": lambda j: all(isinstance(getattr(j.grid, f"mean_{axis}_shift_{unit}"), float)
                                             for axis in "xy" for unit in ("px", "map")),
    "calc_rmse": lambda j: np.isclose(j.grid.calc_rmse(include_outliers=False), j.stats["RMSE_M"]),
    "calc_rmse with outliers": lambda j: j.grid.calc_rmse(include_outliers=True) > 0,
    "calc_overall_ssim": lambda j: j.grid.calc_overall_ssim(include_outliers=False, after_correction=True)
        > j.grid.calc_overall_ssim(include_outliers=False, after_correction=False),
    "calc_overall_stats": lambda j: j.stats["N_TP"] == j.stats["N_VALID_TP"] + j.stats["N_INVALID_TP"],
    "calc_overall_stats of outliers, too": lambda j: j.grid.calc_overall_stats(include_outliers=True) != j.stats,
    "statistics of every kind": lambda j: {
        f"{how}_{what}" for how in ("MEAN", "MEDIAN", "STD", "MIN", "MAX") for what in (
        "ABS_SHIFT", "X_SHIFT_M", "Y_SHIFT_PX", "ANGLE", "SSIM_BEFORE", "RELIABILITY")} <= set(j.stats),
    "plot_shift_distribution": lambda j: figure(j.grid.plot_shift_distribution(unit="px", include_outliers=True)),
    "dump_CoRegPoints_table": _dumped,
    "to_GCPList": lambda j: len(j.grid.to_GCPList()) == j.stats["N_VALID_TP"],
    "shapefile without nodata": lambda j: j.shapefile(skip_nodata=True) == j.stats["N_TP"],
    "shapefile of all points": lambda j: j.shapefile(skip_nodata=False) == 50,
    "shapefile without outliers": lambda j: j.shapefile(skip_nodata=False, skip_outliers=True)
        == 50 - j.stats["N_INVALID_TP"],
    "shapefile of trusted points": lambda j: j.shapefile(skip_nodata=True, skip_outliers=True) == j.stats["N_VALID_TP"],
    "vector field of magnitudes": lambda j: (j.vectors("md")[0] != -9999).sum() == j.stats["N_TP"],
    "vector field along axes": lambda j: abs(np.median(j.vectors("uv")[1][j.vectors("uv")[1] != -9999]) + 18.1) < CLOSE,
    "raster of a column": lambda j: _raster(j, "RBF"),
    "raster by another method": lambda j: warns(lambda: _raster(j, "Kriging"), "Kriging is interpolated"),
}  # fmt: skip


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    return Jobs(tmp_path_factory.mktemp("arosics"))


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_behaviour(behaviour, jobs):
    assert BEHAVIOURS[behaviour](jobs)
