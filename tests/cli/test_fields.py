"""The commands warp and points, as people and programs use them."""

import json

import numpy as np
import pytest
import rasterio

import xcoreg
from xcoreg.simulate import pair, smooth_field

GRID = ("--spacing", "60", "--window", "64")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two GeoTIFFs with a smooth field of up to 1.5 px between them."""
    folder = tmp_path_factory.mktemp("field")
    both = pair((480, 480), shift=smooth_field((480, 480), 1.5, seed=4), seed=5)
    for name, image in (("ref", both.ref), ("tgt", both.tgt)):
        xcoreg.write_raster(image, folder / f"{name}.tif")
    return str(folder / "ref.tif"), str(folder / "tgt.tif")


def residual(ref, path):
    points = xcoreg.tie_points(xcoreg.open_raster(path), xcoreg.open_raster(ref), spacing=70, window=64)
    return float(np.median(np.hypot(points.dcol, points.drow)[points.ok]))


def test_warp_corrects_the_image_and_prints_the_quality(run, files, tmp_path):
    out = tmp_path / "out.tif"
    result = run("warp", *files, out, *GRID)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "spline" in result.stderr.lower()
    assert "check points" in result.stderr
    with rasterio.open(out) as new, rasterio.open(files[1]) as old:
        assert (new.shape, new.transform, new.crs, new.dtypes) == (old.shape, old.transform, old.crs, old.dtypes)
    assert residual(files[0], out) < 0.05


def test_a_saved_field_is_applied_to_other_images(run, files, tmp_path):
    fit, direct, later = (tmp_path / name for name in ("fit.json", "a.tif", "b.tif"))
    assert run("warp", *files, direct, *GRID, "--save-fit", fit).exit_code == 0
    result = run("apply", fit, files[1], later)
    assert result.exit_code == 0, result.stderr
    with rasterio.open(direct) as one, rasterio.open(later) as other:
        np.testing.assert_array_equal(one.read(), other.read())


@pytest.mark.parametrize("suffix", ["csv", "gpkg", "geojson", "parquet", "shp"])
def test_points_are_written_in_every_format(run, files, tmp_path, suffix):
    out = tmp_path / f"points.{suffix}"
    result = run("points", *files, out, *GRID)
    assert result.exit_code == 0, result.stderr
    points = xcoreg.TiePoints.load(out)
    assert points.ok.sum() > 40
    assert np.abs(points.dcol[points.ok]).max() < 2


def test_points_take_the_names_that_arosics_gives(run, files, tmp_path):
    out = tmp_path / "points.csv"
    assert run("points", *files, out, *GRID, "--columns", "arosics").exit_code == 0
    header = out.read_text().splitlines()[0]
    assert "POINT_ID" in header
    assert "X_SHIFT_PX" in header


def test_all_files_of_a_field_are_written(run, files, tmp_path):
    names = {"--save-fit": "fit.json", "--report": "page.html", "--field": "field.tif", "--gcps": "gcps.vrt"}
    options = [part for option, name in names.items() for part in (option, tmp_path / name)]
    result = run("points", *files, tmp_path / "points.csv", *GRID, *options)
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "fit.json").read_text())["status"] == "OK"
    assert "</html>" in (tmp_path / "page.html").read_text(encoding="utf-8").lower()
    with rasterio.open(tmp_path / "field.tif") as field:
        assert field.count == 3
    with rasterio.open(tmp_path / "gcps.vrt") as image:
        assert len(image.gcps[0]) > 40


def test_gcps_alone_need_no_model(run, files, tmp_path):
    result = run("points", *files, tmp_path / "points.csv", *GRID, "--gcps", tmp_path / "gcps.tif")
    assert result.exit_code == 0, result.stderr
    with rasterio.open(tmp_path / "gcps.tif") as image:
        assert len(image.gcps[0]) > 40


def test_points_made_before_are_used_as_they_are(run, files, tmp_path):
    points, out = tmp_path / "points.gpkg", tmp_path / "out.tif"
    assert run("points", *files, points, *GRID).exit_code == 0
    result = run("warp", *files, out, "--points", points)
    assert result.exit_code == 0, result.stderr
    assert residual(files[0], out) < 0.05


def test_filters_can_be_chosen_and_left_out(run, files, tmp_path):
    for names in ("none", "ssim,neighbours"):
        assert run("points", *files, tmp_path / f"{names}.csv", *GRID, "--filters", names).exit_code == 0
    result = run("points", *files, tmp_path / "x.csv", *GRID, "--filters", "sim")
    assert result.exit_code == 2
    assert "reliability, ssim" in result.stderr


def test_unrelated_images_end_with_the_reason(run, files, make_tif, tmp_path):
    noise = make_tif("noise.tif", np.random.default_rng(0).integers(1, 999, (480, 480)).astype("uint16"), nodata=0)
    for command, out in (("points", tmp_path / "p.csv"), ("warp", tmp_path / "w.tif")):
        result = run(command, files[0], noise, out, "--spacing", "120", "--window", "64")
        assert result.exit_code == 3, result.stderr
        assert "NO_PEAK" in result.stderr
        assert not out.exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--spacing", "0"), "spacing"),
        (("--points", "nowhere.gpkg"), "nowhere.gpkg"),
        (("--window", "4"), "at least 16"),
        (("--save-fit", "OUT"), "same file"),
        (("--report", "no/such/folder/page.html"), "no/such/folder"),
    ],
)
@pytest.mark.parametrize("command", ["points", "warp"])
def test_wrong_options_end_with_the_cure(run, files, tmp_path, command, options, word):
    out = tmp_path / ("out.csv" if command == "points" else "out.tif")
    result = run(command, *files, out, *(str(out) if part == "OUT" else part for part in options))
    assert result.exit_code == 2, result.stderr
    assert word in result.stderr
    assert "Traceback" not in result.stderr
    assert not out.exists()


def test_an_unknown_suffix_is_refused_before_the_work(run, files, tmp_path):
    result = run("points", *files, tmp_path / "points.xlsx")
    assert result.exit_code == 2
    assert ".gpkg" in result.stderr


def test_nothing_is_replaced_unless_asked(run, files, tmp_path):
    out = tmp_path / "points.csv"
    out.write_text("mine")
    result = run("points", *files, out, *GRID)
    assert (result.exit_code, out.read_text()) == (2, "mine")
    assert "--overwrite" in result.stderr


def test_a_missing_extra_is_reported_before_any_work(run, images, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "geopandas", None)
    monkeypatch.setattr("xcoreg.cli.fields.find_points", lambda *_: pytest.fail("work was done"))
    result = run("points", images.ref, images.tgt, tmp_path / "p.gpkg")
    assert result.exit_code != 0
    assert "pip install 'xcoreg[vector]'" in result.stderr


def test_points_come_with_a_style_for_qgis(run, images, tmp_path):
    pytest.importorskip("geopandas")
    result = run("points", images.ref, images.tgt, tmp_path / "p.gpkg", "--style", "--spacing", 60, "--window", 64)
    assert result.exit_code == 0, result.output
    assert "categorizedSymbol" in (tmp_path / "p.qml").read_text()
    assert "style     " in result.stderr


def test_a_page_to_swipe_is_written(run, images, tmp_path):
    pytest.importorskip("matplotlib")
    out, page = tmp_path / "w.tif", tmp_path / "s.html"
    result = run(
        "warp", images.ref, images.tgt, out, "--spacing", 60, "--window", 64, "--model", "affine", "--swipe", page
    )
    assert result.exit_code == 0, result.output
    assert "target after" in page.read_text(encoding="utf-8")
    assert "model     affine (shift, rotation, scale, shear): corrections of 1.6" in result.stderr
    again = run("shift", images.ref, images.tgt, tmp_path / "x.tif", "--swipe", tmp_path / "x.tif")
    assert (again.exit_code, "are the same file" in again.stderr) == (2, True)
