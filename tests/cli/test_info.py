import json

import numpy as np
import pytest
import rasterio
import shapely

ROWS, COLS = 120, 200


@pytest.fixture
def wedge(make_tif):
    """An image whose left half is empty, with no nodata stored."""
    values = np.random.default_rng(4).integers(100, 4000, (ROWS, COLS)).astype(np.uint16)
    values[:, :100] = 0
    return make_tif("wedge.tif", values)


def test_json_holds_the_facts(run, wedge):
    found = json.loads(run("info", wedge, "--json").stdout)
    assert (found["crs"], found["unit"], found["dtype"]) == ("EPSG:32633", "metre", "uint16")
    assert (found["shape"], found["gsd"]) == ([ROWS, COLS], [10.0, 10.0])
    assert found["corners"]["lower_right"] == [302000.0, 5898840.0]
    assert (found["nodata"], found["nodata_source"]) == (0, "corners")
    assert found["valid_fraction"] == pytest.approx(0.5, abs=0.02)
    outline = shapely.from_wkt(found["footprint"])
    assert outline.bounds == pytest.approx((301000, 5898840, 302000, 5900040), abs=30)


def test_text_is_for_people(run, wedge):
    output = run("info", wedge).stdout
    for word in ("200 x 120 px, 1 band, uint16", "EPSG:32633", "found from the corners", "50", "POLYGON"):
        assert word in output


def test_a_nodata_value_that_json_lacks_is_spelled(run, make_tif):
    values = np.random.default_rng(4).random((60, 60)).astype(np.float32)
    values[:, :20] = -np.inf
    found = json.loads(run("info", make_tif("a.tif", values), "--nodata", "-inf", "--json").stdout)
    assert (found["nodata"], found["nodata_source"]) == ("-inf", "given")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_missing_georeference_is_named(run, make_tif):
    path = make_tif("bare.tif", np.ones((40, 50), np.uint8), crs=None, transform=None)
    result = run("info", path)
    assert result.exit_code == 0
    assert "50 x 40 px" in result.stdout
    assert "missing" in result.stdout


def test_an_empty_image_has_no_footprint_and_a_reason(run, make_tif):
    result = run("info", make_tif("empty.tif", np.zeros((40, 50), np.uint8), nodata=0), "--json")
    assert json.loads(result.stdout)["footprint"] is None
    assert "no valid pixel" in result.stderr


def test_a_missing_file_is_bad_input(run, tmp_path):
    assert run("info", tmp_path / "nowhere.tif").exit_code == 2


def test_real_formats_are_described(run, data_dir):
    for name, crs, fraction in (("G90292_20230514.bin", 32610, 1.0), ("RGB.byte.tif", 32618, 0.673)):
        found = json.loads(run("info", data_dir / "formats" / name, "--json").stdout)
        assert found["crs"] == f"EPSG:{crs}"
        assert found["valid_fraction"] == pytest.approx(fraction, abs=0.01)


def test_degrees_and_south_up_images_are_described(run, make_tif):
    values = np.random.default_rng(4).random((90, 180)).astype(np.float32)
    path = make_tif("world.tif", values, crs="EPSG:4326", transform=rasterio.Affine(2, 0, -180, 0, 2, -90))
    found = json.loads(run("info", path, "--json").stdout)
    assert (found["unit"], found["corners"]["upper_left"]) == ("degree", [-180.0, -90.0])


def test_georeference_and_file_are_described_in_full(run, make_tif):
    values = np.random.default_rng(4).random((90, 120)).astype(np.float32)
    path = make_tif("turned.tif", values, transform=rasterio.Affine(9.8, 1.7, 5e5, 1.7, -9.8, 5.8e6))
    found = json.loads(run("info", path, "--json").stdout)
    assert found["ellipsoid"] == "WGS 84"
    assert (found["orientation"], found["rotation"]) == ("rotated", pytest.approx(9.8411, abs=1e-4))
    assert found["gsd_m"] == pytest.approx([9.9504, 9.9504], abs=0.0005)  # 0.9996 on the central meridian
    assert found["corners_lonlat"]["upper_left"] == pytest.approx([15.0, 52.35], abs=0.02)
    assert (found["format"], found["overviews"], found["n_gcps"]) == ("GTiff", [], 0)
    output = run("info", path).stdout
    for word in ("ellipsoid WGS 84", "rotated", "9.8, 1.7", "lon 15.000000", "GTiff, blocks of 120 x"):
        assert word in output


def test_an_image_with_control_points_has_corners(run, data_dir):
    path = data_dir / "sar_gcps" / "rio-tiler_S1A_IW_GRDH_20180716_iw-vv.tiff"
    found = json.loads(run("info", path, "--json").stdout)
    assert (found["georeference"], found["n_gcps"], found["gcps"]["model"]) == ("control points", 210, "tps")
    assert found["gcps"]["left_out_rmse"]["px"] == pytest.approx(0.0606, abs=0.001)
    assert found["corners_lonlat"]["upper_left"] == pytest.approx([78.2039, 10.7375], abs=0.001)
    assert "210, WGS 84; tps" in run("info", path).stdout


def test_rpcs_are_described(run, data_dir):
    found = json.loads(run("info", data_dir / "formats" / "RGB.byte.rpc.vrt", "--json").stdout)
    assert (found["georeference"], found["rpcs"]) == ("RPCs", True)


def test_south_up_is_described(run, data_dir):
    found = json.loads(run("info", data_dir / "formats" / "riotiler_inverted_lat.tif", "--json").stdout)
    assert (found["orientation"], found["rotation"]) == ("south-up", 0.0)


def test_a_mask_beside_the_pixels_is_named(run, make_tif):
    path = make_tif("a.tif", np.full((ROWS, COLS), 7, np.uint8))
    valid = np.arange(COLS) * np.ones((ROWS, 1), int) >= COLS // 2
    with rasterio.open(path, "r+") as file:
        file.write_mask(valid)
    found = json.loads(run("info", path, "--json").stdout)
    assert (found["nodata"], found["nodata_source"]) == (None, "none")
    assert found["mask"] == "a mask beside the pixels"
    assert found["valid_fraction"] == pytest.approx(0.5)
    assert "a mask beside the pixels" in run("info", path).stdout


def test_a_value_in_a_corner_that_may_be_data_is_no_nodata(run, make_tif):
    values = np.random.default_rng(4).integers(0, 60, (ROWS, COLS)).astype(np.uint8)
    values[:50, :50] = 0
    result = run("info", make_tif("a.tif", values), "--json")
    found = json.loads(result.stdout)
    assert (found["nodata"], found["nodata_source"], found["valid_fraction"]) == (None, "uncertain", 1.0)
    assert "fills a corner, 0, may be data" in found["remark"]
    assert "pass --nodata=0 if it marks missing pixels" in result.stderr
    assert "none for certain" in run("info", make_tif("a.tif", values)).stdout


def test_a_quality_layer_is_a_mask(run, images, make_tif):
    layer = make_tif("scl.tif", np.full((320, 320), 4, np.uint8))
    result = run("match", images.ref, images.tgt, "--where", f"scl:{layer}")
    assert result.exit_code == 0
    layer = make_tif("scl.tif", np.full((320, 320), 9, np.uint8))
    assert run("match", images.ref, images.tgt, "--where", f"scl:{layer}").exit_code == 3
