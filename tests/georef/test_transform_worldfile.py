"""World files, .prj files and geotransforms against the numbers of the seed documents."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS

from xcoreg.errors import OptionError
from xcoreg.georef import (
    epsg_of,
    find_georeference,
    from_geotransform,
    lonlat_to_pixel,
    map_to_pixel,
    pixel_to_lonlat,
    pixel_to_map,
    read_prj,
    read_world_file,
    to_geotransform,
    write_prj,
    write_world_file,
)
from xcoreg.georef.transform import world_file

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

PLAIN = (590000, 20, 0, 4928000, 0, -20)
ROTATED = (500000, 9.8, 1.7, 5000000, 1.7, -9.8)


def bare_tif(path):
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", count=1, width=4, height=3) as file:
        file.write(np.ones((1, 3, 4), np.uint8))
    return path


def test_geotransforms_of_the_seeds():
    plain = from_geotransform(PLAIN)
    assert plain @ (950, 700) == (609000, 4914000)
    assert [float(v) for v in pixel_to_map(plain, 0, 0)] == [590010, 4927990]
    assert np.floor(np.array(~plain @ (590020, 4927980))).tolist() == [1, 1]
    other = from_geotransform((1868454.913, 30, 0, 5353126.266, 0, -30))
    assert [float(v) for v in pixel_to_map(other, 0, 0)] == [1868469.913, 5353111.266]
    col, row = map_to_pixel(from_geotransform(ROTATED), 500250, 4999100)
    assert (col + 0.5, row + 0.5) == pytest.approx((9.2995047, 93.4499141), abs=5e-8)
    assert to_geotransform(from_geotransform(ROTATED)) == ROTATED


@pytest.mark.parametrize("numbers", [(1, 2, 3), (0, 1, 1, 0, 1, 1), (np.nan, 1, 0, 0, 0, 1)])
def test_what_is_no_geotransform_is_refused(numbers):
    with pytest.raises(OptionError, match="geotransform"):
        from_geotransform(numbers)


def test_pixels_in_longitude_and_latitude_and_back():
    transform = Affine(10, 0, 354218, 0, -10, 5805564)
    lon, lat = pixel_to_lonlat(transform, "EPSG:32633", 0, 0)
    assert (float(lon), float(lat)) == pytest.approx((12.858185560, 52.380863991), abs=5e-10)
    np.testing.assert_allclose(lonlat_to_pixel(transform, "EPSG:32633", lon, lat), 0, atol=1e-7)


@pytest.mark.parametrize(
    ("numbers", "lines"),
    [(PLAIN, "20 0 0 -20 590010 4927990"), (ROTATED, "9.8 1.7 1.7 -9.8 500005.75 4999995.95")],
)
def test_world_files_of_the_seeds_there_and_back(tmp_path, numbers, lines):
    transform = from_geotransform(numbers)
    path = write_world_file(tmp_path / "a.tif", transform)
    assert path.name == "a.tfw"
    assert path.read_text().split() == lines.split()
    np.testing.assert_allclose(tuple(read_world_file(path)), tuple(transform), rtol=1e-15)


@pytest.mark.parametrize("name", ["a.tfw", "a.tifw", "a.TFW", "a.wld"])
def test_a_world_file_is_found_under_every_name_gdal_knows(tmp_path, name):
    write_world_file(tmp_path / name, from_geotransform(PLAIN))
    assert world_file(tmp_path / "a.tif").is_file()
    assert read_world_file(tmp_path / "a.tif") == from_geotransform(PLAIN)


@pytest.mark.parametrize(
    ("image", "name"), [("a.jpg", "a.jgw"), ("a.png", "a.pgw"), ("a.bin", "a.wld"), ("a", "a.wld")]
)
def test_a_world_file_is_named_after_its_image(image, name):
    assert world_file(image).name == name


def test_gdal_reads_the_world_file(tmp_path):
    path = bare_tif(tmp_path / "a.tif")
    write_world_file(path, from_geotransform(ROTATED))
    with rasterio.open(path) as file:
        np.testing.assert_allclose(file.transform.to_gdal(), ROTATED, rtol=1e-15)


@pytest.mark.parametrize("text", ["1 2 3", "20 0 0 x 1 1", "1 1 1 1 0 0", "20\n0\n0\nnan\n1\n1"])
def test_a_broken_world_file_is_refused(tmp_path, text):
    (tmp_path / "a.tfw").write_text(text)
    with pytest.raises(OptionError, match=r"a\.tfw"):
        read_world_file(tmp_path / "a.tif")


def test_a_missing_world_file_is_named(tmp_path):
    with pytest.raises(OptionError, match="no world file"):
        read_world_file(tmp_path / "a.tif")


def test_decimal_commas(tmp_path):
    (tmp_path / "a.jgw").write_text("0,5\n0\n0\n-0,5\n10,25\n19,75\n")
    assert read_world_file(tmp_path / "a.jpg") == Affine(0.5, 0, 10, 0, -0.5, 20)


@pytest.mark.parametrize("code", [32633, 32058, 4326, 27700])
def test_prj_there_and_back_as_esri_wkt(tmp_path, code):
    path = write_prj(tmp_path / "a.tif", code)
    assert path.read_text().startswith(("PROJCS", "GEOGCS"))
    assert "AUTHORITY" not in path.read_text()
    assert epsg_of(read_prj(tmp_path / "a.tif")) == code


def test_a_crs_without_words_in_esri_wkt_is_refused(tmp_path):
    with pytest.raises(OptionError, match="unknown"):
        write_prj(tmp_path / "a.prj", "")


def test_both_files_beside_an_image_are_found_and_the_image_wins(tmp_path):
    path = bare_tif(tmp_path / "a.tif")
    assert find_georeference(path) == (None, None)
    write_world_file(path, from_geotransform(PLAIN))
    write_prj(path, "EPSG:26713")
    transform, crs = find_georeference(path)
    assert (transform, crs.to_epsg()) == (from_geotransform(PLAIN), 26713)
    with rasterio.open(path, "r+") as file:
        file.crs = CRS(32613).to_wkt()
    assert find_georeference(path)[1].to_epsg() == 32613


def test_aux_xml_is_read_through_gdal(tmp_path):
    path = tmp_path / "a.png"
    with rasterio.open(path, "w", driver="PNG", dtype="uint8", count=1, width=4, height=3, crs=32613) as file:
        file.write(np.ones((1, 3, 4), np.uint8))
        file.transform = from_geotransform(PLAIN)
    assert (tmp_path / "a.png.aux.xml").is_file()
    transform, crs = find_georeference(path)
    assert (transform, crs.to_epsg()) == (from_geotransform(PLAIN), 32613)
