from types import SimpleNamespace

import numpy as np
import pytest

import xcoreg
from xcoreg.arosics import COREG, COREG_LOCAL, DESHIFTER
from xcoreg.errors import CoregWarning, MatchError, OptionError
from xcoreg.simulate import pair, smooth_field


@pytest.fixture(scope="module")
def scene():
    return pair((320, 320), shift=(1.3, -2.4), seed=3)


@pytest.fixture(scope="module")
def job(scene):
    made = COREG(scene.ref, scene.tgt, q=True)
    assert made.success is None
    assert made.x_shift_px is None
    assert made.calculate_spatial_shifts() == "success"
    return made


@pytest.fixture(scope="module")
def local():
    both = pair((300, 300), shift=smooth_field((300, 300), 1.5, seed=2), seed=3)
    made = COREG_LOCAL(both.ref, both.tgt, 50, window_size=(64, 64), q=True)
    made.calculate_spatial_shifts()
    return made


def test_the_signs_are_those_of_arosics(job):
    assert job.x_shift_px == pytest.approx(1.3, abs=0.02)
    assert job.y_shift_px == pytest.approx(-2.4, abs=0.02)
    assert job.x_shift_map == pytest.approx(13, abs=0.2)
    assert job.y_shift_map == pytest.approx(24, abs=0.2)
    assert job.vec_length_map == pytest.approx(np.hypot(13, 24), abs=0.3)
    assert job.vec_angle_deg == job.fit.shift.angle
    assert job.ssim_improved is True


def test_coreg_info_has_the_keys_of_arosics(job, scene):
    info = job.coreg_info
    assert info["corrected_shifts_px"] == {"x": job.x_shift_px, "y": job.y_shift_px}
    assert info["reference extent"] == {"cols": 320, "rows": 320}
    old, new = info["original map info"], info["updated map info"]
    assert old[0] == "UTM"
    assert new[3] - old[3] == pytest.approx(job.x_shift_map)
    assert new[4] - old[4] == pytest.approx(job.y_shift_map)
    assert info["reference geotransform"] == xcoreg.to_geotransform(scene.ref.rio.transform())


def test_one_shift_moves_the_geotransform_alone(job, scene):
    done = job.correct_shifts()
    assert done["is shifted"]
    assert not done["is resampled"]
    assert np.array_equal(done["arr_shifted"], scene.tgt.values)
    assert done["updated geotransform"][0] - scene.tgt.rio.transform().c == pytest.approx(job.x_shift_map)


def test_a_geoarray_is_an_image(scene, job):
    def geoarray(image):
        place = xcoreg.to_geotransform(image.rio.transform())
        return SimpleNamespace(arr=image.values, gt=place, prj=image.rio.crs.to_wkt(), nodata=0)

    other = COREG(geoarray(scene.ref), geoarray(scene.tgt), q=True)
    other.calculate_spatial_shifts()
    assert other.x_shift_px == job.x_shift_px


def test_masks_name_bad_pixels(scene):
    clouds = (scene.tgt * 0).astype("uint8")
    clouds[:, 160:] = 1
    made = COREG(scene.ref, scene.tgt, mask_baddata_tgt=clouds, q=True)
    made.calculate_spatial_shifts()
    middle = scene.tgt.x.values[160]
    used = made.fit.points.ok
    assert (made.fit.points.x[used] < middle).all()


def test_a_shift_beyond_five_pixels_is_refused_as_in_arosics():
    both = pair((200, 200), shift=(8.3, 0.0), seed=3)
    made = COREG(both.ref, both.tgt, q=True)
    with pytest.raises(MatchError):
        made.calculate_spatial_shifts()
    calm = COREG(both.ref, both.tgt, q=True, ignore_errors=True)
    assert calm.calculate_spatial_shifts() == "fail"
    assert calm.success is False
    assert calm.x_shift_px is None
    with pytest.raises(MatchError):
        calm.correct_shifts()
    wide = COREG(both.ref, both.tgt, q=True, max_shift=20)
    wide.calculate_spatial_shifts()
    assert wide.x_shift_px == pytest.approx(8.3, abs=0.02)


def test_options_without_effect_say_why_and_unknown_ones_are_refused(scene):
    with pytest.warns(CoregWarning, match="binary_ws has no effect"):
        COREG(scene.ref, scene.tgt, binary_ws=False)
    with pytest.warns(CoregWarning, match="windows are square, 64 px"):
        COREG_LOCAL(scene.ref, scene.tgt, 100, window_size=(64, 128), q=True).calculate_spatial_shifts()
    with pytest.raises(OptionError, match="did you mean 'max_shift'"):
        COREG(scene.ref, scene.tgt, max_shft=4)


def test_the_table_has_the_columns_of_arosics(local):
    table = local.CoRegPoints_table
    assert {"POINT_ID", "X_IM", "Y_IM", "X_MAP", "Y_MAP", "X_SHIFT_PX", "Y_SHIFT_M", "ANGLE", "OUTLIER"} <= set(table)
    ok = local.fit.points.ok
    assert (table["X_SHIFT_PX"][~ok] == -9999).all()
    assert np.allclose(table["X_SHIFT_PX"][ok], local.fit.points.dcol[ok])
    assert str(table.crs) == "EPSG:32633"


def test_statistics_are_those_of_trusted_points(local):
    grid, points = local.tiepoint_grid, local.fit.points
    ok = points.ok
    stats = grid.calc_overall_stats()
    assert grid.mean_x_shift_px == pytest.approx(points.dcol[ok].mean())
    assert grid.calc_rmse() == pytest.approx(np.sqrt((points.dx[ok] ** 2 + points.dy[ok] ** 2).mean()))
    assert stats["N_VALID_TP"] == ok.sum()
    assert stats["RMSE_PX_CHECK_POINTS"] < 0.3 * stats["RMSE_PX_BEFORE"]
    assert len(local.coreg_info["GCPList"]) == ok.sum()
    assert grid.calc_overall_ssim() > grid.calc_overall_ssim(after_correction=False)


def test_any_column_becomes_a_raster(local):
    raster = local.tiepoint_grid.to_interpolated_raster("X_SHIFT_PX", lowres_spacing=10)
    points = local.fit.points
    assert raster.shape == local.fit.shape
    found = raster[np.rint(points.row[points.ok]).astype(int), np.rint(points.col[points.ok]).astype(int)]
    assert np.abs(found - points.dcol[points.ok]).max() < 0.15
    with pytest.raises(OptionError, match=r"choose from .*ABS_SHIFT"):
        local.tiepoint_grid.to_interpolated_raster("NOTHING")


def test_points_are_few_and_evenly_spread(scene):
    made = COREG_LOCAL(scene.ref, scene.tgt, 20, window_size=(64, 64), max_points=16, q=True)
    made.calculate_spatial_shifts()
    points = made.fit.points
    assert len(points) == 16
    middle = (points.x.max() + points.x.min()) / 2, (points.y.max() + points.y.min()) / 2
    quarter = 2 * (points.x > middle[0]) + (points.y > middle[1])
    assert np.bincount(quarter, minlength=4).min() >= 3


def test_another_image_is_corrected_by_coreg_info(job, scene):
    mask = (scene.tgt > scene.tgt.median()).astype("uint8").rio.write_crs(scene.tgt.rio.crs)
    done = DESHIFTER(mask, job.coreg_info, resamp_alg="nearest", align_grids=True).correct_shifts()
    assert done["is resampled"]
    west = done["updated geotransform"][0]
    assert (west - scene.ref.rio.transform().c) % 10 == pytest.approx(0, abs=1e-6)
    assert set(np.unique(done["arr_shifted"])) <= {0, 1, 255}


def test_tie_points_leave_pixels_where_they_are_even_of_one_shift():
    both = pair((400, 400), shift=(0.7, -1.2), seed=3)
    made = COREG_LOCAL(both.ref, both.tgt, 100, window_size=(64, 64), q=True)
    assert made.success
    assert made.fit.model.kind == "translation"
    done = DESHIFTER(both.tgt, made.coreg_info).correct_shifts()
    assert done["is resampled"]
    assert done["updated geotransform"] == xcoreg.to_geotransform(both.tgt.rio.transform())
    middle = np.s_[..., 20:-20, 20:-20]
    off = done["arr_shifted"].astype(float)[middle].squeeze() - both.ref.values.astype(float)[middle].squeeze()
    assert off.std() < 0.2 * both.ref.values.std()


def test_a_grid_may_be_given(job, scene):
    done = DESHIFTER(scene.tgt, job.coreg_info, target_xyGrid=[[300003, 300018], [5900001, 5899986]]).correct_shifts()
    west, width, _, north, _, height = done["updated geotransform"]
    assert (width, height) == (15, -15)
    assert (west - 300003) % 15 == pytest.approx(0, abs=1e-6)
    assert (north - 5900001) % 15 == pytest.approx(0, abs=1e-6)


def test_what_arosics_itself_has_saved_is_refused(scene):
    with pytest.raises(OptionError, match="not made by xcoreg"):
        DESHIFTER(scene.tgt, {"corrected_shifts_px": {"x": 1.0, "y": 0.0}})


def test_filters_follow_the_level(scene):
    made = [COREG_LOCAL(scene.ref, scene.tgt, 60, tieP_filter_level=level) for level in (0, 1, 2, 3)]
    assert [len(one.tiepoint_grid._how["filters"]) for one in made] == [0, 1, 2, 4]
