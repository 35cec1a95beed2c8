"""Scripts as AROSICS' users write them, unchanged but for the import."""

import numpy as np
import pytest
import rasterio

import xcoreg
from xcoreg.simulate import pair, smooth_field

pytestmark = pytest.mark.filterwarnings("ignore::xcoreg.errors.CoregWarning")

GLOBAL = """
from arosics import COREG, DESHIFTER

im_reference = 'ref.tif'
im_target = 'tgt.tif'
CR = COREG(im_reference, im_target, wp=(301500, 5898540), ws=(128, 128), path_out='new/global.bsq', fmt_out='ENVI',
           max_iter=5, max_shift=5, align_grids=False, calc_corners=True, CPUs=1, progress=False, v=False, q=True)
status = CR.calculate_spatial_shifts()
assert CR.success
shifts = CR.coreg_info['corrected_shifts_px']
print('total shift:', CR.x_shift_px, CR.y_shift_px, CR.vec_length_map, CR.shift_reliability)
CR.show_matchWin(interactive=False, after_correction=True)
result = CR.correct_shifts()
for band in ('band2.tif', 'mask.tif'):
    DESHIFTER(band, CR.coreg_info, path_out='new/' + band, fmt_out='GTIFF', resamp_alg='nearest', align_grids=True,
              q=True).correct_shifts()
"""
LOCAL = """
from arosics import COREG_LOCAL

kwargs = {
    'grid_res': 50,
    'window_size': (64, 64),
    'path_out': 'auto',
    'projectDir': 'my_project',
    'q': True,
    'max_points': 40,
    'tieP_filter_level': 3,
    'resamp_alg_deshift': 'cubic_spline',
    'min_reliability': 60,
}
CRL = COREG_LOCAL('ref.tif', 'tgt.tif', **kwargs)
CRL.correct_shifts()
CRL.view_CoRegPoints(figsize=(6, 6), backgroundIm='ref', savefigPath='points.png', showFig=False)
table = CRL.CoRegPoints_table
valid = table[(table.X_SHIFT_M != -9999) & (table.OUTLIER == False)]
CRL.tiepoint_grid.to_PointShapefile(path_out='points.shp')
CRL.tiepoint_grid.plot_shift_distribution(savefigPath='distribution.png', showFig=False)
rmse_before = CRL.tiepoint_grid.calc_rmse(include_outliers=False)
CRL_after_corr = COREG_LOCAL('ref.tif', CRL.path_out, **dict(kwargs, path_out=None))
rmse_after = CRL_after_corr.tiepoint_grid.calc_rmse(include_outliers=False)
"""
MEMORY = """
from geoarray import GeoArray
from arosics import COREG, COREG_LOCAL, DESHIFTER

ref, tgt = GeoArray('ref.tif'), GeoArray('tgt.tif')
geoArr_reference = GeoArray(ref[:], ref.geotransform, ref.projection, nodata=0)
geoArr_target = GeoArray(tgt[:], tgt.gt, tgt.prj, nodata=0)
clouds = np.zeros(tgt[:].shape[:2], bool)
clouds[:60, :60] = True
baddata = GeoArray(clouds.astype('uint8'), tgt.gt, tgt.prj)
CRL = COREG_LOCAL(geoArr_reference, geoArr_target, 60, window_size=(64, 64), mask_baddata_tgt=baddata, q=True)
CRL.calculate_spatial_shifts()
if CRL.success:
    res = DESHIFTER(geoArr_target, CRL.coreg_info, resamp_alg='cubic', align_grids=True, q=True).correct_shifts()
    arr, gt, prj = res['arr_shifted'], res['updated geotransform'], res['updated projection']
    res['GeoArray_shifted'].save('memory.tif', fmt='GTiff')
points = CRL.CoRegPoints_table
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("scripts")
    both = pair((300, 300), shift=smooth_field((300, 300), 1.5, seed=2), seed=3)
    mask = (both.tgt > both.tgt.median()).astype("uint8").rio.write_crs(both.tgt.rio.crs)
    for name, image in (("ref", both.ref), ("tgt", both.tgt), ("band2", both.tgt), ("mask", mask)):
        xcoreg.write_raster(image, made / f"{name}.tif")
    return made


@pytest.fixture
def run(folder, monkeypatch):
    def run(script):
        monkeypatch.chdir(folder)
        names = {"np": np}
        script = script.replace("from arosics", "from xcoreg.arosics")
        exec(script.replace("from geoarray", "from xcoreg.arosics"), names)
        return names

    return run


def test_one_shift_of_many_files(run, folder):
    names = run(GLOBAL)
    with rasterio.open(folder / "new" / "global.bsq") as new, rasterio.open(folder / "tgt.tif") as old:
        assert new.transform.c - old.transform.c == pytest.approx(names["CR"].x_shift_map)
    assert names["status"] == "success"
    assert names["shifts"]["x"] == names["CR"].x_shift_px
    with rasterio.open(folder / "new" / "mask.tif") as mask:
        assert set(np.unique(mask.read(1))) <= {0, 1, 255}
        assert mask.transform.c % 10 == 0


def test_a_field_with_its_figures_and_files(run, folder):
    names = run(LOCAL)
    assert (folder / "my_project" / "tgt__shifted_to__ref.bsq").exists()
    assert names["rmse_after"] < 0.15 * names["rmse_before"]
    assert len(names["valid"]) > 20
    for name in ("points.png", "points.shp", "points.dbf", "distribution.png"):
        assert (folder / name).stat().st_size > 0


def test_arrays_in_memory_with_a_mask(run, folder):
    names = run(MEMORY)
    with rasterio.open(folder / "memory.tif") as file:
        assert np.array_equal(file.read(1), names["arr"])
        assert file.transform.to_gdal() == tuple(names["gt"])
    points = names["points"]
    corner = (points.X_IM < 60) & (points.Y_IM < 60)
    assert (points.X_SHIFT_PX[corner] == -9999).all()
