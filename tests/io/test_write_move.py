"""The copy that differs in its place alone."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from pyproj import CRS

from xcoreg.cli import cli
from xcoreg.errors import OptionError
from xcoreg.files import NoSuchFile
from xcoreg.georef import translate
from xcoreg.io.copy import copy_moved
from xcoreg.io.write import write_raster
from xcoreg.simulate import pair

GRID = Affine(10, 0, 300000, 0, -10, 5900040)
MOVED = translate(GRID, 3.57885632466, 15.6616268)


def changed_bytes(one, two):
    a, b = np.frombuffer(one.read_bytes(), "u1"), np.frombuffer(two.read_bytes(), "u1")
    assert a.size == b.size
    return int((a != b).sum())


@pytest.mark.parametrize("options", [{}, {"driver": "COG"}, {"bigtiff": "yes"}, {"endianness": "big"}])
def test_only_the_origin_changes(image, tmp_path, options):
    source = write_raster(image, tmp_path / "a.tif", **options)
    moved = copy_moved(source, tmp_path / "b.tif", MOVED)
    with rasterio.open(moved) as file:
        assert file.transform == MOVED
    assert 0 < changed_bytes(source, moved) <= 16


def test_a_cloud_optimised_layout_stays(image, tmp_path):
    source = write_raster(image, tmp_path / "a.tif", driver="COG")
    with rasterio.open(copy_moved(source, tmp_path / "b.tif", MOVED)) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_pixels_as_points_keep_their_half_pixel(image, tmp_path):
    source = write_raster(image.assign_attrs(AREA_OR_POINT="Point"), tmp_path / "a.tif")
    with rasterio.open(source) as file:
        assert (file.tags()["AREA_OR_POINT"], file.transform) == ("Point", GRID)
    with rasterio.open(copy_moved(source, tmp_path / "b.tif", MOVED)) as file:
        assert file.transform.almost_equals(MOVED, 1e-9)


def test_rotated_files_store_a_matrix(image, tmp_path):
    rotated = Affine(9.8, 1.7, 500000, 1.7, -9.8, 5000000)
    source = write_raster(image.drop_vars(["x", "y"]).rio.write_transform(rotated), tmp_path / "a.tif")
    moved = copy_moved(source, tmp_path / "b.tif", translate(rotated, -4.25, 8.5))
    with rasterio.open(moved) as file:
        assert file.transform == translate(rotated, -4.25, 8.5)
    assert changed_bytes(source, moved) <= 16


def test_another_pixel_size_goes_through_gdal(image, tmp_path):
    source = write_raster(image, tmp_path / "a.tif")
    with rasterio.open(copy_moved(source, tmp_path / "b.tif", Affine(20, 0, 5, 0, -20, 7))) as file:
        assert file.transform == Affine(20, 0, 5, 0, -20, 7)
        np.testing.assert_array_equal(file.read(), image.values)


def test_a_place_kept_in_a_sidecar_is_moved_too(image, tmp_path):
    source = write_raster(image, tmp_path / "a.tif")
    place = "<PAMDataset><GeoTransform>1000,10,0,2000,0,-10</GeoTransform></PAMDataset>"
    (tmp_path / "a.tif.aux.xml").write_text(place)
    wanted = Affine(10, 0, 1003, 0, -10, 2004)
    with rasterio.open(copy_moved(source, tmp_path / "b.tif", wanted)) as file:
        assert file.transform == wanted


def test_a_read_only_source_gives_a_writable_copy(image, tmp_path):
    source = write_raster(image, tmp_path / "a.tif")
    source.chmod(0o444)
    assert copy_moved(source, tmp_path / "b.tif", MOVED).stat().st_mode & 0o200


def test_what_cannot_be_copied(image, tmp_path):
    source = write_raster(image, tmp_path / "a.tif")
    envi = write_raster(image, tmp_path / "a.bsq")
    with pytest.raises(NoSuchFile):
        copy_moved(tmp_path / "none.tif", tmp_path / "b.tif", MOVED)
    with pytest.raises(OptionError, match="is ENVI, not a GeoTIFF"):
        copy_moved(envi, tmp_path / "b.tif", MOVED)
    with pytest.raises(OptionError, match="is the input itself"):
        copy_moved(source, source, MOVED)


TFW = "10\n0\n0\n-10\n300005\n5900035\n"


@pytest.mark.parametrize("inside", ["neither", "crs", "transform"])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("suffixes", [(".tfw", ".prj"), (".TFW", ".PRJ"), (".wld", ".prj")])
def test_side_cars_are_in_the_moved_copy_and_in_every_format(tmp_path, inside, suffixes):
    both, source = pair((128, 128), shift=(2.0, -1.0), seed=1), tmp_path / "tgt.tif"
    ref = write_raster(both.ref, tmp_path / "ref.tif")
    known = {"crs": {"crs": "EPSG:32633"}, "transform": {"transform": GRID}}.get(inside, {})
    with rasterio.open(source, "w", driver="GTiff", height=128, width=128, count=1, dtype="uint16", **known) as file:
        file.write(both.tgt.values, 1)
    if inside != "transform":
        source.with_suffix(suffixes[0]).write_text(TFW)
    if inside != "crs":
        source.with_suffix(suffixes[1]).write_text(CRS.from_epsg(32633).to_wkt("WKT1_ESRI"))
    for name in ("copy.tif", "envi.dat", "image.png"):
        result = CliRunner().invoke(cli, ["shift", str(ref), str(source), str(tmp_path / name)])
        assert result.exit_code == 0, result.output
        with rasterio.open(tmp_path / name) as file:
            assert file.crs.to_epsg() == 32633
            assert (file.transform.c, file.transform.f) == pytest.approx((300020, 5900050), abs=0.3)
