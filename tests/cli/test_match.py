import json

import numpy as np
import pytest
import rasterio
import shapely

from xcoreg.results.reading import load_fit


def test_stdout_is_the_answer_as_json(run, images):
    result = run("match", images.ref, images.tgt)
    assert result.exit_code == 0
    answer = json.loads(result.stdout)["answer"]
    assert answer["dcol"] == pytest.approx(images.dcol, abs=0.02)
    assert answer["drow"] == pytest.approx(images.drow, abs=0.02)
    assert (answer["dx"], answer["dy"]) == pytest.approx((10 * answer["dcol"], -10 * answer["drow"]))
    assert 0 < answer["sigma_x"] < 0.2
    assert answer["ok"] is True


def test_stdout_is_a_fit_file_too(run, images, tmp_path):
    path = tmp_path / "fit.json"
    path.write_text(run("match", images.ref, images.tgt, "--quiet").stdout)
    assert load_fit(path).shift.dcol == pytest.approx(images.dcol, abs=0.02)


def test_results_are_printed_on_stderr_but_not_with_quiet(run, images):
    assert "dcol=+0.3" in run("match", images.ref, images.tgt).stderr
    assert run("match", images.ref, images.tgt, "-q").stderr == ""


def test_verbose_prints_the_interim_results(run, images):
    output = run("match", images.ref, images.tgt, "--verbose").stderr
    for word in ("corners", "matching window", "whole-pixel", "sub-pixel", "length", "angle", "geotransform", "SSIM"):
        assert word in output


def test_at_places_the_window(run, images):
    with rasterio.open(images.tgt) as tgt:
        x, y = tgt.xy(150, 170, offset="ul")
    found = json.loads(run("match", images.ref, images.tgt, "--window", 128, "--at", x, y).stdout)["points"]
    assert found["x"][0] == pytest.approx(x, abs=10)
    assert found["y"][0] == pytest.approx(y, abs=10)
    assert found["size"][0] == 128


def test_the_fit_is_saved(fit_file, images):
    fit = load_fit(fit_file)
    assert fit.ok
    assert fit.shift.drow == pytest.approx(images.drow, abs=0.02)


def test_debug_writes_vectors_and_figures(run, images, tmp_path):
    pytest.importorskip("matplotlib")
    gpd = pytest.importorskip("geopandas")
    folder = tmp_path / "debug"
    assert run("match", images.ref, images.tgt, "--debug", folder).exit_code == 0
    windows = gpd.read_file(folder / "debug.gpkg", layer="windows")
    overlap = gpd.read_file(folder / "debug.gpkg", layer="overlap")
    assert windows.crs.to_epsg() == 32633
    assert set(windows.status) == {"OK"}
    assert overlap.geometry[0].buffer(10).contains(windows.geometry[0].centroid)
    assert overlap.area[0] == pytest.approx(3200**2, rel=0.03)
    assert sum(1 for _ in folder.glob("window_*.png")) == sum(1 for _ in folder.glob("surface_*.png")) >= 1


def test_debug_shows_why_a_match_failed(run, images, make_tif, tmp_path):
    with rasterio.open(images.tgt) as tgt:
        flat = make_tif("flat.tif", np.full((320, 320), 9, np.uint16), transform=tgt.transform, nodata=0)
    result = run("match", images.ref, flat, "--debug", tmp_path / "debug", "--verbose")
    assert result.exit_code == 3
    assert "FLAT" in result.stderr
    assert any(path.suffix in {".gpkg", ".geojson"} for path in (tmp_path / "debug").iterdir())


def test_a_known_footprint_and_a_mask_limit_the_matching(run, images, make_tif):
    with rasterio.open(images.tgt) as tgt:
        transform, (west, south, _, north) = tgt.transform, tgt.bounds
    half = shapely.box(west, south, west + 1600, north)
    mask = make_tif("mask.tif", np.tile(np.arange(320) < 160, (320, 1)).astype(np.uint8), transform=transform)
    for option, value in (("--footprint", half.wkt), ("--where", mask)):
        result = run("match", images.ref, images.tgt, "--window", 96, option, value)
        found = json.loads(result.stdout)
        assert max(found["points"]["x"]) < west + 1700
        assert found["answer"]["dcol"] == pytest.approx(images.dcol, abs=0.05)
