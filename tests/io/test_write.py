"""Writing images."""

from __future__ import annotations

import os
import tracemalloc

import dask
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio._env import get_gdal_config
from xarray import DataArray, Dataset

from xcoreg.errors import OptionError
from xcoreg.io import write
from xcoreg.io.formats import driver_for
from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster

ROTATED = Affine(9.8, 1.7, 500000, 1.7, -9.8, 5000000)


def assert_same(one, two):
    assert one.dtype == two.dtype
    np.testing.assert_array_equal(one.values, two.values)
    assert one.rio.crs == two.rio.crs
    assert one.rio.transform().almost_equals(two.rio.transform(), 1e-6)
    assert one.rio.nodata == two.rio.nodata


FORMATS = ["a.tif", "a.bsq", "a.bil", "a.bip", "a.img", "a.jp2", "a.png", "a.nc", "a.zarr"]


def needs(name):
    """Skip where the extra that writes this format is not installed."""
    if name.endswith((".nc", ".zarr")):
        pytest.importorskip({"nc": "netCDF4", "zarr": "zarr"}[name.rpartition(".")[2]])


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_read_again(image, tmp_path, name):
    needs(name)
    path = write_raster(image, tmp_path / name)
    again = open_raster(path)
    assert_same(again, image)
    assert again.attrs["long_name"] == ("B2", "B3", "B4")


@pytest.mark.parametrize("name", ["a.tif", "a.bsq", "a.nc", "a.zarr"])
def test_dask_images_are_written_alike(image, tmp_path, name):
    needs(name)
    path = write_raster(image.chunk(y=32, x=40), tmp_path / name)
    assert_same(open_raster(path), image)


@pytest.fixture
def large():
    """Three bands that fill several tiles."""
    pixels = np.random.default_rng(6).integers(1, 4000, (3, 1100, 1300)).astype("uint16")
    made = DataArray(pixels, dims=("band", "y", "x")).rio.write_crs("EPSG:32633")
    return made.assign_coords(y=5.9e6 - 10 * np.arange(1100), x=3e5 + 10 * np.arange(1300))


@pytest.mark.parametrize("options", [{}, {"tiled": "no"}, {"interleave": "band"}, {"driver": "COG"}])
def test_tiles_are_the_same_bytes_whoever_computes_them(large, tmp_path, options):
    path = write_raster(large, tmp_path / "a.tif", **options)
    np.testing.assert_array_equal(open_raster(path), large)
    made = []
    for number, (chunks, scheduler) in enumerate([(256, "threads"), (256, "synchronous"), (700, "threads")]):
        with dask.config.set(scheduler=scheduler):
            lazy = large.chunk(y=chunks, x=chunks)
            made.append(write_raster(lazy, tmp_path / f"{number}.tif", **options))
        np.testing.assert_array_equal(open_raster(made[-1]), large)
    assert made[0].read_bytes() == made[1].read_bytes()


def test_variables_of_other_chunks_become_bands_of_one_file(large, tmp_path):
    scene = Dataset(
        {"red": large[0].chunk(x=300), "nir": large[1].chunk(y=512, x=512), "both": large[1:].chunk(band=1)}
    )
    np.testing.assert_array_equal(open_raster(write_raster(scene, tmp_path / "a.tif")), large[[0, 1, 1, 2]])


def test_metadata_survive(image, tmp_path):
    path = write_raster(image, tmp_path / "a.tif")
    with rasterio.open(path) as file:
        assert file.scales == (1e-4,) * 3
        assert file.offsets == (-0.1,) * 3
        assert file.descriptions == ("B2", "B3", "B4")
        assert file.tags()["sensor"] == "MSI"
        assert "long_name" not in file.tags()


def test_an_envi_header_does_not_travel(image, tmp_path):
    first = open_raster(write_raster(image, tmp_path / "a.bsq"))
    assert "map_info" in first.attrs
    with rasterio.open(write_raster(first, tmp_path / "b.tif")) as file:
        assert "map_info" not in file.tags()


def test_masked_and_scaled_images_go_back_to_counts(image, tmp_path):
    import rioxarray

    first = write_raster(image, tmp_path / "a.tif")
    scaled = rioxarray.open_rasterio(first, mask_and_scale=True)
    assert scaled.dtype.kind == "f"
    assert_same(open_raster(write_raster(scaled, tmp_path / "b.tif")), image)


def test_a_cloud_optimised_file(image, tmp_path):
    large = image.pad(y=(0, 800), x=(0, 800), constant_values=0)
    large = large.assign_coords(y=5900035 - 10.0 * np.arange(870), x=300005 + 10.0 * np.arange(890))
    path = write_raster(large.rio.write_nodata(0), tmp_path / "a.tif", driver="COG")
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2]


def test_variables_become_bands(image, tmp_path):
    scene = Dataset({"red": image[0].drop_vars("band"), "nir": image[1].drop_vars("band")})
    again = open_raster(write_raster(scene, tmp_path / "a.tif"))
    np.testing.assert_array_equal(again, image[:2])


def test_variables_of_two_dtypes_need_another_format(image, tmp_path):
    scene = Dataset({"red": image[0], "mask": image[0].astype("uint8")})
    with pytest.raises(OptionError, match="red: uint16, mask: uint8: write its variables one by one"):
        write_raster(scene, tmp_path / "a.tif")


def test_a_cube_of_times_needs_another_format(image, tmp_path):
    cube = image.expand_dims(time=[1, 2])
    with pytest.raises(OptionError, match=r"da\.isel"):
        write_raster(cube, tmp_path / "a.tif")


@pytest.mark.parametrize(("dtype", "stored"), [("bool", "uint8"), ("float16", "float32"), ("int64", "int64")])
def test_dtypes_gdal_does_not_know(image, tmp_path, dtype, stored):
    plain = image.astype(dtype).drop_attrs()
    with rasterio.open(write_raster(plain, tmp_path / "a.tif")) as file:
        assert file.dtypes == (stored,) * 3
        np.testing.assert_array_equal(file.read(), plain.values)


def test_creation_options_in_any_case(image, tmp_path):
    with rasterio.open(write_raster(image, tmp_path / "a.tif", COMPRESS="lzw", tiled="no")) as file:
        assert file.compression.name == "lzw"
        assert not file.profile["tiled"]
    with pytest.raises(OptionError, match="omit these creation options"):
        write_raster(image, tmp_path / "a.tif", dtype="uint8")


def test_rotated_transforms_are_kept_or_refused(image, tmp_path):
    rotated = image.drop_vars(["x", "y"]).rio.write_transform(ROTATED)
    assert open_raster(write_raster(rotated, tmp_path / "a.tif")).rio.transform().almost_equals(ROTATED)
    skewed = rotated.rio.write_transform(Affine(9, 3, 0, 1, -9, 0))
    for name, sentence in (("a.bsq", "ENVI cannot store the transform"), ("a.nc", "1-D coordinates")):
        with pytest.raises(OptionError, match=sentence):
            write_raster(skewed, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("name", ["a.jp2", "a.png"])
def test_a_dtype_the_format_does_not_hold(image, tmp_path, name):
    with pytest.raises(OptionError, match=r"JP2|PNG"):
        write_raster(image.astype("float32"), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_formats_by_name(tmp_path):
    assert driver_for(tmp_path / "a.xyz", "envi") == "ENVI"
    with pytest.raises(OptionError, match=r"'\.qqq' .* names no format"):
        driver_for(tmp_path / "a.qqq")
    with pytest.raises(OptionError, match="'Nonsense' is not a format"):
        driver_for(tmp_path / "a.tif", "Nonsense")
    with pytest.raises(OptionError, match="'VRT' is not a format"):
        driver_for(tmp_path / "a.vrt")


def test_lazy_images_are_written_in_pieces(tmp_path):
    path = tmp_path / "large.tif"
    options = {"driver": "GTiff", "dtype": "uint16", "count": 1, "width": 8000, "height": 8000, "crs": "EPSG:32633"}
    with rasterio.open(path, "w", **options, transform=ROTATED, tiled=True, SPARSE_OK=True):
        pass
    image = open_raster(path)
    tracemalloc.start()
    write_raster(image, tmp_path / "copy.tif", num_threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80_000_000 < image.nbytes


def test_a_failing_computation_leaves_nothing(image, tmp_path):
    (tmp_path / "a.tif").write_text("old")

    def fail(block):
        raise RuntimeError("no")

    broken = image.copy(data=image.chunk(y=20).data.map_blocks(fail, dtype="uint16", meta=image.values[:0]))
    with pytest.raises(OptionError, match="RuntimeError: no"), dask.config.set(scheduler="synchronous"):
        write_raster(broken, tmp_path / "a.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert (tmp_path / "a.tif").read_text() == "old"


@pytest.mark.parametrize("name", ["b.tif", "b.nc", "b.zarr"])
def test_a_damaged_source_is_to_blame_not_the_output(large, tmp_path, name):
    needs(name)
    path = write_raster(large, tmp_path / "a.tif")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(OptionError, match=r"^\S*a\.tif cannot be read, it may be damaged: .*band"):
        write_raster(open_raster(path, chunks="auto"), tmp_path / name)
    assert [made.name for made in tmp_path.iterdir()] == ["a.tif"]


def test_old_sidecars_do_not_speak_for_the_new_file(image, tmp_path):
    path = write_raster(image, tmp_path / "a.tif")
    stale = "<PAMDataset><GeoTransform>1,2,0,3,0,-2</GeoTransform></PAMDataset>"
    (tmp_path / "a.tif.aux.xml").write_text(stale)
    write_raster(image, path)
    assert_same(open_raster(path), image)


def test_an_output_that_is_the_input(image, tmp_path):
    path = write_raster(image, tmp_path / "a.tif")
    with pytest.raises(OptionError, match="is the input itself"):
        write_raster(open_raster(path), tmp_path / "x" / ".." / "a.tif" if os.name == "nt" else path)


def test_overwriting_can_be_forbidden(image, tmp_path):
    needs("a.zarr")
    path = write_raster(image, tmp_path / "a.zarr")
    write_raster(image + 1, path)
    assert open_raster(path).values[0, 0, 0] == 1
    with pytest.raises(OptionError, match="exists"):
        write_raster(image, path, overwrite=False)


@pytest.mark.parametrize("driver", ["GTiff", "COG"])
@pytest.mark.parametrize("option", [{"compress": "wrong"}, {"nonsense": 1}])
def test_creation_options_that_gdal_ignores_are_refused(image, tmp_path, driver, option):
    with pytest.raises(OptionError, match="creation option"):
        write_raster(image, tmp_path / "a.tif", driver=driver, **option)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("said", [None, 77])
def test_the_cache_of_gdal_is_bounded_unless_the_user_says_how(tmp_path, monkeypatch, said):
    seen, strips = [], write._blocks

    def watched(*args):
        seen.append(get_gdal_config("GDAL_CACHEMAX"))
        return strips(*args)

    monkeypatch.setattr(write, "_blocks", watched)
    before = get_gdal_config("GDAL_CACHEMAX")
    image = DataArray(np.zeros((20, 30), "u1"), dims=("y", "x")).rio.write_crs("EPSG:32633")
    with rasterio.Env(**({} if said is None else {"GDAL_CACHEMAX": said})):
        write.write_raster(image, tmp_path / "a.tif")
    assert seen == [write._CACHE if said is None else said]
    assert get_gdal_config("GDAL_CACHEMAX") == before
