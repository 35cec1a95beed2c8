"""What survives: attributes, coordinates, encoding, names, dimensions, on both ways."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg.errors import NotGeoreferenced
from xcoreg.georef import as_crs
from xcoreg.raster.grid import grid_of
from xcoreg.warp.apply import apply

BOTH = pytest.mark.parametrize("align", [False, True], ids=["moved", "aligned"])


@pytest.fixture
def rich(scene, make_image):
    """Two dates of three bands, with all that an image may say about itself."""
    image = make_image(np.broadcast_to(scene, (2, 3, 60, 50)).copy(), name="reflectance")
    image = image.rename(lead0="time", lead1="band").assign_coords(
        time=np.array(["2016-05-29", "2016-06-08"], "datetime64[ns]"),
        band=[2, 3, 4],
        wavelength=("band", [490.0, 560.0, 665.0], {"units": "nm"}),
        platform="S2A",
    )
    image.attrs = {"long_name": ("blue", "green", "red"), "AREA_OR_POINT": "Area", "_FillValue": np.uint16(0)}
    image.encoding |= {"dtype": "uint16", "scale_factor": 1e-4, "add_offset": -0.1, "zlib": True}
    image.x.attrs |= {"units": "metre", "standard_name": "projection_x_coordinate"}
    return image


@BOTH
def test_everything_but_the_place_survives(rich, make_fit, align):
    out = apply(rich, make_fit(), align_grid=align)
    assert out.name == "reflectance"
    assert out.dims == ("time", "band", "y", "x")
    for name in ("time", "band", "wavelength", "platform"):
        assert out[name].variable.identical(rich[name].variable)
    assert {key: value for key, value in out.attrs.items() if key != "xcoreg"} == rich.attrs
    assert out.encoding == rich.encoding
    assert out.x.attrs == rich.x.attrs
    assert out.spatial_ref.attrs["crs_wkt"] == rich.spatial_ref.attrs["crs_wkt"]


def test_an_index_on_two_levels_survives(rich, make_fit):
    stacked = rich.stack(layer=("time", "band")).transpose("layer", "y", "x")
    for options in ({}, {"align_grid": True}):
        out = apply(stacked, make_fit(), **options)
        assert out.indexes["layer"].equals(stacked.indexes["layer"])


def test_the_encoding_of_the_file_does_not_outlive_its_pixels(rich, make_fit):
    rich.encoding |= {"source": "a.nc", "chunksizes": (1, 1, 60, 50), "preferred_chunks": {"x": 50}}
    assert apply(rich, make_fit()).encoding["source"] == "a.nc"
    kept = apply(rich, make_fit(), align_grid=True).encoding
    assert not {"source", "chunksizes", "preferred_chunks"} & set(kept)


@BOTH
def test_dimensions_of_any_name(scene, make_image, make_fit, align):
    for dims in (("lat", "lon"), ("northing", "easting"), ("latitude", "longitude")):
        image = make_image(scene, dims=dims, attrs={"_FillValue": np.uint16(0)})
        out = apply(image, make_fit(), align_grid=align)
        assert out.dims == dims
        assert (grid_of(out).affine.c - 300000) % 3.5 == 0
        assert (out.rio.y_dim, out.rio.x_dim) == dims


@BOTH
def test_dimensions_set_in_rioxarray_only(scene, make_image, make_fit, align):
    image = make_image(scene, dims=("row", "column"), attrs={"_FillValue": np.uint16(0)})
    image = image.rio.set_spatial_dims(x_dim="column", y_dim="row")
    out = apply(image, make_fit(), align_grid=align)
    assert out.dims == ("row", "column")
    assert grid_of(out).affine.e == -10


def test_nodata_set_in_rioxarray_only(scene, make_image, make_fit):
    image = make_image(scene)
    image.rio.set_nodata(7, inplace=True)
    assert apply(image, make_fit()).rio.nodata == 7


@BOTH
def test_a_grid_mapping_of_another_name(scene, make_image, make_fit, align):
    image = make_image(scene, attrs={"_FillValue": np.uint16(0)}).rename(spatial_ref="crs")
    image.encoding["grid_mapping"] = "crs"
    out = apply(image, make_fit(), align_grid=align)
    assert out.encoding["grid_mapping"] == "crs"
    assert "spatial_ref" not in out.coords
    assert grid_of(out).crs == "EPSG:32633"


@BOTH
def test_a_grid_mapping_among_the_variables_of_a_dataset(scene, make_image, make_fit, align):
    data = make_image(scene, name="red", attrs={"_FillValue": np.uint16(0)}).to_dataset()
    data.red.encoding.clear()
    data.red.attrs["grid_mapping"] = "spatial_ref"
    data = data.reset_coords("spatial_ref").set_coords("spatial_ref") if align else data
    out = apply(data, make_fit(), align_grid=align)
    assert grid_of(out).affine.f in (5900055.5, 5900060.0)
    assert "spatial_ref" in out.variables


def test_a_crs_in_the_attributes_alone(scene, make_image, make_fit):
    image = make_image(scene).drop_vars("spatial_ref")
    image.attrs["crs"] = "EPSG:32633"
    out = apply(image, make_fit())
    assert grid_of(out).affine == Affine(10, 0, 300003.5, 0, -10, 5900055.5)


def test_an_old_style_transform_attribute_follows(scene, make_image, make_fit):
    image = make_image(scene, attrs={"transform": (10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0)})
    assert apply(image, make_fit()).attrs["transform"] == (10.0, 0.0, 300003.5, 0.0, -10.0, 5900055.5)
    assert "transform" not in apply(image, make_fit(), align_grid=True, nodata=0).attrs


def test_an_axis_without_a_shift_is_left_as_it_is(scene, make_image, make_fit):
    image = make_image(scene)
    out = apply(image, make_fit(3.5, 0.0))
    assert out.y.variable.identical(image.y.variable)
    assert out.x.values[0] == 300008.5


def test_packed_coordinates_are_not_rounded_back(scene, make_image, make_fit):
    image = make_image(scene)
    image.x.encoding |= {"dtype": "float32", "scale_factor": 10.0, "units": "m"}
    assert apply(image, make_fit()).x.encoding == {"units": "m"}


def test_coordinates_that_hang_on_old_pixels_are_dropped(scene, make_image, make_fit):
    image = make_image(scene, attrs={"_FillValue": np.uint16(0)})
    image = image.assign_coords(quality=(("y", "x"), scene), line=("y", np.arange(60)))
    assert {"quality", "line"} <= set(apply(image, make_fit()).coords)
    assert not {"quality", "line"} & set(apply(image, make_fit(), align_grid=True).coords)


def test_like_lends_its_names(scene, make_image, make_fit):
    like = make_image(np.zeros((30, 40)), dims=("northing", "easting"))
    like = like.rename(spatial_ref="crs")
    like.encoding["grid_mapping"] = "crs"
    out = apply(make_image(scene, attrs={"_FillValue": np.uint16(0)}), make_fit(), like=like)
    assert out.dims == ("northing", "easting")
    assert out.encoding["grid_mapping"] == "crs"
    assert "spatial_ref" not in out.coords
    assert grid_of(out).affine == grid_of(like).affine


def test_like_lends_nothing_but_its_place(scene, make_image, make_fit):
    like = make_image(np.zeros((30, 40))).assign_coords(depth=(("y", "x"), np.ones((30, 40))), height=2.0)
    out = apply(make_image(scene, attrs={"_FillValue": np.uint16(0)}), make_fit(), like=like)
    assert set(out.coords) == {"x", "y", "spatial_ref"}


def test_like_without_a_place_is_refused(scene, make_image, make_fit):
    like = make_image(np.zeros((30, 40))).drop_vars("spatial_ref")
    with pytest.raises(NotGeoreferenced, match="like has no CRS"):
        apply(make_image(scene), make_fit(), like=like)


@pytest.fixture
def on_file(tmp_path, scene):
    """A GeoTIFF and, rotated, another."""

    def write(transform):
        path = tmp_path / "scene.tif"
        profile = {"driver": "GTiff", "width": 50, "height": 60, "count": 1, "dtype": "uint16", "nodata": 0}
        with rasterio.open(path, "w", crs="EPSG:32633", transform=transform, **profile) as goal:
            goal.write(scene, 1)
        return path

    return write


def test_a_file_is_moved_without_being_read(on_file, make_fit, scene):
    with rioxarray.open_rasterio(on_file(Affine(10, 0, 300000, 0, -10, 5900040))) as image:
        out = apply(image, make_fit())
        assert not isinstance(out.variable._data, np.ndarray)
        assert grid_of(out).affine == Affine(10, 0, 300003.5, 0, -10, 5900055.5)
        assert out.rio.transform() == grid_of(out).affine
        assert np.array_equal(out.values[0], scene)


def test_a_file_is_interpolated_like_an_array(on_file, make_fit, make_image, scene):
    with rioxarray.open_rasterio(on_file(Affine(10, 0, 300000, 0, -10, 5900040))) as image:
        out = apply(image, make_fit(), align_grid=True)
    expected = apply(make_image(scene, attrs={"_FillValue": np.uint16(0)}), make_fit(), align_grid=True)
    assert np.array_equal(out.values[0], expected.values)
    assert out.rio.nodata == 0


def test_a_rotated_file_moves_with_all_its_coordinates(on_file, make_fit):
    turned = Affine(8.66, 5.0, 300000, 5.0, -8.66, 5900040)
    with rioxarray.open_rasterio(on_file(turned)) as image:
        out = apply(image, make_fit())
        np.testing.assert_allclose(out.xc - image.xc, 3.5, atol=1e-9)
        np.testing.assert_allclose(out.yc - image.yc, 15.5, atol=1e-9)
        assert out.rio.transform().almost_equals(Affine(8.66, 5.0, 300003.5, 5.0, -8.66, 5900055.5))


@BOTH
def test_odc_finds_the_new_grid(scene, make_fit, align):
    from odc.geo.xr import xr_coords

    box = GeoBox((60, 50), Affine(10, 0, 300000, 0, -10, 5900040), "EPSG:32633")
    image = xr.DataArray(scene, coords=xr_coords(box), dims=("y", "x"), attrs={"nodata": 0})
    out = apply(image, make_fit(), align_grid=align)
    assert out.odc.geobox == GeoBox(out.shape, grid_of(out).affine, "EPSG:32633")
    assert out.odc.geobox.affine.c == (300000 if align else 300003.5)


def test_a_corrected_image_survives_a_file(tmp_path, scene, make_image, make_fit):
    image = make_image(scene, attrs={"_FillValue": np.uint16(0)})
    out = apply(image, make_fit(), align_grid=True)
    out.rio.to_raster(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as written:
        assert written.transform == Affine(10, 0, 300000, 0, -10, 5900060)
        assert written.nodata == 0
        assert as_crs(written.crs) == as_crs("EPSG:32633")
        assert np.array_equal(written.read(1), out.values)
