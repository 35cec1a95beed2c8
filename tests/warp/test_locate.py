"""Points in images, however the image is georeferenced."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from xarray import DataArray, Dataset

import xcoreg
from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.georef import Corners, GCPs, fit_gcps, read_rpcs, transform_points
from xcoreg.warp.locate import locate, place

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SWATH = Corners((-52, -68), (-47, -68.3), (-47.6, -70.2), (-53, -69.9), plane="EPSG:3412")


@pytest.fixture
def image():
    """Values are 1000 row + col, 10 m pixels in UTM 33; the first pixel is missing."""
    row, col = np.mgrid[:60, :80]
    values = (1000 * row + col).astype(np.float32)
    values[0, 0] = -1
    coords = {"y": 5000000 - 5.0 - 10.0 * np.arange(60), "x": 500000 + 5.0 + 10.0 * np.arange(80)}
    return DataArray(values, coords, ("y", "x")).rio.write_crs(32633).rio.write_nodata(-1)


def test_seed_3_gives_the_table():
    points = [(-50, -68.5, 31.0), (-48, -69.5, 22.0), (-45, -70, 8.0)]
    found = locate(None, points, ground=SWATH)
    assert found.inside.tolist() == [True, True, False]
    expected = [[0.431580253, 0.184403877, 31.0], [0.881410337, 0.645312532, 22.0]]
    np.testing.assert_allclose(found.table(), expected, atol=6e-10)
    np.testing.assert_allclose((found.col[2], found.row[2]), (1.455556866, 0.848980446), atol=6e-10)
    lon, lat = place(None, found.col, found.row, ground=SWATH)
    np.testing.assert_allclose(np.stack([lon, lat], axis=-1), np.array(points)[:, :2], atol=1e-9)


def test_pixels_values_and_the_inside_flag(image):
    col, row = np.array([0.0, 10.4, 79.5, 79.6, 5.0]), np.array([0.0, 20.4, 59.5, 10.0, np.nan])
    x, y = 500005 + 10 * col, 4999995 - 10 * row
    found = locate(image, (x, y), crs=32633)
    np.testing.assert_allclose(found.col[:4], col[:4], atol=1e-9)
    assert found.inside.tolist() == [True, True, True, False, False]
    np.testing.assert_array_equal(found.value, [np.nan, 20010, 59079, np.nan, np.nan])


@pytest.mark.parametrize("kernel", ["bilinear", "cubic"])
def test_values_between_pixels(image, kernel):
    found = locate(image, [(500005 + 104.0, 4999995 - 204.0)], crs=32633, resampling=kernel)
    np.testing.assert_allclose(found.value, 20400 + 10.4, rtol=1e-6)
    assert locate(image, [(15.0, 45.0)], resampling=None).value is None


def test_lonlat_by_default_normalized_and_back(image):
    lon, lat = place(image, [7.5, 39.5], [14.5, 29.5])
    found = locate(image, {"lon": lon, "lat": lat}, normalized=True)
    np.testing.assert_allclose(found.col, [0.1, 0.5], atol=1e-9)
    np.testing.assert_allclose(found.row, [0.25, 0.5], atol=1e-9)
    back = place(image, found.col, found.row, normalized=True)
    np.testing.assert_allclose(back, (lon, lat), atol=1e-11)
    assert {"u", "v", "value"} <= set(found.to_dict())


def test_tables_of_every_kind(image):
    pd = pytest.importorskip("pandas")
    gpd = pytest.importorskip("geopandas")
    lon, lat = place(image, [3.0, 4.0], [5.0, 6.0])
    table = pd.DataFrame({"Lon": lon, "Lat": lat, "height": [1.0, 2.0]})
    found = locate(image, table)
    assert found.value.tolist() == [5003.0, 6004.0]
    assert found.carried.tolist() == [1.0, 2.0]
    x, y = transform_points(4326, 32632, lon, lat)
    assert locate(image, gpd.GeoDataFrame(geometry=gpd.points_from_xy(x, y), crs=32632)).value.tolist() == [
        5003.0,
        6004.0,
    ]
    assert list(found.to_dataframe().columns) == ["x", "y", "col", "row", "inside", "value", "carried"]


@pytest.mark.parametrize("model", ["affine", "polynomial", "homography", "tps"])
def test_an_image_with_control_points(image, model):
    at = np.random.default_rng(1).uniform(0, 60, (2, 30))
    gcps = GCPs(at[0], at[1], 500005 + 10 * at[0], 4999995 - 10 * at[1], crs=32633)
    bare = DataArray(image.values, dims=("y", "x"))
    found = locate(bare, [(500005 + 104.0, 4999995 - 204.0)], crs=32633, ground=fit_gcps(gcps, model))
    np.testing.assert_allclose((found.col[0], found.row[0], found.value[0]), (10.4, 20.4, 20010), atol=1e-5)


def test_an_image_with_rpcs(data_dir):
    path = data_dir / "formats" / "RGB.byte.rpc.vrt"
    image = xcoreg.open_raster(path)
    ground = read_rpcs(path, 100.0)
    lon, lat = ground.to_map([300.0, 400.0], [350.0, 400.0])
    found = locate(image, (lon, lat), height=100.0, band=2)
    np.testing.assert_allclose(found.col, [300.0, 400.0], atol=1e-5)
    assert found.value.tolist() == image.sel(band=2).values[[350, 400], [300, 400]].tolist()


def test_the_real_swath(data_dir):
    image = xcoreg.open_raster(data_dir / "sar_gcps" / "rio-tiler_S1A_IW_GRDH_20180716_iw-vv.tiff")
    lon, lat = place(image, [100, 640], [100, 420])
    found = locate(image, (lon, lat))
    np.testing.assert_allclose(found.col, [100, 640], atol=1e-6)
    assert found.value.tolist() == image.values[0, [100, 420], [100, 640]].tolist()


def test_lazy_images_and_datasets(image):
    lazy = Dataset({"a": image.chunk(16), "b": (image + 1).rio.write_crs(32633).chunk(16)})
    points = (500005 + 10 * np.arange(1, 60.0), 4999995 - 10 * np.arange(1, 60.0))
    found = locate(lazy, points, crs=32633, band="b")
    np.testing.assert_array_equal(found.value, 1001 * np.arange(1, 60) + 1)


def test_large_images_are_read_in_parts():
    import dask.array as da

    read = []

    def make(block_info):
        place = block_info[None]["chunk-location"]
        read.append(place)
        return np.full((2048, 2048), 10.0 * place[0] + place[1], np.float32)

    data = da.map_blocks(make, chunks=((2048,) * 4, (2048,) * 4), dtype=np.float32, meta=np.empty((0, 0), np.float32))
    big = DataArray(data, dims=("y", "x")).rio.write_crs(32633).rio.write_transform(Affine(10, 0, 5e5, 0, -10, 5e6))
    col, row = np.array([100.0, 7000.0, 7001.0]), np.array([100.0, 5000.0, 5001.0])
    found = locate(big, (500005 + 10 * col, 4999995 - 10 * row), crs=32633)
    assert found.value.tolist() == [0.0, 23.0, 23.0]
    assert set(read) == {(0, 0), (2, 3)}


def test_refusals(image):
    bare = DataArray(image.values, dims=("y", "x"))
    with pytest.raises(NotGeoreferenced):
        locate(bare, [(1, 2)])
    with pytest.raises(OptionError, match="there is no georeference"):
        locate(None, [(1, 2)])
    with pytest.raises(OptionError, match="rows of x, y"):
        locate(image, np.zeros((3, 5)))
    with pytest.raises(OptionError, match="needed are lon, lat"):
        locate(image, {"a": [1], "b": [2]})
    with pytest.raises(OptionError, match="resampling"):
        locate(image, [(1, 2)], resampling="sinc")
    with pytest.raises(OptionError, match="2 x and 3 y"):
        locate(image, (np.zeros(2), np.zeros(3)))
    with pytest.raises(OptionError, match="unknown"):
        locate(image, [(1, 2)], ground=GCPs([0, 9, 0], [0, 0, 9], [0, 9, 0], [0, 0, 9]))


def test_a_million_points_take_little(image, effort):
    rng = np.random.default_rng(1)
    lon, lat = place(image, rng.uniform(0, 79, 1_000_000), rng.uniform(0, 59, 1_000_000))
    assert locate(image, (lon, lat)).inside.all()
    took = effort(lambda: locate(image, (lon, lat)))
    assert took.calls < 30_000  # 11 000: none is done for one point alone; benchmarks/georef.py measures seconds
    assert took.megabytes < 60  # 27, of which the answer is 25
