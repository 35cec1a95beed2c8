"""Choosing one band of any image."""

from __future__ import annotations

import numpy as np
import pytest
from xarray import DataArray, Dataset

from xcoreg.errors import OptionError
from xcoreg.raster.bands import spatial_dims, to_band

CUBE = np.arange(24.0).reshape(3, 2, 4)


def cube(**options):
    return DataArray(CUBE, dims=("band", "y", "x"), **options)


def test_the_first_band_is_the_default():
    np.testing.assert_array_equal(to_band(cube()), CUBE[0])


def test_labels_win_over_positions():
    image = cube(coords={"band": [3, 2, 1]})
    np.testing.assert_array_equal(to_band(image, 3), CUBE[0])


def test_positions_count_from_one_where_no_label_fits():
    image = cube(coords={"band": ["red", "nir", "swir"]})
    np.testing.assert_array_equal(to_band(image, 2), CUBE[1])
    np.testing.assert_array_equal(to_band(image, "swir"), CUBE[2])


def test_band_names_of_gdal():
    image = cube(attrs={"long_name": ("B2", "B3", "B4")})
    np.testing.assert_array_equal(to_band(image, "B4"), CUBE[2])


@pytest.mark.parametrize("band", [0, 4, -1, "green"])
def test_band_out_of_range_tells_how_many_there_are(band):
    with pytest.raises(OptionError, match=r"target has no band .* it has 3 bands: 1, 2, 3"):
        to_band(cube(), band)


def test_two_dimensional_images_have_one_band():
    np.testing.assert_array_equal(to_band(cube()[1], 1), CUBE[1])
    with pytest.raises(OptionError, match="has 1 band"):
        to_band(cube()[1].drop_vars("band", errors="ignore"), 2)


def test_columns_first_is_turned():
    band = to_band(cube().transpose("x", "band", "y"), 2)
    assert band.dims == ("y", "x")
    np.testing.assert_array_equal(band, CUBE[1])


def test_time_of_one_step_is_dropped_and_more_need_a_choice():
    one = cube().expand_dims(time=[0])
    np.testing.assert_array_equal(to_band(one, 3), CUBE[2])
    two = DataArray(np.zeros((2, 3, 2, 4)), dims=("time", "band", "y", "x"))
    with pytest.raises(OptionError, match=r"da\.isel\(time=0\)"):
        to_band(two)


DATES = np.array(["2024-01-01", "2024-01-11", "2024-01-21"], "datetime64[ns]")


@pytest.mark.parametrize("axis", ["time", "t", "date", "valid_time", "step", "ensemble", "level", "orbit", "dim_0"])
@pytest.mark.parametrize("band", [None, 2])
def test_an_axis_that_is_not_of_bands_is_never_taken_for_one(axis, band):
    image = cube().rename(band=axis)
    with pytest.raises(OptionError, match=rf"3 values along {axis}, .* da\.isel\({axis}=0\)"):
        to_band(image, band)
    np.testing.assert_array_equal(to_band(image.isel({axis: [1]})), CUBE[1])


@pytest.mark.parametrize("coord", [DATES, ("band", [1, 2, 3], {"axis": "T"}), ("band", [1, 2, 3], {"axis": "Z"})])
def test_what_the_coordinate_says_wins_over_the_name(coord):
    coord = ("band", coord) if isinstance(coord, np.ndarray) else coord
    with pytest.raises(OptionError, match="not bands of one exposure"):
        to_band(cube(coords={"band": coord}))


@pytest.mark.parametrize("axis", ["band", "Bands", "wavelength", "wavelengths", "channel", "variable", "c"])
def test_names_of_bands(axis):
    np.testing.assert_array_equal(to_band(cube().rename(band=axis), 2), CUBE[1])


def test_a_standard_name_makes_an_axis_one_of_bands():
    lines = ("lines", [450.0, 550.0, 650.0], {"standard_name": "radiation_wavelength"})
    np.testing.assert_array_equal(to_band(cube().rename(band="lines").assign_coords(lines=lines), 550), CUBE[1])


def test_times_of_a_dataset_and_beside_bands_are_refused():
    with pytest.raises(OptionError, match="3 values along time"):
        to_band(cube().rename(band="time").assign_coords(time=DATES).to_dataset(name="red"))
    with pytest.raises(OptionError, match="2 values along time"):
        to_band(cube().expand_dims(time=DATES[:2]), 2)


def test_variables_of_a_dataset_by_name_and_number():
    scene = Dataset({"red": (("y", "x"), CUBE[0]), "nir": (("y", "x"), CUBE[1]), "gain": 2.0})
    np.testing.assert_array_equal(to_band(scene, "nir"), CUBE[1])
    np.testing.assert_array_equal(to_band(scene, 2), CUBE[1])
    np.testing.assert_array_equal(to_band(scene), CUBE[0])
    with pytest.raises(OptionError, match=r"no band 3; it has 2 bands: red, nir"):
        to_band(scene, 3)


def test_the_band_within_a_single_variable():
    np.testing.assert_array_equal(to_band(cube().to_dataset(name="scene"), 2), CUBE[1])


@pytest.mark.parametrize("names", [("lon", "lat"), ("longitude", "latitude"), ("easting", "northing"), ("X", "Y")])
def test_spellings_of_the_dimensions(names):
    x_dim, y_dim = names
    assert spatial_dims(cube().rename(x=x_dim, y=y_dim)) == (y_dim, x_dim)


def test_custom_dimensions_are_named_through_rioxarray():
    image = cube().rename(x="across", y="along")
    with pytest.raises(OptionError, match="set_spatial_dims"):
        to_band(image)
    named = image.rio.set_spatial_dims(x_dim="across", y_dim="along")
    assert to_band(named).dims == ("along", "across")


@pytest.mark.parametrize(
    ("dtype", "cure"), [("complex64", r"abs\(da\)"), ("bool", r"da\.astype\('uint8'\)"), ("datetime64[ns]", "numeric")]
)
def test_what_is_no_image_is_refused_with_the_cure(dtype, cure):
    with pytest.raises(OptionError, match=cure):
        to_band(cube().fillna(0).astype(dtype))


def test_a_path_is_no_image():
    with pytest.raises(OptionError, match=r"open_raster"):
        to_band("scene.tif")


@pytest.mark.parametrize("band", [[1, 2], 1.5, True])
@pytest.mark.parametrize("image", [cube(), Dataset({"a": cube()[0], "b": cube()[1]})])
def test_several_bands_are_no_band(image, band):
    with pytest.raises(OptionError, match="is not a single band"):
        to_band(image, band)
