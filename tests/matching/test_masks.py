import numpy as np
import pytest
import shapely
from affine import Affine

from xcoreg.errors import GridError, OptionError
from xcoreg.georef import transform_points
from xcoreg.matching.masks import as_mask

UTM = "EPSG:32633"
WEST_HALF = shapely.box(300000, 5899040, 300500, 5900040)
X, Y = np.array([300100.0, 300700.0, 300100.0]), np.array([5899900.0, 5899900.0, 5800000.0])


def left(x, y):
    return (x < 300500) & (y > 5899040)


def test_no_mask_is_none():
    assert as_mask(None, UTM) is None


def test_a_polygon_is_usable_inside():
    assert as_mask(WEST_HALF, UTM)(X, Y).tolist() == [True, False, False]


def test_a_function_is_asked_about_x_and_y():
    assert as_mask(lambda x, y: (x + y) % 2, UTM)(np.array([1, 2]), np.array([1, 1])).tolist() == [False, True]


def test_a_raster_on_another_grid(make_field):
    mask = make_field(left, (34, 34), Affine(30, 0, 299990, 0, -30, 5900050)).astype(bool)
    assert as_mask(mask, UTM)(X, Y).tolist() == [True, False, False]


def test_a_raster_in_another_crs(make_field):
    def in_lonlat(lon, lat):
        return left(*transform_points("EPSG:4326", UTM, lon, lat))

    west, north = transform_points(UTM, "EPSG:4326", np.array([299900.0]), np.array([5900140.0]))
    mask = make_field(in_lonlat, (140, 140), Affine(1.5e-4, 0, west[0], 0, -9e-5, north[0]), "EPSG:4326")
    assert as_mask(mask.astype("uint8"), UTM)(X, Y).tolist() == [True, False, False]


def test_the_nearest_pixel_of_a_raster_decides(make_bare_image):
    mask = as_mask(make_bare_image(np.array([[1, 0], [0, 1]], np.uint8)), UTM)
    x = 300000 + np.array([0.1, 9.9, 10.1, 19.9, 20.1, -0.1])
    assert mask(x, np.full(6, 5900035.0)).tolist() == [True, True, False, False, False, False]


def test_nothing_is_usable_beyond_a_raster(make_bare_image):
    mask = as_mask(make_bare_image(np.ones((3, 3), np.uint8)), UTM)
    x, y = (
        np.array([300015.0, 300015, 300015, 300035, 299995]),
        np.array([5900025.0, 5900005, 5900045, 5900025, 5900025]),
    )
    assert mask(x, y).tolist() == [True, False, False, False, False]


def test_nodata_of_a_raster_is_not_usable(make_bare_image):
    mask = make_bare_image(np.array([[255, 1], [0, 7]], np.uint8), nodata=255)
    x, y = np.array([300005.0, 300015, 300005, 300015]), np.array([5900035.0, 5900035, 5900025, 5900025])
    assert as_mask(mask, UTM)(x, y).tolist() == [False, True, False, True]


def test_a_raster_that_is_true_in_all_corners_stays_true(make_bare_image):
    mask = as_mask(make_bare_image(np.ones((40, 40), np.uint8)), UTM)
    assert mask(np.array([300005.0, 300200.0]), np.array([5900035.0, 5899840.0])).all()


def test_nan_in_a_raster_is_not_usable(make_bare_image):
    mask = as_mask(make_bare_image(np.array([[np.nan, 1.0]])), UTM)
    assert mask(np.array([300005.0, 300015.0]), np.full(2, 5900035.0)).tolist() == [False, True]


def test_positions_keep_their_shape(make_bare_image):
    mask = as_mask(make_bare_image(np.ones((4, 4), np.uint8)), UTM)
    assert mask(np.full((2, 3), 300005.0), np.full((2, 3), 5900035.0)).shape == (2, 3)


def test_scattered_positions_are_read_one_by_one(make_bare_image, monkeypatch):
    values = np.random.default_rng(1).integers(0, 2, (400, 400)).astype(np.uint8)
    asked = []
    read_raw = "xcoreg.raster.raster.read_boxes"
    from xcoreg.raster.raster import read_boxes

    monkeypatch.setattr(read_raw, lambda *args: asked.extend(args[3]) or read_boxes(*args))
    rows, cols = np.array([3, 390, 200, 17]), np.array([380, 5, 111, 250])
    mask = as_mask(make_bare_image(values), UTM)(300005.0 + 10 * cols, 5900035.0 - 10 * rows)
    assert mask.tolist() == (values[rows, cols] != 0).tolist()
    assert sum((r1 - r0) * (c1 - c0) for r0, r1, c0, c1 in asked) == 4


def test_a_geodataframe_in_another_crs_is_the_same_outline():
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.GeoDataFrame(geometry=[WEST_HALF], crs=UTM).to_crs(4326)
    assert as_mask(frame, UTM)(X, Y).tolist() == [True, False, False]


def test_several_outlines_are_joined():
    geopandas = pytest.importorskip("geopandas")
    series = geopandas.GeoSeries([WEST_HALF, shapely.box(300600, 5899000, 300800, 5900000)], crs=UTM)
    assert as_mask(series, UTM)(X, Y).tolist() == [True, True, False]


@pytest.mark.parametrize("where", [3, [WEST_HALF]])
def test_anything_else_is_refused(where):
    with pytest.raises(OptionError, match=r"ref_where is a .*: give a DataArray, a shapely geometry"):
        as_mask(where, UTM, "ref_where")


def test_a_raster_without_a_crs_is_refused_by_its_name(make_bare_image):
    with pytest.raises(GridError, match="where has no CRS"):
        as_mask(make_bare_image(np.ones((4, 4), np.uint8)).drop_vars("spatial_ref"), UTM)
