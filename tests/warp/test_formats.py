"""The real files of data/formats and data/sar_gcps, georeferenced correctly."""

from __future__ import annotations

import numpy as np
import pytest

import xcoreg
from xcoreg.errors import NotGeoreferenced
from xcoreg.georef import find_georeference, read_gcps, transform_points
from xcoreg.raster.grid import grid_of
from xcoreg.warp.ground import ground_of
from xcoreg.warp.locate import locate, place

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture
def formats(data_dir):
    return data_dir / "formats"


def test_envi_equals_its_geotiff_twin(formats):
    envi, tiff = (xcoreg.open_raster(formats / f"G90292_20230514.{suffix}") for suffix in ("bin", "tif"))
    assert grid_of(envi) == grid_of(tiff)
    np.testing.assert_array_equal(envi.values, tiff.values[::-1])  # the twin has its bands in another order
    assert grid_of(tiff).affine[:6] == (20, 0, 478880, 0, -20, 6439940)


def test_the_netcdf_equals_its_geotiff(formats):
    cdf, tiff = xcoreg.open_raster(formats / "RGB.nc"), xcoreg.open_raster(formats / "RGB.byte.tif")
    np.testing.assert_allclose(grid_of(cdf).affine[:6], grid_of(tiff).affine[:6], rtol=1e-9)
    assert (grid_of(cdf).crs.epsg, grid_of(cdf).shape) == (32618, (718, 791))


def test_the_vrt_with_control_points_lies_by_them(formats):
    image = xcoreg.open_raster(formats / "RGB.byte.gcp.vrt")
    ground = ground_of(image)
    assert (ground.model, ground.crs.to_epsg(), len(ground.gcps)) == ("affine", 4326, 4)
    gcps = read_gcps(formats / "RGB.byte.gcp.vrt")
    miss = np.subtract(ground.to_map(gcps.col, gcps.row), (gcps.x, gcps.y))
    assert np.abs(miss).max() < 3e-3  # degrees: meridians converge, an affine does not
    lon, lat = place(image, [0.0], [0.0])
    assert (lon[0], lat[0]) == pytest.approx((-123.4809665720, 49.52809729107), abs=3e-3)


def test_the_rotated_raster_has_no_crs_but_a_place(formats):
    transform, crs = find_georeference(formats / "rotated.tif")
    assert crs is None
    a, d = 20 * np.cos(np.radians(30)), 20 * np.sin(np.radians(30))
    np.testing.assert_allclose(transform[:6], (a, 5, 100, d, -8.660254037844387, 200))
    image = xcoreg.open_raster(formats / "rotated.tif")
    with pytest.raises(NotGeoreferenced, match="no CRS"):
        ground_of(image)
    located = locate(image.rio.write_crs(32633), [transform @ (2.5, 7.5)], crs=32633)
    assert (located.col[0], located.row[0]) == pytest.approx((2.0, 7.0))


def test_the_ascending_latitude_counts_upwards(formats):
    image = xcoreg.open_raster(formats / "riotiler_inverted_lat.tif")
    assert grid_of(image).affine[:6] == (0.5, 0, -180, 0, 0.5, -90)
    found = locate(image, [(-179.75, -89.75), (179.75, 89.75), (540.0 - 0.25, 0.25)])
    np.testing.assert_allclose(found.col, [0, 719, 719], atol=1e-9)
    np.testing.assert_allclose(found.row, [0, 359, 180], atol=1e-9)


def test_utm_and_degrees_agree(formats):
    image = xcoreg.open_raster(formats / "RGB.byte.tif")
    lon, lat = place(image, [10.0, 700.0], [20.0, 650.0])
    x, y = transform_points(4326, 32618, lon, lat)
    np.testing.assert_allclose(locate(image, (lon, lat)).col, locate(image, (x, y), crs=32618).col, atol=1e-8)
