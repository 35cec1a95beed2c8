"""Images with geolocation arrays: treated as those with control points, interpolated once, to a tenth of a pixel."""

from __future__ import annotations

import json

import dask
import numpy as np
import pytest
import rasterio
import rasterio.warp
from affine import Affine
from click.testing import CliRunner
from scipy.ndimage import map_coordinates
from xarray import DataArray, Dataset, open_dataset

import xcoreg
from xcoreg.cli import cli
from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.georef import transform_points
from xcoreg.raster.grid import grid_of, needs_rectifying
from xcoreg.simulate import pair
from xcoreg.warp.ground import ground_of
from xcoreg.warp.rectify import rectify

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SHIFT = (2.4, -1.3)
CURVED = Affine(9.7, 2.5, 300100, 2.2, -9.6, 5899400)


def curved(col, row):
    """Map coordinates of pixels of a turned and bent swath; an integer is the centre of a pixel."""
    x, y = CURVED @ (col, row)
    return x + 1e-3 * row**2, y - 2e-3 * col * row


@pytest.fixture(scope="module")
def scene():
    return pair((400, 400), shift=SHIFT, seed=1)


@pytest.fixture(scope="module")
def swath(scene):
    """The target's brightness, seen through the geometry of a swath, and longitudes and latitudes of the pixels."""
    row, col = np.mgrid[:260, :280].astype(float)
    x, y = curved(col, row)
    at = (scene.tgt.y[0].item() - y) / 10, (x - scene.tgt.x[0].item()) / 10
    values = map_coordinates(scene.tgt.values.astype(float), at, cval=np.nan)
    return values.astype(np.float32), *transform_points(32633, 4326, x, y)


def as_coordinates(swath, dims=("y", "x"), names=("lon", "lat"), attrs=({}, {})):
    values, lon, lat = swath
    coords = {name: (dims, place, each) for name, place, each in zip(names, (lon, lat), attrs, strict=True)}
    return DataArray(values, dims=dims, coords=coords, name="radiance")


CF = {"standard_name": "longitude"}, {"standard_name": "latitude"}
UNITS = {"units": "degrees_east"}, {"units": "degrees_north"}
KINDS = {
    "lon, lat": {},
    "names of a model": {"names": ("nav_lon", "nav_lat")},
    "standard names": {"names": ("a", "b"), "attrs": CF},
    "units": {"names": ("a", "b"), "attrs": UNITS},
    "dimensions without a name for them": {"dims": ("along_track", "across_track")},
}


def assert_target(image, scene):
    """The image is the target, resampled: no shift is left between them."""
    left = image.coreg.match(scene.tgt, window=128)
    assert abs(left.shift.dcol) < 0.1
    assert abs(left.shift.drow) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_coordinates_of_every_name(swath, scene, kind):
    image = as_coordinates(swath, **KINDS[kind])
    assert needs_rectifying(image)
    out = rectify(image, crs="EPSG:32633", resolution=10)
    assert (out.dims, grid_of(out).crs.epsg, set(out.coords)) == (("y", "x"), 32633, {"y", "x", "spatial_ref"})
    assert_target(out, scene)


@pytest.mark.parametrize("turn", [{}, {"y": -1}, {"x": -1}, {"x": -1, "y": -1}], ids=str)
def test_either_scan_direction(swath, scene, turn):
    image = as_coordinates(swath).isel({dim: slice(None, None, step) for dim, step in turn.items()})
    assert_target(rectify(image, like=scene.tgt), scene)


def test_of_a_dataset_every_band_and_no_coordinate(swath, scene):
    values, lon, lat = swath
    dims = ("rows", "cols")
    image = Dataset({"latitude": (dims, lat), "longitude": (dims, lon), "b1": (dims, values), "b2": (dims, -values)})
    out = image.coreg.rectify(crs="EPSG:32633", resolution=10)
    assert set(out.data_vars) == {"b1", "b2"}
    assert_target(out.b1, scene)
    fixed = image.set_coords(["latitude", "longitude"]).coreg.shift_to(scene.ref, band="b1", like=scene.ref)
    assert grid_of(fixed) == grid_of(scene.ref)


def test_projected_coordinates_need_their_crs(swath, scene):
    values, lon, lat = swath
    x, y = transform_points(4326, 32633, lon, lat)
    image = DataArray(values, dims=("y", "x"), coords={"xc": (("y", "x"), x), "yc": (("y", "x"), y)})
    with pytest.raises(NotGeoreferenced):
        grid_of(image)
    with pytest.raises(NotGeoreferenced):
        rectify(image)
    assert_target(rectify(image.rio.write_crs(32633), resolution=10), scene)


def test_a_match_and_one_interpolation(swath, scene):
    image = as_coordinates(swath)
    fit = image.coreg.match(scene.ref)
    assert (fit.shift.dx / 10, -fit.shift.dy / 10) == pytest.approx(SHIFT, abs=0.1)
    out = image.coreg.shift_to(scene.ref, like=scene.ref)
    inside = np.isfinite(out.values) & (scene.ref.values > 0)
    error = (out.values - scene.ref.values)[inside]
    assert np.corrcoef(out.values[inside], scene.ref.values[inside])[0, 1] > 0.99
    assert np.median(np.abs(error)) < 0.2 * scene.ref.values[inside].std()
    np.testing.assert_array_equal(out, image.coreg.apply(fit, like=scene.ref))
    assert json.loads(out.attrs["xcoreg"])[-1]["model"] == "geolocation arrays"


def test_a_field(swath, scene):
    out = as_coordinates(swath).coreg.warp_to(scene.ref, spacing=40, window=64, like=scene.ref)
    left = out.coreg.match(scene.ref, window=128)
    assert max(abs(left.shift.dcol), abs(left.shift.drow)) < 0.1


def test_pixels_stay_lazy(swath):
    def refuse(*_, **__):
        raise AssertionError("computed")

    image = as_coordinates(swath)
    with dask.config.set(scheduler=refuse):
        lazy = rectify(image.chunk(100).assign_coords(lon=image.lon, lat=image.lat), crs=32633, resolution=10)
    np.testing.assert_array_equal(lazy, rectify(image, crs=32633, resolution=10))


def test_pixels_without_a_place_have_none(swath, scene):
    values, lon, lat = swath
    lon, unknown = lon.copy(), np.zeros(lon.shape, bool)
    unknown[:, :40], unknown[100:110, 90:110], unknown[250:] = True, True, True
    lon[unknown] = -999.0
    image = as_coordinates((values, lon, lat))
    out = rectify(image, like=scene.tgt)
    assert_target(out, scene)
    col, _ = ground_of(image).to_pixel(lon, lat)
    np.testing.assert_array_equal(np.isfinite(col), ~unknown)
    assert np.nanmax(np.abs(col - np.arange(280))) < 1e-3
    assert not np.isfinite(ground_of(image).to_map(100, 105)[0])


def test_a_hole_in_the_middle(swath, scene):
    values, lon, lat = swath
    lon = lon.copy()
    lon[110:150, 120:160] = np.nan
    out = as_coordinates((values, lon, lat)).coreg.shift_to(scene.ref)
    assert grid_of(out).affine.a == pytest.approx(10, abs=0.3)
    left = out.coreg.match(scene.ref, window=64)
    assert max(abs(left.shift.dcol), abs(left.shift.drow)) < 0.1


@pytest.mark.parametrize("save", ["coordinates", "packed"])
def test_a_netcdf_file(swath, scene, tmp_path, save):
    image = as_coordinates(swath, attrs=CF).to_dataset()
    packed = {"dtype": "int32", "scale_factor": 1e-7, "_FillValue": -(2**31)}
    image.to_netcdf(tmp_path / "swath.nc", encoding={"lon": packed, "lat": packed} if save == "packed" else {})
    for decode in (True, False):
        with open_dataset(tmp_path / "swath.nc", decode_cf=decode) as opened:
            assert_target(opened.coreg.rectify(like=scene.tgt).radiance, scene)


def write_domain(folder, swath, step, convention):
    """A GeoTIFF with the domain GEOLOCATION of a subsampled grid of tie points, by curved()."""
    values = np.nan_to_num(swath[0])
    nodes = [np.arange(-(-size // step) + 1) for size in values.shape[::-1]]
    off = -0.5 if convention == "TOP_LEFT_CORNER" else step / 2 - 0.5
    lonlat = transform_points(32633, 4326, *curved(*np.meshgrid(*(node * step + off for node in nodes))))
    for name, array in zip(("lon", "lat", "image"), (*lonlat, values), strict=True):
        profile = {"driver": "GTiff", "height": array.shape[0], "width": array.shape[1], "count": 1}
        with rasterio.open(folder / f"{name}.tif", "w", dtype=array.dtype, nodata=np.nan, **profile) as file:
            file.write(array, 1)
            if name == "image":
                file.update_tags(
                    ns="GEOLOCATION", X_DATASET="lon.tif", X_BAND=1, Y_DATASET="lat.tif", Y_BAND=1, SRS="EPSG:4326",
                    PIXEL_OFFSET=0, LINE_OFFSET=0, PIXEL_STEP=step, LINE_STEP=step,
                    GEOREFERENCING_CONVENTION=convention,
                )  # fmt: skip
    return folder / "image.tif"


@pytest.mark.parametrize("convention", ["TOP_LEFT_CORNER", "PIXEL_CENTER"])
@pytest.mark.parametrize("step", [1, 4, 20])
def test_the_domain_of_a_file(swath, scene, tmp_path, step, convention):
    image = xcoreg.open_raster(write_domain(tmp_path, swath, step, convention), band=1)
    col, row = np.random.default_rng(1).uniform(-0.5, 259.5, (2, 500))
    found = ground_of(image).to_pixel(*transform_points(32633, 4326, *curved(col, row)))
    assert np.hypot(*np.subtract(found, (col, row))).max() < 0.05
    assert_target(rectify(image, like=scene.tgt, nodata=0), scene)
    with pytest.raises(OptionError, match="rectify first, then cut"):
        rectify(image.isel(x=slice(10, 100)))


def test_the_domain_as_gdal_reads_it(swath, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_domain(tmp_path, (np.indices((260, 280))[1].astype(np.float32), *swath[1:]), 4, "PIXEL_CENTER")
    like = grid_of(rectify(xcoreg.open_raster(path, band=1), crs=32633, resolution=10))
    theirs = np.full(like.shape, np.nan, np.float32)
    with rasterio.open(path) as file:
        rasterio.warp.reproject(
            rasterio.band(file, 1), theirs, dst_transform=like.affine, dst_crs="EPSG:32633", dst_nodata=np.nan,
            resampling=rasterio.warp.Resampling.bilinear, SRC_METHOD="GEOLOC_ARRAY",
        )  # fmt: skip
    ours = rectify(xcoreg.open_raster(path, band=1), like=like, resampling="bilinear").values
    assert np.nanmedian(np.abs(ours - theirs)) < 0.1


def test_the_command_line(swath, scene, tmp_path):
    image, ref = write_domain(tmp_path, swath, 4, "TOP_LEFT_CORNER"), tmp_path / "ref.tif"
    xcoreg.write_raster(scene.ref, ref)
    for args in (["shift", ref, image, tmp_path / "shift.tif", "--nodata", 0], ["info", image],
                 ["georef", "rectify", image, tmp_path / "map.tif", "--crs", "EPSG:32633", "--nodata", 0]):  # fmt: skip
        done = CliRunner().invoke(cli, [str(arg) for arg in args])
        assert done.exit_code == 0, done.stderr
        if args[0] == "info":
            assert "geolocation arrays" in done.stdout
    assert_target(xcoreg.open_raster(tmp_path / "map.tif", band=1), scene)
    left = xcoreg.open_raster(tmp_path / "shift.tif").coreg.match(scene.ref, window=128)
    assert max(abs(left.shift.dcol), abs(left.shift.drow)) < 0.1


def test_two_pairs_of_arrays_are_not_guessed(swath):
    image = as_coordinates(swath)
    with pytest.raises(OptionError, match="several geolocation arrays"):
        rectify(image.assign_coords(longitude=image.lon + 1))


def test_a_transform_comes_first(scene):
    lon, lat = transform_points(32633, 4326, *np.meshgrid(scene.tgt.x, scene.tgt.y))
    image = scene.tgt.assign_coords(lon=(("y", "x"), lon + 5), lat=(("y", "x"), lat))
    assert not needs_rectifying(image)
    assert grid_of(image) == grid_of(scene.tgt)


def test_the_map_reaches_to_the_last_pixel_that_is_known(scene):
    x, y = np.meshgrid(scene.tgt.x, scene.tgt.y)
    lon, lat = transform_points(32633, 4326, x, y)
    lon[:, 397:] = np.nan
    image = as_coordinates((np.ones((400, 400), np.uint8), lon, lat))
    out = rectify(image, crs=32633, resolution=10, nodata=0)
    east = grid_of(out).affine.c + 10 * out.sizes["x"]
    assert 0 <= east - (float(scene.tgt.x[396]) + 5) < 10
