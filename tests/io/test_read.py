"""Opening rasters."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import rasterio
from affine import Affine
from xarray import Dataset

from xcoreg.errors import CoregError, OptionError
from xcoreg.files import NoSuchFile
from xcoreg.georef import write_prj, write_world_file
from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster
from xcoreg.raster.bands import to_band
from xcoreg.raster.footprint import footprint
from xcoreg.raster.grid import grid_of
from xcoreg.raster.overview import overview_of
from xcoreg.raster.raster import make_raster


def test_native_dtype_and_marker(data_dir):
    image = open_raster(data_dir / "l9_s2_cross_zone" / "2023-10-09-22-28-02_S2_ms.tif")
    assert (image.dtype, image.rio.nodata, image.dims) == ("uint16", 0, ("band", "y", "x"))
    other = open_raster(data_dir / "l9_s2_cross_zone" / "2023-06-30-22-01-55_L9_ms.tif")
    assert (other.dtype, other.rio.nodata) == ("float32", -np.inf)


def test_envi_equals_its_geotiff_twin(data_dir):
    envi = open_raster(data_dir / "formats" / "G90292_20230514.bin")
    tiff = open_raster(data_dir / "formats" / "G90292_20230514.tif")
    for name in tiff.attrs["long_name"]:  # the twin has its bands in another order
        np.testing.assert_array_equal(to_band(envi, name), to_band(tiff, name))
    assert envi.rio.transform() == tiff.rio.transform()


def test_netcdf_by_dataset_variable_and_band(data_dir):
    path = data_dir / "formats" / "RGB.nc"
    tiff = open_raster(data_dir / "formats" / "RGB.byte.tif")
    scene = open_raster(path)
    assert isinstance(scene, Dataset)
    np.testing.assert_array_equal(scene["Band2"][0], tiff[1])
    np.testing.assert_array_equal(open_raster(path, variable="Band3")[0], tiff[2])
    np.testing.assert_array_equal(open_raster(path, band=3), tiff[2])


@pytest.mark.parametrize("name", ["RGB.byte.gcp.vrt", "RGB.byte.rpc.vrt", "rotated.tif"])
def test_files_without_a_georeference_open_in_silence(data_dir, name):
    assert open_raster(data_dir / "formats" / name).ndim == 3


def test_rotated_images_carry_no_coordinates(data_dir):
    image = open_raster(data_dir / "formats" / "rotated.tif")
    assert set(image.coords) == {"band", "spatial_ref"}
    assert image.rio.transform().b == pytest.approx(5)


def test_one_band_is_two_dimensional(data_dir):
    path = data_dir / "naip" / "m_4709963_se_14_1_20180716.tif"
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(open_raster(path, band=4), file.read(4))


@pytest.mark.parametrize("chunks", ["auto", 300, {"x": 200, "y": 100}])
def test_chunks_hold_the_same_pixels_under_stable_names(data_dir, chunks):
    path = data_dir / "naip" / "m_4709963_se_14_1_20180716.tif"
    image = open_raster(path, chunks=chunks)
    assert image.chunks is not None
    assert image.data.name == open_raster(path, chunks=chunks).data.name
    np.testing.assert_array_equal(image, open_raster(path))


def test_automatic_chunks_follow_the_blocks(tmp_path):
    path = tmp_path / "a.tif"
    options = {"driver": "GTiff", "dtype": "uint8", "count": 2, "width": 5000, "height": 5000}
    options["transform"] = rasterio.Affine(10, 0, 0, 0, -10, 0)
    with rasterio.open(path, "w", **options, tiled=True, blockxsize=512, blockysize=512, SPARSE_OK=True):
        pass
    assert open_raster(path, chunks="auto").chunks == ((1, 1), (2048, 2048, 904), (2048, 2048, 904))
    with rasterio.open(path, "w", **options, blockysize=8, SPARSE_OK=True):
        pass
    assert open_raster(path, chunks="auto").chunks[1:] == ((832,) * 6 + (8,), (5000,))


def test_given_nodata(data_dir):
    path = data_dir / "s2_known_shift" / "sen2_20210527_aber_subset.tif"
    assert open_raster(path).rio.nodata is None
    assert open_raster(path, nodata=7).rio.nodata == 7
    for value in (-1, np.nan, -np.inf, 0.5):
        with pytest.raises(OptionError, match=r"cannot occur in .* which holds uint16"):
            open_raster(path, nodata=value)
    dem = data_dir / "dem_hooker" / "refgeo_10m.tif"
    assert open_raster(dem, nodata=-np.inf).rio.nodata == -np.inf


@pytest.mark.parametrize("path", ["nowhere.tif", "/vsimem/nowhere.tif", "no/folder/a.nc"])
def test_a_missing_file(path):
    with pytest.raises(NoSuchFile, match=f"^{path} does not exist$") as caught:
        open_raster(path)
    assert isinstance(caught.value, FileNotFoundError | CoregError)


def test_what_is_no_raster(tmp_path):
    (tmp_path / "a.tif").write_text("not a raster")
    with pytest.raises(OptionError, match=r"a\.tif is not a raster that GDAL can read"):
        open_raster(tmp_path / "a.tif")


def test_a_folder_that_is_no_store(tmp_path):
    pytest.importorskip("zarr")
    with pytest.raises(OptionError, match="folder but no Zarr store"):
        open_raster(tmp_path)


def test_an_envi_header_names_the_cure(data_dir):
    with pytest.raises(OptionError, match="open its data file"):
        open_raster(data_dir / "formats" / "G90292_20230514.hdr")


def test_bands_and_variables_that_are_not_there(data_dir):
    with pytest.raises(OptionError, match=r"no band 5; it has 4 bands: 1, 2, 3, 4"):
        open_raster(data_dir / "naip" / "m_4709963_se_14_1_20180716.tif", band=5)
    with pytest.raises(OptionError, match="no variable 'Band9', but Band1, Band2, Band3"):
        open_raster(data_dir / "formats" / "RGB.nc", variable="Band9")


def test_unreachable_addresses(server):
    with pytest.raises(NoSuchFile, match=r"http://.*/a\.tif does not exist"):
        open_raster(f"{server.url}/a.tif")
    with pytest.raises(OptionError, match="cannot be opened"):
        open_raster("http://127.0.0.1:9/a.tif")


@pytest.fixture
def cog(server, image):
    """A cloud optimised file of 2000 x 2000 noisy pixels, on the web."""
    pixels = np.random.default_rng(9).integers(1, 60000, (2000, 2000)).astype("uint16")
    pixels[:, :400] = 0
    large = (
        image[0, :1, :1].squeeze(drop=True).expand_dims(y=5.9e6 - 10 * np.arange(2000), x=3e5 + 10 * np.arange(2000))
    )
    large = large.copy(data=pixels).rio.write_crs(32633).rio.write_nodata(0).assign_attrs(long_name="B2")
    write_raster(large, server.folder / "cog.tif", driver="COG", blocksize=256)
    return f"{server.url}/cog.tif", pixels


def test_a_window_of_a_web_file_fetches_its_blocks_alone(server, cog):
    url, pixels = cog
    values, _ = make_raster(open_raster(url)).read(600, 700, 1300, 1400)
    np.testing.assert_array_equal(values, pixels[600:700, 1300:1400])
    blocks = 2 * 2 * 256 * 256 * 2
    assert server.sent() < blocks + 3 * 16384
    asked = {request[1] for request in server.requests()}
    assert asked - {"/cog.tif.vat.dbf"} == {"/cog.tif"}  # GDAL 3.12 looks for a table of attributes, too


@pytest.mark.parametrize("chunks", [None, "auto"])
def test_a_look_at_a_web_file_takes_an_overview(server, cog, chunks):
    url, _ = cog
    raster = make_raster(open_raster(url, chunks=chunks))
    outline = footprint(raster, overview_of(raster))
    assert outline.area == pytest.approx(1600 * 2000 * 100, rel=0.01)
    whole = (server.folder / "cog.tif").stat().st_size
    assert server.sent() < 0.1 * whole
    raster.read_many([(at, at + 128, at, at + 128) for at in (500, 900, 1300)])
    assert server.sent() < 0.45 * whole


def write_plain(path, transform):
    options = {"driver": "GTiff", "height": 6, "width": 8, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", **options) as file:
        file.write(np.arange(48, dtype=np.uint8).reshape(1, 6, 8))
    write_world_file(path, transform)
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("turn", [Affine(10, 0, 5e5, 0, -10, 5e6), Affine(9.8, 1.7, 5e5, 1.7, -9.8, 5e6)])
def test_world_file_and_prj_beside_an_image_count(tmp_path, turn):
    path = write_plain(tmp_path / "plain.tif", turn)
    assert open_raster(path).rio.crs is None
    write_prj(path, 32633)
    image = open_raster(path)
    np.testing.assert_allclose(grid_of(image).affine, turn, atol=1e-9)
    assert grid_of(image).crs.epsg == 32633
    assert grid_of(open_raster(path, chunks=4)) == grid_of(image)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_an_empty_prj_is_unknown_and_a_wrong_one_is_told(tmp_path):
    path = write_plain(tmp_path / "plain.tif", Affine(10, 0, 5e5, 0, -10, 5e6))
    (tmp_path / "plain.prj").write_text("")
    assert open_raster(path).rio.crs is None
    (tmp_path / "plain.prj").write_text("nonsense")
    with pytest.raises(OptionError, match=r"plain\.prj cannot be read"):
        open_raster(path)


@pytest.mark.parametrize("chunks", [None, "auto"])
def test_a_server_that_fails_every_third_request_is_asked_again(bad_server, image, chunks, monkeypatch):
    monkeypatch.setattr("xcoreg.files.DELAY", 0.01)
    write_raster(image, bad_server.folder / "a.tif", blockxsize=16, blockysize=16)
    read = open_raster(f"{bad_server.url}/a.tif", chunks=chunks)
    windows = [(slice(row, row + 20), slice(row, row + 30)) for row in (40, 0, 20)]
    with dask.config.set(scheduler="threads", num_workers=4):
        for rows, cols in windows:
            assert np.array_equal(read[:, rows, cols], image[:, rows, cols])
    assert {"dropped", "cut"} & {request[0] for request in bad_server.requests()}
