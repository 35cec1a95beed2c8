"""NetCDF and Zarr whose coordinates, CRS or axes are not where GDAL looks for them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import xcoreg
from xcoreg.batches.run import batch
from xcoreg.cli import cli
from xcoreg.errors import OptionError

pytest.importorskip("netCDF4")
pytest.importorskip("zarr")
FORMATS = pytest.mark.parametrize("suffix", ["nc", "zarr"])
DATES = np.array(["2024-01-01", "2024-01-11"], "datetime64[ns]")


@pytest.fixture(scope="module")
def scene():
    return xcoreg.simulate.pair((200, 200), shift=(2.4, -1.3), seed=1)


@pytest.fixture(scope="module")
def plain(scene):
    """The target with coordinates alone."""
    return xr.DataArray(scene.tgt.values, {"y": scene.tgt.y.values, "x": scene.tgt.x.values}, ("y", "x"), name="nir")


def store(image, path):
    """Write it by xarray."""
    scene = image if isinstance(image, xr.Dataset) else image.to_dataset()
    if path.suffix == ".nc":
        scene.to_netcdf(path)
    else:
        scene.to_zarr(path, consolidated=False, zarr_format=2)
    return path


def describing(crs, image):
    return image.rio.write_crs(crs).spatial_ref.reset_coords(drop=True).rename(None)


def spelled(plain, names):
    return plain.rename(y=names[0], x=names[1]).rio.set_spatial_dims(names[1], names[0]).rio.write_crs(32633)


def in_km(image):
    x, y = (("x", image.x.values / 1000, {"units": "km"}), ("y", image.y.values / 1000, {"units": "km"}))
    return image.assign_coords(x=x, y=y).rio.write_crs(32633)


PLACES = {
    "plain coordinates": lambda image: image.rio.write_crs(32633),
    "south up": lambda image: image[::-1].rio.write_crs(32633),
    "northing, easting": lambda image: spelled(image, ("northing", "easting")),
    "Y, X": lambda image: spelled(image, ("Y", "X")),
    "a variable that nobody names": lambda image: xr.Dataset({"nir": image, "utm": describing(32633, image)}),
    "attributes of the file": lambda image: image.to_dataset().assign_attrs(crs="EPSG:32633"),
    "attributes of the variable": lambda image: image.assign_attrs(crs="EPSG:32633"),
    "two variables": lambda image: xr.Dataset({"nir": image, "red": image + 1}).rio.write_crs(32633),
    "one step of time": lambda image: image.expand_dims(time=DATES[:1]).rio.write_crs(32633),
    "kilometres": in_km,
}


@FORMATS
@pytest.mark.parametrize("make", PLACES.values(), ids=PLACES)
@pytest.mark.filterwarnings("ignore:the coordinates of .* are in km")
def test_places_in_files(scene, plain, tmp_path, make, suffix):
    image = xcoreg.open_raster(store(make(plain), tmp_path / f"a.{suffix}"))
    shift = image.coreg.match(scene.ref).shift
    assert (shift.dx, shift.dy, shift.unit) == (pytest.approx(24, abs=0.2), pytest.approx(13, abs=0.2), "metre")


@pytest.mark.parametrize("south_up", [False, True])
def test_rows_that_gdal_turns_lie_where_xarray_puts_them(plain, tmp_path, south_up):
    image = plain[::-1] if south_up else plain
    path = store(image.rio.write_crs(32633), tmp_path / "a.nc")
    by_gdal = xcoreg.open_raster(path, chunks="auto").squeeze()
    np.testing.assert_array_equal(by_gdal.sel(y=image.y[3], x=image.x[5]), image[3, 5])
    assert by_gdal.coreg.grid.affine == plain.rio.write_crs(32633).coreg.grid.affine


@pytest.mark.parametrize("names", [("lat", "lon"), ("latitude", "longitude"), ("y", "x")])
@pytest.mark.parametrize("has_crs", [False, True])
def test_degrees_in_netcdf(plain, tmp_path, names, has_crs):
    y, x = 53.2 - 1e-4 * np.arange(200), 12 + 1e-4 * np.arange(200)
    image = xr.DataArray(plain.values, {names[0]: y, names[1]: x}, names, name="nir")
    image = image.rio.set_spatial_dims(names[1], names[0]).rio.write_crs(4326) if has_crs else image
    found = xcoreg.open_raster(store(image, tmp_path / "a.nc"))
    if has_crs:
        grid = found.coreg.grid
    elif names == ("y", "x"):
        with pytest.raises(xcoreg.NotGeoreferenced, match="no CRS"):
            _ = found.coreg.grid
        return
    else:
        with pytest.warns(xcoreg.CoregWarning, match=r"EPSG:4326"):
            grid = found.coreg.grid
    assert grid.crs.epsg == 4326
    np.testing.assert_allclose(grid.affine[:6], (1e-4, 0, 11.99995, 0, -1e-4, 53.20005), rtol=0, atol=1e-9)


@FORMATS
def test_variables_in_two_crss_are_opened_one_by_one(plain, tmp_path, suffix):
    both = xr.Dataset({"a": plain.assign_attrs(grid_mapping="one"), "b": plain.assign_attrs(grid_mapping="two")})
    both["one"], both["two"] = describing(32633, plain), describing(32632, plain)
    path = store(both, tmp_path / f"a.{suffix}")
    assert [xcoreg.open_raster(path, variable=name).coreg.grid.crs.epsg for name in "ab"] == [32633, 32632]
    if suffix == "nc":
        with pytest.raises(OptionError, match=r"2 grids or in as many CRSs \(a, b\): name one, variable="):
            xcoreg.open_raster(path)


def test_a_crs_that_one_variable_names_is_that_of_all(plain, tmp_path):
    both = xr.Dataset({"a": plain.assign_attrs(grid_mapping="utm"), "b": plain})
    both["utm"] = describing(32633, plain)
    path = store(both, tmp_path / "a.nc")
    assert xcoreg.open_raster(path).coreg.grid.crs.epsg == 32633
    assert xcoreg.open_raster(path, variable="b").coreg.grid.crs.epsg == 32633


AXES = {"time": DATES, "valid_time": DATES, "level": [1.0, 2.0], "orbit": [7, 8]}


@FORMATS
@pytest.mark.parametrize("axis", AXES)
def test_axes_that_are_not_bands_are_refused_with_the_way_out(scene, plain, tmp_path, axis, suffix):
    cube = xr.concat([plain, plain + 1], xr.DataArray(AXES[axis], dims=axis, name=axis)).rio.write_crs(32633)
    path, ref = store(cube, tmp_path / f"a.{suffix}"), xcoreg.write_raster(scene.ref, tmp_path / "ref.tif")
    image = xcoreg.open_raster(path)
    for verb in (image.coreg.match, image.coreg.match_local, image.coreg.shift_to, image.coreg.warp_to):
        with pytest.raises(OptionError, match=rf"2 values along {axis}, which are not bands .* da\.isel\({axis}=0\)"):
            verb(scene.ref)
    for command in (["match", ref, path], ["shift", ref, path, tmp_path / "out.tif"]):
        result = CliRunner().invoke(cli, list(map(str, command)))
        assert result.exit_code == 2
        assert "gdal_translate -b NUMBER" in result.output
    shift = image.isel({axis: 1}).coreg.match(scene.ref).shift
    assert shift.dx == pytest.approx(24, abs=0.2)


def test_batches_refuse_times_and_go_on(scene, plain, tmp_path):
    cube = xr.concat([plain, plain + 1], xr.DataArray(DATES, dims="time", name="time")).rio.write_crs(32633)
    paths = [store(cube, tmp_path / "a.nc"), store(plain.rio.write_crs(32633), tmp_path / "b.nc")]
    ref = xcoreg.write_raster(scene.ref, tmp_path / "ref.tif")
    found = batch(paths, tmp_path / "out", ref=ref)
    assert found.counts() == {"failed": 1, "done": 1}
    assert "isel(time=0)" in json.dumps(found.records, default=str)


def test_several_leading_axes_in_netcdf(plain, tmp_path):
    cube = plain.expand_dims(time=DATES, band=[1, 2]).rio.write_crs(32633)
    with pytest.raises(OptionError, match=r"several leading dimensions.*xarray\.open_dataset.*isel\(time=0\)"):
        xcoreg.open_raster(store(cube, tmp_path / "a.nc"))


@FORMATS
def test_info_describes_the_first_step(plain, tmp_path, suffix):
    cube = xr.concat([plain, plain + 1], xr.DataArray(DATES, dims="time", name="time")).rio.write_crs(32633)
    result = CliRunner().invoke(cli, ["info", str(store(cube, tmp_path / f"a.{suffix}")), "--json"])
    found = json.loads(result.stdout)
    assert (found["first_of"], found["gsd"], found["georeference"]) == ({"time": 2}, [10, 10], "complete")


def test_packed_coordinates_of_zarr_are_unpacked(plain, tmp_path):
    image = plain.rio.write_crs(32633).to_dataset()
    path = tmp_path / "a.zarr"
    packing = {"dtype": "int32", "scale_factor": 5.0, "add_offset": 0.0, "_FillValue": -1}
    image.to_zarr(path, consolidated=False, zarr_format=2, encoding={"x": packing, "y": packing})
    assert xcoreg.open_raster(path).coreg.grid.affine == image.coreg.grid.affine
