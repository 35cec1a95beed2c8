"""Ground control points: conventions, files, rasters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint

from xcoreg.errors import GridError, OptionError
from xcoreg.georef import GCPs, attach_gcps, read_gcps, save_gcps

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture
def gcps():
    rng = np.random.default_rng(2)
    col, row = rng.uniform(0, 100, (2, 12))
    names = {"id": tuple(f"P{i}" for i in range(12)), "info": ("a, b",) * 12}
    return GCPs(col, row, 6e5 + 10 * col + row, 5e6 - 10 * row, z=rng.uniform(0, 50, 12), crs=32633, **names)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "bare.tif"
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", count=2, width=100, height=110, nodata=0) as file:
        file.write(np.random.default_rng(1).integers(1, 255, (2, 110, 100)).astype(np.uint8))
    return path


def assert_same(one, two, *columns):
    for name in columns or ("col", "row", "x", "y", "z"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-15, atol=1e-12, err_msg=name)
    assert (one.crs is None and two.crs is None) or one.crs.to_epsg() == two.crs.to_epsg()


def test_corners_outside_centres_inside():
    one = GCPs.from_rasterio([GroundControlPoint(row=0.5, col=100.5, x=1, y=2, z=3, id="7", info="tree")], 4326)
    assert (one.col[0], one.row[0], one.pixel[0], one.line[0]) == (100.0, 0.0, 100.5, 0.5)
    back = one.to_rasterio()[0]
    assert (back.col, back.row, back.x, back.y, back.z, back.id, back.info) == (100.5, 0.5, 1, 2, 3, "7", "tree")


def test_columns_are_checked_and_frozen(gcps):
    with pytest.raises(OptionError, match="x has 1"):
        GCPs([0, 1], [0, 1], [0], [0, 1])
    with pytest.raises(OptionError, match="1 of 2 GCPs have no finite y"):
        GCPs([0, 1], [0, 1], [0, 1], [0, np.nan])
    with pytest.raises(ValueError, match="read-only"):
        gcps.x[0] = 1


def test_points_go_to_another_crs_and_back(gcps):
    assert_same(gcps.to_crs(4326).to_crs(32633), gcps, "col")
    np.testing.assert_allclose(gcps.to_crs(4326).to_crs(32633).x, gcps.x, atol=1e-6)
    with pytest.raises(OptionError, match="unknown"):
        GCPs([0], [0], [0], [0]).to_crs(4326)
    with pytest.raises(GridError, match="no place"):
        GCPs([0], [0], [0], [95.0], crs=4326).to_crs(32633)


def test_longitudes_do_not_jump_at_the_antimeridian():
    west = GCPs([0, 1, 2], [0, 0, 0], [179.0, -179.5, -178.0], [0, 0, 0], crs=4326).continuous()
    np.testing.assert_allclose(np.diff(west.x), [1.5, 1.5])
    plain = GCPs([0, 1], [0, 0], [-60.0, 60.0], [0, 0], crs=4326)
    assert plain.continuous().x.tolist() == [-60.0, 60.0]


@pytest.mark.parametrize("suffix", [".csv", ".points", ".pts", ".gpkg", ".shp"])
def test_every_list_there_and_back(gcps, tmp_path, suffix):
    if suffix in (".gpkg", ".shp"):
        pytest.importorskip("geopandas")
    path = gcps.save(tmp_path / f"a{suffix}")
    kept = ("col", "row", "x", "y") if suffix == ".points" else ("col", "row", "x", "y", "z")
    back = read_gcps(path)
    assert_same(back, gcps, *kept)
    if suffix in (".csv", ".gpkg", ".shp"):
        assert (back.id, back.info) == (gcps.id, gcps.info)


def test_geojson_holds_longitude_and_latitude(gcps, tmp_path):
    pytest.importorskip("geopandas")
    back = read_gcps(save_gcps(gcps, tmp_path / "a.geojson"))
    np.testing.assert_allclose(back.to_crs(32633).x, gcps.x, atol=1e-2)


def test_a_list_without_crs_has_none_unless_told(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name;col;row;lon;lat\nA;0;1;15;50\nB;2;3;16;51\n")
    gcps = read_gcps(path)
    assert (gcps.crs, gcps.id, gcps.col.tolist()) == (None, ("A", "B"), [0.0, 2.0])
    assert read_gcps(path, crs="WGS84").crs.to_epsg() == 4326


def test_qgis_counts_down_and_disables(tmp_path):
    path = tmp_path / "a.points"
    path.write_text("#CRS: EPSG:4326\nmapX,mapY,sourceX,sourceY,enable\n15,50,10.5,-20.5,1\n16,51,1,-2,0\n")
    gcps = read_gcps(path)
    assert (gcps.col.tolist(), gcps.row.tolist(), gcps.crs.to_epsg()) == ([10.0], [20.0], 4326)


def test_envi_counts_from_one_at_the_corner(tmp_path):
    path = tmp_path / "a.pts"
    head = "; ENVI Image to Map GCP File\n; projection info = {UTM, 13, South, WGS-84, units=Meters}\n;\n"
    path.write_text(f"{head} 475000.0 4428000.0 1.0 1.5\n")
    gcps = read_gcps(path)
    assert (gcps.col[0], gcps.row[0], gcps.crs.to_epsg()) == (-0.5, 0.0, 32713)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "x,y\n1,2\n", "needed are x, y, and pixel, line"),
        ("a.csv", "x,y,col,row\n1,2,three,4\n", "cells that are not numbers"),
        ("a.csv", "x,y,col,row\n1,2\n", "fewer cells than"),
        ("a.csv", "", "no table"),
        ("a.points", "x,y\n1,2\n", "mapX"),
        ("a.pts", "1 2 3\n", "rows of map x"),
        ("a.csv", "x,y,col,row\n", "has no ground control points"),
    ],
)
def test_broken_lists_say_why(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(OptionError, match=message):
        read_gcps(tmp_path / name)


def test_missing_files_and_unknown_suffixes(gcps, tmp_path):
    with pytest.raises(OptionError, match="does not exist"):
        read_gcps(tmp_path / "none.csv")
    with pytest.raises(OptionError, match="written as"):
        save_gcps(gcps, tmp_path / "a.xyz")


@pytest.mark.parametrize("name", ["b.tif", "b.vrt"])
def test_rasters_carry_them(gcps, image, tmp_path, name):
    path = attach_gcps(image, gcps, tmp_path / name)
    back = read_gcps(path)
    assert_same(back, gcps)
    with rasterio.open(path) as file, rasterio.open(image) as old:
        np.testing.assert_array_equal(file.read(), old.read())
        assert file.transform.is_identity
        assert file.nodata == 0


def test_a_vrt_keeps_names_and_remarks(gcps, image, tmp_path):
    named = replace(gcps, id=tuple(f"p{i}" for i in range(len(gcps))), info=("a corner",) * len(gcps))
    back = read_gcps(attach_gcps(image, named, tmp_path / "b.vrt"))
    assert (back.id, back.info) == (named.id, named.info)
    np.testing.assert_array_equal(back.col, named.col)


def test_what_cannot_carry_points_is_told(gcps, image, tmp_path):
    with pytest.raises(OptionError, match="input itself"):
        attach_gcps(image, gcps, image)
    with pytest.raises(OptionError, match=r"as \.tif and \.vrt, not \.jpg"):
        attach_gcps(image, gcps, tmp_path / "b.jpg")
    with pytest.raises(OptionError, match=r"none\.tif cannot be copied"):
        attach_gcps(tmp_path / "none.tif", gcps, tmp_path / "b.tif")
    assert not (tmp_path / "b.tif").exists()


def test_an_image_without_points_says_so(image):
    with pytest.raises(OptionError, match="no ground control points"):
        read_gcps(image)


def test_real_images_carry_theirs(data_dir):
    swath = read_gcps(data_dir / "sar_gcps" / "rio-tiler_S1A_IW_GRDH_20180716_iw-vv.tiff")
    assert (len(swath), swath.crs.to_epsg(), swath.id[:2]) == (210, 4326, ("1", "2"))
    assert (swath.col[0], swath.row[0], swath.x[0]) == (-0.5, -0.5, 78.20390305293508)
    vrt = read_gcps(data_dir / "formats" / "RGB.byte.gcp.vrt")
    assert (vrt.col.tolist(), vrt.row[0], vrt.crs.to_epsg()) == ([0.0, 7448.0, 0.0, 7448.0], 11521.0, 4326)
    assert vrt.x[0] == -123.6185142818
