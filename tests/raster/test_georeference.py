"""Where CRS and transform of an image may stand, what counts where they contradict each other, and in what units."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rioxarray  # noqa: F401
from affine import Affine
from pyproj import CRS
from xarray import DataArray, Dataset

from xcoreg.errors import CoregWarning, NotGeoreferenced, OptionError
from xcoreg.raster.bands import spatial_dims
from xcoreg.raster.georeference import unit_factor
from xcoreg.raster.grid import grid_of, lacks_georeference, located

GRID = Affine(10, 0, 300000, 0, -10, 5900040)
UTM = CRS.from_epsg(32633)
ROWS, COLS = 30, 40


def bare(grid=GRID, dims=("y", "x"), at=0.5, scale=1.0, **attrs):
    """Image with coordinates, those of pixel centres by default, and nothing else."""
    y = (grid.f + grid.e * (np.arange(ROWS) + at)) * scale
    x = (grid.c + grid.a * (np.arange(COLS) + at)) * scale
    return DataArray(np.ones((ROWS, COLS)), {dims[0]: y, dims[1]: x}, dims, attrs=attrs)


def without_coordinates(**attrs):
    return DataArray(np.ones((ROWS, COLS)), dims=("y", "x"), attrs=attrs)


def describing(crs=UTM, **more):
    return DataArray(0, attrs={"crs_wkt": crs.to_wkt(), **more})


CRS_PLACES = {
    "attrs crs": bare(crs="EPSG:32633"),
    "attrs crs code": bare(crs=np.int64(32633)),
    "attrs crs of old xarray": bare(crs="+init=epsg:32633"),
    "STAC code": bare(**{"proj:code": "EPSG:32633"}),
    "STAC number": bare(**{"proj:epsg": 32633.0}),
    "STAC WKT": bare(**{"proj:wkt2": UTM.to_wkt()}),
    "STAC JSON": bare(**{"proj:projjson": UTM.to_json_dict()}),
    "stackstac's coordinate": bare().assign_coords(epsg=32633),
    "named coordinate": bare(grid_mapping="utm").assign_coords(utm=describing()),
    "coordinate that nobody names": bare().assign_coords(utm=describing()),
    "coordinate of CF parameters": bare().assign_coords(
        utm=DataArray(0, attrs={k: v for k, v in UTM.to_cf().items() if k != "crs_wkt"})
    ),
    "extended grid mapping": bare(grid_mapping="wgs: lat lon utm: y x").assign_coords(
        utm=describing(), wgs=describing(CRS.from_epsg(4326))
    ),
    "attrs of the Dataset": Dataset({"a": bare()}, attrs={"crs": "EPSG:32633"}),
    "plain variable": Dataset({"a": bare(), "spatial_ref": describing()}),
    "plain variable of one element": Dataset(
        {"a": bare(), "spatial_ref": ("n", np.zeros(1), {"crs_wkt": UTM.to_wkt()})}
    ),
    "named by another variable": Dataset({"a": bare(), "b": bare(grid_mapping="utm"), "utm": describing()}),
}


@pytest.mark.parametrize("image", CRS_PLACES.values(), ids=CRS_PLACES)
def test_places_of_a_crs(image):
    grid = grid_of(image)
    assert (grid.crs.epsg or CRS.from_user_input(grid.crs).to_epsg(min_confidence=25)) == 32633
    assert grid.affine == GRID


TEN = (10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0)
TRANSFORM_PLACES = {
    "Affine": {"transform": GRID},
    "nine numbers": {"transform": [*TEN, 0.0, 0.0, 1.0]},
    "array": {"transform": np.array(TEN)},
    "text": {"transform": str(TEN)},
    "GDAL's order": {"transform": GRID.to_gdal()},
    "GeoZarr": {"spatial:transform": list(TEN)},
    "STAC": {"proj:transform": list(TEN)},
    "GeoTransform": {"GeoTransform": "300000.0 10.0 0.0 5900040.0 0.0 -10.0"},
}


@pytest.mark.parametrize("attrs", TRANSFORM_PLACES.values(), ids=TRANSFORM_PLACES)
def test_places_of_a_transform(attrs):
    assert grid_of(without_coordinates(crs="EPSG:32633", **attrs)).affine == GRID
    whole = Dataset({"a": without_coordinates()}, attrs={"crs": "EPSG:32633", **attrs})
    if "GeoTransform" not in attrs:
        assert grid_of(whole).affine == GRID


def test_a_rotated_transform_keeps_the_order_of_an_affine():
    rotated = Affine(9.8, 1.7, 500000, 1.7, -9.8, 5000000)
    assert grid_of(without_coordinates(crs="EPSG:32633", transform=rotated)).affine == rotated


@pytest.mark.parametrize("part", [(slice(None), slice(None)), (slice(3, 20), slice(7, None))])
@pytest.mark.parametrize("place", ["attrs", "both"])
def test_corner_coordinates_give_way_to_the_transform(part, place):
    image = bare(at=0.0, crs="EPSG:32633", transform=GRID)
    image = image.rio.write_crs(32633) if place == "both" else image
    with pytest.warns(CoregWarning, match=r"corners of pixels by its attrs\['transform'\], half a pixel off") as seen:
        grid = grid_of(image[part])
    assert len(seen) == 1
    assert grid.affine == grid_of(bare(crs="EPSG:32633")[part]).affine


def test_corner_coordinates_beside_a_geotransform():
    image = bare(at=0.0).rio.write_crs(32633).rio.write_transform(GRID)
    with pytest.warns(CoregWarning, match="half a pixel off"):
        assert grid_of(image).affine == GRID


@pytest.mark.parametrize("shift", [3.7, 5.0])
def test_another_contradiction_is_named_and_coordinates_count(shift):
    image = bare(crs="EPSG:32633", transform=GRID)
    image = image.assign_coords(x=image.x + shift)
    with pytest.warns(CoregWarning, match=r"contradict its attrs\['transform'\].*300000.*write_transform"):
        assert grid_of(image).affine.c == 300000 + shift


PARTS = [
    np.s_[5:, 7:20], np.s_[::2, ::3], np.s_[::-1], np.s_[4::-2, 3:], np.s_[6:7, 2:3]
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.parametrize("kind", ["attrs", "GeoTransform"])
def test_a_transform_from_before_cutting_is_no_contradiction(part, kind):
    image = bare(crs="EPSG:32633", transform=GRID)
    image = image.rio.write_crs(32633) if kind == "GeoTransform" else image
    expected = image.drop_vars("spatial_ref", errors="ignore")[part].assign_attrs(crs="EPSG:32633")
    if min(expected.shape) > 1:
        del expected.attrs["transform"]
    assert grid_of(image[part]).affine == grid_of(expected).affine


def test_neither_is_it_after_averaging():
    image = bare(crs="EPSG:32633", transform=GRID).coarsen(x=4, y=5).mean()
    assert grid_of(image).affine == Affine(40, 0, 300000, 0, -50, 5900040)


def test_two_crss_are_named():
    with pytest.warns(
        CoregWarning, match=r"two CRSs, WGS 84 / UTM zone 33N .* WGS 84 / UTM zone 32N in attrs\['crs'\]"
    ):
        assert grid_of(bare().rio.write_crs(32633).assign_attrs(crs="EPSG:32632")).crs.epsg == 32633


def test_two_transforms_are_named():
    image = without_coordinates(crs="EPSG:32633", transform=GRID, **{"proj:transform": [20, 0, 5, 0, -20, 5]})
    with pytest.warns(CoregWarning, match=r"two transforms.*attrs\['transform'\].*attrs\['proj:transform'\]"):
        assert grid_of(image).affine == GRID


def test_each_variable_has_its_own_grid_mapping():
    image = Dataset({"a": bare(grid_mapping="one"), "b": bare(grid_mapping="two")})
    image["one"], image["two"] = describing(), describing(CRS.from_epsg(32632))
    assert [grid_of(image[["one", "two", name]]).crs.epsg for name in "ab"] == [32633, 32632]


def test_two_descriptions_that_nobody_names_are_a_question():
    image = bare().assign_coords(one=describing(), two=describing(CRS.from_epsg(32632)))
    with pytest.raises(OptionError, match=r"one, two describe a CRS each: name one, attrs\['grid_mapping'\]"):
        grid_of(image)


def test_a_grid_mapping_that_was_left_behind_is_named():
    scene = Dataset({"a": bare(grid_mapping="utm"), "utm": describing()})
    with pytest.raises(NotGeoreferenced, match=r"has no CRS: .* grid mapping 'utm' is missing, .*decode_coords='all'"):
        grid_of(scene["a"])


LAT_LON = [("lat", "lon"), ("latitude", "longitude"), ("Latitude", "Longitude"), ("LAT", "LON")]
DEGREES = Affine(1e-4, 0, 12, 0, -1e-4, 53)


@pytest.mark.parametrize("dims", LAT_LON)
def test_latitudes_and_longitudes_without_a_crs(dims):
    with pytest.warns(CoregWarning, match=r"degrees on WGS 84 \(EPSG:4326\): set another with da\.rio\.write_crs"):
        grid = grid_of(bare(DEGREES, dims))
    assert grid.crs.epsg == 4326
    assert grid.affine.almost_equals(DEGREES, 1e-9)


@pytest.mark.parametrize("image", [bare(DEGREES), bare(dims=("lat", "lon")), bare(dims=("northing", "easting"))])
def test_no_crs_is_guessed_for_others(image):
    with pytest.raises(NotGeoreferenced, match=r"has no CRS: set it with da\.rio\.write_crs"):
        grid_of(image)


@pytest.mark.parametrize(
    "dims", [("rlat", "rlon"), ("Y", "X"), ("northing", "easting"), ("YDim", "XDim"), ("row", "col"), ("yc", "xc")]
)
def test_more_names_of_dimensions(dims):
    assert spatial_dims(bare(dims=dims)) == dims


def test_standard_names_of_dimensions():
    image = bare(dims=("a", "b"))
    image.a.attrs["standard_name"], image.b.attrs["standard_name"] = "grid_latitude", "grid_longitude"
    assert spatial_dims(image) == ("a", "b")


def with_units(unit, scale, epsg=32633):
    image = bare(scale=scale).rio.write_crs(epsg)
    image.x.attrs["units"] = image.y.attrs["units"] = unit
    return image


@pytest.mark.parametrize(
    ("unit", "scale"),
    [("km", 1e-3), ("kilometre", 1e-3), ("1000 m", 1e-3), ("ft", 1 / 0.3048), ("us_survey_foot", 3937 / 1200)],
)
def test_coordinates_in_other_units_are_converted_and_named(unit, scale):
    with pytest.warns(CoregWarning, match=rf"coordinates of target are in {unit}, its CRS .* converted to metre"):
        assert grid_of(with_units(unit, scale)).affine.almost_equals(GRID, 1e-6)


@pytest.mark.parametrize("unit", ["m", "metre", "meters", "", "1"])
def test_units_of_the_crs_need_no_word(unit):
    assert grid_of(with_units(unit, 1.0)).affine == GRID


@pytest.mark.parametrize("unit", ["ft", "US survey foot", "0.30480060960121924 metre"])
def test_feet_of_a_crs_in_feet(unit):
    assert grid_of(with_units(unit, 1.0, 2225)).affine == GRID


@pytest.mark.parametrize(("unit", "epsg"), [("degrees_east", 32633), ("m", 4326), ("rad", 32633)])
def test_units_that_no_factor_converts_are_refused(unit, epsg):
    with pytest.raises(NotGeoreferenced, match=rf"is in {unit}, but its CRS .* mend their attribute units"):
        grid_of(with_units(unit, 1e-5, epsg))


def test_an_unknown_unit_is_named():
    with pytest.warns(CoregWarning, match=r"unit 'pc' .* unknown: metre is assumed"):
        grid_of(with_units("pc", 1.0))


def test_scan_angles_are_multiplied_by_the_height_of_the_satellite():
    geos = CRS.from_proj4("+proj=geos +h=35786023 +lon_0=-75 +sweep=x")
    image = DataArray(np.ones(3), {"x": ("x", [0.0, 1e-5, 2e-5], {"units": "rad"})}, ("x",))
    assert unit_factor(image, "x", geos, "target", []) == 35786023.0


def test_a_located_image_says_where_it_lies_by_itself():
    given = with_units("km", 1e-3).to_dataset(name="a")
    with pytest.warns(CoregWarning) as seen:
        image = located(given)
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert grid_of(image).affine.almost_equals(GRID, 1e-6)
    assert (image.x.attrs["units"], given.x.attrs["units"]) == ("metre", "km")
    assert image.a.variable._data is given.a.variable._data


def test_ordinary_images_are_not_touched_by_it():
    image = bare().rio.write_crs(32633)
    assert located(image) is image


@pytest.mark.parametrize("coordinates", [None, 0.0, 0.5])
def test_images_whose_coordinates_count_pixels_have_no_georeference(coordinates):
    image = without_coordinates()
    if coordinates is not None:
        image = image.assign_coords(x=np.arange(COLS) + coordinates, y=np.arange(ROWS) + coordinates)
    assert lacks_georeference(image)
    assert lacks_georeference(image.to_dataset(name="a"))


@pytest.mark.parametrize("image", [bare(), bare(crs="EPSG:32633"), without_coordinates(transform=GRID)])
def test_a_part_of_a_georeference_is_not_none(image):
    assert not lacks_georeference(image)
