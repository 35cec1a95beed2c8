"""NetCDF and Zarr: what is in them, and how much memory it takes to fill them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster

FORMATS = pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
ENGINES = {"a.nc": None, "a.zarr": "zarr"}  # old xarray warns while it guesses


@pytest.fixture(autouse=True)
def _extras(request):
    name = getattr(request.node, "callspec", None)
    name = name.params.get("name", "a.zarr") if name else "a.zarr"
    pytest.importorskip({"nc": "netCDF4", "zarr": "zarr", "tif": "rasterio"}[name.rpartition(".")[2]])


@FORMATS
@pytest.mark.parametrize("lazy", [False, True])
def test_options_of_the_format_leave_nodata_and_place_alone(image, tmp_path, name, lazy):
    options = {"zlib": True} if name == "a.nc" else {"chunks": (1, 32, 32)}
    path = write_raster(image.chunk(y=32, x=32) if lazy else image, tmp_path / name, **options)
    again = open_raster(path)
    np.testing.assert_array_equal(again, image)
    assert again.rio.nodata == 0
    assert again.rio.crs == image.rio.crs
    assert again.attrs["scale_factor"] == image.attrs["scale_factor"]


@FORMATS
def test_coordinates_alone_are_enough_to_place_an_image(image, tmp_path, name):
    plain = image.drop_vars("spatial_ref").rio.write_crs(image.rio.crs)
    assert "GeoTransform" not in plain.spatial_ref.attrs
    again = open_raster(write_raster(plain, tmp_path / name))
    assert again.rio.transform().almost_equals(image.rio.transform(), 1e-6)
    with xr.open_dataset(tmp_path / name, decode_coords="all", engine=ENGINES[name]) as seen:
        assert seen.x.attrs["standard_name"] == "projection_x_coordinate"
        assert "spatial_ref" in seen.coords
    assert "standard_name" not in image.x.attrs


@FORMATS
def test_what_is_masked_and_scaled_is_stored_as_counts(image, tmp_path, name):
    first = write_raster(image, tmp_path / "a.tif")
    import rioxarray

    scaled = rioxarray.open_rasterio(first, mask_and_scale=True, chunks={"x": 40, "y": 32})
    again = open_raster(write_raster(scaled, tmp_path / name))
    assert again.dtype == "uint16"
    np.testing.assert_array_equal(again, image)


@FORMATS
@pytest.mark.parametrize("dtype", ["float16", "bool", "int64", "float64"])
@pytest.mark.parametrize("order", [("band", "y", "x"), ("y", "x", "band")])
def test_any_order_of_dimensions_and_any_type(image, tmp_path, name, dtype, order):
    plain = image.drop_attrs().drop_vars("band").astype(dtype).transpose(*order).chunk(y=17, x=33)
    write_raster(plain, tmp_path / name)
    opener = xr.open_zarr if name == "a.zarr" else xr.open_dataset
    with opener(tmp_path / name, decode_coords="all") as again:
        assert again["image"].dims == order
        np.testing.assert_array_equal(again["image"], plain)


@FORMATS
def test_times_bands_and_other_variables_are_kept(image, tmp_path, name):
    scene = xr.Dataset({"cube": image.expand_dims(time=np.array(["2026-01-01", "2026-01-09"], "M8[ns]")).chunk(x=40)})
    scene["quality"] = image[0].drop_vars("band").chunk(y=20) > 9
    scene["line_time"] = ("y", np.arange(70.0))
    scene["line_time"] = scene.line_time.chunk(y=20)
    write_raster(scene, tmp_path / name)
    with xr.open_dataset(tmp_path / name, decode_coords="all", mask_and_scale=False, engine=ENGINES[name]) as again:
        np.testing.assert_array_equal(again.cube, scene.cube)
        np.testing.assert_array_equal(again.quality.astype(bool), scene.quality)
        np.testing.assert_array_equal(again.line_time, scene.line_time)
        np.testing.assert_array_equal(again.time, scene.time)


@FORMATS
@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("uint8", 255), ("int16", -32767), ("uint16", 65535), ("int32", -2147483647), ("uint32", 2**32 - 1)],
)
def test_no_value_of_an_image_without_nodata_is_lost(image, tmp_path, name, dtype, fill):
    plain = image.drop_attrs().astype(dtype)
    plain = plain.rio.write_crs(image.rio.crs).rio.write_transform(image.rio.transform())
    assert plain.rio.nodata is None
    plain[0, 0, 0] = fill
    again = open_raster(write_raster(plain, tmp_path / name))
    assert again.rio.nodata is None
    np.testing.assert_array_equal(again, plain)
    marked = open_raster(write_raster(plain.rio.write_nodata(fill), tmp_path / f"marked{name}"))
    assert marked.rio.nodata == fill
    two = xr.Dataset({"one": plain[0].drop_vars("band"), "two": plain[1].drop_vars("band").rio.write_nodata(fill)})
    again = open_raster(write_raster(two, tmp_path / f"two{name}"))
    assert (again["one"].rio.nodata, again["two"].rio.nodata) == (None, fill)


@pytest.mark.parametrize("name", ["a.nc", "a.tif"])
@pytest.mark.parametrize("chunks", [None, "auto"])
def test_a_file_that_was_replaced_is_read_anew(image, tmp_path, name, chunks):
    kept = []
    for number in range(3):  # with the older ones still open
        write_raster(image + np.uint16(number), tmp_path / name)
        kept.append(open_raster(tmp_path / name, chunks=chunks))
        np.testing.assert_array_equal(kept[-1], image + np.uint16(number))
    again = open_raster(tmp_path / name, chunks=chunks)
    if chunks:
        assert again.data.name == kept[-1].data.name
        assert again.data.name != kept[0].data.name


def test_a_zarr_store_tells_everything_in_one_place(image, tmp_path):
    write_raster(image.chunk(y=32, x=40), tmp_path / "a.zarr")
    new, old = (tmp_path / "a.zarr" / each for each in ("zarr.json", ".zmetadata"))  # of Zarr 3 and 2
    if new.exists():
        told = json.loads(new.read_text())["consolidated_metadata"]["metadata"]
    else:
        told = {name.removesuffix("/.zarray") for name in json.loads(old.read_text())["metadata"] if "zarray" in name}
    assert set(told) == {"image", "band", "x", "y", "spatial_ref"}
    with xr.open_zarr(tmp_path / "a.zarr") as again:
        assert again["image"].encoding["chunks"] == (3, 32, 40)


def test_chunks_of_a_netcdf_file_fit_into_those_of_the_image(image, tmp_path):
    netcdf = pytest.importorskip("netCDF4")
    large = image[0].drop_vars("band").pad(y=(0, 1930), x=(0, 1910), constant_values=0).drop_vars(["x", "y"])
    large = large.assign_coords(y=-10.0 * np.arange(2000), x=10.0 * np.arange(2000)).astype("uint8")
    write_raster(large.chunk(y=1536, x=1100), tmp_path / "a.nc")
    with netcdf.Dataset(tmp_path / "a.nc") as file:
        assert file["image"].chunking() == [512, 275]


WRITE = """
import resource, sys
import dask.array as da
import numpy as np
import rioxarray
from affine import Affine
from xarray import DataArray
import xcoreg
from xcoreg.io import stream
from xcoreg.io.write import write_raster
from xcoreg.simulate import pair

path, width = sys.argv[1], int(sys.argv[2])
stream._MEMORY = 10_000_000
both = pair((128, 128), shift=(0.6, -0.4), seed=1)
fit = both.tgt.coreg.match(both.ref)
pixels = da.ones((2048, width), chunks=512, dtype="uint16").map_blocks(np.multiply, np.uint16(7), dtype="uint16")
grid = both.ref.rio.transform()
image = DataArray(pixels, dims=("y", "x")).rio.write_crs(both.ref.rio.crs).rio.write_transform(grid)
y, x = grid.f + grid.e * (np.arange(2048) + 0.5), grid.c + grid.a * (np.arange(width) + 0.5)
image = image.assign_coords(y=y, x=x)
fixed = image.coreg.apply(fit, align_grid=True, resampling="nearest")
write_raster(fixed, path)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 if sys.platform == "darwin" else 1024))
"""


def peak_of(path, width):
    """Largest memory in MB of a program that writes a scene of computed pixels."""
    run = subprocess.run([sys.executable, "-c", WRITE, path, str(width)], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of memory is not told there")
@FORMATS
def test_memory_does_not_grow_with_the_scene(tmp_path, name):
    narrow, wide = (peak_of(tmp_path / name, width) for width in (8192, 32768))
    assert wide - narrow < 45  # MB; the pixels of the wide scene take 134
